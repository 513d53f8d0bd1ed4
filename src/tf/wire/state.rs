//! A wire as a message, for the process that takes a session over.

use std::io;
use std::net::TcpStream;

use zeroize::Zeroizing;

use super::Wire;
use crate::ipc::codec::{Decode, Encode, Writer, codec};
use crate::net::Link;
use crate::net::link::LinkState;
use crate::tf::cipher::Cipher;

/// Most states are no longer.
const USUAL_STATE_BYTES: usize = 1024;

struct WireState {
    /// From the peer and to it; none where TLS alone protects.
    ciphers: Option<(Cipher, Cipher)>,
    link: LinkState,
}

codec!(struct WireState { ciphers, link });

impl Wire {
    /// The state of an enciphered wire between two messages, and its socket;
    /// `None` where bytes wait to be sent or a new key is not settled.
    pub fn into_state(self) -> Option<(TcpStream, Zeroizing<Vec<u8>>)> {
        let bytes = self.state()?;
        Some((self.link.into_socket(), bytes))
    }

    /// The state alone, for a process that perhaps takes the session over; as
    /// [`Wire::into_state`].
    pub fn state(&self) -> Option<Zeroizing<Vec<u8>>> {
        let ciphers = match (&self.rx, &self.tx, &self.restarted) {
            (Some(rx), Some(tx), None) => Some((rx.clone(), tx.clone())),
            (None, None, None) if self.is_plain_in_tls => None,
            _ => return None,
        };
        let link = self.link.state()?;
        let state = WireState { ciphers, link };
        let mut out = Writer::default();
        // Memory that grows would leave copies behind that nobody wipes.
        out.bytes.reserve(USUAL_STATE_BYTES);
        state.encode(&mut out);
        Some(out.bytes)
    }

    /// The wire with this socket and state.
    ///
    /// # Errors
    /// `InvalidData` when the bytes are not a state, or the system's error on
    /// the socket.
    pub fn from_state(socket: TcpStream, bytes: &[u8]) -> io::Result<Wire> {
        let state = WireState::from_bytes(bytes).ok_or(io::ErrorKind::InvalidData)?;
        let mut wire = Wire::on(Link::from_state(socket, &state.link)?, None);
        wire.is_plain_in_tls = state.ciphers.is_none();
        if wire.is_plain_in_tls && !wire.is_over_tls() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        (wire.rx, wire.tx) = state.ciphers.unzip();
        Ok(wire)
    }
}
