//! A process that forks another for each connection the daemon passes on, and
//! tells the daemon when that has ended: the zygote, whose children are gates,
//! and the usher, whose children are sessions. It parses no network byte and
//! never waits for the daemon.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::ahead::{Nursery, Parent};
use super::channel::{Channel, address_from_bytes, address_to_bytes};
use crate::sys::signal::follow_stop;

/// How often children that were asked to end are asked again: a request that
/// comes just before a read begins does not interrupt it.
const ASK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// How long there has been nothing to do when a child is forked ahead: clients
/// that come close together would only wait for that.
const CALM: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// How long a child that was asked to end may take.
const MERCY: Duration = Duration::from_secs(1);

/// Bytes of a message for a connection, without what is behind it: what, slot,
/// port, address, key.
pub const START_LEN: usize = 1 + 4 + 2 + 16 + 16;
/// Bytes of a message to the daemon: slot, how the process ended.
pub const ENDED_LEN: usize = 4 + 1;

const START: u8 = 1;
const RETIRE: u8 = 2;
const STOP: u8 = 3;
const KILL: u8 = 4;
const END: u8 = 5;

/// What the daemon tells such a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order<'a> {
    /// Fork a child; the descriptors it needs are beside the message.
    Start(Start<'a>),
    /// Take no more connections, and end after the last child.
    Retire,
    /// Ask all children to end, and end after the last.
    Stop,
    /// End all children now.
    Kill,
    /// Ask the child of this slot to end, and soon end it.
    End {
        /// The slot.
        slot: u32,
    },
}

/// A connection that is to have a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start<'a> {
    /// The connection's slot.
    pub slot: u32,
    /// The client.
    pub peer: SocketAddr,
    /// What PROCKEY tells: unguessable, the connection's own.
    pub key: [u8; 16],
    /// What else the child needs to know.
    pub rest: &'a [u8],
}

impl<'a> Order<'a> {
    /// The message.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        match self {
            Order::Start(Start { slot, peer, key, rest }) => {
                let (slot, port) = (slot.to_be_bytes(), peer.port().to_be_bytes());
                [&[START], &slot[..], &port, &address_to_bytes(peer.ip()), &key, rest].concat()
            }
            Order::Retire => vec![RETIRE],
            Order::Stop => vec![STOP],
            Order::Kill => vec![KILL],
            Order::End { slot } => [&[END], &slot.to_be_bytes()[..]].concat(),
        }
    }

    /// The order in a message, if it is one.
    #[must_use]
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Order<'a>> {
        match bytes {
            [RETIRE] => Some(Order::Retire),
            [STOP] => Some(Order::Stop),
            [KILL] => Some(Order::Kill),
            [END, slot @ ..] => {
                Some(Order::End { slot: u32::from_be_bytes(slot.try_into().ok()?) })
            }
            [START, ..] => {
                let (start, rest) = bytes.split_first_chunk::<START_LEN>()?;
                let slot = u32::from_be_bytes(start[1..5].try_into().ok()?);
                let port = u16::from_be_bytes([start[5], start[6]]);
                let octets: [u8; 16] = start[7..23].try_into().ok()?;
                let peer = SocketAddr::new(address_from_bytes(octets), port);
                let key = start[23..].try_into().ok()?;
                Some(Order::Start(Start { slot, peer, key, rest }))
            }
            _ => None,
        }
    }
}

/// How the process of a connection ended, as the daemon learns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The connection's slot.
    pub slot: u32,
    /// Whether it ended by itself, and not by a signal or a panic.
    pub orderly: bool,
}

impl Ended {
    /// The message.
    #[must_use]
    pub fn to_bytes(self) -> [u8; ENDED_LEN] {
        let [a, b, c, d] = self.slot.to_be_bytes();
        [a, b, c, d, u8::from(self.orderly)]
    }

    /// The news in a message, if it is one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Ended> {
        let [a, b, c, d, orderly] = *bytes else { return None };
        Some(Ended { slot: u32::from_be_bytes([a, b, c, d]), orderly: orderly == 1 })
    }
}

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
    let mut nursery = Nursery::new(parent);
    // One attempt each time that something has happened.
    let mut to_prepare = true;
    loop {
        tell(daemon, &mut news);
        if phase != Phase::Serving && children.is_empty() && news.is_empty() {
            return Ok(());
        }
        if phase == Phase::Stopping {
            signal_all(&children, Signal::SIGTERM);
        }
        let ending = hurry(&children);
        let preparing = to_prepare && phase == Phase::Serving && !nursery.is_ready();
        let timeout = match ending || phase == Phase::Stopping {
            true => Some(&ASK_AGAIN),
            false => preparing.then_some(&CALM),
        };
        let interest = if news.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let mut fds = [PollFd::new(&signals, PollFlags::IN), PollFd::new(daemon, interest)];
        match poll(&mut fds, timeout) {
            Ok(0) if preparing => {
                nursery.prepare();
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
                Some(Order::Start(start)) => match nursery.begin(start, handles) {
                    Some(pid) => {
                        children.insert(pid, Child { slot: start.slot, end_by: None });
                    }
                    None => news.push_back(Ended { slot: start.slot, orderly: false }),
                },
                Some(Order::Retire) => {
                    phase = Phase::Retired;
                    nursery.clear();
                }
                Some(Order::Stop) => {
                    phase = Phase::Stopping;
                    nursery.clear();
                }
                Some(Order::End { slot }) => {
                    for child in children.values_mut().filter(|child| child.slot == slot) {
                        child.end_by.get_or_insert_with(|| Instant::now() + MERCY);
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
    for (pid, end_by) in children.iter().filter_map(|(pid, child)| Some((pid, child.end_by?))) {
        let late = Instant::now() >= end_by;
        let _ = kill(*pid, if late { Signal::SIGKILL } else { Signal::SIGTERM });
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
            news.push_back(Ended { slot, orderly: killed_by == Err(0) });
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn orders_and_news_arrive_as_sent() {
        for peer in ["127.0.0.1:9", "[2001:db8::1]:65535"] {
            let peer = peer.parse().expect("address");
            let order = Order::Start(Start { slot: 70_000, peer, key: [9; 16], rest: b"more" });
            assert_eq!(Order::from_bytes(&order.to_bytes()), Some(order));
        }
        for order in [Order::Retire, Order::Stop, Order::Kill, Order::End { slot: 70_000 }] {
            assert_eq!(Order::from_bytes(&order.to_bytes()), Some(order));
        }
        let ended = Ended { slot: 70_000, orderly: true };
        assert_eq!(Ended::from_bytes(&ended.to_bytes()), Some(ended));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..48)) {
            let _ = (Order::from_bytes(&bytes), Ended::from_bytes(&bytes));
        }
    }
}
