//! The urgent mark of a TCP stream, and the signal that announces one.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};

/// Whether everything before the urgent byte has been read, so that it comes
/// next (sockatmark(3)).
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

/// Announces urgent bytes to one thread. Unlike poll(2), it does not wake for
/// other bytes.
#[derive(Debug)]
pub struct UrgentNews(SigSet);

impl UrgentNews {
    /// From now on the calling thread gets SIGURG when a byte is announced. It must block the signal.
    pub fn to_this_thread(socket: BorrowedFd<'_>) -> io::Result<UrgentNews> {
        let owner = Owner {
            kind: F_OWNER_TID,
            pid: rustix::thread::gettid().as_raw_pid(),
        };
        // SAFETY: the call reads one owner from where `owner` is.
        match unsafe { libc::fcntl(socket.as_raw_fd(), F_SETOWN_EX, &raw const owner) } {
            0 => Ok(UrgentNews(SigSet::from(Signal::SIGURG))),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits until a byte is announced; it may arrive later.
    pub fn wait(&self) -> io::Result<()> {
        Ok(self.0.wait().map(drop)?)
    }
}

/// Who gets a descriptor's signals, see fcntl(2).
#[repr(C)]
struct Owner {
    kind: libc::c_int,
    pid: libc::pid_t,
}

/// The C library's crate has no names for these either.
const F_SETOWN_EX: libc::c_int = 15;
const F_OWNER_TID: libc::c_int = 0;
