//! The bytes of one file on its data connections, for server and client alike:
//! each stream carries one range of the file, in a thread of its own, and ends
//! with an acknowledgement by the receiver. The first stream that fails ends the
//! others. Nothing here knows where the connections came from.

mod connection;
mod gzip;
pub mod kept;
mod plain;
mod range;
pub mod sealed;
#[cfg(test)]
mod tests;
mod transfer;

use rustix::io::Errno;

use crate::net::LinkError;

pub use range::partition;
pub use transfer::{Coding, Direction, Job, Streams};

/// Why a stream failed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The connection is over.
    #[error("data connection: {0}")]
    Link(#[from] LinkError),
    /// The system's error on the file.
    #[error("file: {0}")]
    File(std::io::Error),
    /// A compressed stream that breaks its rules.
    #[error("compressed data: {0}")]
    Chunk(&'static str),
    /// The sender sent more than its range.
    #[error("more bytes than announced")]
    TooMany,
    /// Something else came in place of the acknowledgement.
    #[error("no acknowledgement")]
    NotAcknowledged,
    /// It was ended from outside.
    #[error("ended")]
    Aborted,
}

impl StreamError {
    /// The system's error that says the same.
    pub fn errno(&self) -> Errno {
        let of = |e: &std::io::Error| Errno::from_io_error(e).unwrap_or(Errno::IO);
        match self {
            StreamError::Link(LinkError::TimedOut) => Errno::TIMEDOUT,
            StreamError::Link(LinkError::Io(e)) => of(e),
            StreamError::Link(_) => Errno::CONNRESET,
            StreamError::File(e) => of(e),
            StreamError::Chunk(_) | StreamError::TooMany => Errno::ILSEQ,
            StreamError::NotAcknowledged => Errno::PERM,
            StreamError::Aborted => Errno::INTR,
        }
    }
}

type Result<T> = std::result::Result<T, StreamError>;
