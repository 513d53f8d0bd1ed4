//! Connecting, and cancelling it: another thread ends whatever waits for a
//! server, by closing the connections it waits on.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketType, sockopt};

use super::error::{ClientError, Result};
use crate::net::listen::{set_keepalive, socket_for};

/// Ends the connections that were opened with it; clones share their state.
///
/// ```
/// use std::time::Duration;
/// use tfd::client::{Cancel, ClientError};
///
/// let cancel = Cancel::default();
/// let other = cancel.clone();
/// let waiting = std::thread::spawn(move || other.sleep(Duration::from_secs(60)));
/// cancel.cancel();
/// assert!(matches!(waiting.join(), Ok(Err(ClientError::Interrupted))));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    cancelled: bool,
    next: u64,
    sockets: HashMap<u64, TcpStream>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cancel {
    /// Ends all connections; none can be opened until [`Cancel::renew`].
    pub fn cancel(&self) {
        let mut state = self.0.lock();
        state.cancelled = true;
        for socket in state.sockets.values() {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.0.changed.notify_all();
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.lock().cancelled
    }

    /// Allows connections again.
    pub fn renew(&self) {
        self.0.lock().cancelled = false;
    }

    /// Waits, as before another attempt.
    ///
    /// # Errors
    /// `Interrupted`, as soon as it is cancelled.
    pub fn sleep(&self, time: Duration) -> Result<()> {
        let state = self.0.lock();
        let waited = self
            .0
            .changed
            .wait_timeout_while(state, time, |state| !state.cancelled);
        match waited.unwrap_or_else(PoisonError::into_inner).0.cancelled {
            true => Err(ClientError::Interrupted),
            false => Ok(()),
        }
    }

    /// Registers a connection, to be ended with the others.
    ///
    /// # Errors
    /// `Interrupted` when it is cancelled already.
    pub(super) fn follow(&self, socket: &TcpStream) -> Result<Ticket> {
        let mut state = self.0.lock();
        if state.cancelled {
            return Err(ClientError::Interrupted);
        }
        let socket = socket
            .try_clone()
            .map_err(|e| ClientError::Lost(e.into()))?;
        let number = state.next;
        state.next += 1;
        state.sockets.insert(number, socket);
        Ok(Ticket {
            of: Arc::downgrade(&self.0),
            number,
        })
    }
}

/// A connection's place among those that are ended. Dropped with it.
pub(super) struct Ticket {
    of: Weak<Shared>,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(of) = self.of.upgrade() {
            of.lock().sockets.remove(&self.number);
        }
    }
}

/// How often to check for cancellation.
const CANCEL_CHECK_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// A socket to the first address of the server that answers; each gets the whole
/// time.
///
/// # Errors
/// `Resolve`, `Connect` or `Interrupted`.
pub(super) fn reach(server: &str, timeout: Duration, cancel: &Cancel) -> Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses(server)? {
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

/// The addresses of `host:port`.
///
/// # Errors
/// `Resolve`.
pub(super) fn addresses(server: &str) -> Result<impl Iterator<Item = SocketAddr>> {
    server
        .to_socket_addrs()
        .map_err(|source| ClientError::Resolve {
            server: server.to_owned(),
            source,
        })
}

/// Connects to one address; any error if it was cancelled.
fn connect(address: &SocketAddr, end: Instant, cancel: &Cancel) -> io::Result<TcpStream> {
    let socket = socket_for(address.ip(), SocketType::STREAM)?;
    match rustix::net::connect(&socket, address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => {
            let mut fds = [PollFd::new(&socket, PollFlags::OUT)];
            while poll(&mut fds, Some(&CANCEL_CHECK_INTERVAL)) != Ok(1) {
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

/// Makes the system notice within this time that a link is dead, whether we
/// wait or bytes that we sent are not acknowledged.
pub(super) fn notice_silence(socket: &TcpStream, timeout: Duration) -> rustix::io::Result<()> {
    set_keepalive(socket, (timeout / 2, timeout / 8, 4))?;
    let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(socket, milliseconds)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustix::net::AddressFamily;

    use super::*;

    #[test]
    fn a_listener_is_reached_and_a_closed_port_is_reported() {
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
