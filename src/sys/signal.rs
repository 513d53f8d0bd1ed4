//! The request to stop: a flag that SIGTERM sets. Its handler does nothing
//! else, so a blocking read returns and sees the flag.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Set once the process was asked to stop.
pub static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn note_stop(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// Makes SIGTERM set [`STOP`] and interrupt blocking calls; ignores SIGINT,
/// SIGHUP and SIGUSR1, which are for the daemon. Processes forked later
/// inherit this; none of the signals arrives while it is blocked.
///
/// # Errors
/// The system's.
pub fn follow_stop() -> nix::Result<()> {
    let stop = SigAction::new(SigHandler::Handler(note_stop), SaFlags::empty(), SigSet::empty());
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler stores to an atomic and does nothing else, which is
    // async-signal-safe; ignoring a signal runs no code at all.
    unsafe {
        sigaction(Signal::SIGTERM, &stop)?;
        sigaction(Signal::SIGINT, &ignore)?;
        sigaction(Signal::SIGHUP, &ignore)?;
        sigaction(Signal::SIGUSR1, &ignore)?;
    }
    Ok(())
}
