//! Signals turned into state: SIGTERM sets a flag, SIGINT writes a byte to a
//! pipe, the mark of that moment. Handlers do nothing else.

use std::io::{self, PipeReader};
use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Set once the process was asked to stop.
pub static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn note_stop(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// Where [`note_interrupt`] writes to; below zero before [`interrupts`].
static INTERRUPTS: AtomicI32 = AtomicI32::new(-1);

/// The byte that is written.
static MARK: AtomicU8 = AtomicU8::new(0);

extern "C" fn note_interrupt(signal: libc::c_int) {
    let before = Errno::last_raw();
    let pipe = INTERRUPTS.load(Ordering::Relaxed);
    let mark = match signal {
        libc::SIGINT => MARK.load(Ordering::SeqCst),
        other => u8::try_from(other).unwrap_or(u8::MAX),
    };
    // SAFETY: `write` is async-signal-safe and reads one byte of the stack; the
    // descriptor is never closed. A full pipe has enough bytes.
    unsafe { libc::write(pipe, (&raw const mark).cast(), 1) };
    Errno::set_raw(before);
}

/// Makes SIGINT write this byte from now on. A signal that has arrived before, if
/// only this thread takes it, has written the one before.
pub fn mark_interrupts(mark: u8) {
    MARK.store(mark, Ordering::SeqCst);
}

/// Makes SIGINT write a byte to a pipe and nothing else, and these signals their
/// number; returns the pipe's reading end. Blocking calls continue, and the
/// signals end programs started later as usual. Called once.
pub fn interrupts(others: &[Signal]) -> io::Result<PipeReader> {
    let (reader, writer) = io::pipe()?;
    rustix::io::ioctl_fionbio(&writer, true)?;
    INTERRUPTS.store(writer.into_raw_fd(), Ordering::Relaxed);
    let handler = SigHandler::Handler(note_interrupt);
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT].iter().chain(others) {
        // SAFETY: the handler does what is async-signal-safe and leaves errno as
        // it was.
        unsafe { sigaction(*signal, &action) }?;
    }
    Ok(reader)
}

/// Ignores a signal; programs started later ignore it, too.
pub fn ignore(signal: Signal) -> io::Result<()> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: ignoring a signal runs no code at all.
    unsafe { sigaction(signal, &ignore) }?;
    Ok(())
}

/// Makes SIGTERM set [`STOP`] and interrupt blocking calls; ignores SIGINT,
/// SIGHUP and SIGUSR1, which are for the daemon. Processes forked later
/// inherit this; none of the signals arrives while it is blocked.
pub fn follow_stop() -> nix::Result<()> {
    let stop = SigAction::new(
        SigHandler::Handler(note_stop),
        SaFlags::empty(),
        SigSet::empty(),
    );
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
