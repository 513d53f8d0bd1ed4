//! The zygote: an unprivileged process in an empty directory that forks a
//! gate for each connection. Where the hash is the last door the gate becomes
//! the session when the keeper hands it the root.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;

use super::admission::NextDoor;
use super::brood::{self, Start};
use super::channel::Channel;
use super::gate::{self, Doors};
use super::keeper::Keeper;
use super::keys::key_text;
use super::place::{self, Place};
use super::proxy;
use super::sandbox::Sandbox;
use super::session::{self, Card, Ways};
use super::slots::Slot;
use crate::store::Quota;
use crate::store::quota::Limits;
use crate::sys::process::{fork, keep_only};
use crate::tf::cipher::cycle;
use crate::tf::doors::{self, Closed, Passed};
use crate::tf::settings::Settings;
use crate::users::{Names, Rights};

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
    let turn = Cell::new(0);
    brood::run(daemon, REST_LEN, |start, handles| {
        turn.set(turn.get() + 1);
        fork_apart(&serve, Connection::new(start, turn.get(), handles)?)
    })
}

/// Bytes of what the daemon says of a connection besides: whether it is to
/// speak TLS.
const REST_LEN: usize = 1;

/// The same, for the daemon.
#[must_use]
pub fn rest(tls: bool) -> [u8; REST_LEN] {
    [u8::from(tls)]
}

/// A connection on its way into a process of its own.
pub struct Connection {
    /// Its slot.
    pub slot: u32,
    /// The client.
    pub peer: SocketAddr,
    /// What PROCKEY tells.
    pub key: [u8; 16],
    /// Whether it is to speak TLS.
    pub tls: bool,
    /// Which connection of this zygote it is.
    pub turn: usize,
    /// The client's socket.
    pub socket: OwnedFd,
    /// The channel to a keeper, for a gate.
    pub keeper: Option<OwnedFd>,
}

impl Connection {
    fn new(start: Start<'_>, turn: usize, handles: Vec<OwnedFd>) -> Option<Connection> {
        let Start { slot, peer, key, rest } = start;
        let tls = rest == [1];
        let mut handles = handles.into_iter();
        let socket = handles.next()?;
        Some(Connection { slot, peer, key, tls, turn, socket, keeper: handles.next() })
    }
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
    let Connection { slot, peer, key, tls, socket, keeper, .. } = connection;
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
    page.enter();
    let process_key = key_text(slot, key);

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
    let keeper = Arc::new(Keeper::new(Channel::from_handle(keeper)));
    let tls = match (tls, &zygote.doors.tls) {
        (false, _) => None,
        (true, Some(door)) => Some(door),
        (true, None) => return Err(io::Error::other("a TLS listener without a certificate")),
    };
    let admitted = gate::admit(socket, tls, &keeper, &zygote.doors, page.meter());
    drop(keeper);
    let gate::Passed { mut wire, proof, granted, counters, records, pool } = match admitted {
        Ok(passed) => passed,
        Err(refusal) => {
            gate::log_refusal(peer, &refusal);
            return Ok(());
        }
    };
    if zygote.doors.closed == Closed::NONE {
        zygote.sandbox.limit_files(Some(granted.as_fd()))?;
        if records.is_some() || pool.is_some() {
            zygote.sandbox.share_sockets()?;
        }
        let user = zygote.user.clone();
        let quota = match (counters, zygote.limits) {
            (Some(counters), Some(limits)) => Quota::map(counters.as_fd(), limits)?,
            _ => Quota::none(),
        };
        let rights = Rights::Full;
        let card = Card {
            peer,
            slot,
            page,
            process_key,
            user,
            certificate: false,
            rights,
            rate: None,
            quota,
        };
        let (settings, names) = (zygote.settings.clone(), Rc::clone(&zygote.names));
        session::run(&mut wire, card, granted, Ways { records, pool }, settings, names);
        return Ok(());
    }
    let mut next = NextDoor::new(granted, zygote.doors.closed).with_proof(proof);
    match doors::pass(&mut wire, zygote.doors.closed, &process_key, &mut next) {
        Ok(Passed::All) => next.hand_over(wire),
        Ok(Passed::TakenOver) => Ok(()),
        Ok(Passed::Left) => {
            session::log_end(peer, &Ok(()));
            Ok(())
        }
        Err(e) => {
            session::log_end(peer, &Err(e));
            Ok(())
        }
    }
}
