//! Small files on their way to the server: their requests go out one behind
//! the other, and replies are taken as they come. Each goes by one request
//! (TFD_STORE), or arrives as a part (SUP), its digest is compared (SHA256), and
//! only then it takes its place (RENAM).

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::queue::Queue;
use super::requests::{
    HELD, can_change_mode, change_mode, data_of, digest_of, done, request, two_paths,
};
use super::run::{Line, Run};
use super::upload::{Opened, Upload};
use crate::client::connect::Connection;
use crate::client::error::{ClientError, Result};
use crate::client::extension::{Attributes, Features, set_request, store_request};
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
        let features = connection.features()?;
        let mut pipeline = Pipeline::new(run, queue, connection, features, moved);
        let done = pipeline.go();
        if done.is_err() {
            queue.give_back(pipeline.into_items());
        }
        done
    })
}

/// A reply that will come.
enum Due {
    /// To TFD_STORE.
    Kept,
    /// To TFD_STORE that was broken off.
    BrokenOff,
    /// To TFD_SET of the owner.
    Owner,
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
    /// What it loses.
    lost: Option<Note>,
}

/// A file whose bytes are being sent.
struct Sending {
    item: Upload,
    part: Vec<u8>,
    opened: Opened,
    digest: Sha256,
    sent: u64,
}

