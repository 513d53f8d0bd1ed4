//! Small files on their way to the server: their requests go out one behind
//! the other, and replies are taken as they come. Each arrives as a part (SUP),
//! its digest is compared (SHA256), and only then it takes its place (RENAM).

use std::collections::VecDeque;
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

/// The most replies that are waited for over one connection, up to three a
/// file.
const MOST_REPLIES_DUE: usize = 1536;

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
            queue.give_back(pipeline.into_items());
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
    /// Replies in the order in which they will come. The last one of a series
    /// about a file has the file.
    due: VecDeque<(Due, Option<Flight>)>,
    /// What the replies of the current series have said.
    sound: bool,
    mode_kept: bool,
    sending: Option<Sending>,
    /// Files whose parts may take their places.
    whole: VecDeque<Flight>,
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
            sound: false,
            mode_kept: true,
            sending: None,
            whole: VecDeque::new(),
            useless: VecDeque::new(),
            buffer: vec![0; FRAME],
            reply: Vec::new(),
        }
    }

    /// The files that are not done.
    fn into_items(self) -> impl Iterator<Item = Upload> {
        let flights = self.due.into_iter().filter_map(|(_, flight)| flight);
        let sending = self.sending.into_iter().map(|sending| sending.item);
        let sent = flights.chain(self.whole).map(|flight| flight.item);
        sent.chain(sending)
    }

    /// Sends files until there are none left, and takes all replies.
    fn go(&mut self) -> Result<()> {
        loop {
            self.run.go_on()?;
            self.fill();
            if self.due.is_empty() && self.connection.wire().link().held() == 0 {
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
        while self.connection.wire().link().held() < HELD {
            // Nothing else goes between the frames of a file.
            if let Some(sending) = self.sending.take() {
                self.send_on(sending);
            } else if let Some(flight) = self.whole.pop_front() {
                self.send(&two_paths("RENAM", &flight.part, &flight.item.id.name));
                self.due.push_back((Due::Renamed, Some(flight)));
            } else if let Some(part) = self.useless.pop_front() {
                self.send(&request("DEL", &part));
                self.due.push_back((Due::Deleted, None));
            } else if self.due.len() < MOST_REPLIES_DUE {
                let Some(item) = self.queue.take_small() else {
                    return;
                };
                self.begin(item);
            } else {
                return;
            }
        }
    }

    fn send(&mut self, request: &[u8]) {
        self.connection.wire().write_message_later(request);
    }

    /// A negative length breaks SUP off, and gets no reply.
    fn break_off(&mut self) {
        self.connection.wire().hold_unit(&(-1_i32).to_be_bytes());
    }

    fn begin(&mut self, item: Upload) {
        match item.open() {
            Ok((file, version)) => {
                let part = item.part(self.run);
                self.send(&request("SUP", &part));
                self.sending = Some(Sending {
                    item,
                    part,
                    file,
                    version,
                    digest: Sha256::new(),
                    sent: 0,
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
                self.break_off();
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
                self.break_off();
                self.run.failed(&sending.item.id, e);
            }
        }
    }

    /// Ends the file, and asks for what comes before its place.
    fn finish(&mut self, sending: Sending) {
        let Sending { item, part, .. } = sending;
        self.connection.wire().hold_unit(&0_i32.to_be_bytes());
        let mut last = Due::Stored;
        if let Some(request) = item.mode_request(self.run, &part) {
            self.send(&request);
            self.due
                .push_back((std::mem::replace(&mut last, Due::Mode), None));
        }
        if self.run.options.verify {
            self.send(&request("SHA256", &part));
            self.due
                .push_back((std::mem::replace(&mut last, Due::Digest), None));
        }
        let flight = Flight {
            item,
            part,
            digest: sending.digest.finalize().into(),
            mode_kept: true,
        };
        self.due.push_back((last, Some(flight)));
    }

    fn take_reply(&mut self) -> Result<()> {
        let wire = self.connection.wire();
        match self.due.front() {
            Some((Due::Stored, _)) => {
                self.sound = wire.read_i32()? == 0;
                self.mode_kept = true;
            }
            Some(_) => wire.read_message(&mut self.reply)?,
            None => {}
        }
        let Some((due, flight)) = self.due.pop_front() else {
            return Ok(());
        };
        match (due, &flight) {
            (Due::Mode, _) => self.mode_kept = data_of(b"CHMOD", &self.reply).is_ok(),
            (Due::Digest, Some(flight)) => {
                let there = digest_of(b"SHA256", &self.reply);
                self.sound &= there.is_ok_and(|there| there == flight.digest);
            }
            (Due::Renamed, _) => {
                flight.into_iter().for_each(|flight| self.end(flight));
                return Ok(());
            }
            _ => {}
        }
        flight.into_iter().for_each(|flight| self.judge(flight));
        Ok(())
    }

    /// A part is whole and may take its place, or the file goes by itself.
    fn judge(&mut self, mut flight: Flight) {
        flight.mode_kept = self.mode_kept;
        if !self.sound {
            self.queue.set_large(flight.item);
        } else if self.run.direct() {
            self.arrived(&flight.item);
        } else {
            self.whole.push_back(flight);
        }
    }

    /// A file has its place, or can't have it.
    fn end(&mut self, flight: Flight) {
        let item = flight.item;
        match data_of(&request("RENAM", &item.id.name), &self.reply) {
            Ok(_) => {
                if !flight.mode_kept {
                    self.run.note(&item.id.name, Note::ModeRefused);
                }
                self.arrived(&item);
            }
            // Another tf may have sent the same; by itself it finds out.
            Err(e) if e.status() == Some(Status::Rename) => self.queue.set_large(item),
            Err(e) => {
                self.useless.push_back(flight.part);
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
