//! Receiving: messages and raw units. The header of a message shows which
//! cipher made it, and whether out-of-band bytes stand before it.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::{Cipher, MAX_KEPT_BYTES, MAX_MESSAGE, Result, Wire, WireError};
use crate::net::LinkError;
use crate::sys::number::at_most;

/// Bytes of an unwanted unit that are dropped in one go.
const SKIPPED_BYTES: usize = 4096;

/// The most out-of-band bytes looked for between two messages.
const MAX_URGENT_BYTES: u64 = 4096;

/// How often, and after what pause, it is checked whether there are any.
const URGENT_CHECKS: u32 = 20;
const URGENT_CHECK_PAUSE: Duration = Duration::from_millis(1);

/// So many bytes of a body show whether it begins with a word.
const WORD_BYTES: usize = 8;

impl Wire {
    /// Reads the next message into `body`.
    ///
    /// # Errors
    /// `Closed` at the end of the stream, `Length` before anything of the
    /// body is read, or another failure of the connection.
    pub fn read_message(&mut self, body: &mut Vec<u8>) -> Result<()> {
        self.wait_for_message(false)?;
        self.read_awaited(body)
    }

    /// As [`Wire::read_message`], where nothing is under way: a request to
    /// stop ends the wait.
    pub fn read_request(&mut self, body: &mut Vec<u8>) -> Result<()> {
        if let Some(early) = self.early.take() {
            *body = early;
            return Ok(());
        }
        self.wait_for_message(true)?;
        self.read_awaited(body)
    }

    /// The next request, if the peer has sent it already. It stays the next.
    ///
    /// # Errors
    /// As [`Wire::read_message`].
    pub fn look_at_request(&mut self) -> Result<Option<&[u8]>> {
        if self.early.is_none() && self.has_input() {
            let mut body = Vec::new();
            self.read_request(&mut body)?;
            self.early = Some(body);
        }
        Ok(self.early.as_deref())
    }

    /// Reads a message whose first byte has arrived.
    fn read_awaited(&mut self, body: &mut Vec<u8>) -> Result<()> {
        let len = self.read_length()?;
        if body.capacity() > MAX_KEPT_BYTES && len < MAX_KEPT_BYTES {
            *body = Vec::new();
        }
        body.resize(len, 0);
        self.read_raw(body)
    }

    /// Reads the next message into `body` if it has at most `max` bytes; of a
    /// longer one the rest is read and dropped, and `false` comes back.
    pub fn read_short_message(&mut self, body: &mut Vec<u8>, max: usize) -> Result<bool> {
        self.wait_for_message(true)?;
        let len = self.read_length()?;
        body.resize(len.min(max), 0);
        self.read_raw(body)?;
        self.skip_part(body.len() as u64, len as u64)?;
        Ok(len <= max)
    }

    /// Waits until a byte of the next message is there.
    fn wait_for_message(&mut self, may_stop: bool) -> Result<()> {
        let waited = self.link.wait_for_input(may_stop);
        waited.map_err(|e| self.between_messages(e))
    }

    /// Waits between two messages until `other` is readable or the moment has
    /// come; whether it is readable. No idle limit applies.
    ///
    /// # Errors
    /// `Closed` once the peer sends no more, `Stopped`, or the system's.
    pub fn wait_beside(
        &mut self,
        other: Option<BorrowedFd<'_>>,
        until: Option<Instant>,
    ) -> Result<bool> {
        let waited = self.link.wait_for_other(other, until);
        waited.map_err(|e| self.between_messages(e))
    }

    /// Between two messages an end of the connection may be no loss.
    fn between_messages(&self, e: LinkError) -> WireError {
        match e {
            LinkError::Closed if self.link.may_end_here() => WireError::Closed,
            e => e.into(),
        }
    }

    /// Whether bytes of the peer can be read without waiting.
    pub fn has_input(&mut self) -> bool {
        self.link.has_input()
    }

    /// Whether bytes of the peer are read already and not yet used.
    pub fn has_read_ahead(&self) -> bool {
        self.link.has_read_ahead()
    }

