//! Sending: messages and raw units, each with one write, long ones in pieces.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::{MAX_KEPT_BYTES, Result, Wire};

/// The most bytes enciphered before they are sent: the peer works on one piece
/// while the next is made.
const PIECE_BYTES: usize = 128 * 1024;

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
        if out.capacity() <= MAX_KEPT_BYTES {
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
        Ok(self.link.flush_in_time()?)
    }

    /// As [`Wire::reply`] for a raw 4-byte header.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn reply_i32(&mut self, value: i32) -> Result<()> {
        self.reply_unit(&value.to_be_bytes())
    }

    /// As [`Wire::reply`] for a raw unit.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn reply_unit(&mut self, unit: &[u8]) -> Result<()> {
        self.hold_unit(unit);
        Ok(self.link.flush_in_time()?)
    }

    /// Enciphers one raw unit now and keeps it for the next write.
    pub fn hold_unit(&mut self, unit: &[u8]) {
        let held = self.link.hold(unit);
        if let Some(tx) = &mut self.tx {
            tx.encrypt(held);
        }
    }

    /// Sends the bytes that are held, if there are any.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn flush(&mut self) -> Result<()> {
        Ok(self.link.flush()?)
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
                let piece = (end - done).min(sent + PIECE_BYTES - done);
                if let Some(tx) = &mut self.tx {
                    tx.encrypt_part(done + len - end, &mut bytes[done..done + piece]);
                }
                done += piece;
                if done == sent + PIECE_BYTES {
                    self.link.write(&mut bytes[sent..done])?;
                    sent = done;
                }
            }
        }
        if sent < done || done == 0 {
            self.link.write(&mut bytes[sent..])?;
        }
        Ok(())
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
        Ok(self.link.write(part)?)
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

    /// Whether the content of files goes out as it is, so that
    /// [`Wire::send_file`] will do.
    pub fn takes_files(&self) -> bool {
        self.is_plain_in_tls && self.link.is_sealed_by_kernel()
    }

    /// As [`Link::send_file`](crate::net::Link::send_file).
    ///
    /// # Errors
    /// Outside any failure of the connection; inside why the bytes were not all
    /// the file's.
    pub fn send_file(
        &mut self,
        header: &[u8],
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
    ) -> Result<std::result::Result<(), Errno>> {
        Ok(self.link.send_file(header, file, offset, len)?)
    }
}
