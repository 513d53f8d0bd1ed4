//! Files on their way to the server, small ones: their requests go out one
//! behind the other, and replies are taken as they come. Each arrives as a
//! part (SUP), its digest is compared (SHA256), and only then it takes its
//! place (RENAM).

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::line::Line;
use super::local::Target;
use super::names::{can_change_mode, directory, join, last, part_name};
use super::queue::{Item, Queue};
use super::requests::{HELD, change_mode, data_of, digest_of, request, two_paths};
use super::run::{Id, Run};
use super::scan::is_unlisted;
use super::upload_alone::send_alone;
use crate::client::connect::Connection;
use crate::client::error::{ClientError, Result};
use crate::client::observe::{Event, Note};
use crate::tf::status::Status;

/// The most files on their way over one connection.
const ON_THE_WAY: usize = 512;

/// The most bytes of one frame of SUP.
const FRAME: usize = 64 * 1024;

/// A file that grew beyond this while it was read goes alone.
const TOO_LONG: u64 = 16 * 1024 * 1024;

/// A local file, and by its `id` where it goes.
pub(super) struct Upload {
    pub(super) id: Id,
    pub(super) local: PathBuf,
    /// The tree it is in and its path there: no link leads to it. Without
    /// them, links are followed.
    pub(super) beneath: Option<(Arc<Target>, Vec<u8>)>,
    pub(super) size: u64,
    /// Permission bits.
    pub(super) mode: u32,
}

impl Upload {
    /// Opens the local file, and tells the version of it.
    ///
    /// # Errors
    /// The system's, or that it is no regular file.
    pub(super) fn open(&self) -> Result<(File, Version)> {
        let told = |e| ClientError::local(&self.local, e);
        let file = match &self.beneath {
            Some((top, relative)) => top.open_to_read(relative)?,
            None => {
                let flags = OFlags::NONBLOCK.bits() as i32;
                let mut options = std::fs::OpenOptions::new();
                options
                    .read(true)
                    .custom_flags(flags)
                    .open(&self.local)
                    .map_err(told)?
            }
        };
        let metadata = file.metadata().map_err(told)?;
        if !metadata.is_file() {
            return Err(told(std::io::Error::other("no regular file any more")));
        }
        Ok((file, Version::of(&metadata)))
    }

    /// Whether what was read since it was opened is one version of the file:
    /// it may have grown meanwhile, or gone.
    ///
    /// # Errors
    /// `Changed` when it is not.
    pub(super) fn is_still(&self, version: &Version) -> Result<()> {
        let metadata = match self.beneath {
            None => std::fs::metadata(&self.local),
            Some(_) => std::fs::symlink_metadata(&self.local),
        };
        let Ok(metadata) = metadata else {
            return Ok(());
        };
        let now = Version::of(&metadata);
        let has_grown = now.file == version.file && now.size > version.size;
        match has_grown || now == *version {
            true => Ok(()),
            false => Err(ClientError::Changed {
                path: self.local.display().to_string(),
            }),
        }
    }

    /// It is in its place, with so many bytes.
    pub(super) fn arrived(&self, run: &Run<'_>, size: u64) {
        if is_unlisted(last(&self.id.name), false) {
            run.note(&self.id.name, Note::Unlisted);
        }
        run.done(&self.id, size);
    }

    /// The remote path of the part: the same whenever this file goes there
    /// from this machine. Where it could take no place, its own.
    pub(super) fn part(&self, run: &Run<'_>) -> Vec<u8> {
        use std::os::unix::ffi::OsStrExt;
        if run.direct() {
            return self.id.name.clone();
        }
        let local = std::path::absolute(&self.local).unwrap_or_else(|_| self.local.clone());
        let way = [
            run.options.machine.as_slice(),
            local.as_os_str().as_bytes(),
            &self.id.name,
        ];
        join(directory(&self.id.name), &part_name(&way, b""))
    }

    /// The request that gives a path this file's mode, where the protocol has
    /// one.
    pub(super) fn mode_request(&self, run: &Run<'_>, path: &[u8]) -> Option<Vec<u8>> {
        if run.direct() || !can_change_mode(path) {
            run.note(&self.id.name, Note::ModeNotKept);
            return None;
        }
        Some(change_mode(path, self.mode))
    }
}

/// What tells a version of a file from another one.
#[derive(PartialEq, Eq)]
pub(super) struct Version {
    /// Device and inode.
    file: (u64, u64),
    size: u64,
    /// Last change, in seconds and nanoseconds.
    modified: (i64, i64),
}

