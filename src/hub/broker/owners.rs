//! Runs of owners: a file is placed, its holders are asked, and the owner hears where
//! each copy goes.

use super::Broker;
use super::events::Event;
use super::line::{Asked, Asker, OpenRun};
use crate::hub::book::{Account, Book, NewRun, Placed, Removal, Result, Trouble, UserId, Wish};
use crate::hub::wire::request::{Bck, Del, Dfi, Dst, Nfi, Nst, Pix, Put, Rcv};
use crate::hub::wire::{
    Code, CopyNumber, Factor, Flag, Kind, Message, Name, NotStored, Purpose, Reply, Request, Role,
    RunId, Spread, Wrong,
};

/// Copies of a file that a request of an owner waits for.
#[derive(Clone, Debug)]
pub struct Placing {
    owner: UserId,
    run: OpenRun,
    size: u64,
    kind: Kind,
    factor: Option<Factor>,
    /// How many of them have no answer yet.
    left: usize,
    /// Where the copies go that holders are asked about.
    at: Vec<(UserId, CopyNumber)>,
    /// Whether the file has all of its copies.
    is_complete: bool,
    /// Whether the file takes a place in the run's window.
    counts: bool,
}

impl Placing {
    fn wish(&self, name: Name) -> Wish<'_> {
        Wish {
            owner: self.owner,
            run: self.run.id,
            name,
            size: self.size,
            kind: self.kind,
            factor: self.factor,
            trusted: &self.run.trusted,
        }
    }
}

/// A number that nobody can foresee.
pub(super) fn random() -> u64 {
    getrandom::u64().unwrap_or(0)
}

impl Broker {
    pub(super) fn begin(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        it: Bck,
    ) -> Result<()> {
        let (number, _) = asker;
        let mut id = RunId([0; 16]);
        match it.run {
            Some(run) => id = run,
            None => getrandom::fill(&mut id.0).map_err(|_| Reply::Later { after: Some(1) })?,
        }
        let mut trusted = Vec::new();
        for name in it.trust.iter().flat_map(|trusted| &trusted.holders) {
            trusted.extend(book.find_user(name)?.map(|user| user.id));
        }
        let new = NewRun {
            id,
            owner: user.id,
            size: it.size,
            files: it.number_of_files,
            factor: it.factor,
            is_chain: it.spread == Some(Spread::Chain),
            is_exclusive: it.exclusive.is_some(),
        };
        let begun = self.want_room();
        let begun = begun.and_then(|()| book.begin(&new, &self.online, self.now));
        if let Err(Trouble::Sql(_)) = begun {
            return begun.map(drop);
        }
        // What is left comes first, also before a refusal.
        self.say_space(book, number)?;
        let runs = begun?;
        let Some(line) = self.lines.get_mut(&number) else {
            return Ok(());
        };
        line.run = Some(OpenRun { id, trusted });
        let reply = Reply::MayBegin {
            window: Some(self.window),
            run: Some(id),
            runs: Some(runs),
        };
        self.reply(asker, reply);
        Ok(())
    }

    /// Refuses what is new while the hub's disk is full.
    fn want_room(&mut self) -> Result<()> {
        match self.room.is_left() {
            true => Ok(()),
            false => Err(Reply::NoSpace { hub: Some(Flag) }.into()),
        }
    }

    fn run_of(&self, number: u64) -> Result<OpenRun> {
        let run = self.lines.get(&number).and_then(|line| line.run.clone());
        run.ok_or(Trouble::Refused(Reply::NotAllowed))
    }

    pub(super) fn put(&mut self, book: &Book, asker: Asker, user: &Account, it: Put) -> Result<()> {
        let wanted = (it.filename, it.filesize, Kind::Data, None);
        self.place(book, asker, user, wanted)
    }

    pub(super) fn put_other(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        it: Pix,
    ) -> Result<()> {
        let kind = it.kind.unwrap_or(Kind::Index);
        if kind == Kind::Data {
            return Err(Reply::NotAllowed.into());
        }
        let wanted = (it.filename, it.filesize, kind, Some(it.factor));
        self.place(book, asker, user, wanted)
    }

    fn place(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        (name, size, kind, factor): (Name, u64, Kind, Option<Factor>),
    ) -> Result<()> {
        let mut placing = Placing {
            owner: user.id,
            run: self.run_of(asker.0)?,
            size,
            kind,
            factor,
            left: 0,
            at: Vec::new(),
            is_complete: false,
            counts: true,
        };
        self.want_room()?;
        let wish = placing.wish(name);
        let placed = book.place(&wish, &self.online, &mut random, self.now)?;
        placing.left = placed.len();
        let is_there = |it: &Placed| matches!(it, Placed::There(_));
        placing.is_complete = placed.iter().all(is_there);
        self.placings.insert((asker, name), placing);
        for copy in placed {
            self.place_copy(book, (asker, name), copy)?;
        }
        Ok(())
    }

