//! The listening sockets.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, acceptfrom_with, bind, listen, socket_with, sockopt,
};

/// Connections the system holds for us before we take them.
const BACKLOG: i32 = 1024;

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

impl std::os::fd::AsFd for Listener {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
