//! Threads in addition to the one that serves the client, which gets all
//! signals.

use std::io;

use nix::sys::signal::SigSet;

/// Starts a thread that gets no signals, with so many bytes of stack.
pub fn spawn_beside(
    name: &str,
    stack: usize,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let before = SigSet::thread_get_mask()?;
    SigSet::all().thread_block()?;
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(stack);
    let started = thread.spawn(work);
    before.thread_set_mask()?;
    started.map(drop)
}
