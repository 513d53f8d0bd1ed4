//! Deleting a file: its owner proves that it may go, its holders get orders to remove
//! it, and its name stays for a while, so that a repeated request is answered alike.

use rusqlite::params;

use super::copies::FileRow;
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

/// Whether an account may delete now.
fn may_delete(owner: &Account, now: Time) -> bool {
    !owner.is_append_only || owner.prune_until > now
}

impl Book {
    /// Deletes a file. Its space is free at once; its holders, whose numbers this
    /// returns, have orders.
    ///
    /// # Errors
    /// `504` for an account that may not, or a proof that is wrong, too old for the
    /// file or ahead of the clock; `505` for no such file; the database's.
    pub fn delete(&self, owner: &Account, removal: &Removal, now: Time) -> Result<Vec<UserId>> {
        if !may_delete(owner, now) {
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
        if !file.is_dying() && !(file.time..=now + AHEAD).contains(&int(removal.time)) {
            return Err(Reply::NotAllowed.into());
        }
        self.delete_file((owner.id, name), &file, &Why::Proved(removal), now)
    }

    /// The same for an owner of version 1.0, which has no proofs: holders keep the file in
    /// their trash for longer.
    ///
    /// # Errors
    /// `504` for an account that may not, or another version; `505` for no such file; the
    /// database's.
    pub fn delete_unproved(&self, owner: &Account, name: Name, now: Time) -> Result<Vec<UserId>> {
        if !owner.is_base || !may_delete(owner, now) {
            return Err(Reply::NotAllowed.into());
        }
        let file = self.file(owner.id, name)?.ok_or(Reply::NoSuchFile)?;
        self.delete_file((owner.id, name), &file, &Why::Unproved, now)
    }

    /// Deletes a file, unless it is deleted.
    fn delete_file(
        &self,
        (owner, name): (UserId, Name),
        file: &FileRow,
        why: &Why<'_>,
        now: Time,
    ) -> Result<Vec<UserId>> {
        if file.is_dying() {
            return Ok(Vec::new());
        }
        let text = "SELECT holder FROM copy WHERE owner = ?1 AND name = ?2 AND state <> 3";
        let holders: Vec<UserId> = self.all(text, params![owner, name.0], |row| row.get(0))?;
        for holder in &holders {
            self.uncount_copy(owner, name, *holder, file.size)?;
            self.order_removal(*holder, (owner, name, file.size), why, now)?;
        }
        let text = "DELETE FROM copy WHERE owner = ?1 AND name = ?2";
        self.run(text, params![owner, name.0])?;
        self.forget_heal(owner, name)?;
        let text = "UPDATE file SET state = 3, time = ?3 WHERE owner = ?1 AND name = ?2";
        self.run(text, params![owner, name.0, now])?;
        if file.kind != Kind::Data {
            self.count_listed(owner, -1)?;
        }
        Ok(holders)
    }
}
