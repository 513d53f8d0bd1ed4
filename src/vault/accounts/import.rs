//! Accounts that come from an original server: all come about in one transaction,
//! and their entries, which are on disk before, then move to their places.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use rustix::fs::{CWD, FlockOperation, Mode, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

use super::Refusal;
use super::book::{Book, Trouble};

/// The directory with entries that are not in their places yet.
pub const STAGING: &str = "import";

/// A user of an original server.
#[derive(Debug)]
pub struct User {
    /// The number there.
    pub number: i64,
    /// The name.
    pub name: String,
    /// The name to be greeted by.
    pub nickname: String,
    /// The address, if there is one.
    pub email: Option<String>,
    /// The hash of the password, in the form that accounts have.
    pub hash: String,
    /// When it was changed last, in seconds.
    pub changed: i64,
    /// Until when it is banned, in seconds; 0 if it is not.
    pub banned_until: i64,
}

/// A device there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What names it.
    pub cookie: String,
    /// What it has said of itself, in JSON.
    pub about: String,
    /// When it was seen, in seconds.
    pub seen: i64,
    /// From where.
    pub address: String,
}

/// An account to be.
pub struct Account {
    /// Whose it is.
    pub user: User,
    /// The devices that may log in without a code.
    pub devices: Vec<Device>,
    /// Where its entries are, in [`STAGING`].
    pub directory: String,
}

/// That nobody else prepares an import.
pub struct StagingLock {
    /// The lock ends with it.
    _directory: OwnedFd,
}

/// Locks the directory of imports, which it makes; `None` while somebody else has it.
///
/// # Errors
/// The system's.
pub fn lock_staging(store: &Path) -> io::Result<Option<StagingLock>> {
    let staging = store.join(STAGING);
    make_directory(&staging)?;
    let directory = OwnedFd::from(File::open(&staging)?);
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(StagingLock {
            _directory: directory,
        })),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Makes a directory, by a call that the sandbox knows.
///
/// # Errors
/// The system's, unless there is one.
pub fn make_directory(path: &Path) -> io::Result<()> {
    match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Gives an account its devices.
fn add_devices(
    db: &Connection,
    account: i64,
    devices: &[Device],
    now: i64,
) -> rusqlite::Result<()> {
    for device in devices {
        db.execute(
            "INSERT OR IGNORE INTO cookies (cookie, made, made_from, about, seen, seen_from)
             VALUES (?1, ?2, ?3, ?4, ?5, ?3)",
            params![
                device.cookie,
                now,
                device.address,
                device.about,
                device.seen
            ],
        )?;
        let text = "INSERT OR IGNORE INTO devices (account, cookie) VALUES (?1, ?2)";
        db.execute(text, params![account, device.cookie])?;
    }
    Ok(())
}

impl Book {
    fn staging(&self) -> std::path::PathBuf {
        self.users.with_file_name(STAGING)
    }

    /// Makes all accounts, or none. The rows of users there whose address another
    /// account has; they have none here.
    pub fn take_over<'a>(
        &mut self,
        accounts: &'a [Account],
        now: i64,
    ) -> Result<Vec<(i64, &'a str)>, Trouble> {
        let mut without = Vec::new();
        self.change(|db| {
            for Account {
                user,
                devices,
                directory,
            } in accounts
            {
                let mut email = user.email.as_deref().unwrap_or_default();
                let text = "SELECT id FROM accounts WHERE email = ?1 AND email != ''";
                let other: Option<i64> =
                    db.query_row(text, [email], |row| row.get(0)).optional()?;
                if other.is_some() {
                    without.push((user.number, user.name.as_str()));
                    email = "";
                }
                let made = db.execute(
                    "INSERT INTO accounts
                     (name, nickname, email, hash, active, made, changed, address, banned_until)
                     VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, '', ?7) ON CONFLICT (name) DO NOTHING",
                    params![
                        user.name,
                        user.nickname,
                        email,
                        user.hash,
                        now,
                        user.changed,
                        user.banned_until
                    ],
                )?;
                if made == 0 {
                    return Err(Refusal::UserExists.into());
                }
                let account = db.last_insert_rowid();
                add_devices(db, account, devices, now)?;
                let text = "INSERT INTO staged (account, directory) VALUES (?1, ?2)";
                db.execute(text, params![account, directory])?;
            }
            Ok(())
        })?;
        Ok(without)
    }

    /// Moves entries of accounts that were made by an import to their places: of all,
    /// or of one.
    pub fn settle(&mut self, only: Option<i64>) -> Result<(), Trouble> {
        let staged: Vec<(i64, String)> = {
            let text = "SELECT account, directory FROM staged WHERE ?1 IS NULL OR account = ?1";
            let mut statement = self.db.prepare_cached(text)?;
            let rows = statement.query_map([only], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        for (account, directory) in staged {
            let (from, to) = (
                self.staging().join(directory),
                self.users.join(account.to_string()),
            );
            let moved = match renameat_with(CWD, &from, CWD, &to, RenameFlags::empty()) {
                // Another process was faster.
                Err(Errno::NOENT) if to.exists() => Ok(()),
                moved => moved,
            };
            moved
                .map_err(io::Error::from)
                .and_then(|()| File::open(&self.users)?.sync_all())
                .map_err(Trouble::Place)?;
            let text = "DELETE FROM staged WHERE account = ?1";
            self.change(|db| Ok(db.execute(text, [account])?))?;
        }
        Ok(())
    }

    /// Removes what an import that was cut has left behind, unless one is running.
    ///
    /// # Errors
    /// The system's.
    pub fn clear_unlocked_staging(&self) -> io::Result<()> {
        let store = self.users.parent().filter(|_| self.staging().exists());
        let lock = store.map_or(Ok(None), lock_staging)?;
        lock.map_or(Ok(()), |lock| self.clear_staging(&lock))
    }

    /// The same with the lock.
    ///
    /// # Errors
    /// The system's.
    pub fn clear_staging(&self, _lock: &StagingLock) -> io::Result<()> {
        let text = "SELECT directory FROM staged";
        let staged = self.db.prepare(text).and_then(|mut statement| {
            let rows = statement.query_map([], |row| row.get(0))?;
            rows.collect::<Result<HashSet<String>, _>>()
        });
        let staged = staged.map_err(io::Error::other)?;
        for entry in fs::read_dir(self.staging())? {
            let entry = entry?;
            let is_needed = |name: &str| staged.contains(name);
            if entry.file_name().to_str().is_some_and(is_needed) {
                continue;
            }
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
        Ok(())
    }
}
