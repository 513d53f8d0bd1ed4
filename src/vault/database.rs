//! A database beneath a session's root, with a size that it keeps: a change is made
//! whole or not at all, and old versions, which nobody waits for, make room for it.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::accounts::tables::prepare;
use crate::sys::memory::give_back_memory;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// What is free for the end of entries in a database that is full.
const SPARE: u64 = 1 << 20;

/// How often room is made for a change.
const TRIES: u32 = 8;

/// The database. Its table `old` has the versions that may go.
pub struct Database {
    file: PathBuf,
    schema: &'static str,
    /// The most pages it may have.
    pages: u64,
    /// None while it rests.
    connection: Option<Connection>,
}

/// Whether there is no room, in the database or on the disk.
pub fn is_full(e: &rusqlite::Error) -> bool {
    let code = e.sqlite_error_code();
    matches!(code, Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
}

/// Removes the database of an account that has ended, beneath the root of its session;
/// that of one of the vault's own accounts is gone already.
pub fn remove(file: &str) {
    for behind in ["", "-wal", "-shm"] {
        let path = format!("{file}{behind}");
        if let Err(e) = std::fs::remove_file(&path)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            log::error!(path, error:% = e; "entries of a deleted account stay");
        }
    }
}

fn limit(db: &Connection, pages: u64) -> rusqlite::Result<()> {
    let text = format!("PRAGMA max_page_count = {pages}");
    db.query_row(&text, [], |_| Ok(()))
}

impl Database {
    /// The one in this file, made with these tables, which may have so many bytes.
    ///
    /// # Errors
    /// The database's.
    pub fn open(file: &Path, schema: &'static str, most: u64) -> rusqlite::Result<Database> {
        let mut database = Database {
            file: file.to_owned(),
            schema,
            pages: most / PAGE,
            connection: None,
        };
        database.db()?;
        Ok(database)
    }

    /// The connection to it.
    ///
    /// # Errors
    /// The database's, if it has to be opened again.
    pub fn db(&mut self) -> rusqlite::Result<&mut Connection> {
        let db = match self.connection.take() {
            Some(db) => db,
            None => self.connect()?,
        };
        Ok(self.connection.insert(db))
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let mut db = Connection::open(&self.file)?;
        prepare(&mut db, self.schema)?;
        limit(&db, self.pages)?;
        Ok(db)
    }

    /// Whether it needs memory.
    pub fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Gives back the memory that it needs until it is asked for something.
    pub fn rest(&mut self) {
        self.connection = None;
        give_back_memory();
    }

    /// Whether nobody has removed it.
    pub fn is_there(&self) -> bool {
        self.file.exists()
    }

    /// Does something whole or not at all.
    ///
    /// # Errors
    /// The database's.
    pub fn change<T>(
        &mut self,
        body: &impl Fn(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let behavior = TransactionBehavior::Immediate;
        let change = self.db()?.transaction_with_behavior(behavior)?;
        let result = body(&change)?;
        change.commit()?;
        Ok(result)
    }

    /// The same for what ends entries, in a little more room.
    ///
    /// # Errors
    /// The database's.
    pub fn spare<T>(
        &mut self,
        body: impl FnOnce(&mut Database) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let pages = self.pages;
        limit(self.db()?, pages + SPARE / PAGE)?;
        let result = body(self);
        limit(self.db()?, pages)?;
        result
    }

    /// Changes something. If the database is full, the oldest of the versions that
    /// nobody uses make room.
    ///
    /// # Errors
    /// The database's; nothing has changed then.
    pub fn with_room<T>(
        &mut self,
        body: impl Fn(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let mut tries = 0;
        loop {
            let result = self.change(&body);
            tries += 1;
            let is_full = result.as_ref().is_err_and(is_full);
            if !is_full || tries > TRIES || !self.make_room()? {
                return result;
            }
        }
    }

    /// Removes a part of the old versions; whether there were any.
    fn make_room(&mut self) -> rusqlite::Result<bool> {
        let removed = self.spare(|database| {
            database.change(&|db| {
                db.execute(
                    "DELETE FROM old WHERE rowid IN (SELECT rowid FROM old ORDER BY rowid
                     LIMIT (SELECT count(*) / 4 + 1 FROM old))",
                    [],
                )
            })
        })?;
        Ok(removed > 0)
    }
}
