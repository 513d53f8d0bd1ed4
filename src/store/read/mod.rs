//! Opening a regular file for reading, without ever blocking on a pipe or
//! acting on a device.

pub mod digest;

use std::cell::Cell;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Advice, Mode, OFlags, Stat, fadvise};
use rustix::io::{Errno, ReadWriteFlags};
use sha2::{Digest, Sha256};

use super::part::{is_directory, is_file};
use super::path::RootPath;
use super::root::Root;
use super::wanted;

/// Bytes to read ahead from disk.
const AHEAD: u64 = 4 * 1024 * 1024;

/// The most bytes of a digest read at once, and the fewest.
const BUFFER: usize = 256 * 1024;
const LEAST: usize = 8 * 1024;

/// A regular file open for reading.
#[derive(Debug)]
pub struct FileReader {
    file: OwnedFd,
    order: Cell<Order>,
    /// Its length when it was opened, in bytes.
    pub length: u64,
}

/// How a file is read.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// In any order.
    Any,
    /// From front to back; so far everything was in memory.
    FromMemory,
    /// From front to back; read ahead up to this offset.
    FromDisk(u64),
}

/// Why a file can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is a directory.
    #[error("a directory")]
    Directory,
    /// It is a device, pipe or socket.
    #[error("not a regular file")]
    Special,
    /// The system's error.
    #[error(transparent)]
    System(#[from] Errno),
}

/// Opens a regular file beneath the root, and nothing else.
///
/// # Errors
/// Why not.
pub fn open_file(
    root: &Root,
    path: &RootPath,
    flags: OFlags,
) -> Result<(OwnedFd, Stat), ReadError> {
    let stat = root.stat(path)?;
    if is_directory(&stat) {
        return Err(ReadError::Directory);
    }
    if !is_file(&stat) {
        return Err(ReadError::Special);
    }
    let file = root.open_at(path, flags | OFlags::NONBLOCK, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    if !is_file(&stat) {
        return Err(ReadError::Special);
    }
    Ok((file, stat))
}

impl FileReader {
    /// Opens a file beneath the root.
    ///
    /// # Errors
    /// Why not.
    pub fn open(root: &Root, path: &RootPath) -> Result<FileReader, ReadError> {
        let (file, stat) = open_file(root, path, OFlags::RDONLY)?;
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(FileReader {
            file,
            order: Cell::new(Order::Any),
            length,
        })
    }

    /// The open file.
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// From now on the file is read from front to back: what is not in memory
    /// is read ahead while earlier bytes are sent.
    pub fn read_in_order(&self) {
        let _ = fadvise(&self.file, 0, None, Advice::Sequential);
        self.order.set(Order::FromMemory);
    }

    /// Reads at an offset until the buffer is full or the file ends; returns
    /// the bytes read.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read_some(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    /// The SHA-256 of the whole file.
    ///
    /// # Errors
    /// `ECANCELED` when nobody waits for it any more, else the system's.
    pub fn sha256(&self) -> Result<[u8; 32], Errno> {
        self.read_in_order();
        let mut digest = Sha256::new();
        // One byte more than the file has shows the end by one read.
        let expected = usize::try_from(self.length).unwrap_or(BUFFER);
        let mut buffer = vec![0; expected.saturating_add(1).clamp(LEAST, BUFFER)];
        let mut offset = 0;
        let mut look_at = wanted::WORK;
        loop {
            if offset >= look_at {
                wanted::check()?;
                look_at += wanted::WORK;
            }
            let len = self.read_at(&mut buffer, offset)?;
            digest.update(&buffer[..len]);
            offset += len as u64;
            if len < buffer.len() {
                return Ok(digest.finalize().into());
            }
        }
    }

    fn read_some(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        if let Order::FromMemory = self.order.get() {
            let part = &mut [IoSliceMut::new(buffer)];
            match rustix::io::preadv2(&self.file, part, offset, ReadWriteFlags::NOWAIT) {
                Err(Errno::AGAIN) => self.order.set(Order::FromDisk(offset)),
                // Not every file system supports this.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.order.set(Order::Any),
                read => return read,
            }
        }
        if let Order::FromDisk(asked) = self.order.get()
            && offset + AHEAD / 2 >= asked
        {
            let from = asked.max(offset);
            let _ = fadvise(&self.file, from, AHEAD.try_into().ok(), Advice::WillNeed);
            self.order.set(Order::FromDisk(from + AHEAD));
        }
        rustix::io::pread(&self.file, buffer, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Policy;

    #[test]
    fn a_file_read_in_order_has_the_same_bytes_from_memory_and_from_disk() {
        let content: Vec<u8> = (0..11_000_000_u32).map(|i| (i >> 5) as u8).collect();
        let directory = tempfile::tempdir().expect("directory");
        std::fs::write(directory.path().join("f"), &content).expect("write");
        let root = Root::open(directory.path()).expect("root");
        let path = RootPath::parse(b"f", &Policy::NONE).expect("path");
        for start in [None, Some(0), Some(3_000_000)] {
            let file = FileReader::open(&root, &path).expect("open");
            file.read_in_order();
            // As after a read that found nothing in memory.
            if let Some(start) = start {
                file.order.set(Order::FromDisk(start));
            }
            let mut read = Vec::new();
            let mut piece = vec![0; 300_000];
            loop {
                let len = file.read_at(&mut piece, read.len() as u64).expect("read");
                read.extend_from_slice(&piece[..len]);
                if len < piece.len() {
                    break;
                }
            }
            assert!(read == content);
            if start.is_some() {
                let Order::FromDisk(asked) = file.order.get() else {
                    panic!("another order")
                };
                assert!(asked > content.len() as u64, "asked for up to {asked}");
            }
        }
    }
}
