//! What the hub asks of a holder, and what it is answered: tickets, deletions,
//! checksums.

use super::message::Work;
use super::slow::Waiting;
use super::tickets::{Expected, Right, Ticket};
use super::{Result, Stock, Time, Trouble};
use crate::holder::store::catalog::{Filed, Owner};
use crate::holder::store::shelves::Shelf;
use crate::hub::proofs::Statement;
use crate::hub::wire::request::{Acc, Let, Rcv, Rem, Req};
use crate::hub::wire::{Code, Id, Kind, Line, Message, Purpose, Reply, Request, User, Wrong};

/// How long a file stays in the trash that its owner has signed away, in seconds.
const SIGNED_AWAY: Time = 7 * 24 * 3600;

/// After how many seconds the hub asks again that has asked for too much.
const LATER: u64 = 60;

impl Stock {
    /// Does what the hub wants; the answer, where there is one at once.
    pub(super) fn order(&mut self, line: Line) -> Result<Option<Line>> {
        let Line { id, message } = line;
        let Message::Request(request) = message else {
            return Ok(None);
        };
        let Some(id) = id else {
            match self.notice(request) {
                Ok(()) => {}
                Err(e) if e.is_fatal() => return Err(e),
                Err(e) => log::error!(error:% = e; "notice of the hub"),
            }
            return Ok(None);
        };
        let answer = match request {
            Request::Rcv(it) => self.receive(it),
            Request::Let(it) => self.send(it),
            Request::Acc(it) => self.expect(it),
            Request::Rem(it) => self.delete(&it),
            Request::Req(it) => match self.check(id, &it) {
                Ok(()) => return Ok(None),
                Err(trouble) => Err(trouble),
            },
            Request::Tra(it) => self.transfer(&it),
            _ => Err(Code::NotUnderstood.into()),
        };
        let reply = match answer {
            Ok(reply) => reply,
            Err(e) if e.is_fatal() => return Err(e),
            Err(Trouble::Refused(code)) => reply_of(code),
            Err(e) => {
                log::error!(error:% = e; "order of the hub");
                reply_of(Code::Later)
            }
        };
        let message = Message::Reply(reply);
        Ok(Some(Line {
            id: Some(id),
            message,
        }))
    }

    fn notice(&mut self, notice: Request) -> Result<()> {
        match notice {
            Request::Srr(it) => return self.bring_home(it),
            Request::Stp(it) => self.stop(&it.username),
            Request::Wrn(it)
                if it.username == self.settings.user && it.reason == Some(Wrong::Refused) =>
            {
                log::warn!(
                    "the hub does not reach this keeper: let its port in at the router, or all \
                     files take the way through the hub"
                );
            }
            Request::Wrn(it) => {
                let (user, files) = (it.username.as_str(), it.files.unwrap_or(0));
                let reason = it.reason.map_or("none", |reason| reason.word());
                log::warn!(user, reason, files; "the hub warns");
            }
            _ => {}
        }
        Ok(())
    }

    /// `RCV`: a file may come, unless it is here.
    fn receive(&mut self, it: Rcv) -> Result<Reply> {
        let (Some(name), Some(size)) = (it.name, it.size) else {
            return Err(Code::NotUnderstood.into());
        };
        let kind = it.kind.unwrap_or(Kind::Data);
        if size > kind.max_size() {
            return Err(Code::NoSpace.into());
        }
        let owner = it.owner.unwrap_or_else(|| it.username.clone());
        let key = it.okey.unwrap_or(it.key);
        if let Some(known) = self.catalog.owner(&owner)? {
            if known.key != key {
                log::error!(owner = owner.as_str(); "the hub names another key of an owner");
                return Err(Code::Later.into());
            }
            let file = self.catalog.file(known.id, name)?;
            if let Some(file) = file.filter(|file| file.size == size && file.state.is_whole()) {
                self.bring_back(&known, &file)?;
                return Ok(Reply::TransferCompleted);
            }
        }
        // One that is asked for again does not count twice.
        self.tickets.used(&it.username, name);
        self.make_room(size)?;
        let expected = Expected {
            name,
            size,
            kind,
            owner,
            key,
        };
        let ticket = Ticket {
            user: it.username,
            key: it.key,
            purpose: it.purpose.unwrap_or(Purpose::Backup),
            right: Right::Send(expected),
        };
        self.admit(ticket)?;
        self.calls.add(self.errands.hub, &it.ip);
        Ok(Reply::MaySend { from: None })
    }

    fn admit(&mut self, ticket: Ticket) -> Result<()> {
        match self.tickets.add(ticket, self.now) {
            true => Ok(()),
            false => Err(Code::Later.into()),
        }
    }

    /// Takes a file out of the trash, if it is there.
    pub(super) fn bring_back(&mut self, owner: &Owner, file: &Filed) -> Result<()> {
        if file.until.is_none() {
            return Ok(());
        }
        let (from, to) = (Shelf::Trash, Shelf::Live);
        self.shelves
            .shift(from, to, &owner.key, file.kind, file.name)?;
        self.catalog.bring_back(owner.id, file.name, self.now)?;
        self.loosened(file, false);
        Ok(())
    }

