//! Writing back to disk, locks on bytes, and leases.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::fcntl::{FcntlArg, fcntl};

/// Lets the system begin to write these bytes of a file to disk, without
/// waiting for it. Its answer only matters for speed.
pub fn start_writing(file: BorrowedFd<'_>, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) else {
        return;
    };
    // SAFETY: takes any numbers, and the descriptor is open.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Locks all bytes of a file, which must be open for writing, for this open file
/// description. Such a lock has nothing to do with one by `flock`.
///
/// # Errors
/// The system's; `EAGAIN` when another has it.
pub fn try_lock_bytes(file: BorrowedFd<'_>) -> nix::Result<()> {
    set_lock(file, libc::F_WRLCK)
}

/// Releases the lock of [`try_lock_bytes`].
///
/// # Errors
/// The system's.
pub fn unlock_bytes(file: BorrowedFd<'_>) -> nix::Result<()> {
    set_lock(file, libc::F_UNLCK)
}

fn set_lock(file: BorrowedFd<'_>, kind: libc::c_int) -> nix::Result<()> {
    let lock = libc::flock {
        l_type: kind.try_into().map_err(|_| nix::Error::EINVAL)?,
        l_whence: libc::SEEK_SET.try_into().map_err(|_| nix::Error::EINVAL)?,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).map(drop)
}

/// Whether nobody has a file, which is open for reading alone, open for writing.
///
/// # Errors
/// The system's; `EINVAL` for a file system without leases.
pub fn is_nobody_writing(file: BorrowedFd<'_>) -> nix::Result<bool> {
    let set = |kind: libc::c_int| {
        // SAFETY: takes any number, and the descriptor is open.
        let set = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
        nix::Error::result(set)
    };
    // A lease is not given for a file that somebody writes; it is returned at once.
    match set(libc::F_RDLCK) {
        Ok(_) => set(libc::F_UNLCK).map(|_| true),
        Err(nix::Error::EAGAIN) => Ok(false),
        Err(e) => Err(e),
    }
}
