//! The streams of a transfer and the control connection beside them.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Agreed, How, Moved};
use crate::bbftp::stream::{Coding, Direction, Job, StreamError, Streams};
use crate::bbftp::wire::{Code, MAX_TEXT, encode_ports};
use crate::client::bbftp::data::{Accepted, Listeners, Manner, connect_all};
use crate::client::bbftp::error::{DATA, Error, Fate, OPEN, Result, WRITE};
use crate::client::bbftp::observe::{Event, Observer};
use crate::client::bbftp::session::Session;
use crate::net::Link;

/// How often progress is told.
const PROGRESS_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// How long the server may take to say why a stream failed.
const REASON_LIMIT: Duration = Duration::from_secs(30);

/// How long the server may take for its last word once all streams have ended.
const LAST_WORD_LIMIT: Duration = Duration::from_secs(900);

/// A file and the way it goes.
pub(super) struct Freight<'a> {
    /// None in a simulation.
    pub(super) file: Option<&'a Arc<File>>,
    pub(super) direction: Direction,
    pub(super) size: u64,
    /// Which bytes go over which stream.
    pub(super) ranges: Vec<Range<u64>>,
    pub(super) coding: Coding,
    pub(super) observer: &'a dyn Observer,
}

impl Freight<'_> {
    /// Bytes that are there already.
    fn done(&self) -> u64 {
        let missing: u64 = self
            .ranges
            .iter()
            .map(|range| range.end - range.start)
            .sum();
        self.size.saturating_sub(missing)
    }
}

impl Session {
    /// Opens the data connections of versions 2 and 3, and carries the file over
    /// them.
    pub(super) fn carry_agreed(
        &mut self,
        agreed: &Agreed,
        how: &How,
        freight: &Freight<'_>,
    ) -> Result<Moved> {
        let manner = Manner::new(how, freight.direction, freight.observer);
        if self.version == 2 {
            let opened = Listeners::open(self, agreed.transfer.streams, &manner);
            let listeners = opened.inspect_err(|_| self.abort())?;
            let code = match freight.file.is_none() {
                true => Code::TransSimul,
                false => Code::TransStartV2,
            };
            self.send(code, &encode_ports(&listeners.ports))?;
            return self.carry_accepted(&listeners, freight);
        }
        let links = connect_all(self, &agreed.ports, &manner);
        let links = links.inspect_err(|_| self.abort())?;
        let code = match freight.file.is_none() {
            true => Code::TransSimulV3,
            false => Code::TransStartV3,
        };
        let announced = u32::try_from(agreed.ports.len() * 4).unwrap_or(u32::MAX);
        self.control
            .send_announcing(code, announced, &[])
            .map_err(|e| self.or_interrupted(Error::sending(&e)))?;
        self.carry(links, freight)
    }

    /// Gives a transfer up before it starts. The server does not answer.
    pub(super) fn abort(&mut self) {
        let code = match self.version {
            1 => Code::Abr,
            _ => Code::Abort,
        };
        // If it can't be sent the next command says so.
        let _ = self.control.send(code, &[]);
    }

    /// Waits for the server's connections, and carries the file over them.
    pub(super) fn carry_accepted(
        &mut self,
        listeners: &Listeners,
        freight: &Freight<'_>,
    ) -> Result<Moved> {
        match listeners.accept(self)? {
            Accepted::All(links) => self.carry(links, freight),
            Accepted::Message => {
                // It refuses, or has no need of connections: the file is empty.
                self.read_ok(freight.observer)?;
                match freight.size {
                    0 => Ok(Moved::nothing(freight.coding != Coding::Plain)),
                    _ => Err(Error::unknown(Code::Ok.number())),
                }
            }
        }
    }

