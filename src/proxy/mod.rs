//! The transparent proxy (document, "Transparent Proxy System"): the processes
//! of a daemon that serves no file and relays every connection, and every
//! datagram, to the server behind it. None of them looks at the data.

mod connect;
mod datagrams;
mod resolve;
mod splice;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_name;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::config::{Config, Proxy};
use crate::ipc::fork_server::{self, Connection, Parent};
use crate::ipc::orders::{News, Order, Start};
use crate::ipc::{Helper, log_channel};
use crate::net::listen::set_defaults;
use crate::net::proxy_header::{announced, encode};
use crate::proxy::connect::reach;
use crate::proxy::resolve::Reader;
use crate::proxy::splice::Moved;
use crate::sandbox::confinement::{Confinement, Duty};
use crate::sandbox::place::{self, Place};
use crate::sandbox::{Reach, Sandbox};
use crate::session::slots::Slot;
use crate::sys::process::{follow, keep_only};
use crate::users::Identities;
use crate::users::account::Network;

/// The processes in addition to the zygote.
#[derive(Debug, Default)]
pub struct Helpers {
    /// Their processes.
    pub pids: Vec<Pid>,
    /// The one for datagrams, which runs while this is open.
    udp: Option<Helper>,
}

impl Helpers {
    /// Ends them, after the answers that UDP clients wait for.
    pub fn retire(&mut self) {
        if let Some(udp) = self.udp.take() {
            self.pids.retain(|pid| *pid != udp.pid);
        }
        self.end();
        self.pids.clear();
    }

    /// Ends them at once.
    pub fn end(&self) {
        for pid in &self.pids {
            let _ = kill(*pid, Signal::SIGKILL);
        }
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts the processes of a proxy: the zygote that forks a relay for each
/// connection, and its helpers. Datagrams that arrive on the sockets `udp` are
/// relayed.
///
/// # Errors
/// One line that says what could not be started and why; what had been
/// started is ended.
pub fn start(
    config: &Config,
    proxy: &Proxy,
    identities: Option<&Identities>,
    sandbox: &Sandbox,
    udp: &[BorrowedFd<'_>],
) -> Result<(Helper<Order, News>, Helpers), String> {
    let mut helpers = Helpers::default();
    let identity = identities.map(|who| &who.helpers);
    let (backend, resolver) = resolve::start(&proxy.backend, identity, sandbox)?;
    helpers.pids.extend(resolver);
    let udp = datagrams::start(proxy, &backend, identity, sandbox, udp)?;
    helpers.pids.push(udp.pid);
    helpers.udp = Some(udp);

    let reaching = sandbox.reaching(Reach::Tcp);
    let reaching = reaching.map_err(|e| format!("zygote: {e}"))?;
    let confinement = Confinement::new(identities.map(|who| &who.clients), &reaching)?;
    let zygote = Helper::spawn_ready("zygote", |child| {
        let backend = backend.reader()?;
        let mut handles: Vec<_> = backend.handle().map(AsFd::as_fd).into_iter().collect();
        handles.extend(log_channel::sender(Relay::CHILD));
        let confined = confinement.with(Duty::Connecting(proxy.backend.port));
        child.enter(c"tfd-zygote", &confined, &handles)?;
        let relay = Relay {
            proxy,
            backend,
            limit: config.server.handshake_limit,
            accept_from: &config.server.accept_proxy_from,
            connecting: &reaching,
            connected: sandbox,
        };
        child.ready()?;
        fork_server::run(&child.channel, &relay)
    })?;
    Ok((zygote, helpers))
}

/// What every relay gets: the process between one client and the backend. It opens
/// one connection, gives up the right to open others, and moves bytes that it never
/// looks at.
struct Relay<'a> {
    /// Where to, and from where.
    proxy: &'a Proxy,
    /// The backend's addresses.
    backend: Reader,
    /// How long the backend may take to answer.
    limit: Duration,
    /// Peers that must send a PROXY header.
    accept_from: &'a [Network],
    /// What it is in until it is connected, and from then on.
    connecting: &'a Sandbox,
    connected: &'a Sandbox,
}

impl Parent for Relay<'_> {
    const CHILD: &'static str = "relay";

    fn handles(&self) -> Vec<BorrowedFd<'_>> {
        let handle = self.backend.handle().map(AsFd::as_fd);
        handle.into_iter().collect()
    }

    fn settle(&self) -> io::Result<()> {
        SigSet::all().thread_unblock()?;
        self.connecting.make_gate()
    }

    fn serve(&self, connection: Connection) -> io::Result<()> {
        let Connection {
            start:
                Start {
                    slot,
                    peer,
                    page,
                    handles,
                    ..
                },
            parent,
            turn,
        } = connection;
        let socket = handles
            .into_iter()
            .next()
            .ok_or(io::ErrorKind::InvalidInput)?;
        let page = Slot::map(page)?;
        let mut handles = vec![socket.as_fd()];
        handles.extend(self.backend.handle().map(AsFd::as_fd));
        keep_only(&handles)?;
        follow(parent)?;
        let _ = set_name(c"tfd-relay");

        let deadline = Instant::now() + self.limit;
        let client = TcpStream::from(socket);
        let peer = match announced(&client, peer, self.accept_from, deadline) {
            Ok(peer) => peer,
            Err(e) => {
                log::warn!(peer:%, stage:% = "handshake", reason:% = e; "refused");
                return Ok(());
            }
        };
        let (backend, to) = match self.connect(&client, peer, turn, deadline) {
            Ok(connected) => connected,
            Err(e) => {
                self.backend.look_again();
                let backend = &self.proxy.backend;
                log::warn!(peer:%, backend:%, error:% = e; "proxy failed");
                return Ok(());
            }
        };
        self.connected.enter()?;
        place::reached(Place::Relay, peer, None);
        page.connected();
        log::info!(peer:%, backend:% = to, slot; "proxy start");
        let mut moved = Moved::default();
        let end = splice::relay(&OwnedFd::from(client), &backend, &mut moved);
        let Moved { up, down } = moved;
        let reason = end.map_or_else(|e| e, str::to_owned);
        log::info!(peer:%, reason:%, up, down; "proxy end");
        Ok(())
    }
}

impl Relay<'_> {
    /// Connects to the backend and sends a PROXY header if configured; returns the
    /// connection and the address that answered.
    fn connect(
        &self,
        client: &TcpStream,
        peer: SocketAddr,
        turn: usize,
        deadline: Instant,
    ) -> io::Result<(OwnedFd, SocketAddr)> {
        let Proxy {
            backend,
            from,
            announce,
        } = self.proxy;
        let addresses = self.backend.wait(deadline);
        let socket = reach(&addresses, backend.port, from, turn, deadline)?;
        set_defaults(&socket)?;
        let mut stream = TcpStream::from(socket);
        if *announce {
            // It fits into the empty buffer of a new connection.
            io::Write::write_all(&mut stream, &encode(peer, client.local_addr()?))?;
        }
        let to = stream.peer_addr()?;
        Ok((stream.into(), to))
    }
}
