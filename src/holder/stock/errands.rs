//! Errands: files that go to another holder, and files that come back from one, because
//! the hub wants it so. For each holder that is dialled the daemon starts a carrier,
//! which gets one errand after the other; what there are too many of waits here.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use super::asks::About;
use super::message::{Coming, Dial, FromCarrier, Going, ToCarrier};
use super::peers::Taking;
use super::slow::Waiting;
use super::tickets::Expected;
use super::{Result, Stock, Time, Trouble};
use crate::holder::address::is_near;
use crate::holder::store::catalog::OwnerId;
use crate::hub::peer::introduction::Parties;
use crate::hub::wire::request::{Mov, Nst, Srr, Tra};
use crate::hub::wire::{
    Code, Exporter, Key, Kind, Line, Message, Name, NotStored, Purpose, Reply, Request, Token,
    User, Way,
};

/// The most holders that are dialled at once.
const MOST_LINES: usize = 4;

/// The most errands that wait.
const MOST_WAITING: usize = 256;

/// How long a carrier may take to start, and for a file, in seconds.
const START: Time = 30;
const PATIENCE: Time = 600;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Errand {
    /// Send this file.
    Send(OwnerId, Name),
    /// Fetch this file.
    Fetch(Expected),
}

impl Errand {
    fn name(&self) -> Name {
        match self {
            Errand::Send(_, name) => *name,
            Errand::Fetch(expected) => expected.name,
        }
    }
}

/// The holder that is dialled, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
struct To {
    user: User,
    key: Key,
    address: SocketAddr,
    /// What the relay at this address knows us by, if it is one.
    token: Option<Token>,
    purpose: Purpose,
}

/// An errand that waits, or is under way.
#[derive(Clone, Debug)]
struct Task {
    to: To,
    errand: Errand,
    /// Whether a carrier has ended half-way before.
    is_again: bool,
}

impl Task {
    fn is(&self, to: &To, errand: &Errand) -> bool {
        self.to == *to && self.errand == *errand
    }
}

/// A line that is dialled.
#[derive(Debug)]
struct Dialled {
    to: To,
    /// What is under way.
    task: Option<Task>,
    /// The file that comes.
    taking: Option<Taking>,
    /// When it is given up.
    until: Time,
    /// Whether it has had its statement.
    has_stated: bool,
}

/// All that is to be done, and the lines for it.
#[derive(Debug, Default)]
pub(super) struct Errands {
    waiting: VecDeque<Task>,
    lines: HashMap<u64, Dialled>,
    /// The number of the last line.
    last: u64,
    /// Where the hub is, once it was there.
    pub hub: Option<IpAddr>,
}

impl Errands {
    /// Bytes that may come.
    pub fn reserved(&self) -> u64 {
        let taking = self.lines.values().filter_map(|line| line.taking.as_ref());
        taking.map(Taking::size).sum()
    }

    /// Nobody goes on with this part any more.
    pub fn drop_claims(&mut self, key: &Key, name: Name) {
        for line in self.lines.values_mut() {
            line.taking.take_if(|taking| taking.is(key, name));
        }
    }

    /// Forgets what waits for a user.
    pub fn end(&mut self, user: &User) {
        self.waiting.retain(|task| task.to.user != *user);
    }

    /// Forgets what waits: the hub orders it again.
    pub fn forget(&mut self) {
        self.waiting.clear();
    }

    fn has(&self, to: &To, errand: &Errand) -> bool {
        let under_way = self.lines.values().filter_map(|line| line.task.as_ref());
        let mut all = self.waiting.iter().chain(under_way);
        all.any(|task| task.is(to, errand))
    }
}

impl Stock {
    /// `TRA`: sends a file to another holder.
    pub(super) fn transfer(&mut self, it: &Tra) -> Result<Reply> {
        for file in self.catalog.named(it.filename)? {
            let owner = self.catalog.owner_of(file.owner)?;
            let is_owner = it.owner.as_ref().is_none_or(|user| *user == owner.user)
                && it.okey.is_none_or(|key| key == owner.key);
            let is_size = it.size.is_none_or(|size| size == file.size);
            if is_owner && is_size && file.state.is_there() {
                let errand = Errand::Send(owner.id, file.name);
                self.run(&it.ip, (&it.username, it.key), errand)?;
                return Ok(Reply::MaySend { from: None });
            }
        }
        Err(Code::NoSuchFile.into())
    }

