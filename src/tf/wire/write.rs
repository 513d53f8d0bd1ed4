//! Sending: messages and raw units, each with one write, long ones in pieces.

use super::{KEEP_BUFFER, Result, Wire};

/// The most bytes enciphered before they are sent: the peer works on one piece
/// while the next is made.
const PIECE: usize = 128 * 1024;

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
        let at = self.held.len();
        self.held.extend_from_slice(&(body.len() as i32).to_be_bytes());
        self.held.extend_from_slice(body);
        if let Some(tx) = &mut self.tx {
            let (header, body) = self.held[at..].split_at_mut(4);
            tx.encrypt(header);
            tx.encrypt(body);
        }
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
        if sent < done || done == 0 { self.write_bytes(&mut bytes[sent..]) } else { Ok(()) }
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
        if self.held.is_empty() {
            return self.send(bytes);
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        self.send(&mut held)
    }
}
