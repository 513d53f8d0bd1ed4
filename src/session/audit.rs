//! A session's requests as observers see them, and its records in the audit
//! log. A command is a text and a failure a code number: nothing here knows a
//! protocol.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::ipc::channel::Channel;

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
    /// The connection was lost.
    Lost,
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
}

/// A finished request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What it was about.
    pub subject: Subject,
    /// How it ended.
    pub outcome: Outcome,
    /// Bytes of files and listings that it moved.
    pub bytes: u64,
}

/// Receives a session's requests.
pub trait Observer {
    /// A request that names a path begins.
    fn begins(&mut self, subject: &Subject);

    /// A request that names a path is over.
    ///
    /// # Errors
    /// When it can't be recorded; the session ends then.
    fn ended(&mut self, operation: Operation) -> io::Result<()>;
}

/// A session's end of the audit log, or nothing where there is no log.
#[derive(Debug)]
pub struct Audit {
    records: Option<Channel>,
    peer: String,
    user: String,
}

impl Audit {
    /// For a session of this client, on the auditor's socket.
    pub fn new(records: Option<OwnedFd>, peer: SocketAddr, user: &str) -> Audit {
        Audit {
            records: records.map(Channel::from_handle),
            peer: peer.to_string(),
            user: user.to_owned(),
        }
    }

    /// Records the start of the session.
    ///
    /// # Errors
    /// When the auditor is gone.
    pub fn begin(&mut self, certificate: bool) -> io::Result<()> {
        let other: &[u8] = if certificate { b"certificate" } else { b"" };
        self.record(Operation {
            subject: Subject {
                command: "BEGIN",
                path: Vec::new(),
                other: other.to_vec(),
            },
            outcome: Outcome::Done,
            bytes: 0,
        })
    }

    /// Records a finished request.
    ///
    /// # Errors
    /// When the auditor is gone.
    pub fn record(&mut self, operation: Operation) -> io::Result<()> {
        let Some(records) = &self.records else {
            return Ok(());
        };
        let record = Record {
            peer: self.peer.as_bytes(),
            user: self.user.as_bytes(),
            command: operation.subject.command.as_bytes(),
            path: &operation.subject.path,
            other: &operation.subject.other,
            outcome: operation.outcome,
            bytes: operation.bytes,
        };
        records.send(&record.to_bytes(), &[])
    }
}

/// A record as a session sends it to the auditor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) peer: &'a [u8],
    pub(crate) user: &'a [u8],
    pub(crate) command: &'a [u8],
    pub(crate) path: &'a [u8],
    pub(crate) other: &'a [u8],
    pub(crate) outcome: Outcome,
    pub(crate) bytes: u64,
}

impl<'a> Record<'a> {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (outcome, code) = match self.outcome {
            Outcome::Done => (0, 0),
            Outcome::BrokenOff => (1, 0),
            Outcome::Lost => (2, 0),
            Outcome::Failed(code) => (3, code.unwrap_or(0)),
        };
        let mut bytes = self.bytes.to_be_bytes().to_vec();
        bytes.push(outcome);
        bytes.extend_from_slice(&code.to_be_bytes());
        for text in [self.peer, self.user, self.command, self.path, self.other] {
            let text = &text[..text.len().min(MAX_TEXT)];
            let len = u16::try_from(text.len()).unwrap_or_default();
            bytes.extend_from_slice(&len.to_be_bytes());
            bytes.extend_from_slice(text);
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &'a [u8]) -> Option<Record<'a>> {
        let (count, rest) = bytes.split_first_chunk()?;
        let ([outcome], rest) = rest.split_first_chunk()?;
        let (code, mut rest) = rest.split_first_chunk()?;
        let outcome = match (*outcome, u16::from_be_bytes(*code)) {
            (0, 0) => Outcome::Done,
            (1, 0) => Outcome::BrokenOff,
            (2, 0) => Outcome::Lost,
            (3, code) => Outcome::Failed((code != 0).then_some(code)),
            _ => return None,
        };
        let mut text = || {
            let (len, behind) = rest.split_first_chunk::<2>()?;
            let (text, behind) = behind.split_at_checked(u16::from_be_bytes(*len).into())?;
            rest = behind;
            Some(text)
        };
        Some(Record {
            peer: text()?,
            user: text()?,
            command: text()?,
            path: text()?,
            other: text()?,
            outcome,
            bytes: u64::from_be_bytes(*count),
        })
    }
}
