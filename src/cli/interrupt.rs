//! Ctrl-C: cancels what is in progress, and `tf` ends as after any failure. A
//! shell continues.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::failure::Exit;
use crate::client::Cancel;
use crate::sys::signal::interrupts;

/// How long ending may take before the process is ended by force.
const END_TIMEOUT: Duration = Duration::from_secs(3);

/// What Ctrl-C does from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum OnInterrupt {
    /// It cancels everything and ends the process, if necessary by force.
    End,
    /// It cancels everything; the process continues.
    Cancel,
    /// It is meant for another program.
    Ignore,
}

/// The signal is one for the whole process.
static ON_INTERRUPT: AtomicU8 = AtomicU8::new(OnInterrupt::End as u8);

/// Takes SIGINT from now on.
pub(super) fn follow(cancel: Cancel) -> io::Result<()> {
    let mut interrupts = interrupts()?;
    std::thread::spawn(move || {
        while interrupts.read_exact(&mut [0]).is_ok() {
            let on_interrupt = ON_INTERRUPT.load(Ordering::SeqCst);
            if on_interrupt != OnInterrupt::Ignore as u8 {
                cancel.cancel();
            }
            if on_interrupt == OnInterrupt::End as u8 {
                std::thread::sleep(END_TIMEOUT);
                std::process::exit(Exit::Interrupted as i32);
            }
        }
    });
    Ok(())
}

/// Sets what SIGINT does.
pub(super) fn on_interrupt(what: OnInterrupt) {
    ON_INTERRUPT.store(what as u8, Ordering::SeqCst);
}
