//! Writing: at once, or held back for the next write.

use std::io::{self, Write};

use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::{Link, Result};

/// What the peer waits for is sent once it is more bytes than this.
const MAX_OWED_BYTES: usize = 16 * 1024;

/// A larger buffer of held bytes is given back after the write.
const MAX_KEPT_BYTES: usize = 64 * 1024;

impl Link {
    /// Appends bytes to those that go out with the next write, and returns them
    /// for changes in place.
    pub fn hold(&mut self, bytes: &[u8]) -> &mut [u8] {
        let at = self.held.len();
        self.held.extend_from_slice(bytes);
        &mut self.held[at..]
    }

    /// How many bytes are held for the next write.
    pub fn held(&self) -> usize {
        self.held.len() + self.going.len()
    }

    /// Sends what is held before the peer is waited for: at once unless the
    /// peer has sent more already, to which the answer may go out with this.
    pub fn flush_in_time(&mut self) -> Result<()> {
        self.owes = true;
        if self.has_read_ahead() && self.held.len() < MAX_OWED_BYTES {
            return Ok(());
        }
        self.flush()
    }

    /// Sends what is held, if there is anything.
    pub fn flush(&mut self) -> Result<()> {
        if self.held() == 0 {
            return Ok(());
        }
        self.write(&mut [])
    }

    /// Sends at most `limit` of the bytes held, as many as the system takes
    /// without waiting.
    pub fn send_held(&mut self, limit: usize) -> Result<()> {
        if self.going.is_empty() {
            let some = self.held.len().min(limit);
            self.going = self.held.drain(..some).collect();
            self.seal_going()?;
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = match send(&self.socket, &self.going, flags) {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(e) => return Err(io::Error::from(e).into()),
        };
        self.account(sent);
        self.going.drain(..sent);
        Ok(())
    }

    /// Sends what is held and these bytes behind it. Over TLS they are
    /// enciphered in place.
    pub fn write(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.owes = false;
        if !self.going.is_empty() {
            let going = std::mem::take(&mut self.going);
            self.write_socket(&going)?;
        }
        if self.held.is_empty() {
            return self.send(bytes);
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        self.send(&mut held)?;
        if held.capacity() <= MAX_KEPT_BYTES {
            held.clear();
            self.held = held;
        }
        Ok(())
    }

    fn send(&mut self, bytes: &mut [u8]) -> Result<()> {
        match self.records.take() {
            None => self.write_socket(bytes),
            Some(mut records) => {
                let sent = self.send_records(&mut records, bytes);
                self.records = Some(records);
                sent
            }
        }
    }

    /// Sends bytes as they are.
    pub(super) fn write_socket(&mut self, bytes: &[u8]) -> Result<()> {
        self.account(bytes.len());
        Ok(self.socket.write_all(bytes)?)
    }

    /// Counts bytes that are about to go out, once they are due.
    pub(super) fn account(&self, bytes: usize) {
        self.keep_pace(bytes);
        self.count_sent(bytes);
    }
}
