//! Reverse recovery: a holder that has lost its store, or parts of it, gets the copies
//! back that others have.

use rusqlite::params;

use super::super::{Book, Online, Result, Time, UserId, count};
use super::{Bound, Sending};
use crate::hub::wire::Name;

/// How long a copy waits that nobody can send now, in seconds.
const WAIT: Time = 60;

/// What is done about a copy that is to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// This holder sends it.
    From(Sending),
    /// Nobody can send it now.
    Later,
    /// Nobody has it.
    Lost,
}

impl Book {
    /// Takes a holder's word that it has lost all copies that it had before this time,
    /// and has not named since; how many others can give back. Those that are on their way
    /// wait no longer.
    ///
    /// # Errors
    /// The database's.
    pub fn begin_return(&self, holder: UserId, before: Time, now: Time) -> Result<u64> {
        let text = "UPDATE copy SET state = 6, since = ?3
                    WHERE holder = ?1 AND (state = 2 AND since < ?2 OR state = 6) AND EXISTS
                    (SELECT 1 FROM copy o WHERE o.owner = copy.owner AND o.name = copy.name
                     AND o.holder <> ?1 AND o.state IN (2, 4))";
        self.run(text, params![holder, before, now])?;
        let text = "SELECT owner, name FROM copy
                    WHERE holder = ?1 AND state IN (2, 4) AND since < ?2";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, Name(row.get(1)?)));
        let lost: Vec<(UserId, Name)> = self.all(text, params![holder, before], read)?;
        for (owner, name) in lost {
            self.lose(owner, name, holder, now)?;
        }
        self.count_returns(holder)
    }

    /// How many copies are still to come back to a holder.
    ///
    /// # Errors
    /// The database's.
    pub fn count_returns(&self, holder: UserId) -> Result<u64> {
        let text = "SELECT count(*) FROM copy WHERE holder = ?1 AND state = 6 AND state > 3";
        self.number(text, [holder]).map(count)
    }

    /// Takes a holder's word that it has this copy.
    ///
    /// # Errors
    /// The database's.
    pub fn has_still(&self, bound: &Bound, now: Time) -> Result<()> {
        let text = "UPDATE copy SET since = ?4
                    WHERE owner = ?1 AND name = ?2 AND holder = ?3 AND state = 2";
        let with = params![bound.owner, bound.name.0, bound.to, now];
        self.run(text, with).map(drop)
    }

    /// Copies that are to come back to a holder now.
    ///
    /// # Errors
    /// The database's.
    pub fn returns(&self, holder: UserId, most: usize, now: Time) -> Result<Vec<Bound>> {
        let text = "SELECT owner, name FROM copy
                    WHERE holder = ?1 AND state = 6 AND state > 3 AND since <= ?2
                    ORDER BY since LIMIT ?3";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let read = |row: &rusqlite::Row<'_>| {
            let (owner, name) = (row.get(0)?, Name(row.get(1)?));
            let to = holder;
            Ok(Bound { owner, name, to })
        };
        self.all(text, params![holder, now, most], read)
    }

    /// Who sends a copy that is to come back, but this one. One that nobody has is lost.
    ///
    /// # Errors
    /// The database's.
    pub fn return_from(
        &self,
        bound: &Bound,
        but: Option<UserId>,
        online: &Online,
        now: Time,
    ) -> Result<Return> {
        let Bound { owner, name, to } = *bound;
        let sources = self.sources(owner, name)?;
        let Some(file) = self.file(owner, name)?.filter(|_| !sources.is_empty()) else {
            self.lose(owner, name, to, now)?;
            return Ok(Return::Lost);
        };
        let can = |holder: &&UserId| online.contains(*holder) && Some(**holder) != but;
        match sources.iter().find(can) {
            Some(source) => Ok(Return::From(Sending {
                source: *source,
                size: file.size,
                kind: file.kind,
            })),
            None => {
                self.return_later(bound, now)?;
                Ok(Return::Later)
            }
        }
    }

    /// Lets a copy wait that is to come back.
    ///
    /// # Errors
    /// The database's.
    pub fn return_later(&self, bound: &Bound, now: Time) -> Result<()> {
        let text = "UPDATE copy SET since = ?4
                    WHERE owner = ?1 AND name = ?2 AND holder = ?3 AND state = 6";
        let with = params![bound.owner, bound.name.0, bound.to, now + WAIT];
        self.run(text, with).map(drop)
    }

    /// Whether a copy is to come back.
    ///
    /// # Errors
    /// The database's.
    pub fn is_returning(&self, bound: &Bound) -> Result<bool> {
        Ok(self.state_of(bound)? == Some(6))
    }
}
