//! Reverse recovery: a holder gets back from others what it has lost.

use super::Broker;
use super::care::{MOST, PATIENCE};
use super::line::{Asked, Asker, Said};
use crate::hub::book::{Account, Book, Bound, Result, Return, Sending, Time, UserId};
use crate::hub::wire::request::{Let, Rrc, Srr};
use crate::hub::wire::{Code, Name, NotStored, Purpose, Reply, Wrong};
use std::time::Instant;

impl Broker {
    /// Gives a holder back what it has lost. Answered once all has come.
    pub(super) fn give_back(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        it: &Rrc,
    ) -> Result<()> {
        let (number, id) = asker;
        let since = self.lines.get(&number).map_or(0, |line| line.since);
        let before = if it.all.is_some() { Time::MAX } else { since };
        let left = book.begin_return(user.id, before, self.now)?;
        if left == 0 {
            self.reply(asker, Reply::ReverseRecoveryDone);
            return Ok(());
        }
        let name = user.name.as_str();
        log::info!(user = name, copies = left; "keeper has lost its store");
        if let Some(line) = self.lines.get_mut(&number) {
            line.reverse = Some(id);
        }
        self.care.returning.insert(user.id);
        self.care.at = Instant::now();
        Ok(())
    }

    /// Sends for copies that holders get back.
    pub(super) fn start_returns(&mut self, book: &Book) -> Result<()> {
        let holders: Vec<UserId> = self.care.returning.iter().copied().collect();
        for holder in holders {
            let most = MOST + self.care.works.len();
            for bound in book.returns(holder, most, self.now)? {
                if self.care.works.contains_key(&bound) {
                    continue;
                }
                if !self.care.has_room() {
                    break;
                }
                self.send_for(book, bound, None)?;
            }
            self.end_return(book, holder)?;
        }
        Ok(())
    }

    /// Answers a holder whose copies have all come back, or can't now.
    fn end_return(&mut self, book: &Book, holder: UserId) -> Result<()> {
        if self.care.works.keys().any(|bound| bound.to == holder) {
            return Ok(());
        }
        let left = book.count_returns(holder)?;
        if left > 0 && !book.returns(holder, 1, self.now)?.is_empty() {
            return Ok(());
        }
        if left == 0 {
            self.care.returning.remove(&holder);
        }
        let line = self.line_of(holder);
        let asker = line.and_then(|line| Some((line.number, line.reverse.take()?)));
        let reply = match left {
            0 => Reply::ReverseRecoveryDone,
            _ => Reply::NotOnline { until: None },
        };
        if let Some(asker) = asker {
            self.reply(asker, reply);
        }
        Ok(())
    }

    /// Asks another holder to send a copy back; what became of that.
    fn send_for(&mut self, book: &Book, bound: Bound, but: Option<UserId>) -> Result<Return> {
        let found = book.return_from(&bound, but, &self.online, self.now)?;
        if let Return::From(sending) = found {
            self.care.begin(bound, sending, None);
            if !self.ask_to_lend(book, bound, &sending)? {
                self.care.works.remove(&bound);
                book.return_later(&bound, self.now)?;
                return Ok(Return::Later);
            }
        }
        Ok(found)
    }

    fn ask_to_lend(&mut self, book: &Book, bound: Bound, sending: &Sending) -> Result<bool> {
        let to = book.account(bound.to)?;
        let way = self.way_from_holder(book, bound.to, sending.source)?;
        let Some((way, key)) = way.zip(to.holder_key) else {
            return Ok(false);
        };
        let send = Let {
            name: Some(bound.name),
            size: Some(sending.size),
            purpose: Some(Purpose::Reverse),
            ..Let::new(way, to.name, key)
        };
        let source = self.holders.get(&sending.source).copied();
        Ok(self.ask(source, send, Asked::Lend(bound), self.patience))
    }

    /// Takes what a holder says about a copy that another one is to get back.
    pub(super) fn may_lend(&mut self, book: &Book, bound: Bound, said: Said) -> Result<()> {
        let Some(work) = self.care.works.get_mut(&bound) else {
            return Ok(());
        };
        let sending = work.sending;
        match said.code() {
            Some(Code::MaySend) => work.until = Some(Instant::now() + PATIENCE),
            Some(Code::NoSuchFile) => {
                let source = (sending.source, Wrong::Missing);
                self.care.works.remove(&bound);
                self.lost(book, (bound.owner, bound.name), source)?;
                return self.send_for(book, bound, None).map(drop);
            }
            _ => {
                self.care.works.remove(&bound);
                return self.send_for(book, bound, Some(sending.source)).map(drop);
            }
        }
        let owner = book.account(bound.owner)?;
        let Some(dialler) = self.holders.get(&bound.to).copied() else {
            return Ok(());
        };
        let Some((way, user, key)) = self.way_to(book, dialler, sending.source)? else {
            return Ok(());
        };
        let fetch = Srr {
            size: Some(sending.size),
            owner: Some(owner.name),
            okey: owner.key,
            kind: Some(sending.kind),
            ..Srr::new(bound.name, way, user, key)
        };
        if let Some(line) = self.line_of(bound.to) {
            line.notify(fetch);
        }
        Ok(())
    }

    /// Counts a copy that has come back.
    pub(super) fn has_returned(&mut self, book: &Book, bound: Bound) -> Result<()> {
        self.care.works.remove(&bound);
        book.moved(&bound, self.now)?;
        self.care.at = Instant::now();
        Ok(())
    }

    /// Takes a holder's word that it could not fetch a file from this one; whether
    /// another has it.
    ///
    /// # Errors
    /// `505` if it was not to, or nobody has the file any more; the database's.
    pub(super) fn has_not_returned(
        &mut self,
        book: &Book,
        holder: UserId,
        (name, source, reason): (Name, UserId, NotStored),
    ) -> Result<Reply> {
        let mut works = self.care.works.iter();
        let is_it = |(bound, work): &(&Bound, &super::care::Work)| {
            bound.name == name && bound.to == holder && work.sending.source == source
        };
        let bound = works.find(is_it).map(|(bound, _)| *bound);
        let bound = bound.ok_or(Reply::NoSuchFile)?;
        self.care.works.remove(&bound);
        let wrong = match reason {
            NotStored::Missing => Some(Wrong::Missing),
            NotStored::Corrupt => Some(Wrong::Corrupt),
            _ => None,
        };
        if let Some(wrong) = wrong {
            self.lost(book, (bound.owner, name), (source, wrong))?;
        }
        self.care.at = Instant::now();
        Ok(match self.send_for(book, bound, Some(source))? {
            Return::Lost => Reply::NoSuchFile,
            Return::From(_) | Return::Later => Reply::TransferCompleted,
        })
    }
}
