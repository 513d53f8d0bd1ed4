//! The out-of-band byte (document, "Out-of-band"): a thread of its own sends
//! each back and counts it while the session is busy with a request that may
//! take long. Before the session reads on, it does so itself: the system lets a
//! byte go once it is read past.
//!
//! TCP marks one byte as urgent at a time. Of a burst only the last may arrive
//! so; the others come in with the data, where the wire takes them out again
//! between two messages ([`UrgentBytes`]).

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::sys::process::spawn_beside;
use crate::sys::socket::UrgentNews;

/// How long after its announcement a byte is waited for.
const BEHIND_NEWS: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Bytes of the thread's stack.
const STACK: usize = 64 * 1024;

/// The out-of-band bytes of a connection: those that arrived as such, and
/// those found among the data.
#[derive(Clone)]
pub struct UrgentBytes(Arc<Counted>);

struct Counted {
    count: AtomicU64,
    has_thread: AtomicBool,
    report: Box<dyn Fn(u64) + Send + Sync>,
}

impl UrgentBytes {
    /// None so far. `report` gets their number after each.
    pub fn new(report: impl Fn(u64) + Send + Sync + 'static) -> UrgentBytes {
        let (count, has_thread) = (AtomicU64::new(0), AtomicBool::new(false));
        UrgentBytes(Arc::new(Counted {
            count,
            has_thread,
            report: Box::new(report),
        }))
    }

    /// Whether there was any, so that others may be among the data.
    pub fn are_possible(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) > 0
    }

    /// Counts bytes found.
    pub fn found(&self, count: u64) {
        let so_far = self.0.count.fetch_add(count, Ordering::Relaxed) + count;
        (self.0.report)(so_far);
    }

    /// Sends the byte back, if it is still there.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn answer(&self, socket: impl AsFd) -> Result<(), Errno> {
        let mut byte = [0];
        match recv(&socket, &mut byte, RecvFlags::OOB | RecvFlags::DONTWAIT) {
            Ok((1.., _)) => {
                self.found(1);
                send(&socket, &byte, SendFlags::OOB | SendFlags::NOSIGNAL).map(drop)
            }
            // Another one has taken its place, or somebody else has it.
            Ok(_) | Err(Errno::INVAL | Errno::AGAIN | Errno::INTR) => {
                std::thread::yield_now();
                Ok(())
            }
            Err(e) => Err(e),
        }
    }
}

/// Starts the thread for a connection, unless it has one. It ends with the
/// process.
pub fn start(socket: &TcpStream, urgent_bytes: &UrgentBytes) -> io::Result<()> {
    if urgent_bytes.0.has_thread.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let urgent_bytes = urgent_bytes.clone();
    let socket = socket.as_fd().try_clone_to_owned()?;
    spawn_beside("tfd-oob", STACK, move || {
        if let Err(e) = answer_all(&socket, &urgent_bytes) {
            log::debug!(error:% = e; "out-of-band bytes are no longer answered at once");
        }
    })
}

/// Answers bytes as they are announced. Only behind an announcement it polls
/// for the byte itself, since whatever arrives wakes who does.
fn answer_all(socket: &OwnedFd, urgent_bytes: &UrgentBytes) -> io::Result<()> {
    let news = UrgentNews::to_this_thread(socket.as_fd())?;
    let mut limit = Timespec::default();
    loop {
        let mut fds = [PollFd::new(socket, PollFlags::PRI)];
        match poll(&mut fds, Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let what = fds[0].revents();
        if what.contains(PollFlags::PRI) {
            urgent_bytes.answer(socket)?;
        } else if what.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Ok(());
        } else {
            news.wait()?;
        }
        limit = BEHIND_NEWS;
    }
}
