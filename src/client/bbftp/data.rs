//! Data connections: to the server in version 3, from it before.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketType, bind, listen, sockopt};

use super::error::{DATA, Error, Fate, LISTEN, Result};
use super::observe::{Event, Observer, WARN_RECEIVE_WINDOW, WARN_SEND_WINDOW};
use super::session::Session;
use super::transfer::How;
use crate::bbftp::stream::Direction;
use crate::bbftp::stream::sealed::{Name, introduce, recognize};
use crate::bbftp::wire::Options;
use crate::client::Cancel;
use crate::net::listen::socket_for;
use crate::net::tls::{End, Exported};
use crate::net::{Link, LinkError};

/// How long the server may take to connect.
const ACCEPT_LIMIT: Duration = Duration::from_secs(200);

/// How often a wait looks whether the user has ended it.
const CHECK_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// The window that asks for none: the system's own follows the link.
const USUAL_WINDOW: u32 = 256;

/// The type of service of packets that give way to others.
const SCAVENGER: u8 = 0x20;

/// What the sockets of a transfer are to have.
pub(super) struct Manner<'a> {
    how: &'a How,
    direction: Direction,
    observer: &'a dyn Observer,
}

impl<'a> Manner<'a> {
    pub(super) fn new(how: &'a How, direction: Direction, observer: &'a dyn Observer) -> Self {
        Manner {
            how,
            direction,
            observer,
        }
    }

    /// Windows have the server's names: what it receives with we send with.
    fn apply(&self, socket: &OwnedFd) {
        let bytes = |window: u32| window as usize * 1024;
        let (set, code): (rustix::io::Result<()>, u8) = match self.direction {
            Direction::Send if self.how.receive_window != USUAL_WINDOW => {
                let window = bytes(self.how.receive_window);
                (
                    sockopt::set_socket_send_buffer_size(socket, window),
                    WARN_SEND_WINDOW,
                )
            }
            Direction::Receive if self.how.send_window != USUAL_WINDOW => {
                let window = bytes(self.how.send_window);
                (
                    sockopt::set_socket_recv_buffer_size(socket, window),
                    WARN_RECEIVE_WINDOW,
                )
            }
            _ => (Ok(()), 0),
        };
        if let Err(e) = set {
            let text = &format!("Unable to set the window of a data connection: {e}");
            self.observer.notify(&Event::Warning { code, text });
        }
        if self.how.options.has(Options::QBSS) {
            // Without it the packets are as all others.
            let _ = sockopt::set_ip_tos(socket, SCAVENGER);
        }
    }
}

fn failed(e: &dyn Display) -> Error {
    Error::new(
        DATA,
        Fate::Again,
        format!("Error on a data connection: {e}"),
    )
}

/// The server may wait for connections, or say later that it can't make them.
fn not_accepted(e: &dyn Display) -> Error {
    let fate = Fate::Reconnect;
    Error { fate, ..failed(e) }
}

/// Connects to all these ports of the server at once.
///
/// # Errors
/// The first failure.
pub(super) fn connect_all(
    session: &mut Session,
    ports: &[u16],
    manner: &Manner<'_>,
) -> Result<Vec<Link>> {
    let seal = Seal::of(session);
    let theirs = session.ends.theirs;
    let limits = &session.target.limits;
    let end = Instant::now() + limits.connect;
    let sockets: io::Result<Vec<OwnedFd>> = ports
        .iter()
        .map(|port| begin(SocketAddr::new(theirs, *port), manner))
        .collect();
    sockets
        .map_err(|e| failed(&e))?
        .into_iter()
        .enumerate()
        .map(|(stream, socket)| {
            finish(&socket, end, &session.target.cancel)
                .map_err(LinkError::from)
                .and_then(|()| made(socket, seal.as_ref(), stream))
                .map_err(|e| session.or_interrupted(failed(&e)))
        })
        .collect()
}

/// A socket that is about to be connected.
fn begin(address: SocketAddr, manner: &Manner<'_>) -> io::Result<OwnedFd> {
    let socket = socket_for(address.ip(), SocketType::STREAM)?;
    manner.apply(&socket);
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(e) => Err(e.into()),
    }
}

