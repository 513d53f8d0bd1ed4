//! Files and their copies: where the next one goes, and what has become of it. A copy
//! is asked for, then live once its holder has signed for it, or lost. A file is live
//! as long as one of its copies is. What becomes of copies without their owner is
//! beneath `care`.

use rusqlite::{Row, params};

use super::placement::{Place, Wanted, choose};
use super::users::Account;
use super::{Book, Online, Result, Time, UserId, count, int};
use crate::hub::proofs::Statement;
use crate::hub::wire::{
    CopyNumber, Factor, Kind, Name, NotStored, Reply, RunId, Signature, User, Wrong,
};

/// The most files of an owner but data.
const MOST_LISTED: i64 = 100_000;

/// How long a holder that has failed is not asked again for a copy, in seconds.
const FAILED: Time = 600;

/// After how many seconds an owner may ask again.
const LATER: u64 = 3600;

/// After how many seconds the hub makes a copy that an owner could not.
const LATER_MADE: Time = 3600;

/// A file that is to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Whose it is.
    pub owner: UserId,
    /// The run that it belongs to.
    pub run: RunId,
    /// Its name.
    pub name: Name,
    /// Its bytes.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
    /// How many copies it is to have; `None`: as many as the run says.
    pub factor: Option<Factor>,
    /// Holders of which one is to have a copy; empty if any may have all.
    pub trusted: &'a [UserId],
}

/// What becomes of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is live.
    There(UserId),
    /// It is to go to this holder.
    At(UserId, CopyNumber),
    /// No holder takes it.
    Nowhere,
}

/// A copy that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Whether it did not before.
    pub is_new: bool,
    /// Whether the file has all copies it is to have.
    pub is_complete: bool,
}

/// A file as it stands in the table, dying or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileRow {
    pub size: u64,
    pub kind: Kind,
    pub factor: Factor,
    pub state: i64,
    pub time: Time,
}

impl FileRow {
    /// Whether it is deleted.
    pub fn is_dying(&self) -> bool {
        self.state == 3
    }
}

/// A copy as it stands in the table.
#[derive(Clone, Debug)]
pub(super) struct CopyRow {
    pub holder: UserId,
    pub state: i64,
    pub since: Time,
    pub place: Place,
}

impl CopyRow {
    fn is_asked(&self) -> bool {
        self.state == 1
    }

    pub fn is_live(&self) -> bool {
        self.state == 2
    }

    /// Whether its holder may get no other copy.
    fn bars(&self, now: Time) -> bool {
        self.state != 3 || self.since > now - FAILED
    }
}

impl Book {
    /// Places the copies that a file does not have yet. Asked again, it gives the same
    /// holders, as long as they are online; those that have gone offline are given up
    /// first.
    ///
    /// # Errors
    /// `403` without space, `407` with too many files, `503` for another file of that
    /// name or a second configuration, `504` without an open run; the database's.
    pub fn place(
        &self,
        wish: &Wish<'_>,
        online: &Online,
        random: &mut impl FnMut() -> u64,
        now: Time,
    ) -> Result<Vec<Placed>> {
        let (_, factor) = self.open_run(wish.run, wish.owner)?;
        let factor = wish.factor.unwrap_or(factor);
        let known = self.file(wish.owner, wish.name)?;
        let known = known.filter(|file| !file.is_dying());
        self.check(wish, known.as_ref())?;
        let copies = self.copies(wish.owner, wish.name)?;
        let (kept, gone): (Vec<_>, Vec<_>) = copies
            .into_iter()
            .filter(|copy| copy.is_asked() || copy.is_live())
            .partition(|copy| copy.is_live() || online.contains(&copy.holder));
        for copy in gone {
            self.lose(wish.owner, wish.name, copy.holder, now)?;
        }
        let (reserved, _) = self.open_run(wish.run, wish.owner)?;
        let wanted = usize::from(factor.get());
        let missing = u64::try_from(wanted.saturating_sub(kept.len())).unwrap_or(0);
        if !self.has_space(wish.owner, reserved, missing * wish.size)? {
            return Err(Reply::NoSpace { hub: None }.into());
        }
        self.ask_for(wish, factor, known.as_ref(), now)?;
        let mut placed = Vec::with_capacity(wanted);
        for copy in kept.iter().take(wanted) {
            placed.push(match copy.is_live() {
                true => Placed::There(copy.holder),
                false => Placed::At(copy.holder, copy_number(1, factor)),
            });
        }
        while placed.len() < wanted {
            let number = copy_number(placed.len() + 1, factor);
            placed.push(self.place_one(wish, number, online, random(), now)?);
        }
        if placed.contains(&Placed::Nowhere) {
            // Once there is a holder, the hub makes the copy.
            self.heal(wish.owner, wish.name, wish.owner, now + LATER_MADE)?;
        }
        Ok(in_order(placed, factor))
    }

