//! The tables of the accounts, and how every database of the vault is set up.

use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

/// How long another process may hold the database.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) const SCHEMA: &str = "
    CREATE TABLE accounts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        nickname TEXT NOT NULL,
        email TEXT NOT NULL,
        hash TEXT NOT NULL,
        active INTEGER NOT NULL,
        made INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        resent INTEGER NOT NULL DEFAULT 0,
        address TEXT NOT NULL,
        banned_until INTEGER NOT NULL DEFAULT 0,
        of_users_file INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE UNIQUE INDEX accounts_email ON accounts (email) WHERE email != '';
    CREATE TABLE staged (
        account INTEGER PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
        directory TEXT NOT NULL
    ) STRICT;
    CREATE TABLE codes (
        account INTEGER PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
        kind TEXT NOT NULL,
        code TEXT NOT NULL,
        made INTEGER NOT NULL,
        wrong INTEGER NOT NULL,
        closed_until INTEGER NOT NULL,
        cookie TEXT NOT NULL,
        mail_due INTEGER,
        mail_tries INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE mails (
        address TEXT NOT NULL,
        time INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX mails_address ON mails (address);
    CREATE TABLE cookies (
        cookie TEXT PRIMARY KEY,
        made INTEGER NOT NULL,
        made_from TEXT NOT NULL,
        about TEXT NOT NULL DEFAULT '{}',
        seen INTEGER NOT NULL,
        seen_from TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX cookies_made ON cookies (made);
    CREATE INDEX cookies_made_from ON cookies (made_from);
    CREATE TABLE devices (
        account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
        cookie TEXT NOT NULL REFERENCES cookies,
        PRIMARY KEY (account, cookie)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX devices_cookie ON devices (cookie);
    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
        name TEXT NOT NULL,
        address TEXT NOT NULL,
        time INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX events_account ON events (account);
    CREATE TABLE own (
        account INTEGER PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
        salt BLOB NOT NULL, memory_kib INTEGER NOT NULL, passes INTEGER NOT NULL,
        lanes INTEGER NOT NULL,
        auth BLOB NOT NULL, recovery BLOB NOT NULL, wrapped BLOB NOT NULL
    ) STRICT;
    CREATE TABLE own_devices (
        account INTEGER NOT NULL REFERENCES own ON DELETE CASCADE,
        id BLOB NOT NULL,
        token BLOB NOT NULL,
        name TEXT NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (account, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE own_key (key BLOB NOT NULL) STRICT;
    CREATE TABLE registrations (
        name TEXT PRIMARY KEY,
        code TEXT NOT NULL,
        made INTEGER NOT NULL,
        wrong INTEGER NOT NULL,
        closed_until INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
";

/// Sets a database up: its tables, and that what is committed is on disk.
///
/// # Errors
/// The database's.
pub fn prepare(db: &mut Connection, schema: &str) -> rusqlite::Result<()> {
    db.busy_timeout(PATIENCE)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    // Temporary tables would be files elsewhere.
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "secure_delete", true)?;
    let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = change.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        change.execute_batch(schema)?;
    }
    change.commit()
}
