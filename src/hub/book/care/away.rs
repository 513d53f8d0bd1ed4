//! Holders that go and come back. The copies of one that is gone don't count; when it
//! comes back they count again, once each was looked at, or are removed where others
//! have taken their place.

use rusqlite::params;

use super::super::orders::Why;
use super::super::{Book, Online, Result, Time, UserId};
use super::Bound;
use crate::hub::wire::Name;

/// How many copies of a holder that has come back are looked at, at once.
const AT_ONCE: u32 = 16;

/// How long one waits that can't be compared now, in seconds.
const WAIT: Time = 300;

/// Who was online so many seconds before the hub ended was until then: its lines end
/// before it does.
const JUST_NOW: Time = 300;

/// What is done about a copy at a holder that was gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncounted {
    /// Its holder has got an order to remove it.
    Surplus,
    /// It counts again.
    Counts,
    /// It counts again if this holder has the same.
    Compare(UserId),
    /// Nobody has the same who is online.
    Later,
}

/// A holder that is away, and since when.
#[derive(Debug)]
struct Absent {
    holder: UserId,
    latest: Time,
    is_warned: bool,
}

impl Book {
    /// Takes note that the hub serves again. While it did not, nobody could be online:
    /// those hours count as online for holders that were until then, and all are away
    /// from now on.
    ///
    /// # Errors
    /// The database's.
    pub fn resume(&self, now: Time) -> Result<()> {
        let text = "SELECT user, (SELECT latest FROM meta) FROM holder
                    WHERE is_online OR latest >= (SELECT latest FROM meta) - ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let until_then: Vec<(UserId, Time)> = self.all(text, [JUST_NOW], read)?;
        for (holder, served) in until_then {
            self.note_uptime(holder, |uptime| uptime.note_from(served, now))?;
        }
        let text = "UPDATE holder SET is_online = 0, latest = CASE WHEN is_online THEN ?1
                    ELSE min(latest + max(?1 - (SELECT latest FROM meta), 0), ?1) END";
        self.run(text, [now])?;
        self.run("UPDATE heal SET due = ?1", [now]).map(drop)
    }

    /// Takes note that a holder is online no more.
    ///
    /// # Errors
    /// The database's.
    pub fn left(&self, holder: UserId, now: Time) -> Result<()> {
        let text = "UPDATE holder SET latest = ?2, is_online = 0 WHERE user = ?1";
        self.run(text, [holder, now]).map(drop)
    }

    /// Takes note that a holder is online again; whether it was gone.
    ///
    /// # Errors
    /// The database's.
    pub fn is_back(&self, holder: UserId, now: Time) -> Result<bool> {
        self.unwarn_of(holder)?;
        let text = "SELECT is_gone FROM holder WHERE user = ?1";
        let was_gone = self.find(text, [holder], |row| row.get(0))?;
        let text = "UPDATE holder SET latest = ?2, is_warned = 0, is_gone = 0, is_online = 1
                    WHERE user = ?1";
        self.run(text, [holder, now])?;
        Ok(was_gone.unwrap_or(false))
    }

