//! What an operator asks of the state of a protocol: answered in a process that has its
//! system user and its directory, since somebody may have changed what lies there.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::wait::{WaitStatus, waitpid};
use rustix::thread::CapabilitySet;

use crate::sandbox::confinement::change_root;
use crate::sys::memory::{read_shared_text, shared_text};
use crate::sys::process::fork;
use crate::users::Identity;

/// Prints what `answer` returns in such a process, or says on standard error why it
/// fails; whether it did not.
///
/// # Errors
/// One line.
pub fn answer_as(
    identity: &Identity,
    store: &OwnedFd,
    answer: impl FnOnce() -> Result<String, String>,
) -> Result<bool, String> {
    let child = fork(|| {
        let text = enter(identity, store).and_then(|()| answer());
        let written = text.and_then(|text| {
            let mut out = std::io::stdout().lock();
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            written.map_err(|e| format!("standard output: {e}"))
        });
        written.map_or_else(
            |e| {
                eprintln!("tfd: {e}");
                1
            },
            |()| 0,
        )
    });
    let ended = child.and_then(|pid| Ok(waitpid(pid, None)?));
    ended
        .map(|status| matches!(status, WaitStatus::Exited(_, 0)))
        .map_err(|e| e.to_string())
}

/// Runs `check` in such a process.
///
/// # Errors
/// What that says, in one line, or why it did not run.
pub fn check_as(
    identity: &Identity,
    store: &OwnedFd,
    check: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let said = shared_text().map_err(|e| e.to_string())?;
    let child = fork(|| {
        let checked = enter(identity, store).and_then(|()| check());
        let why = checked.err().unwrap_or_default();
        let said = said.try_clone().map(File::from);
        let written = said.and_then(|mut said| said.write_all(why.as_bytes()));
        i32::from(written.is_err())
    });
    let ended = child.and_then(|pid| Ok(waitpid(pid, None)?));
    match ended.map_err(|e| e.to_string())? {
        WaitStatus::Exited(_, 0) => {}
        ended => return Err(format!("ended by itself: {ended:?}")),
    }
    match read_shared_text(&said).map_err(|e| e.to_string())? {
        why if why.is_empty() => Ok(()),
        why => Err(why),
    }
}

fn enter(identity: &Identity, store: &OwnedFd) -> Result<(), String> {
    let entered = change_root(store.as_fd())
        .map_err(std::io::Error::from)
        .and_then(|()| identity.take_keeping(CapabilitySet::empty()));
    entered.map_err(|e| e.to_string())
}
