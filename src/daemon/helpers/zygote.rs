//! The zygote: an unprivileged process in an empty directory that forks a
//! gate for each connection. Where the hash is the last door the gate becomes
//! the session when the keeper hands it the root.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::prctl::set_name;
use nix::sys::signal::SigSet;

use crate::daemon::helpers::keeper::Keeper;
use crate::daemon::helpers::spare_child::{Connection, Parent};
use crate::daemon::orders::Start;
use crate::ipc::channel::Channel;
use crate::proxy;
use crate::sandbox::Sandbox;
use crate::sandbox::place;
use crate::sandbox::place::Place;
use crate::session::keys::key_text;
use crate::session::login::{Login, Steps};
use crate::session::session;
use crate::session::session::{Card, Ways};
use crate::session::slots::Slot;
use crate::store::Quota;
use crate::store::quota::Limits;
use crate::sys::process::{follow, keep_only};
use crate::tf::cipher::cycle;
use crate::tf::gate;
use crate::tf::gate::Doors;
use crate::tf::login::{self, Greeting, Passed};
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

/// Bytes of what the daemon says of a connection besides: whether it is to
/// speak TLS.
pub const REST_LEN: usize = 1;

/// The same, for the daemon.
#[must_use]
pub fn rest(tls: bool) -> [u8; REST_LEN] {
    [u8::from(tls)]
}

impl Parent for Zygote<'_> {
    const CHILD: &'static str = "gate";
    const LONGEST: usize = REST_LEN;

    fn handles(&self) -> Vec<BorrowedFd<'_>> {
        [self.slots].into_iter().chain(cycle::handles()).collect()
    }

    fn settle(&self) -> io::Result<()> {
        SigSet::all().thread_unblock()?;
        self.sandbox.deny_fork_and_identity()
    }

    fn serve(&self, connection: Connection<'_>) -> io::Result<()> {
        serve(self, connection)
    }
}

/// The life of a connection in its own process: gate, then session, or until
/// another process takes the session over.
fn serve(zygote: &Zygote<'_>, connection: Connection<'_>) -> io::Result<()> {
    let Connection {
        start,
        handles,
        parent,
        ..
    } = connection;
    let Start {
        slot,
        peer,
        key,
        rest,
    } = start;
    let tls = rest == [1];
    let [socket, keeper] =
        <[OwnedFd; 2]>::try_from(handles).map_err(|_| io::ErrorKind::InvalidInput)?;
    let page = Slot::map(zygote.slots, slot)?;
    let mut handles = vec![socket.as_fd(), keeper.as_fd()];
    handles.extend(cycle::handles());
    keep_only(&handles)?;
    follow(parent)?;
    let _ = set_name(c"tfd-session");
    place::reached(Place::Gate, peer, None);
    page.serve(crate::tf::NAME);
    let process_key = key_text(slot, key);

    let socket = TcpStream::from(socket);
    let Doors {
        limit,
        accept_proxy_from,
        ..
    } = &zygote.doors;
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
    let gate::Passed {
        mut wire,
        proof,
        granted,
        counters,
        records,
        pool,
    } = match admitted {
        Ok(passed) => passed,
        Err(refusal) => {
            gate::log_refusal(peer, &refusal);
            return Ok(());
        }
    };
    if zygote.doors.steps == Steps::NONE {
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
        session::run(
            &mut wire,
            card,
            granted,
            Ways { records, pool },
            settings,
            names,
        );
        return Ok(());
    }
    let mut login = Login::new(granted, zygote.doors.steps, proof);
    match login::pass(&mut wire, &process_key, &mut login) {
        Ok(Passed::All) => {
            let state = login::state(&wire, Greeting::None).ok_or(io::ErrorKind::InvalidInput)?;
            login.hand_over(wire.socket(), &state)
        }
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
