//! A line as the broker has it: whom it serves, what is to be sent on it, and what its
//! peer has been asked.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use super::message::{Card, FromSession, MOST_LINES, ToSession};
use crate::hub::book::{Bound, Listed, Time, UserId};
use crate::hub::wire::request::Idx;
use crate::hub::wire::{
    Checksum, Code, DEFAULT_PORT, Id, Line as Sent, Message, Name, Reply, Request, RunId, Way,
};
use crate::ipc::Pipe;

/// The most requests to a peer that wait for an answer.
const MOST_ASKED: usize = 64;

/// The most messages that wait to be sent. A peer can't bring about as many.
const MOST_WAITING: usize = 1024;

/// What becomes of an answer of a peer.
#[derive(Debug)]
pub enum Asked {
    /// It says whether it takes a copy, which an owner's request waits for.
    Receive(Asker, Name),
    /// It says whether it sends, which an owner's request waits for.
    Send(Asker, Search),
    /// It says whether it expects a line, which a peer's request waits for.
    Expect(Asker),
    /// It has removed a file by the order of this number.
    Remove(i64),
    /// It says whether it takes a copy of another holder's.
    Take(Bound),
    /// It says whether it sends that copy.
    Give(Bound),
    /// It says whether it sends a copy back to a holder that has lost it.
    Lend(Bound),
    /// It computes for the audit of this number, on this side.
    Checksum(u64, usize),
    /// Nobody waits for it any more.
    Nobody,
}

/// What a peer answers.
#[derive(Clone, Copy, Debug)]
pub enum Said {
    /// A reply.
    Code(Code),
    /// A checksum.
    Sum(Checksum),
    /// Nothing in time.
    Nothing,
}

impl Said {
    /// The code of a reply.
    pub fn code(self) -> Option<Code> {
        match self {
            Said::Code(code) => Some(code),
            Said::Sum(_) | Said::Nothing => None,
        }
    }
}

/// The request of a line that an answer is for.
pub type Asker = (u64, Id);

/// A search for a holder that sends.
#[derive(Clone, Debug)]
pub struct Search {
    /// The file and its bytes; `None` for all files that a holder has.
    pub file: Option<(Name, u64)>,
    /// Who is asked next.
    pub rest: Vec<UserId>,
    /// Whether a holder that might have it is offline, or does not answer.
    pub is_elsewhere: bool,
}

/// An owner's open run.
#[derive(Clone, Debug)]
pub struct OpenRun {
    /// Its number.
    pub id: RunId,
    /// Holders of which one is to have a copy.
    pub trusted: Vec<UserId>,
}

/// A list on its way.
#[derive(Debug)]
pub struct Listing {
    /// The request that asks for it.
    pub id: Id,
    /// What is still to be sent.
    pub files: VecDeque<Listed>,
}

/// A line of a peer.
#[derive(Debug)]
pub struct Line {
    /// The channel to its session.
    pub channel: Pipe<ToSession, FromSession>,
    /// Whom it serves.
    pub card: Card,
    /// The user's number, once the session serves.
    pub user: Option<UserId>,
    /// Which of the lines it is.
    pub number: u64,
    out: VecDeque<ToSession>,
    next: Option<Id>,
    asked: BTreeMap<Id, Asked>,
    /// The run of its owner.
    pub run: Option<OpenRun>,
    listing: Option<Listing>,
    /// The last order that its holder has got.
    pub order: i64,
    /// When it has begun to serve.
    pub since: Time,
    /// When it was looked for last whether its holder is reached.
    pub probed: Option<Instant>,
    /// The request of a holder that gets back what it has lost.
    pub reverse: Option<Id>,
    /// The holders that await its owner.
    pub tickets: HashSet<UserId>,
    /// Whether it ends once all is sent.
    pub is_over: bool,
    dirty: Dirty,
    is_dirty: bool,
}

/// The lines that have something to send, or are over.
pub type Dirty = Rc<RefCell<Vec<u64>>>;

impl Line {
    /// A new one.
    pub fn new(
        number: u64,
        card: Card,
        channel: Pipe<ToSession, FromSession>,
        dirty: &Dirty,
    ) -> Line {
        Line {
            channel,
            card,
            user: None,
            number,
            out: VecDeque::new(),
            next: Some(Id::FIRST),
            asked: BTreeMap::new(),
            run: None,
            listing: None,
            order: 0,
            since: Time::MAX,
            probed: None,
            reverse: None,
            tickets: HashSet::new(),
            is_over: false,
            dirty: Rc::clone(dirty),
            is_dirty: false,
        }
    }

