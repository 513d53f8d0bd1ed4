//! The entries of one account, in a database beneath the session's root. What a
//! client reads as done is on disk; an entry that is replaced or deleted is kept
//! for a while.

use std::path::Path;

use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Row, Transaction, TransactionBehavior, params,
};
use zeroize::Zeroizing;

use crate::vault::accounts::devices::random_name;
use crate::vault::database::{Database, is_full};
use crate::vault::now;
use crate::vault::reply::{DATETIME, Entry, Failure, Reply};
use crate::vault::request::{Request, Values};

/// The database, in the root of the session.
pub const FILE: &str = "/vault.db";

/// The latest time that all clients can read.
const LATEST: i64 = i32::MAX as i64;

/// How many old versions of an entry are kept, and how long an entry that was
/// deleted, in seconds.
const VERSIONS: i64 = 10;
const KEPT: i64 = 90 * 86_400;

/// The most bytes of all entries in one packet.
const MOST_DUMPED: i64 = 8 << 20;

const SCHEMA: &str = "
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        hid TEXT NOT NULL UNIQUE,
        host TEXT NOT NULL, url TEXT, uname TEXT, password TEXT NOT NULL, email TEXT,
        notes TEXT, icon TEXT, datetime INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE old (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        hid TEXT NOT NULL,
        host TEXT, url TEXT, uname TEXT, password TEXT, email TEXT, notes TEXT, icon TEXT,
        datetime INTEGER,
        kept INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX old_hid ON old (hid);
    CREATE TABLE deleted (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        hid TEXT NOT NULL UNIQUE,
        time INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE seen (
        cookie TEXT PRIMARY KEY,
        number INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
";

const FIELDS: &str = "host, url, uname, password, email, notes, icon, datetime";

/// The entries.
pub struct Store {
    database: Database,
}

/// What a client hears of an error; `None` for one that ends the session.
pub fn failure(e: &rusqlite::Error) -> Option<Failure> {
    match e.sqlite_error_code() {
        _ if is_full(e) => Some(Failure::FULL),
        Some(ErrorCode::ConstraintViolation) => Some(Failure::INCOMPLETE),
        _ => None,
    }
}

impl Store {
    /// The one in the root of this process, which may have so many bytes.
    ///
    /// # Errors
    /// The database's.
    pub fn open(most: u64) -> std::io::Result<Store> {
        Store::open_at(Path::new(FILE), most).map_err(std::io::Error::other)
    }

    /// The one in this file.
    ///
    /// # Errors
    /// The database's.
    pub fn open_at(file: &Path, most: u64) -> rusqlite::Result<Store> {
        let database = Database::open(file, SCHEMA, most)?;
        Ok(Store { database })
    }

    /// Whether nobody has removed it.
    pub fn is_there(&self) -> bool {
        self.database.is_there()
    }

    /// Answers a request about entries but one for some of them, by a device that
    /// is one of these.
    ///
    /// # Errors
    /// The database's; nothing has changed then.
    pub fn answer(
        &mut self,
        request: Request,
        (cookie, devices): (&str, &[String]),
    ) -> rusqlite::Result<Reply> {
        match request {
            Request::Insert { local_id, values } => {
                let values = dated(*values);
                let Some(hid) = self.insert(&values)? else {
                    return Ok(Reply::Failed(Failure::INCOMPLETE));
                };
                Ok(Reply::Inserted { local_id, hid })
            }
            Request::Update {
                hid,
                local_id,
                values,
            } => {
                self.database.with_room(|db| update(db, &hid, &values))?;
                Ok(Reply::Updated { hid, local_id })
            }
            Request::Delete { hids, list } => {
                self.database.spare(|database| {
                    database.with_room(|db| hids.iter().try_for_each(|hid| delete(db, hid)))
                })?;
                Ok(Reply::Deleted(list))
            }
            Request::Sync => self.sync(cookie, devices),
            _ => self.dump(),
        }
    }

    /// The entry of an id, for a client that counts the answers.
    ///
    /// # Errors
    /// The database's.
    pub fn select(&mut self, hid: &str) -> rusqlite::Result<Reply> {
        let text = format!("SELECT id, hid, {FIELDS} FROM entries WHERE hid = ?1");
        let mut statement = self.database.db()?.prepare_cached(&text)?;
        let found = statement.query_row([hid], entry).optional()?;
        Ok(match found {
            Some(entry) => Reply::Selected(Box::new(entry)),
            None => Reply::Gone(hid.to_owned()),
        })
    }

    /// The id of a new entry; `None` for one that is not complete.
    fn insert(&mut self, values: &Values) -> rusqlite::Result<Option<String>> {
        let [host, .., time] = values;
        if host.is_none() || values[3].is_none() || time.is_none() {
            return Ok(None);
        }
        let hid = random_name().map_err(|_| rusqlite::Error::InvalidQuery)?;
        self.database.with_room(|db| add(db, &hid, values))?;
        Ok(Some(hid))
    }

    /// The ids of all entries and of those that are deleted.
    fn sync(&mut self, cookie: &str, devices: &[String]) -> rusqlite::Result<Reply> {
        let look = self.database.db()?.transaction()?;
        let entries = {
            let mut statement =
                look.prepare_cached("SELECT hid, datetime FROM entries ORDER BY id")?;
            let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.to_string()));
            let found = statement.query_map([], read)?;
            found.collect::<rusqlite::Result<Vec<_>>>()?
        };
        let deleted = {
            let mut statement = look.prepare_cached("SELECT hid FROM deleted ORDER BY number")?;
            let found = statement.query_map([], |row| row.get(0))?;
            found.collect::<rusqlite::Result<Vec<String>>>()?
        };
        let (last, seen, oldest): (i64, i64, i64) = look.query_row(
            "SELECT (SELECT coalesce(max(number), 0) FROM deleted),
             coalesce((SELECT number FROM seen WHERE cookie = ?1), 0),
             (SELECT coalesce(min(time), 0) FROM deleted)",
            [cookie],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        drop(look);
        // Nothing is written where nothing has changed.
        let now = now();
        if last > seen || (oldest > 0 && oldest < now - KEPT) {
            self.database.spare(|database| {
                database.change(&|db| note_seen(db, (cookie, last), devices, now))
            })?;
        }
        Ok(Reply::Ids { entries, deleted })
    }

    fn dump(&mut self) -> rusqlite::Result<Reply> {
        let text = "SELECT coalesce(sum(length(host) + coalesce(length(url), 0)
                    + coalesce(length(uname), 0) + length(password) + coalesce(length(email), 0)
                    + coalesce(length(notes), 0) + coalesce(length(icon), 0) + 150), 0) FROM entries";
        let bytes: i64 = self.database.db()?.query_row(text, [], |row| row.get(0))?;
        if bytes > MOST_DUMPED {
            return Ok(Reply::Failed(Failure(15, "ICMD", "TOO_MUCH_DATA")));
        }
        let text = format!("SELECT id, hid, {FIELDS} FROM entries ORDER BY id");
        let mut statement = self.database.db()?.prepare(&text)?;
        let entries = statement.query_map([], entry)?;
        let entries = entries.collect::<rusqlite::Result<_>>()?;
        Ok(Reply::All { entries })
    }
}