    /// Answers a request about one copy, or asks the holder about it first. One that
    /// can't be asked is as good as offline.
    fn place_copy(&mut self, book: &Book, of: (Asker, Name), mut placed: Placed) -> Result<()> {
        loop {
            let (holder, number) = match placed {
                Placed::There(_) => return self.settle_copy(of, Reply::TransferCompleted),
                Placed::Nowhere => return self.settle_copy(of, Reply::NoHolder { missing: None }),
                Placed::At(holder, number) => (holder, number),
            };
            let Some(placing) = self.placings.get_mut(&of) else {
                return Ok(());
            };
            placing.at.push((holder, number));
            let placing = placing.clone();
            if self.ask_to_receive(book, of, &placing, holder)? {
                return Ok(());
            }
            if let Some(placing) = self.placings.get_mut(&of) {
                placing.at.retain(|(it, _)| *it != holder);
            }
            placed = self.elsewhere(book, of, (holder, NotStored::Unreachable), number)?;
        }
    }

    fn ask_to_receive(
        &mut self,
        book: &Book,
        of: (Asker, Name),
        placing: &Placing,
        holder: UserId,
    ) -> Result<bool> {
        let ((number, _), name) = of;
        let owner = book.account(placing.owner)?;
        let way = self.way_from(book, number, holder)?;
        let Some((way, key)) = way.zip(owner.key) else {
            return Ok(false);
        };
        let receive = Rcv {
            name: Some(name),
            size: Some(placing.size),
            kind: Some(placing.kind),
            purpose: Some(Purpose::Backup),
            ..Rcv::new(way, owner.name, key)
        };
        let to = self.holders.get(&holder).copied();
        let (asker, name) = of;
        Ok(self.ask(to, receive, Asked::Receive(asker, name), self.patience))
    }

    /// Another place for the copy of this number that this holder does not get.
    fn elsewhere(
        &mut self,
        book: &Book,
        of: (Asker, Name),
        failed: (UserId, NotStored),
        number: CopyNumber,
    ) -> Result<Placed> {
        let Some(placing) = self.placings.get(&of) else {
            return Ok(Placed::Nowhere);
        };
        let wish = placing.wish(of.1);
        match book.not_stored(&wish, failed, &self.online, random(), self.now) {
            Ok(Placed::At(holder, _)) => Ok(Placed::At(holder, number)),
            Err(Trouble::Refused(_)) => Ok(Placed::Nowhere),
            placed => placed,
        }
    }

    /// Takes what a holder says about a copy that is to come.
    pub(super) fn may_receive(
        &mut self,
        book: &Book,
        holder: UserId,
        of: (Asker, Name),
        answer: Option<Code>,
    ) -> Result<()> {
        let Some(placing) = self.placings.get_mut(&of) else {
            return Ok(());
        };
        let at = placing.at.iter().position(|(it, _)| *it == holder);
        let Some((_, number)) = at.map(|at| placing.at.swap_remove(at)) else {
            return Ok(());
        };
        let owner = placing.owner;
        let reason = match answer {
            Some(Code::MaySend) => {
                return match self.way_to(book, of.0.0, holder)? {
                    Some((way, user, key)) => {
                        let goes = Dst::new(of.1, way, user, key, number);
                        if let Some(line) = self.lines.get_mut(&of.0.0) {
                            line.tickets.insert(holder);
                        }
                        self.settle_copy(of, Request::Dst(goes))
                    }
                    None => {
                        let failed = (holder, NotStored::Unreachable);
                        let placed = self.elsewhere(book, of, failed, number)?;
                        self.place_copy(book, of, placed)
                    }
                };
            }
            Some(Code::TransferCompleted) => match book.has_copy(owner, of.1, holder, self.now) {
                Ok(counted) => {
                    placing.is_complete |= counted.is_complete;
                    return self.settle_copy(of, Reply::TransferCompleted);
                }
                Err(Trouble::Refused(_)) => NotStored::Refused,
                Err(trouble) => return Err(trouble),
            },
            Some(Code::NoSpace) => {
                book.doubt(holder, self.now)?;
                NotStored::Full
            }
            Some(_) => NotStored::Refused,
            None => NotStored::Timeout,
        };
        let placed = self.elsewhere(book, of, (holder, reason), number)?;
        self.place_copy(book, of, placed)
    }

    /// Answers for one copy. The last one ends the request, and makes room in the run's
    /// window if all copies are there.
    fn settle_copy(&mut self, of: (Asker, Name), answer: impl Into<Message>) -> Result<()> {
        let (asker, _) = of;
        let Some(placing) = self.placings.get_mut(&of) else {
            return Ok(());
        };
        placing.left = placing.left.saturating_sub(1);
        let is_last = placing.left == 0;
        self.say(asker, answer.into(), is_last);
        if is_last
            && let Some(placing) = self.placings.remove(&of)
            && placing.is_complete
            && placing.counts
            && let Some(line) = self.lines.get_mut(&asker.0)
        {
            line.notify(Nfi::new());
        }
        Ok(())
    }

