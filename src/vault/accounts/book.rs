//! The accounts on disk: names, hashes of passwords, devices, codes, events, in
//! one database. It is changed by whole transactions, and holds no entry.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::codes::{self, Kind, MOST_RESENT};
use super::devices::{bind, expect_cookie, is_bound};
use super::roots::make_root;
use super::tables::{SCHEMA, prepare};
use super::{NewAccount, Refusal};
use crate::vault::reply::Event;

/// How long an account is kept that does not become active, in seconds.
pub(super) const INACTIVE: i64 = 3600;

/// How many of these there may be from an address, and in all.
pub(super) const MOST_INACTIVE: i64 = 20;
pub(super) const MOST_INACTIVE_IN_ALL: i64 = 1000;

/// How many events of an account are kept.
const MOST_EVENTS: i64 = 500;

/// The longest name of an account, in characters.
const MAX_NAME: usize = 64;

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The client may know; nothing has changed.
    #[error("{0}")]
    Refused(Refusal),
    /// The same, and the database counts it.
    #[error("{0}")]
    Counted(Refusal),
    /// The database.
    #[error("accounts.db: {0}")]
    Sql(rusqlite::Error),
    /// Entries that are not in their place.
    #[error("entries of an import: {0}")]
    Place(std::io::Error),
    /// The system has no random numbers.
    #[error("no random numbers")]
    Random,
}

impl From<Refusal> for Trouble {
    fn from(why: Refusal) -> Trouble {
        Trouble::Refused(why)
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(e: rusqlite::Error) -> Trouble {
        Trouble::Sql(e)
    }
}

/// An account as the check of a password needs it.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The hash of its password.
    pub hash: String,
}

/// The database.
pub struct Book {
    pub(super) db: Connection,
    /// Where the roots of sessions are.
    pub(super) users: PathBuf,
}

impl Book {
    /// The one in this directory, made when it is missing.
    ///
    /// # Errors
    /// The database's.
    pub fn open(store: &Path) -> rusqlite::Result<Book> {
        let mut db = Connection::open(store.join("accounts.db"))?;
        prepare(&mut db, SCHEMA)?;
        let users = store.join("users");
        Ok(Book { db, users })
    }

    /// Does something whole or not at all; what counts a failure stays.
    pub(super) fn change<T>(
        &mut self,
        body: impl FnOnce(&Transaction<'_>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let behavior = TransactionBehavior::Immediate;
        let change = self.db.transaction_with_behavior(behavior)?;
        let result = body(&change);
        match &result {
            Ok(_) | Err(Trouble::Counted(_)) => change.commit()?,
            Err(_) => change.rollback()?,
        }
        result
    }

    /// A new account with its code, which is bound to a cookie.
    pub fn register(
        &mut self,
        new: &NewAccount,
        hash: &str,
        of_users_file: bool,
        (from, now): (&str, i64),
    ) -> Result<(), Trouble> {
        check_account(new)?;
        self.change(|db| {
            let old = "DELETE FROM accounts WHERE active = 0 AND made < ?1";
            db.execute(old, [now - INACTIVE])?;
            expect_cookie(db, &new.cookie)?;
            let count = |text, value: &str| -> rusqlite::Result<i64> {
                db.query_row(text, [value], |row| row.get(0))
            };
            if count("SELECT count(*) FROM accounts WHERE name = ?1", &new.user)? > 0 {
                return Err(Refusal::UserExists.into());
            }
            if count("SELECT count(*) FROM accounts WHERE email = ?1", &new.email)? > 0 {
                return Err(Refusal::EmailInUse.into());
            }
            let here = "SELECT count(*) FROM accounts WHERE active = 0 AND address = ?1";
            let all = "SELECT count(*) FROM accounts WHERE active = 0 AND ?1 != ''";
            if count(here, from)? >= MOST_INACTIVE || count(all, from)? >= MOST_INACTIVE_IN_ALL {
                return Err(Refusal::Forbidden.into());
            }
            db.execute(
                "INSERT INTO accounts (name, nickname, email, hash, active, made, changed, address,
                 of_users_file) VALUES (?1, ?2, ?3, ?4, 0, ?5, ?5, ?6, ?7)",
                params![
                    new.user,
                    new.nickname,
                    new.email,
                    hash,
                    now,
                    from,
                    of_users_file
                ],
            )?;
            let account = db.last_insert_rowid();
            bind(db, account, &new.cookie)?;
            codes::make(db, account, Kind::Activation, "", now)
        })
    }