/// Waits until it is connected.
fn finish(socket: &OwnedFd, end: Instant, cancel: &Cancel) -> io::Result<()> {
    loop {
        let mut fds = [PollFd::new(socket, PollFlags::OUT)];
        match poll(&mut fds, Some(&CHECK_INTERVAL)) {
            Ok(1..) => return Ok(sockopt::socket_error(socket)??),
            Ok(0) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        if Instant::now() >= end || cancel.is_cancelled() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

fn waiting(socket: OwnedFd) -> io::Result<TcpStream> {
    let socket = TcpStream::from(socket);
    socket.set_nonblocking(false)?;
    Ok(socket)
}

/// What makes the streams of a transfer over TLS ours and the server's alone.
#[derive(Clone)]
struct Seal {
    exported: Exported,
    transfer: u32,
}

impl Seal {
    /// None without TLS.
    fn of(session: &mut Session) -> Option<Seal> {
        let exported = session.control.link().exported()?.clone();
        let transfer = session.transfers.saturating_sub(1);
        Some(Seal { exported, transfer })
    }

    fn name(&self, stream: usize) -> Name {
        Name {
            transfer: self.transfer,
            stream: u32::try_from(stream).unwrap_or(u32::MAX),
        }
    }
}

/// The stream on a connection that was made to the server.
fn made(socket: OwnedFd, seal: Option<&Seal>, stream: usize) -> Result<Link, LinkError> {
    let socket = waiting(socket)?;
    match seal {
        Some(seal) => introduce(socket, &seal.exported, End::Client, seal.name(stream)),
        None => Ok(Link::new(socket)?),
    }
}

/// The stream on a connection that somebody has made, if it is one.
fn taken(socket: TcpStream, seal: Option<&Seal>, stream: usize) -> Option<Link> {
    let socket = waiting(socket.into()).ok()?;
    match seal {
        Some(seal) => recognize(socket, &seal.exported, End::Client, seal.name(stream)).ok(),
        None => Link::new(socket).ok(),
    }
}

/// Where the server is to connect to, one port a stream.
pub(super) struct Listeners {
    sockets: Vec<TcpListener>,
    pub(super) ports: Vec<u16>,
}

/// What came first.
pub(super) enum Accepted {
    /// All streams, in their order.
    All(Vec<Link>),
    /// Something on the control connection.
    Message,
}

impl Listeners {
    /// # Errors
    /// When the system or the range has not so many ports.
    pub(super) fn open(session: &Session, streams: u32, manner: &Manner<'_>) -> Result<Listeners> {
        let ours = session.ends.ours;
        let mut range = session.target.ports.clone();
        let mut listeners = Listeners {
            sockets: Vec::new(),
            ports: Vec::new(),
        };
        for _ in 0..streams {
            let opened = match &mut range {
                None => open(ours, 0, manner),
                Some(range) => range
                    .find_map(|port| open(ours, port, manner).ok())
                    .ok_or_else(|| io::ErrorKind::AddrInUse.into()),
            };
            let (socket, port) = opened.map_err(|e| {
                let text = format!("Can't listen for data connections: {e}");
                Error::new(LISTEN, Fate::Again, text)
            })?;
            listeners.sockets.push(socket);
            listeners.ports.push(port);
        }
        Ok(listeners)
    }

    /// Waits until the server has connected to all of them, or has something to
    /// say. Nobody else is taken.
    ///
    /// # Errors
    /// When it does neither.
    pub(super) fn accept(&self, session: &mut Session) -> Result<Accepted> {
        let end = Instant::now() + ACCEPT_LIMIT;
        let seal = Seal::of(session);
        let mut links: Vec<Option<Link>> = self.sockets.iter().map(|_| None).collect();
        loop {
            // What the server says stands behind the connections it has made.
            let has_message = session.control.link().has_input();
            for (stream, listener) in self.sockets.iter().enumerate() {
                if links[stream].is_none() {
                    let take = || take(listener, session.ends.theirs, seal.as_ref(), stream);
                    links[stream] = take().map_err(|e| not_accepted(&e))?;
                }
            }
            if links.iter().all(Option::is_some) {
                break;
            }
            if has_message {
                return Ok(Accepted::Message);
            }
            if session.target.cancel.is_cancelled() || Instant::now() >= end {
                let e = not_accepted(&"the server has not connected");
                return Err(session.or_interrupted(e));
            }
            let mut fds = vec![PollFd::new(session.control.link().socket(), PollFlags::IN)];
            for (listener, link) in self.sockets.iter().zip(&links) {
                if link.is_none() {
                    fds.push(PollFd::new(listener, PollFlags::IN));
                }
            }
            match poll(&mut fds, Some(&CHECK_INTERVAL)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(not_accepted(&e)),
            }
        }
        Ok(Accepted::All(links.into_iter().flatten().collect()))
    }
}

fn open(ours: IpAddr, port: u16, manner: &Manner<'_>) -> io::Result<(TcpListener, u16)> {
    let socket = socket_for(ours, SocketType::STREAM)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    manner.apply(&socket);
    bind(&socket, &SocketAddr::new(ours, port))?;
    listen(&socket, 4)?;
    let listener = TcpListener::from(socket);
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// The server's connection, if it has come.
fn take(
    listener: &TcpListener,
    theirs: IpAddr,
    seal: Option<&Seal>,
    stream: usize,
) -> io::Result<Option<Link>> {
    loop {
        match listener.accept() {
            Ok((socket, peer)) if peer.ip().to_canonical() == theirs.to_canonical() => {
                if let Some(link) = taken(socket, seal, stream) {
                    return Ok(Some(link));
                }
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(e) => return Err(e),
        }
    }
}
