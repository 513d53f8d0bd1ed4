//! Whether servers take a connection by TCP: asked where none answers by UDP. No
//! byte is sent or read.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::sockopt::socket_error;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use crate::ipc::Poll;
use crate::ipc::poll::left;

/// Which of these servers take a connection within so long, all tried at once.
pub(crate) fn accepting(servers: &[SocketAddr], within: Duration) -> Vec<SocketAddr> {
    let end = Instant::now() + within;
    let begun = servers.iter().filter_map(|server| {
        let socket = begin(*server).ok()?;
        Some((*server, socket))
    });
    let mut waiting: Vec<(SocketAddr, OwnedFd)> = begun.collect();
    let mut accepting = Vec::new();
    while !waiting.is_empty() && !left(end).is_zero() {
        let mut poll = Poll::default();
        for (server, socket) in &waiting {
            poll.add(*server, socket.as_fd(), PollFlags::OUT);
        }
        let Ok(ready) = poll.wait(Some(left(end))) else {
            break;
        };
        let ended: Vec<SocketAddr> = ready.into_iter().map(|(server, _)| server).collect();
        waiting.retain(|(server, socket)| {
            let has_ended = ended.contains(server);
            if has_ended && matches!(socket_error(socket), Ok(Ok(()))) {
                accepting.push(*server);
            }
            !has_ended
        });
    }
    accepting
}

/// A connection under way.
fn begin(server: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if server.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &server) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn servers_that_listen_are_told_from_those_that_do_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let open = listener.local_addr().expect("address");
        let closed = {
            let gone = TcpListener::bind("127.0.0.1:0").expect("listen");
            gone.local_addr().expect("address")
        };
        let begin = Instant::now();
        let found = accepting(&[closed, open], Duration::from_secs(60));
        assert_eq!(found, [open]);
        assert!(begin.elapsed() < Duration::from_secs(30));
        assert_eq!(accepting(&[], Duration::from_secs(60)), []);
    }
}
