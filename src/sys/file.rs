//! Writing back to disk.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Lets the system begin to write these bytes of a file to disk, without
/// waiting for it. Its answer only matters for speed.
pub fn start_writing(file: BorrowedFd<'_>, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) else {
        return;
    };
    // SAFETY: takes any numbers, and the descriptor is open.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
}
