//! The urgent mark of a TCP stream.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Whether everything before the urgent byte has been read, so that it comes
/// next (sockatmark(3)).
///
/// # Errors
/// The system's.
pub fn is_at_mark(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut answer: libc::c_int = 0;
    // SAFETY: the call writes one int to where `answer` is, and nothing else.
    match unsafe { libc::ioctl(socket.as_raw_fd(), SIOCATMARK, &raw mut answer) } {
        0 => Ok(answer != 0),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The same on every architecture this runs on; the C library's crate has no
/// name for it.
const SIOCATMARK: libc::Ioctl = 0x8905;
