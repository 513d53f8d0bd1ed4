//! Small files on their way from the server: requests for their bytes and digests
//! (TFD_FETCH, or SDOWN and SHA256) go out ahead of the answers. A thread writes what has
//! come: everything as parts, put on disk together. A file with another
//! digest never reaches the disk.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use openssl::sha::sha256;

use super::download::Download;
use super::keep::holes::write_sparse;
use super::local::Part;
use super::queue::Queue;
use super::requests::{digest_of, request};
use super::run::{Line, Run, lock};
use crate::client::connect::Connection;
use crate::client::error::Result;
use crate::tf::wire::{MAX_MESSAGE, WireError};

/// The most files on their way over one connection.
const ON_THE_WAY: usize = 512;

/// A file that turns out longer goes by itself.
const TOO_LONG: usize = 16 * 1024 * 1024;

/// Files longer than this are reported while they come.
const REPORTED: usize = 64 * 1024;

/// The most files written before they are put on disk.
const TOGETHER: usize = 512;

/// Up to so many are put on disk one by one.
const ONE_BY_ONE: usize = 4;

/// The most bytes that wait to be written.
const WAITING: usize = 64 * 1024 * 1024;

/// Receives small files of the queue until there are none left.
///
/// # Errors
/// When the connection is lost, or `Interrupted`.
pub(super) fn receive_small(
    run: &Run<'_>,
    queue: &Queue<Download>,
    line: &mut Line<'_>,
) -> Result<()> {
    let (writer, inbox) = Writer::new();
    std::thread::scope(|scope| {
        scope.spawn(move || inbox.write_all(run));
        // The writer ends, and with it the thread, when this returns.
        let writer = writer;
        line.steadily(|connection, moved| {
            let fetches = connection.features()?.fetch;
            let due = VecDeque::new();
            let mut pipeline = Pipeline {
                run,
                queue,
                connection,
                moved,
                writer: &writer,
                fetches,
                due,
            };
            let done = pipeline.go();
            queue.give_back(pipeline.due.into_iter());
            done
        })
    })
}

struct Pipeline<'p> {
    run: &'p Run<'p>,
    queue: &'p Queue<Download>,
    connection: &'p mut Connection,
    moved: &'p AtomicU64,
    writer: &'p Writer,
    /// Whether bytes and digest come by one request.
    fetches: bool,
    /// Files whose answers will come, in order.
    due: VecDeque<Download>,
}

impl Pipeline<'_> {
    /// Asks for files until there are none, and takes all answers.
    fn go(&mut self) -> Result<()> {
        loop {
            self.run.go_on()?;
            if self.due.len() <= ON_THE_WAY / 2 {
                self.fill();
            }
            if self.due.is_empty() {
                return Ok(());
            }
            if self.connection.reply_is_due(true)? {
                self.take_file()?;
            }
        }
    }

    fn fill(&mut self) {
        while self.due.len() < ON_THE_WAY {
            let Some(item) = self.queue.take_small() else {
                return;
            };
            let wire = self.connection.wire();
            let word = if self.fetches { "TFD_FETCH" } else { "SDOWN" };
            wire.write_message_later(&request(word, &item.id.name));
            if self.run.options.verify && !self.fetches {
                wire.write_message_later(&request("SHA256", &item.id.name));
            }
            self.due.push_back(item);
        }
    }

    /// Takes the bytes of one file and its digest.
    fn take_file(&mut self) -> Result<()> {
        let data = self.take_data()?;
        let digest = match self.run.options.verify {
            _ if self.fetches => self.take_trailer(data.is_some())?,
            true => Some(self.take_digest()?),
            false => None,
        };
        let Some(item) = self.due.pop_front() else {
            return Ok(());
        };
        match data {
            Some(data) if digest.is_none_or(|digest| digest == Some(sha256(&data))) => {
                self.moved.fetch_add(1, Ordering::Relaxed);
                self.writer.write(Arrived { item, data });
            }
            // What is wrong is reported when it goes by itself.
            _ => self.queue.set_large(item),
        }
        Ok(())
    }

    fn take_data(&mut self) -> Result<Option<Vec<u8>>> {
        let mut data = Vec::new();
        loop {
            let header = self.connection.wire().read_i32()?;
            let len = match usize::try_from(header) {
                Ok(0) => return Ok(Some(data)),
                Ok(len) if len <= MAX_MESSAGE => len,
                Ok(_) => return Err(WireError::Length(header).into()),
                Err(_) => return Ok(None),
            };
            let begin = data.len();
            if begin + len > TOO_LONG {
                self.due
                    .pop_front()
                    .into_iter()
                    .for_each(|item| self.queue.set_large(item));
                return Err(WireError::Broken("a file much longer than its size").into());
            }
            data.resize(begin + len, 0);
            self.connection.wire().read_raw(&mut data[begin..])?;
            if data.len() > REPORTED
                && let Some(item) = self.due.front()
            {
                self.run.at(&item.id, data.len() as u64);
            }
        }
    }

    /// The digest behind the bytes of TFD_FETCH, or the message that says why there
    /// are none.
    fn take_trailer(&mut self, is_whole: bool) -> Result<Option<Option<[u8; 32]>>> {
        let wire = self.connection.wire();
        if !is_whole {
            wire.read_message(&mut Vec::new())?;
            return Ok(None);
        }
        let mut digest = [0; 32];
        wire.read_raw(&mut digest)?;
        Ok(self.run.options.verify.then_some(Some(digest)))
    }

    /// The digest the server made, unless it could make none.
    fn take_digest(&mut self) -> Result<Option<[u8; 32]>> {
        let mut reply = Vec::new();
        self.connection.wire().read_message(&mut reply)?;
        Ok(digest_of(b"SHA256", &reply).ok())
    }
}