    /// The account of a name.
    pub fn find(&self, name: &str) -> Result<Option<Account>, Trouble> {
        let text = "SELECT id, name, hash FROM accounts WHERE name = ?1";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Account {
                id: row.get(0)?,
                name: row.get(1)?,
                hash: row.get(2)?,
            })
        };
        let mut statement = self.db.prepare_cached(text)?;
        Ok(statement.query_row([name], read).optional()?)
    }

    /// Gives an account another hash of the same password.
    pub fn replace_hash(&mut self, of: &Account, hash: &str) -> Result<(), Trouble> {
        self.change(|db| {
            let text = "UPDATE accounts SET hash = ?2 WHERE id = ?1 AND hash = ?3";
            db.execute(text, params![of.id, hash, of.hash])?;
            Ok(())
        })
    }

    /// Activates an account by its code.
    pub fn verify(&mut self, name: &str, code: &[u8], now: i64) -> Result<(), Trouble> {
        let account = self.find(name)?.ok_or(Refusal::NoCode)?;
        self.change(|db| {
            codes::take(db, account.id, (Kind::Activation, code, ""), now)?;
            let text = "UPDATE accounts SET active = 1, changed = ?2 WHERE id = ?1";
            db.execute(text, [account.id, now])?;
            Ok(())
        })
    }

    /// Lets a client in whose password was right: from a device of the account, or
    /// from a new one by a code. Without a code one is made, if new ones need it.
    pub fn admit(
        &mut self,
        account: i64,
        (cookie, code): (&str, Option<&[u8]>),
        confirms_devices: bool,
        (from, now): (&str, i64),
    ) -> Result<(), Trouble> {
        let root = self.users.join(account.to_string());
        self.settle(Some(account))?;
        self.change(|db| {
            let text = "SELECT active, banned_until FROM accounts WHERE id = ?1";
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let found: Option<(bool, i64)> = db.query_row(text, [account], read).optional()?;
            let (is_active, banned_until) = found.ok_or(Refusal::Credentials)?;
            if banned_until > now {
                return Err(Refusal::Banned.into());
            }
            if !is_active {
                return Err(Refusal::NotVerified.into());
            }
            expect_cookie(db, cookie)?;
            let is_known = is_bound(db, account, cookie)?;
            match code {
                Some(code) => codes::take(db, account, (Kind::Device, code, cookie), now)?,
                None if !is_known && confirms_devices => {
                    codes::make(db, account, Kind::Device, cookie, now)?;
                    return Err(Trouble::Counted(Refusal::NewDevice));
                }
                None => {}
            }
            if !is_known {
                bind(db, account, cookie)?;
                note(db, account, "LOGIN_FROM_NEW_DEVICE", (from, now))?;
            }
            note(db, account, "LOGIN_SUCCESSFUL", (from, now))?;
            let seen = "UPDATE cookies SET seen = ?2, seen_from = ?3 WHERE cookie = ?1";
            db.execute(seen, params![cookie, now, from])?;
            Ok(())
        })?;
        make_root(&root);
        Ok(())
    }

    /// Whether an account is one of the users file.
    pub fn is_of_users_file(&self, account: i64) -> Result<bool, Trouble> {
        let text = "SELECT of_users_file FROM accounts WHERE id = ?1";
        let mut statement = self.db.prepare_cached(text)?;
        let found = statement
            .query_row([account], |row| row.get(0))
            .optional()?;
        Ok(found.unwrap_or(false))
    }

    /// Notes an event of an account.
    pub fn note(
        &mut self,
        account: i64,
        event: &str,
        (from, now): (&str, i64),
    ) -> Result<(), Trouble> {
        self.change(|db| note(db, account, event, (from, now)))
    }

    /// Gives an account that is not active another address.
    pub fn set_email(&mut self, name: &str, cookie: &str, email: &str) -> Result<(), Trouble> {
        let account = self.find(name)?.ok_or(Refusal::Forbidden)?.id;
        check_email(email)?;
        self.change(|db| {
            if !is_bound(db, account, cookie)? {
                return Err(Refusal::Forbidden.into());
            }
            if is_active(db, account)? {
                return Err(Refusal::Active.into());
            }
            let other = "SELECT count(*) FROM accounts WHERE email = ?1 AND id != ?2";
            let others: i64 = db.query_row(other, params![email, account], |row| row.get(0))?;
            if others > 0 {
                return Err(Refusal::EmailInUse.into());
            }
            let text = "UPDATE accounts SET email = ?2 WHERE id = ?1";
            db.execute(text, params![account, email])?;
            Ok(())
        })
    }

    /// Makes another code in place of one that is not used yet.
    pub fn resend(&mut self, name: &str, email: &str, now: i64) -> Result<(), Trouble> {
        self.change(|db| {
            let text = "SELECT id, active, resent FROM accounts WHERE name = ?1 AND email = ?2";
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let found: Option<(i64, bool, i64)> =
                db.query_row(text, [name, email], read).optional()?;
            let (account, is_active, resent) = found.ok_or(Refusal::NotFound)?;
            if !is_active && resent >= MOST_RESENT {
                db.execute("DELETE FROM accounts WHERE id = ?1", [account])?;
                return Err(Trouble::Counted(Refusal::Deleted));
            }
            codes::renew(db, account, now)?;
            let text = "UPDATE accounts SET resent = resent + 1 WHERE id = ?1";
            db.execute(text, [account])?;
            Ok(())
        })
    }

    /// Makes a code for an account.
    pub fn schedule(
        &mut self,
        account: i64,
        kind: Kind,
        (from, now): (&str, i64),
    ) -> Result<(), Trouble> {
        let event = match kind {
            Kind::Password => "PASSWORD_CHANGE_REQUESTED",
            _ => "DELETE_ACCOUNT_REQUESTED",
        };
        self.change(|db| {
            codes::make(db, account, kind, "", now)?;
            note(db, account, event, (from, now))
        })
    }

    /// Gives an account another password, by a code.
    pub fn set_password(
        &mut self,
        account: i64,
        (hash, code): (&str, &[u8]),
        (from, now): (&str, i64),
    ) -> Result<(), Trouble> {
        self.change(|db| {
            codes::take(db, account, (Kind::Password, code, ""), now)?;
            let text = "UPDATE accounts SET hash = ?2 WHERE id = ?1";
            db.execute(text, params![account, hash])?;
            note(db, account, "PASSWORD_CHANGE", (from, now))
        })
    }

    /// Ends an account and its entries, by a code.
    pub fn delete(&mut self, account: i64, code: &[u8], now: i64) -> Result<(), Trouble> {
        self.change(|db| {
            codes::take(db, account, (Kind::Deletion, code, ""), now)?;
            db.execute("DELETE FROM accounts WHERE id = ?1", [account])?;
            Ok(())
        })?;
        self.remove_root(account);
        Ok(())
    }

    /// Gives an account another name to be greeted by.
    pub fn rename(&mut self, account: i64, name: &str, now: i64) -> Result<(), Trouble> {
        self.change(|db| {
            let text = "UPDATE accounts SET nickname = ?2, changed = ?3 WHERE id = ?1";
            found(
                db.execute(text, params![account, name, now])?,
                Refusal::NotFound,
            )
        })
    }

    /// When an account has changed, its address and its name.
    pub fn details(&self, account: i64) -> Result<(i64, String, String), Trouble> {
        let text = "SELECT changed, email, nickname FROM accounts WHERE id = ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let found = self.db.query_row(text, [account], read).optional()?;
        Ok(found.ok_or(Refusal::NotFound)?)
    }

    /// What has happened to an account, the latest first.
    pub fn events(&self, account: i64) -> Result<Vec<Event>, Trouble> {
        let text = "SELECT name, address, time FROM events WHERE account = ?1 ORDER BY id DESC";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Event {
                name: row.get(0)?,
                address: row.get(1)?,
                time: row.get(2)?,
            })
        };
        let mut statement = self.db.prepare_cached(text)?;
        let events = statement.query_map([account], read)?;
        Ok(events.collect::<Result<_, _>>()?)
    }
}

