//! The hub's gate: the handshake of TLS, or none in version 1.0, and the login up to the
//! key. It holds no key of the server, knows no user and reaches no file.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::base;
use super::broker::message::{Answer, Ask};
use super::state::State;
use super::wire::request::{Cha, Log, Out, Rsp, SendKey};
use super::wire::{
    Bad, Code, Command, Exporter, Id, Label, Line, Lines, Message, Reply, Request, Role, Token,
    Version,
};
use crate::ipc::Pipe;
use crate::ipc::codec::{Encode, Writer, codec};
use crate::net::link::LinkState;
use crate::net::tls::server::{Door, HelloError};
use crate::net::{Link, LinkError};
use crate::session::keeper::Keeper;
use crate::session::login::Login;
use crate::session::protocol::Gate;

/// The name of the protocol in the handshake.
pub const ALPN: &[u8] = b"tfd-hub/1";

/// What is exported, so that a response fits this connection alone.
pub const LABEL: &str = "EXPORTER-tfd-hub-v1";

/// How long a peer may take to send its key.
const KEY: Duration = Duration::from_secs(20);

/// The most lines of a peer that is not in, and how many of them may be wrong.
const MOST_LINES: usize = 100;
const MOST_FAULTS: u32 = 10;

/// The most responses that may be wrong.
const MOST_TRIES: u32 = 3;

/// After how many seconds a peer comes back that can't be served now.
const LATER: u64 = 60;

/// Bytes that are read at once.
const PIECE: usize = 4096;

/// Most states are no longer.
const USUAL_STATE_BYTES: usize = 8192;

