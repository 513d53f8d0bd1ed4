//! A session's requests as observers see them, and its records in the audit
//! log. A command is a text and a failure a code number: nothing here knows a
//! protocol.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::ipc::Pipe;
use crate::ipc::channel::Channel;
use crate::ipc::codec::codec;
use crate::session::effect::Effect;
use crate::session::shortage::Shortage;

/// The longest text that is recorded whole, in bytes.
const MAX_TEXT: usize = 4096;

/// The longest record, in bytes: two long texts, three short ones, their
/// lengths and the numbers.
pub(crate) const MAX_RECORD: usize = 2 * MAX_TEXT + 1024;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As the client wanted it.
    Done,
    /// The client cancelled it.
    BrokenOff,
    /// It failed, with the protocol's code where there is one.
    Failed(Option<u16>),
    /// The same, for lack of room.
    NoRoom {
        /// The protocol's code where there is one.
        code: Option<u16>,
        /// What there was too little of.
        shortage: Shortage,
    },
    /// The connection was lost.
    Lost,
}

impl Outcome {
    /// With the reason, if it failed for lack of room.
    pub fn with(self, shortage: Option<Shortage>) -> Outcome {
        match (self, shortage) {
            (Outcome::Failed(code), Some(shortage)) => Outcome::NoRoom { code, shortage },
            (Outcome::Lost, Some(shortage)) => Outcome::NoRoom {
                code: None,
                shortage,
            },
            (outcome, _) => outcome,
        }
    }
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The command.
    pub command: &'static str,
    /// The first path it names, as the client wrote it.
    pub path: Vec<u8>,
    /// A second path, new name, pattern or argument; empty for none.
    pub other: Vec<u8>,
    /// What the request may do.
    pub effect: Effect,
}

/// Receives a session's requests.
pub trait Observer {
    /// A request that names a path begins.
    fn begins(&mut self, subject: &Subject);

    /// A request that names a path is over, and has moved so many bytes of files
    /// and listings.
    ///
    /// # Errors
    /// When it can't be recorded; the session ends then.
    fn ended(&mut self, subject: &Subject, outcome: Outcome, bytes: u64) -> io::Result<()>;
}

/// A session's end of the audit log, or nothing without a log.
#[derive(Debug)]
pub struct Audit {
    records: Option<Pipe<Record, ()>>,
    peer: String,
    user: String,
}

impl Audit {
    /// For a session of this client, on the auditor's socket.
    pub fn new(records: Option<OwnedFd>, peer: SocketAddr, user: &str) -> Audit {
        Audit {
            records: records.map(|handle| Channel::from_handle(handle).into()),
            peer: peer.to_string(),
            user: user.to_owned(),
        }
    }

    /// The client's address, and whom it acts as.
    pub fn client(&self) -> (&str, &str) {
        (&self.peer, &self.user)
    }

    /// Records the start of the session.
    ///
    /// # Errors
    /// When the auditor is gone.
    pub fn begin(&mut self, certificate: bool) -> io::Result<()> {
        let other: &[u8] = if certificate { b"certificate" } else { b"" };
        let subject = Subject {
            command: "BEGIN",
            path: Vec::new(),
            other: other.to_vec(),
            effect: Effect::Reads,
        };
        self.record(&subject, Outcome::Done, 0)
    }

    /// Records a finished request.
    ///
    /// # Errors
    /// When the auditor is gone.
    pub fn record(&mut self, subject: &Subject, outcome: Outcome, bytes: u64) -> io::Result<()> {
        let Some(records) = &self.records else {
            return Ok(());
        };
        records.send(&Record {
            peer: cut(self.peer.as_bytes()),
            user: cut(self.user.as_bytes()),
            command: cut(subject.command.as_bytes()),
            path: cut(&subject.path),
            other: cut(&subject.other),
            outcome,
            bytes,
        })
    }
}

/// A text as long as it is recorded.
fn cut(text: &[u8]) -> Vec<u8> {
    text[..text.len().min(MAX_TEXT)].to_vec()
}

/// A record as a session sends it to the auditor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) peer: Vec<u8>,
    pub(crate) user: Vec<u8>,
    pub(crate) command: Vec<u8>,
    pub(crate) path: Vec<u8>,
    pub(crate) other: Vec<u8>,
    pub(crate) outcome: Outcome,
    pub(crate) bytes: u64,
}

impl Record {
    /// What a process of tfd has done by itself, about a user, without a client.
    pub(crate) fn of(command: &str, user: &str) -> Record {
        Record {
            peer: Vec::new(),
            user: cut(user.as_bytes()),
            command: cut(command.as_bytes()),
            path: Vec::new(),
            other: Vec::new(),
            outcome: Outcome::Done,
            bytes: 0,
        }
    }
}

codec!(struct Record { peer, user, command, path, other, outcome, bytes });
codec!(enum Outcome { 0 => Done, 1 => BrokenOff, 2 => Lost, 3 => Failed(code), 4 => NoRoom { code, shortage } });
