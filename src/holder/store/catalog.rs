//! What lies in the store: owners with their keys, and each of their files, in one
//! SQLite database. It can be made again from the files, each of which ends with its
//! owner's signature.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::shelves::Mark;
use crate::hub::wire::{Key, Kind, Name, Signature, User, Value};

/// The number of an owner in the database.
pub type OwnerId = i64;

/// Seconds since 1970.
pub type Time = i64;

/// Shorthand.
pub type Result<T> = rusqlite::Result<T>;

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is there, and was what its name says.
    Whole = 1,
    /// It is there, and nobody has looked yet whether it is what its name says.
    Unchecked = 2,
    /// It is not there.
    Missing = 3,
    /// Its bytes were others.
    Corrupt = 4,
}

impl State {
    fn of(number: i64) -> State {
        match number {
            1 => State::Whole,
            2 => State::Unchecked,
            3 => State::Missing,
            _ => State::Corrupt,
        }
    }

    /// Whether it counts as a copy.
    pub fn is_whole(self) -> bool {
        self == State::Whole
    }

    /// Whether there is something to send.
    pub fn is_there(self) -> bool {
        matches!(self, State::Whole | State::Unchecked)
    }
}

/// A file of an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filed {
    /// Whose it is.
    pub owner: OwnerId,
    /// Its name.
    pub name: Name,
    /// Its bytes, without the signature behind them.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
    /// Its owner's signature.
    pub sig: Signature,
    /// What is known of it.
    pub state: State,
    /// When it came, or came back from the trash.
    pub since: Time,
    /// When it leaves the trash, if it is there.
    pub until: Option<Time>,
    /// Whether its owner has signed it away.
    pub is_proven: bool,
}

/// An owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its number.
    pub id: OwnerId,
    /// Its name.
    pub user: User,
    /// The key that signs for it.
    pub key: Key,
}

/// The database.
#[derive(Debug)]
pub struct Catalog(Connection);

const FILE: &str = "SELECT owner, name, size, kind, sig, state, since, until, proven FROM file";

fn filed(row: &Row<'_>) -> Result<Filed> {
    let kind: u8 = row.get(3)?;
    Ok(Filed {
        owner: row.get(0)?,
        name: Name(row.get(1)?),
        size: row.get::<_, i64>(2)?.unsigned_abs(),
        kind: Kind::of(kind).ok_or(rusqlite::Error::InvalidQuery)?,
        sig: Signature(row.get(4)?),
        state: State::of(row.get(5)?),
        since: row.get(6)?,
        until: row.get(7)?,
        is_proven: row.get(8)?,
    })
}

