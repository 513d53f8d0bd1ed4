//! The database of an original server, read as data: no view, trigger or expression
//! in it is run, and what no client could have sent is left out and reported.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};
use zeroize::Zeroizing;

use super::report::Report;
use crate::vault::accounts::book::check_email;
use crate::vault::accounts::import::{Device, User};
use crate::vault::accounts::password;
use crate::vault::reply::{DATETIME, Entry};
use crate::vault::request::{COLUMNS, Values};

/// The longest text of an account or a device, and of a field of an entry, in bytes.
const MAX_TEXT: usize = 1024;
const MAX_FIELD: usize = 2 << 20;

/// The most devices of an account that are taken over.
const MOST_DEVICES: usize = 100;

/// What stands for a text that was never set.
const EMPTY: &str = "EMPTY";

/// The tables that every version has, and the columns of them that every one has.
const NEEDED: [(&str, &[&str]); 4] = [
    (
        "Tbl_user",
        &["U_id", "U_username", "U_password", "U_isVerified"],
    ),
    (
        "Tbl_data",
        &["D_host", "D_password", "D_userid", "D_hid", "D_datetime"],
    ),
    ("Tbl_cookies", &["C_id", "C_cookie"]),
    ("Tbl_connectUserCookies", &["U_id", "C_id"]),
];

/// Those of later versions.
const LATER: [&str; 2] = ["Tbl_delete", "Tbl_blockedCookies"];

/// The columns of [`COLUMNS`].
const FIELDS: [&str; COLUMNS.len()] = [
    "D_host",
    "D_url",
    "D_uname",
    "D_password",
    "D_email",
    "D_notes",
    "D_icon",
    "D_datetime",
];

/// The database.
pub struct Source {
    db: Connection,
    /// The columns of each table that there is.
    columns: HashMap<&'static str, HashSet<String>>,
}

/// What belongs to the users of a database, by their numbers in it.
#[derive(Default)]
pub struct Belongings {
    /// The rows of their entries.
    pub entries: HashMap<i64, Vec<i64>>,
    /// The ids of entries that they have deleted.
    pub deleted: HashMap<i64, Vec<String>>,
    /// Their devices.
    pub devices: HashMap<i64, Vec<Device>>,
}

impl Source {
    /// The one in a file that nobody changes.
    ///
    /// # Errors
    /// One line: why it is not one of an original server.
    pub fn open(path: &Path) -> Result<Source, String> {
        let db = open(path).map_err(said)?;
        let mut source = Source {
            db,
            columns: HashMap::new(),
        };
        for (table, needed) in NEEDED {
            let columns = source.columns_of(table)?;
            let missing = needed.iter().find(|column| !columns.contains(**column));
            if let Some(missing) = missing {
                let text = match columns.is_empty() {
                    true => format!("it has no table {table}"),
                    false => format!("{table} has no column {missing}"),
                };
                return Err(format!("not a database of an original server: {text}"));
            }
            source.columns.insert(table, columns);
        }
        for table in LATER {
            let columns = source.columns_of(table)?;
            if !columns.is_empty() {
                source.columns.insert(table, columns);
            }
        }
        Ok(source)
    }

    /// The ordinary columns of an ordinary table; none of a table that does not exist.
    fn columns_of(&self, table: &str) -> Result<HashSet<String>, String> {
        let text = "SELECT type, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1";
        let mut statement = self.db.prepare(text).map_err(said)?;
        let mut rows = statement.query([table]).map_err(said)?;
        let Some(row) = rows.next().map_err(said)? else {
            return Ok(HashSet::new());
        };
        let (kind, has_no_rows): (String, bool) = row
            .get(0)
            .and_then(|kind| Ok((kind, row.get(1)?)))
            .map_err(said)?;
        if kind != "table" || has_no_rows {
            let text = "is not an ordinary table";
            return Err(format!(
                "not a database of an original server: {table} {text}"
            ));
        }
        let text = "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0";
        let mut statement = self.db.prepare(text).map_err(said)?;
        let names = statement.query_map([table], |row| row.get(0));
        names.and_then(Iterator::collect).map_err(said)
    }

