//! Small files from the server to the disk, in a thread of their own: all
//! that have come meanwhile are written as parts, put on disk together, and
//! take their places.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::download::Download;
use super::local::Part;
use super::names::part_name;
use super::run::Run;
use crate::client::error::Result;

/// The most files written before they are put on disk.
const TOGETHER: usize = 512;

/// Up to so many are put on disk one by one.
const ONE_BY_ONE: usize = 4;

/// The most bytes that wait to be written.
const WAITING: usize = 64 * 1024 * 1024;

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
                match write_part(&item, &data) {
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
            together && first.sync_all_beside().is_ok()
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
            Ok(()) => run.done(&item.id, item.size),
            Err(e) => run.failed(&item.id, e),
        }
    }
}

fn write_part(item: &Download, data: &[u8]) -> Result<Part> {
    let part = item
        .target
        .new_part(&item.relative, &part_name(&item.way(), b""))?;
    let written = (&part.file).write_all(data).map_err(|e| part.error(e));
    match written.and_then(|()| part.set_modified(item.modified)) {
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
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = self.more.wait_while(left, |left| *left < bytes);
        *enough.unwrap_or_else(PoisonError::into_inner) -= bytes;
    }

    fn give(&self, bytes: usize) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) += bytes;
        self.more.notify_one();
    }
}
