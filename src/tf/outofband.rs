//! The out-of-band byte (document, "Out-of-band"): a thread of its own sends
//! each back and counts it, whatever the session is doing.
//!
//! TCP marks one byte as urgent at a time. Of a burst only the last may arrive
//! so; the others come in with the data, where the wire takes them out again
//! between two messages ([`Strays`]).

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::SigSet;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// Bytes of the thread's stack.
const STACK: usize = 64 * 1024;

/// Out-of-band bytes of a connection so far: those that arrived as such, and
/// those found among the data.
#[derive(Clone, Debug, Default)]
pub struct Strays(Arc<AtomicU64>);

impl Strays {
    /// Whether there was any, so that others may be among the data.
    #[must_use]
    pub fn are_possible(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Counts bytes found among the data.
    pub fn found(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Starts the thread for a connection. `tell` is told how many there were so
/// far, after each. The thread ends with the connection.
///
/// # Errors
/// The system's, when it can't make a thread.
pub fn start(
    socket: &TcpStream,
    strays: Strays,
    tell: impl Fn(u64) + Send + 'static,
) -> io::Result<()> {
    let socket = socket.as_fd().try_clone_to_owned()?;
    // Signals are for the thread that serves the client.
    let before = SigSet::thread_get_mask()?;
    SigSet::all().thread_block()?;
    let thread = std::thread::Builder::new().name("tfd-oob".to_owned()).stack_size(STACK);
    let started = thread.spawn(move || answer(&socket, &strays, &tell));
    before.thread_set_mask()?;
    started.map(drop)
}

fn answer(socket: &OwnedFd, strays: &Strays, tell: &dyn Fn(u64)) {
    loop {
        let mut fds = [PollFd::new(socket, PollFlags::PRI)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        let what = fds[0].revents();
        if what.contains(PollFlags::PRI) {
            let mut byte = [0];
            match recv(socket, &mut byte, RecvFlags::OOB | RecvFlags::DONTWAIT) {
                Ok((1.., _)) => {
                    strays.found(1);
                    tell(strays.count());
                    if send(socket, &byte, SendFlags::OOB | SendFlags::NOSIGNAL).is_err() {
                        return;
                    }
                }
                // Another one has taken its place, or it has not arrived yet.
                Ok(_) | Err(Errno::INVAL | Errno::AGAIN | Errno::INTR) => {
                    std::thread::yield_now();
                }
                Err(_) => return,
            }
        } else if what.intersects(PollFlags::HUP | PollFlags::ERR) {
            return;
        }
    }
}
