//! Why something failed, in the numbers of the public client: scripts compare
//! them. bbftp(1) lists them.

use std::fmt::Display;
use std::path::Path;

pub(super) use crate::client::bbftp::Fate;
pub(super) use crate::text::reason;
use crate::text::shown;

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The exit status.
    pub(super) code: u8,
    /// The text behind the number.
    pub(super) text: String,
    /// What may follow.
    pub(super) fate: Fate,
}

/// Shorthand for what a step can fail at.
pub(super) type Result<T, E = Failure> = std::result::Result<T, E>;

/// What the server says is wrong.
pub(super) const BY_SERVER: u8 = 100;

/// The connection ended, or the server said nothing.
pub(super) const LOST: u8 = 61;

/// The command is unknown.
pub(super) const UNKNOWN_COMMAND: u8 = 25;

/// A command has arguments that it can't have.
pub(super) const BAD_ARGUMENTS: u8 = 26;

impl Failure {
    pub(super) fn new(code: u8, fate: Fate, text: impl Into<String>) -> Failure {
        let text = text.into();
        Failure { code, text, fate }
    }

    /// One that no attempt can change.
    pub(super) fn last(code: u8, text: impl Into<String>) -> Failure {
        Failure::new(code, Fate::Final, text)
    }

    /// One that ends the program.
    pub(super) fn end(code: u8, text: impl Into<String>) -> Failure {
        Failure::new(code, Fate::End, text)
    }

    /// The connection ended.
    pub(super) fn lost() -> Failure {
        Failure::new(LOST, Fate::Reconnect, "The connection was lost")
    }

    /// Nothing was told about a file.
    pub(super) fn untold() -> Failure {
        Failure::new(LOST, Fate::Again, "Nothing was told about this file")
    }

    /// A command with arguments that it can't have.
    pub(super) fn incorrect(command: impl Display) -> Failure {
        Failure::last(BAD_ARGUMENTS, format!("Incorrect command : {command}"))
    }
}

/// A path as it is safe to print.
pub(super) fn shown_path(path: &Path) -> String {
    shown(path.as_os_str().as_encoded_bytes())
}
