//! Codes of six digits that are mailed, or that the operator gives to people. Wrong
//! ones are counted for the account, over connections and over new codes.

use rusqlite::{Connection, OptionalExtension, params};
use subtle::ConstantTimeEq;

use super::Refusal;
use super::book::Trouble;
use crate::ipc::codec::codec;

/// Wrong codes until codes of the account are closed, and for how long, in seconds.
pub(super) const MOST_WRONG: i64 = 3;
pub(super) const CLOSED: i64 = 3600;

/// How often a code of an account that is not active may be asked for again.
pub const MOST_RESENT: i64 = 3;

/// How many codes there are.
const CODES: u32 = 1_000_000;

/// What a code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A new account.
    Activation,
    /// A new device.
    Device,
    /// Another password.
    Password,
    /// The end of the account.
    Deletion,
}

codec!(enum Kind { 1 => Activation, 2 => Device, 3 => Password, 4 => Deletion });

impl Kind {
    /// Its name in the database and in lists.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Activation => "activation",
            Kind::Device => "device",
            Kind::Password => "password",
            Kind::Deletion => "deletion",
        }
    }

    /// The kind of this name.
    pub fn of(name: &str) -> Option<Kind> {
        use Kind::{Activation, Deletion, Device, Password};
        let all = [Activation, Device, Password, Deletion];
        all.into_iter().find(|kind| kind.name() == name)
    }

    /// How long a code is valid, in seconds.
    pub fn validity(self) -> i64 {
        match self {
            Kind::Activation => 3600,
            Kind::Device | Kind::Password | Kind::Deletion => 1800,
        }
    }
}

/// The codes of an account.
struct Row {
    kind: Option<Kind>,
    code: String,
    made: i64,
    wrong: i64,
    closed_until: i64,
    cookie: String,
}

fn row(db: &Connection, account: i64) -> rusqlite::Result<Option<Row>> {
    let text = "SELECT kind, code, made, wrong, closed_until, cookie FROM codes WHERE account = ?1";
    let mut statement = db.prepare_cached(text)?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Row {
            kind: Kind::of(&row.get::<_, String>(0)?),
            code: row.get(1)?,
            made: row.get(2)?,
            wrong: row.get(3)?,
            closed_until: row.get(4)?,
            cookie: row.get(5)?,
        })
    };
    statement.query_row([account], read).optional()
}

/// Makes a code in place of the one that there may be; for a device, it is for the
/// one with this cookie alone.
///
/// # Errors
/// `TooManyCodes` while codes of the account are closed.
pub fn make(
    db: &Connection,
    account: i64,
    kind: Kind,
    cookie: &str,
    now: i64,
) -> Result<(), Trouble> {
    let before = row(db, account)?;
    if before.as_ref().is_some_and(|row| row.closed_until > now) {
        return Err(Refusal::TooManyCodes.into());
    }
    let wrong = before.map_or(0, |row| row.wrong);
    let code = random_code()?;
    db.execute(
        "INSERT INTO codes (account, kind, code, made, wrong, closed_until, cookie, mail_due)
         VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?4)
         ON CONFLICT (account) DO UPDATE SET kind = ?2, code = ?3, made = ?4, wrong = ?5,
         closed_until = 0, cookie = ?6, mail_due = ?4, mail_tries = 0",
        params![account, kind.name(), code, now, wrong, cookie],
    )?;
    Ok(())
}

/// Whether there is a code of this kind that is valid, for no certain device.
///
/// # Errors
/// `TooManyCodes` while codes of the account are closed.
pub fn has(db: &Connection, account: i64, kind: Kind, now: i64) -> Result<bool, Trouble> {
    let Some(row) = row(db, account)? else {
        return Ok(false);
    };
    if row.closed_until > now {
        return Err(Refusal::TooManyCodes.into());
    }
    let is_valid = now - row.made <= kind.validity() && row.cookie.is_empty();
    Ok(row.kind == Some(kind) && !row.code.is_empty() && is_valid)
}

/// Uses a code up.
///
/// # Errors
/// Why it is not the right one, which counts.
pub fn take(
    db: &Connection,
    account: i64,
    (kind, code, cookie): (Kind, &[u8], &str),
    now: i64,
) -> Result<(), Trouble> {
    let Some(row) = row(db, account)? else {
        return Err(Refusal::NoCode.into());
    };
    if row.closed_until > now {
        return Err(Refusal::TooManyCodes.into());
    }
    if row.kind != Some(kind) || row.code.is_empty() {
        return Err(Refusal::NoCode.into());
    }
    if now - row.made > kind.validity() {
        return Err(Refusal::OldCode.into());
    }
    let is_right: bool = row.code.as_bytes().ct_eq(code).into();
    if is_right && row.cookie == cookie {
        db.execute("DELETE FROM codes WHERE account = ?1", [account])?;
        return Ok(());
    }
    if row.wrong + 1 < MOST_WRONG {
        let text = "UPDATE codes SET wrong = wrong + 1 WHERE account = ?1";
        db.execute(text, [account])?;
        return Err(Trouble::Counted(Refusal::WrongCode));
    }
    db.execute(
        "UPDATE codes SET code = '', wrong = 0, closed_until = ?2 WHERE account = ?1",
        [account, now + CLOSED],
    )?;
    Err(Trouble::Counted(Refusal::TooManyCodes))
}

/// Makes another code of the same kind; the kind.
///
/// # Errors
/// `NoCode` where there is none.
pub fn renew(db: &Connection, account: i64, now: i64) -> Result<(), Trouble> {
    let row = row(db, account)?.filter(|row| !row.code.is_empty());
    let Some(Row {
        kind: Some(kind),
        made,
        cookie,
        ..
    }) = row
    else {
        return Err(Refusal::NoCode.into());
    };
    if now - made > kind.validity() {
        return Err(Refusal::OldCode.into());
    }
    make(db, account, kind, &cookie, now)?;
    // The deadline stays.
    db.execute(
        "UPDATE codes SET made = ?2 WHERE account = ?1",
        [account, made],
    )?;
    Ok(())
}

/// Any of all codes, each as likely as another.
pub(super) fn random_code() -> Result<String, Trouble> {
    loop {
        let number = getrandom::u32().map_err(|_| Trouble::Random)?;
        // The rest of the division would make the lower ones more likely.
        if number < u32::MAX - u32::MAX % CODES {
            return Ok(format!("PM-{:06}", number % CODES));
        }
    }
}
