//! A wire as bytes, for the process that takes a session over: both ciphers,
//! then what was read ahead.

use std::io;
use std::net::TcpStream;

use zeroize::Zeroizing;

use super::{READ_AHEAD, Wire};
use crate::tf::cipher::Cipher;

/// More bytes than the state of a wire has whose key came in the handshake: two
/// ciphers and what was read ahead. A longer one would cost time at each
/// login, for it is wiped.
pub const MAX_STATE: usize = 32 * 1024;

impl Wire {
    /// The state of an enciphered wire between two messages, and its socket;
    /// `None` where bytes wait to be sent or a new key is not settled.
    #[must_use]
    pub fn into_state(self) -> Option<(TcpStream, Zeroizing<Vec<u8>>)> {
        let bytes = self.state()?;
        Some((self.socket, bytes))
    }

    /// The state alone, for a process that perhaps takes the session over; as
    /// [`Wire::into_state`].
    #[must_use]
    pub fn state(&self) -> Option<Zeroizing<Vec<u8>>> {
        let (Some(rx), Some(tx)) = (&self.rx, &self.tx) else { return None };
        if self.restarted.is_some() || !self.held.is_empty() {
            return None;
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(1024));
        rx.write_state(&mut bytes);
        tx.write_state(&mut bytes);
        bytes.extend_from_slice(&self.ahead[self.used..self.filled]);
        (bytes.len() <= MAX_STATE).then_some(bytes)
    }

    /// The wire with this socket and state.
    ///
    /// # Errors
    /// `InvalidData` when the bytes are no state, or the system's word on the
    /// socket.
    pub fn from_state(socket: TcpStream, mut bytes: &[u8]) -> io::Result<Wire> {
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        let mut wire = Wire::new(socket)?;
        wire.rx = Some(Cipher::read_state(&mut bytes).ok_or_else(broken)?);
        wire.tx = Some(Cipher::read_state(&mut bytes).ok_or_else(broken)?);
        if bytes.len() > READ_AHEAD {
            return Err(broken());
        }
        if !bytes.is_empty() {
            wire.ahead = vec![0; READ_AHEAD].into_boxed_slice();
            wire.ahead[..bytes.len()].copy_from_slice(bytes);
            wire.filled = bytes.len();
        }
        Ok(wire)
    }
}
