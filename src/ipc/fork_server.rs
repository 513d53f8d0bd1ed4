//! A fork server: forks a process for each connection that the daemon passes on,
//! and reports when it has ended. The zygote forks gates, the launcher sessions.
//! It parses no network byte and never waits for the daemon.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_name;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use rustix::event::PollFlags;

use crate::ipc::log_channel::speak_as;
use crate::ipc::orders::{Ended, News, Order, Start};
use crate::ipc::pipe::pair;
use crate::ipc::{Pipe, Poll};
use crate::sys::memory::{fill_gaps, give_back_memory};
use crate::sys::process::{follow, fork, keep_only};
use crate::sys::signal::follow_stop;

/// How often to repeat the request to end: one that comes just before a read
/// begins does not interrupt it.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// How long to be idle before a child is forked ahead: clients that come close
/// together would have to wait for that.
const PREFORK_IDLE: Duration = Duration::from_micros(200);

/// How long a child that was asked to end may take.
const KILL_AFTER: Duration = Duration::from_secs(1);

/// Serves until the daemon has ended or says to stop, and all children have
/// ended.
pub fn run<P: Parent>(daemon: &Pipe<News, Order>, parent: &P) -> io::Result<()> {
    follow_stop()?;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block()?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let mut server = Server {
        daemon,
        signals: SignalFd::with_flags(&mask, flags)?,
        children: Children::new(),
        news: VecDeque::new(),
        phase: Phase::Serving,
        spare: SpareChild::new(parent),
        to_prepare: true,
    };
    give_back_memory();
    fill_gaps();
    while server.wait_and_act()? {}
    Ok(())
}

/// What such a process works with.
struct Server<'a, P> {
    daemon: &'a Pipe<News, Order>,
    signals: SignalFd,
    children: Children,
    news: VecDeque<News>,
    phase: Phase,
    spare: SpareChild<'a, P>,
    /// Whether to try to fork a child ahead: once after each event.
    to_prepare: bool,
}

/// What it waits for.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Daemon,
}