/// Entries that come from elsewhere, whole or not at all.
pub struct Filling<'a>(Transaction<'a>);

impl Store {
    /// Takes entries over from elsewhere.
    ///
    /// # Errors
    /// The database's, or that of `fill`; nothing has changed then.
    pub fn take_over(
        &mut self,
        fill: impl FnOnce(&Filling<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let behavior = TransactionBehavior::Immediate;
        let filling = Filling(self.database.db()?.transaction_with_behavior(behavior)?);
        fill(&filling)?;
        filling.0.commit()
    }
}

impl Filling<'_> {
    /// Adds an entry, with its id; whether there was none with this.
    ///
    /// # Errors
    /// The database's.
    pub fn add(&self, entry: &Entry) -> rusqlite::Result<bool> {
        add(&self.0, &entry.hid, &entry.values)
    }

    /// Adds the id of a deleted entry, unless an entry has it; whether it did.
    ///
    /// # Errors
    /// The database's.
    pub fn add_deleted(&self, hid: &str) -> rusqlite::Result<bool> {
        let text = "INSERT OR IGNORE INTO deleted (hid, time) SELECT ?1, ?2
                    WHERE NOT EXISTS (SELECT 1 FROM entries WHERE hid = ?1)";
        let added = self.0.prepare_cached(text)?.execute(params![hid, now()])?;
        Ok(added > 0)
    }
}

/// Adds an entry; whether none had this id.
fn add(db: &Connection, hid: &str, values: &Values) -> rusqlite::Result<bool> {
    let text = format!(
        "INSERT INTO entries (hid, {FIELDS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (hid) DO NOTHING"
    );
    let [host, url, uname, password, email, notes, icon, time] = texts(values);
    let added = db.prepare_cached(&text)?.execute(params![
        hid,
        host,
        url,
        uname,
        password,
        email,
        notes,
        icon,
        number(time)
    ])?;
    Ok(added > 0)
}

