//! What an operator asks about a hub: in numbers, about its holders, and where the files
//! of a user are.

use rusqlite::params;

use super::{Book, Result, Time, UserId, count};
use crate::hub::wire::{Kind, Name};

/// A hub in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Users.
    pub users: u64,
    /// Holders that share something.
    pub holders: u64,
    /// Those of them that are online.
    pub online: u64,
    /// Those of these that nobody can connect to.
    pub unreached: u64,
    /// Holders that are gone.
    pub gone: u64,
    /// Live files.
    pub files: u64,
    /// Bytes of all copies.
    pub held: u64,
    /// Bytes that are shared.
    pub shared: u64,
    /// Open runs.
    pub runs: u64,
    /// Files that wait for a copy, or for another place of one.
    pub heals: u64,
    /// Orders that wait for their holders.
    pub orders: u64,
    /// Audits so far, and those that were failed.
    pub audits: u64,
    /// Of them.
    pub failures: u64,
}

/// A holder.
#[derive(Clone, Debug)]
pub struct HolderReport {
    /// Its name.
    pub name: String,
    /// Whether it is online.
    pub is_online: bool,
    /// Whether it has been away for so long that its copies don't count.
    pub is_gone: bool,
    /// When it was online last, or came.
    pub latest: Time,
    /// The bytes it shares.
    pub share: u64,
    /// The bytes of what it has.
    pub held: u64,
    /// How dependable it is, in hundredths.
    pub score: u64,
    /// Audits it has failed.
    pub failures: u64,
    /// Whether others can connect to it; `None` while that is not known.
    pub is_reached: Option<bool>,
    /// Where it says to be.
    pub site: Option<String>,
    /// The bytes it wants to keep at most from now on.
    pub target: Option<u64>,
}

/// A file of a user, and who has a copy in which state.
#[derive(Clone, Debug)]
pub struct FileReport {
    /// Its name.
    pub name: Name,
    /// Its bytes.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
    /// How many copies there are to be.
    pub factor: u64,
    /// The holders and what has become of their copies.
    pub copies: Vec<(String, &'static str)>,
}

/// What a copy's state is called.
fn word(state: i64) -> &'static str {
    match state {
        1 => "asked",
        2 => "live",
        4 => "gone",
        5 => "coming",
        6 => "returning",
        _ => "lost",
    }
}

impl Book {
    /// The hub in numbers.
    ///
    /// # Errors
    /// The database's.
    pub fn report(&self) -> Result<Report> {
        let number = |text: &str| self.number(text, []).map(count);
        Ok(Report {
            users: number("SELECT count(*) FROM user")?,
            holders: number("SELECT count(*) FROM holder WHERE share > 0")?,
            online: number("SELECT count(*) FROM holder WHERE is_online")?,
            unreached: number("SELECT count(*) FROM holder WHERE is_online AND reach = 0")?,
            gone: number("SELECT count(*) FROM holder WHERE is_gone")?,
            files: number("SELECT count(*) FROM file WHERE state = 2")?,
            held: number("SELECT coalesce(sum(held), 0) FROM holder")?,
            shared: number("SELECT coalesce(sum(share), 0) FROM holder")?,
            runs: number("SELECT count(*) FROM run")?,
            heals: number("SELECT count(*) FROM heal")?,
            orders: number("SELECT count(*) FROM orders")?,
            audits: number("SELECT coalesce(sum(audits), 0) FROM holder")?,
            failures: number("SELECT coalesce(sum(failures), 0) FROM holder")?,
        })
    }

    /// All holders, by their names.
    ///
    /// # Errors
    /// The database's.
    pub fn holders(&self) -> Result<Vec<HolderReport>> {
        let text = "SELECT name, is_online, is_gone, latest, share, held,
                    CAST(round(100 * score) AS INTEGER), failures, site, target, reach
                    FROM holder JOIN user ON id = user ORDER BY name";
        let read = |row: &rusqlite::Row<'_>| {
            let number = |at: usize| row.get(at).map(count);
            Ok(HolderReport {
                name: row.get(0)?,
                is_online: row.get(1)?,
                is_gone: row.get(2)?,
                latest: row.get(3)?,
                share: number(4)?,
                held: number(5)?,
                score: number(6)?,
                failures: number(7)?,
                site: row.get(8)?,
                is_reached: row.get(10)?,
                target: row.get::<_, Option<i64>>(9)?.map(count),
            })
        };
        self.all(text, [], read)
    }

    /// The files of a user behind this name, `most` at most, with their copies.
    ///
    /// # Errors
    /// The database's.
    pub fn files_with_copies(
        &self,
        owner: UserId,
        behind: Option<Name>,
        most: u32,
    ) -> Result<Vec<FileReport>> {
        let text = "SELECT name, size, kind, factor FROM file
                    WHERE owner = ?1 AND name > ?2 AND state <> 3 ORDER BY name LIMIT ?3";
        let behind = behind.map_or(Vec::new(), |name| name.0.to_vec());
        let read = |row: &rusqlite::Row<'_>| {
            Ok(FileReport {
                name: Name(row.get(0)?),
                size: count(row.get(1)?),
                kind: Kind::of(row.get(2)?).ok_or(rusqlite::Error::InvalidQuery)?,
                factor: count(row.get(3)?),
                copies: Vec::new(),
            })
        };
        let mut files = self.all(text, params![owner, behind, most], read)?;
        let text = "SELECT user.name, state FROM copy JOIN user ON id = holder
                    WHERE owner = ?1 AND copy.name = ?2 ORDER BY user.name";
        for file in &mut files {
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, word(row.get(1)?)));
            file.copies = self.all(text, params![owner, file.name.0], read)?;
        }
        Ok(files)
    }

    /// Has everything healed at once that waits.
    ///
    /// # Errors
    /// The database's.
    pub fn heal_now(&self, now: Time) -> Result<()> {
        self.run("UPDATE heal SET due = ?1, tries = 0", [now])
            .map(drop)
    }
}
