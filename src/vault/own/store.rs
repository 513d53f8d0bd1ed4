//! The entries of an account of the own dialect, sealed, in a database beneath the
//! session's root. The server counts revisions, and keeps what is replaced for a
//! while. What a client reads as stored is on disk.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::message::{BATCH, Change, Changes, Id, Item, MAX_VERSIONS, Pushed, Sealed, VersionInfo};
use crate::vault::database::Database;

/// The file, in the root of the session.
pub const FILE: &str = "/items.db";

/// The bytes of an entry in an answer but for what is sealed.
const ITEM_BYTES: usize = 40;

/// Every revision is higher than all before it; deletions up to `oldest` are
/// forgotten.
const SCHEMA: &str = "
    CREATE TABLE about (store BLOB NOT NULL, head INTEGER NOT NULL, oldest INTEGER NOT NULL) STRICT;
    CREATE TABLE items (
        revision INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        base INTEGER NOT NULL,
        time INTEGER NOT NULL,
        device BLOB NOT NULL,
        sealed BLOB
    ) STRICT;
    CREATE INDEX items_deleted ON items (time) WHERE sealed IS NULL;
    CREATE TABLE old (
        revision INTEGER PRIMARY KEY,
        id BLOB NOT NULL,
        base INTEGER NOT NULL,
        time INTEGER NOT NULL,
        device BLOB NOT NULL,
        sealed BLOB,
        replaced INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX old_id ON old (id, revision);
    PRAGMA user_version = 1;
";

/// How long what is replaced or deleted is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// So many versions of an entry, however old.
    pub versions: u32,
    /// All versions and deletions for so many days.
    pub days: u32,
}

impl Keep {
    /// When what may go was replaced, in seconds since the epoch.
    fn horizon(self, now: i64) -> i64 {
        now - i64::from(self.days) * 86_400
    }
}

/// What a client learns of the store when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// The store: another one has none of the revisions of this one.
    pub store: Id,
    /// The latest revision.
    pub head: u64,
    /// Deletions up to this one are forgotten.
    pub oldest: u64,
}

/// The entries.
pub struct Store {
    database: Database,
    keep: Keep,
    /// The revision up to which this client knows what others have changed.
    told: u64,
}

impl Store {
    /// The one in this file, which may have so many bytes. Forgets old deletions.
    ///
    /// # Errors
    /// The database's.
    pub fn open(file: &Path, most: u64, keep: Keep, now: i64) -> rusqlite::Result<Store> {
        let database = Database::open(file, SCHEMA, most)?;
        let mut store = Store {
            database,
            keep,
            told: 0,
        };
        store.name()?;
        store.forget(now)?;
        store.told = store.about()?.head;
        Ok(store)
    }

    /// Gives a new store a number that no other has.
    fn name(&mut self) -> rusqlite::Result<()> {
        if about(self.database.db()?).optional()?.is_some() {
            return Ok(());
        }
        let mut number = Id::default();
        getrandom::fill(&mut number).map_err(|_| rusqlite::Error::InvalidQuery)?;
        let text = "INSERT INTO about SELECT ?1, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM about)";
        self.database
            .change(&|db| db.execute(text, [number]).map(drop))
    }

    /// Whether nobody has removed it.
    pub fn is_there(&self) -> bool {
        self.database.is_there()
    }

    /// Whether it needs memory.
    pub fn is_open(&self) -> bool {
        self.database.is_open()
    }

    /// Gives back its memory until it is asked for something.
    pub fn rest(&mut self) {
        self.database.rest();
    }

    /// What a client learns of it.
    ///
    /// # Errors
    /// The database's.
    pub fn about(&mut self) -> rusqlite::Result<About> {
        about(self.database.db()?)
    }

    /// The latest revision, if others have changed something that was not news before.
    ///
    /// # Errors
    /// The database's.
    pub fn news(&mut self) -> rusqlite::Result<Option<u64>> {
        let head = self.about()?.head;
        let is_news = head > self.told;
        self.told = head;
        Ok(is_news.then_some(head))
    }

