//! Devices: the cookies that name them, and the accounts that they are bound to.

use rusqlite::{Connection, params};

use super::Refusal;
use super::book::{Book, Trouble, found};
use crate::vault::reply::Device;

/// How long a cookie without an account is kept, in seconds.
const UNBOUND: i64 = 7 * 86_400;

/// How many devices an account may have.
const MOST_DEVICES: i64 = 100;

impl Book {
    /// A new cookie, for an address that has no more than so many without an account.
    pub fn cookie(&mut self, most: u32, (from, now): (&str, i64)) -> Result<String, Trouble> {
        let cookie = random_name()?;
        self.change(|db| {
            db.execute(
                "DELETE FROM cookies WHERE made < ?1
                 AND cookie NOT IN (SELECT cookie FROM devices)",
                [now - UNBOUND],
            )?;
            let text = "SELECT count(*) FROM cookies WHERE made_from = ?1
                        AND cookie NOT IN (SELECT cookie FROM devices)";
            let unbound: i64 = db.query_row(text, [from], |row| row.get(0))?;
            if unbound >= i64::from(most) {
                return Err(Refusal::Forbidden.into());
            }
            db.execute(
                "INSERT INTO cookies (cookie, made, made_from, seen, seen_from)
                 VALUES (?1, ?2, ?3, ?2, ?3)",
                params![cookie, now, from],
            )?;
            Ok(())
        })?;
        Ok(cookie)
    }

    /// Whether there is a cookie.
    pub fn has_cookie(&self, cookie: &str) -> Result<(), Trouble> {
        expect_cookie(&self.db, cookie)
    }

    /// Notes what device has a cookie.
    pub fn authorize(
        &mut self,
        cookie: &str,
        about: &str,
        (from, now): (&str, i64),
    ) -> Result<(), Trouble> {
        self.change(|db| {
            let text = "UPDATE cookies SET about = ?2, seen = ?3, seen_from = ?4 WHERE cookie = ?1";
            let changed = db.execute(text, params![cookie, about, now, from])?;
            found(changed, Refusal::NoCookie)
        })
    }

    /// Whether a device is one of an account's.
    pub fn has_device(&self, account: i64, cookie: &str) -> Result<bool, Trouble> {
        Ok(is_bound(&self.db, account, cookie)?)
    }

    /// The devices of an account.
    pub fn devices(&self, account: i64) -> Result<Vec<Device>, Trouble> {
        let text = "SELECT cookie, about, seen, seen_from FROM cookies JOIN devices USING (cookie)
                    WHERE account = ?1 ORDER BY made, cookie";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Device {
                cookie: row.get(0)?,
                about: row.get(1)?,
                seen: row.get(2)?,
                address: row.get(3)?,
            })
        };
        let mut statement = self.db.prepare_cached(text)?;
        let devices = statement.query_map([account], read)?;
        Ok(devices.collect::<Result<_, _>>()?)
    }

    /// Ends a device of an account.
    pub fn unlink(&mut self, account: i64, cookie: &str) -> Result<(), Trouble> {
        self.change(|db| {
            let text = "DELETE FROM devices WHERE account = ?1 AND cookie = ?2";
            found(
                db.execute(text, params![account, cookie])?,
                Refusal::NotFound,
            )
        })
    }
}

/// Refuses what names no cookie.
pub(super) fn expect_cookie(db: &Connection, cookie: &str) -> Result<(), Trouble> {
    let mut statement = db.prepare_cached("SELECT count(*) FROM cookies WHERE cookie = ?1")?;
    let count: i64 = statement.query_row([cookie], |row| row.get(0))?;
    found(usize::try_from(count).unwrap_or(0), Refusal::NoCookie)
}

/// Whether a device is one of an account's.
pub(super) fn is_bound(db: &Connection, account: i64, cookie: &str) -> rusqlite::Result<bool> {
    let text = "SELECT count(*) FROM devices WHERE account = ?1 AND cookie = ?2";
    let mut statement = db.prepare_cached(text)?;
    let count: i64 = statement.query_row(params![account, cookie], |row| row.get(0))?;
    Ok(count > 0)
}

/// Makes a device one of an account's.
pub(super) fn bind(db: &Connection, account: i64, cookie: &str) -> Result<(), Trouble> {
    let text = "SELECT count(*) FROM devices WHERE account = ?1";
    let devices: i64 = db.query_row(text, [account], |row| row.get(0))?;
    if devices >= MOST_DEVICES {
        return Err(Refusal::Forbidden.into());
    }
    let text = "INSERT OR IGNORE INTO devices (account, cookie) VALUES (?1, ?2)";
    db.execute(text, params![account, cookie])?;
    Ok(())
}

/// 88 characters that nobody guesses: a cookie, or the id of an entry.
///
/// # Errors
/// When the system has no random numbers.
pub fn random_name() -> Result<String, Trouble> {
    let mut random = [0; 64];
    getrandom::fill(&mut random).map_err(|_| Trouble::Random)?;
    Ok(openssl::base64::encode_block(&random))
}
