//! Sending: messages and raw units, each with one write.

use std::io::Write;

use rustix::io::Errno;
use rustix::net::SendFlags;

use super::meter::count;
use super::{KEEP_BUFFER, Result, Wire, WireError};

/// Replies are sent when they are more bytes than this.
const MOST_OWED: usize = 16 * 1024;

impl Wire {
    /// Sends one message with one write.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn write_message(&mut self, body: &[u8]) -> Result<()> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        out.extend_from_slice(&(body.len() as i32).to_be_bytes());
        out.extend_from_slice(body);
        let sent = self.write_units(&mut out, &[4, body.len()]);
        if out.capacity() <= KEEP_BUFFER {
            self.out = out;
        }
        sent
    }

    /// Enciphers one message now and sends it with the next write: for a
    /// reply behind which another follows at once.
    pub fn write_message_later(&mut self, body: &[u8]) {
        self.hold_unit(&(body.len() as i32).to_be_bytes());
        self.hold_unit(body);
    }

    /// Sends a reply: with those to the requests that came together with its
    /// own, before anything is waited for.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn reply(&mut self, body: &[u8]) -> Result<()> {
        self.write_message_later(body);
        self.reply_is_held()
    }

    /// As [`Wire::reply`] for a raw 4-byte header.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn reply_i32(&mut self, value: i32) -> Result<()> {
        self.hold_unit(&value.to_be_bytes());
        self.reply_is_held()
    }

    fn reply_is_held(&mut self) -> Result<()> {
        self.owes = true;
        if self.has_read_ahead() && self.held.len() < MOST_OWED { Ok(()) } else { self.flush() }
    }

    /// Sends the bytes that are kept, if there are any.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn flush(&mut self) -> Result<()> {
        if self.held.is_empty() { Ok(()) } else { self.write_bytes(&[]) }
    }

    /// Enciphers one raw unit now and keeps it for the next write.
    pub fn hold_unit(&mut self, unit: &[u8]) {
        let at = self.held.len();
        self.held.extend_from_slice(unit);
        if let Some(tx) = &mut self.tx {
            tx.encrypt(&mut self.held[at..]);
        }
    }

    /// How many bytes are kept for the next write.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Sends of the bytes that are kept, at most `limit`, as many as the
    /// system takes without waiting.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn send_held(&mut self, limit: usize) -> Result<()> {
        let some = &self.held[..self.held.len().min(limit)];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = match rustix::net::send(&self.socket, some, flags) {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(e) => return Err(std::io::Error::from(e).into()),
        };
        if let Some(pace) = &self.pace {
            pace.moved(sent);
        }
        if let Some(meter) = &self.meter {
            count(meter.sent, sent);
        }
        self.held.drain(..sent);
        Ok(())
    }

    /// Enciphers `bytes` in place, cut into units of these lengths, and sends
    /// them with one write. The lengths add up to that of `bytes`.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn write_units(&mut self, bytes: &mut [u8], lengths: &[usize]) -> Result<()> {
        debug_assert_eq!(lengths.iter().sum::<usize>(), bytes.len());
        if let Some(tx) = &mut self.tx {
            let mut rest = &mut *bytes;
            for len in lengths {
                let (unit, behind) = rest.split_at_mut(*len);
                tx.encrypt(unit);
                rest = behind;
            }
        }
        self.write_bytes(bytes)
    }

    /// Enciphers in place and sends part of a raw unit whose first `offset`
    /// bytes are sent already.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn write_part(&mut self, offset: usize, part: &mut [u8]) -> Result<()> {
        if let Some(tx) = &mut self.tx {
            tx.encrypt_part(offset, part);
        }
        self.write_bytes(part)
    }

    /// Sends a raw 8-byte header.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn write_i64(&mut self, value: i64) -> Result<()> {
        self.write_units(&mut value.to_be_bytes(), &[8])
    }

    /// Sends a raw 4-byte header.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn write_i32(&mut self, value: i32) -> Result<()> {
        self.write_units(&mut value.to_be_bytes(), &[4])
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.owes = false;
        if let Some(pace) = &self.pace {
            pace.moved(self.held.len() + bytes.len());
        }
        if let Some(meter) = &self.meter {
            count(meter.sent, self.held.len() + bytes.len());
        }
        if self.held.is_empty() {
            return self.socket.write_all(bytes).map_err(WireError::from);
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        self.socket.write_all(&held).map_err(WireError::from)
    }
}