pub(super) fn found(changed: usize, otherwise: Refusal) -> Result<(), Trouble> {
    match changed {
        0 => Err(otherwise.into()),
        _ => Ok(()),
    }
}

fn is_active(db: &Connection, account: i64) -> rusqlite::Result<bool> {
    let text = "SELECT active FROM accounts WHERE id = ?1";
    db.query_row(text, [account], |row| row.get(0))
}

fn note(
    db: &Connection,
    account: i64,
    event: &str,
    (from, now): (&str, i64),
) -> Result<(), Trouble> {
    db.execute(
        "INSERT INTO events (account, name, address, time) VALUES (?1, ?2, ?3, ?4)",
        params![account, event, from, now],
    )?;
    db.execute(
        "DELETE FROM events WHERE account = ?1 AND id NOT IN
         (SELECT id FROM events WHERE account = ?1 ORDER BY id DESC LIMIT ?2)",
        [account, MOST_EVENTS],
    )?;
    Ok(())
}

/// Refuses names that could not be shown or sent back.
fn check_account(new: &NewAccount) -> Result<(), Refusal> {
    if !is_name(&new.user) || new.nickname.chars().any(char::is_control) {
        return Err(Refusal::Forbidden);
    }
    check_email(&new.email)
}

/// Whether an account can have a name.
pub(super) fn is_name(user: &str) -> bool {
    let is_bad = |c: char| c.is_control() || c.is_whitespace() || "'\"\\".contains(c);
    (1..=MAX_NAME).contains(&user.chars().count())
        && user != "__ADMIN__"
        && !user.chars().any(is_bad)
}

/// Refuses what mail could not be sent to.
///
/// # Errors
/// `Forbidden`.
pub fn check_email(email: &str) -> Result<(), Refusal> {
    let is_email = email.len() <= 254
        && email.contains('@')
        && !email
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || "'\"\\<>,".contains(c));
    is_email.then_some(()).ok_or(Refusal::Forbidden)
}
