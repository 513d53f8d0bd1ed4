//! Ctrl-C: what is under way is broken off, and `tf` says so and ends as it
//! does after any failure.

use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use super::Exit;
use crate::client::Cancel;

/// How long ending may take before the process ends without it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Takes SIGINT from now on: it cancels. Called before there is a second
/// thread, so that none is killed by the signal.
///
/// # Errors
/// The system's.
pub(super) fn follow(cancel: Cancel) -> nix::Result<()> {
    let mut interrupt = SigSet::empty();
    interrupt.add(Signal::SIGINT);
    interrupt.thread_block()?;
    std::thread::spawn(move || {
        if interrupt.wait().is_ok() {
            cancel.cancel();
            std::thread::sleep(PATIENCE);
            std::process::exit(Exit::Interrupted as i32);
        }
    });
    Ok(())
}
