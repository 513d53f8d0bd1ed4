//! The zygote: an unprivileged process in an empty directory that forks a
//! gate for each connection. A gate never has a handle of the root.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_name;
use nix::sys::signal::SigSet;

use crate::daemon::protocols::Protocols;
use crate::ipc::channel::Channel;
use crate::ipc::codec::{Decode, codec};
use crate::ipc::fork_server::{Connection, Parent};
use crate::ipc::orders::Start;
use crate::net::proxy_header::announced;
use crate::net::tls::server::Door;
use crate::sandbox::Sandbox;
use crate::sandbox::place;
use crate::sandbox::place::Place;
use crate::session::keeper::Keeper;
use crate::session::keys::key_text;
use crate::session::login::Steps;
use crate::session::protocol::Gate;
use crate::session::slots::Slot;
use crate::sys::process::{follow, keep_only};
use crate::users::account::Network;

/// What the zygote gives each process it forks.
pub struct Zygote {
    /// What clients speak.
    pub protocols: Protocols,
    /// How long a client may take until its login is complete, or its
    /// protocol's steps begin.
    pub login_timeout: Duration,
    /// Peers that must send a PROXY header.
    pub accept_proxy_from: Vec<Network>,
    /// The login steps behind what a protocol asks of everybody.
    pub steps: Steps,
    /// For listeners that speak TLS.
    pub tls: Option<Door>,
    /// What gates enter.
    pub sandbox: Sandbox,
}

/// What follows a gate's [`Start`]: the listener that its client came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The number of the listener in the configuration.
    pub listener: u16,
    /// The number of its protocol.
    pub protocol: u8,
    /// Whether it speaks TLS.
    pub tls: bool,
}

codec!(struct Arrival { listener, protocol, tls });

impl Parent for Zygote {
    const CHILD: &'static str = "gate";

    fn handles(&self) -> Vec<BorrowedFd<'_>> {
        self.protocols.handles().collect()
    }

    fn settle(&self) -> io::Result<()> {
        SigSet::all().thread_unblock()?;
        self.sandbox.make_gate()
    }

    fn serve(&self, connection: Connection) -> io::Result<()> {
        let Start {
            slot,
            peer,
            key,
            page,
            rest,
            handles,
        } = connection.start;
        let [socket, keeper] =
            <[OwnedFd; 2]>::try_from(handles).map_err(|_| io::ErrorKind::InvalidInput)?;
        let page = Slot::map(page)?;
        let mut handles = vec![socket.as_fd(), keeper.as_fd()];
        handles.extend(self.protocols.handles());
        keep_only(&handles)?;
        follow(connection.parent)?;
        let _ = set_name(c"tfd-gate");
        place::reached(Place::Gate, peer, None);
        let arrival = Arrival::from_bytes(&rest).ok_or(io::ErrorKind::InvalidData)?;
        let protocol = self.protocols.get(arrival.protocol)?;

        let socket = TcpStream::from(socket);
        let deadline = Instant::now() + self.login_timeout;
        let peer = match announced(&socket, peer, &self.accept_proxy_from, deadline) {
            Ok(client) => client,
            Err(e) => {
                log::warn!(peer:%, stage:% = "handshake", reason:% = e; "refused");
                return Ok(());
            }
        };
        let no_certificate = || io::Error::other("a TLS listener without a certificate");
        let tls = arrival
            .tls
            .then(|| self.tls.as_ref().ok_or_else(no_certificate))
            .transpose()?;
        let process_key = key_text(slot, key);
        let gate = Gate {
            socket,
            peer,
            listener: arrival.listener,
            tls,
            deadline,
            meter: page.meter(),
            keeper: Keeper::new(Channel::from_handle(keeper), peer),
            steps: self.steps,
            process_key: &process_key,
        };
        protocol.gate(gate)
    }
}
