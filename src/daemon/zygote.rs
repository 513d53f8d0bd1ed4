//! The zygote: an unprivileged process in an empty directory that forks a
//! gate for each connection the daemon passes on, and tells the daemon when
//! that process has ended. It parses no network byte. Where the hash is the
//! last door the gate becomes the session when the keeper hands it the root.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::admission::NextDoor;
use super::channel::{Channel, address_from_bytes, address_to_bytes};
use super::gate::{self, Doors};
use super::keeper::Keeper;
use super::place::{self, Place};
use super::proxy;
use super::sandbox::Sandbox;
use super::session::{self, Card, key_text};
use super::slots::Slot;
use crate::store::Quota;
use crate::store::quota::Limits;
use crate::sys::process::{fork, keep_only};
use crate::sys::signal::follow_stop;
use crate::tf::cipher::cycle;
use crate::tf::doors::{self, Closed};
use crate::tf::settings::Settings;
use crate::users::{Names, Rights};

/// How often children that were asked to end are asked again: a request that
/// comes just before a read begins does not interrupt it.
const ASK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Bytes of a message to the zygote: what, slot, port, address, key.
pub const ORDER_LEN: usize = 1 + 4 + 2 + 16 + 16;
/// Bytes of a message from the zygote: slot, how the process ended.
pub const ENDED_LEN: usize = 4 + 1;

/// What the daemon tells the zygote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Fork a gate; the client's socket and a channel to the keeper follow.
    Connection {
        /// The connection's slot.
        slot: u32,
        /// The client.
        peer: SocketAddr,
        /// What PROCKEY tells: unguessable, the connection's own.
        key: [u8; 16],
    },
    /// Take no more connections, and end after the last child.
    Retire,
    /// Ask all children to end, and end after the last.
    Stop,
    /// End all children now.
    Kill,
}

impl Order {
    /// The message.
    #[must_use]
    pub fn to_bytes(self) -> [u8; ORDER_LEN] {
        let mut bytes = [0; ORDER_LEN];
        match self {
            Order::Connection { slot, peer, key } => {
                bytes[0] = 1;
                bytes[1..5].copy_from_slice(&slot.to_be_bytes());
                bytes[5..7].copy_from_slice(&peer.port().to_be_bytes());
                bytes[7..23].copy_from_slice(&address_to_bytes(peer.ip()));
                bytes[23..].copy_from_slice(&key);
            }
            Order::Retire => bytes[0] = 2,
            Order::Stop => bytes[0] = 3,
            Order::Kill => bytes[0] = 4,
        }
        bytes
    }

    /// The order in a message, if it is one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Order> {
        let bytes: &[u8; ORDER_LEN] = bytes.try_into().ok()?;
        match bytes[0] {
            1 => {
                let slot = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
                let port = u16::from_be_bytes([bytes[5], bytes[6]]);
                let octets: [u8; 16] = bytes[7..23].try_into().ok()?;
                let ip = address_from_bytes(octets);
                let key = bytes[23..].try_into().ok()?;
                Some(Order::Connection { slot, peer: SocketAddr::new(ip, port), key })
            }
            2 => Some(Order::Retire),
            3 => Some(Order::Stop),
            4 => Some(Order::Kill),
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

/// What the zygote gives each process it forks.
#[derive(Debug)]
pub struct Zygote<'a> {
    /// The doors a client has to pass.
    pub doors: Doors,
    /// What sessions follow.
    pub settings: Settings,
    /// The names CHOWN knows.
    pub names: Rc<Names>,
    /// The system user that sessions act as in single-user mode.
    pub user: String,
    /// What gates and sessions enter.
    pub sandbox: Sandbox,
    /// What sessions may store in single-user mode.
    pub limits: Option<Limits>,
    /// The table of slots.
    pub slots: BorrowedFd<'a>,
}

/// Forks a process for each connection, in which `serve` is called, until the
/// daemon is gone or says to stop, and all have ended.
///
/// # Errors
/// The system's, when the zygote can't go on.
pub fn run(daemon: &Channel, serve: impl Fn(Connection) -> io::Result<()>) -> io::Result<()> {
    follow_stop()?;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block()?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut children = HashMap::new();
    let mut news = VecDeque::new();
    let mut phase = Phase::Serving;
    let mut turn = 0;
    loop {
        tell(daemon, &mut news);
        if phase != Phase::Serving && children.is_empty() && news.is_empty() {
            return Ok(());
        }
        if phase == Phase::Stopping {
            signal_all(&children, Signal::SIGTERM);
        }
        let timeout = (phase == Phase::Stopping).then_some(&ASK_AGAIN);
        let interest = if news.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let mut fds = [PollFd::new(&signals, PollFlags::IN), PollFd::new(daemon, interest)];
        match poll(&mut fds, timeout) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
        }
        let [ended, orders] = fds.map(|fd| fd.revents());
        if !ended.is_empty() {
            while matches!(signals.read_signal(), Ok(Some(_))) {}
            reap(&mut children, &mut news);
        }
        if orders.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            let mut buffer = [0; ORDER_LEN];
            let (len, handles) = daemon.receive(&mut buffer)?;
            match Order::from_bytes(&buffer[..len]) {
                Some(Order::Connection { slot, peer, key }) => {
                    turn += 1;
                    let mut handles = handles.into_iter();
                    let pid = handles.next().and_then(|socket| {
                        let keeper = handles.next();
                        let connection = Connection { slot, peer, key, turn, socket, keeper };
                        fork_apart(&serve, connection)
                    });
                    match pid {
                        Some(pid) => drop(children.insert(pid, slot)),
                        None => news.push_back(Ended { slot, orderly: false }),
                    }
                }
                Some(Order::Retire) => phase = Phase::Retired,
                Some(Order::Stop) => phase = Phase::Stopping,
                Some(Order::Kill) | None => {
                    signal_all(&children, Signal::SIGKILL);
                    return Ok(());
                }
            }
        }
    }
}