    /// What reads these columns of a table, each a number or a text of so many bytes;
    /// nothing for one that is missing, no number and no text for one that is longer.
    fn select(&self, table: &str, columns: &[&str], most: usize) -> String {
        let known = self.columns.get(table);
        let column = |name: &&str| match known.is_some_and(|known| known.contains(*name)) {
            true => format!(
                "CASE WHEN octet_length(\"{name}\") > {most} THEN x'' ELSE \"{name}\" END AS \"{name}\""
            ),
            false => format!("NULL AS \"{name}\""),
        };
        let columns: Vec<String> = columns.iter().map(column).collect();
        format!("SELECT rowid, {} FROM \"{table}\"", columns.join(", "))
    }

    /// Calls `take` with each row of a table, if there is one.
    fn each(
        &self,
        table: &str,
        columns: &[&str],
        mut take: impl FnMut(i64, &Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), String> {
        if !self.columns.contains_key(table) {
            return Ok(());
        }
        let text = self.select(table, columns, MAX_TEXT) + " ORDER BY rowid";
        let mut read = || {
            let mut statement = self.db.prepare(&text)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                take(row.get(0)?, row)?;
            }
            Ok(())
        };
        read().map_err(said)
    }

    /// The users, without those that can't log in or are not right.
    ///
    /// # Errors
    /// One line.
    pub fn users(&self, now: i64, report: &mut Report) -> Result<Vec<User>, String> {
        let columns = [
            "U_id",
            "U_username",
            "U_password",
            "U_isVerified",
            "U_name",
            "U_email",
            "U_datetime",
            "U_isBanned",
            "U_banTime",
            "U_banDuration",
        ];
        let mut users: Vec<User> = Vec::new();
        let (mut names, mut numbers) = (HashSet::new(), HashSet::new());
        self.each("Tbl_user", &columns, |row, values| {
            match user(values, now, (row, report)) {
                Ok(user) if !names.insert(user.name.clone()) => {
                    report.leave_out("user", row, Some(&user.name), "the name is there twice");
                }
                Ok(user) if !numbers.insert(user.number) => {
                    report.leave_out("user", row, Some(&user.name), "U_id is there twice");
                }
                Ok(user) => users.push(user),
                Err(why) => report.leave_out("user", row, None, why),
            }
            Ok(())
        })?;
        Ok(users)
    }

    /// What belongs to these users.
    ///
    /// # Errors
    /// One line.
    pub fn belongings(
        &self,
        users: &[User],
        now: i64,
        report: &mut Report,
    ) -> Result<Belongings, String> {
        let names: HashMap<i64, &str> = users
            .iter()
            .map(|user| (user.number, user.name.as_str()))
            .collect();
        let mut found = Belongings::default();
        let nobody = "of no user that is taken over";
        self.each("Tbl_data", &["D_userid"], |row, values| {
            match number(values, 1)
                .ok()
                .filter(|user| names.contains_key(user))
            {
                Some(user) => found.entries.entry(user).or_default().push(row),
                None => report.leave_out("entry", row, None, nobody),
            }
            Ok(())
        })?;
        self.each("Tbl_delete", &["DEL_hid", "DEL_userid"], |row, values| {
            let user = number(values, 2)
                .ok()
                .filter(|user| names.contains_key(user));
            match (user, id(values, 1)) {
                (Some(user), Ok(hid)) => found.deleted.entry(user).or_default().push(hid),
                (Some(user), Err(why)) => {
                    report.leave_out("deleted id", row, names.get(&user).copied(), why);
                }
                (None, _) => report.leave_out("deleted id", row, None, nobody),
            }
            Ok(())
        })?;
        found.devices = self.devices(&names, now, report)?;
        Ok(found)
    }