/// Gives an entry new values. Those that are older than it has, and those of an
/// entry that is gone, are kept as an old version.
fn update(db: &Connection, hid: &str, values: &Values) -> rusqlite::Result<()> {
    let before: Option<i64> = db
        .prepare_cached("SELECT datetime FROM entries WHERE hid = ?1")?
        .query_row([hid], |row| row.get(0))
        .optional()?;
    let time = number(values[DATETIME].as_ref().map(|text| text.as_str()));
    let is_newest = before.is_some_and(|before| time.is_none_or(|time| time >= before));
    let [host, url, uname, password, email, notes, icon, _] = texts(values);
    if !is_newest {
        let text = format!(
            "INSERT INTO old (hid, {FIELDS}, kept) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        );
        db.prepare_cached(&text)?.execute(params![
            hid,
            host,
            url,
            uname,
            password,
            email,
            notes,
            icon,
            time,
            now()
        ])?;
        return forget_versions(db, hid);
    }
    keep_version(db, hid)?;
    db.prepare_cached(
        "UPDATE entries SET host = coalesce(?2, host), url = coalesce(?3, url),
         uname = coalesce(?4, uname), password = coalesce(?5, password),
         email = coalesce(?6, email), notes = coalesce(?7, notes), icon = coalesce(?8, icon),
         datetime = coalesce(?9, datetime) WHERE hid = ?1",
    )?
    .execute(params![
        hid, host, url, uname, password, email, notes, icon, time
    ])?;
    forget_versions(db, hid)
}

/// Deletes an entry, if there is one.
fn delete(db: &Connection, hid: &str) -> rusqlite::Result<()> {
    keep_version(db, hid)?;
    let deleted = db
        .prepare_cached("DELETE FROM entries WHERE hid = ?1")?
        .execute([hid])?;
    if deleted > 0 {
        db.prepare_cached("INSERT OR IGNORE INTO deleted (hid, time) VALUES (?1, ?2)")?
            .execute(params![hid, now()])?;
    }
    Ok(())
}

/// Keeps an entry as an old version.
fn keep_version(db: &Connection, hid: &str) -> rusqlite::Result<()> {
    let text = format!(
        "INSERT INTO old (hid, {FIELDS}, kept) SELECT hid, {FIELDS}, ?2 FROM entries WHERE hid = ?1"
    );
    db.prepare_cached(&text)?.execute(params![hid, now()])?;
    Ok(())
}

fn forget_versions(db: &Connection, hid: &str) -> rusqlite::Result<()> {
    let text = "DELETE FROM old WHERE hid = ?1 AND id NOT IN
                (SELECT id FROM old WHERE hid = ?1 ORDER BY id DESC LIMIT ?2)";
    db.prepare_cached(text)?.execute(params![hid, VERSIONS])?;
    Ok(())
}

/// Notes up to which a device knows the deleted ids, and forgets those that every
/// device knows and that are old.
fn note_seen(
    db: &Connection,
    (cookie, last): (&str, i64),
    devices: &[String],
    now: i64,
) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO seen (cookie, number) VALUES (?1, ?2)")?
        .execute(params![cookie, last])?;
    let mut known = last;
    for device in devices {
        let seen: Option<i64> = db
            .prepare_cached("SELECT number FROM seen WHERE cookie = ?1")?
            .query_row([device], |row| row.get(0))
            .optional()?;
        known = known.min(seen.unwrap_or(0));
    }
    for text in [
        "DELETE FROM old WHERE kept < ?2 AND hid IN
         (SELECT hid FROM deleted WHERE number <= ?1 AND time < ?2)",
        "DELETE FROM deleted WHERE number <= ?1 AND time < ?2",
    ] {
        db.execute(text, [known, now - KEPT])?;
    }
    Ok(())
}

/// The values with a time that all clients can read.
fn dated(mut values: Values) -> Values {
    let time = &mut values[DATETIME];
    let readable = number(time.as_ref().map(|text| text.as_str()));
    *time = readable.map(|time| Zeroizing::new(time.to_string()));
    values
}

/// A time that all clients can read; now, for one that nobody can.
fn number(text: Option<&str>) -> Option<i64> {
    let text = text?;
    let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let time = match text.parse::<i64>() {
        Ok(time) => time,
        Err(_) if is_number => LATEST,
        Err(_) => now(),
    };
    Some(time.clamp(0, LATEST))
}

fn texts(values: &Values) -> [Option<&str>; 8] {
    std::array::from_fn(|at| values[at].as_ref().map(|text| text.as_str()))
}

/// An entry of a row with its number, its id and its fields.
fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let mut values = Values::default();
    for (at, value) in values.iter_mut().enumerate() {
        *value = match at {
            DATETIME => Some(row.get::<_, i64>(at + 2)?.to_string()),
            _ => row.get(at + 2)?,
        }
        .map(Zeroizing::new);
    }
    Ok(Entry {
        row: row.get(0)?,
        hid: row.get(1)?,
        values,
    })
}
