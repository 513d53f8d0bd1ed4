//! What can go wrong, with the numbers of the public client and what may be tried
//! next.

use std::io;
use std::path::Path;

use crate::bbftp::wire::WireError;
use crate::text::{lossy, reason, shown};

/// What may be tried after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The next command: this one would fail again.
    Final,
    /// The same command.
    Again,
    /// The same command on a new connection.
    Reconnect,
    /// The next command on a new connection.
    FinalReconnect,
    /// Nothing.
    End,
}

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    /// The exit status of the public client for it.
    pub code: u8,
    /// What happened.
    pub text: String,
    /// What may be tried next.
    pub fate: Fate,
}

/// The result of what a client does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

pub(super) const HOST: u8 = 17;
pub(super) const INTERRUPTED: u8 = 33;
pub(super) const COMMAND: u8 = 41;
pub(super) const CONNECT: u8 = 52;
pub(super) const NO_GREETING: u8 = 54;
pub(super) const NOT_CRYPT: u8 = 55;
pub(super) const KEY: u8 = 56;
pub(super) const METHOD: u8 = 57;
pub(super) const LOGIN_SENDING: u8 = 58;
pub(super) const LOGIN_ANSWER: u8 = 59;
pub(super) const WAITING: u8 = 61;
pub(super) const UNKNOWN: u8 = 62;
pub(super) const LENGTH: u8 = 63;
pub(super) const SENDING: u8 = 64;
pub(super) const READING: u8 = 67;
pub(super) const PORTS: u8 = 68;
pub(super) const STAT: u8 = 72;
pub(super) const DIRECTORY: u8 = 73;
pub(super) const NOT_WRITABLE: u8 = 74;
pub(super) const NEEDS_DIRECTORY: u8 = 75;
pub(super) const NO_DIRECTORY: u8 = 76;
pub(super) const CREATE: u8 = 77;
pub(super) const OPEN: u8 = 78;
pub(super) const WRITE: u8 = 79;
pub(super) const RENAME: u8 = 81;
pub(super) const MKDIR: u8 = 82;
pub(super) const TIMES: u8 = 84;
pub(super) const CHMOD: u8 = 85;
pub(super) const LISTEN: u8 = 91;
pub(super) const DATA: u8 = 95;
pub(super) const SERVER: u8 = 100;
pub(super) const VERSIONS: u8 = 101;

impl Error {
    pub(super) fn new(code: u8, fate: Fate, text: impl Into<String>) -> Error {
        let text = text.into();
        Error { code, text, fate }
    }

    /// A failure of a local file, in the words of the public client where it has
    /// any.
    pub(super) fn local(code: u8, what: &str, path: &Path, e: &io::Error) -> Error {
        let path = shown(path.as_os_str().as_encoded_bytes());
        let reason = reason(e);
        let text = match code {
            STAT => format!("Error {what} file {path} : {reason} "),
            MKDIR => format!("Error {what} directory {path} ({reason})"),
            CREATE => format!("File {path} creation error : {reason}"),
            _ => format!("Error {what} file {path} : {reason}"),
        };
        Error::new(code, Fate::Final, text)
    }

    /// What the server says is wrong.
    pub(super) fn server(text: &[u8], fate: Fate) -> Error {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        Error::new(SERVER, fate, lossy(text))
    }

    /// The failure to read a message.
    pub(super) fn reading(e: &WireError) -> Error {
        let (code, fate) = match e {
            WireError::TimedOut => (WAITING, Fate::Reconnect),
            WireError::Length { .. } => (LENGTH, Fate::FinalReconnect),
            WireError::Field(_) => (UNKNOWN, Fate::FinalReconnect),
            WireError::Stopped => (INTERRUPTED, Fate::End),
            _ => (READING, Fate::Reconnect),
        };
        Error::new(code, fate, format!("Error reading a message: {e}"))
    }

    /// The failure to send one.
    pub(super) fn sending(e: &WireError) -> Error {
        let text = format!("Error sending a message: {e}");
        Error::new(SENDING, Fate::Reconnect, text)
    }

    /// A message that makes no sense here.
    pub(super) fn unknown(code: u32) -> Error {
        let text = format!("Unknown message {code} from the server");
        Error::new(UNKNOWN, Fate::FinalReconnect, text)
    }

    /// The same with another number.
    pub(super) fn with_code(self, code: u8) -> Error {
        Error { code, ..self }
    }

    /// Whether the connection can go on.
    pub(super) fn ends_connection(&self) -> bool {
        !matches!(self.fate, Fate::Final | Fate::Again)
    }
}