impl<P: Parent> Server<'_, P> {
    /// One wait and its events; whether the process continues.
    fn wait_and_act(&mut self) -> io::Result<bool> {
        self.report();
        if self.phase != Phase::Serving {
            self.spare.clear();
            if self.children.is_empty() && self.news.is_empty() {
                return Ok(false);
            }
        }
        if self.phase == Phase::Stopping {
            signal_all(&self.children, Signal::SIGTERM);
        }
        let ending = hurry(&self.children);
        let preparing = self.to_prepare && self.phase == Phase::Serving && !self.spare.is_ready();
        let timeout = match ending || self.phase == Phase::Stopping {
            true => Some(ASK_AGAIN),
            false => preparing.then_some(PREFORK_IDLE),
        };
        let mut interest = PollFlags::IN;
        interest.set(PollFlags::OUT, !self.news.is_empty());
        let mut poll = Poll::default();
        poll.read(Source::Signals, &self.signals);
        poll.add(Source::Daemon, self.daemon.as_fd(), interest);
        let ready = poll.wait(timeout)?;
        self.to_prepare = !(ready.is_empty() && preparing);
        if !self.to_prepare {
            self.spare.prepare();
        }
        for (source, events) in ready {
            match source {
                Source::Signals => {
                    while matches!(self.signals.read_signal(), Ok(Some(_))) {}
                    reap(&mut self.children, &mut self.news);
                }
                Source::Daemon if events == PollFlags::OUT => {}
                Source::Daemon => {
                    if !self.obey()? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    fn start(&mut self, start: Start) {
        let slot = start.slot;
        let news = if let Some(pid) = self.spare.begin(start) {
            self.children.insert(pid, Child { slot, end_by: None });
            let pid = pid.as_raw().unsigned_abs();
            News::Begun { slot, pid }
        } else {
            News::Ended(Ended {
                slot,
                orderly: false,
                failed_forks: self.spare.failed_forks,
            })
        };
        self.news.push_back(news);
    }

    /// Obeys an order; whether the process continues.
    fn obey(&mut self) -> io::Result<bool> {
        match self.daemon.receive()? {
            Some(Order::Start(start)) => self.start(start),
            Some(Order::Retire) => self.phase = Phase::Retired,
            Some(Order::Stop) => self.phase = Phase::Stopping,
            Some(Order::End { slot }) => {
                let end_by = Instant::now() + KILL_AFTER;
                for child in self.children.values_mut().filter(|of| of.slot == slot) {
                    child.end_by.get_or_insert(end_by);
                }
            }
            Some(Order::Kill) | None => {
                signal_all(&self.children, Signal::SIGKILL);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reports to the daemon as much as there is room for now: a wait for the
    /// daemon, which may be waiting for this process, would never end.
    fn report(&mut self) {
        while let Some(news) = self.news.front() {
            match self.daemon.try_send(news) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                _ => drop(self.news.pop_front()),
            }
        }
    }
}

/// Whether it still takes connections, and what happens to its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// They may continue.
    Retired,
    /// They are asked to end.
    Stopping,
}

/// The process of a connection.
struct Child {
    slot: u32,
    /// When it must have ended, once it was asked to.
    end_by: Option<Instant>,
}

type Children = HashMap<Pid, Child>;

/// Asks the children that are to end, and ends those whose time is up; whether
/// there are any.
fn hurry(children: &Children) -> bool {
    let mut any = false;
    for (pid, end_by) in children
        .iter()
        .filter_map(|(pid, child)| Some((pid, child.end_by?)))
    {
        let late = Instant::now() >= end_by;
        let _ = kill(
            *pid,
            if late {
                Signal::SIGKILL
            } else {
                Signal::SIGTERM
            },
        );
        any = true;
    }
    any
}

fn signal_all(children: &Children, signal: Signal) {
    for pid in children.keys() {
        let _ = kill(*pid, signal);
    }
}

/// Reaps all children that have ended.
fn reap(children: &mut Children, news: &mut VecDeque<News>) {
    loop {
        let (pid, killed_by) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) => (pid, Err(status)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Ok(signal)),
            _ => return,
        };
        let child = children.remove(&pid);
        if let Ok(signal) = killed_by {
            match child.as_ref().and_then(|child| child.end_by) {
                Some(_) => log::info!(pid:%, signal:%; "session ended as asked"),
                None => log::error!(pid:%, signal:%; "session killed"),
            }
        }
        if let Some(Child { slot, .. }) = child {
            news.push_back(News::Ended(Ended {
                slot,
                orderly: killed_by == Err(0),
                failed_forks: 0,
            }));
        }
    }
}

/// What the children of a process are for. One is forked ahead while the parent is
/// idle, so that no client waits for the fork; if it is not ready yet, a child is
/// forked on demand.
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
    /// Forks for a connection that have failed in a row.
    pub failed_forks: u32,
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
            failed_forks: 0,
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
            self.failed_forks = 0;
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
            let settled = speak_as(P::CHILD).and_then(|()| parent.settle());
            finish::<P>(peer, settled.and_then(|()| parent.serve(connection)))
        });
        self.turn += 1;
        self.failed_forks = match &child {
            Ok(_) => 0,
            Err(_) => self.failed_forks.saturating_add(1),
        };
        child
            .inspect_err(|e| {
                log::error!(peer:%, error:% = e; "can't fork a {}", P::CHILD);
                parent.refuse(start.map(|start| start.handles).unwrap_or_default());
            })
            .ok()
    }
}

/// The life of a child forked ahead. It ends if the parent has ended or dismisses
/// it.
fn wait<P: Parent>(parent: &P, channel: &Pipe<(), Start>, pid: Pid, turn: usize) -> i32 {
    let settle = || {
        speak_as(P::CHILD)?;
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
            log::error!(error:% = e; "{} failed before it had a client", P::CHILD);
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
            log::error!(peer:%, error:% = e; "{} failed", P::CHILD);
            1
        }
    }
}
