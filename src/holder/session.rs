//! The session of a peer: its requests, one after the other, and the bytes of files
//! between its socket and what the stock has opened. It has no path and no key.

mod give;
mod take;

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::checksum;
use super::gate::Handed;
use super::stock::message::{FromSession, Pass, ToSession};
use crate::hub::wire::request::{Crc, Gix, Inventory, Req};
use crate::hub::wire::{Bad, Code, Command, Id, Line, Lines, Message, Name, Reply, Request, Value};
use crate::ipc::Pipe;
use crate::ipc::channel::Channel;
use crate::net::link::{Awaited, Meter};
use crate::net::{Link, LinkError};
use crate::session::audit::{Observer, Outcome, Subject};
use crate::session::context::{Context, End, SessionObserver};
use crate::session::effect::Effect;

/// How long a line may be idle, and a file make no progress.
const IDLE: Duration = Duration::from_mins(5);
const STUCK: Duration = Duration::from_secs(60);

/// The most requests that wait, and lines that can't be read or have no place there.
const MOST_WAITING: usize = 64;
const MOST_FAULTS: u32 = 10;

/// Bytes that are read at once for lines.
const PIECE: usize = 4096;

/// A peer that a gate has handed over.
pub struct Peer {
    link: Link,
    lines: Lines,
    pass: Pass,
    latest: Id,
}

