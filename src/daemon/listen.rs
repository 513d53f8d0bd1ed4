//! The listening sockets.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, acceptfrom_with, bind, listen, socket_with, sockopt,
};

/// Connections the system holds for us before we take them.
const BACKLOG: i32 = 1024;

/// Keepalive probes every connection starts with, as deployed: after an hour
/// of silence, every 75 s, 9 of them.
const KEEPALIVE: (Duration, Duration, u32) =
    (Duration::from_secs(3600), Duration::from_secs(75), 9);

/// A listening socket and its address.
#[derive(Debug)]
pub struct Listener {
    /// The address asked for.
    pub address: SocketAddr,
    socket: OwnedFd,
}

impl Listener {
    /// Listens on an address. An IPv6 address takes IPv6 clients only.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if family == AddressFamily::INET6 {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        set_defaults(&socket)?;
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
        Ok(Listener { address, socket })
    }

    /// The next client that waits; `WouldBlock` when none does.
    ///
    /// # Errors
    /// The system's.
    pub fn accept(&self) -> io::Result<(OwnedFd, SocketAddr)> {
        let (socket, peer) = acceptfrom_with(&self.socket, SocketFlags::CLOEXEC)?;
        let peer = peer
            .and_then(|peer| SocketAddr::try_from(peer).ok())
            .ok_or(io::ErrorKind::ConnectionAborted)?;
        Ok((socket, peer))
    }

    /// The address the system gave, where the one asked for left it open.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.socket
            .try_clone()
            .and_then(|socket| TcpListener::from(socket).local_addr())
            .unwrap_or(self.address)
    }
}

/// Sets what every accepted socket inherits: keepalive, and no Nagle.
pub(super) fn set_defaults(socket: &OwnedFd) -> rustix::io::Result<()> {
    let (idle, interval, count) = KEEPALIVE;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, idle)?;
    sockopt::set_tcp_keepintvl(socket, interval)?;
    sockopt::set_tcp_keepcnt(socket, count)?;
    sockopt::set_tcp_nodelay(socket, true)
}

impl std::os::fd::AsFd for Listener {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
