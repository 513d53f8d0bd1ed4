//! Ctrl-C: cancels what is in progress, and `tf` ends as after any failure. A
//! shell continues.

use std::io::{self, Read};
use std::time::Duration;

use super::failure::Exit;
use crate::client::Cancel;
use crate::sys::process::spawn_beside;
use crate::sys::signal::{interrupts, mark_interrupts};

/// How long ending may take before the process is ended by force.
const END_TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes of the thread's stack.
const STACK: usize = 256 * 1024;

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

/// Takes SIGINT from now on. The thread that acts on it gets no signals, and acts
/// as was set when the signal arrived, which may be over by then.
pub(super) fn follow(cancel: Cancel) -> io::Result<()> {
    on_interrupt(OnInterrupt::End);
    let mut interrupts = interrupts(&[])?;
    spawn_beside("tf-interrupt", STACK, move || {
        let mut on_interrupt = [0];
        while interrupts.read_exact(&mut on_interrupt).is_ok() {
            if on_interrupt != [OnInterrupt::Ignore as u8] {
                cancel.cancel();
            }
            if on_interrupt == [OnInterrupt::End as u8] {
                std::thread::sleep(END_TIMEOUT);
                std::process::exit(Exit::Interrupted as i32);
            }
        }
    })
}

/// Sets what SIGINT does.
pub(super) fn on_interrupt(what: OnInterrupt) {
    mark_interrupts(what as u8);
}