struct Pipeline<'p> {
    run: &'p Run<'p>,
    queue: &'p Queue<Upload>,
    connection: &'p mut Connection,
    features: Features,
    moved: &'p AtomicU64,
    /// Replies in the order in which they will come. The last one of a series
    /// about a file has the file.
    due: VecDeque<(Due, Option<Flight>)>,
    /// What the replies of the current series have said.
    sound: bool,
    mode_kept: bool,
    /// The reply to the last TFD_STORE.
    kept: Vec<u8>,
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
        features: Features,
        moved: &'p AtomicU64,
    ) -> Pipeline<'p> {
        Pipeline {
            run,
            queue,
            connection,
            features,
            moved,
            due: VecDeque::new(),
            sound: false,
            mode_kept: true,
            kept: Vec::new(),
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

    /// A negative length breaks SUP off, and gets no reply; TFD_STORE has one.
    fn break_off(&mut self) {
        self.connection.wire().hold_unit(&(-1_i32).to_be_bytes());
        if self.features.store {
            self.due.push_back((Due::BrokenOff, None));
        }
    }

    fn begin(&mut self, item: Upload) {
        let opened = match item.open(self.run) {
            Ok(opened) => opened,
            Err(e) => return self.run.failed(&item.id, e),
        };
        let mut part = Vec::new();
        if self.features.store {
            self.send(&self.store_request(&item, &opened.attributes));
        } else {
            part = item.part(self.run);
            self.send(&request("SUP", &part));
        }
        self.sending = Some(Sending {
            item,
            part,
            opened,
            digest: Sha256::new(),
            sent: 0,
        });
    }

    /// The request for a whole file; its owner may be refused, and goes behind it.
    fn store_request(&self, item: &Upload, wanted: &Attributes) -> Vec<u8> {
        let keep = &self.run.options.keep;
        let mut words = Vec::new();
        if keep.xattrs {
            words.push("xattrs");
        }
        if keep.sparse {
            words.push("sparse");
        }
        store_request(&wanted.without_owner(), &words, &item.id.name)
    }

    /// Sends the next frame, or the end of the file and what follows it.
    fn send_on(&mut self, mut sending: Sending) {
        let file = &mut sending.opened.file;
        let read = read_some(file, &sending.item.local, &mut self.buffer);
        match read {
            Ok(0) if sending.item.is_still(&sending.opened.version).is_ok() => self.finish(sending),
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
        let Sending {
            item, part, opened, ..
        } = sending;
        let wanted = opened.attributes;
        let digest: [u8; 32] = sending.digest.finalize().into();
        let mut flight = Flight {
            item,
            part,
            digest,
            lost: None,
        };
        self.connection.wire().hold_unit(&0_i32.to_be_bytes());
        if self.features.store {
            self.connection.wire().hold_unit(&digest);
            if wanted.owner.is_none() {
                return self.due.push_back((Due::Kept, Some(flight)));
            }
            // With the rest, as it costs bits of the mode.
            self.send(&set_request(&wanted, &flight.item.id.name));
            self.due.push_back((Due::Kept, None));
            return self.due.push_back((Due::Owner, Some(flight)));
        }
        let mut last = Due::Stored;
        match wanted.mode {
            _ if self.run.direct() => {}
            Some(_) if self.features.set => {
                let others = wanted.without_owner();
                self.send(&set_request(&others, &flight.part));
                self.due
                    .push_back((std::mem::replace(&mut last, Due::Mode), None));
            }
            Some(mode) if can_change_mode(&flight.part) => {
                self.send(&change_mode(&flight.part, mode));
                self.due
                    .push_back((std::mem::replace(&mut last, Due::Mode), None));
            }
            Some(_) => flight.lost = Some(Note::ModeNotKept),
            None => {}
        }
        if self.run.options.verify {
            self.send(&request("SHA256", &flight.part));
            self.due
                .push_back((std::mem::replace(&mut last, Due::Digest), None));
        }
        self.due.push_back((last, Some(flight)));
    }

    fn take_reply(&mut self) -> Result<()> {
        let wire = self.connection.wire();
        match self.due.front() {
            Some((Due::Stored, _)) => self.sound = wire.read_i32()? == 0,
            Some(_) => wire.read_message(&mut self.reply)?,
            None => {}
        }
        let Some((due, flight)) = self.due.pop_front() else {
            return Ok(());
        };
        match (due, flight) {
            (Due::Kept, flight) => {
                self.kept.clone_from(&self.reply);
                flight.into_iter().for_each(|flight| self.settle(flight));
            }
            (Due::Owner, Some(mut flight)) => {
                let refused = done(b"TFD_SET", &self.reply).is_err();
                flight.lost = refused.then_some(Note::OwnerRefused);
                self.settle(flight);
            }
            (Due::Renamed, Some(flight)) => self.end(flight),
            (due, flight) => self.note_reply(&due, flight),
        }
        Ok(())
    }

    /// Takes a reply about a part; behind the last one it is judged.
    fn note_reply(&mut self, due: &Due, flight: Option<Flight>) {
        if matches!(due, Due::Mode) {
            self.mode_kept = data_of(b"CHMOD", &self.reply).is_ok();
        }
        let Some(mut flight) = flight else { return };
        if matches!(due, Due::Digest) {
            let there = digest_of(b"SHA256", &self.reply);
            self.sound &= there.is_ok_and(|there| there == flight.digest);
        }
        if !std::mem::replace(&mut self.mode_kept, true) {
            flight.lost = Some(Note::ModeRefused);
        }
        self.judge(flight);
    }

    /// A file that went by one request has its place, or can't have it.
    fn settle(&mut self, flight: Flight) {
        match done(b"TFD_STORE", &self.kept) {
            Ok(()) => self.arrived(&flight),
            // What is wrong is reported when it goes by itself.
            Err(_) => self.queue.set_large(flight.item),
        }
    }

    /// A part is whole and may take its place, or the file goes by itself.
    fn judge(&mut self, flight: Flight) {
        if !self.sound {
            self.queue.set_large(flight.item);
        } else if self.run.direct() {
            self.arrived(&flight);
        } else {
            self.whole.push_back(flight);
        }
    }

    /// A file has its place, or can't have it.
    fn end(&mut self, flight: Flight) {
        match data_of(&request("RENAM", &flight.item.id.name), &self.reply) {
            Ok(_) => self.arrived(&flight),
            // Another tf may have sent the same; by itself it finds out.
            Err(e) if e.status() == Some(Status::Rename) => self.queue.set_large(flight.item),
            Err(e) => {
                self.useless.push_back(flight.part);
                self.run.failed(&flight.item.id, e);
            }
        }
    }

    fn arrived(&self, flight: &Flight) {
        self.moved.fetch_add(1, Ordering::Relaxed);
        let item = &flight.item;
        if let Some(lost) = flight.lost {
            self.run.note(&item.id.name, lost);
        }
        item.arrived(self.run, item.found.size);
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
