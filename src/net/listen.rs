//! The listening sockets.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, acceptfrom_with, bind, getsockname, listen,
    socket_with, sockopt,
};

/// Connections the system holds for us before we take them.
const BACKLOG: i32 = 1024;

/// Keepalive probes every connection starts with, as deployed: after an hour
/// of silence, every 75 s, 9 of them.
const KEEPALIVE: (Duration, Duration, u32) =
    (Duration::from_secs(3600), Duration::from_secs(75), 9);

/// How many numbers are tried where the system is to choose one, until the UDP
/// port of the same number is free, too.
const PORT_TRIES: usize = 32;

/// A listening socket and its address, and the UDP socket of the same number
/// if its protocol uses one.
#[derive(Debug)]
pub struct Listener {
    /// The address asked for.
    pub address: SocketAddr,
    /// The number of its entry in the configuration.
    pub id: u16,
    /// The number of its protocol.
    pub protocol: u8,
    /// Whether its clients are to speak TLS.
    pub tls: bool,
    /// The key of the configuration that lists it.
    pub key: &'static str,
    socket: OwnedFd,
    udp: Option<OwnedFd>,
}

impl Listener {
    /// Listens on an address, by TCP, and by UDP if wanted. An IPv6 address
    /// takes IPv6 clients only. What the listener is for is set later.
    pub fn bind(address: SocketAddr, with_udp: bool) -> io::Result<Listener> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..PORT_TRIES {
            let socket = open(address, SocketType::STREAM)?;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            set_defaults(&socket)?;
            bind(&socket, &address)?;
            let mut listener = Listener::of(socket, address);
            match listener.bind_udp(with_udp) {
                Ok(()) => {
                    listen(&listener.socket, BACKLOG)?;
                    return Ok(listener);
                }
                Err(e) => last = io::Error::new(e.kind(), format!("UDP: {e}")),
            }
            if address.port() != 0 {
                break;
            }
        }
        Err(last)
    }

    fn of(socket: OwnedFd, address: SocketAddr) -> Listener {
        Listener {
            address,
            id: 0,
            protocol: 0,
            tls: false,
            key: "",
            socket,
            udp: None,
        }
    }

    /// Opens the UDP socket of the same number if wanted, else closes it.
    pub fn bind_udp(&mut self, wanted: bool) -> io::Result<()> {
        if !wanted {
            self.udp = None;
        } else if self.udp.is_none() {
            let bound = local_address(&self.socket)?;
            let udp = open(bound, SocketType::DGRAM)?;
            bind(&udp, &bound)?;
            self.udp = Some(udp);
        }
        Ok(())
    }

    /// The UDP socket of the same number, if its protocol uses one.
    pub fn udp(&self) -> Option<BorrowedFd<'_>> {
        self.udp.as_ref().map(AsFd::as_fd)
    }

    /// A line in the log.
    pub fn announce(&self) {
        let with = if self.tls { " with TLS" } else { "" };
        log::info!(address:% = self.local_address(); "listening{with}");
    }

    /// A socket that another process opened, at the address it has. Fails with
    /// `InvalidInput` if it does not listen for TCP. What the listener is for
    /// is set later.
    pub fn inherit(socket: OwnedFd) -> io::Result<Listener> {
        let fits = sockopt::socket_acceptconn(&socket)?
            && sockopt::socket_type(&socket)? == SocketType::STREAM;
        let address = SocketAddr::try_from(getsockname(&socket)?)?;
        if !fits {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        rustix::io::ioctl_fionbio(&socket, true)?;
        set_defaults(&socket)?;
        Ok(Listener::of(socket, address))
    }

    /// The next client that waits; `WouldBlock` when none does.
    pub fn accept(&self) -> io::Result<(OwnedFd, SocketAddr)> {
        let (socket, peer) = acceptfrom_with(&self.socket, SocketFlags::CLOEXEC)?;
        let peer = peer
            .and_then(|peer| SocketAddr::try_from(peer).ok())
            .ok_or(io::ErrorKind::ConnectionAborted)?;
        Ok((socket, peer))
    }

    /// The address the system gave, where the one asked for left it open.
    pub fn local_address(&self) -> SocketAddr {
        local_address(&self.socket).unwrap_or(self.address)
    }
}

/// Why an address can't be listened on, and what to do.
pub fn not_listening(e: &io::Error) -> String {
    let remedy = match e.kind() {
        io::ErrorKind::AddrInUse => {
            ": another program (systemd, for tfd.socket?), or tfd itself at another address, \
             has the port: see ss -ltnup"
        }
        io::ErrorKind::AddrNotAvailable => ": no address of this machine: see ip address",
        io::ErrorKind::PermissionDenied => ": ports below 1024 are for root",
        _ => "",
    };
    format!("can't listen: {e}{remedy}")
}

/// A socket for the family of an address, which does not wait.
pub(crate) fn socket_for(address: IpAddr, kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let family = match address {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, kind, flags, None)
}

fn open(address: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let socket = socket_for(address.ip(), kind)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}

fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    TcpListener::from(socket.try_clone()?).local_addr()
}

/// Sets what every accepted socket inherits: keepalive, and no Nagle.
pub(crate) fn set_defaults(socket: &OwnedFd) -> rustix::io::Result<()> {
    set_keepalive(socket, KEEPALIVE)?;
    sockopt::set_tcp_nodelay(socket, true)
}

/// Has the system probe the peer after so long an idle time, at this interval and so
/// often.
pub(crate) fn set_keepalive(
    socket: impl AsFd,
    (idle, interval, count): (Duration, Duration, u32),
) -> rustix::io::Result<()> {
    let socket = socket.as_fd();
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, idle)?;
    sockopt::set_tcp_keepintvl(socket, interval)?;
    sockopt::set_tcp_keepcnt(socket, count)
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
