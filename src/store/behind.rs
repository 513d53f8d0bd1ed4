//! Write-behind: bytes that must be on disk before they are acknowledged are
//! written while more arrive.

use std::os::fd::BorrowedFd;

use crate::sys::file::start_writing;

/// Bytes to start writing at once.
const PIECE: u64 = 8 * 1024 * 1024;

/// How far writing of a file from front to back has been started.
#[derive(Clone, Copy, Debug)]
pub struct WriteBehind {
    sent: u64,
    wanted: bool,
}

impl WriteBehind {
    /// The next offset to start from, if it is wanted at all.
    pub fn new(from: u64, wanted: bool) -> WriteBehind {
        WriteBehind { sent: from, wanted }
    }

    /// The file is written up to `end`.
    pub fn wrote(&mut self, file: BorrowedFd<'_>, end: u64) {
        if self.wanted && end.saturating_sub(self.sent) >= PIECE {
            start_writing(file, self.sent, end - self.sent);
            self.sent = end;
        }
    }
}
