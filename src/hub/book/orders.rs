//! Orders to holders that must not be lost: to remove a file. They stand in the
//! database until the holder has answered, however long it is offline.

use rusqlite::params;

use super::deletion::Removal;
use super::{Book, Result, Time, UserId, count, int};
use crate::hub::wire::{Code, Name, Removal as Reason, Signature, User, Value};

/// How long a holder that can't do it now is left alone, in seconds, for the first time
/// and at most.
const PAUSE: Time = 60;
const LONGEST_PAUSE: Time = 86_400;

/// How often a pause is doubled.
const MOST_DOUBLED: i64 = 12;

/// An order to remove a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its number at this holder.
    pub number: i64,
    /// Whose file.
    pub owner: User,
    /// Which one.
    pub name: Name,
    /// Its bytes.
    pub size: u64,
    /// The owner's proof, and the time in it, in seconds since 1970.
    pub proof: Option<(Signature, u64)>,
    /// Why it goes without one.
    pub reason: Option<Reason>,
}

/// Why a file goes from a holder.
#[derive(Debug)]
pub(super) enum Why<'a> {
    /// Its owner has proved that it may.
    Proved(&'a Removal),
    /// Its owner, of version 1.0, has asked for it.
    Unproved,
    /// It has moved to another holder.
    Moved,
    /// There are copies enough without it.
    Surplus,
}

impl Book {
    pub(super) fn order_removal(
        &self,
        holder: UserId,
        (owner, name, size): (UserId, Name, u64),
        why: &Why<'_>,
        now: Time,
    ) -> Result<()> {
        let text = "INSERT INTO orders (holder, no, owner, name, size, proof, time, reason, due)
                    VALUES (?1, (SELECT coalesce(max(no), 0) + 1 FROM orders WHERE holder = ?1),
                    ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let (proof, time) = match why {
            Why::Proved(removal) => (Some(removal.proof.0), Some(int(removal.time))),
            Why::Unproved | Why::Moved | Why::Surplus => (None, None),
        };
        let reason = match why {
            Why::Moved => Some(Reason::Moved.number()),
            Why::Proved(_) | Why::Unproved | Why::Surplus => None,
        };
        let size = int(size);
        let with = params![holder, owner, name.0, size, proof, time, reason, now];
        self.run(text, with).map(drop)
    }

    /// Forgets the orders about a file that comes back.
    pub(super) fn cancel_orders(&self, owner: UserId, name: Name) -> Result<()> {
        let text = "DELETE FROM orders WHERE owner = ?1 AND name = ?2";
        self.run(text, params![owner, name.0]).map(drop)
    }

    /// Orders for a holder that is online, `most` at most, behind this number.
    ///
    /// # Errors
    /// The database's.
    pub fn orders(&self, holder: UserId, behind: i64, most: u32, now: Time) -> Result<Vec<Order>> {
        let text = "SELECT no, user.name, orders.name, size, proof, time, reason
                    FROM orders JOIN user ON id = owner
                    WHERE holder = ?1 AND no > ?2 AND due <= ?3 ORDER BY no LIMIT ?4";
        let read = |row: &rusqlite::Row<'_>| {
            let owner: String = row.get(1)?;
            let proof: Option<[u8; 64]> = row.get(4)?;
            let time: Option<i64> = row.get(5)?;
            let reason: Option<u8> = row.get(6)?;
            Ok(Order {
                number: row.get(0)?,
                owner: User::read(&owner).ok_or(rusqlite::Error::InvalidQuery)?,
                name: Name(row.get(2)?),
                size: count(row.get(3)?),
                proof: proof.map(Signature).zip(time.map(count)),
                reason: reason.and_then(Reason::of),
            })
        };
        self.all(text, params![holder, behind, now, most], read)
    }

    /// Takes a holder's answer to an order; `None` if it has given none. Whether the
    /// order is settled: else it is given again later.
    ///
    /// # Errors
    /// The database's.
    pub fn answered(
        &self,
        holder: UserId,
        number: i64,
        answer: Option<Code>,
        now: Time,
    ) -> Result<bool> {
        let is_settled = matches!(
            answer,
            Some(Code::FileDeleted | Code::NoSuchFile | Code::NotMine | Code::NotAllowed)
        );
        if is_settled {
            let text = "DELETE FROM orders WHERE holder = ?1 AND no = ?2";
            self.run(text, [holder, number])?;
            return Ok(true);
        }
        let text = "UPDATE orders SET tries = tries + 1,
                    due = ?3 + min(?4 << min(tries, ?5), ?6) WHERE holder = ?1 AND no = ?2";
        let with = [holder, number, now, PAUSE, MOST_DOUBLED, LONGEST_PAUSE];
        self.run(text, with)?;
        Ok(false)
    }
}
