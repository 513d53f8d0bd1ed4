//! Files are healed with no owner online: a holder that has a copy sends it to another
//! one, both are compared, and the copy counts. So it is with the files of a holder that
//! leaves.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::audit::Audit;
use super::events::Event;
use super::line::{Asked, Asker, Said};
use super::owners::random;
use super::{Broker, audit};
use crate::hub::book::{Account, Book, Bound, Plan, Result, Sending, Time, Uncounted, UserId};
use crate::hub::wire::request::{Mov, Rcv, Tra, Wrn};
use crate::hub::wire::{Code, Name, NotStored, Purpose, Reply, Wrong};

/// The most copies that go from holder to holder at once.
pub(super) const MOST: usize = 64;

/// How long one may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// How many moves that are done are remembered.
const RECENT: usize = 1024;

/// How often one looks after copies while there is something to do, and else at most.
const BUSY: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(10);

/// What the operator has set.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// After how many seconds owners are warned of a holder that is away.
    pub warn_after: Time,
    /// After how many it is gone.
    pub gone_after: Time,
    /// How many bytes a second holders send each other.
    pub heal_rate: u64,
    /// In how many seconds a day's audits are done.
    pub audit_cycle: Time,
}

/// Copies on their way between holders.
#[derive(Debug)]
pub(super) struct Care {
    terms: Terms,
    pub works: HashMap<Bound, Work>,
    pub audits: HashMap<u64, Audit>,
    /// The number of the next audit.
    pub next: u64,
    /// Holders that get back what they have lost.
    pub returning: HashSet<UserId>,
    /// Holders that were gone and have copies that do not count yet.
    pub back: HashSet<UserId>,
    /// Moves that are done: who has sent which file to whom.
    recent: VecDeque<(UserId, Name, UserId)>,
    /// When one looks again.
    pub at: Instant,
    /// How many bytes may be sent now.
    budget: f64,
    filled: Instant,
}

/// A copy on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    /// Who sends it, and what it is.
    pub sending: Sending,
    /// Whose copy it is to replace.
    pub old: Option<UserId>,
    /// When it is given up; `None` while somebody is asked.
    pub until: Option<Instant>,
}

/// Why a copy has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// Its holder has not taken it.
    Taker,
    /// Another source, or another holder, may do.
    Once,
    /// It has to wait.
    ForNow,
}

impl Care {
    pub fn new(terms: Terms) -> Care {
        Care {
            terms,
            works: HashMap::new(),
            audits: HashMap::new(),
            next: 1,
            returning: HashSet::new(),
            back: HashSet::new(),
            recent: VecDeque::new(),
            at: Instant::now(),
            budget: 0.0,
            filled: Instant::now(),
        }
    }

    /// The cycle of audits, in seconds.
    pub fn audit_cycle(&self) -> Time {
        self.terms.audit_cycle
    }

    /// Whether one more copy may be sent now.
    pub fn has_room(&mut self) -> bool {
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let rate = self.terms.heal_rate as f64;
        let since = self.filled.elapsed().as_secs_f64();
        self.budget = (self.budget + since * rate).min(rate);
        self.filled = Instant::now();
        self.budget > 0.0 && self.works.len() < MOST
    }

    /// Begins to send a copy.
    pub fn begin(&mut self, bound: Bound, sending: Sending, old: Option<UserId>) {
        #[allow(clippy::cast_precision_loss, reason = "at most 64 MiB")]
        let size = sending.size as f64;
        self.budget -= size;
        let until = None;
        let work = Work {
            sending,
            old,
            until,
        };
        self.works.insert(bound, work);
    }

    /// Whether there is something to look after.
    fn is_busy(&self) -> bool {
        !self.works.is_empty() || !self.returning.is_empty() || !self.back.is_empty()
    }

    /// How long one may wait before one looks again, with nothing to do.
    fn idle(&self) -> Duration {
        let Terms {
            warn_after,
            gone_after,
            audit_cycle,
            ..
        } = self.terms;
        let least = warn_after.min(gone_after).min(audit_cycle) / 2;
        Duration::from_secs(u64::try_from(least).unwrap_or(0)).clamp(BUSY, IDLE)
    }
}

