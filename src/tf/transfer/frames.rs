//! Sending a file in frames: a raw header with the length, then as many
//! bytes, in one write. GET and GETCAN have headers of 8 bytes, SDOWN of 4.

use rustix::io::Errno;

use super::hp::PIECE;
use crate::store::read::FileReader;
use crate::tf::wire::{Result, Wire};

/// The frames of a file from an offset on.
pub(super) struct Frames<'a> {
    file: &'a FileReader,
    offset: u64,
    header: usize,
    buffer: Vec<u8>,
}

impl<'a> Frames<'a> {
    /// Frames with a header of `header` bytes and at most `limit` bytes behind
    /// it.
    pub(super) fn new(file: &'a FileReader, offset: u64, header: usize, limit: u64) -> Frames<'a> {
        let left = file.length.saturating_sub(offset).max(1);
        let size = limit.min(left).min(PIECE as u64) as usize;
        Frames { file, offset, header, buffer: vec![0; header + size] }
    }

    /// Sends the next frame; `false` at the end of the file, where none is
    /// sent.
    ///
    /// # Errors
    /// Outside when the connection can't go on, inside when reading failed.
    pub(super) fn send(&mut self, wire: &mut Wire) -> Result<std::result::Result<bool, Errno>> {
        let (header, data) = self.buffer.split_at_mut(self.header);
        let len = match self.file.read_at(data, self.offset) {
            Ok(0) => return Ok(Ok(false)),
            Ok(len) => len,
            Err(e) => return Ok(Err(e)),
        };
        let bytes = (len as u64).to_be_bytes();
        header.copy_from_slice(&bytes[bytes.len() - header.len()..]);
        self.offset += len as u64;
        wire.write_units(&mut self.buffer[..self.header + len], &[self.header, len])?;
        wire.count_data(len);
        Ok(Ok(true))
    }
}