impl Version {
    fn of(metadata: &std::fs::Metadata) -> Version {
        Version {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Item for Upload {
    const IN_TWO: bool = true;

    fn id(&self) -> &Id {
        &self.id
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn move_small(run: &Run<'_>, queue: &Queue<Upload>, line: &mut Line<'_>) -> Result<()> {
        line.steadily(|connection, moved| {
            let mut pipeline = Pipeline::new(run, queue, connection, moved);
            let done = pipeline.go();
            if done.is_err() {
                let Pipeline {
                    flights, sending, ..
                } = pipeline;
                let sending = sending.into_iter().map(|sending| sending.item);
                queue.give_back(
                    flights
                        .into_values()
                        .map(|flight| flight.item)
                        .chain(sending),
                );
            }
            done
        })
    }

    fn move_alone(&self, run: &Run<'_>, line: &mut Line<'_>) -> Result<()> {
        send_alone(run, self, line)
    }
}

/// A reply that will come.
enum Due {
    /// To SUP.
    Stored,
    /// To SHA256 of the part.
    Digest,
    /// To CHMOD of the part.
    Mode,
    /// To RENAM.
    Renamed,
    /// To DEL of a part that is of no use.
    Deleted,
}

/// A file that is sent and waits for replies.
struct Flight {
    item: Upload,
    part: Vec<u8>,
    digest: [u8; 32],
    stored: bool,
    sound: bool,
    mode_kept: bool,
}

/// A file whose bytes are being sent.
struct Sending {
    item: Upload,
    part: Vec<u8>,
    file: File,
    version: Version,
    digest: Sha256,
    sent: u64,
}

struct Pipeline<'p> {
    run: &'p Run<'p>,
    queue: &'p Queue<Upload>,
    connection: &'p mut Connection,
    moved: &'p AtomicU64,
    due: VecDeque<(Due, usize)>,
    flights: HashMap<usize, Flight>,
    sending: Option<Sending>,
    /// Parts that may take their places.
    sound: VecDeque<usize>,
    /// Parts that are to go.
    useless: VecDeque<Vec<u8>>,
    buffer: Vec<u8>,
    reply: Vec<u8>,
}

impl<'p> Pipeline<'p> {
    fn new(
        run: &'p Run<'p>,
        queue: &'p Queue<Upload>,
        connection: &'p mut Connection,
        moved: &'p AtomicU64,
    ) -> Pipeline<'p> {
        Pipeline {
            run,
            queue,
            connection,
            moved,
            due: VecDeque::new(),
            flights: HashMap::new(),
            sending: None,
            sound: VecDeque::new(),
            useless: VecDeque::new(),
            buffer: vec![0; FRAME],
            reply: Vec::new(),
        }
    }

    /// Sends files until there are none, and takes all replies.
    fn go(&mut self) -> Result<()> {
        loop {
            self.run.go_on()?;
            self.fill();
            if self.due.is_empty() && self.connection.wire().held() == 0 {
                return Ok(());
            }
            if self.connection.reply_is_due(!self.due.is_empty())? {
                self.take_reply()?;
                while self.connection.wire().has_read_ahead() && !self.due.is_empty() {
                    self.take_reply()?;
                }
            }
        }
    }

    /// Enciphers what can be sent next.
    fn fill(&mut self) {
        while self.connection.wire().held() < HELD {
            // Nothing else goes between the frames of a file.
            if let Some(sending) = self.sending.take() {
                self.send_on(sending);
            } else if let Some(number) = self.sound.pop_front() {
                self.rename(number);
            } else if let Some(part) = self.useless.pop_front() {
                self.connection
                    .wire()
                    .write_message_later(&request("DEL", &part));
                self.due.push_back((Due::Deleted, 0));
            } else if self.flights.len() < ON_THE_WAY {
                let Some(item) = self.queue.take_small() else {
                    return;
                };
                self.begin(item);
            } else {
                return;
            }
        }
    }

    fn begin(&mut self, item: Upload) {
        match item.open() {
            Ok((file, version)) => {
                let part = item.part(self.run);
                let (digest, sent) = (Sha256::new(), 0);
                self.connection
                    .wire()
                    .write_message_later(&request("SUP", &part));
                self.sending = Some(Sending {
                    item,
                    part,
                    file,
                    version,
                    digest,
                    sent,
                });
            }
            Err(e) => self.run.failed(&item.id, e),
        }
    }

    /// Sends the next frame, or the end of the file and what follows it.
    fn send_on(&mut self, mut sending: Sending) {
        let read = read_some(&mut sending.file, &sending.item.local, &mut self.buffer);
        match read {
            Ok(0) if sending.item.is_still(&sending.version).is_ok() => self.finish(sending),
            Ok(len) if len == 0 || sending.sent + len as u64 > TOO_LONG => {
                // A negative length breaks SUP off, and there is no answer.
                self.connection.wire().hold_unit(&(-1_i32).to_be_bytes());
                self.queue.set_alone(sending.item);
            }
            Ok(len) => {
                let data = &self.buffer[..len];
                sending.digest.update(data);
                sending.sent += len as u64;
                self.connection
                    .wire()
                    .hold_unit(&(len as i32).to_be_bytes());
                self.connection.wire().hold_unit(data);
                if sending.sent > FRAME as u64 {
                    let (file, position) = (sending.item.id.number, sending.sent);
                    self.run.tell(&Event::At { file, position });
                }
                self.sending = Some(sending);
            }
            Err(e) => {
                self.connection.wire().hold_unit(&(-1_i32).to_be_bytes());
                self.run.failed(&sending.item.id, e);
            }
        }
    }

    fn finish(&mut self, sending: Sending) {
        let Sending {
            item, part, digest, ..
        } = sending;
        let number = item.id.number;
        let wire = self.connection.wire();
        wire.hold_unit(&0_i32.to_be_bytes());
        self.due.push_back((Due::Stored, number));
        if let Some(request) = item.mode_request(self.run, &part) {
            wire.write_message_later(&request);
            self.due.push_back((Due::Mode, number));
        }
        if self.run.options.verify {
            wire.write_message_later(&request("SHA256", &part));
            self.due.push_back((Due::Digest, number));
        }
        let digest = digest.finalize().into();
        let flight = Flight {
            item,
            part,
            digest,
            stored: false,
            sound: false,
            mode_kept: true,
        };
        self.flights.insert(number, flight);
    }

    fn rename(&mut self, number: usize) {
        if let Some(Flight { item, part, .. }) = self.flights.get(&number) {
            let request = two_paths("RENAM", part, &item.id.name);
            self.connection.wire().write_message_later(&request);
            self.due.push_back((Due::Renamed, number));
        }
    }

    fn take_reply(&mut self) -> Result<()> {
        let Some((due, number)) = self.due.pop_front() else {
            return Ok(());
        };
        let stored = match due {
            Due::Stored => self.connection.wire().read_i32()? == 0,
            _ => {
                self.connection.wire().read_message(&mut self.reply)?;
                false
            }
        };
        let Some(flight) = self.flights.get_mut(&number) else {
            return Ok(());
        };
        match due {
            Due::Stored => {
                flight.stored = stored;
                if !self.run.options.verify {
                    self.judge(number, stored);
                }
            }
            Due::Mode => {
                flight.mode_kept = data_of(b"CHMOD", &self.reply).is_ok();
            }
            Due::Digest => {
                flight.sound = flight.stored
                    && digest_of(b"SHA256", &self.reply)
                        .is_ok_and(|digest| digest == flight.digest);
                let sound = flight.sound;
                self.judge(number, sound);
            }
            Due::Renamed => self.end(number),
            Due::Deleted => {}
        }
        Ok(())
    }

    /// A part is whole and may take its place, or the file goes alone.
    fn judge(&mut self, number: usize, sound: bool) {
        if sound && self.run.direct() {
            if let Some(flight) = self.flights.remove(&number) {
                self.arrived(&flight.item);
            }
        } else if sound {
            self.sound.push_back(number);
        } else if let Some(flight) = self.flights.remove(&number) {
            self.queue.set_alone(flight.item);
        }
    }

    /// A file has its place, or can't have it.
    fn end(&mut self, number: usize) {
        let Some(flight) = self.flights.remove(&number) else {
            return;
        };
        let Flight {
            item,
            part,
            mode_kept,
            ..
        } = flight;
        let shown = request("RENAM", &item.id.name);
        match data_of(&shown, &self.reply) {
            Ok(_) => {
                if !mode_kept {
                    self.run.note(&item.id.name, Note::ModeRefused);
                }
                self.arrived(&item);
            }
            // Another tf may have sent the same; alone it finds out.
            Err(ClientError::Refused {
                status: Status::Rename,
                ..
            }) => self.queue.set_alone(item),
            Err(e) => {
                self.useless.push_back(part);
                self.run.failed(&item.id, e);
            }
        }
    }

    fn arrived(&self, item: &Upload) {
        self.moved.fetch_add(1, Ordering::Relaxed);
        item.arrived(self.run, item.size);
    }
}

fn read_some(file: &mut File, path: &Path, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match file.read(buffer) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            read => return read.map_err(|e| ClientError::local(path, e)),
        }
    }
}