    /// Refuses what can't be placed.
    fn check(&self, wish: &Wish<'_>, known: Option<&FileRow>) -> Result<()> {
        if wish.size > wish.kind.max_size() {
            return Err(Reply::NoSpace { hub: None }.into());
        }
        match known {
            Some(file) if file.size == wish.size && file.kind == wish.kind => return Ok(()),
            Some(_) => return Err(Reply::NotMine.into()),
            None if wish.kind == Kind::Data => return Ok(()),
            None => {}
        }
        let text = "SELECT listed FROM user WHERE id = ?1";
        if self.number(text, [wish.owner])? >= MOST_LISTED {
            return Err(Reply::Later { after: Some(LATER) }.into());
        }
        let text = "SELECT count(*) FROM file WHERE owner = ?1 AND kind = ?2 AND kind > 1
                    AND state <> 3";
        let kind = wish.kind.number();
        let is_second =
            wish.kind == Kind::Config && self.number(text, params![wish.owner, kind])? > 0;
        match is_second {
            true => Err(Reply::NotMine.into()),
            false => Ok(()),
        }
    }

    /// Notes that a file is asked for, which may be deleted and come back.
    fn ask_for(
        &self,
        wish: &Wish<'_>,
        factor: Factor,
        known: Option<&FileRow>,
        now: Time,
    ) -> Result<()> {
        let (owner, name) = (wish.owner, wish.name.0);
        if let Some(file) = known {
            let text = "UPDATE file SET factor = ?3 WHERE owner = ?1 AND name = ?2";
            let factor = file.factor.max(factor).get();
            self.run(text, params![owner, name, factor])?;
            let text = "UPDATE copy SET run = ?3
                        WHERE owner = ?1 AND name = ?2 AND state = 1 AND run IS NULL";
            return self.run(text, params![owner, name, wish.run.0]).map(drop);
        }
        self.cancel_orders(owner, wish.name)?;
        let text = "INSERT OR REPLACE INTO file (owner, name, size, kind, factor, state, time)
                    VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6)";
        let (size, kind) = (int(wish.size), wish.kind.number());
        self.run(text, params![owner, name, size, kind, factor.get(), now])?;
        match wish.kind {
            Kind::Data => Ok(()),
            _ => self.count_listed(owner, 1),
        }
    }

    /// Finds a holder for one copy.
    fn place_one(
        &self,
        wish: &Wish<'_>,
        number: CopyNumber,
        online: &Online,
        random: u64,
        now: Time,
    ) -> Result<Placed> {
        let copies = self.copies(wish.owner, wish.name)?;
        let taken = || copies.iter().filter(|copy| copy.state != 3);
        let has_trusted = taken().any(|copy| wish.trusted.contains(&copy.holder));
        let places: Vec<Place> = taken().map(|copy| copy.place.clone()).collect();
        let wanted = Wanted {
            size: wish.size,
            kind: wish.kind,
            taken: &places,
            trusted: if has_trusted { &[] } else { wish.trusted },
            is_last: number.number == number.of,
        };
        let Some(holder) = self.pick(wish.owner, &copies, &wanted, (online, random), now)? else {
            return Ok(Placed::Nowhere);
        };
        let text = "INSERT OR REPLACE INTO copy (owner, name, holder, state, since, run)
                    VALUES (?1, ?2, ?3, 1, ?4, ?5)";
        let with = params![wish.owner, wish.name.0, holder, now, wish.run.0];
        self.run(text, with)?;
        self.count_copy(wish.owner, holder, int(wish.size))?;
        let text = "UPDATE run SET reserved = max(reserved - ?2, 0) WHERE id = ?1";
        self.run(text, params![wish.run.0, int(wish.size)])?;
        Ok(Placed::At(holder, number))
    }

    /// A holder that takes a copy and has none yet.
    pub(super) fn pick(
        &self,
        owner: UserId,
        copies: &[CopyRow],
        wanted: &Wanted<'_>,
        (online, random): (&Online, u64),
        now: Time,
    ) -> Result<Option<UserId>> {
        let mut among = self.candidates(owner, online, now)?;
        among.retain(|it| {
            let of_it = |copy: &CopyRow| copy.holder == it.holder && copy.bars(now);
            !copies.iter().any(of_it)
        });
        Ok(choose(&among, wanted, random))
    }

    /// Counts a copy for which the owner shows the holder's receipt.
    ///
    /// # Errors
    /// `505` if it was not asked for, or the receipt is another; the database's.
    pub fn stored(
        &self,
        owner: &Account,
        name: Name,
        holder: &User,
        receipt: &Signature,
        now: Time,
    ) -> Result<Counted> {
        let file = self.file(owner.id, name)?.ok_or(Reply::NoSuchFile)?;
        let holder = self.find_user(holder)?.ok_or(Reply::NoSuchFile)?;
        let statement = Statement::Receipt {
            hub: &self.rules.hub,
            holder: &holder.name,
            owner: &owner.name,
            name,
            size: file.size,
        };
        let signed = |key| statement.is_signed(&key, receipt);
        match holder.holder_key.is_some_and(signed) {
            true => self.has_copy(owner.id, name, holder.id, now),
            false => Err(Reply::NoSuchFile.into()),
        }
    }

    /// Counts a copy that its holder says to have.
    ///
    /// # Errors
    /// `505` if it was not asked for; the database's.
    pub fn has_copy(
        &self,
        owner: UserId,
        name: Name,
        holder: UserId,
        now: Time,
    ) -> Result<Counted> {
        let file = self.file(owner, name)?.ok_or(Reply::NoSuchFile)?;
        let copies = self.copies(owner, name)?;
        let copy = copies.iter().find(|copy| copy.holder == holder);
        let copy = copy
            .filter(|copy| copy.state != 3)
            .ok_or(Reply::NoSuchFile)?;
        let is_new = copy.is_asked();
        if is_new {
            let text = "UPDATE copy SET state = 2, since = ?4, run = NULL
                        WHERE owner = ?1 AND name = ?2 AND holder = ?3";
            self.run(text, params![owner, name.0, holder, now])?;
            let text = "UPDATE file SET state = 2, time = ?3
                        WHERE owner = ?1 AND name = ?2 AND state = 1";
            self.run(text, params![owner, name.0, now])?;
        }
        let live = copies.iter().filter(|copy| copy.is_live()).count() + usize::from(is_new);
        let is_complete = live >= usize::from(file.factor.get());
        Ok(Counted {
            is_new,
            is_complete,
        })
    }

    /// Gives up a copy that could not be stored, or can't be read, and finds another
    /// holder for it.
    ///
    /// # Errors
    /// `504` without an open run, `505` for no such file; the database's.
    pub fn not_stored(
        &self,
        wish: &Wish<'_>,
        (holder, reason): (UserId, NotStored),
        online: &Online,
        random: u64,
        now: Time,
    ) -> Result<Placed> {
        self.open_run(wish.run, wish.owner)?;
        let file = self.file(wish.owner, wish.name)?;
        let file = file
            .filter(|file| !file.is_dying())
            .ok_or(Reply::NoSuchFile)?;
        self.give_up(wish.owner, wish.name, (holder, reason), now)?;
        let copies = self.copies(wish.owner, wish.name)?;
        let is_active = |copy: &&CopyRow| copy.is_asked() || copy.is_live();
        let active: Vec<_> = copies.iter().filter(is_active).collect();
        let all = usize::from(file.factor.get());
        if active.len() < all {
            let number = copy_number(active.len() + 1, file.factor);
            let (size, kind) = (file.size, file.kind);
            let wish = Wish {
                size,
                kind,
                ..*wish
            };
            return self.place_one(&wish, number, online, random, now);
        }
        let asked = active.iter().position(|copy| copy.is_asked());
        Ok(asked.map_or(Placed::Nowhere, |at| {
            Placed::At(active[at].holder, copy_number(at + 1, file.factor))
        }))
    }

    /// Gives up a copy for this reason. One that is live stays, unless its bytes are
    /// missing or others.
    ///
    /// # Errors
    /// The database's.
    pub fn give_up(
        &self,
        owner: UserId,
        name: Name,
        (holder, reason): (UserId, NotStored),
        now: Time,
    ) -> Result<()> {
        let copies = self.copies(owner, name)?;
        let copy = copies.iter().find(|copy| copy.holder == holder);
        let is_bad = matches!(reason, NotStored::Missing | NotStored::Corrupt);
        match copy {
            Some(copy) if copy.is_asked() => self.lose(owner, name, holder, now),
            Some(copy) if is_bad && ![3, 5].contains(&copy.state) => {
                self.lose(owner, name, holder, now)?;
                self.heal(owner, name, holder, now)
            }
            _ => Ok(()),
        }
    }

    /// Lets a holder that has come be asked again for what it has failed at: it may have
    /// failed because it went.
    ///
    /// # Errors
    /// The database's.
    pub fn ask_again(&self, holder: UserId, now: Time) -> Result<()> {
        let text = "UPDATE copy SET since = ?2 WHERE state = 3 AND state <> 2 AND since > ?2
                    AND holder = ?1";
        self.run(text, params![holder, now - FAILED]).map(drop)
    }

    /// Notes that a copy is lost. What a run has reserved for it is reserved again.
    pub(super) fn lose(&self, owner: UserId, name: Name, holder: UserId, now: Time) -> Result<()> {
        let Some(file) = self.file(owner, name)? else {
            return Ok(());
        };
        let text = "UPDATE run SET reserved = reserved + ?4 WHERE id = (SELECT run FROM copy
                    WHERE owner = ?1 AND name = ?2 AND holder = ?3)";
        self.run(text, params![owner, name.0, holder, int(file.size)])?;
        self.uncount_copy(owner, name, holder, file.size)?;
        let text = "UPDATE copy SET state = 3, since = ?4, run = NULL
                    WHERE owner = ?1 AND name = ?2 AND holder = ?3";
        self.run(text, params![owner, name.0, holder, now])?;
        let text = "UPDATE file SET state = 1, time = ?3 WHERE owner = ?1 AND name = ?2
                    AND state = 2 AND NOT EXISTS (SELECT 1 FROM copy
                    WHERE owner = ?1 AND name = ?2 AND state IN (2, 4, 6))";
        match self.run(text, params![owner, name.0, now])? {
            0 => Ok(()),
            _ => self.warn(owner, holder, (Wrong::Missing, Some(name)), now),
        }
    }

    /// The row of a file.
    pub(super) fn file(&self, owner: UserId, name: Name) -> Result<Option<FileRow>> {
        let text = "SELECT size, kind, factor, state, time FROM file
                    WHERE owner = ?1 AND name = ?2";
        let read = |row: &Row<'_>| {
            Ok(FileRow {
                size: count(row.get(0)?),
                kind: Kind::of(row.get(1)?).ok_or(rusqlite::Error::InvalidQuery)?,
                factor: Factor::new(row.get(2)?).unwrap_or(Factor::ONE),
                state: row.get(3)?,
                time: row.get(4)?,
            })
        };
        self.find(text, params![owner, name.0], read)
    }

    pub(super) fn copies(&self, owner: UserId, name: Name) -> Result<Vec<CopyRow>> {
        let text = "SELECT copy.holder, state, copy.since, address, site, reach
                    FROM copy LEFT JOIN holder ON user = copy.holder
                    WHERE owner = ?1 AND name = ?2";
        let read = |row: &Row<'_>| {
            Ok(CopyRow {
                holder: row.get(0)?,
                state: row.get(1)?,
                since: row.get(2)?,
                place: Place::of(row, 3)?,
            })
        };
        self.all(text, params![owner, name.0], read)
    }
}

/// Copies with their numbers, by their holders, so that they are the same next time.
fn in_order(mut placed: Vec<Placed>, factor: Factor) -> Vec<Placed> {
    placed.sort_by_key(|copy| match copy {
        Placed::There(holder) | Placed::At(holder, _) => *holder,
        Placed::Nowhere => UserId::MAX,
    });
    for (at, copy) in placed.iter_mut().enumerate() {
        if let Placed::At(_, number) = copy {
            *number = copy_number(at + 1, factor);
        }
    }
    placed
}

fn copy_number(number: usize, of: Factor) -> CopyNumber {
    let number = u8::try_from(number).ok().and_then(Factor::new);
    let number = number.unwrap_or(of).min(of);
    CopyNumber { number, of }
}
