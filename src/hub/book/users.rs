//! Users: their names, keys and what the operator has set for them. A key that is known
//! is never exchanged.

use rusqlite::params;

use super::{Book, Result, Time, UserId, int};
use crate::hub::wire::{Key, Reply, Role, User, Value};

/// What the operator has set for an account.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The most bytes it may use.
    pub quota: Option<u64>,
    /// The user with whom it is one person.
    pub pool: Option<User>,
    /// Whether it may not delete.
    pub is_append_only: bool,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub id: UserId,
    /// Its name.
    pub name: User,
    /// The key that signs for the owner.
    pub key: Option<Key>,
    /// The key that signs for the holder.
    pub holder_key: Option<Key>,
    /// Whether it may not delete.
    pub is_append_only: bool,
    /// Until when it may nevertheless.
    pub prune_until: Time,
    /// Whether it shares.
    pub has_share: bool,
    /// Whether it speaks version 1.0: its first key came so.
    pub is_base: bool,
}

const ACCOUNT: &str = "SELECT id, name, key, holder_key, append_only,
                       EXISTS (SELECT 1 FROM holder WHERE user = id AND share > 0), prune_until, base
                       FROM user";

fn account(row: &rusqlite::Row<'_>) -> rusqlite::Result<Account> {
    let name: String = row.get(1)?;
    let key = |at: usize| -> rusqlite::Result<Option<Key>> {
        let bytes: Option<[u8; 32]> = row.get(at)?;
        Ok(bytes.map(Key))
    };
    Ok(Account {
        id: row.get(0)?,
        name: User::read(&name).ok_or(rusqlite::Error::InvalidQuery)?,
        key: key(2)?,
        holder_key: key(3)?,
        is_append_only: row.get(4)?,
        has_share: row.get(5)?,
        prune_until: row.get(6)?,
        is_base: row.get(7)?,
    })
}

impl Book {
    /// Enters a user, or other settings of one.
    ///
    /// # Errors
    /// The database's.
    pub fn enter(&self, name: &User, settings: &Settings, now: Time) -> Result<Account> {
        let pool = match settings.pool.as_ref().filter(|pool| *pool != name) {
            Some(pool) => Some(self.add(pool, now)?),
            None => None,
        };
        let id = self.add(name, now)?;
        let text = "UPDATE user SET seen = ?2, pool = ?3, quota = ?4, append_only = ?5
                    WHERE id = ?1";
        let quota = settings.quota.map(int);
        let pool = pool.unwrap_or(id);
        self.run(text, params![id, now, pool, quota, settings.is_append_only])?;
        self.account(id)
    }

    /// Lets a user delete until then that else may not.
    ///
    /// # Errors
    /// The database's.
    pub fn open_window(&self, user: UserId, until: Time) -> Result<()> {
        let text = "UPDATE user SET prune_until = ?2 WHERE id = ?1";
        self.run(text, [user, until]).map(drop)
    }

    /// Removes a user that has no file here, and none of others; whether it could.
    ///
    /// # Errors
    /// The database's.
    pub fn remove(&self, user: UserId) -> Result<bool> {
        let text = "SELECT EXISTS (SELECT 1 FROM copy WHERE holder = ?1 AND state <> 3)
                    OR EXISTS (SELECT 1 FROM file WHERE owner = ?1 AND state <> 3)
                    OR EXISTS (SELECT 1 FROM orders WHERE owner = ?1)
                    OR EXISTS (SELECT 1 FROM user WHERE pool = ?1 AND id <> ?1)";
        if self.number(text, [user])? > 0 {
            return Ok(false);
        }
        for text in [
            "DELETE FROM warning WHERE owner = ?1 OR about = ?1",
            "DELETE FROM copy WHERE holder = ?1 OR owner = ?1",
            "DELETE FROM orders WHERE holder = ?1",
            "DELETE FROM file WHERE owner = ?1",
            "DELETE FROM heal WHERE owner = ?1",
            "DELETE FROM run WHERE owner = ?1",
            "DELETE FROM holder WHERE user = ?1",
            "DELETE FROM user WHERE id = ?1",
        ] {
            self.run(text, [user])?;
        }
        Ok(true)
    }

    /// Takes note that a user has logged in.
    ///
    /// # Errors
    /// The database's.
    pub fn seen(&self, user: UserId, now: Time) -> Result<()> {
        let text = "UPDATE user SET seen = ?2 WHERE id = ?1";
        self.run(text, params![user, now]).map(drop)
    }

    /// All users by their names.
    ///
    /// # Errors
    /// The database's.
    pub fn users(&self) -> Result<Vec<Account>> {
        self.all(&format!("{ACCOUNT} ORDER BY name"), [], account)
    }

    /// The number of a name, which gets one if it has none.
    pub(super) fn add(&self, name: &User, now: Time) -> Result<UserId> {
        let text = "INSERT INTO user (name, pool, append_only, created, seen)
                    VALUES (?1, 0, 0, ?2, ?2) ON CONFLICT (name) DO NOTHING";
        if self.run(text, params![name.as_str(), now])? > 0 {
            let id = self.db.last_insert_rowid();
            self.run("UPDATE user SET pool = id WHERE id = ?1", [id])?;
        }
        self.number("SELECT id FROM user WHERE name = ?1", [name.as_str()])
    }

    /// The user of a number.
    ///
    /// # Errors
    /// The database's, also when there is none.
    pub fn account(&self, id: UserId) -> Result<Account> {
        let text = format!("{ACCOUNT} WHERE id = ?1");
        let found = self.find(&text, [id], account)?;
        Ok(found.ok_or(rusqlite::Error::QueryReturnedNoRows)?)
    }

    /// The user of a name.
    ///
    /// # Errors
    /// The database's.
    pub fn find_user(&self, name: &User) -> Result<Option<Account>> {
        self.find(
            &format!("{ACCOUNT} WHERE name = ?1"),
            [name.as_str()],
            account,
        )
    }

    /// Takes a key that a user has proved: of an owner the identity key, of a holder
    /// the holder key. One that is both has one key, and logs in by its code for good. Its
    /// first key is of a version, which its user keeps.
    ///
    /// # Errors
    /// `504` if another is known, or one of the other version, or the identity key is
    /// missing; the database's.
    pub fn learn_key(&self, user: UserId, role: Role, key: Key) -> Result<()> {
        let account = self.account(user)?;
        if account.key.is_some() && account.is_base != (role == Role::Both) {
            return Err(Reply::NotAllowed.into());
        }
        let (known, text) = match role {
            Role::Holder if account.key.is_none() => return Err(Reply::NotAllowed.into()),
            Role::Holder => {
                let text = "UPDATE user SET holder_key = ?2 WHERE id = ?1";
                (account.holder_key, text)
            }
            Role::Owner => (account.key, "UPDATE user SET key = ?2 WHERE id = ?1"),
            Role::Both => {
                let text = "UPDATE user SET base = 1, key = ?2, holder_key = ?2,
                            login = code, code = NULL, code_until = NULL WHERE id = ?1";
                (account.key, text)
            }
        };
        match known {
            Some(known) if known == key => Ok(()),
            Some(_) => Err(Reply::NotAllowed.into()),
            None => {
                self.run(text, params![user, key.0])?;
                match role {
                    // Version 1.0 proves no key, so no file waits for one.
                    Role::Holder | Role::Both => Ok(()),
                    Role::Owner => self.adopt(&account.name, user, &key),
                }
            }
        }
    }
}
