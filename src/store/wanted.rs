//! Whether anybody still waits for what this process does: long work without a
//! word to the client ends when the client is gone or the session is to end.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::sys::signal::STOP;

/// Bytes of work between two looks at the client.
pub const WORK: u64 = 64 << 20;

/// Entries between two looks.
const ENTRIES: u32 = 4096;

/// How long work goes on for a client that has closed its sending side. It may
/// still read, or be gone: both look alike until something is sent.
const HALF_CLOSED: Duration = Duration::from_secs(10);

/// The client's socket.
static CLIENT: OnceLock<OwnedFd> = OnceLock::new();

/// Whether work is being undone, which nobody waits for.
static UNDOING: AtomicBool = AtomicBool::new(false);

/// Undoes work to its end, also when its client is gone: what it left behind would be
/// nobody's.
pub fn undo<T>(work: impl FnOnce() -> T) -> T {
    UNDOING.store(true, Ordering::Relaxed);
    let result = work();
    UNDOING.store(false, Ordering::Relaxed);
    result
}

/// Works for the client at this socket from now on.
pub fn work_for(socket: impl AsFd) {
    if let Ok(socket) = socket.as_fd().try_clone_to_owned() {
        let _ = CLIENT.set(socket);
    }
}

/// Looks at the client; called after each [`WORK`] bytes.
///
/// # Errors
/// `ECANCELED` when it is gone, has closed its sending side for long, or the
/// session is to end.
pub fn check() -> Result<(), Errno> {
    static HALF_CLOSED_SINCE: OnceLock<Instant> = OnceLock::new();
    if UNDOING.load(Ordering::Relaxed) {
        return Ok(());
    }
    let is_gone = CLIENT.get().is_some_and(|socket| {
        let mut waiting = [PollFd::new(socket, PollFlags::RDHUP)];
        let _ = poll(&mut waiting, Some(&Timespec::default()));
        let events = waiting[0].revents();
        let has_closed = || HALF_CLOSED_SINCE.get_or_init(Instant::now).elapsed() > HALF_CLOSED;
        events.intersects(PollFlags::HUP | PollFlags::ERR)
            || events.contains(PollFlags::RDHUP) && has_closed()
    });
    if is_gone || STOP.load(Ordering::Relaxed) {
        return Err(Errno::CANCELED);
    }
    Ok(())
}

/// Counts an entry, and looks at the client after some thousand.
///
/// # Errors
/// As [`check`].
pub fn check_entry() -> Result<(), Errno> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    if COUNT.fetch_add(1, Ordering::Relaxed) % ENTRIES == ENTRIES - 1 {
        return check();
    }
    Ok(())
}
