//! Connecting to the backend: each of its addresses, from each of our own, until
//! one answers or the time is over.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::Instant;

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketType, bind, connect, sockopt::socket_error};

use crate::net::listen::socket_for;
use crate::sys::signal::STOP;

/// Our own addresses that can reach it, starting with the next in turn; `None`
/// for the system's choice.
pub(crate) fn sources(from: &[IpAddr], to: IpAddr, turn: usize) -> Vec<Option<IpAddr>> {
    let fit: Vec<IpAddr> = from
        .iter()
        .copied()
        .filter(|a| a.is_ipv4() == to.is_ipv4())
        .collect();
    if fit.is_empty() {
        return vec![None];
    }
    (0..fit.len())
        .map(|at| Some(fit[turn.wrapping_add(at) % fit.len()]))
        .collect()
}

/// Connects to one of the backend's addresses; each gets its share of the time
/// left.
///
/// # Errors
/// The last one's.
pub(crate) fn reach(
    backend: &[IpAddr],
    port: u16,
    from: &[IpAddr],
    turn: usize,
    deadline: Instant,
) -> io::Result<OwnedFd> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for (at, address) in backend.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let until = Instant::now() + left / u32::try_from(backend.len() - at).unwrap_or(u32::MAX);
        for source in sources(from, *address, turn) {
            match connect_from(source, SocketAddr::new(*address, port), until) {
                Ok(socket) => return Ok(socket),
                Err(e) => last = e,
            }
            // Another address of ours helps if this one has no port left.
            if !matches!(
                last.kind(),
                io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
            ) {
                break;
            }
        }
    }
    Err(last)
}

fn connect_from(source: Option<IpAddr>, to: SocketAddr, until: Instant) -> io::Result<OwnedFd> {
    let socket = socket_for(to.ip(), SocketType::STREAM)?;
    if let Some(source) = source {
        // The port is chosen with the connection, so that it must be free
        // only towards this backend.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        bind(&socket, &SocketAddr::new(source, 0))?;
    }
    match connect(&socket, &to) {
        Ok(()) => return Ok(socket),
        Err(Errno::INPROGRESS) => {}
        Err(e) => return Err(e.into()),
    }
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if STOP.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match poll(
            &mut [PollFd::new(&socket, PollFlags::OUT)],
            Some(&Timespec::try_from(left).unwrap_or_default()),
        ) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => break,
            Err(e) => return Err(e.into()),
        }
    }
    match socket_error(&socket)? {
        Ok(()) => Ok(socket),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_our_own_take_turns_within_their_family() {
        let from: Vec<IpAddr> = ["127.0.0.2", "::1", "127.0.0.3"]
            .map(|a| a.parse().expect("address"))
            .into();
        let v4: IpAddr = [127, 0, 0, 1].into();
        let first = |turn| sources(&from, v4, turn)[0];
        assert_eq!(
            [first(0), first(1), first(2)],
            [Some(from[0]), Some(from[2]), Some(from[0])]
        );
        assert_eq!(sources(&from, v4, usize::MAX).len(), 2);
        assert_eq!(
            sources(&from, "::2".parse().expect("address"), 5),
            [Some(from[1])]
        );
        assert_eq!(sources(&[], v4, 1), [None]);
    }
}