    /// Carries a file over these connections until the server has said its last
    /// word.
    fn carry(&mut self, links: Vec<Link>, freight: &Freight<'_>) -> Result<Moved> {
        let begun = Instant::now();
        let streams = u32::try_from(links.len()).unwrap_or(u32::MAX);
        let moved = |bytes| Moved {
            bytes,
            time: begun.elapsed(),
            streams,
            gzip: freight.coding != Coding::Plain,
        };
        let Some(file) = freight.file else {
            drop(links);
            self.read_ok(freight.observer)?;
            return Ok(moved(0));
        };
        freight.observer.notify(&Event::Begun {
            size: freight.size,
            streams,
            done: freight.done(),
        });
        let job = Job {
            file: Arc::clone(file),
            direction: freight.direction,
            coding: freight.coding,
            idle: self.target.limits.data,
            ack: self.target.limits.ack,
            pace: None,
            write_behind: false,
        };
        let running = Streams::start(
            job,
            links
                .into_iter()
                .zip(freight.ranges.iter().cloned())
                .collect(),
        );
        let running = running
            .map_err(|e| Error::new(DATA, Fate::Reconnect, format!("Can't start a stream: {e}")))?;
        self.watch(running, freight)?;
        freight.observer.notify(&Event::Moved(freight.size));
        Ok(moved(freight.size))
    }

    /// Waits for the streams, and for the server's last word.
    fn watch(&mut self, running: Streams, freight: &Freight<'_>) -> Result<()> {
        let mut is_confirmed = false;
        loop {
            if !is_confirmed && self.control.link().has_input() {
                if let Err(e) = self.read_ok(freight.observer) {
                    running.abort();
                    return Err(reason(e, running.finish().err()));
                }
                is_confirmed = true;
            }
            freight
                .observer
                .notify(&Event::Moved(freight.done() + running.moved()));
            let mut fds = vec![PollFd::new(&running, PollFlags::IN)];
            let socket = self.control.link().socket();
            if !is_confirmed {
                fds.push(PollFd::new(socket, PollFlags::IN));
            }
            match poll(&mut fds, Some(&PROGRESS_INTERVAL)) {
                Ok(_) if !fds[0].revents().is_empty() => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(Error::new(66, Fate::Reconnect, e.to_string())),
            }
            if self.target.cancel.is_cancelled() {
                running.abort();
            }
        }
        match running.finish() {
            Ok(_) if is_confirmed => Ok(()),
            Ok(_) => self.last_word(LAST_WORD_LIMIT, freight.observer),
            Err(e) => {
                let said = match is_confirmed {
                    true => Ok(()),
                    false => self.last_word(REASON_LIMIT, freight.observer),
                };
                self.after_stream_failure(e, said, freight.direction)
            }
        }
    }

    /// What the server says of it tells more than that a stream has ended.
    fn after_stream_failure(
        &self,
        e: StreamError,
        said: Result<()>,
        direction: Direction,
    ) -> Result<()> {
        Err(match (e, said) {
            // The server has the whole file, though its confirmation of a stream
            // did not arrive.
            (StreamError::Link(_), Ok(())) if direction == Direction::Send => return Ok(()),
            (StreamError::File(e), said) => {
                let (code, what) = match direction {
                    Direction::Send => (OPEN, "reading"),
                    Direction::Receive => (WRITE, "writing"),
                };
                let fate = match said {
                    Err(said) if said.ends_connection() => Fate::FinalReconnect,
                    _ => Fate::Final,
                };
                Error::new(code, fate, format!("Error {what} the file ({e})"))
            }
            (e, Err(said)) => reason(said, Some(e)),
            (e, Ok(())) => self.or_interrupted(Error::new(DATA, Fate::Again, e.to_string())),
        })
    }

    /// The server's OK within this time.
    fn last_word(&mut self, limit: Duration, observer: &dyn Observer) -> Result<()> {
        let io = |e: std::io::Error| Error::reading(&e.into());
        let link = self.control.link();
        link.set_idle_limit(Some(limit)).map_err(io)?;
        let read = self.read_ok(observer);
        let usual = self.target.limits.receive;
        self.control
            .link()
            .set_idle_limit(Some(usual))
            .map_err(io)?;
        read
    }

    pub(super) fn read_ok(&mut self, observer: &dyn Observer) -> Result<()> {
        self.expect(Code::Ok, MAX_TEXT, observer).map(drop)
    }
}

/// What to report where both the control connection and a stream have failed.
fn reason(control: Error, stream: Option<StreamError>) -> Error {
    match stream {
        Some(stream) if control.ends_connection() && control.fate != Fate::End => {
            let text = format!("{}; {stream}", control.text);
            Error { text, ..control }
        }
        _ => control,
    }
}
