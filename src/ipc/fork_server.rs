//! A fork server: forks a process for each connection that the daemon passes on,
//! and reports when it has ended. The zygote forks gates, the launcher sessions.
//! It parses no network byte and never waits for the daemon.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::PollFlags;

use crate::ipc::orders::{Ended, Order};
use crate::ipc::spare_child::{Parent, SpareChild};
use crate::ipc::{Pipe, Poll};
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
pub fn run<P: Parent>(daemon: &Pipe<Ended, Order>, parent: &P) -> io::Result<()> {
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
    while server.wait_and_act()? {}
    Ok(())
}

/// What such a process works with.
struct Server<'a, P> {
    daemon: &'a Pipe<Ended, Order>,
    signals: SignalFd,
    children: Children,
    news: VecDeque<Ended>,
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

    /// Obeys an order; whether the process continues.
    fn obey(&mut self) -> io::Result<bool> {
        match self.daemon.receive()? {
            Some(Order::Start(start)) => {
                let slot = start.slot;
                match self.spare.begin(start) {
                    Some(pid) => {
                        self.children.insert(pid, Child { slot, end_by: None });
                    }
                    None => self.news.push_back(Ended {
                        slot,
                        orderly: false,
                    }),
                }
            }
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
        while let Some(ended) = self.news.front() {
            match self.daemon.try_send(ended) {
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
fn reap(children: &mut Children, news: &mut VecDeque<Ended>) {
    loop {
        let (pid, killed_by) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) => (pid, Err(status)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Ok(signal)),
            _ => return,
        };
        let child = children.remove(&pid);
        if let Ok(signal) = killed_by {
            match child.as_ref().and_then(|child| child.end_by) {
                Some(_) => log::info!("session ended as asked pid={pid} signal={signal}"),
                None => log::error!("session killed pid={pid} signal={signal}"),
            }
        }
        if let Some(Child { slot, .. }) = child {
            news.push_back(Ended {
                slot,
                orderly: killed_by == Err(0),
            });
        }
    }
}
