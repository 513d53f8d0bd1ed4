//! The descriptors that the daemon inherits from its caller: the standard ones,
//! perhaps with a terminal behind them at which root types, and what a careless
//! caller has left open.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::sys::process::keep_only;

/// Leaves this process, and all it forks, the sockets that were passed to it, else
/// nothing to read and only standard error to write to: a terminal there can't be
/// read from now on, if the system lets this process reopen it. Called before
/// anything is opened.
///
/// # Errors
/// One line that says what is missing.
pub(super) fn keep_error_alone(passed: &[OwnedFd]) -> Result<(), String> {
    let passed: Vec<BorrowedFd<'_>> = passed.iter().map(AsFd::as_fd).collect();
    keep_only(&passed).map_err(|e| format!("descriptors: {e}"))?;
    let failed = |e: io::Error| format!("/dev/null: {e}");
    let nothing = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(failed)?;
    dup2_stdin(&nothing)
        .and_then(|()| dup2_stdout(&nothing))
        .map_err(|e| failed(e.into()))?;
    if io::stderr().is_terminal() {
        let mut options = OpenOptions::new();
        let opened = options
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open("/proc/self/fd/2");
        let _ = opened.map(dup2_stderr);
    }
    Ok(())
}
