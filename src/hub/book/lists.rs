//! What an owner finds: its files by kind, who has them, and which holders have any.

use rusqlite::{Row, params};

use super::{Book, Result, Time, UserId, count};
use crate::hub::wire::{Kind, Kinds, Name};

/// A file of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: Name,
    /// Its bytes.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
    /// When its first copy came, in seconds since 1970.
    pub time: Time,
}

fn listed(row: &Row<'_>) -> rusqlite::Result<Listed> {
    Ok(Listed {
        name: Name(row.get(0)?),
        size: count(row.get(1)?),
        kind: Kind::of(row.get(2)?).ok_or(rusqlite::Error::InvalidQuery)?,
        time: row.get(3)?,
    })
}

impl Book {
    /// How many live files of these kinds an owner has; `None`: all but data.
    ///
    /// # Errors
    /// The database's.
    pub fn count_files(&self, owner: UserId, kinds: Option<Kinds>) -> Result<u64> {
        let text = format!(
            "SELECT count(*) FROM file WHERE owner = ?1 AND {}",
            only(kinds)
        );
        self.number(&text, [owner]).map(count)
    }

    /// Them by their names, `most` at most, behind this one.
    ///
    /// # Errors
    /// The database's.
    pub fn files(
        &self,
        owner: UserId,
        kinds: Option<Kinds>,
        behind: Option<Name>,
        most: u32,
    ) -> Result<Vec<Listed>> {
        let text = format!(
            "SELECT name, size, kind, time FROM file WHERE owner = ?1 AND name > ?2 AND {}
             ORDER BY name LIMIT ?3",
            only(kinds)
        );
        let behind = behind.map_or(Vec::new(), |name| name.0.to_vec());
        self.all(&text, params![owner, behind, most], listed)
    }

    /// The newest live file of an owner that is of this kind, which is not data.
    ///
    /// # Errors
    /// The database's.
    pub fn newest(&self, owner: UserId, kind: Kind) -> Result<Option<Listed>> {
        let text = "SELECT name, size, kind, time FROM file
                    WHERE owner = ?1 AND kind = ?2 AND kind > 1 AND state = 2
                    ORDER BY time DESC LIMIT 1";
        self.find(text, params![owner, kind.number()], listed)
    }

    /// A live file of an owner.
    ///
    /// # Errors
    /// The database's.
    pub fn live_file(&self, owner: UserId, name: Name) -> Result<Option<Listed>> {
        let text = "SELECT name, size, kind, time FROM file
                    WHERE owner = ?1 AND name = ?2 AND state = 2";
        self.find(text, params![owner, name.0], listed)
    }

    /// A file of an owner that is not deleted, live or not.
    ///
    /// # Errors
    /// The database's.
    pub fn any_file(&self, owner: UserId, name: Name) -> Result<Option<Listed>> {
        let text = "SELECT name, size, kind, time FROM file
                    WHERE owner = ?1 AND name = ?2 AND state <> 3";
        self.find(text, params![owner, name.0], listed)
    }

    /// The holders that have live copies of a file, also those that have been gone.
    ///
    /// # Errors
    /// The database's.
    pub fn sources(&self, owner: UserId, name: Name) -> Result<Vec<UserId>> {
        let text = "SELECT holder FROM copy WHERE owner = ?1 AND name = ?2 AND state IN (2, 4)";
        self.all(text, params![owner, name.0], |row| row.get(0))
    }

    /// Whose copy of a file a holder of version 1.0 means, which names the file alone: one
    /// on its way to it, else one that it was to get, else one that it has.
    ///
    /// # Errors
    /// The database's.
    pub fn owner_of(&self, holder: UserId, name: Name) -> Result<Option<UserId>> {
        let text = "SELECT c.owner FROM user u CROSS JOIN copy c
                    ON c.owner = u.id AND c.name = ?2 AND c.holder = ?1
                    WHERE u.base = 1 AND c.state <> 3
                    ORDER BY c.state IN (5, 6) DESC, c.state LIMIT 1";
        self.find(text, params![holder, name.0], |row| row.get(0))
    }

    /// Whether a holder has a live copy of any file of an owner.
    ///
    /// # Errors
    /// The database's.
    pub fn keeps_for(&self, holder: UserId, owner: UserId) -> Result<bool> {
        let text = "SELECT EXISTS (SELECT 1 FROM copy
                    WHERE holder = ?1 AND owner = ?2 AND state IN (2, 4))";
        Ok(self.number(text, [holder, owner])? > 0)
    }
}

/// The condition of such files. Kinds other than data have an index, which a query
/// uses that says so.
fn only(kinds: Option<Kinds>) -> String {
    match kinds {
        Some(Kinds::All) => "state = 2".to_owned(),
        Some(Kinds::Only(Kind::Data)) => "state = 2 AND kind = 1".to_owned(),
        Some(Kinds::Only(kind)) => format!("state = 2 AND kind > 1 AND kind = {}", kind.number()),
        None => "state = 2 AND kind > 1".to_owned(),
    }
}