impl Broker {
    /// Does what is due for copies; when there is more.
    pub(super) fn look_after(&mut self, book: &Book) -> Result<Instant> {
        let at = Instant::now();
        if at < self.care.at && !book.was_stirred() {
            return Ok(self.care.at);
        }
        self.look_again(book)?;
        self.relays.expire();
        if self.is_rebuilt {
            // Nobody has said yet what is where.
            self.care.at = at + IDLE;
            return Ok(self.care.at);
        }
        self.end_works(book, at)?;
        self.note_absent(book)?;
        book.move_off(self.now)?;
        self.take_back(book)?;
        self.start_heals(book)?;
        self.start_returns(book)?;
        self.start_audits(book)?;
        let wait = match book.next_heal()? {
            _ if book.was_stirred() => Duration::ZERO,
            Some(due) if due <= self.now => BUSY,
            _ if self.care.is_busy() => BUSY,
            Some(due) => Duration::from_secs(u64::try_from(due - self.now).unwrap_or(0)),
            None => self.care.idle(),
        };
        self.care.at = at + wait.min(self.care.idle());
        Ok(self.care.at)
    }

    /// Gives up copies that take too long.
    fn end_works(&mut self, book: &Book, at: Instant) -> Result<()> {
        let is_over = |work: &Work| work.until.is_some_and(|until| until <= at);
        let works = self.care.works.iter().filter(|(_, work)| is_over(work));
        let over: Vec<Bound> = works.map(|(bound, _)| *bound).collect();
        for bound in over {
            self.fail(book, bound, Failed::ForNow)?;
        }
        Ok(())
    }

    /// Takes note of holders that have been away for long.
    fn note_absent(&mut self, book: &Book) -> Result<()> {
        let Terms {
            warn_after,
            gone_after,
            ..
        } = self.care.terms;
        let (warned, gone) = book.note_absent(&self.online, (warn_after, gone_after), self.now)?;
        for owner in warned {
            self.say_warnings(book, owner, Some(Wrong::Gone))?;
        }
        for holder in gone {
            let user = book.account(holder)?.name;
            log::warn!(user = user.as_str(); "keeper gone, its files are healed");
        }
        Ok(())
    }

    /// Sends an owner the warnings that stand: all, or those of a kind.
    pub(super) fn say_warnings(
        &mut self,
        book: &Book,
        owner: UserId,
        only: Option<Wrong>,
    ) -> Result<()> {
        let mut warnings = book.warnings(owner)?;
        warnings.retain(|warning| only.is_none_or(|only| warning.reason == only));
        for line in self.owners_lines(owner) {
            for warning in &warnings {
                line.notify(Wrn::from(warning.clone()));
            }
        }
        Ok(())
    }

    /// Counts the copies again of holders that were gone, or has them removed.
    fn take_back(&mut self, book: &Book) -> Result<()> {
        let holders: Vec<UserId> = self.care.back.iter().copied().collect();
        for holder in holders {
            if !self.online.contains(&holder) || !book.has_uncounted(holder)? {
                self.care.back.remove(&holder);
                continue;
            }
            let mut has_orders = false;
            for copy in book.uncounted(holder, self.now)? {
                match book.take_back(&copy, &self.online, self.now)? {
                    Uncounted::Surplus => has_orders = true,
                    Uncounted::Counts | Uncounted::Later => {}
                    Uncounted::Compare(other) => {
                        self.compare(book, copy, other, audit::Why::Back)?;
                    }
                }
            }
            if has_orders {
                self.care.at = Instant::now();
                self.give_orders(book, holder)?;
            }
        }
        Ok(())
    }

    fn start_heals(&mut self, book: &Book) -> Result<()> {
        let most = MOST + self.care.works.len();
        for (owner, name) in book.to_heal(most, self.now)? {
            let is_it = |bound: &Bound| bound.owner == owner && bound.name == name;
            if !self.care.works.keys().any(is_it) {
                if !self.care.has_room() {
                    break;
                }
                self.heal(book, owner, name)?;
            }
        }
        Ok(())
    }

