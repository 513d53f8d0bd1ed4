//! A UDP socket that answers from the address that was asked, even if it is
//! bound to all addresses.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};

/// The socket of one listener.
#[derive(Debug)]
pub(crate) struct Port(OwnedFd);

/// The address that a datagram was sent to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
    Unknown,
}

impl Port {
    pub(crate) fn new(socket: BorrowedFd<'_>) -> io::Result<Port> {
        let port = Port(socket.try_clone_to_owned()?);
        let address = UdpSocket::from(port.0.try_clone()?).local_addr()?;
        match address {
            SocketAddr::V4(at) if at.ip().is_unspecified() => {
                setsockopt(&port.0, sockopt::Ipv4PacketInfo, &true)?;
            }
            SocketAddr::V6(at) if at.ip().is_unspecified() => {
                setsockopt(&port.0, sockopt::Ipv6RecvPacketInfo, &true)?;
            }
            _ => {}
        }
        Ok(port)
    }

    /// The next datagram, or `None` when there is none now.
    pub(crate) fn receive(
        &self,
        buffer: &mut [u8],
    ) -> io::Result<Option<(usize, SockaddrStorage, At)>> {
        let mut space = nix::cmsg_space!(libc::in6_pktinfo);
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let raw = self.0.as_raw_fd();
        match recvmsg::<SockaddrStorage>(raw, &mut parts, Some(&mut space), flags) {
            Ok(received) => {
                let at = received.cmsgs()?.find_map(|message| match message {
                    ControlMessageOwned::Ipv4PacketInfo(info) => Some(At::V4(info)),
                    ControlMessageOwned::Ipv6PacketInfo(info) => Some(At::V6(info)),
                    _ => None,
                });
                let from = received.address.ok_or(io::ErrorKind::InvalidData)?;
                Ok(Some((received.bytes, from, at.unwrap_or(At::Unknown))))
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            // An error about a datagram that could not be delivered.
            Err(Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::ENETUNREACH) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Answers; an answer that can't be sent now is lost, as datagrams may be.
    pub(crate) fn answer(&self, bytes: &[u8], to: &SockaddrStorage, at: At) {
        let parts = [IoSlice::new(bytes)];
        let beside = match &at {
            At::V4(info) => vec![ControlMessage::Ipv4PacketInfo(info)],
            At::V6(info) => vec![ControlMessage::Ipv6PacketInfo(info)],
            At::Unknown => Vec::new(),
        };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let _ = sendmsg(self.0.as_raw_fd(), &parts, &beside, flags, Some(to));
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The address in the system's control message.
pub(crate) fn address_of(from: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = from.as_sockaddr_in() {
        return Some(SocketAddr::V4((*v4).into()));
    }
    from.as_sockaddr_in6()
        .map(|v6| SocketAddr::V6((*v6).into()))
}
