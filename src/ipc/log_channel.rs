//! The way of log lines: every process's standard error is the sending end of a
//! channel to the logger, which gets the sender's process id from the kernel. Each
//! kind of process has a channel of its own, so that none can pass for another or
//! take another's room. A process can only send: the other direction is shut.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{SendFlags, Shutdown, send as send_on, shutdown, sockopt};
use rustix::stdio::dup2_stderr;

use super::channel::{Channel, pair};

/// The kinds of processes. Those that are not listed are [`HELPER`].
pub const KINDS: [&str; 19] = [
    DAEMON,
    HELPER,
    "gate",
    "relay",
    "session",
    "zygote",
    "launcher",
    "keeper",
    "authenticator",
    "pam",
    "auditor",
    "sweeper",
    "tables",
    "dialer",
    "uploads",
    "udp",
    "pool",
    "resolver",
    "responder",
];

/// The supervisor, the only one that never waits for room.
pub const DAEMON: &str = "tfd";
const HELPER: &str = "helper";

/// The longest message, in bytes.
pub const MAX_LINE: usize = 16 * 1024;

/// The room of a channel, in bytes; the system doubles it, and counts what it needs
/// itself for each line.
const ROOM: usize = 200 * 1024;

/// How often a process looks for room in a full channel, once a millisecond.
const TRIES: usize = 250;

/// The sending ends, by kind.
static SENDERS: OnceLock<Vec<OwnedFd>> = OnceLock::new();

/// Whether standard error is one of them.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// Whether to wait for room: not in the daemon, and not behind a line that has
/// waited in vain.
static IS_PATIENT: AtomicBool = AtomicBool::new(false);

/// Lines that did not get through since the last one that did.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Opens the channels, once, and makes the daemon's its standard error; the
/// receiving ends, by kind. They stay open if the logger ends, so that what is in
/// them waits for the next one.
pub(crate) fn open() -> io::Result<Vec<Channel>> {
    let mut receivers = Vec::new();
    let mut senders = Vec::new();
    for _ in KINDS {
        let (receiver, sender) = pair()?;
        sockopt::set_socket_passcred(&receiver, true)?;
        shutdown(&sender, Shutdown::Read)?;
        sockopt::set_socket_send_buffer_size(&sender, ROOM)?;
        receivers.push(receiver);
        senders.push(sender.into_handle());
    }
    SENDERS
        .set(senders)
        .map_err(|_| io::ErrorKind::AlreadyExists)?;
    speak_as(DAEMON)?;
    Ok(receivers)
}

/// Makes the channel of this kind the standard error of this process, if there
/// are channels.
pub(crate) fn speak_as(kind: &str) -> io::Result<()> {
    if let Some(sender) = sender(kind) {
        dup2_stderr(sender)?;
        IS_OPEN.store(true, Relaxed);
        IS_PATIENT.store(kind != DAEMON, Relaxed);
    }
    Ok(())
}

/// Makes this the standard error of this process, without a channel.
pub(crate) fn leave(standard_error: &OwnedFd) -> io::Result<()> {
    IS_OPEN.store(false, Relaxed);
    Ok(dup2_stderr(standard_error)?)
}

/// The sending end of a kind, for a process that forks others of that kind.
pub(crate) fn sender(kind: &str) -> Option<BorrowedFd<'static>> {
    let find = |kind| KINDS.iter().position(|known| *known == kind);
    let at = find(kind).or_else(|| find(HELPER))?;
    SENDERS.get()?.get(at).map(AsFd::as_fd)
}

/// Whether this process has a channel.
pub(crate) fn is_open() -> bool {
    IS_OPEN.load(Relaxed)
}

/// Sends a line; how many were lost before it. One without room is lost.
pub(crate) fn send(line: &[u8]) -> Option<u64> {
    if try_send(line).is_err() {
        LOST.fetch_add(1, Relaxed);
        return None;
    }
    Some(LOST.swap(0, Relaxed))
}

fn try_send(line: &[u8]) -> rustix::io::Result<()> {
    let channel = io::stderr();
    let tries = if IS_PATIENT.load(Relaxed) { TRIES } else { 1 };
    for _ in 0..tries {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match retry_on_intr(|| send_on(&channel, line, flags)) {
            Err(Errno::AGAIN) => {}
            other => return other.map(drop),
        }
        // Another sender may take the room before this one wakes.
        let mut fds = [PollFd::new(&channel, PollFlags::OUT)];
        let pause = Timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        if tries > 1 {
            let _ = poll(&mut fds, Some(&pause));
        }
    }
    IS_PATIENT.store(false, Relaxed);
    Err(Errno::AGAIN)
}