    /// Takes the next step for a file that is to be healed.
    fn heal(&mut self, book: &Book, owner: UserId, name: Name) -> Result<()> {
        match book.plan(owner, name, (&self.online, random()), self.now)? {
            Plan::Later => Ok(()),
            Plan::Done(holders) => holders
                .into_iter()
                .try_for_each(|holder| self.give_orders(book, holder)),
            Plan::Move(bound, sending, old) => {
                self.care.begin(bound, sending, old);
                match self.ask_to_take(book, bound, &sending)? {
                    true => Ok(()),
                    false => self.fail(book, bound, Failed::ForNow),
                }
            }
        }
    }

    fn ask_to_take(&mut self, book: &Book, bound: Bound, sending: &Sending) -> Result<bool> {
        let (owner, source) = (book.account(bound.owner)?, book.account(sending.source)?);
        let way = self.way_from_holder(book, sending.source, bound.to)?;
        let Some((way, key)) = way.zip(source.holder_key) else {
            return Ok(false);
        };
        let receive = Rcv {
            name: Some(bound.name),
            size: Some(sending.size),
            kind: Some(sending.kind),
            owner: Some(owner.name),
            okey: owner.key,
            purpose: Some(Purpose::Move),
            ..Rcv::new(way, source.name, key)
        };
        let to = self.holders.get(&bound.to).copied();
        Ok(self.ask(to, receive, Asked::Take(bound), self.patience))
    }

    /// Takes what a holder says about a copy that another one is to send.
    pub(super) fn may_take(&mut self, book: &Book, bound: Bound, said: Said) -> Result<()> {
        let Some(work) = self.care.works.get(&bound).copied() else {
            return Ok(());
        };
        match said.code() {
            Some(Code::MaySend) => match self.ask_to_give(book, bound, &work)? {
                true => Ok(()),
                false => self.fail(book, bound, Failed::ForNow),
            },
            Some(Code::TransferCompleted) => self.has_come(book, bound),
            None if !self.online.contains(&bound.to) => self.fail(book, bound, Failed::Once),
            _ => self.fail(book, bound, Failed::Taker),
        }
    }

    fn ask_to_give(&mut self, book: &Book, bound: Bound, work: &Work) -> Result<bool> {
        let Some(dialler) = self.holders.get(&work.sending.source).copied() else {
            return Ok(false);
        };
        let Some((way, user, key)) = self.way_to(book, dialler, bound.to)? else {
            return Ok(false);
        };
        let owner = book.account(bound.owner)?;
        let old = work.old.map(|old| book.account(old)).transpose()?;
        let send = Tra {
            size: Some(work.sending.size),
            owner: Some(owner.name),
            okey: owner.key,
            old: old.map(|old| old.name),
            ..Tra::new(bound.name, way, user, key)
        };
        Ok(self.ask(Some(dialler), send, Asked::Give(bound), self.patience))
    }

    /// Takes what the sender says about that.
    pub(super) fn may_give(&mut self, book: &Book, bound: Bound, said: Said) -> Result<()> {
        let Some(work) = self.care.works.get_mut(&bound) else {
            return Ok(());
        };
        match said.code() {
            Some(Code::MaySend) => {
                work.until = Some(Instant::now() + PATIENCE);
                Ok(())
            }
            Some(Code::NoSuchFile) => {
                let source = work.sending.source;
                self.lost(book, (bound.owner, bound.name), (source, Wrong::Missing))?;
                self.fail(book, bound, Failed::Once)
            }
            _ => self.fail(book, bound, Failed::ForNow),
        }
    }

    /// Takes a sender's word that it has sent a file to another holder.
    pub(super) fn has_moved(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        it: &Mov,
    ) -> Result<()> {
        let to = book.find_user(&it.new_username)?.ok_or(Reply::NoSuchFile)?;
        let name = it.filename;
        let mut works = self.care.works.iter();
        let work = works.find(|(bound, _)| bound.name == name && bound.to == to.id);
        let is_known = match work {
            Some((_, work)) if work.sending.source != user.id => return Err(Reply::NotMine.into()),
            Some(_) => true,
            None => self.care.recent.contains(&(user.id, name, to.id)),
        };
        if !is_known {
            return Err(Reply::NoSuchFile.into());
        }
        let time = u64::try_from(self.now).ok();
        self.reply(asker, Reply::UpdateDone { time });
        Ok(())
    }