    /// `SRR`: fetches a file that is lost from another holder.
    pub(super) fn bring_home(&mut self, it: Srr) -> Result<()> {
        let (Some(size), Some(owner), Some(key)) = (it.size, it.owner, it.okey) else {
            return Ok(());
        };
        let (name, kind) = (it.filename, it.kind.unwrap_or(Kind::Data));
        let known = self.catalog.owner(&owner)?;
        let is_other = known.as_ref().is_some_and(|known| known.key != key);
        if is_other || size > kind.max_size() {
            log::error!(owner = owner.as_str(); "the hub names a file that its owner can't have");
            self.not_carried(it.username, name, NotStored::Refused);
            return Ok(());
        }
        if let Some(known) = known
            && let Some(file) = self.catalog.file(known.id, name)?
            && file.state.is_whole()
            && file.size == size
        {
            self.bring_back(&known, &file)?;
            return self.report_file(file);
        }
        let errand = Errand::Fetch(Expected {
            name,
            size,
            kind,
            owner,
            key,
        });
        match self.run(&it.ip, (&it.username, it.key), errand) {
            Err(Trouble::Refused(_)) => {
                self.not_carried(it.username, name, NotStored::Refused);
                Ok(())
            }
            done => done,
        }
    }

    /// Queues an errand. Where the way leads to an address that the hub should not know
    /// of, it is over.
    fn run(&mut self, way: &Way, (user, key): (&User, Key), errand: Errand) -> Result<()> {
        // At an address of its own network a hub leads to others there, too.
        let hub = self.errands.hub;
        let may_dial = |address: &SocketAddr| hub.is_some_and(is_near) || !is_near(address.ip());
        let (address, token) = match (way, hub) {
            (Way::Direct(address), _) if may_dial(address) => (*address, None),
            (Way::Relay { port, token, .. }, Some(hub)) => {
                (SocketAddr::new(hub, *port), Some(*token))
            }
            _ => {
                log::warn!(user = user.as_str(); "the hub has us dial an address that we don't");
                self.not_carried(user.clone(), errand.name(), NotStored::Unreachable);
                return Ok(());
            }
        };
        let purpose = match errand {
            Errand::Send(..) => Purpose::Move,
            Errand::Fetch(_) => Purpose::Reverse,
        };
        let to = To {
            user: user.clone(),
            key,
            address,
            token,
            purpose,
        };
        if self.errands.has(&to, &errand) {
            return Ok(());
        }
        if self.errands.waiting.len() >= MOST_WAITING {
            return Err(Code::Later.into());
        }
        let is_again = false;
        self.errands.waiting.push_back(Task {
            to,
            errand,
            is_again,
        });
        Ok(())
    }

    /// Tells the hub that a file has not got to another holder, or from it.
    fn not_carried(&mut self, user: User, name: Name, reason: NotStored) {
        let (peer, why) = (user.as_str(), reason.word());
        log::warn!(peer, name:?, reason = why; "file not carried");
        let request = Nst {
            name: Some(name),
            reason: Some(reason),
            ..Nst::new(user)
        };
        self.ask(request, About::Errand);
    }

    /// Lines that are to be dialled now: one to a holder, and few at once.
    pub(super) fn dials(&mut self) -> Vec<Dial> {
        let mut dials = Vec::new();
        let Errands {
            waiting,
            lines,
            last,
            ..
        } = &mut self.errands;
        while lines.len() < MOST_LINES {
            let is_new = |task: &Task| !lines.values().any(|line| line.to == task.to);
            let next = waiting.iter().position(is_new);
            let Some(task) = next.and_then(|at| waiting.remove(at)) else {
                break;
            };
            let to = task.to.clone();
            *last += 1;
            dials.push(Dial {
                number: *last,
                address: to.address,
                token: to.token,
                key: to.key,
            });
            let dialled = Dialled {
                to,
                task: Some(task),
                taking: None,
                until: self.now + START,
                has_stated: false,
            };
            lines.insert(*last, dialled);
        }
        dials
    }

    /// A carrier is there; whether it is wanted.
    pub(super) fn has_carrier(&mut self, number: u64) -> bool {
        let line = self.errands.lines.get_mut(&number);
        line.map(|line| line.until = self.now + PATIENCE).is_some()
    }

