//! A line to the hub from a peer's end: dialled and logged in, then requests and their
//! answers, the hub's requests, and notices. A hub that breaks a rule ends it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::signer::Signer;
use super::talk::Talk;
use super::{DIAL, HUB_ALPN, LABEL, LOGIN, PeerError, Result, SILENCE, connect};
use crate::hub::proofs::{Challenge, Statement};
use crate::hub::wire::request::{Log, Out, Rsp, SendKey, Use};
use crate::hub::wire::{
    Code, Command, Exporter, Factor, Id, Key, Label, Line, LoginKey, Message, Party, Reply,
    Request, Role, Signature, Sort, User, Version,
};
use crate::net::link::Awaited;
use crate::net::tls::client::Tls;

/// The most requests of one side that wait for an answer.
pub const MOST_WAITING: usize = 64;

/// The most files of a list.
const MOST_LISTED: u64 = 10_000_000;

/// The longest time for which a hub sends a peer away, in seconds.
const MOST_AFTER: u64 = 3600;

/// Which hub.
pub struct Place<'a> {
    /// Where it is.
    pub addresses: &'a [SocketAddr],
    /// Its name in the handshake.
    pub host: &'a str,
    /// What is believed of it.
    pub tls: &'a Tls,
    /// What it has called itself, once a peer has heard it.
    pub name: Option<&'a Label>,
}

/// Who logs in.
#[derive(Clone, Debug)]
pub struct Login {
    /// As whom.
    pub user: User,
    /// As an owner, or as a holder.
    pub role: Role,
    /// Where a holder listens.
    pub port: Option<u16>,
}

/// What a hub wants to have first of who is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nothing.
    Nothing,
    /// The key: [`HubLine::send_key`].
    Key,
    /// The share, by `SHA`.
    Share,
}

/// What has come.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "passed on, one at a time")]
pub enum Heard {
    /// An answer to the request of this number, the last one or not.
    Answer {
        /// The request.
        id: Id,
        /// A reply, or a command that stands for one.
        answer: Message,
        /// Whether no other follows.
        is_last: bool,
    },
    /// A request of the hub, to be answered.
    Asked(Id, Request),
    /// What needs no answer.
    Notice(Request),
}

/// A request whose answers are not all here.
struct Waiting {
    command: Command,
    /// How many answers about copies are to come.
    copies: u8,
    /// The number that the next file of a list has.
    listed: Option<u64>,
}