fn owner(row: &Row<'_>) -> Result<Owner> {
    let user: String = row.get(1)?;
    Ok(Owner {
        id: row.get(0)?,
        user: User::read(&user).ok_or(rusqlite::Error::InvalidQuery)?,
        key: Key(row.get(2)?),
    })
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Catalog {
    /// The one in this file, made when it is missing.
    ///
    /// # Errors
    /// The database's, also for tables of another version.
    pub fn open(file: &Path) -> Result<Catalog> {
        super::schema::open(file).map(Catalog)
    }

    /// The mark of the store that its files have, once that is known.
    ///
    /// # Errors
    /// The database's.
    pub fn mark(&self) -> Result<Option<Mark>> {
        self.find("SELECT mark FROM store", [], |row| row.get(0))
    }

    /// Takes note of it.
    ///
    /// # Errors
    /// The database's.
    pub fn set_mark(&self, mark: &Mark) -> Result<()> {
        self.run("INSERT INTO store (mark) VALUES (?1)", [mark])
    }

    /// Begins a change that [`Catalog::commit`] ends. What follows is on disk then, or
    /// nothing of it.
    ///
    /// # Errors
    /// The database's.
    pub fn begin(&self) -> Result<()> {
        self.0.execute_batch("BEGIN IMMEDIATE")
    }

    /// Ends a change, and waits for the disk if there was any.
    ///
    /// # Errors
    /// The database's.
    pub fn commit(&self) -> Result<()> {
        self.0.execute_batch("COMMIT")
    }

    /// Begins a part of a change that is done whole or not at all.
    ///
    /// # Errors
    /// The database's.
    pub fn begin_part(&self) -> Result<()> {
        self.0.execute_batch("SAVEPOINT part")
    }

    /// Ends it, as it is or as if nothing had been done.
    ///
    /// # Errors
    /// The database's.
    pub fn end_part(&self, is_done: bool) -> Result<()> {
        if !is_done {
            self.0.execute_batch("ROLLBACK TO part")?;
        }
        self.0.execute_batch("RELEASE part")
    }

    /// The owner of this name.
    ///
    /// # Errors
    /// The database's.
    pub fn owner(&self, user: &User) -> Result<Option<Owner>> {
        let text = "SELECT id, user, key FROM owner WHERE user = ?1";
        self.find(text, [user.as_str()], owner)
    }

    /// The owner of this number.
    ///
    /// # Errors
    /// The database's.
    pub fn owner_of(&self, id: OwnerId) -> Result<Owner> {
        let mut statement = self
            .0
            .prepare_cached("SELECT id, user, key FROM owner WHERE id = ?1")?;
        statement.query_row([id], owner)
    }

    /// All owners.
    ///
    /// # Errors
    /// The database's.
    pub fn owners(&self) -> Result<Vec<Owner>> {
        self.all("SELECT id, user, key FROM owner", [], owner)
    }

    /// Adds an owner. Neither name nor key is another's.
    ///
    /// # Errors
    /// The database's.
    pub fn add_owner(&self, user: &User, key: Key) -> Result<OwnerId> {
        let text = "INSERT INTO owner (user, key) VALUES (?1, ?2)";
        self.run(text, params![user.as_str(), key.0])?;
        Ok(self.0.last_insert_rowid())
    }

    /// A file of an owner.
    ///
    /// # Errors
    /// The database's.
    pub fn file(&self, owner: OwnerId, name: Name) -> Result<Option<Filed>> {
        let text = format!("{FILE} WHERE owner = ?1 AND name = ?2");
        self.find(&text, params![owner, name.0], filed)
    }

    /// The files of this name, of any owner.
    ///
    /// # Errors
    /// The database's.
    pub fn named(&self, name: Name) -> Result<Vec<Filed>> {
        self.all(&format!("{FILE} WHERE name = ?1"), [name.0], filed)
    }

    /// The newest file of a kind that is not in the trash.
    ///
    /// # Errors
    /// The database's.
    pub fn newest(&self, owner: OwnerId, kind: Kind) -> Result<Option<Filed>> {
        let text = format!(
            "{FILE} WHERE owner = ?1 AND kind = ?2 AND until IS NULL AND state <= 2
             ORDER BY since DESC, name LIMIT 1"
        );
        self.find(&text, params![owner, kind.number()], filed)
    }

    /// Whether an owner has any file here.
    ///
    /// # Errors
    /// The database's.
    pub fn has_any(&self, owner: OwnerId) -> Result<bool> {
        let text = "SELECT EXISTS (SELECT 1 FROM file WHERE owner = ?1 AND state <= 2)";
        self.0.query_row(text, [owner], |row| row.get(0))
    }

    /// Forgets what is missing, if that is all there was; whether there is nothing now.
    ///
    /// # Errors
    /// The database's.
    pub fn is_empty(&self) -> Result<bool> {
        let there = "SELECT 1 FROM file WHERE state <> 3";
        self.run(&format!("DELETE FROM file WHERE NOT EXISTS ({there})"), [])?;
        Ok(self.find(there, [], |_| Ok(()))?.is_none())
    }

    /// Some files of an owner that are there, of one kind or of all, in the order of
    /// names, behind this one.
    ///
    /// # Errors
    /// The database's.
    pub fn list(
        &self,
        owner: OwnerId,
        kind: Option<Kind>,
        behind: Option<Name>,
        most: u32,
    ) -> Result<Vec<Filed>> {
        let text = format!(
            "{FILE} WHERE owner = ?1 AND state <= 2 AND (?2 IS NULL OR kind = ?2)
             AND (?3 IS NULL OR name > ?3) ORDER BY name LIMIT ?4"
        );
        let kind = kind.map(Kind::number);
        let behind = behind.map(|name| name.0);
        self.all(&text, params![owner, kind, behind, most], filed)
    }

    /// Some files that count as copies, behind this one of this owner.
    ///
    /// # Errors
    /// The database's.
    pub fn whole_behind(&self, behind: (OwnerId, Name), most: u32) -> Result<Vec<Filed>> {
        let text = format!(
            "{FILE} WHERE (owner, name) > (?1, ?2) AND state = 1 AND until IS NULL
             ORDER BY owner, name LIMIT ?3"
        );
        self.all(&text, params![behind.0, behind.1.0, most], filed)
    }

    /// Some rows of an owner, in the order of names, behind this one.
    ///
    /// # Errors
    /// The database's.
    pub fn rows(&self, owner: OwnerId, behind: Option<Name>, most: u32) -> Result<Vec<Filed>> {
        let text =
            format!("{FILE} WHERE owner = ?1 AND (?2 IS NULL OR name > ?2) ORDER BY name LIMIT ?3");
        let behind = behind.map(|name| name.0);
        self.all(&text, params![owner, behind, most], filed)
    }

    /// Takes note of a file, in place of what was known of it. One that has come over
    /// the network was checked.
    ///
    /// # Errors
    /// The database's.
    pub fn put(&self, file: &Filed) -> Result<()> {
        let scrubbed = match file.state {
            State::Whole => file.since,
            _ => 0,
        };
        let text = "INSERT OR REPLACE INTO file
                    (owner, name, size, kind, sig, state, since, until, scrubbed)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let (owner, name, sig) = (file.owner, file.name.0, file.sig.0);
        let (size, kind) = (int(file.size), file.kind.number());
        let (state, since, until) = (file.state as i64, file.since, file.until);
        let values = params![owner, name, size, kind, sig, state, since, until, scrubbed];
        self.run(text, values)
    }

    /// A file is looked at, with this outcome. One that is lost is to be reported.
    ///
    /// # Errors
    /// The database's.
    pub fn scrubbed(&self, owner: OwnerId, name: Name, state: State, now: Time) -> Result<()> {
        let text = "UPDATE file SET state = ?3, scrubbed = ?4,
                    reported = CASE WHEN ?3 > 2 THEN 0 ELSE reported END
                    WHERE owner = ?1 AND name = ?2";
        self.run(text, params![owner, name.0, state as i64, now])
    }

    /// Puts a file into the trash, until then.
    ///
    /// # Errors
    /// The database's.
    pub fn discard(&self, owner: OwnerId, name: Name, until: Time, is_proven: bool) -> Result<()> {
        let text = "UPDATE file SET until = ?3, proven = ?4, reported = 1
                    WHERE owner = ?1 AND name = ?2";
        self.run(text, params![owner, name.0, until, is_proven])
    }

    /// Takes it out of the trash.
    ///
    /// # Errors
    /// The database's.
    pub fn bring_back(&self, owner: OwnerId, name: Name, now: Time) -> Result<()> {
        let text = "UPDATE file SET until = NULL, proven = 0, since = ?3
                    WHERE owner = ?1 AND name = ?2";
        self.run(text, params![owner, name.0, now])
    }

    /// Forgets a file.
    ///
    /// # Errors
    /// The database's.
    pub fn forget(&self, owner: OwnerId, name: Name) -> Result<()> {
        let text = "DELETE FROM file WHERE owner = ?1 AND name = ?2";
        self.run(text, params![owner, name.0])
    }

    /// Some files whose time in the trash is over.
    ///
    /// # Errors
    /// The database's.
    pub fn expired(&self, now: Time, most: u32) -> Result<Vec<Filed>> {
        let text = format!("{FILE} WHERE until <= ?1 ORDER BY until LIMIT ?2");
        self.all(&text, params![now, most], filed)
    }

    /// The file whose owner wants it deleted for the longest time.
    ///
    /// # Errors
    /// The database's.
    pub fn first_to_go(&self) -> Result<Option<Filed>> {
        let text = format!("{FILE} WHERE until IS NOT NULL AND proven ORDER BY until LIMIT 1");
        self.find(&text, [], filed)
    }

    /// The file that nobody has looked at for the longest time, if that was before
    /// then.
    ///
    /// # Errors
    /// The database's.
    pub fn next_to_scrub(&self, before: Time) -> Result<Option<Filed>> {
        let text = format!("{FILE} WHERE scrubbed < ?1 AND state <= 2 ORDER BY scrubbed LIMIT 1");
        self.find(&text, [before], filed)
    }

    /// Some files that came before then, and that the hub has not heard of.
    ///
    /// # Errors
    /// The database's.
    pub fn unreported(&self, before: Time, most: u32) -> Result<Vec<Filed>> {
        let text = format!(
            "{FILE} WHERE reported = 0 AND since <= ?1 AND state = 1 ORDER BY since LIMIT ?2"
        );
        self.all(&text, params![before, most], filed)
    }

    /// Some files that are lost, and of which the hub has not heard.
    ///
    /// # Errors
    /// The database's.
    pub fn unwarned(&self, most: u32) -> Result<Vec<Filed>> {
        let text = format!("{FILE} WHERE reported = 0 AND state > 2 ORDER BY since LIMIT ?1");
        self.all(&text, [most], filed)
    }

    /// The hub is to hear of all lost files again.
    ///
    /// # Errors
    /// The database's.
    pub fn warn_again(&self) -> Result<()> {
        self.run("UPDATE file SET reported = 0 WHERE state > 2", [])
    }

    /// The hub has heard of a file.
    ///
    /// # Errors
    /// The database's.
    pub fn reported(&self, owner: OwnerId, name: Name) -> Result<()> {
        let text = "UPDATE file SET reported = 1 WHERE owner = ?1 AND name = ?2";
        self.run(text, params![owner, name.0])
    }

    /// The bytes that lie in the store, and how many of them may go at once.
    ///
    /// # Errors
    /// The database's.
    pub fn held(&self) -> Result<(u64, u64)> {
        let text = "SELECT coalesce(sum(size), 0),
                    coalesce(sum(size) FILTER (WHERE until IS NOT NULL AND proven), 0)
                    FROM file WHERE state <= 2";
        let held: (i64, i64) = self
            .0
            .query_row(text, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok((held.0.unsigned_abs(), held.1.unsigned_abs()))
    }

    /// How many files are there, but for the trash, and how many are lost.
    pub fn count(&self) -> Result<(u64, u64)> {
        let text = "SELECT count(*) FILTER (WHERE state <= 2 AND until IS NULL),
                    count(*) FILTER (WHERE state > 2) FROM file";
        let mut statement = self.0.prepare_cached(text)?;
        let counts = statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)));
        counts.map(|(files, lost): (i64, i64)| (files.unsigned_abs(), lost.unsigned_abs()))
    }

    fn run(&self, text: &str, with: impl Params) -> Result<()> {
        self.0.prepare_cached(text)?.execute(with).map(drop)
    }

    fn find<T>(
        &self,
        text: &str,
        with: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut statement = self.0.prepare_cached(text)?;
        statement.query_row(with, read).optional()
    }

    fn all<T>(
        &self,
        text: &str,
        with: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.0.prepare_cached(text)?;
        let rows = statement.query_map(with, read)?;
        rows.collect()
    }
}