    /// The entries that have changed since a revision. One from before the deletions
    /// that are known, or from a store that was set back, is answered by the
    /// beginning of a list of all.
    ///
    /// # Errors
    /// The database's.
    pub fn pull(&mut self, since: u64, is_whole: bool) -> rusqlite::Result<Changes> {
        let look = self.database.db()?.transaction()?;
        let About { head, oldest, .. } = about(&look)?;
        let is_lost = !is_whole && (since < oldest || since > head);
        let since = if is_lost { 0 } else { since };
        let mut changes = Changes {
            upto: head,
            whole: is_whole || is_lost,
            ..Changes::default()
        };
        let mut bytes = 0;
        let text = "SELECT revision, id, base, sealed FROM items WHERE revision > ?1
                    ORDER BY revision";
        let mut statement = look.prepare_cached(text)?;
        let mut rows = statement.query([number(since)])?;
        while let Some(row) = rows.next()? {
            if bytes >= BATCH {
                changes.more = true;
                changes.upto = changes.items.last().map_or(since, |last| last.revision);
                break;
            }
            let item = item(row)?;
            bytes += ITEM_BYTES + length(&item);
            changes.items.push(item);
        }
        Ok(changes)
    }

    /// Makes changes of a device, each for itself: one that was made to another
    /// revision than the entry has is not made, one that is made already is done.
    ///
    /// # Errors
    /// The database's; nothing has changed then.
    pub fn push(
        &mut self,
        changes: &[Change],
        device: &Id,
        now: (i64, i64),
    ) -> rusqlite::Result<Vec<Pushed>> {
        let keep = self.keep;
        let push = |db: &rusqlite::Transaction<'_>| push(db, changes, (device, keep, now));
        let (results, before, head) = match changes.iter().all(|change| change.sealed.is_none()) {
            true => self.database.spare(|database| database.with_room(push)),
            false => self.database.with_room(push),
        }?;
        if before == self.told {
            self.told = head;
        }
        Ok(results)
    }

    /// The versions of an entry that are kept, the latest first.
    ///
    /// # Errors
    /// The database's.
    pub fn versions(&mut self, id: &Id) -> rusqlite::Result<Vec<VersionInfo>> {
        let text = "SELECT revision, time, device, sealed IS NULL FROM items WHERE id = ?1
                    UNION ALL
                    SELECT revision, time, device, sealed IS NULL FROM old WHERE id = ?1
                    ORDER BY revision DESC LIMIT ?2";
        let read = |row: &Row<'_>| {
            Ok(VersionInfo {
                revision: revision(row, 0)?,
                time: row.get(1)?,
                device: row.get(2)?,
                is_deletion: row.get(3)?,
            })
        };
        let mut statement = self.database.db()?.prepare_cached(text)?;
        let most = i64::try_from(MAX_VERSIONS).unwrap_or(i64::MAX);
        let versions = statement.query_map(params![id, most], read)?;
        versions.collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// The database's.
    pub fn version(&mut self, id: &Id, revision: u64) -> rusqlite::Result<Option<Item>> {
        let text = "SELECT revision, id, base, sealed FROM items WHERE id = ?1 AND revision = ?2
                    UNION ALL
                    SELECT revision, id, base, sealed FROM old WHERE id = ?1 AND revision = ?2";
        let mut statement = self.database.db()?.prepare_cached(text)?;
        statement
            .query_row(params![id, number(revision)], item)
            .optional()
    }

    /// Forgets deletions that are old, and the versions of what they ended.
    fn forget(&mut self, now: i64) -> rusqlite::Result<()> {
        let horizon = self.keep.horizon(now);
        let text = "SELECT max(revision) FROM items WHERE sealed IS NULL AND time < ?1";
        let last: Option<i64> = self
            .database
            .db()?
            .query_row(text, [horizon], |row| row.get(0))?;
        let Some(last) = last else { return Ok(()) };
        self.database.spare(|database| {
            database.change(&|db| {
                db.execute(
                    "DELETE FROM old WHERE id IN
                     (SELECT id FROM items WHERE sealed IS NULL AND time < ?1)",
                    [horizon],
                )?;
                let text = "DELETE FROM items WHERE sealed IS NULL AND time < ?1";
                db.execute(text, [horizon])?;
                db.execute("UPDATE about SET oldest = max(oldest, ?1)", [last])?;
                Ok(())
            })
        })
    }
}

