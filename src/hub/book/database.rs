//! The hub's database: one SQLite file, and how it is opened and changed. The broker
//! has it open, and for a moment what an operator runs.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{Result, Rules, Time};
use crate::hub::wire::Label;

/// States, as they stand in the statements: file.state 1 asked for, 2 live (one of its
/// copies is), 3 dying; copy.state 1 asked for, 2 live, 3 lost, 4 at a holder that is
/// gone, 5 on its way from another holder, 6 coming back to one that has lost it. A copy
/// that is asked for by a run has its number. A user's used bytes are those of copies in
/// states 1, 2, 5 and 6, a holder's held bytes those in all but 3. A user with base speaks
/// version 1.0.
const SCHEMA: &str = "
    CREATE TABLE user (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        key BLOB,
        holder_key BLOB,
        login BLOB,
        code BLOB,
        code_until INTEGER,
        pool INTEGER NOT NULL,
        quota INTEGER,
        append_only INTEGER NOT NULL,
        prune_until INTEGER NOT NULL DEFAULT 0,
        used INTEGER NOT NULL DEFAULT 0,
        listed INTEGER NOT NULL DEFAULT 0,
        created INTEGER NOT NULL,
        seen INTEGER NOT NULL,
        base INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX user_pool ON user (pool);
    CREATE INDEX user_base ON user (id) WHERE base = 1;
    CREATE TABLE holder (
        user INTEGER PRIMARY KEY REFERENCES user,
        share INTEGER NOT NULL,
        proved INTEGER NOT NULL,
        proved_since INTEGER NOT NULL,
        held INTEGER NOT NULL DEFAULT 0,
        port INTEGER NOT NULL,
        site TEXT,
        address TEXT,
        reach INTEGER,
        uptime BLOB NOT NULL,
        score REAL NOT NULL DEFAULT 1,
        since INTEGER NOT NULL,
        latest INTEGER NOT NULL,
        is_warned INTEGER NOT NULL DEFAULT 0,
        is_gone INTEGER NOT NULL DEFAULT 0,
        is_online INTEGER NOT NULL DEFAULT 0,
        target INTEGER,
        audit_due INTEGER NOT NULL DEFAULT 0,
        audits INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0,
        failed BLOB,
        passes INTEGER
    ) STRICT;
    CREATE TABLE file (
        owner INTEGER NOT NULL,
        name BLOB NOT NULL,
        size INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        factor INTEGER NOT NULL,
        state INTEGER NOT NULL,
        time INTEGER NOT NULL,
        PRIMARY KEY (owner, name)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX file_kind ON file (owner, kind, time) WHERE kind > 1;
    CREATE INDEX file_open ON file (state, time) WHERE state <> 2;
    CREATE TABLE copy (
        owner INTEGER NOT NULL,
        name BLOB NOT NULL,
        holder INTEGER NOT NULL,
        state INTEGER NOT NULL,
        since INTEGER NOT NULL,
        run BLOB,
        PRIMARY KEY (owner, name, holder)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX copy_holder ON copy (holder, owner, name);
    CREATE INDEX copy_open ON copy (state, since) WHERE state <> 2;
    CREATE INDEX copy_astray ON copy (holder, state, since) WHERE state > 3;
    CREATE INDEX copy_run ON copy (run) WHERE run IS NOT NULL;
    CREATE TABLE run (
        id BLOB PRIMARY KEY,
        owner INTEGER NOT NULL,
        factor INTEGER NOT NULL,
        reserved INTEGER NOT NULL,
        chain INTEGER NOT NULL,
        exclusive INTEGER NOT NULL,
        opened INTEGER NOT NULL,
        touched INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX run_owner ON run (owner);
    CREATE TABLE orders (
        holder INTEGER NOT NULL,
        no INTEGER NOT NULL,
        owner INTEGER NOT NULL,
        name BLOB NOT NULL,
        size INTEGER NOT NULL,
        proof BLOB,
        time INTEGER,
        reason INTEGER,
        tries INTEGER NOT NULL DEFAULT 0,
        due INTEGER NOT NULL,
        PRIMARY KEY (holder, no)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX orders_file ON orders (owner, name);
    CREATE TABLE heal (
        owner INTEGER NOT NULL,
        name BLOB NOT NULL,
        old INTEGER NOT NULL,
        is_judged INTEGER NOT NULL DEFAULT 0,
        tries INTEGER NOT NULL DEFAULT 0,
        due INTEGER NOT NULL,
        PRIMARY KEY (owner, name)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX heal_due ON heal (due);
    CREATE INDEX heal_old ON heal (old);
    CREATE TABLE warning (
        owner INTEGER NOT NULL,
        about INTEGER NOT NULL,
        reason INTEGER NOT NULL,
        since INTEGER NOT NULL,
        files INTEGER NOT NULL,
        name BLOB,
        until INTEGER,
        PRIMARY KEY (owner, about, reason)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE meta (
        hub TEXT NOT NULL,
        latest INTEGER NOT NULL
    ) STRICT;
    PRAGMA user_version = 2;
";

/// The tables of this version.
const VERSION: i64 = 2;

/// What makes them of those of version 1.
const FROM_1: &str = "
    ALTER TABLE user ADD COLUMN base INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX user_base ON user (id) WHERE base = 1;
    PRAGMA user_version = 2;
";

/// How far the clock may go back, in seconds.
const BACK: Time = 60;

/// How long one waits for a change of another process.
const PATIENCE: Duration = Duration::from_secs(10);

/// The database.
#[derive(Debug)]
pub struct Book {
    pub(super) db: Connection,
    pub(super) rules: Rules,
    pub(super) is_stirred: Cell<bool>,
}

impl Book {
    /// The one in this file, made when it is missing.
    ///
    /// # Errors
    /// The database's, also for tables of another version or of a hub of another name.
    pub fn open(file: &Path, rules: Rules, now: Time) -> rusqlite::Result<Book> {
        let db = Connection::open(file)?;
        db.busy_timeout(PATIENCE)?;
        db.pragma_update(None, "page_size", 8192)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        // Temporary tables would be files elsewhere.
        db.pragma_update(None, "temp_store", "MEMORY")?;
        db.set_prepared_statement_cache_capacity(128);
        let change = Transaction::new_unchecked(&db, TransactionBehavior::Immediate)?;
        let version: i64 = change.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            change.execute_batch(SCHEMA)?;
            let text = "INSERT INTO meta (hub, latest) VALUES (?1, ?2)";
            change.execute(text, (rules.hub.as_str(), now))?;
        }
        if version == 1 {
            change.execute_batch(FROM_1)?;
        }
        let hub: String = change.query_row("SELECT hub FROM meta", [], |row| row.get(0))?;
        if !(0..=VERSION).contains(&version) || hub != rules.hub.as_str() {
            return Err(rusqlite::Error::InvalidQuery);
        }
        change.commit()?;
        let is_stirred = Cell::new(true);
        Ok(Book {
            db,
            rules,
            is_stirred,
        })
    }

    /// Whether there may be files to heal that were not there when this was asked last.
    pub fn was_stirred(&self) -> bool {
        self.is_stirred.replace(false)
    }

    /// Writes a copy of the database as it is now into a new file.
    ///
    /// # Errors
    /// The database's.
    pub fn dump(&self, file: &Path) -> Result<()> {
        let file = file.to_string_lossy();
        self.db.execute("VACUUM INTO ?1", [file])?;
        Ok(())
    }

    /// Whether the database is whole.
    ///
    /// # Errors
    /// The database's.
    pub fn is_whole(&self) -> Result<bool> {
        let text = "PRAGMA integrity_check(1)";
        let found: String = self.db.query_row(text, [], |row| row.get(0))?;
        Ok(found == "ok")
    }

    /// The hub's name.
    pub fn hub(&self) -> &Label {
        &self.rules.hub
    }

    /// Does something whole or not at all. It is on disk when this returns. The body
    /// may answer many requests: one that is refused changes nothing.
    ///
    /// # Errors
    /// The body's, and the database's.
    pub fn whole<T>(&self, body: impl FnOnce(&Book) -> Result<T>) -> Result<T> {
        let behavior = TransactionBehavior::Immediate;
        let change = Transaction::new_unchecked(&self.db, behavior)?;
        let result = body(self)?;
        change.commit()?;
        Ok(result)
    }

    /// Does a part of that whole or not at all.
    ///
    /// # Errors
    /// The body's, and the database's.
    pub fn part<T>(&self, body: impl FnOnce(&Book) -> Result<T>) -> Result<T> {
        self.run("SAVEPOINT part", [])?;
        let result = body(self);
        if result.is_err() {
            self.run("ROLLBACK TO part", [])?;
        }
        self.run("RELEASE part", [])?;
        result
    }

    /// Takes note of the time; whether the clock has not gone back. While it has,
    /// nobody may log in.
    ///
    /// # Errors
    /// The database's.
    pub fn note_time(&self, now: Time) -> Result<bool> {
        let text = "SELECT latest FROM meta";
        let latest: Time = self.db.query_row(text, [], |row| row.get(0))?;
        if now > latest {
            self.run("UPDATE meta SET latest = ?1", [now])?;
        }
        Ok(now >= latest - BACK)
    }

    /// Runs a statement; how many rows it has changed.
    pub(super) fn run(&self, text: &str, with: impl rusqlite::Params) -> Result<usize> {
        Ok(self.db.prepare_cached(text)?.execute(with)?)
    }

    /// The one row that a statement finds.
    pub(super) fn find<T>(
        &self,
        text: &str,
        with: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        use rusqlite::OptionalExtension;
        let mut statement = self.db.prepare_cached(text)?;
        Ok(statement.query_row(with, read).optional()?)
    }

    /// All rows that a statement finds.
    pub(super) fn all<T>(
        &self,
        text: &str,
        with: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.db.prepare_cached(text)?;
        let rows = statement.query_map(with, read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The number that a statement counts.
    pub(super) fn number(&self, text: &str, with: impl rusqlite::Params) -> Result<i64> {
        let mut statement = self.db.prepare_cached(text)?;
        Ok(statement.query_row(with, |row| row.get(0))?)
    }
}
