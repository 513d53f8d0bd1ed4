//! How much a user may store: a part for everybody, and what its own holder has shown
//! to keep for others. The users of a pool are one person.

use rusqlite::params;

use super::{Book, Result, UserId, count, int};
use crate::hub::wire::Name;
use crate::hub::wire::request::Acs;

/// The space of a user, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What is left.
    pub left: u64,
    /// What its copies take.
    pub used: u64,
    /// What open runs have reserved and not used yet.
    pub reserved: u64,
    /// What it shares.
    pub share: u64,
    /// How much of that would count.
    pub proved: u64,
}

impl From<Space> for Acs {
    fn from(space: Space) -> Acs {
        Acs {
            used: Some(space.used),
            reserved: Some(space.reserved),
            share: Some(space.share),
            proved: Some(space.proved),
            ..Acs::new(space.left)
        }
    }
}

impl Book {
    /// The space of a user.
    ///
    /// # Errors
    /// The database's.
    pub fn space(&self, user: UserId) -> Result<Space> {
        let text = "SELECT pool, quota FROM user WHERE id = ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let found: Option<(UserId, Option<i64>)> = self.find(text, [user], read)?;
        let (pool, quota) = found.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        let text = "SELECT sum(used), coalesce(sum(share), 0),
                    coalesce(sum(max(proved, 2 * held)), 0),
                    coalesce(sum(min(share, max(proved, 2 * held))), 0)
                    FROM user LEFT JOIN holder ON user = id WHERE pool = ?1";
        let read = |row: &rusqlite::Row<'_>| {
            let number = |at: usize| row.get(at).map(count);
            Ok([number(0)?, number(1)?, number(2)?, number(3)?])
        };
        let sums = self.find(text, [pool], read)?;
        let [used, share, proved, counted] = sums.unwrap_or_default();
        let text = "SELECT coalesce(sum(reserved), 0) FROM run
                    JOIN user ON user.id = owner WHERE pool = ?1";
        let reserved = count(self.number(text, [pool])?);
        let allowance = self.allowance(counted).min(quota.map_or(u64::MAX, count));
        Ok(Space {
            left: allowance.saturating_sub(used).saturating_sub(reserved),
            used,
            reserved,
            share,
            proved,
        })
    }

    fn allowance(&self, share: u64) -> u64 {
        let counted = u128::from(share) * u128::from(self.rules.ratio) / 100;
        let counted = u64::try_from(counted).unwrap_or(u64::MAX);
        self.rules.free.saturating_add(counted)
    }

    /// Counts bytes of a copy that has come, or less than none for one that has gone.
    pub(super) fn count_copy(&self, owner: UserId, holder: UserId, bytes: i64) -> Result<()> {
        self.run(
            "UPDATE user SET used = used + ?2 WHERE id = ?1",
            [owner, bytes],
        )?;
        let text = "UPDATE holder SET held = held + ?2 WHERE user = ?1";
        self.run(text, [holder, bytes]).map(drop)
    }

    /// Counts a copy that is dropped or lost: of one at a holder that is gone its owner
    /// has the space already.
    pub(super) fn uncount_copy(
        &self,
        owner: UserId,
        name: Name,
        holder: UserId,
        size: u64,
    ) -> Result<()> {
        let text = "SELECT state FROM copy WHERE owner = ?1 AND name = ?2 AND holder = ?3";
        let state: Option<i64> =
            self.find(text, params![owner, name.0, holder], |row| row.get(0))?;
        let used = match state {
            None | Some(3) => return Ok(()),
            Some(4) => 0,
            Some(_) => int(size),
        };
        self.count_copy(owner, holder, -used)?;
        let text = "UPDATE holder SET held = held - ?2 WHERE user = ?1";
        self.run(text, params![holder, int(size) - used]).map(drop)
    }

    /// Counts a file of another kind than data that has come (1) or gone (-1).
    pub(super) fn count_listed(&self, owner: UserId, files: i64) -> Result<()> {
        let text = "UPDATE user SET listed = listed + ?2 WHERE id = ?1";
        self.run(text, [owner, files]).map(drop)
    }

    /// Whether a run may take so many bytes more than it has reserved.
    pub(super) fn has_space(&self, owner: UserId, reserved: u64, bytes: u64) -> Result<bool> {
        let beyond = bytes.saturating_sub(reserved);
        Ok(beyond == 0 || beyond <= self.space(owner)?.left)
    }
}
