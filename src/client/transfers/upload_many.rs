//! Small files on their way to the server: their requests go out one behind
//! the other, and replies are taken as they come. Each arrives as a part (SUP),
//! its digest is compared (SHA256), and only then it takes its place (RENAM).

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::queue::Queue;
use super::requests::{HELD, data_of, digest_of, request, two_paths};
use super::run::{Line, Run};
use super::upload::{Upload, Version};
use crate::client::connect::Connection;
use crate::client::error::{ClientError, Result};
use crate::client::observe::Note;
use crate::tf::status::Status;
use crate::tf::wire::message_header;

/// The most files on their way over one connection.
const ON_THE_WAY: usize = 512;

/// The most bytes of one frame of SUP.
const FRAME: usize = 64 * 1024;

/// A file that grew beyond this while it was read goes by itself.
const TOO_LONG: u64 = 16 * 1024 * 1024;

/// Sends small files of the queue until there are none left.
///
/// # Errors
/// When the connection is lost, or `Interrupted`.
pub(super) fn send_small(run: &Run<'_>, queue: &Queue<Upload>, line: &mut Line<'_>) -> Result<()> {
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
                self.queue.set_large(sending.item);
            }
            Ok(len) => {
                let data = &self.buffer[..len];
                sending.digest.update(data);
                sending.sent += len as u64;
                self.connection.wire().hold_unit(&message_header(len));
                self.connection.wire().hold_unit(data);
                if sending.sent > FRAME as u64 {
                    self.run.at(&sending.item.id, sending.sent);
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

    /// A part is whole and may take its place, or the file goes by itself.
    fn judge(&mut self, number: usize, sound: bool) {
        if sound && self.run.direct() {
            if let Some(flight) = self.flights.remove(&number) {
                self.arrived(&flight.item);
            }
        } else if sound {
            self.sound.push_back(number);
        } else if let Some(flight) = self.flights.remove(&number) {
            self.queue.set_large(flight.item);
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
            // Another tf may have sent the same; by itself it finds out.
            Err(ClientError::Refused {
                status: Status::Rename,
                ..
            }) => self.queue.set_large(item),
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
