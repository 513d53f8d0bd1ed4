//! Write-behind: what must be on disk before it is acknowledged is on its way
//! there while more comes in.

use std::os::fd::BorrowedFd;

use crate::sys::file::start_writing;

/// Bytes sent on their way at once.
const PIECE: u64 = 8 * 1024 * 1024;

/// How far a file that is written from front to back is on its way.
#[derive(Clone, Copy, Debug)]
pub struct WriteBehind {
    sent: u64,
    wanted: bool,
}

impl WriteBehind {
    /// From this offset on, if it is wanted at all.
    #[must_use]
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
