//! Files to heal: those that have fewer copies than they are to have, and those of which
//! one copy is to be elsewhere. They wait in the database until they have.

use rusqlite::params;

use super::super::copies::{CopyRow, FileRow};
use super::super::orders::Why;
use super::super::placement::{Place, Wanted};
use super::super::{Book, Online, Result, Time, UserId, int};
use super::{Bound, LONGEST_PAUSE, PAUSE, Sending};
use crate::hub::wire::Name;

/// How often a pause is doubled.
const MOST_DOUBLED: i64 = 10;

/// How many files of a holder that leaves are taken up at once.
const AT_ONCE: u32 = 64;

/// What is done about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It has its copies. These holders have new orders.
    Done(Vec<UserId>),
    /// Nobody can send it, or take it, now.
    Later,
    /// It goes to one more holder, in place of the copy at another one, where there was
    /// one.
    Move(Bound, Sending, Option<UserId>),
}

impl Book {
    /// Takes note that a file is to be healed: the copy at `old`, if it is live, is to
    /// be elsewhere.
    pub(in crate::hub::book) fn heal(
        &self,
        owner: UserId,
        name: Name,
        old: UserId,
        due: Time,
    ) -> Result<()> {
        let text = "INSERT INTO heal (owner, name, old, due) VALUES (?1, ?2, ?3, ?4)
                    ON CONFLICT (owner, name) DO UPDATE SET due = min(due, ?4)";
        self.run(text, params![owner, name.0, old, due])?;
        self.is_stirred.set(true);
        Ok(())
    }

    pub(in crate::hub::book) fn forget_heal(&self, owner: UserId, name: Name) -> Result<()> {
        let text = "DELETE FROM heal WHERE owner = ?1 AND name = ?2";
        self.run(text, params![owner, name.0]).map(drop)
    }

