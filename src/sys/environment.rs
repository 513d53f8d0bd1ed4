//! What the parent process has left for this one: variables and open
//! descriptors.

use std::ffi::OsString;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_setfd};

use super::process::thread_count;

/// The first descriptor that is passed on, see sd_listen_fds(3).
const FIRST: RawFd = 3;

/// Takes a variable out of the environment. The calling process must have one
/// thread; builds with debug assertions check it.
pub fn take(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    debug_assert!(
        thread_count().is_none_or(|n| n == 1),
        "the environment is shared"
    );
    // SAFETY: the process has a single thread (contract above, asserted in
    // debug builds), so nobody else reads the environment.
    unsafe { std::env::remove_var(name) };
    Some(value)
}

/// Closes this descriptor in programs that are run later. Leaves standard input,
/// output and errors, and numbers that are not open.
pub fn keep_from_children(number: u32) {
    let Ok(fd @ FIRST..) = RawFd::try_from(number) else {
        return;
    };
    // SAFETY: sets a flag of a number, whatever it stands for; the descriptor
    // stays open.
    unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
}

/// The descriptors that were passed to this process by LISTEN_FDS, which is
/// removed from the environment: a second call finds none. Called before
/// anything is opened.
pub fn passed_descriptors() -> Vec<OwnedFd> {
    let number = |name| take(name)?.to_str()?.parse::<u32>().ok();
    let (process, count) = (number("LISTEN_PID"), number("LISTEN_FDS"));
    drop(take("LISTEN_FDNAMES"));
    if process != Some(std::process::id()) {
        return Vec::new();
    }
    let count = RawFd::try_from(count.unwrap_or(0)).unwrap_or(0);
    let is_open = |fd: &RawFd| {
        // SAFETY: asks about a number, whatever it stands for.
        unsafe { libc::fcntl(*fd, libc::F_GETFD) >= 0 }
    };
    let passed = (FIRST..FIRST.saturating_add(count))
        .take_while(is_open)
        .map(|fd| {
            // SAFETY: it is open, was opened by the process that started this one,
            // which says that it is for us, and the variables that say so are gone:
            // nobody else here owns it.
            unsafe { OwnedFd::from_raw_fd(fd) }
        });
    let passed: Vec<OwnedFd> = passed.collect();
    for handle in &passed {
        let _ = fcntl_setfd(handle, FdFlags::CLOEXEC);
    }
    passed
}
