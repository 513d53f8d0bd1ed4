//! Takes over the database of an original server, whole or not at all: entries are
//! prepared in a directory of their own, then all accounts come about at once, and
//! the directories move to their places, also after a crash.

mod report;
mod source;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::accounts::book::Book;
use super::accounts::import::{Account, STAGING, User, lock_staging, make_directory};
use super::reply::Failure;
use super::session::{Store, failure};
use report::{Report, Taken};
use source::{Belongings, Source};

/// Takes over what a file has into this store.
///
/// # Errors
/// One line. Nothing has changed then.
pub fn take_over(store: &Path, file: &File, max_account: u64) -> Result<Report, String> {
    let mut book = Book::open(store).map_err(|e| format!("accounts.db: {e}"))?;
    let in_staging = |e: io::Error| format!("{STAGING}: {e}");
    let lock = lock_staging(store).map_err(in_staging)?;
    let lock = lock.ok_or("another import is running: wait for it")?;
    book.settle(None).map_err(|e| e.to_string())?;
    book.clear_staging(&lock).map_err(in_staging)?;
    let staging = store.join(STAGING);
    let done = stage(&mut book, &staging, file, max_account);
    // What was not moved to its place is of no use.
    let settled = book.settle(None).map_err(|e| e.to_string());
    let cleared = book.clear_staging(&lock).map_err(in_staging);
    let report = done?;
    settled.and(cleared)?;
    Ok(report)
}

/// Prepares all and makes the accounts.
fn stage(book: &mut Book, staging: &Path, file: &File, max_account: u64) -> Result<Report, String> {
    let in_staging = |e: io::Error| format!("{STAGING}: {e}");
    let copy = staging.join("source.db");
    write_copy(file, &copy).map_err(in_staging)?;
    let source = Source::open(&copy)?;
    // SQLite has it open.
    fs::remove_file(&copy).map_err(in_staging)?;
    let (mut report, now) = (Report::default(), super::now());
    let users = source.users(now, &mut report)?;
    let mut found = source.belongings(&users, now, &mut report)?;
    let mut accounts = Vec::new();
    for user in users {
        if book.find(&user.name).map_err(|e| e.to_string())?.is_some() {
            report.already.push(user.name);
            continue;
        }
        let directory = accounts.len().to_string();
        let place = staging.join(&directory);
        make_directory(&place).map_err(in_staging)?;
        let taken = fill(
            &source,
            &user,
            &mut found,
            (&place, max_account),
            &mut report,
        )?;
        let synced = File::open(&place).and_then(|place| place.sync_all());
        synced.map_err(in_staging)?;
        let devices = found.devices.remove(&user.number).unwrap_or_default();
        report.users.push(Taken {
            devices: devices.len(),
            ..taken
        });
        accounts.push(Account {
            user,
            devices,
            directory,
        });
    }
    let without = book.take_over(&accounts, now).map_err(|e| e.to_string())?;
    for (row, name) in without {
        report.leave_out("address", row, Some(name), "another account has it");
    }
    Ok(report)
}

/// Copies the file: SQLite opens files by their names, and nobody else has this one.
fn write_copy(mut file: &File, copy: &Path) -> io::Result<()> {
    let mut to = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(copy)?;
    io::copy(&mut file, &mut to).map(drop)
}

/// Writes the entries of a user.
fn fill(
    source: &Source,
    user: &User,
    found: &mut Belongings,
    (place, max_account): (&Path, u64),
    report: &mut Report,
) -> Result<Taken, String> {
    let rows = found.entries.remove(&user.number).unwrap_or_default();
    let deleted = found.deleted.remove(&user.number).unwrap_or_default();
    let file = place.join("vault.db");
    let mut filled = (0, 0);
    let mut store = Store::open_at(&file, max_account).map_err(|e| e.to_string())?;
    let name = &user.name;
    let result = store.take_over(|store| {
        for row in &rows {
            let added = match source.entry(*row)? {
                Ok(entry) if store.add(&entry)? => Ok(()),
                Ok(_) => Err("the id is there twice".to_owned()),
                Err(why) => Err(why),
            };
            match added {
                Ok(()) => filled.0 += 1,
                Err(why) => report.leave_out("entry", *row, Some(name), why),
            }
        }
        for hid in &deleted {
            filled.1 += usize::from(store.add_deleted(hid)?);
        }
        Ok(())
    });
    result.map_err(|e| match failure(&e) {
        Some(Failure::FULL) => {
            format!("{name}: no room: raise vault.max_account, or make room on the disk")
        }
        _ => format!("{name}: {e}"),
    })?;
    Ok(Taken {
        user: name.clone(),
        devices: 0,
        entries: filled.0,
        deleted: filled.1,
    })
}

/// Reads any bytes as a database, and all that is in it: for fuzz targets. How many
/// entries were right.
#[cfg(feature = "testing")]
pub fn read_anything(path: &Path) -> usize {
    let Ok(source) = Source::open(path) else {
        return 0;
    };
    let mut report = Report::default();
    let Ok(users) = source.users(1_600_000_000, &mut report) else {
        return 0;
    };
    let Ok(found) = source.belongings(&users, 1_600_000_000, &mut report) else {
        return 0;
    };
    let rows = found.entries.values().flatten();
    let right = rows.filter(|row| matches!(source.entry(**row), Ok(Ok(_))));
    let right = right.count();
    let _ = report.text();
    right
}
