//! A link as bytes, for the process that takes the connection over: whether it
//! speaks TLS (1); the length (2) and the bytes of what was read ahead; over TLS
//! the state of the records.

use std::io;
use std::net::TcpStream;

use zeroize::Zeroizing;

use super::Link;
use super::read::{READ_AHEAD_BYTES, ReadAhead};
use crate::net::tls::records::{self, Records};

/// No state is longer.
pub const MAX_STATE_BYTES: usize = 1 + 2 + READ_AHEAD_BYTES + records::MAX_STATE;

impl Link {
    /// The socket, for the process that takes the connection over with the
    /// bytes of [`Link::write_state`].
    pub fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// Appends the state; `None` where bytes wait to be sent or the kernel has
    /// a part of it.
    pub fn write_state(&self, bytes: &mut Zeroizing<Vec<u8>>) -> Option<()> {
        if self.held() > 0 {
            return None;
        }
        bytes.push(u8::from(self.is_over_tls()));
        let ahead = self.ahead.bytes();
        bytes.extend_from_slice(&u16::try_from(ahead.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(ahead);
        match &self.records {
            None => Some(()),
            Some(records) => records.write_state(bytes),
        }
    }

    /// The link with this socket and state. Fails with `InvalidData` when the
    /// bytes are not a state.
    pub fn from_state(socket: TcpStream, bytes: &[u8]) -> io::Result<Link> {
        // The time limits were those of the process that had it.
        socket.set_read_timeout(None)?;
        socket.set_write_timeout(None)?;
        let mut link = Link::new(socket)?;
        link.read_state(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(link)
    }

    fn read_state(&mut self, bytes: &[u8]) -> Option<()> {
        let (over_tls, bytes) = bytes.split_first()?;
        let (len, bytes) = bytes.split_first_chunk::<2>()?;
        let (ahead, bytes) = bytes.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        self.ahead = ReadAhead::holding(ahead)?;
        match over_tls {
            0 => bytes.is_empty().then_some(()),
            1 => {
                self.start_tls(Records::read_state(bytes)?);
                Some(())
            }
            _ => None,
        }
    }
}
