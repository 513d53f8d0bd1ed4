//! From `host:port` to a socket, unless it is cancelled.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::cancel::Cancel;
use super::error::{ClientError, Result};

/// How often to check for cancellation.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// A socket to the first address of the server that answers; each gets the whole
/// time.
///
/// # Errors
/// `Resolve`, `Connect` or `Interrupted`.
pub(super) fn reach(server: &str, timeout: Duration, cancel: &Cancel) -> Result<TcpStream> {
    let addresses = server
        .to_socket_addrs()
        .map_err(|source| ClientError::Resolve {
            server: server.to_owned(),
            source,
        })?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match connect(&address, Instant::now() + timeout, cancel) {
            Ok(socket) => return Ok(socket),
            Err(_) if cancel.is_cancelled() => return Err(ClientError::Interrupted),
            Err(e) => last = e,
        }
    }
    Err(ClientError::Connect {
        server: server.to_owned(),
        source: last,
    })
}

/// Connects to one address; any error if it was cancelled.
fn connect(address: &SocketAddr, end: Instant, cancel: &Cancel) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => {
            let mut fds = [PollFd::new(&socket, PollFlags::OUT)];
            while poll(&mut fds, Some(&LOOK)) != Ok(1) {
                if Instant::now() >= end || cancel.is_cancelled() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            sockopt::socket_error(&socket)??;
        }
        Err(e) => return Err(e.into()),
    }
    let socket = TcpStream::from(socket);
    socket.set_nonblocking(false)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listener_is_reached_and_a_closed_port_is_told() {
        let listener = TcpListener::bind("127.0.0.7:0").expect("listen");
        let address = listener.local_addr().expect("address").to_string();
        let time = Duration::from_secs(5);
        let socket = reach(&address, time, &Cancel::default()).expect("socket");
        assert_eq!(socket.peer_addr().expect("peer").to_string(), address);
        drop((listener, socket));
        let refused = reach(&address, time, &Cancel::default());
        let is_refused = |e: &io::Error| e.kind() == io::ErrorKind::ConnectionRefused;
        assert!(matches!(refused, Err(ClientError::Connect { source, .. }) if is_refused(&source)));
    }

    #[test]
    fn a_host_that_does_not_answer_is_waited_for_no_longer_than_wanted() {
        // Its queue is full: the last one is not answered.
        let listener =
            rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
        rustix::net::bind(
            &listener,
            &"127.0.0.1:0".parse::<SocketAddr>().expect("address"),
        )
        .expect("bind");
        rustix::net::listen(&listener, 0).expect("listen");
        let address = SocketAddr::try_from(rustix::net::getsockname(&listener).expect("name"))
            .expect("address");
        let time = Duration::from_millis(200);
        let cancel = Cancel::default();
        let mut waiting = Vec::new();
        let last = loop {
            match connect(&address, Instant::now() + time, &cancel) {
                Ok(socket) => waiting.push(socket),
                Err(e) => break e,
            }
        };
        assert_eq!(last.kind(), io::ErrorKind::TimedOut);
        let other = cancel.clone();
        let begin = Instant::now();
        let ends = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            other.cancel();
        });
        let broken_off = reach(&address.to_string(), Duration::from_secs(60), &cancel);
        assert!(matches!(broken_off, Err(ClientError::Interrupted)));
        assert!(begin.elapsed() < Duration::from_secs(10));
        ends.join().expect("thread");
    }
}
