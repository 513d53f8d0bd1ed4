//! The children of a zygote or a launcher. One is forked ahead while the parent
//! is idle, so that no client waits for the fork; if it is not ready yet, a child
//! is forked on demand.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::prctl::set_name;
use nix::unistd::{Pid, getpid};

use crate::ipc::Pipe;
use crate::ipc::orders::Start;
use crate::ipc::pipe::pair;
use crate::sys::process::{follow, fork, keep_only};

/// What the children of a process are for.
pub trait Parent {
    /// What they are, in the log.
    const CHILD: &'static str;

    /// The descriptors of this process that a child needs.
    fn handles(&self) -> Vec<BorrowedFd<'_>>;

    /// In a child that has no connection yet: gives up what it can do without.
    ///
    /// # Errors
    /// The system's. The child ends then.
    fn settle(&self) -> io::Result<()>;

    /// The rest of a child's life.
    ///
    /// # Errors
    /// What of the system or of our own processes failed it.
    fn serve(&self, connection: Connection) -> io::Result<()>;

    /// Answers the gate when the fork for its connection has failed.
    fn refuse(&self, _handles: Vec<OwnedFd>) {}
}

/// A connection for a new process.
pub struct Connection {
    /// The daemon's order.
    pub start: Start,
    /// The process that has forked this one.
    pub parent: Pid,
    /// How many children were forked before this one.
    pub turn: usize,
}

/// A parent, and its spare child.
pub struct SpareChild<'a, P> {
    parent: &'a P,
    pid: Pid,
    waiting: Option<Waiting>,
    turn: usize,
}

struct Waiting {
    pid: Pid,
    channel: Pipe<Start, ()>,
}

impl<'a, P: Parent> SpareChild<'a, P> {
    /// One without a spare child.
    pub fn new(parent: &'a P) -> SpareChild<'a, P> {
        SpareChild {
            parent,
            pid: getpid(),
            waiting: None,
            turn: 0,
        }
    }

    /// Whether a child waits.
    pub fn is_ready(&self) -> bool {
        self.waiting.is_some()
    }

    /// Forks a child ahead; if that fails, the next connection forks one on
    /// demand.
    pub fn prepare(&mut self) {
        let Ok((channel, theirs)) = pair() else {
            return;
        };
        let (parent, pid, turn) = (self.parent, self.pid, self.turn);
        if let Ok(child) = fork(|| wait(parent, &theirs, pid, turn)) {
            self.waiting = Some(Waiting {
                pid: child,
                channel,
            });
            self.turn += 1;
        }
    }

    /// Dismisses the spare child, which ends.
    pub fn clear(&mut self) {
        self.waiting = None;
    }

    /// The child for a connection, unless the fork fails.
    pub fn begin(&mut self, start: Start) -> Option<Pid> {
        if let Some(Waiting { pid, channel }) = self.waiting.take()
            && channel.send(&start).is_ok()
        {
            return Some(pid);
        }
        let (parent, pid, turn, peer) = (self.parent, self.pid, self.turn, start.peer);
        // Only the child takes it.
        let mut start = Some(start);
        let child = fork(|| {
            let Some(start) = start.take() else { return 1 };
            let connection = Connection {
                start,
                parent: pid,
                turn,
            };
            let settled = parent.settle();
            finish::<P>(peer, settled.and_then(|()| parent.serve(connection)))
        });
        self.turn += 1;
        child
            .inspect_err(|e| {
                log::error!("can't fork a {} peer={peer} error=\"{e}\"", P::CHILD);
                parent.refuse(start.map(|start| start.handles).unwrap_or_default());
            })
            .ok()
    }
}

/// The life of a child forked ahead. It ends if the parent has ended or dismisses
/// it.
fn wait<P: Parent>(parent: &P, channel: &Pipe<(), Start>, pid: Pid, turn: usize) -> i32 {
    let settle = || {
        let mut handles = parent.handles();
        handles.push(channel.as_fd());
        keep_only(&handles)?;
        follow(pid)?;
        let _ = set_name(c"tfd-spare");
        parent.settle()?;
        channel.receive()
    };
    let start = match settle() {
        Ok(Some(start)) => start,
        Ok(None) => return 0,
        Err(e) => {
            log::error!("{} failed before it had a client error=\"{e}\"", P::CHILD);
            return 1;
        }
    };
    let peer = start.peer;
    let connection = Connection {
        start,
        parent: pid,
        turn,
    };
    finish::<P>(peer, parent.serve(connection))
}

/// The exit status of a child, with a log line when it failed.
fn finish<P: Parent>(peer: SocketAddr, result: io::Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(e) => {
            log::error!("{} failed peer={peer} error=\"{e}\"", P::CHILD);
            1
        }
    }
}