    /// The devices of these users.
    fn devices(
        &self,
        names: &HashMap<i64, &str>,
        now: i64,
        report: &mut Report,
    ) -> Result<HashMap<i64, Vec<Device>>, String> {
        let banned = self.banned_cookies(now)?;
        let mut cookies: HashMap<i64, Device> = HashMap::new();
        let columns = ["C_id", "C_cookie", "C_os", "C_lastSeen", "C_ip"];
        self.each("Tbl_cookies", &columns, |row, values| {
            match (number(values, 1), device(values)) {
                (_, Ok(device)) if banned.contains(&device.cookie) => {
                    report.leave_out("device", row, None, "banned");
                }
                (Ok(number), Ok(device)) => drop(cookies.insert(number, device)),
                (Err(why), _) | (_, Err(why)) => report.leave_out("device", row, None, why),
            }
            Ok(())
        })?;
        let mut devices: HashMap<i64, Vec<Device>> = HashMap::new();
        self.each(
            "Tbl_connectUserCookies",
            &["U_id", "C_id"],
            |row, values| {
                let user = number(values, 1).ok();
                let Some((user, name)) = user.and_then(|user| Some((user, names.get(&user)?)))
                else {
                    return Ok(());
                };
                let Some(device) = number(values, 2)
                    .ok()
                    .and_then(|number| cookies.get(&number))
                else {
                    report.leave_out("device", row, Some(name), "no cookie that is taken over");
                    return Ok(());
                };
                let own = devices.entry(user).or_default();
                if own.len() == MOST_DEVICES {
                    report.leave_out("device", row, Some(name), "the account has too many");
                } else if !own.contains(device) {
                    own.push(device.clone());
                }
                Ok(())
            },
        )?;
        Ok(devices)
    }

    fn banned_cookies(&self, now: i64) -> Result<HashSet<String>, String> {
        let mut banned = HashSet::new();
        let columns = ["BC_cookie", "BC_time", "BC_duration"];
        self.each("Tbl_blockedCookies", &columns, |_, values| {
            if ban_end(values, (2, 3)) > now
                && let Ok(Some(cookie)) = text(values, 1)
            {
                banned.insert(cookie);
            }
            Ok(())
        })?;
        Ok(banned)
    }

    /// The entry of a row; why not, for one that is not right.
    ///
    /// # Errors
    /// The database's.
    pub fn entry(&self, row: i64) -> rusqlite::Result<Result<Entry, String>> {
        let columns = [&["D_hid"][..], &FIELDS].concat();
        let text = self.select("Tbl_data", &columns, MAX_FIELD) + " WHERE rowid = ?1";
        let mut statement = self.db.prepare_cached(&text)?;
        statement.query_row([row], |values| Ok(entry(row, values)))
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let db = Connection::open_with_flags(path, flags)?;
    for (setting, is_on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
    ] {
        db.set_db_config(setting, is_on)?;
    }
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "mmap_size", 0)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(db)
}

fn said(e: rusqlite::Error) -> String {
    format!("can't be read as a database: {e}")
}

/// What is wrong with a value.
fn wrong(values: &Row<'_>, at: usize, what: impl Display) -> String {
    let column = values.as_ref().column_name(at).unwrap_or_default();
    format!("{column}: {what}")
}

/// A text, or none for NULL.
fn text(values: &Row<'_>, at: usize) -> Result<Option<String>, String> {
    let bytes = match values.get_ref(at) {
        Ok(ValueRef::Null) => return Ok(None),
        Ok(ValueRef::Text(bytes)) => bytes,
        Ok(ValueRef::Integer(number)) => return Ok(Some(number.to_string())),
        _ => {
            return Err(wrong(
                values,
                at,
                "not a text, or a longer one than a client sends",
            ));
        }
    };
    match str::from_utf8(bytes) {
        Ok(text) if text.contains(['\0', '!', ';']) => {
            Err(wrong(values, at, "has a character that no client can send"))
        }
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(wrong(values, at, "not UTF-8")),
    }
}

/// A number, as such or in digits.
fn number(values: &Row<'_>, at: usize) -> Result<i64, String> {
    let text = text(values, at)?;
    let number = text.and_then(|text| text.parse().ok());
    number.ok_or_else(|| wrong(values, at, "not a number"))
}

