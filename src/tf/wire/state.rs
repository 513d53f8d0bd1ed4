//! A wire as bytes, for the process that takes a session over. Shape: what is
//! below (1: 0 TCP, 1 TLS, 2 TLS alone); but for 2 both ciphers; the length (2)
//! and the bytes of what was read ahead; but for 0 the records of TLS.

use std::io;
use std::net::TcpStream;

use zeroize::Zeroizing;

use super::link::{Inside, Link};
use super::{READ_AHEAD, Wire};
use crate::net::tls::records;
use crate::net::tls::records::Records;
use crate::tf::cipher::Cipher;

/// More bytes than the state of a wire has whose key came in the handshake: two
/// ciphers, what was read ahead, records. A longer one would cost time at each
/// login, for it is wiped.
pub const MAX_STATE: usize = 32 * 1024 + records::MAX_STATE;

const TCP: u8 = 0;
const TLS: u8 = 1;
const TLS_ALONE: u8 = 2;

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
        if self.restarted.is_some() || !self.held.is_empty() {
            return None;
        }
        let room = if self.is_tcp() { 1024 } else { MAX_STATE };
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        bytes.push(match &self.link {
            Link::Tcp => TCP,
            Link::Tls(_, Inside::Cipher) => TLS,
            Link::Tls(_, Inside::Plain) => TLS_ALONE,
        });
        if !self.is_plain_in_tls() {
            self.rx.as_ref()?.write_state(&mut bytes);
            self.tx.as_ref()?.write_state(&mut bytes);
        }
        let ahead = &self.ahead[self.used..self.filled];
        let [.., high, low] = ahead.len().to_be_bytes();
        bytes.extend_from_slice(&[high, low]);
        bytes.extend_from_slice(ahead);
        if let Link::Tls(records, _) = &self.link {
            records.write_state(&mut bytes)?;
        }
        (bytes.len() <= MAX_STATE).then_some(bytes)
    }

    /// The wire with this socket and state.
    ///
    /// # Errors
    /// `InvalidData` when the bytes are no state, or the system's word on the
    /// socket.
    pub fn from_state(socket: TcpStream, bytes: &[u8]) -> io::Result<Wire> {
        // The limits of the process that had it are none of ours.
        socket.set_read_timeout(None)?;
        socket.set_write_timeout(None)?;
        let mut wire = Wire::new(socket)?;
        wire.read_state(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(wire)
    }

    fn read_state(&mut self, bytes: &[u8]) -> Option<()> {
        let (below, mut bytes) = bytes.split_first()?;
        let inside = match *below {
            TCP => None,
            TLS => Some(Inside::Cipher),
            TLS_ALONE => Some(Inside::Plain),
            _ => return None,
        };
        if inside != Some(Inside::Plain) {
            self.rx = Some(Cipher::read_state(&mut bytes)?);
            self.tx = Some(Cipher::read_state(&mut bytes)?);
        }
        let (len, bytes) = bytes.split_first_chunk::<2>()?;
        let (ahead, bytes) = bytes.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        if ahead.len() > READ_AHEAD {
            return None;
        }
        if !ahead.is_empty() {
            self.ahead = vec![0; READ_AHEAD].into_boxed_slice();
            self.ahead[..ahead.len()].copy_from_slice(ahead);
            self.filled = ahead.len();
        }
        match inside {
            None => bytes.is_empty().then_some(()),
            Some(inside) => {
                self.above_tls(Records::read_state(bytes)?, inside);
                Some(())
            }
        }
    }
}
