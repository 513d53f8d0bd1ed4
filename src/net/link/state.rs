//! A link as a message, for the process that takes the connection over.

use std::io;
use std::net::TcpStream;

use zeroize::Zeroizing;

use super::Link;
use super::read::ReadAhead;
use crate::ipc::codec::codec;
use crate::net::tls::records::{Records, RecordsState};

/// What goes on in another process, but for the socket.
pub struct LinkState {
    /// Bytes read and not yet used.
    ahead: Zeroizing<Vec<u8>>,
    /// The records of TLS, where it is spoken.
    records: Option<RecordsState>,
}

codec!(struct LinkState { ahead, records });

impl Link {
    /// The socket, for the process that takes the connection over.
    pub fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// The state; `None` where bytes wait to be sent or the kernel has a part
    /// of it.
    pub fn state(&self) -> Option<LinkState> {
        if self.held() > 0 {
            return None;
        }
        let records = match &self.records {
            Some(records) => Some(records.state()?),
            None => None,
        };
        let ahead = self.ahead.bytes().to_vec().into();
        Some(LinkState { ahead, records })
    }

    /// The link with this socket and state. Fails with `InvalidData` for a
    /// state that no link has.
    pub fn from_state(socket: TcpStream, state: &LinkState) -> io::Result<Link> {
        // The time limits were those of the process that had it.
        socket.set_read_timeout(None)?;
        socket.set_write_timeout(None)?;
        let mut link = Link::new(socket)?;
        link.ahead = ReadAhead::holding(&state.ahead).ok_or(io::ErrorKind::InvalidData)?;
        if let Some(records) = &state.records {
            link.start_tls(Records::from_state(records).ok_or(io::ErrorKind::InvalidData)?);
        }
        Ok(link)
    }
}
