//! Why a connection can't go on.

use std::io;

use super::MAX_MESSAGE;

/// Why a wire can't go on. After any of these the connection is over.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The peer closed the connection between two messages.
    #[error("connection closed")]
    Closed,
    /// The peer closed the connection inside a message or a raw unit.
    #[error("connection closed in the middle of a message")]
    Cut,
    /// A message header with a negative length or one above [`MAX_MESSAGE`].
    #[error("message of {0} bytes announced, allowed are 0 to {MAX_MESSAGE}")]
    Length(i32),
    /// The peer let a time limit pass.
    #[error("time limit passed")]
    TimedOut,
    /// The process was asked to end while it waited for a message.
    #[error("asked to end")]
    Stopped,
    /// The peer sent what has no meaning where it stands.
    #[error("protocol broken: {0}")]
    Broken(&'static str),
    /// There is no key of TLS to go on with. The peer may come back.
    #[error("{0}")]
    Keyless(&'static str),
    /// The system's word on why reading or writing failed.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for WireError {
    fn from(e: io::Error) -> WireError {
        match e.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => WireError::TimedOut,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => WireError::Cut,
            _ => WireError::Io(e),
        }
    }
}

/// Shorthand for what can fail by the connection.
pub type Result<T> = std::result::Result<T, WireError>;
