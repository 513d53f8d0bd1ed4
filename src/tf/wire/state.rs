//! A wire as bytes, for the process that takes a session over: whether TLS
//! alone protects it (1); unless it does both ciphers; the state of the link.

use std::io;
use std::net::TcpStream;

use zeroize::Zeroizing;

use super::Wire;
use crate::net::Link;
use crate::net::link;
use crate::tf::cipher::{Cipher, MAX_KEY};

/// The state of a wire whose key came in the handshake is no longer: two
/// ciphers and the link.
pub const MAX_STATE_BYTES: usize = 1 + 2 * (2 + MAX_KEY + 8) + link::MAX_STATE_BYTES;

/// Room for the state of most wires on plain TCP.
const USUAL_STATE_BYTES: usize = 1024;

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
        if self.restarted.is_some() {
            return None;
        }
        let room = if self.link.is_over_tls() {
            MAX_STATE_BYTES
        } else {
            USUAL_STATE_BYTES
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        bytes.push(u8::from(self.is_plain_in_tls));
        if !self.is_plain_in_tls {
            self.rx.as_ref()?.write_state(&mut bytes);
            self.tx.as_ref()?.write_state(&mut bytes);
        }
        self.link.write_state(&mut bytes)?;
        (bytes.len() <= MAX_STATE_BYTES).then_some(bytes)
    }

    /// The wire with this socket and state.
    ///
    /// # Errors
    /// `InvalidData` when the bytes are not a state, or the system's error on
    /// the socket.
    pub fn from_state(socket: TcpStream, bytes: &[u8]) -> io::Result<Wire> {
        let (is_plain, ciphers, rest) = read_ciphers(bytes).ok_or(io::ErrorKind::InvalidData)?;
        let mut wire = Wire::on(Link::from_state(socket, rest)?, None);
        if is_plain && !wire.link.is_over_tls() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        wire.is_plain_in_tls = is_plain;
        (wire.rx, wire.tx) = ciphers;
        Ok(wire)
    }
}

type Ciphers = (Option<Cipher>, Option<Cipher>);

/// Whether there are no ciphers; the ciphers; the bytes behind them.
fn read_ciphers(bytes: &[u8]) -> Option<(bool, Ciphers, &[u8])> {
    match bytes.split_first()? {
        (0, mut rest) => {
            let rx = Cipher::read_state(&mut rest)?;
            let tx = Cipher::read_state(&mut rest)?;
            Some((false, (Some(rx), Some(tx)), rest))
        }
        (1, rest) => Some((true, (None, None), rest)),
        _ => None,
    }
}
