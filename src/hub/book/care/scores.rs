//! How dependable holders are, as audits say.

use rusqlite::params;

use super::super::{Book, Online, Result, Time, UserId};
use super::Bound;
use crate::hub::wire::Name;

/// The fewest audits of a holder in a cycle, and the files for each one more.
const FEWEST: i64 = 8;
const FILES: i64 = 1000;

/// How many audits a holder passes that has failed two, before it gets copies again.
const PASSES: i64 = 50;

/// How long a holder passes all audits and takes all files before more counts.
const WEEK: Time = 7 * 86_400;

/// How an audit has ended for a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It has the file.
    Pass,
    /// It has not.
    Fail,
    /// It is silent, or differs from another.
    Half,
}

impl Book {
    /// Takes note of an audit; whether the holder has failed the second one, of another
    /// file, and its files are healed.
    ///
    /// # Errors
    /// The database's.
    pub fn mark(&self, holder: UserId, mark: Mark, name: Name, now: Time) -> Result<bool> {
        let text = match mark {
            Mark::Pass => {
                "UPDATE holder SET audits = audits + 1, score = 0.98 * score + 0.02,
                 passes = passes + 1 WHERE user = ?1"
            }
            Mark::Fail => {
                "UPDATE holder SET audits = audits + 1, failures = failures + 1,
                 score = 0.8 * score WHERE user = ?1"
            }
            Mark::Half => {
                "UPDATE holder SET audits = audits + 1, score = 0.9 * score WHERE user = ?1"
            }
        };
        self.run(text, [holder])?;
        match mark {
            Mark::Pass => self.prove(holder, now)?,
            Mark::Fail | Mark::Half => self.doubt(holder, now)?,
        }
        let text = "UPDATE holder SET failed = NULL, passes = NULL
                    WHERE user = ?1 AND passes >= ?2";
        self.run(text, [holder, PASSES])?;
        if mark != Mark::Fail {
            return Ok(false);
        }
        let text = "UPDATE holder SET passes = 0
                    WHERE user = ?1 AND failed <> ?2 AND passes IS NULL";
        let is_second = self.run(text, params![holder, name.0])? > 0;
        let text = "UPDATE holder SET failed = coalesce(failed, ?2) WHERE user = ?1";
        self.run(text, params![holder, name.0])?;
        if is_second {
            self.give_up_holder(holder, now)?;
        }
        Ok(is_second)
    }

    /// Doubles what counts of a holder's share, once a week has passed without a doubt.
    fn prove(&self, holder: UserId, now: Time) -> Result<()> {
        let text = "UPDATE holder SET proved = min(2 * proved, max(share, proved)),
                    proved_since = ?2 WHERE user = ?1 AND proved_since <= ?3";
        self.run(text, [holder, now, now - WEEK]).map(drop)
    }

    /// Takes note that a holder did not keep what it has promised: the week begins again.
    ///
    /// # Errors
    /// The database's.
    pub fn doubt(&self, holder: UserId, now: Time) -> Result<()> {
        let text = "UPDATE holder SET proved_since = ?2 WHERE user = ?1";
        self.run(text, [holder, now]).map(drop)
    }

    /// The holders of which an audit is due.
    ///
    /// # Errors
    /// The database's.
    pub fn to_audit(&self, online: &Online, now: Time) -> Result<Vec<UserId>> {
        let text = "SELECT user FROM holder WHERE audit_due <= ?1 ORDER BY audit_due";
        let mut due: Vec<UserId> = self.all(text, [now], |row| row.get(0))?;
        due.retain(|holder| online.contains(holder));
        Ok(due)
    }

    /// Draws a copy of a holder for an audit, with the others that have the file; when
    /// the next one is due.
    ///
    /// # Errors
    /// The database's.
    pub fn draw(
        &self,
        holder: UserId,
        cycle: Time,
        random: u64,
        now: Time,
    ) -> Result<Option<(Bound, Vec<UserId>)>> {
        let copies = self.number("SELECT count(*) FROM copy WHERE holder = ?1", [holder])?;
        let each = (cycle / (copies / FILES).max(FEWEST)).max(1);
        let text = "UPDATE holder SET audit_due = ?2 WHERE user = ?1";
        self.run(text, [holder, now + each])?;
        let at = random.checked_rem(super::super::count(copies));
        let Some(at) = at.and_then(|at| i64::try_from(at).ok()) else {
            return Ok(None);
        };
        let text = "SELECT owner, name FROM copy WHERE holder = ?1
                    ORDER BY owner, name LIMIT 1 OFFSET ?2";
        let read = |row: &rusqlite::Row<'_>| {
            let (owner, name) = (row.get(0)?, Name(row.get(1)?));
            let to = holder;
            Ok(Bound { owner, name, to })
        };
        let Some(bound) = self.find(text, [holder, at], read)? else {
            return Ok(None);
        };
        if !matches!(self.state_of(&bound)?, Some(2 | 4)) {
            return Ok(None);
        }
        let mut others = self.live_at(bound.owner, bound.name)?;
        others.retain(|other| *other != holder);
        Ok(Some((bound, others)))
    }

    /// Has a file fetched about which two holders differ: from the first of them, else
    /// from the other. Who can't send it has lost it; the other's copy is made elsewhere.
    ///
    /// # Errors
    /// The database's.
    pub fn fetch_from(&self, bound: &Bound, other: UserId, now: Time) -> Result<()> {
        let Bound { owner, name, .. } = *bound;
        self.heal(owner, name, other, now)?;
        let text = "UPDATE heal SET is_judged = 1, old = ?3 WHERE owner = ?1 AND name = ?2";
        self.run(text, params![owner, name.0, other]).map(drop)
    }
}
