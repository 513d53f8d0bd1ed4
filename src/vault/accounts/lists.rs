//! What the operator sees of accounts, and bans.

use rusqlite::params;

use super::Refusal;
use super::book::{Book, Trouble, found};
use super::codes::Kind;
use super::own::REGISTRATION;

/// An account in the operator's list.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Listed {
    /// Its name.
    pub user: String,
    /// Its address.
    pub email: String,
    /// Whether it is active.
    pub active: bool,
    /// When it was made, in seconds.
    pub made: i64,
    /// How many devices it has.
    pub devices: i64,
    /// Until when it is banned, in seconds; 0 if it is not.
    pub banned_until: i64,
}

/// An event in the operator's list.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ListedEvent {
    /// When, in seconds.
    pub time: i64,
    /// The name of the account.
    pub user: String,
    /// What has happened.
    pub event: String,
    /// From where.
    pub address: String,
}

/// A code in the operator's list.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ListedCode {
    /// The name of the account.
    pub user: String,
    /// What it is for.
    pub kind: String,
    /// The code.
    pub code: String,
    /// When it ends, in seconds.
    pub expires: i64,
}

impl Book {
    /// All accounts.
    pub fn list(&self) -> Result<Vec<Listed>, Trouble> {
        let text = "SELECT name, email, active, made, banned_until,
                    (SELECT count(*) FROM devices WHERE account = accounts.id)
                    + (SELECT count(*) FROM own_devices WHERE account = accounts.id)
                    FROM accounts ORDER BY name";
        let mut statement = self.db.prepare(text)?;
        let listed = statement.query_map([], |row| {
            Ok(Listed {
                user: row.get(0)?,
                email: row.get(1)?,
                active: row.get(2)?,
                made: row.get(3)?,
                banned_until: row.get(4)?,
                devices: row.get(5)?,
            })
        })?;
        Ok(listed.collect::<Result<_, _>>()?)
    }

    /// All codes that are valid now.
    pub fn codes(&self, now: i64) -> Result<Vec<ListedCode>, Trouble> {
        let text = "SELECT name, kind, code, codes.made FROM codes JOIN accounts ON account = id
                    WHERE code != ''
                    UNION ALL
                    SELECT name, 'registration', code, made FROM registrations WHERE code != ''
                    ORDER BY name";
        let mut statement = self.db.prepare(text)?;
        let listed = statement.query_map([], |row| {
            let kind: String = row.get(1)?;
            let made: i64 = row.get(3)?;
            let expires = made + Kind::of(&kind).map_or(REGISTRATION, Kind::validity);
            Ok(ListedCode {
                user: row.get(0)?,
                kind,
                code: row.get(2)?,
                expires,
            })
        })?;
        let all: Vec<ListedCode> = listed.collect::<Result<_, _>>()?;
        Ok(all.into_iter().filter(|code| code.expires >= now).collect())
    }

    /// What has happened to an account, or to all, the latest last.
    pub fn log(&self, user: Option<&str>) -> Result<Vec<ListedEvent>, Trouble> {
        if let Some(user) = user {
            self.find(user)?.ok_or(Refusal::NotFound)?;
        }
        let text = "SELECT time, accounts.name, events.name, events.address
                    FROM events JOIN accounts ON account = accounts.id
                    WHERE ?1 IS NULL OR accounts.name = ?1 ORDER BY events.id";
        let mut statement = self.db.prepare(text)?;
        let listed = statement.query_map([user], |row| {
            Ok(ListedEvent {
                time: row.get(0)?,
                user: row.get(1)?,
                event: row.get(2)?,
                address: row.get(3)?,
            })
        })?;
        Ok(listed.collect::<Result<_, _>>()?)
    }

    /// Bans an account until then; 0 for no ban.
    pub fn ban(&mut self, name: &str, until: i64) -> Result<(), Trouble> {
        self.change(|db| {
            let text = "UPDATE accounts SET banned_until = ?2 WHERE name = ?1";
            found(db.execute(text, params![name, until])?, Refusal::NotFound)
        })
    }
}