/// Why a peer did not pass.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The connection ended, or broke.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The handshake of TLS came to nothing.
    #[error("{0}")]
    Tls(String),
    /// Too many lines that can't be read or have no place there, or wrong responses.
    #[error("{0}")]
    TooMany(&'static str),
    /// The peer has said good-bye.
    #[error("logged out")]
    Left,
    /// Nobody is let in now.
    #[error("nobody logs in now")]
    Closed,
    /// A process of ours, or the system.
    #[error("internal: {0}")]
    Internal(#[from] io::Error),
}

impl From<HelloError> for Refused {
    fn from(e: HelloError) -> Refused {
        match e {
            HelloError::Link(e) => e.into(),
            HelloError::Refused(text) => Refused::Tls(text),
        }
    }
}

/// What goes on in the session, but for the socket.
pub struct Handed {
    /// The connection.
    pub link: LinkState,
    /// What the peer is on this line.
    pub role: Role,
    /// The request that the session answers: a response, or a key.
    pub id: Id,
    /// Whether it is a key.
    pub is_key: bool,
    /// Bytes behind it.
    pub rest: Vec<u8>,
}

codec!(struct Handed { link, role, id, is_key, rest });

/// What a session serves.
#[allow(clippy::large_enum_variant, reason = "passed on, one at a time")]
pub enum Served {
    /// A line of a peer.
    Line(Handed),
    /// A relay line, with this token.
    Relay(Token),
}

codec!(enum Served { 1 => Line(handed), 2 => Relay(token) });

/// A peer whose session is to begin.
pub struct Passed {
    peer: Peer,
    /// What goes on there: [`Served`].
    pub state: Zeroizing<Vec<u8>>,
}

/// A peer that is not in.
struct Peer {
    link: Link,
    lines: Lines,
    state: State,
    role: Role,
    /// What both ends have exported from TLS; `None` in version 1.0, without it.
    exporter: Option<Exporter>,
    /// The number of its last request.
    latest: Option<Id>,
    faults: u32,
    tries: u32,
}

/// Takes a peer through TLS, where there is a door for it, and its login. Its session
/// answers the last request.
///
/// # Errors
/// Why it did not pass.
pub fn admit(gate: Gate<'_>, door: Option<&Door>, hub: &Label) -> Result<(), Refused> {
    let keeper = Arc::new(gate.keeper);
    let mut link = Link::new(gate.socket)?;
    link.count_on(gate.meter);
    link.set_deadline(Some(gate.deadline))?;
    link.stop_on(&crate::sys::signal::STOP);
    let exporter = match door {
        Some(door) => Some(shake_hands(&mut link, door, &keeper)?),
        None => None,
    };
    let broker = keeper.enter()?;
    let broker = broker.ok_or_else(|| io::Error::other("the keeper lets nobody in"))?;
    let broker: Pipe<Ask, Answer> = broker.into_channel().into();
    let passed = log_in(link, &broker, hub, exporter)?;
    let Passed { mut peer, state } = passed;
    let login = Login::new(broker.into_channel().into(), gate.steps, None);
    match login.enter(peer.link.socket(), &state)? {
        Ok(()) => Ok(()),
        Err(why) => {
            log::debug!(peer:% = gate.peer, why:%; "no session");
            Err(peer.close())
        }
    }
}

/// Takes a peer through the handshake of TLS; what both ends export from it.
fn shake_hands(link: &mut Link, door: &Door, keeper: &Arc<Keeper>) -> Result<Exporter, Refused> {
    let accepted = door.accept_exporting(link, Arc::clone(keeper) as _, &[ALPN], LABEL)?;
    let exported = accepted
        .exported
        .filter(|_| accepted.alpn.as_deref() == Some(ALPN));
    exported.map(Exporter).ok_or_else(|| {
        link.close();
        Refused::Tls("a client that does not ask for tfd-hub/1".to_owned())
    })
}

/// Takes a peer through its login, behind the handshake that has exported this; in
/// version 1.0 without one.
///
/// # Errors
/// Why it did not pass.
pub fn log_in(
    link: Link,
    broker: &Pipe<Ask, Answer>,
    hub: &Label,
    exporter: Option<Exporter>,
) -> Result<Passed, Refused> {
    let mut peer = Peer {
        link,
        lines: Lines::default(),
        state: State::Fresh,
        role: Role::Owner,
        exporter,
        latest: None,
        faults: 0,
        tries: 0,
    };
    let (id, is_key) = peer.serve(broker, hub)?;
    let state = peer.hand_over(id, is_key);
    let state = state.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(Passed { peer, state })
}

impl Peer {
    /// Serves it until it is in: the request that its session answers, and whether that
    /// is a key.
    fn serve(&mut self, broker: &Pipe<Ask, Answer>, hub: &Label) -> Result<(Id, bool), Refused> {
        for _ in 0..MOST_LINES {
            let line = match self.line()? {
                Ok(line) => line,
                Err(Bad { id, .. }) => {
                    self.fault(id, Reply::NotUnderstood)?;
                    continue;
                }
            };
            let Some((id, request)) = self.request(line)? else {
                continue;
            };
            let command = request.command();
            let answer = match request {
                Request::Log(it) => match self.log_in(id, it)? {
                    Some(ask) => question(broker, &ask)?,
                    None => continue,
                },
                Request::Rsp(Rsp { hash_string, sig }) => {
                    let response = hash_string;
                    question(broker, &Ask::Respond { response, sig })?
                }
                Request::SendKey(SendKey { key, login, proof }) => {
                    question(broker, &Ask::Key { key, login, proof })?
                }
                _ => {
                    self.fault(Some(id), Reply::NotAllowed)?;
                    continue;
                }
            };
            match answer {
                Answer::Challenge { time, random } => {
                    self.challenge(id, hub, Cha { time, random })?;
                }
                Answer::Admitted => return Ok((id, command == Command::SendKey)),
                Answer::Reply(Line {
                    message: Message::Reply(reply),
                    ..
                }) => self.refuse(id, command, reply)?,
                Answer::Reply(_) => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
                Answer::Closed => return Err(self.close()),
            }
        }
        Err(Refused::TooMany("too many lines before the login"))
    }

    /// The next line.
    fn line(&mut self) -> Result<Result<Line, Bad>, Refused> {
        loop {
            let line = match self.exporter {
                Some(_) => self.lines.line(),
                None => self
                    .lines
                    .line_by(first_line)
                    .map(|line| line.and_then(|it| it)),
            };
            if let Some(line) = line {
                return Ok(line);
            }
            let mut piece = [0; PIECE];
            let len = self.link.read(&mut piece)?;
            if len == 0 {
                return Err(LinkError::Closed.into());
            }
            self.lines.add(&piece[..len]);
        }
    }

    /// The request in a line, if it has a place here.
    fn request(&mut self, line: Line) -> Result<Option<(Id, Request)>, Refused> {
        let Message::Request(request) = line.message else {
            return Err(Refused::TooMany("an answer to nothing"));
        };
        let command = request.command();
        if command == Command::Out && line.id.is_none() {
            self.link.close();
            return Err(Refused::Left);
        }
        let is_next = |id: &Id| self.latest < Some(*id);
        let id = match self.exporter {
            Some(_) => line.id.filter(is_next),
            // Requests of version 1.0 have no numbers, and are answered in their order.
            None => self.latest.map_or(Some(Id::FIRST), Id::next),
        };
        let Some(id) = id else {
            self.fault(line.id, Reply::NotUnderstood)?;
            return Ok(None);
        };
        self.latest = Some(id);
        let reply = match self.state.admit(self.role, command) {
            Ok(()) => return Ok(Some((id, request))),
            Err(Code::KeyNeeded) => {
                self.send(id, Reply::KeyNeeded)?;
                return Ok(None);
            }
            Err(Code::NotAllowed) => Reply::NotAllowed,
            Err(_) => Reply::NotUnderstood,
        };
        self.fault(Some(id), reply)?;
        Ok(None)
    }

    /// What the broker is asked about a login; `None` if it is answered. Version 1.0 is
    /// spoken without TLS alone, and nothing else there.
    fn log_in(&mut self, id: Id, it: Log) -> Result<Option<Ask>, Refused> {
        let is_base = self.exporter.is_none();
        let spoken = if is_base {
            Version::BASE
        } else {
            Version::SPOKEN
        };
        let is_later = it.version.major == spoken.major && it.version.minor > spoken.minor;
        if it.version != spoken && (is_base || !is_later) {
            let version = Some(spoken);
            self.fault(Some(id), Reply::WrongVersion { version })?;
            return Ok(None);
        }
        let role = match it.role {
            None if is_base => Role::Both,
            Some(role @ (Role::Owner | Role::Holder)) => role,
            _ => {
                self.fault(Some(id), Reply::NotUnderstood)?;
                return Ok(None);
            }
        };
        self.role = role;
        Ok(Some(Ask::LogIn {
            user: it.username,
            role,
            exporter: self.exporter,
        }))
    }

    fn challenge(&mut self, id: Id, hub: &Label, challenge: Cha) -> Result<(), Refused> {
        self.state = self.state.after(Command::Log, Code::UsernameOk);
        let known = Reply::UsernameOk {
            version: Some(Version::SPOKEN),
            hub: Some(hub.clone()),
            time: Some(challenge.time),
        };
        let known = self.print(&line(Some(id), known));
        let challenge = self.print(&line(None, Request::from(challenge)));
        let mut both = (known + &challenge).into_bytes();
        Ok(self.link.write(&mut both)?)
    }

    /// Passes a refusal on.
    fn refuse(&mut self, id: Id, command: Command, reply: Reply) -> Result<(), Refused> {
        let code = reply.code();
        self.state = self.state.after(command, code);
        self.send(id, reply)?;
        match code {
            Code::KeyNeeded => self.link.set_deadline(Some(Instant::now() + KEY))?,
            Code::NotVerified => {
                self.tries += 1;
                if self.tries >= MOST_TRIES {
                    return Err(self.end("too many wrong responses"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn send(&mut self, id: Id, reply: Reply) -> Result<(), Refused> {
        let mut text = self.print(&line(Some(id), reply)).into_bytes();
        Ok(self.link.write(&mut text)?)
    }

    /// A line as the peer gets it.
    fn print(&self, line: &Line) -> String {
        match (self.exporter, &line.message) {
            (Some(_), _) => line.print(),
            // Who speaks another version reads which one is spoken.
            (None, Message::Reply(reply @ Reply::WrongVersion { .. })) => {
                let (id, message) = (None, Message::Reply(reply.clone()));
                Line { id, message }.print()
            }
            (None, _) => base::print(line),
        }
    }

    /// Answers what is wrong.
    fn fault(&mut self, id: Option<Id>, reply: Reply) -> Result<(), Refused> {
        self.faults += 1;
        if self.faults > MOST_FAULTS {
            return Err(self.end("too many wrong lines"));
        }
        let mut text = self.print(&line(id, reply)).into_bytes();
        Ok(self.link.write(&mut text)?)
    }

    fn end(&mut self, why: &'static str) -> Refused {
        self.link.close();
        Refused::TooMany(why)
    }

    /// Sends the peer away for a while.
    fn close(&mut self) -> Refused {
        let out = Out {
            after: Some(LATER),
            reason: None,
        };
        let mut text = self.print(&line(None, Request::from(out))).into_bytes();
        if let Err(e) = self.link.write(&mut text) {
            return e.into();
        }
        self.link.close();
        Refused::Closed
    }

    /// What goes on in the session.
    fn hand_over(&mut self, id: Id, is_key: bool) -> Option<Zeroizing<Vec<u8>>> {
        let state = Handed {
            link: self.link.state()?,
            role: self.role,
            id,
            is_key,
            rest: self.lines.take(usize::MAX),
        };
        let mut out = Writer::default();
        // Memory that grows would leave copies behind that nobody wipes.
        out.bytes.reserve(USUAL_STATE_BYTES);
        let state = Served::Line(state);
        state.encode(&mut out);
        Some(out.bytes)
    }
}

/// Reads a line of version 1.0, or a login in another one, which may have more.
fn first_line(line: &[u8]) -> Result<Line, Bad> {
    let read = Line::parse(line)?;
    match &read.message {
        Message::Request(Request::Log(it)) if it.version != Version::BASE => Ok(read),
        _ => Line::parse_bare(line),
    }
}

fn line(id: Option<Id>, message: impl Into<Message>) -> Line {
    let message = message.into();
    Line { id, message }
}

pub(super) fn question(broker: &Pipe<Ask, Answer>, ask: &Ask) -> io::Result<Answer> {
    broker.send(ask)?;
    let answer = broker.receive()?;
    answer.ok_or(io::ErrorKind::UnexpectedEof.into())
}

/// One log line on a peer that did not pass.
pub fn log_refusal(peer: SocketAddr, refusal: &Refused) {
    match refusal {
        Refused::Left | Refused::Link(LinkError::Closed | LinkError::Stopped) => {
            log::debug!(peer:%, stage:% = "handshake"; "left");
        }
        Refused::Internal(e) => log::error!(peer:%, error:% = e; "gate failed"),
        _ => log::warn!(peer:%, stage:% = "handshake", reason:% = refusal; "refused"),
    }
}
