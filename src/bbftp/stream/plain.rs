//! A range as it is.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use super::connection::Connection;
use super::transfer::Common;
use super::{Result, StreamError};
use crate::store::behind::WriteBehind;
use crate::sys::number::at_most;

/// Bytes that are enciphered here at once: they stay in the processor's cache.
const SEALED_PIECE: usize = 64 * 1024;

/// Sends a range: by the kernel, unless it has to be enciphered here.
pub(super) fn send(
    common: &Common,
    connection: &mut Connection<'_>,
    range: Range<u64>,
) -> Result<()> {
    let file = &*common.job.file;
    let link = connection.link();
    let by_kernel = !link.is_over_tls() || link.is_sealed_by_kernel();
    let (piece, mut buffer) = match by_kernel {
        true => (common.piece(), Vec::new()),
        false => {
            let piece = common.piece().min(SEALED_PIECE);
            (piece, vec![0; at_most(range.end - range.start, piece)])
        }
    };
    let mut at = range.start;
    while at < range.end {
        let len = at_most(range.end - at, piece);
        if by_kernel {
            connection.send_file(file, at, len)?;
        } else {
            read(file, &mut buffer[..len], at)?;
            connection.write(&buffer[..len])?;
        }
        at += len as u64;
        common.moved(len);
    }
    Ok(())
}

/// Reads bytes that the file had when its size was told.
pub(super) fn read(file: &File, to: &mut [u8], at: u64) -> Result<()> {
    file.read_exact_at(to, at).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => StreamError::File(rustix::io::Errno::IO.into()),
        _ => StreamError::File(e),
    })
}

/// What is received goes to the file here, from front to back of a range.
pub(super) struct Receiver<'a> {
    common: &'a Common,
    left: Range<u64>,
    buffer: Vec<u8>,
    behind: WriteBehind,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(common: &'a Common, range: Range<u64>) -> Receiver<'a> {
        let behind = WriteBehind::new(range.start, common.job.write_behind);
        Receiver {
            common,
            left: range,
            buffer: Vec::new(),
            behind,
        }
    }

    /// How many bytes of the range are missing.
    pub(super) fn missing(&self) -> u64 {
        self.left.end - self.left.start
    }

    /// Receives the rest of the range.
    pub(super) fn receive(&mut self, connection: &mut Connection<'_>) -> Result<()> {
        self.receive_some(connection, self.missing())
    }

    /// Receives so many bytes, which are missing.
    pub(super) fn receive_some(&mut self, connection: &mut Connection<'_>, len: u64) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let room = at_most(len, self.common.piece());
        if buffer.len() < room {
            buffer = vec![0; room];
        }
        let mut left = len;
        while left > 0 {
            let room = at_most(left, self.common.piece());
            let n = connection.read(&mut buffer[..room])?;
            self.write(&buffer[..n])?;
            left -= n as u64;
        }
        self.buffer = buffer;
        Ok(())
    }

    /// Writes the next bytes, which are missing.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let file = &*self.common.job.file;
        file.write_all_at(bytes, self.left.start)
            .map_err(StreamError::File)?;
        self.left.start += bytes.len() as u64;
        self.common.moved(bytes.len());
        self.behind.wrote(file.as_fd(), self.left.start);
        Ok(())
    }
}
