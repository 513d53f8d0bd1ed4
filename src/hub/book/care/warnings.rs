//! What is wrong with an owner's copies, until it is over.

use rusqlite::params;

use super::super::{Book, Result, Time, UserId, count};
use crate::hub::wire::request::Wrn;
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
    /// When the hub does something about it, in seconds since 1970.
    pub until: Option<u64>,
}

impl From<Warning> for Wrn {
    fn from(warning: Warning) -> Wrn {
        Wrn {
            reason: Some(warning.reason),
            files: Some(warning.files),
            name: warning.name,
            until: warning.until,
            ..Wrn::new(warning.about)
        }
    }
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

    /// Warns all whose copies a holder has that has not been online for long; whom.
    ///
    /// # Errors
    /// The database's.
    pub fn warn_of(&self, holder: UserId, until: Time, now: Time) -> Result<Vec<UserId>> {
        let text = "INSERT OR IGNORE INTO warning (owner, about, reason, since, files, until)
                    SELECT owner, ?1, ?2, ?3, count(*), ?4 FROM copy
                    WHERE holder = ?1 AND state = 2 GROUP BY owner RETURNING owner";
        let with = params![holder, Wrong::Gone.number(), now, until];
        self.all(text, with, |row| row.get(0))
    }

    /// Ends the warnings that a holder is gone.
    ///
    /// # Errors
    /// The database's.
    pub fn unwarn_of(&self, holder: UserId) -> Result<()> {
        let text = "DELETE FROM warning WHERE about = ?1 AND reason = ?2";
        self.run(text, params![holder, Wrong::Gone.number()])
            .map(drop)
    }

    /// The warnings that stand.
    ///
    /// # Errors
    /// The database's.
    pub fn warnings(&self, owner: UserId) -> Result<Vec<Warning>> {
        let text = "SELECT user.name, reason, files, warning.name, until FROM warning
                    JOIN user ON id = about WHERE owner = ?1 ORDER BY warning.since, about, reason";
        let read = |row: &rusqlite::Row<'_>| {
            let about: String = row.get(0)?;
            let name: Option<[u8; 32]> = row.get(3)?;
            Ok(Warning {
                about: User::read(&about).ok_or(rusqlite::Error::InvalidQuery)?,
                reason: Wrong::of(row.get(1)?).ok_or(rusqlite::Error::InvalidQuery)?,
                files: count(row.get(2)?),
                name: name.map(Name),
                until: row.get::<_, Option<i64>>(4)?.map(count),
            })
        };
        self.all(text, [owner], read)
    }
}