/// A line to a hub that has let the peer in.
pub struct HubLine {
    talk: Talk,
    address: SocketAddr,
    hub: Label,
    is_rebuilt: bool,
    login: Login,
    exporter: Exporter,
    /// How far the hub's clock is ahead of ours, in seconds.
    ahead: i64,
    /// How many copies the files of the run have.
    factor: Factor,
    waiting: BTreeMap<Id, Waiting>,
    /// The hub's requests that wait for an answer.
    asked: BTreeMap<Id, &'static Use>,
    latest: Option<Id>,
    /// What came while an answer was waited for.
    early: VecDeque<Heard>,
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl HubLine {
    /// Connects to a hub and logs in; what it wants to have first.
    ///
    /// # Errors
    /// `Refused` for a wrong response or a block, `OtherHub`, and others.
    pub fn open(
        place: &Place<'_>,
        login: Login,
        signer: &dyn Signer,
    ) -> Result<(HubLine, Missing)> {
        let (mut link, address) = connect(place.addresses, DIAL)?;
        link.set_deadline(Some(Instant::now() + LOGIN))?;
        let tls = place.tls;
        let exporter = Exporter(tls.connect_exporting(&mut link, place.host, HUB_ALPN, LABEL)?);
        let mut talk = Talk::new(link);
        let mut log = Log::new(login.user.clone(), Version::SPOKEN);
        log.role = Some(login.role);
        log.port = login.port;
        let id = talk.request(log)?;
        let (hub, time) = match answered(&mut talk, id)? {
            Reply::UsernameOk {
                version: Some(Version::SPOKEN),
                hub: Some(hub),
                time: Some(time),
            } => (hub, time),
            Reply::UsernameOk { .. } => return Err(PeerError::Broken("a hub without a name")),
            reply => return Err(PeerError::Refused(reply)),
        };
        if place.name.is_some_and(|name| *name != hub) {
            return Err(PeerError::OtherHub(hub));
        }
        let ahead = time.cast_signed() - now().cast_signed();
        let (missing, is_rebuilt) = respond(&mut talk, &hub, &login, exporter, signer)?;
        talk.link.set_deadline(None)?;
        talk.link.set_idle_limit(Some(SILENCE))?;
        let line = HubLine {
            talk,
            address,
            hub,
            is_rebuilt,
            login,
            exporter,
            ahead,
            factor: Factor::ONE,
            waiting: BTreeMap::new(),
            asked: BTreeMap::new(),
            latest: None,
            early: VecDeque::new(),
        };
        Ok((line, missing))
    }

    /// What the hub calls itself.
    pub fn hub(&self) -> &Label {
        &self.hub
    }

    /// Whether it has lost its database, and wants to hear of every file.
    pub fn is_rebuilt(&self) -> bool {
        self.is_rebuilt
    }

    /// Where the hub is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The time of the hub's clock, in seconds since 1970.
    pub fn time(&self) -> u64 {
        now().saturating_add_signed(self.ahead)
    }

    /// Sends the first identity key, with what logs in from now on.
    ///
    /// # Errors
    /// `Refused`, and others.
    pub fn send_own_key(&mut self, key: Key, login: LoginKey, signer: &dyn Signer) -> Result<()> {
        let statement = Statement::OwnKey {
            hub: &self.hub,
            user: &self.login.user,
            key,
            exporter: self.exporter,
        };
        let proof = signer.sign(&statement).map_err(PeerError::Unsigned)?;
        self.send_key(key, Some(login), proof)
    }

    /// Sends a key with its proof.
    ///
    /// # Errors
    /// `Refused`, and others.
    pub fn send_key(&mut self, key: Key, login: Option<LoginKey>, proof: Signature) -> Result<()> {
        let mut request = SendKey::new(key);
        request.login = login;
        request.proof = Some(proof);
        match self.done(request)? {
            Message::Reply(Reply::KeyReceived) => Ok(()),
            Message::Reply(reply) => Err(PeerError::Refused(reply)),
            Message::Request(_) => Err(PeerError::Broken("a key is answered by a command")),
        }
    }

    /// Whether one more request may be sent now.
    pub fn may_ask(&self) -> bool {
        self.waiting.len() < MOST_WAITING
    }

    /// Sends a request; its number.
    ///
    /// # Errors
    /// `Busy` while too many wait for their answers; the line is lost.
    pub fn ask(&mut self, request: impl Into<Request>) -> Result<Id> {
        if !self.may_ask() {
            return Err(PeerError::Busy);
        }
        let request = request.into();
        let command = request.command();
        let copies = match &request {
            Request::Bck(it) => {
                self.factor = it.factor;
                1
            }
            Request::Put(_) => self.factor.get(),
            Request::Pix(it) => it.factor.get(),
            _ => 1,
        };
        let id = self.talk.request(request)?;
        let waiting = Waiting {
            command,
            copies,
            listed: None,
        };
        self.waiting.insert(id, waiting);
        Ok(id)
    }

    /// Sends a notice.
    ///
    /// # Errors
    /// The line is lost.
    pub fn notify(&mut self, notice: impl Into<Request>) -> Result<()> {
        self.talk.notice(notice)
    }

    /// Answers a request of the hub.
    ///
    /// # Errors
    /// The line is lost.
    pub fn answer(&mut self, id: Id, answer: impl Into<Message>) -> Result<()> {
        self.asked.remove(&id);
        self.talk.answer(id, answer)
    }

    /// Sends a request and waits for its one answer. What comes before it is heard
    /// later.
    ///
    /// # Errors
    /// The line is lost.
    pub fn done(&mut self, request: impl Into<Request>) -> Result<Message> {
        let id = self.ask(request)?;
        let mut early = std::mem::take(&mut self.early);
        let answer = loop {
            match self.hear()? {
                Heard::Answer { id: of, answer, .. } if of == id => break answer,
                heard => early.push_back(heard),
            }
        };
        self.early = early;
        Ok(answer)
    }

    /// Waits until there is something to hear, `other` is readable, or the moment has
    /// come.
    ///
    /// # Errors
    /// The line is lost.
    pub fn wait(
        &mut self,
        other: Option<BorrowedFd<'_>>,
        until: Option<Instant>,
    ) -> Result<Awaited> {
        if !self.early.is_empty() {
            return Ok(Awaited::Input);
        }
        self.talk.wait(other, until)
    }

    /// What has come next.
    ///
    /// # Errors
    /// `Left` when the hub has ended the line, `Broken` when it has broken a rule; the
    /// line is lost.
    pub fn hear(&mut self) -> Result<Heard> {
        if let Some(heard) = self.early.pop_front() {
            return Ok(heard);
        }
        let line = self.talk.line()?;
        self.take(line)
    }

    /// What has come already; `None` if that is nothing whole.
    ///
    /// # Errors
    /// As above.
    pub fn hear_more(&mut self) -> Result<Option<Heard>> {
        if let Some(heard) = self.early.pop_front() {
            return Ok(Some(heard));
        }
        let line = self.talk.next_line()?;
        line.map(|line| self.take(line)).transpose()
    }

    fn take(&mut self, line: Line) -> Result<Heard> {
        let Line { id, message } = line;
        let request = match message {
            Message::Reply(reply) => return self.take_answer(id, Message::Reply(reply)),
            Message::Request(request) => request,
        };
        let mut uses = request.command().uses().iter();
        let found = uses.find(|it| it.from == Party::Hub && self.is_for_us(it.to, it.sort, id));
        match found {
            Some(it) if it.sort == Sort::Answer => self.take_answer(id, Message::Request(request)),
            Some(it) if it.sort == Sort::Notice => match request {
                Request::Out(Out { after, .. }) => {
                    Err(PeerError::Left(after.map(|after| after.min(MOST_AFTER))))
                }
                request => Ok(Heard::Notice(request)),
            },
            Some(it) => {
                let rises = id.filter(|id| self.latest < Some(*id));
                let id = rises.ok_or(PeerError::Broken("numbers of the hub do not rise"))?;
                self.latest = Some(id);
                self.asked.insert(id, it);
                if self.asked.len() > MOST_WAITING {
                    return Err(PeerError::Broken("too many requests of the hub"));
                }
                Ok(Heard::Asked(id, request))
            }
            None => Err(PeerError::Broken("a command that no hub sends")),
        }
    }

    fn is_for_us(&self, to: Party, sort: Sort, id: Option<Id>) -> bool {
        let is_role = match to {
            Party::Hub => false,
            Party::Owner => self.login.role != Role::Holder,
            Party::Holder => self.login.role != Role::Owner,
            Party::Peer => true,
        };
        is_role && (sort == Sort::Notice) == id.is_none()
    }

    fn take_answer(&mut self, id: Option<Id>, answer: Message) -> Result<Heard> {
        let nothing = PeerError::Broken("an answer to nothing");
        let (Some(id), Some(waiting)) = (id, id.and_then(|id| self.waiting.get_mut(&id))) else {
            return Err(nothing);
        };
        if !waiting.is_answer(&answer) {
            return Err(PeerError::Broken("an answer to something else"));
        }
        let is_last = waiting.is_last(&answer)?;
        if is_last {
            self.waiting.remove(&id);
        }
        Ok(Heard::Answer {
            id,
            answer,
            is_last,
        })
    }

    /// Logs out. Requests that wait for an answer may get it still.
    pub fn close(mut self) {
        let out = Out::new();
        // The hub sees the end without it, too.
        let _ = self.talk.notice(out);
        self.talk.link.close();
    }
}

/// Codes that answer every request: the key, the share, time, form, state.
const ALWAYS: [Code; 5] = [
    Code::KeyNeeded,
    Code::ShareNeeded,
    Code::Later,
    Code::NotUnderstood,
    Code::NotAllowed,
];

impl Waiting {
    fn is_answer(&self, answer: &Message) -> bool {
        let word = match answer {
            Message::Reply(reply) if ALWAYS.contains(&reply.code()) => return true,
            Message::Reply(reply) => reply.code().number().to_string(),
            Message::Request(request) => request.command().word().to_owned(),
        };
        let mut uses = self.command.uses().iter().filter(|it| it.to == Party::Hub);
        uses.any(|it| it.answers().any(|known| known == word))
    }