/// Takes it over.
///
/// # Errors
/// The system's.
pub fn take_over(socket: TcpStream, state: Handed) -> io::Result<Peer> {
    let mut lines = Lines::default();
    lines.add(&state.rest);
    Ok(Peer {
        link: Link::from_state(socket, &state.link)?,
        lines,
        pass: state.pass,
        latest: state.latest,
    })
}

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// The peer has said good-bye.
    #[error("logged out")]
    LoggedOut,
    /// The hub wants no more lines of this user.
    #[error("ended by the hub")]
    Stopped,
    /// Nothing was asked for some minutes.
    #[error("idle")]
    Idle,
    /// The stock is gone, or has dropped the line.
    #[error("no stock")]
    NoStock,
    /// The peer has broken a rule.
    #[error("{0}")]
    Rule(&'static str),
    /// The connection is lost.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The system.
    #[error("internal: {0}")]
    Internal(#[from] io::Error),
}

/// Shorthand.
type Result<T> = std::result::Result<T, Ended>;

/// What a request has come to: the code of the last reply, and bytes of files.
struct Came {
    code: Option<u16>,
    bytes: u64,
}

impl Came {
    fn to(code: u16) -> Came {
        let code = Some(code);
        Came { code, bytes: 0 }
    }
}

/// Serves a peer that was let in, to its end.
pub fn serve(mut peer: Peer, meter: Meter, context: Context) -> End {
    let Some(service) = context.service else {
        return End::Failed("no service".to_owned());
    };
    peer.link.count_on(meter);
    peer.link.stop_on(&crate::sys::signal::STOP);
    let mut session = Session {
        link: peer.link,
        lines: peer.lines,
        stock: Channel::from_handle(service).into(),
        observer: context.observer,
        next: Id::FIRST,
        latest: peer.latest,
        early: VecDeque::new(),
        faults: 0,
        is_stopped: false,
    };
    let ended = match session.begin(peer.pass) {
        Ok(()) => session.run(),
        Err(ended) => ended,
    };
    match ended {
        Ended::Link(_) => {}
        _ => session.link.close(),
    }
    match ended {
        Ended::Internal(e) => End::Failed(e.to_string()),
        ended => End::Orderly(ended.to_string()),
    }
}

struct Session {
    link: Link,
    lines: Lines,
    stock: Pipe<FromSession, ToSession>,
    observer: SessionObserver,
    /// The number of our last request: the gate has sent the first.
    next: Id,
    /// The number of the peer's last request.
    latest: Id,
    /// Requests that came while an answer was waited for.
    early: VecDeque<Line>,
    faults: u32,
    is_stopped: bool,
}

impl Session {
    fn begin(&mut self, pass: Pass) -> Result<()> {
        self.link.set_deadline(None)?;
        self.link.set_idle_limit(Some(STUCK))?;
        self.link.expect_transfers();
        match self.ask(&FromSession::Enter(pass))? {
            ToSession::Entered => Ok(()),
            _ => Err(Ended::NoStock),
        }
    }

    fn run(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.turn() {
                return ended;
            }
        }
    }

    /// Serves the next request.
    fn turn(&mut self) -> Result<()> {
        let line = match self.early.pop_front() {
            Some(line) => line,
            None => match self.line()? {
                Ok(line) => line,
                Err(bad) => return self.fault(bad.id, Reply::NotUnderstood),
            },
        };
        match line {
            Line {
                id: Some(id),
                message: Message::Request(request),
            } => self.request(id, request),
            Line {
                id: None,
                message: Message::Request(Request::Out(_)),
            } => Err(Ended::LoggedOut),
            Line {
                id,
                message: Message::Request(_),
            } => self.fault(id, Reply::NotUnderstood),
            Line {
                message: Message::Reply(_),
                ..
            } => Err(Ended::Rule("an answer to nothing")),
        }
    }

    /// The next line; between requests the hub may end the line.
    fn line(&mut self) -> Result<std::result::Result<Line, Bad>> {
        let until = Instant::now() + IDLE;
        loop {
            if self.is_stopped {
                return Err(Ended::Stopped);
            }
            if let Some(line) = self.lines.line() {
                return self.numbered(line);
            }
            let stock = self.stock.as_fd();
            match self.link.wait_for_any(Some(stock), Some(until))? {
                Awaited::Input => self.read()?,
                Awaited::Other => match self.hear_stock()? {
                    None => {}
                    Some(_) => return Err(Ended::NoStock),
                },
                Awaited::Nothing => return Err(Ended::Idle),
            }
        }
    }

    /// Numbers of requests rise.
    fn numbered(
        &mut self,
        line: std::result::Result<Line, Bad>,
    ) -> Result<std::result::Result<Line, Bad>> {
        if let Ok(Line {
            id: Some(id),
            message: Message::Request(_),
        }) = &line
        {
            if *id <= self.latest {
                return Err(Ended::Rule("numbers of requests do not rise"));
            }
            self.latest = *id;
        }
        Ok(line)
    }

    fn read(&mut self) -> Result<()> {
        let mut piece = [0; PIECE];
        match self.link.read(&mut piece)? {
            0 => Err(LinkError::Closed.into()),
            len => {
                self.lines.add(&piece[..len]);
                Ok(())
            }
        }
    }

    /// What the stock says; `None` when it is that the line has to end.
    fn hear_stock(&mut self) -> Result<Option<ToSession>> {
        match self.stock.receive() {
            Ok(Some(ToSession::Stop)) => {
                self.is_stopped = true;
                Ok(None)
            }
            Ok(Some(answer)) => Ok(Some(answer)),
            _ => Err(Ended::NoStock),
        }
    }

    fn ask(&mut self, ask: &FromSession) -> Result<ToSession> {
        self.stock.send(ask).map_err(|_| Ended::NoStock)?;
        loop {
            if let Some(answer) = self.hear_stock()? {
                return Ok(answer);
            }
        }
    }

    fn request(&mut self, id: Id, request: Request) -> Result<()> {
        let Some(subject) = about(&request) else {
            return match request {
                Request::Ds1(_) | Request::Ds2(_) => self.fault(Some(id), Reply::NotAllowed),
                _ => self.fault(Some(id), Reply::NotUnderstood),
            };
        };
        self.observer.begins(&subject);
        let came = match request {
            Request::Fil(it) => self.take(id, &it),
            Request::Get(it) => self.get(id, &it),
            Request::Gix(it) => self.get_index(id, it),
            Request::Inventory(it) => self.list(id, &it),
            Request::Req(it) => self.check(id, &it),
            _ => return Ok(()),
        };
        let (outcome, bytes) = match &came {
            Ok(Came {
                code: Some(code), ..
            }) if *code >= 400 => (Outcome::Failed(Some(*code)), 0),
            Ok(came) => (Outcome::Done, came.bytes),
            Err(_) => (Outcome::Lost, 0),
        };
        self.observer.ended(&subject, outcome, bytes)?;
        came.map(drop)
    }

    /// A checksum of a file.
    fn check(&mut self, id: Id, it: &Req) -> Result<Came> {
        let fetch = FromSession::Fetch {
            name: it.filename,
            size: None,
        };
        let (file, size) = match self.ask(&fetch)? {
            ToSession::Give { file, size, .. } => (file.into(), size),
            ToSession::Refused(code) => return self.refuse(id, code),
            _ => return Err(Ended::NoStock),
        };
        let Ok(sum) = checksum::of(&file, size, &it.key) else {
            return self.refuse(id, Code::NoSuchFile.number());
        };
        self.answer(id, Message::Request(Request::Crc(Crc::new(sum))))?;
        Ok(Came {
            code: None,
            bytes: 0,
        })
    }

    fn get_index(&mut self, id: Id, it: Gix) -> Result<Came> {
        let ask = FromSession::FetchIndex {
            user: it.username,
            name: it.name,
        };
        match self.ask(&ask)? {
            ToSession::Refused(code) => self.refuse(id, code),
            given => self.give(id, given, None),
        }
    }

    /// Sends a reply of a code.
    fn refuse(&mut self, id: Id, code: u16) -> Result<Came> {
        let reply = match Code::of(code) {
            Some(Code::NoSpace) => Reply::NoSpace { hub: None },
            Some(Code::Later) => Reply::Later { after: None },
            Some(Code::NotMine) => Reply::NotMine,
            Some(Code::NotAllowed) => Reply::NotAllowed,
            Some(Code::NoSuchFile) => Reply::NoSuchFile,
            _ => return Err(Ended::NoStock),
        };
        self.answer(id, Message::Reply(reply))?;
        Ok(Came::to(code))
    }

    fn answer(&mut self, id: Id, message: Message) -> Result<()> {
        let id = Some(id);
        self.send(&Line { id, message }.print())
    }

    fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.link.write(&mut text.as_bytes().to_vec())?)
    }

    fn fault(&mut self, id: Option<Id>, reply: Reply) -> Result<()> {
        self.faults += 1;
        if self.faults > MOST_FAULTS {
            return Err(Ended::Rule("too many wrong lines"));
        }
        let message = Message::Reply(reply);
        self.send(&Line { id, message }.print())
    }
}

/// What audit log and status say of a request.
fn about(request: &Request) -> Option<Subject> {
    let (effect, about) = match request {
        Request::Fil(it) => (Effect::Adds, it.filename.text()),
        Request::Get(it) => (Effect::Reads, it.filename.text()),
        Request::Req(it) => (Effect::Reads, it.filename.text()),
        Request::Gix(Gix { name, .. }) => (
            Effect::Reads,
            name.map(|it: Name| it.text()).unwrap_or_default(),
        ),
        Request::Inventory(Inventory { username, .. }) => (Effect::Reads, username.text()),
        _ => return None,
    };
    Some(Subject {
        command: Command::word(request.command()),
        path: about.into_bytes(),
        other: Vec::new(),
        effect,
    })
}