    /// Reads a raw unit as long as `unit`.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn read_raw(&mut self, unit: &mut [u8]) -> Result<()> {
        self.read_part(0, unit)
    }

    /// Reads part of a raw unit whose first `offset` bytes are read already.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn read_part(&mut self, offset: usize, part: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < part.len() {
            // What has arrived is deciphered while more is on its way.
            let some = self.link.read(&mut part[done..])?;
            if let Some(rx) = &mut self.rx {
                rx.decrypt_part(offset + done, &mut part[done..done + some]);
            }
            done += some;
        }
        Ok(())
    }

    /// Reads a raw unit of `len` bytes and drops it.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn skip_raw(&mut self, len: u64) -> Result<()> {
        self.skip_part(0, len)
    }

    /// The same for a unit whose first `done` bytes are read already.
    fn skip_part(&mut self, done: u64, len: u64) -> Result<()> {
        let mut scratch = vec![0; at_most(len.saturating_sub(done), SKIPPED_BYTES)];
        let mut done = done;
        while done < len {
            let n = at_most(len - done, scratch.len());
            self.read_part(
                usize::try_from(done).unwrap_or(usize::MAX),
                &mut scratch[..n],
            )?;
            done += n as u64;
        }
        Ok(())
    }

    /// Reads a raw 8-byte header.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn read_i64(&mut self) -> Result<i64> {
        let mut unit = [0; 8];
        self.read_raw(&mut unit)?;
        Ok(i64::from_be_bytes(unit))
    }

    /// Reads a raw 4-byte header.
    ///
    /// # Errors
    /// Any failure of the connection.
    pub fn read_i32(&mut self) -> Result<i32> {
        let mut unit = [0; 4];
        self.read_raw(&mut unit)?;
        Ok(i32::from_be_bytes(unit))
    }

    /// Reads the header of a message and checks it.
    fn read_length(&mut self) -> Result<usize> {
        let mut header = [0; 4];
        self.link.read_exact(&mut header)?;
        self.settle_key(header)?;
        let first = self.announced(header);
        let mut skipped = 0;
        while valid_length(self.announced(header)).is_none() {
            if skipped == MAX_URGENT_BYTES || !self.has_urgent_bytes() {
                return Err(WireError::Length(first));
            }
            header.copy_within(1.., 0);
            self.link.read_exact(&mut header[3..])?;
            skipped += 1;
        }
        if let Some(urgent_bytes) = self.urgent_bytes.as_ref().filter(|_| skipped > 0) {
            urgent_bytes.found(skipped);
        }
        if let Some(rx) = &mut self.rx {
            rx.decrypt(&mut header);
        }
        valid_length(i32::from_be_bytes(header)).ok_or(WireError::Length(first))
    }

    /// The length in a header, if it is the next unit.
    fn announced(&self, mut header: [u8; 4]) -> i32 {
        if let Some(rx) = &self.rx {
            rx.preview(&mut header);
        }
        i32::from_be_bytes(header)
    }

    /// Whether a header that makes no sense may begin with an out-of-band byte.
    /// The news of the last one of a burst may still be on its way.
    fn has_urgent_bytes(&self) -> bool {
        let Some(urgent_bytes) = &self.urgent_bytes else {
            return false;
        };
        (0..URGENT_CHECKS).any(|check| {
            if check > 0 {
                std::thread::sleep(URGENT_CHECK_PAUSE);
            }
            urgent_bytes.are_possible()
        })
    }

    /// After NIGMA: which of the two possible ciphers made this header?
    fn settle_key(&mut self, header: [u8; 4]) -> Result<()> {
        let Some((restarted, tx)) = self.restarted.take() else {
            return Ok(());
        };
        let Some(kept) = &self.rx else {
            return Ok(());
        };
        let restart = match (length_under(kept, header), length_under(&restarted, header)) {
            (None, Some(_)) => true,
            (_, None) => false,
            (Some(a), Some(b)) => {
                // Once in 8,000 times both are lengths: the first word decides.
                let body = self.link.peek(a.min(b).min(WORD_BYTES))?;
                !begins_with_word(kept, header, &body[..a.min(body.len())])
                    && begins_with_word(&restarted, header, &body[..b.min(body.len())])
            }
        };
        if restart {
            (self.rx, self.tx) = (Some(restarted), Some(tx));
        }
        Ok(())
    }
}

/// The length in a header that this cipher made.
fn length_under(rx: &Cipher, mut header: [u8; 4]) -> Option<usize> {
    rx.preview(&mut header);
    valid_length(i32::from_be_bytes(header))
}

/// Whether the body behind a header begins with a word of a request, if this
/// cipher made both.
fn begins_with_word(rx: &Cipher, mut header: [u8; 4], body: &[u8]) -> bool {
    let mut rx = rx.clone();
    rx.decrypt(&mut header);
    let mut word = body[..body.len().min(WORD_BYTES)].to_vec();
    rx.decrypt(&mut word);
    word.first().is_some_and(u8::is_ascii_alphabetic)
        && word
            .iter()
            .take_while(|c| **c != b' ')
            .all(u8::is_ascii_alphanumeric)
}

/// The length a header announces, if it is one a message can have.
fn valid_length(announced: i32) -> Option<usize> {
    usize::try_from(announced)
        .ok()
        .filter(|len| *len <= MAX_MESSAGE)
}