/// Whether the zygote still takes connections, and what it does with those
/// it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// They go on for as long as they like.
    Retired,
    /// They are asked to end.
    Stopping,
}

fn signal_all(children: &HashMap<Pid, u32>, signal: Signal) {
    for pid in children.keys() {
        let _ = kill(*pid, signal);
    }
}

/// Takes leave of all children that have ended.
fn reap(children: &mut HashMap<Pid, u32>, news: &mut VecDeque<Ended>) {
    loop {
        let (pid, orderly) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) => (pid, status == 0),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                log::error!("session killed pid={pid} signal={signal}");
                (pid, false)
            }
            _ => return,
        };
        if let Some(slot) = children.remove(&pid) {
            news.push_back(Ended { slot, orderly });
        }
    }
}

/// Tells the daemon as much as there is room for now: the zygote never waits
/// for the daemon, since the daemon may be waiting for the zygote.
fn tell(daemon: &Channel, news: &mut VecDeque<Ended>) {
    while let Some(ended) = news.front() {
        match daemon.try_send(&ended.to_bytes(), &[]) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
            _ => drop(news.pop_front()),
        }
    }
}

/// A connection on its way into a process of its own.
pub struct Connection {
    /// Its slot.
    pub slot: u32,
    /// The client.
    pub peer: SocketAddr,
    /// What PROCKEY tells.
    pub key: [u8; 16],
    /// Which connection of this zygote it is.
    pub turn: usize,
    /// The client's socket.
    pub socket: OwnedFd,
    /// The channel to a keeper, for a gate.
    pub keeper: Option<OwnedFd>,
}

fn fork_apart(
    serve: &impl Fn(Connection) -> io::Result<()>,
    connection: Connection,
) -> Option<Pid> {
    let peer = connection.peer;
    fork(|| match serve(connection) {
        Ok(()) => 0,
        Err(e) => {
            log::error!("gate failed peer={peer} error=\"{e}\"");
            1
        }
    })
    .inspect_err(|e| log::error!("can't fork a gate peer={peer} error=\"{e}\""))
    .ok()
}

/// The life of a connection in its own process: gate, then session, or until
/// another process takes the session over.
///
/// # Errors
/// What of the system or of our own processes failed it.
pub fn serve(zygote: &Zygote<'_>, connection: Connection) -> io::Result<()> {
    let Connection { slot, peer, key, socket, keeper, .. } = connection;
    let keeper = keeper.ok_or(io::ErrorKind::InvalidInput)?;
    let page = Slot::map(zygote.slots, slot)?;
    let mut handles = vec![socket.as_fd(), keeper.as_fd()];
    handles.extend(cycle::handles());
    keep_only(&handles)?;
    set_pdeathsig(Signal::SIGKILL)?;
    let _ = set_name(c"tfd-session");
    SigSet::all().thread_unblock()?;
    zygote.sandbox.become_leaf()?;
    place::reached(Place::Gate, peer, None);
    let process_key = key_text(key);

    let socket = TcpStream::from(socket);
    let Doors { limit, accept_proxy_from, .. } = &zygote.doors;
    let peer = match proxy::announced(&socket, peer, accept_proxy_from, Instant::now() + *limit) {
        Ok(client) => client,
        Err(e) => {
            log::warn!("refused peer={peer} stage=handshake reason=\"{e}\"");
            return Ok(());
        }
    };
    page.set_client(peer);
    let keeper = Keeper::new(Channel::from_handle(keeper));
    let admitted = gate::admit(socket, &keeper, &zygote.doors);
    drop(keeper);
    let gate::Passed { mut wire, granted, counters, records } = match admitted {
        Ok(passed) => passed,
        Err(refusal) => {
            gate::log_refusal(peer, &refusal);
            return Ok(());
        }
    };
    if zygote.doors.closed == Closed::NONE {
        zygote.sandbox.limit_files(Some(granted.as_fd()))?;
        page.admit();
        let user = zygote.user.clone();
        let quota = match (counters, zygote.limits) {
            (Some(counters), Some(limits)) => Quota::map(counters.as_fd(), limits)?,
            _ => Quota::none(),
        };
        let rights = Rights::Full;
        let card = Card { peer, slot, process_key, user, rights, rate: None, quota };
        let (settings, names) = (zygote.settings.clone(), Rc::clone(&zygote.names));
        session::run(&mut wire, card, granted, records, settings, names);
        return Ok(());
    }
    let mut next = NextDoor::new(granted);
    match doors::pass(&mut wire, zygote.doors.closed, &process_key, &mut next) {
        Ok(true) => next.hand_over(wire),
        Ok(false) => {
            session::log_end(peer, &Ok(()));
            Ok(())
        }
        Err(e) => {
            session::log_end(peer, &Err(e));
            Ok(())
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
            let order = Order::Connection {
                slot: 70_000,
                peer: peer.parse().expect("address"),
                key: [9; 16],
            };
            assert_eq!(Order::from_bytes(&order.to_bytes()), Some(order));
        }
        for order in [Order::Retire, Order::Stop, Order::Kill] {
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
