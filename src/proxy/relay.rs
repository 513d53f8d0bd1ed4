//! A relay: the process between one client and the backend. It opens one
//! connection, gives up the right to open others, and moves bytes that it never
//! looks at.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_name;
use nix::sys::signal::SigSet;

use crate::config::Proxy;
use crate::ipc::orders::Start;
use crate::ipc::spare_child::{Connection, Parent};
use crate::net::listen::set_defaults;
use crate::net::proxy_header as header;
use crate::net::proxy_header::announced;
use crate::proxy::connect::reach;
use crate::proxy::resolve::Reader;
use crate::proxy::splice;
use crate::proxy::splice::Moved;
use crate::sandbox::Sandbox;
use crate::sandbox::place;
use crate::sandbox::place::Place;
use crate::session::slots::Slot;
use crate::sys::process::{follow, keep_only};
use crate::users::account::Network;

/// What every relay gets.
pub(crate) struct Relay<'a> {
    /// Where to, and from where.
    pub proxy: &'a Proxy,
    /// The backend's addresses.
    pub backend: Reader,
    /// How long the backend may take to answer.
    pub limit: Duration,
    /// Peers that must send a PROXY header.
    pub accept_from: &'a [Network],
    /// The table of slots.
    pub slots: BorrowedFd<'a>,
    /// What it is in until it is connected, and from then on.
    pub connecting: &'a Sandbox,
    pub connected: &'a Sandbox,
}

impl Parent for Relay<'_> {
    const CHILD: &'static str = "relay";

    fn handles(&self) -> Vec<BorrowedFd<'_>> {
        [self.slots]
            .into_iter()
            .chain(self.backend.handle().map(AsFd::as_fd))
            .collect()
    }

    fn settle(&self) -> io::Result<()> {
        SigSet::all().thread_unblock()?;
        self.connecting.deny_fork_and_identity()
    }

    fn serve(&self, connection: Connection) -> io::Result<()> {
        let Connection {
            start:
                Start {
                    slot,
                    peer,
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
        let page = Slot::map(self.slots, slot)?;
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
                log::warn!("refused peer={peer} stage=handshake reason=\"{e}\"");
                return Ok(());
            }
        };
        let (backend, to) = match self.connect(&client, peer, turn, deadline) {
            Ok(connected) => connected,
            Err(e) => {
                self.backend.look_again();
                let backend = &self.proxy.backend;
                log::warn!("proxy failed peer={peer} backend={backend} error=\"{e}\"");
                return Ok(());
            }
        };
        self.connected.enter()?;
        place::reached(Place::Relay, peer, None);
        page.admit();
        log::info!("proxy start peer={peer} backend={to} slot={slot}");
        let mut moved = Moved::default();
        let end = splice::relay(&OwnedFd::from(client), &backend, &mut moved);
        let Moved { up, down } = moved;
        let reason = end.map_or_else(|e| e, str::to_owned);
        log::info!("proxy end peer={peer} reason=\"{reason}\" up={up} down={down}");
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
            io::Write::write_all(&mut stream, &header::encode(peer, client.local_addr()?))?;
        }
        let to = stream.peer_addr()?;
        Ok((stream.into(), to))
    }
}