/// What names an entry or a device.
fn id(values: &Row<'_>, at: usize) -> Result<String, String> {
    let is_id = |id: &String| {
        let is_fit = |c: u8| c.is_ascii_graphic() && !b"'\"\\".contains(&c);
        (1..=128).contains(&id.len()) && id != EMPTY && id.bytes().all(is_fit)
    };
    let id = text(values, at)?.filter(is_id);
    id.ok_or_else(|| wrong(values, at, "not an id"))
}

/// When a ban ends: never, if that can't be read.
fn ban_end(values: &Row<'_>, (time, duration): (usize, usize)) -> i64 {
    let time = number(values, time);
    let end = time.and_then(|time| Ok(time.saturating_add(number(values, duration)?)));
    end.unwrap_or(i64::MAX)
}

/// A user, from the columns that [`Source::users`] reads.
fn user(values: &Row<'_>, now: i64, (row, report): (i64, &mut Report)) -> Result<User, String> {
    let name = text(values, 2)?.filter(|name| is_name(name));
    let name = name.ok_or_else(|| wrong(values, 2, "not a name"))?;
    if name == "__ADMIN__" {
        return Err("the administrator, whose work tfd vault does".to_owned());
    }
    let hash = text(values, 3)?.and_then(|digits| password::of_original(&digits));
    let hash = hash.ok_or_else(|| format!("{name}: {}", wrong(values, 3, "not a hash")))?;
    if number(values, 4)? != 1 {
        return Err(format!("{name}: not activated"));
    }
    let set = |at| match text(values, at) {
        Ok(text) => Ok(text.filter(|text| text != EMPTY && !text.is_empty())),
        Err(why) => Err(why),
    };
    let nickname = set(5).map(|text| text.filter(|text| !text.chars().any(char::is_control)));
    let email = set(6).and_then(|text| match text {
        Some(email) if check_email(&email).is_err() => Err(wrong(values, 6, "not an address")),
        email => Ok(email),
    });
    let mut or_none = |what, value: Result<Option<String>, String>| match value {
        Ok(value) => value,
        Err(why) => {
            report.leave_out(what, row, Some(&name), why);
            None
        }
    };
    let nickname = or_none("nickname", nickname);
    let email = or_none("address", email);
    let is_banned = number(values, 8).unwrap_or(0) != 0;
    let banned_until = if is_banned {
        ban_end(values, (9, 10))
    } else {
        0
    };
    Ok(User {
        number: number(values, 1)?,
        nickname: nickname.unwrap_or_else(|| name.clone()),
        name,
        email,
        hash,
        changed: number(values, 7).unwrap_or(0).clamp(0, now),
        banned_until: if banned_until > now { banned_until } else { 0 },
    })
}

/// Whether a client can log in with a name, and it can be shown.
fn is_name(name: &str) -> bool {
    let is_fit =
        |c: char| !c.is_control() && !"'\"\\".contains(c) && (c == ' ' || !c.is_whitespace());
    (1..=64).contains(&name.chars().count()) && name.trim() == name && name.chars().all(is_fit)
}

/// A device, from the columns that [`Source::devices`] reads.
fn device(values: &Row<'_>) -> Result<Device, String> {
    let about = text(values, 3)?.filter(|about| about != EMPTY);
    let address = text(values, 5)?.filter(|address| address.bytes().all(|c| c.is_ascii_graphic()));
    Ok(Device {
        cookie: id(values, 2)?,
        about: about.map_or_else(
            || "{}".to_owned(),
            |text| crate::vault::account::about_json(&text),
        ),
        seen: number(values, 4).unwrap_or(0),
        address: address.unwrap_or_default(),
    })
}

/// An entry, from the columns that [`Source::entry`] reads.
fn entry(row: i64, of: &Row<'_>) -> Result<Entry, String> {
    let hid = id(of, 1)?;
    let mut values = Values::default();
    for (at, value) in values.iter_mut().enumerate() {
        *value = text(of, at + 2)?.map(Zeroizing::new);
    }
    for (at, name) in FIELDS.iter().enumerate() {
        let is_needed = ["D_host", "D_password", "D_datetime"].contains(name);
        if is_needed && values[at].is_none() {
            return Err(format!("{name}: NULL"));
        }
    }
    number(of, DATETIME + 2)?;
    Ok(Entry { row, hid, values })
}
