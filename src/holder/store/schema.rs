//! The tables of the store's database, and how it is opened.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

/// `file.state`, as it stands in the statements: see [`State`](super::catalog::State).
/// `until` is when a file leaves the trash; it is not there for others.
const SCHEMA: &str = "
    CREATE TABLE owner (
        id INTEGER PRIMARY KEY,
        user TEXT NOT NULL UNIQUE,
        key BLOB NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE file (
        owner INTEGER NOT NULL REFERENCES owner,
        name BLOB NOT NULL,
        size INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        sig BLOB NOT NULL,
        state INTEGER NOT NULL,
        since INTEGER NOT NULL,
        until INTEGER,
        proven INTEGER NOT NULL DEFAULT 0,
        scrubbed INTEGER NOT NULL,
        reported INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (owner, name)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX file_name ON file (name);
    CREATE INDEX file_kind ON file (owner, kind, since);
    CREATE INDEX file_until ON file (until) WHERE until IS NOT NULL;
    CREATE INDEX file_scrubbed ON file (scrubbed);
    CREATE INDEX file_reported ON file (since) WHERE reported = 0;
    CREATE INDEX file_lost ON file (state) WHERE state > 2;
";

/// What shows which store the files belong to.
const MARK: &str = "
    CREATE TABLE store (mark BLOB NOT NULL) STRICT;
    PRAGMA user_version = 2;
";

/// The tables of this version.
const VERSION: i64 = 2;

/// How long one waits for a change of another process.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the database in this file, made when it is missing.
pub(super) fn open(file: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(file)?;
    // At a reload the process before this one may still write.
    db.busy_timeout(PATIENCE)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    // Temporary tables would be files elsewhere.
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.set_prepared_statement_cache_capacity(64);
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        0 => db.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} {MARK} COMMIT;"))?,
        1 => db.execute_batch(&format!("BEGIN IMMEDIATE; {MARK} COMMIT;"))?,
        VERSION => {}
        _ => return Err(rusqlite::Error::InvalidQuery),
    }
    Ok(db)
}