    pub(super) fn stored(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        it: Dfi,
    ) -> Result<()> {
        let (number, _) = asker;
        let is_base = self.is_base(number);
        let is_own = is_base && it.username == user.name;
        if is_own || self.role(number) == Some(Role::Holder) {
            return self.reported(book, asker, user, &it);
        }
        let counted = match is_base {
            // Version 1.0 has no receipts.
            true => {
                let holder = book.find_user(&it.username)?.ok_or(Reply::NoSuchFile)?;
                book.has_copy(user.id, it.filename, holder.id, self.now)?
            }
            false => {
                let receipt = it.receipt.ok_or(Reply::NoSuchFile)?;
                book.stored(user, it.filename, &it.username, &receipt, self.now)?
            }
        };
        self.reply(asker, Reply::TransferCompleted);
        if counted.is_new
            && counted.is_complete
            && let Some(line) = self.lines.get_mut(&number)
        {
            line.notify(Nfi::new());
        }
        Ok(())
    }

    pub(super) fn not_stored(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        it: Nst,
    ) -> Result<()> {
        let (number, _) = asker;
        if self.role(number) == Some(Role::Holder) {
            return self.not_passed_on(book, asker, user, it);
        }
        let holder = book.find_user(&it.username)?.ok_or(Reply::NoSuchFile)?;
        let name = it.name.ok_or(Reply::NoSuchFile)?;
        if self.is_base(number) && self.is_between(user.id, (name, holder.id)) {
            return self.not_passed_on(book, asker, user, it);
        }
        let failed = (holder.id, it.reason.unwrap_or(NotStored::Refused));
        if self.run_of(number).is_err() {
            return self.not_sent(book, asker, user, name, failed);
        }
        let placing = Placing {
            owner: user.id,
            run: self.run_of(number)?,
            size: 0,
            kind: Kind::Data,
            factor: None,
            left: 1,
            at: Vec::new(),
            is_complete: false,
            counts: false,
        };
        self.want_room()?;
        let wish = placing.wish(name);
        let placed = book.not_stored(&wish, failed, &self.online, random(), self.now)?;
        let file = book.any_file(user.id, name)?.ok_or(Reply::NoSuchFile)?;
        let (size, kind) = (file.size, file.kind);
        let placing = Placing {
            size,
            kind,
            ..placing
        };
        self.placings.insert((asker, name), placing);
        self.place_copy(book, (asker, name), placed)
    }

    pub(super) fn finish(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        run: Option<RunId>,
    ) -> Result<()> {
        let (number, _) = asker;
        let run = run.map_or_else(|| self.run_of(number).map(|run| run.id), Ok)?;
        book.finish(run, user.id)?;
        // What was lost is not known any more, so this run has sent it again.
        book.unwarn(user.id, Wrong::Missing)?;
        self.end_run(number, run);
        let time = u64::try_from(self.now).ok();
        self.reply(asker, Reply::UpdateDone { time });
        self.say_space(book, number)
    }

    pub(super) fn abort(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        run: Option<RunId>,
    ) -> Result<()> {
        let (number, _) = asker;
        let run = run.or_else(|| self.run_of(number).ok().map(|run| run.id));
        if let Some(run) = run {
            book.abort(run, user.id)?;
            self.end_run(number, run);
        }
        let line = self.lines.get(&number);
        let tickets = line.map(|line| line.tickets.clone()).unwrap_or_default();
        for holder in tickets {
            self.end_ticket(number, holder);
        }
        self.reply(asker, Reply::Aborted);
        Ok(())
    }

    /// Takes note that the run of a line is over.
    fn end_run(&mut self, number: u64, run: RunId) {
        if let Some(line) = self.lines.get_mut(&number) {
            line.run.take_if(|open| open.id == run);
        }
    }

    pub(super) fn delete(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        it: Del,
    ) -> Result<()> {
        let holders = match self.is_base(asker.0) {
            true => book.delete_unproved(user, it.filename, self.now)?,
            false => {
                let proof = it.proof.zip(it.time);
                let (proof, time) = proof.ok_or(Reply::NotAllowed)?;
                let removal = Removal {
                    name: it.filename,
                    proof,
                    time,
                };
                book.delete(user, &removal, self.now)?
            }
        };
        if user.is_append_only {
            self.events.push(Event::Pruned {
                owner: user.name.clone(),
                name: it.filename,
            });
        }
        self.reply(asker, Reply::FileDeleted);
        self.say_space(book, asker.0)?;
        for holder in holders {
            self.give_orders(book, holder)?;
        }
        Ok(())
    }
}