    /// Takes note of an answer; whether no other follows.
    fn is_last(&mut self, answer: &Message) -> Result<bool> {
        match (answer, self.command) {
            (
                Message::Request(Request::Dst(_))
                | Message::Reply(Reply::TransferCompleted | Reply::NoHolder { .. }),
                Command::Put | Command::Pix,
            ) => {
                self.copies = self.copies.saturating_sub(1);
                Ok(self.copies == 0)
            }
            (Message::Reply(Reply::FilesExist { number }), Command::Rec) => {
                let number = number.ok_or(PeerError::Broken("a list of unknown length"))?;
                if number > MOST_LISTED || self.listed.is_some() {
                    return Err(PeerError::Broken("a list that is too long"));
                }
                self.listed = Some(number);
                Ok(number == 0)
            }
            (Message::Request(Request::Idx(it)), _) => {
                if self.listed != Some(it.number) {
                    return Err(PeerError::Broken("a list that is out of order"));
                }
                self.listed = it.number.checked_sub(1);
                Ok(it.number == 1)
            }
            _ => Ok(true),
        }
    }
}

/// The reply to a request before the login is over. A hub that can't serve now says so
/// in its place.
fn answered(talk: &mut Talk, to: Id) -> Result<Reply> {
    match talk.line()? {
        Line {
            id: Some(id),
            message: Message::Reply(reply),
        } if id == to => Ok(reply),
        Line {
            id: None,
            message: Message::Request(Request::Out(out)),
        } => Err(PeerError::Left(out.after.map(|it| it.min(MOST_AFTER)))),
        _ => Err(PeerError::Broken("something else than the answer")),
    }
}

/// Answers the challenge; what the hub wants to have first, and whether it wants to hear
/// of every file.
fn respond(
    talk: &mut Talk,
    hub: &Label,
    login: &Login,
    exporter: Exporter,
    signer: &dyn Signer,
) -> Result<(Missing, bool)> {
    let Line {
        id: None,
        message: Message::Request(Request::Cha(cha)),
    } = talk.line()?
    else {
        return Err(PeerError::Broken("no challenge"));
    };
    let challenge = Challenge {
        hub,
        user: &login.user,
        time: cha.time,
        random: cha.random,
        exporter: Some(exporter),
    };
    let (response, signature) = signer.respond(&challenge).map_err(PeerError::Unsigned)?;
    let mut rsp = Rsp::new(response);
    rsp.sig = signature;
    let id = talk.request(rsp)?;
    match answered(talk, id)? {
        Reply::LoggedIn { replay } => Ok((Missing::Nothing, replay.is_some())),
        Reply::KeyNeeded => Ok((Missing::Key, false)),
        Reply::ShareNeeded => Ok((Missing::Share, false)),
        reply => Err(PeerError::Refused(reply)),
    }
}

#[cfg(test)]
mod tests;
