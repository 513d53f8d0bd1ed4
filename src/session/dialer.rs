//! A session's data connections, which the dialer makes or accepts for it, to
//! or from the address of its client only: a session has no sockets of its
//! own. Requests, answers, and the session's view.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use crate::ipc::Pipe;
use crate::ipc::codec::codec;

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
    /// A connection to this port of the client, where asked for from one of
    /// the server's ports for data.
    Connect {
        /// The client's port.
        port: u16,
        /// Whether the port at this end is one of those.
        from_range: bool,
    },
    /// A listening port.
    Listen,
    /// The next connection of the client to this listening port.
    Accept(u16),
    /// The end of a listening port. This has no answer.
    Close(u16),
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
codec!(enum What { 1 => Connect { port, from_range }, 2 => Listen, 3 => Accept(port), 4 => Close(port) });
codec!(struct Answer { id, outcome });
codec!(enum Outcome { 1 => Failed(error), 2 => Connected(socket), 3 => Listening(port) });

/// The dialer, as a session sees it. Its calls wait for the answer, which
/// comes within the dialer's time-out.
#[derive(Debug)]
pub struct Dialer {
    channel: Pipe<Request, Answer>,
    next: u32,
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
        Dialer { channel, next: 0 }
    }

    /// A connection to a port of the client.
    pub fn connect(&mut self, port: u16) -> io::Result<TcpStream> {
        self.connection(What::Connect {
            port,
            from_range: false,
        })
    }

    /// The same, from one of the server's ports for data.
    pub fn connect_from_range(&mut self, port: u16) -> io::Result<TcpStream> {
        self.connection(What::Connect {
            port,
            from_range: true,
        })
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
        match self.ask(what)? {
            Outcome::Connected(socket) => Ok(socket.into()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn ask(&mut self, what: What) -> io::Result<Outcome> {
        let id = self.send(what)?;
        loop {
            let answer = self.channel.receive()?;
            match answer.ok_or(io::ErrorKind::UnexpectedEof)? {
                Answer { id: of, outcome } if of == id => match outcome {
                    Outcome::Failed(error) => return Err(io::Error::from_raw_os_error(error)),
                    outcome => return Ok(outcome),
                },
                // To a request whose answer was not waited for.
                _ => {}
            }
        }
    }

    fn send(&mut self, what: What) -> io::Result<u32> {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.channel.send(&Request { id, what })?;
        Ok(id)
    }
}