    /// Has it sent what waits, and ended if it is over.
    fn mark(&mut self) {
        if !self.is_dirty {
            self.is_dirty = true;
            self.dirty.borrow_mut().push(self.number);
        }
    }

    /// Ends it once all is sent.
    pub fn end(&mut self) {
        self.is_over = true;
        self.mark();
    }

    /// Where its peer is, as the hub sees it.
    pub fn way(&self) -> Way {
        self.way_at(DEFAULT_PORT)
    }

    /// The same with a port of its own.
    pub fn way_at(&self, port: u16) -> Way {
        Way::Direct(SocketAddr::new(self.card.peer, port))
    }

    /// Sends a message, once what is before it is sent.
    pub fn say(&mut self, message: ToSession) {
        self.mark();
        self.is_over |= self.out.len() >= MOST_WAITING;
        if !self.is_over {
            self.out.push_back(message);
        }
    }

    /// Answers a request.
    pub fn answer(&mut self, id: Id, message: Message, is_last: bool) {
        let line = Sent {
            id: Some(id),
            message,
        };
        let lines = vec![line];
        self.say(ToSession::Answers { lines, is_last });
    }

    /// Sends a notice.
    pub fn notify(&mut self, notice: impl Into<Request>) {
        let message = Message::Request(notice.into());
        self.say(ToSession::Push(Sent { id: None, message }));
    }

    /// Asks its peer; the number of the request, unless as many as may wait for an
    /// answer.
    pub fn ask(&mut self, request: impl Into<Request>, asked: Asked) -> Option<Id> {
        if self.is_over || self.asked.len() >= MOST_ASKED {
            return None;
        }
        let id = self.next?;
        self.next = id.next();
        self.asked.insert(id, asked);
        let message = Message::Request(request.into());
        self.say(ToSession::Push(Sent {
            id: Some(id),
            message,
        }));
        Some(id)
    }

    /// What an answer is for.
    pub fn answered(&mut self, id: Id) -> Option<Asked> {
        self.asked.remove(&id)
    }

    /// Gives up waiting for an answer; what it is for. It may come late.
    pub fn give_up(&mut self, id: Id) -> Option<Asked> {
        let asked = self.asked.get_mut(&id)?;
        Some(std::mem::replace(asked, Asked::Nobody))
    }

    /// All that its peer has not answered.
    pub fn unanswered(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.asked).into_values().collect()
    }

    /// How many orders its holder has not answered.
    pub fn orders(&self) -> usize {
        let orders = self.asked.values();
        orders.filter(|it| matches!(it, Asked::Remove(_))).count()
    }

    /// Begins a list, unless one is on its way.
    pub fn list(&mut self, id: Id, files: Vec<Listed>) {
        if self.listing.is_some() {
            let later = Reply::Later { after: Some(1) };
            return self.answer(id, Message::Reply(later), true);
        }
        let number = u64::try_from(files.len()).ok();
        let exist = Reply::FilesExist { number };
        self.answer(id, Message::Reply(exist), false);
        self.listing = Some(Listing {
            id,
            files: files.into(),
        });
    }

    /// Sends what its session takes; whether something is left.
    ///
    /// # Errors
    /// When its session is gone.
    pub fn flush(&mut self) -> io::Result<bool> {
        self.is_dirty = false;
        loop {
            let Some(message) = self.out.front() else {
                match self.next_of_list() {
                    Some(message) => self.out.push_back(message),
                    None => return Ok(false),
                }
                continue;
            };
            match self.channel.try_send(message) {
                Ok(()) => drop(self.out.pop_front()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(e) => return Err(e),
            }
        }
    }

    /// The next part of a list that is on its way.
    fn next_of_list(&mut self) -> Option<ToSession> {
        let Listing { id, files } = self.listing.as_mut()?;
        let id = Some(*id);
        let mut left = u64::try_from(files.len()).unwrap_or(u64::MAX);
        let mut lines = Vec::with_capacity(MOST_LINES);
        for file in files.drain(..files.len().min(MOST_LINES)) {
            let index = Idx {
                size: Some(file.size),
                time: u64::try_from(file.time).ok(),
                kind: Some(file.kind),
                ..Idx::new(left, file.name)
            };
            left -= 1;
            let message = Message::Request(index.into());
            lines.push(Sent { id, message });
        }
        let is_last = files.is_empty();
        if is_last {
            self.listing = None;
        }
        Some(ToSession::Answers { lines, is_last })
    }
}
