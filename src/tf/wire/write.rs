//! Sending: messages and raw units, each with one write, long ones in pieces.

use super::{KEEP_BUFFER, Result, Wire};

/// The most bytes enciphered before they are sent: the peer works on one piece
/// while the next is made.
const PIECE: usize = 128 * 1024;

/// Replies are sent when they are more bytes than this.
const MOST_OWED: usize = 16 * 1024;

/// The header of a message: its length, which 32 bits hold.
pub(crate) fn message_header(len: usize) -> [u8; 4] {
    let [.., a, b, c, d] = len.to_be_bytes();
    [a, b, c, d]
}

impl Wire {
    /// Sends one message with one write.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn write_message(&mut self, body: &[u8]) -> Result<()> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        out.extend_from_slice(&message_header(body.len()));
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
        self.hold_unit(&message_header(body.len()));
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
        if self.has_read_ahead() && self.held.len() < MOST_OWED {
            Ok(())
        } else {
            self.flush()
        }
    }

    /// Sends the bytes that are kept, if there are any.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn flush(&mut self) -> Result<()> {
        if self.held() == 0 {
            Ok(())
        } else {
            self.write_bytes(&mut [])
        }
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
        self.held.len() + self.going.len()
    }

    /// Sends of the bytes that are kept, at most `limit`, as many as the
    /// system takes without waiting.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn send_held(&mut self, limit: usize) -> Result<()> {
        if self.going.is_empty() {
            let some = self.held.len().min(limit);
            self.going = self.held.drain(..some).collect();
            self.seal_going()?;
        }
        self.send_going()
    }

    /// Enciphers `bytes` in place, cut into units of these lengths, and sends
    /// them, with one write unless they are long. The lengths add up to that of
    /// `bytes`.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn write_units(&mut self, bytes: &mut [u8], lengths: &[usize]) -> Result<()> {
        debug_assert_eq!(lengths.iter().sum::<usize>(), bytes.len());
        let (mut sent, mut done) = (0, 0);
        for len in lengths {
            let end = done + len;
            while done < end {
                let piece = (end - done).min(sent + PIECE - done);
                if let Some(tx) = &mut self.tx {
                    tx.encrypt_part(done + len - end, &mut bytes[done..done + piece]);
                }
                done += piece;
                if done == sent + PIECE {
                    self.write_bytes(&mut bytes[sent..done])?;
                    sent = done;
                }
            }
        }
        if sent < done || done == 0 {
            self.write_bytes(&mut bytes[sent..])
        } else {
            Ok(())
        }
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

    fn write_bytes(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.owes = false;
        if !self.going.is_empty() {
            let going = std::mem::take(&mut self.going);
            self.write_raw(&going)?;
        }
        if self.held.is_empty() {
            return self.send(bytes);
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        self.send(&mut held)
    }
}
