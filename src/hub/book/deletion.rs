//! Deleting a file: its owner proves that it may go, its holders get orders to remove
//! it, and its name stays for a while, so that a repeated request is answered alike.

use rusqlite::params;

use super::orders::Why;
use super::users::Account;
use super::{Book, Result, Time, UserId, int};
use crate::hub::proofs::Statement;
use crate::hub::wire::{Kind, Name, Reply, Signature};

/// How far the time of a proof may lie ahead, in seconds.
const AHEAD: Time = 600;

/// What an owner shows for the deletion of a file.
#[derive(Clone, Copy, Debug)]
pub struct Removal {
    /// The file.
    pub name: Name,
    /// The owner's signature.
    pub proof: Signature,
    /// The time in it, in seconds since 1970.
    pub time: u64,
}

impl Book {
    /// Deletes a file. Its space is free at once; its holders, whose numbers this
    /// returns, have orders.
    ///
    /// # Errors
    /// `504` for an account that may not, or a proof that is wrong, too old for the
    /// file or ahead of the clock; `505` for no such file; the database's.
    pub fn delete(&self, owner: &Account, removal: &Removal, now: Time) -> Result<Vec<UserId>> {
        if owner.is_append_only && owner.prune_until <= now {
            return Err(Reply::NotAllowed.into());
        }
        let name = removal.name;
        let file = self.file(owner.id, name)?.ok_or(Reply::NoSuchFile)?;
        let statement = Statement::Removal {
            hub: &self.rules.hub,
            owner: &owner.name,
            name,
            size: file.size,
            time: removal.time,
        };
        let signed = |key| statement.is_signed(&key, &removal.proof);
        if !owner.key.is_some_and(signed) {
            return Err(Reply::NotAllowed.into());
        }
        if file.is_dying() {
            return Ok(Vec::new());
        }
        if !(file.time..=now + AHEAD).contains(&int(removal.time)) {
            return Err(Reply::NotAllowed.into());
        }
        let text = "SELECT holder FROM copy WHERE owner = ?1 AND name = ?2 AND state <> 3";
        let holders: Vec<UserId> = self.all(text, params![owner.id, name.0], |row| row.get(0))?;
        for holder in &holders {
            self.uncount_copy(owner.id, name, *holder, file.size)?;
            let why = Why::Proved(removal);
            self.order_removal(*holder, (owner.id, name, file.size), &why, now)?;
        }
        let text = "DELETE FROM copy WHERE owner = ?1 AND name = ?2";
        self.run(text, params![owner.id, name.0])?;
        self.forget_heal(owner.id, name)?;
        let text = "UPDATE file SET state = 3, time = ?3 WHERE owner = ?1 AND name = ?2";
        self.run(text, params![owner.id, name.0, now])?;
        if file.kind != Kind::Data {
            self.count_listed(owner.id, -1)?;
        }
        Ok(holders)
    }
}