fn about(db: &Connection) -> rusqlite::Result<About> {
    let mut statement = db.prepare_cached("SELECT store, head, oldest FROM about")?;
    statement.query_row([], |row| {
        Ok(About {
            store: row.get(0)?,
            head: revision(row, 1)?,
            oldest: revision(row, 2)?,
        })
    })
}

/// As the database has it: it has no higher ones.
fn number(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

fn revision(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

/// The version in a row of revision, id, base and content.
fn item(row: &Row<'_>) -> rusqlite::Result<Item> {
    Ok(Item {
        revision: revision(row, 0)?,
        id: row.get(1)?,
        base: revision(row, 2)?,
        sealed: row.get::<_, Option<Vec<u8>>>(3)?.map(Sealed),
    })
}

fn length(item: &Item) -> usize {
    item.sealed.as_ref().map_or(0, |sealed| sealed.0.len())
}

/// What came of the changes, and the latest revision before and behind them.
fn push(
    db: &Connection,
    changes: &[Change],
    (device, keep, (now, milliseconds)): (&Id, Keep, (i64, i64)),
) -> rusqlite::Result<(Vec<Pushed>, u64, u64)> {
    let mut head = number(about(db)?.head);
    let before = head;
    let mut bytes = 0;
    let mut results = Vec::with_capacity(changes.len());
    for change in changes {
        let current = current(db, &change.id)?;
        let is_made = current
            .as_ref()
            .is_some_and(|it| it.sealed == change.sealed);
        let known = current.as_ref().map_or(0, |it| it.revision);
        let stored = match current {
            Some(current) if is_made => current.revision,
            None if change.sealed.is_none() && change.base == 0 => 0,
            current if known != change.base => {
                bytes += ITEM_BYTES + current.as_ref().map_or(0, length);
                let current = current.filter(|_| bytes <= BATCH);
                results.push(Pushed::Stale { current });
                continue;
            }
            _ => {
                // A clock in it, so that no number comes again from a store that was
                // set back.
                head = (head + 1).max(milliseconds);
                replace(db, (change, head), (device, now))?;
                forget_versions(db, &change.id, keep, now)?;
                head.unsigned_abs()
            }
        };
        results.push(Pushed::Stored { revision: stored });
    }
    if head > before {
        db.prepare_cached("UPDATE about SET head = ?1")?
            .execute([head])?;
    }
    Ok((results, before.unsigned_abs(), head.unsigned_abs()))
}

fn current(db: &Connection, id: &Id) -> rusqlite::Result<Option<Item>> {
    let text = "SELECT revision, id, base, sealed FROM items WHERE id = ?1";
    db.prepare_cached(text)?.query_row([id], item).optional()
}

/// Keeps the version that an entry has, and gives it another one.
fn replace(
    db: &Connection,
    (change, revision): (&Change, i64),
    (device, now): (&Id, i64),
) -> rusqlite::Result<()> {
    let Change { id, base, sealed } = change;
    let text = "INSERT INTO old SELECT revision, id, base, time, device, sealed, ?2 FROM items
                WHERE id = ?1";
    db.prepare_cached(text)?.execute(params![id, now])?;
    db.prepare_cached("DELETE FROM items WHERE id = ?1")?
        .execute([id])?;
    let text = "INSERT INTO items (revision, id, base, time, device, sealed)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let sealed = sealed.as_ref().map(|sealed| &sealed.0);
    db.prepare_cached(text)?
        .execute(params![revision, id, number(*base), now, device, sealed])?;
    Ok(())
}

fn forget_versions(db: &Connection, id: &Id, keep: Keep, now: i64) -> rusqlite::Result<()> {
    let text = "DELETE FROM old WHERE id = ?1 AND replaced < ?2 AND revision NOT IN
                (SELECT revision FROM old WHERE id = ?1 ORDER BY revision DESC LIMIT ?3)";
    db.prepare_cached(text)?
        .execute(params![id, keep.horizon(now), keep.versions])?;
    Ok(())
}
