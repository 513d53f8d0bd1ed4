//! What the parent process has left for this one: variables and open
//! descriptors.

use std::ffi::OsString;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_setfd};

use super::process::thread_count;

unsafe extern "C" {
    /// The C library's list of variables; its last entry is null.
    static environ: *const *mut libc::c_char;
}

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

/// Removes all variables but these and overwrites where they were: the text that
/// the parent process has left is part of every process forked later. Called
/// first, while the process has one thread.
pub fn forget_all_but(names: &[&str]) {
    debug_assert!(
        thread_count().is_none_or(|n| n == 1),
        "the environment is shared"
    );
    let kept = names.iter().map(|name| (name, std::env::var_os(name)));
    let kept: Vec<_> = kept.collect();
    // SAFETY: the process has a single thread (contract above, asserted in debug
    // builds), so nobody else reads the environment. Each entry of `environ` is
    // a string that ends in NUL, in memory of this process that may be written.
    // After `clearenv` nothing refers to them.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            libc::explicit_bzero((*entry).cast(), libc::strlen(*entry));
            entry = entry.add(1);
        }
        libc::clearenv();
    }
    for (name, value) in kept {
        if let Some(value) = value {
            // SAFETY: as above, one thread.
            unsafe { std::env::set_var(name, value) };
        }
    }
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
