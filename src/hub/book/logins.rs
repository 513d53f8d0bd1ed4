//! How users log in: once by a code from the operator, then by a key of their own.

use rusqlite::params;
use zeroize::Zeroizing;

use super::users::Account;
use super::{Book, Result, Time, UserId};
use crate::hub::wire::{LoginKey, Reply, User};

/// What a login of a user is checked against.
#[derive(Debug)]
pub struct Known {
    /// The user.
    pub account: Account,
    /// Its login key, or that of its code.
    pub secret: Zeroizing<[u8; 32]>,
}

impl Book {
    /// Gives a user a code, whose key this is, until then.
    ///
    /// # Errors
    /// `504` if it has logged in by one before; the database's.
    pub fn enrol(&self, user: UserId, key: &[u8; 32], until: Time) -> Result<()> {
        let text = "UPDATE user SET code = ?2, code_until = ?3 WHERE id = ?1 AND login IS NULL";
        match self.run(text, params![user, key, until])? {
            0 => Err(Reply::NotAllowed.into()),
            _ => Ok(()),
        }
    }

    /// What a login is checked against; `None` for a name that nobody has, or whose
    /// code is too old.
    ///
    /// # Errors
    /// The database's.
    pub fn known(&self, name: &User, now: Time) -> Result<Option<Known>> {
        let Some(account) = self.find_user(name)? else {
            return Ok(None);
        };
        let text = "SELECT coalesce(login, code) FROM user
                    WHERE id = ?1 AND (login IS NOT NULL OR code_until > ?2)";
        let secret = self.find(text, params![account.id, now], |row| row.get(0))?;
        Ok(secret.map(|secret| Known {
            account,
            secret: Zeroizing::new(secret),
        }))
    }

    /// Takes the key by which a user logs in from now on. Its code is used up.
    ///
    /// # Errors
    /// The database's.
    pub fn learn_login(&self, user: UserId, login: &LoginKey) -> Result<()> {
        let text = "UPDATE user SET login = ?2, code = NULL, code_until = NULL WHERE id = ?1";
        self.run(text, params![user, *login.0]).map(drop)
    }
}
