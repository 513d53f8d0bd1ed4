//! Bytes received: first what is deciphered and not yet given out, then
//! records as they came. One buffer holds both.

use crate::net::tls::records::{Fault, HEADER, MAX_CONTENT};

/// The most bytes behind a record's header (RFC 8446, 5.2).
const MAX_RECORD_BYTES: usize = MAX_CONTENT + 256;

/// Bytes of the buffer: a record, and where much is to come, many of them.
pub(crate) const MAX_HELD_BYTES: usize = HEADER + MAX_RECORD_BYTES;
const LARGE_BYTES: usize = 256 * 1024;

/// A read of so many bytes at once gets the large buffer, once it may be.
const LARGE_READ_BYTES: usize = 64 * 1024;

/// The buffer. None is there before the first byte comes.
#[derive(Default)]
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    /// Where what is deciphered begins and ends.
    plain: (usize, usize),
    /// Where what is not begins and ends; behind the other.
    from: usize,
    to: usize,
    may_be_large: bool,
}

impl Inbox {
    /// From now on the buffer is a large one when much is wanted.
    pub(crate) fn let_grow(&mut self) {
        self.may_be_large = true;
    }

    /// Gives the buffer back, if it holds nothing.
    pub(crate) fn rest(&mut self) {
        if self.plain_len() == 0 && self.from == self.to {
            *self = Inbox {
                may_be_large: self.may_be_large,
                ..Inbox::default()
            };
        }
    }

    /// Whether it has no buffer yet, or none any more.
    pub(crate) fn has_no_buffer(&self) -> bool {
        self.buffer.is_empty()
    }

    /// What it holds, as bytes deciphered and bytes as they came.
    pub(crate) fn contents(&self) -> (&[u8], &[u8]) {
        (
            &self.buffer[self.plain.0..self.plain.1],
            &self.buffer[self.from..self.to],
        )
    }

    /// One that holds this; `None` for more than fits.
    pub(crate) fn holding(plain: &[u8], raw: &[u8]) -> Option<Inbox> {
        let to = plain.len() + raw.len();
        if to > MAX_HELD_BYTES {
            return None;
        }
        let mut buffer = vec![0; if to == 0 { 0 } else { MAX_HELD_BYTES }];
        buffer[..plain.len()].copy_from_slice(plain);
        buffer[plain.len()..to].copy_from_slice(raw);
        Some(Inbox {
            buffer,
            plain: (0, plain.len()),
            from: plain.len(),
            to,
            may_be_large: false,
        })
    }

    /// Room for what comes next, where so many bytes are wanted. Only where no
    /// whole record is there and nothing deciphered.
    pub(crate) fn room(&mut self, wanted: usize) -> &mut [u8] {
        let size = if self.may_be_large && wanted >= LARGE_READ_BYTES {
            LARGE_BYTES
        } else {
            MAX_HELD_BYTES
        };
        if self.buffer.len() < size {
            // New memory costs nothing before it is used.
            let mut buffer = vec![0; size];
            buffer[..self.to].copy_from_slice(&self.buffer[..self.to]);
            self.buffer = buffer;
        }
        if self.from > 0 && (self.from == self.to || self.buffer.len() - self.from < MAX_HELD_BYTES)
        {
            self.buffer.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
            self.plain = (0, 0);
        }
        &mut self.buffer[self.to..]
    }

    /// Counts bytes put into [`Inbox::room`].
    pub(crate) fn arrived(&mut self, n: usize) {
        self.to += n;
    }

    /// The length of the first record, without its header, if it is whole.
    ///
    /// # Errors
    /// When its header announces more than a record may have.
    pub(crate) fn whole_record(&self) -> Result<Option<usize>, Fault> {
        let raw = &self.buffer[self.from..self.to];
        let Some(header) = raw.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if len > MAX_RECORD_BYTES {
            return Err(Fault::TOO_LONG);
        }
        Ok((raw.len() >= HEADER + len).then_some(len))
    }

    /// The first bytes as they came.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
    }

    /// The first so many bytes as they came, to be deciphered by others.
    pub(crate) fn front_raw(&mut self, len: usize) -> &mut [u8] {
        &mut self.buffer[self.from..self.from + len]
    }

    /// Drops the first so many bytes.
    pub(crate) fn skip(&mut self, len: usize) {
        self.from += len;
    }

    /// Header and bytes of the first record, which is whole.
    pub(crate) fn front(&mut self, len: usize) -> ([u8; HEADER], &mut [u8]) {
        let record = &mut self.buffer[self.from..self.from + HEADER + len];
        let (header, record) = record.split_at_mut(HEADER);
        let header = [header[0], header[1], header[2], header[3], header[4]];
        (header, record)
    }

    /// Takes the first record out, of which so many bytes are deciphered where
    /// they were.
    pub(crate) fn opened(&mut self, len: usize, plain: usize) {
        let begin = self.from + HEADER;
        self.plain = (begin, begin + plain);
        self.from = begin + len;
    }

    /// How many bytes are deciphered and not yet given out.
    pub(crate) fn plain_len(&self) -> usize {
        self.plain.1 - self.plain.0
    }

    /// Gives out what is deciphered; how many bytes.
    pub(crate) fn take_plain(&mut self, to: &mut [u8]) -> usize {
        let n = self.plain_len().min(to.len());
        let begin = self.plain.0;
        to[..n].copy_from_slice(&self.buffer[begin..begin + n]);
        self.plain.0 += n;
        n
    }
}
