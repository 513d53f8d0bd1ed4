//! Opening a regular file for reading, without ever blocking on a pipe or
//! acting on a device.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::part::{is_directory, is_file};
use super::path::RootPath;
use super::root::Root;

/// A regular file open for reading.
#[derive(Debug)]
pub struct FileReader {
    file: OwnedFd,
    /// Its length when it was opened, in bytes.
    pub length: u64,
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
    /// The system's word.
    #[error(transparent)]
    System(#[from] Errno),
}

impl FileReader {
    /// Opens a file beneath the root.
    ///
    /// # Errors
    /// Why not.
    pub fn open(root: &Root, path: &RootPath) -> Result<FileReader, ReadError> {
        let stat = root.stat(path)?;
        if is_directory(&stat) {
            return Err(ReadError::Directory);
        }
        if !is_file(&stat) {
            return Err(ReadError::Special);
        }
        let file = root.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        if !is_file(&stat) {
            return Err(ReadError::Special);
        }
        Ok(FileReader { file, length: u64::try_from(stat.st_size).unwrap_or(0) })
    }

    /// The open file.
    #[must_use]
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Tells the system that the file will be read from front to back.
    pub fn read_in_order(&self) {
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::Sequential);
    }

    /// Reads at an offset until the buffer is full or the file ends; returns
    /// the bytes read.
    ///
    /// # Errors
    /// The system's.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let mut done = 0;
        while done < buffer.len() {
            match rustix::io::pread(&self.file, &mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }
}
