//! A file in frames: a raw header with the length, then as many bytes. Each is sent
//! with one write. GET and GETCAN have headers of 8 bytes, SDOWN of 4.
//! Where the kernel makes the records of TLS and nothing is inside, it sends
//! the bytes from its own memory.

use super::hp::PIECE;
use crate::store::read::FileReader;
use crate::store::read::digest::Passing;
use crate::sys::number::at_most;
use crate::tf::wire::{MAX_MESSAGE, Result, Wire, WireError};

/// Frames with fewer bytes are read: header and bytes go out with one call.
const STRAIGHT: usize = 16 * 1024;

/// What became of a frame.
pub(in crate::tf) enum Sent {
    /// It is sent.
    Frame,
    /// The file ends here: none is sent.
    End,
    /// The file can't be read.
    Failed,
}

/// The frames of a file from an offset on.
pub(in crate::tf) struct Frames<'a> {
    file: &'a FileReader,
    offset: u64,
    header: usize,
    buffer: Vec<u8>,
    passing: Option<Passing>,
}

impl<'a> Frames<'a> {
    /// Frames with a header of `header` bytes and at most `limit` bytes after
    /// it, which are held in memory.
    pub(in crate::tf) fn new(
        file: &'a FileReader,
        offset: u64,
        header: usize,
        limit: usize,
    ) -> Frames<'a> {
        let left = file.length.saturating_sub(offset).max(1);
        let size = at_most(left, limit);
        Frames {
            file,
            offset,
            header,
            buffer: vec![0; header + size],
            passing: None,
        }
    }

    /// Lets a digest be made of what is sent.
    pub(in crate::tf) fn with_digest(self, passing: Option<Passing>) -> Frames<'a> {
        Frames { passing, ..self }
    }

    /// What has passed, for its digest.
    pub(in crate::tf) fn into_passing(self) -> Option<Passing> {
        self.passing
    }

    /// Sends the next frame.
    ///
    /// # Errors
    /// When the connection can't go on.
    pub(in crate::tf) fn send(&mut self, wire: &mut Wire) -> Result<Sent> {
        let needs_bytes = self.passing.as_ref().is_some_and(Passing::needs_bytes);
        if wire.takes_files()
            && !needs_bytes
            && let Some(len) = self.straight()
        {
            return self.send_straight(wire, len);
        }
        let (header, data) = self.buffer.split_at_mut(self.header);
        let len = match self.file.read_at(data, self.offset) {
            Ok(0) => return Ok(Sent::End),
            Ok(len) => len,
            Err(_) => return Ok(Sent::Failed),
        };
        announce(header, len);
        self.offset += len as u64;
        if let Some(passing) = &mut self.passing {
            passing.passed(&data[..len], self.offset);
        }
        wire.write_units(&mut self.buffer[..self.header + len], &[self.header, len])?;
        wire.count_data(len);
        Ok(Sent::Frame)
    }

    /// How many bytes the next frame has, if they may go from the file to the
    /// network unread.
    fn straight(&self) -> Option<usize> {
        let length = u64::try_from(rustix::fs::fstat(self.file.handle()).ok()?.st_size).ok()?;
        let left = length.saturating_sub(self.offset);
        let len = at_most(left, self.buffer.len() - self.header);
        (len >= STRAIGHT).then_some(len)
    }

    fn send_straight(&mut self, wire: &mut Wire, len: usize) -> Result<Sent> {
        let header = &mut self.buffer[..self.header];
        announce(header, len);
        let sent = wire.send_file(header, self.file.handle(), self.offset, len)?;
        self.offset += len as u64;
        if let Some(passing) = &mut self.passing {
            passing.passed(&[], self.offset);
        }
        wire.count_data(len);
        Ok(sent.map_or(Sent::Failed, |()| Sent::Frame))
    }
}

/// Puts the length of a frame into its header.
fn announce(header: &mut [u8], len: usize) {
    let bytes = (len as u64).to_be_bytes();
    header.copy_from_slice(&bytes[bytes.len() - header.len()..]);
}

/// Takes a file from the client in frames with headers of 4 bytes (SUP, TFD_STORE): hands
/// their bytes on, in pieces, up to a frame of length 0: `true`; or up to a negative
/// length, with which a client breaks off: `false`.
///
/// # Errors
/// When the connection can't go on; `Length` for a frame above [`MAX_MESSAGE`].
pub(in crate::tf) fn take_frames(
    wire: &mut Wire,
    mut take: impl FnMut(&mut Wire, &[u8]) -> Result<()>,
) -> Result<bool> {
    let mut buffer = Vec::new();
    loop {
        let header = wire.read_i32()?;
        let Ok(len) = usize::try_from(header) else {
            return Ok(false);
        };
        if len > MAX_MESSAGE {
            return Err(WireError::Length(header));
        }
        if len == 0 {
            return Ok(true);
        }
        buffer.resize(len.min(PIECE).max(buffer.len()), 0);
        let mut done = 0;
        while done < len {
            let piece = &mut buffer[..(len - done).min(PIECE)];
            wire.read_part(done, piece)?;
            done += piece.len();
            wire.count_data(piece.len());
            take(wire, piece)?;
        }
    }
}