/// A file that is all here and sound.
pub(super) struct Arrived {
    pub(super) item: Download,
    pub(super) data: Vec<u8>,
}

/// The way to the writer.
pub(super) struct Writer {
    files: SyncSender<Arrived>,
    room: Arc<Room>,
}

impl Writer {
    /// A writer and what its thread runs on.
    pub(super) fn new() -> (Writer, Inbox) {
        let (files, inbox) = sync_channel(TOGETHER);
        let room = Arc::new(Room {
            left: Mutex::new(WAITING),
            more: Condvar::new(),
        });
        (
            Writer {
                files,
                room: Arc::clone(&room),
            },
            Inbox { files: inbox, room },
        )
    }

    /// Hands a file over, when there is room for it.
    pub(super) fn write(&self, arrived: Arrived) {
        self.room.take(arrived.data.len());
        // The thread ends after this value only.
        let _ = self.files.send(arrived);
    }
}

/// What waits to be written.
pub(super) struct Inbox {
    files: Receiver<Arrived>,
    room: Arc<Room>,
}

impl Inbox {
    /// Writes what comes, to the end.
    pub(super) fn write_all(self, run: &Run<'_>) {
        while let Ok(first) = self.files.recv() {
            let more = self.files.try_iter().take(TOGETHER - 1);
            let mut parts = Vec::new();
            for Arrived { item, data } in std::iter::once(first).chain(more) {
                match write_part(run, &item, &data) {
                    Ok(part) => parts.push((item, part)),
                    Err(e) => run.failed(&item.id, e),
                }
                self.room.give(data.len());
            }
            place(run, parts);
        }
    }
}

/// Puts parts on disk and lets them take their places.
fn place(run: &Run<'_>, parts: Vec<(Download, Part)>) {
    let synced = match parts.as_slice() {
        [(_, first), others @ ..] if others.len() >= ONE_BY_ONE => {
            let device = first.device();
            let together = others.iter().all(|(_, part)| part.device() == device);
            together && first.sync_file_system().is_ok()
        }
        _ => false,
    };
    for (item, part) in parts {
        let on_disk = if synced { Ok(()) } else { part.sync() };
        let placed = match on_disk {
            Ok(()) => part.publish(),
            Err(e) => {
                part.remove();
                Err(e)
            }
        };
        match placed {
            Ok(()) => {
                item.note_lost(run);
                run.done(&item.id, item.found.size);
            }
            Err(e) => run.failed(&item.id, e),
        }
    }
}

fn write_part(run: &Run<'_>, item: &Download, data: &[u8]) -> Result<Part> {
    let wanted = run.options.keep.of(&item.found);
    let name = item.part_name("");
    let part = item
        .target
        .new_part(&item.relative, &name, wanted.mode.is_some())?;
    let written = match run.options.keep.sparse && item.found.sparse {
        true => {
            write_sparse(&part.file, data, 0).and_then(|()| part.file.set_len(data.len() as u64))
        }
        false => (&part.file).write_all(data),
    };
    let written = written.map_err(|e| part.error(e));
    match written.and_then(|()| part.set_attributes(&wanted)) {
        Ok(()) => Ok(part),
        Err(e) => {
            part.remove();
            Err(e)
        }
    }
}

/// Bytes that may still wait.
struct Room {
    left: Mutex<usize>,
    more: Condvar,
}

impl Room {
    fn take(&self, bytes: usize) {
        let left = lock(&self.left);
        let enough = self.more.wait_while(left, |left| *left < bytes);
        *enough.unwrap_or_else(PoisonError::into_inner) -= bytes;
    }

    fn give(&self, bytes: usize) {
        *lock(&self.left) += bytes;
        self.more.notify_one();
    }
}
