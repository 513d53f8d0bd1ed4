//! What can be wrong with the bytes of a peer, or with the way to it.

use std::io;

use crate::net::LinkError;

/// Why a message can't be had, or not be read. After any but `Field` the
/// connection is over.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The peer closed the connection between two messages.
    #[error("connection closed")]
    Closed,
    /// The peer closed the connection inside a message.
    #[error("connection closed in the middle of a message")]
    Cut,
    /// A message announced a negative length, or one that it can't have.
    #[error("message {code} of {len} bytes announced, at most {most} are taken")]
    Length {
        /// The message's code.
        code: u32,
        /// The length as announced.
        len: u32,
        /// The longest one.
        most: usize,
    },
    /// A message, read whole, has a field that it can't have.
    #[error("wrong field in a message: {0}")]
    Field(&'static str),
    /// The peer let a time limit pass.
    #[error("time limit passed")]
    TimedOut,
    /// The process was asked to end while it waited for a message.
    #[error("asked to end")]
    Stopped,
    /// What the peer sent is not TLS, or not as TLS has it.
    #[error("protocol broken: {0}")]
    Broken(&'static str),
    /// TLS has no key left to continue with. The peer may connect again.
    #[error("{0}")]
    Keyless(&'static str),
    /// The system's error on reading or writing.
    #[error(transparent)]
    Io(io::Error),
}

/// Shorthand for what can fail by the peer.
pub type Result<T> = std::result::Result<T, WireError>;

impl From<LinkError> for WireError {
    fn from(e: LinkError) -> WireError {
        match e {
            LinkError::Closed => WireError::Cut,
            LinkError::TimedOut => WireError::TimedOut,
            LinkError::Stopped => WireError::Stopped,
            LinkError::Tls(text) => WireError::Broken(text),
            LinkError::Keyless(text) => WireError::Keyless(text),
            LinkError::Io(e) => WireError::Io(e),
        }
    }
}

impl From<io::Error> for WireError {
    fn from(e: io::Error) -> WireError {
        LinkError::from(e).into()
    }
}
