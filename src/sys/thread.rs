//! Threads beside the one that serves the client, which gets all signals.

use std::io;
use std::time::Duration;

use nix::sys::signal::SigSet;
use rustix::time::{ClockId, clock_gettime};

/// Starts a thread that no signal comes to, with so many bytes of stack.
///
/// # Errors
/// The system's, when it can't make a thread.
pub fn spawn_beside(
    name: &str,
    stack: usize,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let before = SigSet::thread_get_mask()?;
    SigSet::all().thread_block()?;
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(stack);
    let started = thread.spawn(work);
    before.thread_set_mask()?;
    started.map(drop)
}

/// The processor's time that the calling thread has had.
#[must_use]
pub fn time_used() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// How many cores this process may run on.
#[must_use]
pub fn cores() -> usize {
    rustix::thread::sched_getaffinity(None).map_or(1, |cores| cores.count() as usize)
}
