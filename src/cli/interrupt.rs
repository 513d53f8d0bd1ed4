//! Ctrl-C during transfers: the first lets what is under way stop where it can
//! be resumed, a second ends the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use super::exit::Exit;

/// How long a transfer may take to stop, on a link that stands still.
const PATIENCE: Duration = Duration::from_secs(5);

/// A flag that SIGINT and SIGTERM set from now on. To be called before there
/// are other threads, which inherit that the signals wait for this one.
pub(super) fn flag() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    let told = Arc::clone(&stop);
    let wait = move || {
        if signals.wait().is_err() {
            return;
        }
        told.store(true, Ordering::Relaxed);
        std::thread::spawn(|| {
            std::thread::sleep(PATIENCE);
            std::process::exit(Exit::Interrupted as i32);
        });
        if signals.wait().is_ok() {
            std::process::exit(Exit::Interrupted as i32);
        }
    };
    // Without it the signals end the program at once, as they do elsewhere.
    if signals.thread_block().is_ok() && std::thread::Builder::new().spawn(wait).is_err() {
        let _ = signals.thread_unblock();
    }
    stop
}
