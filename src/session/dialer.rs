//! A session's data connections, which the dialer makes or accepts for it, to
//! or from the address of its client only: a session has no sockets of its
//! own. Requests, answers, and the session's view.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use crate::ipc::codec::codec;
use crate::ipc::{Pipe, Poll};

/// A request of a session. The answer has its number.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The number.
    pub id: u32,
    /// What is asked for.
    pub what: What,
}

/// What a session asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum What {
    /// A connection to this port of the client.
    Connect {
        /// The client's port.
        port: u16,
        /// The port at this end.
        from: From,
    },
    /// A listening port.
    Listen,
    /// The next connection of the client to this listening port.
    Accept(u16),
    /// The end of a listening port. This has no answer.
    Close(u16),
}

/// The port of the server that a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Any.
    Any,
    /// One of its ports for data.
    Range,
    /// This one, which several connections share, unless it is not to be had:
    /// then any.
    Port(u16),
}

/// An answer of the dialer.
#[derive(Debug)]
pub struct Answer {
    /// The number of the request.
    pub id: u32,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It failed with this error of the system.
    Failed(i32),
    /// A connection.
    Connected(OwnedFd),
    /// A listening port.
    Listening(u16),
}

codec!(struct Request { id, what });
codec!(enum From { 1 => Any, 2 => Range, 3 => Port(port) });
codec!(enum What { 1 => Connect { port, from }, 2 => Listen, 3 => Accept(port), 4 => Close(port) });
codec!(struct Answer { id, outcome });
codec!(enum Outcome { 1 => Failed(error), 2 => Connected(socket), 3 => Listening(port) });

/// The dialer, as a session sees it. Its calls wait for the answer, which
/// comes within the dialer's time-out.
#[derive(Debug)]
pub struct Dialer {
    channel: Pipe<Request, Answer>,
    next: u32,
    watched: Option<OwnedFd>,
}

/// A listening port, which is open until [`Dialer::close`].
#[derive(Debug)]
pub struct Listening {
    /// Its number.
    pub port: u16,
}

impl Dialer {
    /// The dialer at the other end of a channel.
    pub fn new(channel: Pipe<Request, Answer>) -> Dialer {
        Dialer {
            channel,
            next: 0,
            watched: None,
        }
    }

    /// From now on the wait for a connection fails with `Interrupted` when there
    /// is something to read here before.
    pub fn watch(&mut self, other: OwnedFd) {
        self.watched = Some(other);
    }

    /// A connection to a port of the client.
    pub fn connect(&mut self, port: u16) -> io::Result<TcpStream> {
        let from = From::Any;
        self.connection(What::Connect { port, from })
    }

    /// The same, from one of the server's ports for data.
    pub fn connect_from_range(&mut self, port: u16) -> io::Result<TcpStream> {
        let from = From::Range;
        self.connection(What::Connect { port, from })
    }

    /// Connections to several ports, which come about at the same time, in the
    /// order of the ports.
    ///
    /// # Errors
    /// The first that failed, by its place.
    pub fn connect_all(
        &mut self,
        ports: &[u16],
        from: From,
    ) -> Result<Vec<TcpStream>, (usize, io::Error)> {
        let first = self.next;
        for (at, port) in ports.iter().enumerate() {
            let what = What::Connect { port: *port, from };
            self.send(what).map_err(|e| (at, e))?;
        }
        let mut sockets: Vec<Option<TcpStream>> = ports.iter().map(|_| None).collect();
        for _ in ports {
            let (at, outcome) = loop {
                let missing = sockets.iter().position(Option::is_none).unwrap_or(0);
                let Answer { id, outcome } = self.answer(true).map_err(|e| (missing, e))?;
                let at = id.wrapping_sub(first) as usize;
                if at < sockets.len() {
                    break (at, outcome);
                }
            };
            sockets[at] = Some(connected(outcome).map_err(|e| (at, e))?);
        }
        Ok(sockets.into_iter().flatten().collect())
    }

    /// A port on which the client may connect.
    pub fn listen(&mut self) -> io::Result<Listening> {
        match self.ask(What::Listen)? {
            Outcome::Listening(port) => Ok(Listening { port }),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The next connection of the client to a port.
    pub fn accept(&mut self, listening: &Listening) -> io::Result<TcpStream> {
        self.connection(What::Accept(listening.port))
    }

    /// Closes a port.
    pub fn close(&mut self, listening: Listening) -> io::Result<()> {
        self.send(What::Close(listening.port)).map(drop)
    }

    fn connection(&mut self, what: What) -> io::Result<TcpStream> {
        connected(self.ask(what)?)
    }

    fn ask(&mut self, what: What) -> io::Result<Outcome> {
        let watched = what != What::Listen;
        let id = self.send(what)?;
        loop {
            match self.answer(watched)? {
                Answer { id: of, outcome } if of == id => match outcome {
                    Outcome::Failed(error) => return Err(io::Error::from_raw_os_error(error)),
                    outcome => return Ok(outcome),
                },
                // To a request whose answer was not waited for.
                _ => {}
            }
        }
    }

    /// The next answer, to whichever request.
    fn answer(&mut self, watched: bool) -> io::Result<Answer> {
        if let Some(watched) = self.watched.as_ref().filter(|_| watched) {
            let (mut is_there, mut is_interrupted) = (false, false);
            while !is_there {
                let mut poll = Poll::default();
                poll.read(true, &self.channel);
                poll.read(false, watched);
                for (is_answer, _) in poll.wait(None)? {
                    is_there |= is_answer;
                    is_interrupted |= !is_answer;
                }
                if is_interrupted && !is_there {
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
        }
        let answer = self.channel.receive()?;
        answer.ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    fn send(&mut self, what: What) -> io::Result<u32> {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.channel.send(&Request { id, what })?;
        Ok(id)
    }
}

fn connected(outcome: Outcome) -> io::Result<TcpStream> {
    match outcome {
        Outcome::Connected(socket) => Ok(socket.into()),
        Outcome::Failed(error) => Err(io::Error::from_raw_os_error(error)),
        Outcome::Listening(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}