    /// The files that are due, `most` at most.
    ///
    /// # Errors
    /// The database's.
    pub fn to_heal(&self, most: usize, now: Time) -> Result<Vec<(UserId, Name)>> {
        let text = "SELECT owner, name FROM heal WHERE due <= ?1 ORDER BY due LIMIT ?2";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, Name(row.get(1)?)));
        self.all(text, params![now, most], read)
    }

    /// When the next file is due.
    ///
    /// # Errors
    /// The database's.
    pub fn next_heal(&self) -> Result<Option<Time>> {
        let first = self.find("SELECT min(due) FROM heal", [], |row| row.get(0))?;
        Ok(first.flatten())
    }

    /// Lets a file wait.
    ///
    /// # Errors
    /// The database's.
    pub fn heal_later(&self, owner: UserId, name: Name, now: Time) -> Result<()> {
        let text = "UPDATE heal SET tries = tries + 1,
                    due = ?3 + min(?4 << min(tries, ?5), ?6) WHERE owner = ?1 AND name = ?2";
        let with = params![owner, name.0, now, PAUSE, MOST_DOUBLED, LONGEST_PAUSE];
        self.run(text, with).map(drop)
    }

    /// Lets no file wait any longer: there is somebody new.
    ///
    /// # Errors
    /// The database's.
    pub fn heal_soon(&self, now: Time) -> Result<()> {
        self.run(
            "UPDATE heal SET due = ?1 WHERE tries > 0 AND due > ?1",
            [now],
        )?;
        self.is_stirred.set(true);
        Ok(())
    }

    /// What to do about a file that is to be healed. A copy that is to be made is noted,
    /// and its space counted.
    ///
    /// # Errors
    /// The database's.
    pub fn plan(
        &self,
        owner: UserId,
        name: Name,
        (online, random): (&Online, u64),
        now: Time,
    ) -> Result<Plan> {
        let text = "SELECT old, (is_judged + tries) % 2 FROM heal WHERE owner = ?1 AND name = ?2";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let row: Option<(UserId, bool)> = self.find(text, params![owner, name.0], read)?;
        let file = self.file(owner, name)?.filter(|file| !file.is_dying());
        let copies = self.copies(owner, name)?;
        let is_there = copies.iter().any(|copy| [2, 4, 6].contains(&copy.state));
        let (Some((old, is_from_other)), Some(file), true) = (row, file, is_there) else {
            self.forget_heal(owner, name)?;
            return Ok(Plan::Done(Vec::new()));
        };
        let counting = |copy: &&CopyRow| copy.is_live() && copy.holder != old;
        if copies.iter().filter(counting).count() >= usize::from(file.factor.get()) {
            return self.healed((owner, name, file.size), old, &copies, now);
        }
        let run = "SELECT EXISTS (SELECT 1 FROM copy
                   WHERE owner = ?1 AND name = ?2 AND run IS NOT NULL)";
        let is_under_way = self.number(run, params![owner, name.0])? > 0;
        let sends = |copy: &&CopyRow| copy.is_live() && online.contains(&copy.holder);
        let source = copies.iter().filter(sends);
        let source = source.max_by_key(|copy| (copy.holder == old) != is_from_other);
        let to = match source.filter(|_| !is_under_way) {
            Some(_) => {
                self.destination((owner, name), &file, (&copies, old), (online, random), now)?
            }
            None => None,
        };
        let Some((source, to)) = source.zip(to) else {
            self.heal_later(owner, name, now)?;
            return Ok(Plan::Later);
        };
        let sending = Sending {
            source: source.holder,
            size: file.size,
            kind: file.kind,
        };
        let old = copies.iter().any(|copy| copy.holder == old).then_some(old);
        Ok(Plan::Move(Bound { owner, name, to }, sending, old))
    }

    /// Ends the healing of a file. The copy that was to be elsewhere goes.
    fn healed(
        &self,
        (owner, name, size): (UserId, Name, u64),
        old: UserId,
        copies: &[CopyRow],
        now: Time,
    ) -> Result<Plan> {
        self.forget_heal(owner, name)?;
        let goes = |copy: &&CopyRow| copy.holder == old && copy.is_live();
        let Some(copy) = copies.iter().find(goes) else {
            return Ok(Plan::Done(Vec::new()));
        };
        self.drop_copy((owner, name, size), copy.holder, &Why::Moved, now)?;
        Ok(Plan::Done(vec![copy.holder]))
    }

    /// Who gets one more copy: who is about to get it, if it is online still.
    fn destination(
        &self,
        (owner, name): (UserId, Name),
        file: &FileRow,
        (copies, old): (&[CopyRow], UserId),
        (online, random): (&Online, u64),
        now: Time,
    ) -> Result<Option<UserId>> {
        let (kept, given_up): (Vec<&CopyRow>, Vec<&CopyRow>) = copies
            .iter()
            .filter(|copy| copy.state == 5)
            .partition(|copy| online.contains(&copy.holder));
        for copy in given_up {
            let to = copy.holder;
            self.not_moved(&Bound { owner, name, to }, false, now)?;
        }
        if let Some(copy) = kept.first() {
            return Ok(Some(copy.holder));
        }
        let is_taken = |copy: &&CopyRow| copy.is_live() && copy.holder != old;
        let taken = copies.iter().filter(is_taken);
        let taken: Vec<Place> = taken.map(|copy| copy.place.clone()).collect();
        let wanted = Wanted {
            size: file.size,
            kind: file.kind,
            taken: &taken,
            trusted: &[],
            is_last: true,
        };
        let found = self.pick(owner, copies, &wanted, (online, random), now)?;
        if let Some(holder) = found {
            let text = "INSERT OR REPLACE INTO copy (owner, name, holder, state, since)
                        VALUES (?1, ?2, ?3, 5, ?4)";
            self.run(text, params![owner, name.0, holder, now])?;
            self.count_copy(owner, holder, int(file.size))?;
        }
        Ok(found)
    }

    /// Whether a holder is to get this copy from another one.
    ///
    /// # Errors
    /// The database's.
    pub fn is_moving(&self, bound: &Bound) -> Result<bool> {
        Ok(self.state_of(bound)? == Some(5))
    }

    pub(super) fn state_of(&self, bound: &Bound) -> Result<Option<i64>> {
        let text = "SELECT state FROM copy WHERE owner = ?1 AND name = ?2 AND holder = ?3";
        let with = params![bound.owner, bound.name.0, bound.to];
        self.find(text, with, |row| row.get(0))
    }

    /// Counts a copy that has come from another holder.
    ///
    /// # Errors
    /// The database's.
    pub fn moved(&self, bound: &Bound, now: Time) -> Result<()> {
        let text = "UPDATE copy SET state = 2, since = ?4
                    WHERE owner = ?1 AND name = ?2 AND holder = ?3 AND state IN (5, 6)";
        let with = params![bound.owner, bound.name.0, bound.to, now];
        self.run(text, with)?;
        let text = "UPDATE heal SET tries = 0 WHERE owner = ?1 AND name = ?2";
        self.run(text, params![bound.owner, bound.name.0]).map(drop)
    }

    /// Takes note that a copy has not come from another holder. If its holder is why,
    /// it is not asked again soon.
    ///
    /// # Errors
    /// The database's.
    pub fn not_moved(&self, bound: &Bound, is_to_blame: bool, now: Time) -> Result<()> {
        if !self.is_moving(bound)? {
            return Ok(());
        }
        let Some(file) = self.file(bound.owner, bound.name)? else {
            return Ok(());
        };
        self.uncount_copy(bound.owner, bound.name, bound.to, file.size)?;
        let with = params![bound.owner, bound.name.0, bound.to];
        if !is_to_blame {
            let text = "DELETE FROM copy WHERE owner = ?1 AND name = ?2 AND holder = ?3";
            return self.run(text, with).map(drop);
        }
        let text = "UPDATE copy SET state = 3, since = ?4
                    WHERE owner = ?1 AND name = ?2 AND holder = ?3";
        let with = params![bound.owner, bound.name.0, bound.to, now];
        self.run(text, with).map(drop)
    }

    /// Drops a copy that its holder has; it gets an order.
    pub(super) fn drop_copy(
        &self,
        (owner, name, size): (UserId, Name, u64),
        holder: UserId,
        why: &Why<'_>,
        now: Time,
    ) -> Result<()> {
        self.uncount_copy(owner, name, holder, size)?;
        self.order_removal(holder, (owner, name, size), why, now)?;
        let text = "DELETE FROM copy WHERE owner = ?1 AND name = ?2 AND holder = ?3";
        self.run(text, params![owner, name.0, holder]).map(drop)
    }

    /// Takes note that a holder wants to share no more than this: files move off.
    ///
    /// # Errors
    /// The database's.
    pub fn leave(&self, holder: UserId, target: u64) -> Result<()> {
        let text = "UPDATE holder SET target = ?2 WHERE user = ?1";
        self.run(text, params![holder, int(target)])?;
        self.is_stirred.set(true);
        Ok(())
    }

    /// Takes up files that are to leave their holders.
    ///
    /// # Errors
    /// The database's.
    pub fn move_off(&self, now: Time) -> Result<()> {
        let text = "SELECT user, held - target - coalesce((SELECT sum(f.size) FROM heal h
                    JOIN file f ON f.owner = h.owner AND f.name = h.name WHERE h.old = user), 0)
                    FROM holder WHERE held > target";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let leaving: Vec<(UserId, i64)> = self.all(text, [], read)?;
        for (holder, mut above) in leaving {
            let text = "SELECT c.owner, c.name, f.size FROM copy c
                        JOIN file f ON f.owner = c.owner AND f.name = c.name
                        WHERE c.holder = ?1 AND c.state = 2 AND NOT EXISTS
                        (SELECT 1 FROM heal h WHERE h.owner = c.owner AND h.name = c.name)
                        LIMIT ?2";
            let read = |row: &rusqlite::Row<'_>| {
                let name = Name(row.get(1)?);
                Ok((row.get(0)?, name, row.get(2)?))
            };
            let some: Vec<(UserId, Name, i64)> = self.all(text, params![holder, AT_ONCE], read)?;
            for (owner, name, size) in some {
                if above <= 0 {
                    break;
                }
                above -= size;
                self.heal(owner, name, holder, now)?;
            }
        }
        Ok(())
    }
}
