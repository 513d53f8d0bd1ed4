//! A book that is written again: holders name the files that they have, whose owners have
//! signed for them. Files of an owner who has not logged in yet wait under its key.

use openssl::sha::sha256;
use rusqlite::params;

use super::super::{Book, Result, Time, UserId, int};
use crate::hub::wire::{Key, Kind, Name, Reply, User, Value};
use crate::text::hex;

/// A file that a holder has named.
#[derive(Clone, Copy, Debug)]
pub struct Replayed<'a> {
    /// Whose it is.
    pub owner: &'a User,
    /// Who has signed that.
    pub key: Key,
    /// The file.
    pub name: Name,
    /// Its bytes.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
    /// When it has come to the holder.
    pub time: Option<Time>,
}

/// The name under which the files of an owner wait.
fn placeholder(owner: &User, key: &Key) -> Option<User> {
    let digest = sha256(&[&key.0, owner.as_str().as_bytes()].concat());
    User::read(&format!("waiting.{}", hex(&digest[..16])))
}

impl Book {
    /// Enters a copy. A file has as many copies as were named, and the middle one of
    /// their times.
    ///
    /// # Errors
    /// `503` for another size than that of another holder, `505` for a file that is
    /// deleted; the database's.
    pub fn replay(&self, holder: UserId, it: &Replayed<'_>, now: Time) -> Result<()> {
        let owner = self.find_user(it.owner)?;
        let owner = match owner.filter(|owner| owner.key == Some(it.key) && !owner.is_base) {
            Some(owner) => owner.id,
            None => {
                let name = placeholder(it.owner, &it.key).ok_or(Reply::NotMine)?;
                self.add(&name, now)?
            }
        };
        let name = it.name.0;
        match self.file(owner, it.name)? {
            Some(file) if file.is_dying() => return Err(Reply::NoSuchFile.into()),
            Some(file) if file.size != it.size => return Err(Reply::NotMine.into()),
            Some(_) => {}
            None => {
                let text = "INSERT INTO file (owner, name, size, kind, factor, state, time)
                            VALUES (?1, ?2, ?3, ?4, 1, 1, ?5)";
                let (size, kind) = (int(it.size), it.kind.number());
                self.run(text, params![owner, name, size, kind, now])?;
                if it.kind != Kind::Data {
                    self.count_listed(owner, 1)?;
                }
            }
        }
        self.uncount_copy(owner, it.name, holder, it.size)?;
        let text = "INSERT OR REPLACE INTO copy (owner, name, holder, state, since)
                    VALUES (?1, ?2, ?3, 2, ?4)";
        let time = it.time.unwrap_or(now).min(now);
        self.run(text, params![owner, name, holder, time])?;
        self.count_copy(owner, holder, int(it.size))?;
        let text = "UPDATE file SET state = 2,
                    factor = max(factor, min(16, (SELECT count(*) FROM copy
                        WHERE owner = ?1 AND name = ?2 AND state = 2))),
                    time = (SELECT since FROM copy WHERE owner = ?1 AND name = ?2 AND state = 2
                        ORDER BY since LIMIT 1 OFFSET ((SELECT count(*) FROM copy
                        WHERE owner = ?1 AND name = ?2 AND state = 2) - 1) / 2)
                    WHERE owner = ?1 AND name = ?2";
        self.run(text, params![owner, name]).map(drop)
    }

    /// Gives an owner whose key is known by now the files that have waited for it.
    pub(in crate::hub::book) fn adopt(&self, name: &User, owner: UserId, key: &Key) -> Result<()> {
        let waiting = placeholder(name, key).map(|name| self.find_user(&name));
        let Some(waiting) = waiting.transpose()?.flatten() else {
            return Ok(());
        };
        for table in ["copy", "heal", "file", "orders"] {
            let text = format!("UPDATE {table} SET owner = ?1 WHERE owner = ?2");
            self.run(&text, [owner, waiting.id])?;
        }
        let text = "UPDATE user SET used = used + (SELECT used FROM user WHERE id = ?2),
                    listed = listed + (SELECT listed FROM user WHERE id = ?2) WHERE id = ?1";
        self.run(text, [owner, waiting.id])?;
        self.run("DELETE FROM user WHERE id = ?1", [waiting.id])
            .map(drop)
    }
}