    /// Takes a sender's word that it could not send a file to this holder; whether it
    /// was to.
    pub(super) fn has_not_moved(
        &mut self,
        book: &Book,
        sender: UserId,
        (name, to, reason): (Name, UserId, NotStored),
    ) -> Result<bool> {
        let is_it = |(bound, work): &(&Bound, &Work)| {
            bound.name == name && bound.to == to && work.sending.source == sender
        };
        let Some(bound) = self.care.works.iter().find(is_it).map(|(bound, _)| *bound) else {
            return Ok(false);
        };
        let wrong = match reason {
            NotStored::Missing => Wrong::Missing,
            NotStored::Corrupt => Wrong::Corrupt,
            _ => return self.fail(book, bound, Failed::Taker).map(|()| true),
        };
        self.lost(book, (bound.owner, name), (sender, wrong))?;
        self.fail(book, bound, Failed::Once)?;
        Ok(true)
    }

    /// Compares a copy that has come with the one it was made of.
    pub(super) fn has_come(&mut self, book: &Book, bound: Bound) -> Result<()> {
        // After a new start the holder is asked again.
        let Some(work) = self.care.works.get_mut(&bound) else {
            return Ok(());
        };
        work.until = None;
        let source = work.sending.source;
        self.compare(book, bound, source, audit::Why::Moved)
    }

    /// Counts a copy that has come, and takes the next step for its file.
    pub(super) fn count_moved(&mut self, book: &Book, bound: Bound) -> Result<()> {
        let Some(work) = self.care.works.remove(&bound) else {
            return Ok(());
        };
        book.moved(&bound, self.now)?;
        let (source, to) = (work.sending.source, bound.to);
        self.care.recent.push_back((source, bound.name, to));
        if self.care.recent.len() > RECENT {
            self.care.recent.pop_front();
        }
        let old = book.account(work.old.unwrap_or(source))?.name;
        let new = book.account(to)?.name;
        for line in self.owners_lines(bound.owner) {
            line.notify(Mov::new(bound.name, old.clone(), new.clone()));
        }
        self.events.push(Event::Healed {
            owner: book.account(bound.owner)?.name,
            name: bound.name,
            size: work.sending.size,
            old,
            new,
        });
        self.care.at = Instant::now();
        self.heal(book, bound.owner, bound.name)
    }

    /// Gives up a copy that was on its way.
    pub(super) fn fail(&mut self, book: &Book, bound: Bound, why: Failed) -> Result<()> {
        if self.care.works.remove(&bound).is_none() {
            return Ok(());
        }
        if book.is_returning(&bound)? {
            return book.return_later(&bound, self.now);
        }
        book.not_moved(&bound, why == Failed::Taker, self.now)?;
        match why {
            Failed::Taker | Failed::Once => self.care.at = Instant::now(),
            Failed::ForNow => book.heal_later(bound.owner, bound.name, self.now)?,
        }
        Ok(())
    }

    /// Takes note that a holder, which has gone, neither sends nor takes.
    pub(super) fn fail_all_of(&mut self, book: &Book, holder: UserId) -> Result<()> {
        let of =
            |(bound, work): &(&Bound, &Work)| bound.to == holder || work.sending.source == holder;
        let works = self.care.works.iter().filter(of);
        let works: Vec<Bound> = works.map(|(bound, _)| *bound).collect();
        for bound in works {
            self.fail(book, bound, Failed::Once)?;
        }
        Ok(())
    }

    /// Takes note that a holder has lost a copy, and warns its owner.
    pub(super) fn lost(
        &mut self,
        book: &Book,
        (owner, name): (UserId, Name),
        (holder, wrong): (UserId, Wrong),
    ) -> Result<()> {
        let reason = match wrong {
            Wrong::Corrupt => NotStored::Corrupt,
            _ => NotStored::Missing,
        };
        book.give_up(owner, name, (holder, reason), self.now)?;
        let user = book.account(holder)?.name;
        log::warn!(user = user.as_str(), reason = wrong.word(); "keeper has lost a copy");
        let warning = Wrn {
            reason: Some(wrong),
            name: Some(name),
            ..Wrn::new(user)
        };
        for line in self.owners_lines(owner) {
            line.notify(warning.clone());
        }
        Ok(())
    }
}