    /// A carrier is gone, or never came, for this reason.
    pub(super) fn lost_carrier(&mut self, number: u64, reason: NotStored) {
        let line = self.errands.lines.remove(&number);
        if let Some(Task { to, errand, .. }) = line.and_then(|line| line.task) {
            self.not_carried(to.user, errand.name(), reason);
        }
    }

    /// A carrier has ended without a word: another one does what it was at, once.
    pub(super) fn carrier_ended(&mut self, number: u64) {
        let line = self.errands.lines.get_mut(&number);
        let is_first = |task: &mut Task| !task.is_again;
        let task = line.and_then(|line| line.task.take_if(is_first));
        self.lost_carrier(number, NotStored::Refused);
        if let Some(task) = task {
            let (peer, name) = (task.to.user.as_str(), task.errand.name());
            log::warn!(peer, name:?; "carrier ended half-way, another one goes on");
            let is_again = true;
            self.errands.waiting.push_front(Task { is_again, ..task });
        }
    }

    /// Gives up what takes too long: the numbers of these lines.
    pub(super) fn late_carriers(&mut self) -> Vec<u64> {
        let lines = self.errands.lines.iter();
        let late = lines.filter(|(_, line)| line.until <= self.now);
        let late: Vec<u64> = late.map(|(number, _)| *number).collect();
        for number in &late {
            self.lost_carrier(*number, NotStored::Timeout);
        }
        late
    }

