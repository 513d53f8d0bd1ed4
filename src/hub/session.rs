//! A session of the hub: it checks what its peer may send in which state, and passes
//! lines between it and the broker. It reaches no file, and speaks for its user alone.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::broker::message::{FromSession, ToSession};
use super::dialogue::Next;
use super::gate::Handed;
use super::speech::Speech;
use super::wire::request::Out;
use super::wire::{Command, Flag, Id, Leaving, Line, Lines, Message, Reply, Request, Role, Value};
use crate::ipc::Pipe;
use crate::ipc::channel::Channel;
use crate::net::link::{Awaited, Meter};
use crate::net::{Link, LinkError};
use crate::session::audit::{Observer, Outcome, Subject};
use crate::session::context::{Context, End, SessionObserver};
use crate::session::effect::Effect;
use crate::sys::memory::give_back_memory;

/// After how many seconds a peer comes back whose hub stops or starts again.
const SOON: u64 = 5;

/// How long one write may make no progress.
const STUCK: Duration = Duration::from_secs(60);

/// How long a peer that is silent keeps its memory.
const RESTLESS: Duration = Duration::from_secs(1);

/// How long a peer that has logged out waits for its answers.
const LAST: Duration = Duration::from_secs(10);

/// Requests of a peer: how many at once, and in a second.
const BURST: f64 = 1000.0;
const RATE: f64 = 200.0;

/// Bytes that are read at once.
const PIECE: usize = 4096;

/// A peer that a gate has handed over.
pub struct Peer {
    link: Link,
    role: Role,
    id: Id,
    is_key: bool,
    lines: Lines,
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
        role: state.role,
        id: state.id,
        is_key: state.is_key,
        lines,
    })
}

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// The peer has said good-bye.
    #[error("logged out")]
    LoggedOut,
    /// The broker has ended the line, and the peer is told.
    #[error("ended by the hub: {}", .0.map_or("no reason", |reason| reason.word()))]
    Left(Option<Leaving>),
    /// The broker is gone, or has dropped the line.
    #[error("no broker")]
    NoBroker,
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
        broker: Channel::from_handle(service).into(),
        observer: context.observer,
        speech: Speech::new(peer.role, false, peer.id),
        subjects: BTreeMap::new(),
        bucket: Bucket::full(),
        is_rested: false,
    };
    let ended = match session.begin(peer.role, peer.id, peer.is_key) {
        Ok(()) => session.run(),
        Err(ended) => ended,
    };
    if matches!(ended, Ended::NoBroker | Ended::Link(LinkError::Stopped)) {
        let _ = session.send(&[notice(Out {
            after: Some(SOON),
            reason: Some(Leaving::Stopping),
        })]);
    }
    session.link.close();
    match ended {
        Ended::LoggedOut | Ended::Left(_) | Ended::Link(LinkError::Closed | LinkError::Stopped) => {
            End::Orderly(ended.to_string())
        }
        ended => End::Failed(ended.to_string()),
    }
}

fn notice(request: impl Into<Request>) -> Line {
    let message = Message::Request(request.into());
    Line { id: None, message }
}

/// What a peer may still ask at once.
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn full() -> Bucket {
        let at = Instant::now();
        Bucket { left: BURST, at }
    }

    /// Takes one out; when there is one again, if there is none.
    fn take(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let since = now.duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * RATE).min(BURST);
        self.at = now;
        if self.left < 1.0 {
            return Some(now + Duration::from_secs_f64((1.0 - self.left) / RATE));
        }
        self.left -= 1.0;
        None
    }
}

struct Session {
    link: Link,
    lines: Lines,
    broker: Pipe<FromSession, ToSession>,
    observer: SessionObserver,
    speech: Speech,
    /// What the requests that wait for an answer are about.
    subjects: BTreeMap<Id, Subject>,
    bucket: Bucket,
    /// Whether it has given back its memory.
    is_rested: bool,
}

impl Session {
    /// Asks the broker what it knows of the peer, and answers its last request.
    fn begin(&mut self, role: Role, id: Id, is_key: bool) -> Result<(), Ended> {
        self.link.set_deadline(None)?;
        self.link.set_idle_limit(Some(STUCK))?;
        self.broker.send(&FromSession::Enter)?;
        let Some(ToSession::Entered {
            needs_share,
            replays,
        }) = self.broker.receive()?
        else {
            return Err(Ended::NoBroker);
        };
        self.speech = Speech::new(role, needs_share, id);
        let reply = match (is_key, needs_share) {
            (true, _) => Reply::KeyReceived,
            (false, true) => Reply::ShareNeeded,
            (false, false) => Reply::LoggedIn {
                replay: replays.then_some(Flag),
            },
        };
        let message = Message::Reply(reply);
        let id = Some(id);
        self.send(&[Line { id, message }])
    }