    /// `LET`: a peer may fetch.
    fn send(&mut self, it: Let) -> Result<Reply> {
        let owner = self.catalog.owner(&it.username)?;
        let owner = owner.filter(|owner| owner.key == it.key);
        let has_any = match (it.name, &owner) {
            (Some(name), _) => {
                let files = self.catalog.named(name)?;
                let mut files = files.iter().filter(|file| file.state.is_there());
                files.any(|file| owner.as_ref().is_none_or(|it| it.id == file.owner))
            }
            (None, Some(owner)) => self.catalog.has_any(owner.id)?,
            (None, None) => false,
        };
        if !has_any {
            return Err(Code::NoSuchFile.into());
        }
        self.admit(Ticket {
            user: it.username,
            key: it.key,
            purpose: it.purpose.unwrap_or(Purpose::Recover),
            right: Right::Fetch(it.name),
        })?;
        self.calls.add(self.errands.hub, &it.ip);
        Ok(Reply::MaySend { from: None })
    }

    /// `ACC`: a peer whose key is known, or given, may ask for checksums.
    fn expect(&mut self, it: Acc) -> Result<Reply> {
        let known = self.catalog.owner(&it.username)?.map(|owner| owner.key);
        let key = match (known, it.key) {
            (Some(known), Some(given)) if known != given => None,
            (known, given) => known.or(given),
        };
        self.admit(Ticket {
            user: it.username,
            key: key.ok_or(Code::NoSuchUser)?,
            purpose: it.purpose.unwrap_or(Purpose::Check),
            right: Right::Check,
        })?;
        Ok(reply_of(Code::UsernameOk))
    }

    /// `STP`: no more lines of this user.
    fn stop(&mut self, user: &User) {
        self.tickets.end(user);
        self.errands.end(user);
        let theirs = self.peers.iter().filter(|(_, peer)| peer.user == *user);
        self.stopped.extend(theirs.map(|(number, _)| *number));
    }

    /// `REM`: a file goes into the trash, for a shorter time where its owner has signed
    /// that.
    fn delete(&mut self, it: &Rem) -> Result<Reply> {
        let owner = self.catalog.owner(&it.username)?;
        let file = match &owner {
            Some(owner) => self.catalog.file(owner.id, it.filename)?,
            None => None,
        };
        let Some((owner, file)) = owner.zip(file.filter(|file| file.size == it.size)) else {
            let is_anothers = !self.catalog.named(it.filename)?.is_empty();
            return Err(match is_anothers {
                true => Code::NotMine.into(),
                false => Code::NoSuchFile.into(),
            });
        };
        let is_proven = match (it.proof, it.time) {
            (None, _) => false,
            (Some(proof), Some(time)) => {
                let statement = Statement::Removal {
                    hub: &self.settings.hub,
                    owner: &owner.user,
                    name: file.name,
                    size: file.size,
                    time,
                };
                let came = u64::try_from(file.since + self.ahead).unwrap_or(0);
                if time < came || !statement.is_signed(&owner.key, &proof) {
                    return Err(Code::NotAllowed.into());
                }
                true
            }
            (Some(_), None) => return Err(Code::NotAllowed.into()),
        };
        self.discard(&owner, &file, is_proven)?;
        Ok(Reply::FileDeleted)
    }

    /// Puts a file into the trash. One in the trash stays as long as it was to, or
    /// shorter; one that is lost is forgotten.
    pub(super) fn discard(&mut self, owner: &Owner, file: &Filed, is_proven: bool) -> Result<()> {
        if !file.state.is_there() {
            return Ok(self.catalog.forget(owner.id, file.name)?);
        }
        let life = match is_proven {
            true => SIGNED_AWAY,
            false => self.settings.trash,
        };
        let mut until = self.now + life;
        match file.until {
            Some(before) => until = until.min(before),
            None => {
                let (from, to) = (Shelf::Live, Shelf::Trash);
                self.shelves
                    .shift(from, to, &owner.key, file.kind, file.name)?;
            }
        }
        let is_proven = is_proven || file.is_proven;
        self.catalog
            .discard(owner.id, file.name, until, is_proven)?;
        self.loosened(file, is_proven);
        Ok(())
    }

    /// `REQ`: a checksum, once there is time for it.
    fn check(&mut self, id: Id, it: &Req) -> Result<()> {
        let files = self.catalog.named(it.filename)?;
        let mut files = files.into_iter().filter(|file| file.state.is_there());
        let file = files.next().ok_or(Code::NoSuchFile)?;
        let work = Work::Checksum { id, key: it.key };
        match self.queue(Waiting { file, work }) {
            true => Ok(()),
            false => Err(Code::Later.into()),
        }
    }
}

/// The reply of a code that has no parameters here.
pub(super) fn reply_of(code: Code) -> Reply {
    match code {
        Code::NoSuchUser => Reply::NoSuchUser,
        Code::NoSpace => Reply::NoSpace { hub: None },
        Code::Later => Reply::Later { after: Some(LATER) },
        Code::NotMine => Reply::NotMine,
        Code::NotAllowed => Reply::NotAllowed,
        Code::NoSuchFile => Reply::NoSuchFile,
        Code::PeerNotVerified => Reply::PeerNotVerified,
        Code::UsernameOk => Reply::UsernameOk {
            version: None,
            hub: None,
            time: None,
        },
        _ => Reply::NotUnderstood,
    }
}
