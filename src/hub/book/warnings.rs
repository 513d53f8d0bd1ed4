//! What is wrong with an owner's copies, until it is over.

use rusqlite::params;

use super::{Book, Result, Time, UserId, count};
use crate::hub::wire::{Name, User, Value, Wrong};

/// A warning to an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The holder that it is about.
    pub about: User,
    /// What is wrong.
    pub reason: Wrong,
    /// How many files that concerns.
    pub files: u64,
    /// The latest of them, where it is one by one.
    pub name: Option<Name>,
}

impl Book {
    /// Warns an owner of a holder's copies; one file more, if the warning stands.
    ///
    /// # Errors
    /// The database's.
    pub fn warn(
        &self,
        owner: UserId,
        about: UserId,
        (reason, name): (Wrong, Option<Name>),
        now: Time,
    ) -> Result<()> {
        let text = "INSERT INTO warning (owner, about, reason, since, files, name)
                    VALUES (?1, ?2, ?3, ?4, 1, ?5) ON CONFLICT (owner, about, reason)
                    DO UPDATE SET files = files + 1, name = ?5";
        let name = name.map(|name| name.0);
        self.run(text, params![owner, about, reason.number(), now, name])
            .map(drop)
    }

    /// Ends an owner's warnings of a kind.
    ///
    /// # Errors
    /// The database's.
    pub fn unwarn(&self, owner: UserId, reason: Wrong) -> Result<()> {
        let text = "DELETE FROM warning WHERE owner = ?1 AND reason = ?2";
        self.run(text, params![owner, reason.number()]).map(drop)
    }

    /// The warnings that stand.
    ///
    /// # Errors
    /// The database's.
    pub fn warnings(&self, owner: UserId) -> Result<Vec<Warning>> {
        let text = "SELECT user.name, reason, files, warning.name FROM warning
                    JOIN user ON id = about WHERE owner = ?1 ORDER BY warning.since, about, reason";
        let read = |row: &rusqlite::Row<'_>| {
            let about: String = row.get(0)?;
            let name: Option<[u8; 32]> = row.get(3)?;
            Ok(Warning {
                about: User::read(&about).ok_or(rusqlite::Error::InvalidQuery)?,
                reason: Wrong::of(row.get(1)?).ok_or(rusqlite::Error::InvalidQuery)?,
                files: count(row.get(2)?),
                name: name.map(Name),
            })
        };
        self.all(text, [owner], read)
    }
}
