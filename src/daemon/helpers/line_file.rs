//! A file that lines are appended to, perhaps on a full disk.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

/// Such a file.
#[derive(Debug)]
pub(super) struct LineFile {
    file: File,
    /// Whether its last line is incomplete, because the disk was full.
    is_broken: bool,
}

impl From<OwnedFd> for LineFile {
    fn from(file: OwnedFd) -> LineFile {
        LineFile {
            file: file.into(),
            is_broken: false,
        }
    }
}

impl LineFile {
    /// Writes all of it at once: to a socket as one message.
    pub(super) fn write_whole(&mut self, message: &[u8]) -> io::Result<()> {
        loop {
            match self.file.write(message) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(drop),
            }
        }
    }

    /// Writes a line; starts a new one if the last is incomplete.
    pub(super) fn write(&mut self, line: &str) -> io::Result<()> {
        let before = if self.is_broken { "\n" } else { "" };
        let text = [before, line].concat();
        let mut left = text.as_bytes();
        while !left.is_empty() {
            match self.file.write(left) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    left = &left[n..];
                    self.is_broken = !left.is_empty();
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
