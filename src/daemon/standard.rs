//! The standard descriptors: every process of ours inherits them from whoever
//! started the daemon, perhaps with a terminal behind them that root types at.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;

use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Leaves this process, and all it forks, nothing to read and standard error
/// alone to write to: a terminal there can't be read from now on, where the
/// system lets this process open it anew.
///
/// # Errors
/// One line that says what is missing.
pub(super) fn keep_error_alone() -> Result<(), String> {
    let told = |e: io::Error| format!("/dev/null: {e}");
    let nothing = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(told)?;
    dup2_stdin(&nothing)
        .and_then(|()| dup2_stdout(&nothing))
        .map_err(|e| told(e.into()))?;
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
