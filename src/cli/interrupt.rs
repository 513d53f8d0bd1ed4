//! Ctrl-C: what is under way is broken off, and `tf` ends as it does after any
//! failure; or it goes on, when a shell has it so.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::failure::Exit;
use crate::client::Cancel;
use crate::sys::signal::interrupts;

/// How long ending may take before the process ends without it.
const PATIENCE: Duration = Duration::from_secs(3);

/// What Ctrl-C does from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum OnInterrupt {
    /// It breaks off all and ends the process, if need be by force.
    End,
    /// It breaks off all, and no more.
    BreakOff,
    /// It is for somebody else.
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
                std::thread::sleep(PATIENCE);
                std::process::exit(Exit::Interrupted as i32);
            }
        }
    });
    Ok(())
}

/// Says what SIGINT does.
pub(super) fn on_interrupt(what: OnInterrupt) {
    ON_INTERRUPT.store(what as u8, Ordering::SeqCst);
}