    /// Takes note of holders that have been away for so many seconds: the owners to
    /// warn, and the holders that are gone by now.
    ///
    /// # Errors
    /// The database's.
    pub fn note_absent(
        &self,
        online: &Online,
        (warn_after, gone_after): (Time, Time),
        now: Time,
    ) -> Result<(Vec<UserId>, Vec<UserId>)> {
        let text = "SELECT user, latest, is_warned FROM holder
                    WHERE NOT is_gone AND latest <= ?1";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Absent {
                holder: row.get(0)?,
                latest: row.get(1)?,
                is_warned: row.get(2)?,
            })
        };
        let mut absent = self.all(text, [now - warn_after.min(gone_after)], read)?;
        absent.retain(|it| !online.contains(&it.holder));
        let (mut warned, mut gone) = (Vec::new(), Vec::new());
        for it in absent {
            if !it.is_warned && it.latest <= now - warn_after {
                warned.extend(self.warn_of(it.holder, it.latest + gone_after, now)?);
                let text = "UPDATE holder SET is_warned = 1 WHERE user = ?1";
                self.run(text, [it.holder])?;
            }
            if it.latest <= now - gone_after {
                self.give_up_holder(it.holder, now)?;
                gone.push(it.holder);
            }
        }
        Ok((warned, gone))
    }

    /// Takes note that a holder is gone: its files are healed.
    ///
    /// # Errors
    /// The database's.
    pub fn give_up_holder(&self, holder: UserId, now: Time) -> Result<()> {
        self.run("UPDATE holder SET is_gone = 1 WHERE user = ?1", [holder])?;
        let text = "INSERT OR IGNORE INTO heal (owner, name, old, due)
                    SELECT owner, name, ?1, ?2 FROM copy WHERE holder = ?1 AND state IN (2, 6)";
        self.run(text, [holder, now])?;
        let text = "UPDATE user SET used = used -
                    (SELECT sum(f.size) FROM copy c JOIN file f
                     ON f.owner = c.owner AND f.name = c.name
                     WHERE c.holder = ?1 AND c.owner = user.id AND c.state IN (2, 6))
                    WHERE id IN (SELECT owner FROM copy WHERE holder = ?1 AND state IN (2, 6))";
        self.run(text, [holder])?;
        let text = "UPDATE copy SET state = 4, since = ?2
                    WHERE holder = ?1 AND state IN (2, 6)";
        self.run(text, [holder, now])?;
        self.is_stirred.set(true);
        Ok(())
    }

    /// Whether a holder has copies that do not count, since it was gone.
    ///
    /// # Errors
    /// The database's.
    pub fn has_uncounted(&self, holder: UserId) -> Result<bool> {
        let text = "SELECT EXISTS (SELECT 1 FROM copy
                    WHERE holder = ?1 AND state = 4 AND state > 3
                    AND (SELECT passes FROM holder WHERE user = ?1) IS NULL)";
        Ok(self.number(text, [holder])? > 0)
    }

    /// Copies of a holder that has come back, which do not count yet.
    ///
    /// # Errors
    /// The database's.
    pub fn uncounted(&self, holder: UserId, now: Time) -> Result<Vec<Bound>> {
        let text = "SELECT owner, name FROM copy
                    WHERE holder = ?1 AND state = 4 AND state > 3 AND since <= ?2
                    AND (SELECT passes FROM holder WHERE user = ?1) IS NULL
                    ORDER BY since LIMIT ?3";
        let read = |row: &rusqlite::Row<'_>| {
            let (owner, name) = (row.get(0)?, Name(row.get(1)?));
            let to = holder;
            Ok(Bound { owner, name, to })
        };
        self.all(text, params![holder, now, AT_ONCE], read)
    }

    /// Does something about such a copy, or says what is to be done.
    ///
    /// # Errors
    /// The database's.
    pub fn take_back(&self, copy: &Bound, online: &Online, now: Time) -> Result<Uncounted> {
        let Bound { owner, name, to } = *copy;
        let Some(file) = self.file(owner, name)? else {
            return Ok(Uncounted::Later);
        };
        let sources = self.live_at(owner, name)?;
        if sources.len() >= usize::from(file.factor.get()) {
            self.drop_copy((owner, name, file.size), to, &Why::Surplus, now)?;
            return Ok(Uncounted::Surplus);
        }
        if sources.is_empty() {
            self.count_again(copy, now)?;
            return Ok(Uncounted::Counts);
        }
        // It is not asked about again before that.
        let text = "UPDATE copy SET since = ?4 WHERE owner = ?1 AND name = ?2 AND holder = ?3";
        self.run(text, params![owner, name.0, to, now + WAIT])?;
        let other = sources.into_iter().find(|holder| online.contains(holder));
        Ok(other.map_or(Uncounted::Later, Uncounted::Compare))
    }

    /// Counts a copy again whose holder was gone.
    ///
    /// # Errors
    /// The database's.
    pub fn count_again(&self, copy: &Bound, now: Time) -> Result<()> {
        let Bound { owner, name, to } = *copy;
        let text = "UPDATE user SET used = used + (SELECT size FROM file
                    WHERE owner = ?1 AND name = ?2) WHERE id = ?1 AND EXISTS (SELECT 1 FROM copy
                    WHERE owner = ?1 AND name = ?2 AND holder = ?3 AND state = 4)";
        self.run(text, params![owner, name.0, to])?;
        let text = "UPDATE copy SET state = 2, since = ?4
                    WHERE owner = ?1 AND name = ?2 AND holder = ?3 AND state = 4";
        self.run(text, params![owner, name.0, to, now]).map(drop)
    }

    /// The holders whose copies of a file count.
    pub(super) fn live_at(&self, owner: UserId, name: Name) -> Result<Vec<UserId>> {
        let text = "SELECT holder FROM copy WHERE owner = ?1 AND name = ?2 AND state = 2";
        self.all(text, params![owner, name.0], |row| row.get(0))
    }
}