    fn run(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.turn() {
                return ended;
            }
        }
    }

    /// Passes on what is there, and waits for what comes next.
    fn turn(&mut self) -> Result<(), Ended> {
        let mut until = None;
        while until.is_none() {
            if !self.lines.has_line() {
                break;
            }
            until = self.bucket.take();
            if until.is_none()
                && let Some(all) = self.speech.hear(&mut self.lines)
            {
                self.follow(all)?;
            }
        }
        if until.is_some() {
            // Nothing more of the peer is read before its time.
            if self.link.wait_for_other(Some(self.broker.as_fd()), until)? {
                self.pass_on()?;
            }
            return Ok(());
        }
        match self.wait()? {
            Awaited::Input => self.read(),
            Awaited::Other => self.pass_on(),
            Awaited::Nothing => Ok(()),
        }
    }

    /// Waits for the peer or the broker. Memory is given back before long.
    fn wait(&mut self) -> Result<Awaited, LinkError> {
        let other = self.broker.as_fd();
        if self.is_rested {
            return self.link.wait_for_any(Some(other), None);
        }
        let soon = Instant::now() + RESTLESS;
        let awaited = self.link.wait_for_any(Some(other), Some(soon))?;
        if matches!(awaited, Awaited::Nothing) {
            self.lines.rest();
            self.link.rest();
            give_back_memory();
            self.is_rested = true;
        }
        Ok(awaited)
    }

    fn read(&mut self) -> Result<(), Ended> {
        self.is_rested = false;
        let mut piece = [0; PIECE];
        match self.link.read(&mut piece)? {
            0 => Err(LinkError::Closed.into()),
            len => {
                self.lines.add(&piece[..len]);
                Ok(())
            }
        }
    }

    /// Does one thing after the other. Lines for the peer are sent together.
    fn follow(&mut self, all: Vec<Next>) -> Result<(), Ended> {
        let mut lines = Vec::new();
        for next in all {
            match next {
                Next::Answer(line) => lines.push(line),
                Next::Pass(line) => {
                    self.send(&std::mem::take(&mut lines))?;
                    self.pass(line)?;
                }
                Next::End(why) => {
                    self.send(&lines)?;
                    return Err(Ended::Rule(why));
                }
            }
        }
        self.send(&lines)
    }

    /// Gives the broker a line of the peer.
    fn pass(&mut self, line: Line) -> Result<(), Ended> {
        if is_out(&line) {
            return self.say_good_bye();
        }
        if let (Some(id), Message::Request(request)) = (line.id, &line.message)
            && let Some(subject) = about(request)
        {
            self.observer.begins(&subject);
            self.subjects.insert(id, subject);
        }
        let sent = self.broker.send(&FromSession::Line(line));
        sent.map_err(|_| Ended::NoBroker)
    }

    /// Gives a peer that has logged out its last answers.
    fn say_good_bye(&mut self) -> Result<(), Ended> {
        let until = Instant::now() + LAST;
        while self.speech.owes_answers()
            && self
                .link
                .wait_for_other(Some(self.broker.as_fd()), Some(until))?
        {
            self.pass_on()?;
        }
        Err(Ended::LoggedOut)
    }

    /// Passes on what the broker sends.
    fn pass_on(&mut self) -> Result<(), Ended> {
        self.is_rested = false;
        match self.broker.receive() {
            Ok(Some(ToSession::Answers { lines, is_last })) => {
                let last = lines.last().filter(|_| is_last).cloned();
                let all = self.speech.answer(lines, is_last);
                let all = all.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
                self.follow(all)?;
                last.map_or(Ok(()), |last| self.record(&last))
            }
            Ok(Some(ToSession::Push(line))) => {
                let left = match &line.message {
                    Message::Request(Request::Out(out)) => Some(Ended::Left(out.reason)),
                    _ => None,
                };
                let all = self.speech.push(line);
                let too_many = "too many requests of the hub without an answer";
                self.follow(all.ok_or(Ended::Rule(too_many))?)?;
                left.map_or(Ok(()), Err)
            }
            Ok(Some(ToSession::Entered { .. })) => {
                Err(io::Error::from(io::ErrorKind::InvalidData).into())
            }
            Ok(None) => Err(Ended::NoBroker),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Err(Ended::NoBroker),
            Err(e) => Err(e.into()),
        }
    }

    /// Records a request that is answered.
    fn record(&mut self, last: &Line) -> Result<(), Ended> {
        let subject = last.id.and_then(|id| self.subjects.remove(&id));
        let Some(subject) = subject else {
            return Ok(());
        };
        let outcome = match &last.message {
            Message::Reply(reply) if reply.code().is_refusal() => {
                Outcome::Failed(Some(reply.code().number()))
            }
            _ => Outcome::Done,
        };
        Ok(self.observer.ended(&subject, outcome, 0)?)
    }

    fn send(&mut self, lines: &[Line]) -> Result<(), Ended> {
        if lines.is_empty() {
            return Ok(());
        }
        let text: String = lines.iter().map(|line| self.speech.print(line)).collect();
        Ok(self.link.write(&mut text.into_bytes())?)
    }
}

fn is_out(line: &Line) -> bool {
    matches!(&line.message, Message::Request(Request::Out(_)))
}

/// What audit log and status say of a request.
fn about(request: &Request) -> Option<Subject> {
    let command = request.command();
    let (effect, about) = match request {
        Request::Bck(_) | Request::Dbu(_) | Request::Abt(_) | Request::Sha(_) => {
            (Effect::Changes, String::new())
        }
        Request::Put(it) => (Effect::Changes, it.filename.text()),
        Request::Pix(it) => (Effect::Changes, it.filename.text()),
        Request::Dfi(it) => (Effect::Changes, it.filename.text()),
        Request::Del(it) => (Effect::Changes, it.filename.text()),
        Request::Mov(it) => (Effect::Changes, it.filename.text()),
        Request::Get(it) => (Effect::Reads, it.filename.text()),
        Request::Nst(it) => (Effect::Changes, it.username.text()),
        Request::Rec(it) => (Effect::Reads, it.username.text()),
        Request::Gix(it) => (Effect::Reads, it.username.text()),
        Request::SendKey(_) => (Effect::Changes, String::new()),
        Request::Rrc(_) => (Effect::Reads, String::new()),
        _ => return None,
    };
    Some(Subject {
        command: Command::word(command),
        path: about.into_bytes(),
        other: Vec::new(),
        effect,
    })
}
