//! A relay line: two peers of which neither lets the other in meet at the hub, each with
//! a token that the broker has drawn for it. What goes between them is sealed for each
//! other; nobody here looks at it.

use std::io::{self, Read};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::broker::message::{Answer, Ask, FromRelay, ToRelay};
use super::gate::{Refused, Served, question};
use super::wire::{RELAY_LINE, Token};
use crate::ipc::Pipe;
use crate::ipc::channel::Channel;
use crate::ipc::codec::Encode;
use crate::net::LinkError;
use crate::net::link::Pace;
use crate::session::context::{Context, End};
use crate::session::login::Login;
use crate::session::protocol::Gate;
use crate::sys::signal::STOP;

/// The word of its sessions in place of a role's, and the name of their root.
pub const HOME: &str = "relay";

/// Bytes that are passed on at once.
const PIECE: usize = 64 * 1024;

/// How long neither may say anything: longer than peers wait themselves.
const IDLE: Duration = Duration::from_secs(360);

/// How often one looks whether to stop.
const LOOK: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Takes the first line of a relay line; the session waits for the other peer.
///
/// # Errors
/// Why it did not pass.
pub fn admit(gate: Gate<'_>) -> Result<(), Refused> {
    let line = first_line(&gate.socket, gate.deadline)?;
    let token = Token::of_relay_line(&line);
    let token = token.ok_or(Refused::TooMany("no relay line"))?;
    let broker = gate.keeper.enter()?;
    let broker = broker.ok_or_else(|| io::Error::other("the keeper lets nobody in"))?;
    let broker: Pipe<Ask, Answer> = broker.into_channel().into();
    match question(&broker, &Ask::Relay(token))? {
        Answer::Admitted => {}
        _ => return Err(Refused::TooMany("a token of the relay that nobody has")),
    }
    let login = Login::new(broker.into_channel().into(), gate.steps, None);
    let state = Served::Relay(token).to_bytes();
    match login.enter(&gate.socket, &state)? {
        Ok(()) => Ok(()),
        Err(_) => Err(Refused::Closed),
    }
}

/// The first line. Nothing behind it is read: it is the other peer's.
fn first_line(mut socket: &TcpStream, deadline: Instant) -> Result<[u8; RELAY_LINE], Refused> {
    let mut line = [0; RELAY_LINE];
    let mut len = 0;
    while len < RELAY_LINE {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(LinkError::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut line[len..]) {
            Ok(0) => return Err(Refused::Left),
            Ok(more) => len += more,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(Refused::Left),
        }
    }
    Ok(line)
}

/// Waits for the other peer, and passes on what they say, unless the other's session does.
pub fn serve(socket: &TcpStream, token: Token, context: Context) -> End {
    let Some(service) = context.service else {
        return End::Failed("no service".to_owned());
    };
    let broker = Channel::from_handle(service).into();
    let ended = match meet(socket, token, &broker) {
        Ok(Some(other)) => {
            let both = [socket.as_fd(), other.as_fd()];
            let mut passed = 0;
            let why = pass_on(both, context.info.pace.as_ref(), &mut passed);
            let why = why.map_or_else(|e| e.to_string(), str::to_owned);
            format!("{why}, {passed} bytes passed on")
        }
        Ok(None) => "met at the relay".to_owned(),
        Err(e) => e.to_string(),
    };
    End::Orderly(ended)
}

/// The other peer's connection, if this session is to serve both.
fn meet(
    socket: &TcpStream,
    token: Token,
    broker: &Pipe<FromRelay, ToRelay>,
) -> io::Result<Option<OwnedFd>> {
    let socket_of_peer = socket.try_clone()?.into();
    broker.send(&FromRelay {
        token,
        socket: socket_of_peer,
    })?;
    loop {
        let mut fds = [
            PollFd::new(broker, PollFlags::IN),
            PollFd::new(socket, PollFlags::RDHUP),
        ];
        match poll(&mut fds, Some(&LOOK)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let [said, gone] = fds.map(|fd| !fd.revents().is_empty());
        if said {
            return match broker.receive()? {
                Some(ToRelay::Splice(other)) => Ok(Some(other)),
                Some(ToRelay::Met) => Ok(None),
                None => Err(io::Error::other("nobody came")),
            };
        }
        if gone || STOP.load(Ordering::Relaxed) {
            return Err(io::Error::other("left before anybody came"));
        }
    }
}

/// Bytes that go one way.
struct Direction<'a> {
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    bytes: Vec<u8>,
    /// What of them waits.
    waiting: std::ops::Range<usize>,
}

impl<'a> Direction<'a> {
    fn new(from: BorrowedFd<'a>, to: BorrowedFd<'a>) -> Direction<'a> {
        Direction {
            from,
            to,
            bytes: vec![0; PIECE],
            waiting: 0..0,
        }
    }

    /// What it waits for.
    fn wants(&self) -> PollFd<'a> {
        match self.waiting.is_empty() {
            true => PollFd::from_borrowed_fd(self.from, PollFlags::IN),
            false => PollFd::from_borrowed_fd(self.to, PollFlags::OUT),
        }
    }

    /// Moves what can be moved now; how many bytes have come, `None` at their end.
    fn pump(&mut self) -> io::Result<Option<usize>> {
        let mut come = 0;
        if self.waiting.is_empty() {
            match recv(self.from, &mut self.bytes[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Ok(None),
                Ok((len, _)) => {
                    self.waiting = 0..len;
                    come = len;
                }
                Err(Errno::AGAIN | Errno::INTR) => return Ok(Some(0)),
                Err(e) => return Err(e.into()),
            }
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match send(self.to, &self.bytes[self.waiting.clone()], flags) {
            Ok(len) => self.waiting.start += len,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(Some(come))
    }
}

/// Passes bytes on until one end has no more, or both are silent for long.
fn pass_on(
    [one, other]: [BorrowedFd<'_>; 2],
    pace: Option<&Pace>,
    passed: &mut u64,
) -> io::Result<&'static str> {
    let mut both = [Direction::new(one, other), Direction::new(other, one)];
    let mut heard = Instant::now();
    loop {
        let mut fds = [both[0].wants(), both[1].wants()];
        match poll(&mut fds, Some(&LOOK)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        if STOP.load(Ordering::Relaxed) {
            return Ok("stopped");
        }
        let is_ready = fds.map(|fd| !fd.revents().is_empty());
        for (direction, is_ready) in both.iter_mut().zip(is_ready) {
            let come = match is_ready {
                true => direction.pump()?,
                false => Some(0),
            };
            match come {
                None => return Ok("connection closed"),
                Some(0) => {}
                Some(bytes) => {
                    heard = Instant::now();
                    *passed += bytes as u64;
                    if let Some(pace) = pace {
                        pace.moved(bytes);
                    }
                }
            }
        }
        if heard.elapsed() > IDLE {
            return Ok("idle");
        }
    }
}