    /// Answers a carrier; `None` when its line is over, or it has asked for what it may
    /// not have.
    pub(super) fn hear_carrier(
        &mut self,
        number: u64,
        said: FromCarrier,
    ) -> Result<Option<ToCarrier>> {
        if !self.errands.lines.contains_key(&number) {
            return Ok(None);
        }
        let answer = match said {
            FromCarrier::Introduce(exporter) => return Ok(self.state(number, exporter)),
            FromCarrier::Next => return self.next_errand(number).map(Some),
            FromCarrier::Carried(failed) => {
                self.carried(number, failed)?;
                return self.next_errand(number).map(Some);
            }
            FromCarrier::Failed(reason) => {
                let line = self.errands.lines.get(&number);
                let task = line.and_then(|line| line.task.clone());
                self.suspect(task.map(|task| task.errand).as_ref(), reason)?;
                self.lost_carrier(number, reason);
                return Ok(None);
            }
            FromCarrier::Take(coming) => self.take_home(number, &coming),
            FromCarrier::Whole => self.keep(number),
            FromCarrier::Spoiled => self.spoil(number),
        };
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(e) if e.is_fatal() => Err(e),
            Err(Trouble::Refused(Code::NoSpace)) => Ok(Some(ToCarrier::Refused(NotStored::Full))),
            Err(Trouble::Refused(_)) => Ok(Some(ToCarrier::Refused(NotStored::Refused))),
            Err(e) => {
                log::error!(error:% = e; "file not taken");
                Ok(Some(ToCarrier::Refused(NotStored::Full)))
            }
        }
    }

    /// Signs who is here, for that connection, once.
    fn state(&mut self, number: u64, exporter: Exporter) -> Option<ToCarrier> {
        let time = self.hub_time();
        let line = self.errands.lines.get_mut(&number)?;
        if std::mem::replace(&mut line.has_stated, true) {
            return None;
        }
        let parties = Parties {
            own: self.settings.user.clone(),
            other: line.to.user.clone(),
            key: line.to.key,
            time,
        };
        let statement = parties.introduce(line.to.purpose, exporter, &self.keys);
        statement.ok().map(|statement| {
            let message = Message::Request(Request::Ds1(statement));
            ToCarrier::Statement(Line { id: None, message })
        })
    }

    /// The errand of a line, or the next one for the same holder.
    fn next_errand(&mut self, number: u64) -> Result<ToCarrier> {
        loop {
            let until = self.now + PATIENCE;
            let Errands { waiting, lines, .. } = &mut self.errands;
            let Some(line) = lines.get_mut(&number) else {
                return Ok(ToCarrier::End);
            };
            if line.task.is_none() {
                let next = waiting.iter().position(|task| task.to == line.to);
                line.task = next.and_then(|at| waiting.remove(at));
            }
            line.until = until;
            let Some(task) = line.task.clone() else {
                lines.remove(&number);
                return Ok(ToCarrier::End);
            };
            match self.begin(&task.errand) {
                Ok(begun) => return Ok(begun),
                Err(e) if e.is_fatal() => return Err(e),
                Err(Trouble::Refused(_)) => self.carried(number, Some(NotStored::Missing))?,
                Err(e) => {
                    log::error!(error:% = e; "file not sent");
                    self.carried(number, Some(NotStored::Refused))?;
                }
            }
        }
    }

    fn begin(&mut self, errand: &Errand) -> Result<ToCarrier> {
        let (owner, name) = match errand {
            Errand::Send(owner, name) => (*owner, *name),
            Errand::Fetch(it) => {
                let (name, size) = (it.name, it.size);
                return Ok(ToCarrier::Fetch { name, size });
            }
        };
        let file = self.catalog.file(owner, name)?;
        let file = file.filter(|file| file.state.is_there());
        let file = file.ok_or(Code::NoSuchFile)?;
        let owner = self.catalog.owner_of(owner)?;
        let opened = self.open(&owner, &file)?;
        Ok(ToCarrier::Send(Going {
            file: opened.into(),
            name,
            size: file.size,
            kind: file.kind,
            sig: file.sig,
            owner: owner.user,
            okey: owner.key,
        }))
    }

    /// Takes note of what has come of an errand, and reports it.
    fn carried(&mut self, number: u64, failed: Option<NotStored>) -> Result<()> {
        let Some(line) = self.errands.lines.get_mut(&number) else {
            return Ok(());
        };
        let Some(Task { to, errand, .. }) = line.task.take() else {
            return Ok(());
        };
        let (user, name) = (to.user, errand.name());
        match (failed, &errand) {
            (Some(reason), _) => {
                self.suspect(Some(&errand), reason)?;
                self.not_carried(user, name, reason);
            }
            (None, Errand::Send(..)) => {
                log::info!(peer = user.as_str(), name:?; "file sent to a keeper");
                let moved = Mov::new(name, self.settings.user.clone(), user);
                self.ask(moved, About::Errand);
            }
            // It was reported as it came.
            (None, Errand::Fetch(_)) => {
                log::info!(peer = user.as_str(), name:?; "file fetched from a keeper");
            }
        }
        Ok(())
    }

    /// Has a file read that the other holder could not take for what its name says.
    fn suspect(&mut self, errand: Option<&Errand>, reason: NotStored) -> Result<()> {
        if let Some(Errand::Send(owner, name)) = errand
            && reason == NotStored::Corrupt
            && let Some(file) = self.catalog.file(*owner, *name)?
        {
            let work = super::message::Work::Name;
            self.slow.push_front(Waiting { file, work });
        }
        Ok(())
    }

    /// A part for the file that was asked for, if its owner has signed it.
    fn take_home(&mut self, number: u64, coming: &Coming) -> Result<ToCarrier> {
        let line = self.errands.lines.get(&number);
        let task = line.and_then(|line| line.task.clone());
        let Some(Errand::Fetch(it)) = task.map(|task| task.errand) else {
            return Err(Code::NotMine.into());
        };
        if coming.name != it.name || coming.size != it.size {
            return Err(Code::NotMine.into());
        }
        self.make_room(it.size)?;
        let (taking, part, from) = self.open_part(it, coming.sig)?;
        if let Some(line) = self.errands.lines.get_mut(&number) {
            line.taking = Some(taking);
        }
        Ok(ToCarrier::Part { part, from })
    }

    fn taking(&mut self, number: u64) -> Result<Taking> {
        let line = self.errands.lines.get_mut(&number);
        let taking = line.and_then(|line| line.taking.take());
        Ok(taking.ok_or(Code::NoSuchFile)?)
    }

    fn keep(&mut self, number: u64) -> Result<ToCarrier> {
        let taking = self.taking(number)?;
        let file = self.put_away(&taking)?;
        self.report_file(file)?;
        Ok(ToCarrier::Done)
    }

    fn spoil(&mut self, number: u64) -> Result<ToCarrier> {
        let taking = self.taking(number)?;
        self.drop_part(&taking)?;
        Ok(ToCarrier::Done)
    }
}
