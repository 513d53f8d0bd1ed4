//! SIGINT and SIGTERM: they cancel what is in progress, so that nothing
//! temporary stays, and the program ends with the numbers of the public client.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::failure::Failure;
use crate::client::Cancel;
use crate::sys::process::spawn_beside;
use crate::sys::signal::{ignore, interrupts};

/// How long ending may take before the process is ended by force.
const END_TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes of the thread's stack.
const STACK: usize = 256 * 1024;

/// What has ended the program: the exit status, or 0.
static STOPPED: AtomicU8 = AtomicU8::new(0);

const INTERRUPTED: u8 = 33;
const TERMINATED: u8 = 34;

/// The byte by which SIGTERM is told from SIGINT, which writes 0.
const TERM: u8 = Signal::SIGTERM as u8;

/// Takes the signals from now on. A lost terminal ends nothing.
pub(super) fn follow(cancel: Cancel) -> io::Result<()> {
    let mut signals = interrupts(&[Signal::SIGTERM])?;
    ignore(Signal::SIGHUP)?;
    spawn_beside("bbftp-signals", STACK, move || {
        let mut signal = [0];
        if signals.read_exact(&mut signal).is_ok() {
            let status = if signal == [TERM] {
                TERMINATED
            } else {
                INTERRUPTED
            };
            STOPPED.store(status, Ordering::SeqCst);
            cancel.cancel();
            std::thread::sleep(END_TIMEOUT);
            std::process::exit(status.into());
        }
    })
}

/// Why the program ends, if it was told to.
pub(super) fn reason() -> Option<Failure> {
    match STOPPED.load(Ordering::SeqCst) {
        INTERRUPTED => Some(Failure::end(INTERRUPTED, "Killed by SIGINT")),
        TERMINATED => Some(Failure::end(TERMINATED, "Killed by SIGTERM")),
        _ => None,
    }
}
