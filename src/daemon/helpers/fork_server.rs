//! A process that forks another for each connection the daemon passes on, and
//! tells the daemon when that has ended: the zygote, whose children are gates,
//! and the launcher, whose children are sessions. It parses no network byte and
//! never waits for the daemon.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::daemon::helpers::spare_child::{Parent, SpareChild};
use crate::daemon::orders::{Ended, Order, START_LEN};
use crate::ipc::channel::Channel;
use crate::sys::signal::follow_stop;

/// How often children that were asked to end are asked again: a request that
/// comes just before a read begins does not interrupt it.
const ASK_AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// How long there has been nothing to do when a child is forked ahead: clients
/// that come close together would only wait for that.
const PREFORK_IDLE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000,
};

/// How long a child that was asked to end may take.
const KILL_AFTER: Duration = Duration::from_secs(1);

/// Has a child for each connection until the daemon is gone or says to stop,
/// and all have ended.
///
/// # Errors
/// The system's, when the process can't go on.
pub fn run<P: Parent>(daemon: &Channel, parent: &P) -> io::Result<()> {
    let mut buffer = vec![0; START_LEN + P::LONGEST];
    follow_stop()?;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block()?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut children = Children::new();
    let mut news = VecDeque::new();
    let mut phase = Phase::Serving;
    let mut spare = SpareChild::new(parent);
    // One attempt each time that something has happened.
    let mut to_prepare = true;
    loop {
        tell(daemon, &mut news);
        if phase != Phase::Serving {
            spare.clear();
            if children.is_empty() && news.is_empty() {
                return Ok(());
            }
        }
        if phase == Phase::Stopping {
            signal_all(&children, Signal::SIGTERM);
        }
        let ending = hurry(&children);
        let preparing = to_prepare && phase == Phase::Serving && !spare.is_ready();
        let timeout = match ending || phase == Phase::Stopping {
            true => Some(&ASK_AGAIN),
            false => preparing.then_some(&PREFORK_IDLE),
        };
        let interest = if news.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::IN | PollFlags::OUT
        };
        let mut fds = [
            PollFd::new(&signals, PollFlags::IN),
            PollFd::new(daemon, interest),
        ];
        match poll(&mut fds, timeout) {
            Ok(0) if preparing => {
                spare.prepare();
                to_prepare = false;
                continue;
            }
            Ok(_) => to_prepare = true,
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
        }
        let [ended, orders] = fds.map(|fd| fd.revents());
        if !ended.is_empty() {
            while matches!(signals.read_signal(), Ok(Some(_))) {}
            reap(&mut children, &mut news);
        }
        if orders.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            let (len, handles) = daemon.receive(&mut buffer)?;
            match Order::from_bytes(&buffer[..len]) {
                Some(Order::Start(start)) => match spare.begin(start, handles) {
                    Some(pid) => {
                        children.insert(
                            pid,
                            Child {
                                slot: start.slot,
                                end_by: None,
                            },
                        );
                    }
                    None => news.push_back(Ended {
                        slot: start.slot,
                        orderly: false,
                    }),
                },
                Some(Order::Retire) => phase = Phase::Retired,
                Some(Order::Stop) => phase = Phase::Stopping,
                Some(Order::End { slot }) => {
                    for child in children.values_mut().filter(|child| child.slot == slot) {
                        child
                            .end_by
                            .get_or_insert_with(|| Instant::now() + KILL_AFTER);
                    }
                }
                Some(Order::Kill) | None => {
                    signal_all(&children, Signal::SIGKILL);
                    return Ok(());
                }
            }
        }
    }
}

/// Whether such a process still takes connections, and what it does with those
/// it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// They go on for as long as they like.
    Retired,
    /// They are asked to end.
    Stopping,
}

/// The process of a connection.
struct Child {
    slot: u32,
    /// When it is to have ended, once it was asked to.
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

/// Takes leave of all children that have ended.
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

/// Tells the daemon as much as there is room for now: a wait for the daemon,
/// which may be waiting for this process, would never end.
fn tell(daemon: &Channel, news: &mut VecDeque<Ended>) {
    while let Some(ended) = news.front() {
        match daemon.try_send(&ended.to_bytes(), &[]) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
            _ => drop(news.pop_front()),
        }
    }
}
