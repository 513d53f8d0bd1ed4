//! Accounts of the own dialect on disk, next to those of the existing clients: a name
//! is one account's in both.

use openssl::sha::Sha256;
use rusqlite::{Connection, OptionalExtension, Row, params};
use subtle::ConstantTimeEq;

use crate::vault::accounts::Refusal;
use crate::vault::accounts::book::{
    Book, INACTIVE, MOST_INACTIVE, MOST_INACTIVE_IN_ALL, Trouble, check_email, found, is_name,
};
use crate::vault::accounts::codes::{CLOSED, Kind, random_code};
use crate::vault::accounts::roots::make_root;
use crate::vault::accounts::{codes, codes::MOST_WRONG};
use crate::vault::own::message::{
    Device, DeviceInfo, Id, Kdf, NewPassword, Proof, Register, Sealed, Secret,
};

/// How many devices an account may have.
const MOST_DEVICES: i64 = 200;

/// How long the code of an account to be is valid, in seconds.
pub const REGISTRATION: i64 = 3600;

/// A digest of something that nobody can guess, so that a fast one is enough: who
/// guesses master passwords has to compute argon2id for each, as the client does.
pub type Digest = [u8; 32];

/// The digest of a proof of the master password.
pub fn auth_digest(auth: &Secret) -> Digest {
    digest(b"auth", &[auth.bytes()])
}

/// The digest of a proof of the account secret.
pub fn recovery_digest(recovery: &Secret) -> Digest {
    digest(b"recovery", &[recovery.bytes()])
}

fn token_digest(device: &Device) -> Digest {
    digest(b"token", &[&device.id, device.token.bytes()])
}

fn digest(what: &[u8], parts: &[&[u8]]) -> Digest {
    let mut digest = Sha256::new();
    digest.update(b"tfd-vault/1 ");
    digest.update(what);
    parts.iter().for_each(|part| digest.update(part));
    digest.finish()
}

/// An account as the check of a proof needs it.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// How its keys are made.
    pub kdf: Kdf,
    /// Its secret, sealed by the master password.
    pub wrapped: Sealed,
    /// Until when it is banned, in seconds since the epoch.
    pub banned_until: i64,
    auth: Digest,
    recovery: Digest,
}

impl Account {
    /// One that no proof opens but by chance.
    pub fn nobody() -> Account {
        Account {
            id: 0,
            name: String::new(),
            kdf: Kdf::usual([0; 32]),
            wrapped: Sealed::default(),
            banned_until: 0,
            auth: Digest::default(),
            recovery: Digest::default(),
        }
    }

    /// Whether a proof is right. It takes the same time for one that is wrong.
    pub fn opens(&self, proof: &Proof) -> bool {
        let (given, known) = match proof {
            Proof::Password(auth) => (auth_digest(auth), &self.auth),
            Proof::Recovery(recovery) => (recovery_digest(recovery), &self.recovery),
        };
        given.ct_eq(known).into()
    }
}

impl Book {
    /// What the salts of names without an account are made of.
    pub fn own_key(&mut self) -> Result<Digest, Trouble> {
        let mut new = Digest::default();
        getrandom::fill(&mut new).map_err(|_| Trouble::Random)?;
        self.change(|db| {
            let text = "INSERT INTO own_key SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM own_key)";
            db.execute(text, [new])?;
            Ok(db.query_row("SELECT key FROM own_key", [], |row| row.get(0))?)
        })
    }

    /// The account of a name.
    pub fn find_own(&self, name: &str) -> Result<Option<Account>, Trouble> {
        self.own_where("name = ?1", name)
    }

    /// The account of a number.
    pub fn own(&self, account: i64) -> Result<Option<Account>, Trouble> {
        self.own_where("id = ?1", account)
    }

    fn own_where(
        &self,
        which: &str,
        value: impl rusqlite::ToSql,
    ) -> Result<Option<Account>, Trouble> {
        let text = format!(
            "SELECT id, name, salt, memory_kib, passes, lanes, wrapped, banned_until, auth,
             recovery FROM accounts JOIN own ON account = id WHERE {which}"
        );
        let read = |row: &Row<'_>| {
            Ok(Account {
                id: row.get(0)?,
                name: row.get(1)?,
                kdf: Kdf {
                    salt: row.get(2)?,
                    memory_kib: row.get(3)?,
                    passes: row.get(4)?,
                    lanes: row.get(5)?,
                },
                wrapped: Sealed(row.get(6)?),
                banned_until: row.get(7)?,
                auth: row.get(8)?,
                recovery: row.get(9)?,
            })
        };
        let mut statement = self.db.prepare_cached(&text)?;
        Ok(statement.query_row([value], read).optional()?)
    }

    /// A new account with its first device; its number.
    pub fn register_own(
        &mut self,
        name: &str,
        (new, of_users_file): (&Register, bool),
        (from, now): (&str, i64),
    ) -> Result<i64, Trouble> {
        if !is_name(name) {
            return Err(Refusal::NotFound.into());
        }
        if let Some(mail) = &new.mail {
            check_email(mail).map_err(|_| Refusal::EmailInUse)?;
        }
        let account =
            self.change(|db| {
                let old = "DELETE FROM accounts WHERE active = 0 AND made < ?1";
                db.execute(old, [now - INACTIVE])?;
                expect_none(db, "name = ?1", name, Refusal::UserExists)?;
                if let Some(mail) = &new.mail {
                    expect_none(db, "email = ?1", mail, Refusal::EmailInUse)?;
                }
                expect_few(db, (from, now))?;
                db.execute(
                "INSERT INTO accounts (name, nickname, email, hash, active, made, changed, address,
                 of_users_file) VALUES (?1, ?1, ?2, '', 1, ?3, ?3, ?4, ?5)",
                params![name, new.mail.as_deref().unwrap_or_default(), now, from, of_users_file],
            )?;
                let account = db.last_insert_rowid();
                let Kdf {
                    salt,
                    memory_kib,
                    passes,
                    lanes,
                } = &new.kdf;
                db.execute(
                    "INSERT INTO own VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    params![
                        account,
                        salt,
                        memory_kib,
                        passes,
                        lanes,
                        auth_digest(&new.auth),
                        recovery_digest(&new.recovery),
                        new.wrapped.0
                    ],
                )?;
                link(db, account, &new.device, now)?;
                Ok(account)
            })?;
        make_root(&self.users.join(account.to_string()));
        Ok(account)
    }

    /// Lets a client in whose proof was right: from a device of the account, or from a
    /// new one, by a code if that needs one. Without a code one is made.
    pub fn admit_own(
        &mut self,
        account: i64,
        (device, code): (&Device, Option<&[u8]>),
        needs_code: bool,
        now: i64,
    ) -> Result<(), Trouble> {
        let text = "SELECT token FROM own_devices WHERE account = ?1 AND id = ?2";
        let token: Option<Digest> = self
            .db
            .query_row(text, params![account, device.id], |row| row.get(0))
            .optional()?;
        if let Some(token) = token {
            if !bool::from(token.ct_eq(&token_digest(device))) {
                return Err(Refusal::Credentials.into());
            }
            self.note_own_device(account, device, now);
            return Ok(());
        }
        self.change(|db| {
            match code {
                _ if !needs_code => {}
                Some(code) => codes::take(db, account, (Kind::Device, code, ""), now)?,
                None => {
                    // One that somebody has read stays good.
                    if !codes::has(db, account, Kind::Device, now)? {
                        codes::make(db, account, Kind::Device, "", now)?;
                    }
                    return Err(Trouble::Counted(Refusal::NewDevice));
                }
            }
            link(db, account, device, now)
        })?;
        make_root(&self.users.join(account.to_string()));
        Ok(())
    }

    /// Notes when a device has come, if there is room for that.
    fn note_own_device(&mut self, account: i64, device: &Device, now: i64) {
        let noted = self.change(|db| {
            let text = "UPDATE own_devices SET last = ?3, name = ?4
                        WHERE account = ?1 AND id = ?2";
            db.execute(text, params![account, device.id, now, device.name])?;
            Ok(())
        });
        if let Err(e) = noted {
            log::warn!(account, error:% = e; "login of a device not noted");
        }
    }

    /// Makes a code for an account to be, unless there is one.
    pub fn schedule_registration(&mut self, name: &str, now: i64) -> Result<(), Trouble> {
        self.change(|db| {
            let text = "SELECT count(*) FROM registrations WHERE name = ?1
                        AND ((code != '' AND made >= ?2) OR closed_until > ?3)";
            let made = now - REGISTRATION;
            let valid: i64 = db.query_row(text, params![name, made, now], |row| row.get(0))?;
            if valid > 0 {
                return Ok(());
            }
            db.execute(
                "INSERT INTO registrations VALUES (?1, ?2, ?3, 0, 0)
                 ON CONFLICT (name) DO UPDATE SET code = ?2, made = ?3, closed_until = 0",
                params![name, random_code()?, now],
            )?;
            Ok(())
        })
    }

    /// Uses such a code up. Wrong ones are counted over new codes.
    pub fn take_registration(&mut self, name: &str, code: &[u8], now: i64) -> Result<(), Trouble> {
        self.change(|db| {
            let text = "SELECT code, made, wrong, closed_until FROM registrations WHERE name = ?1";
            let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            let found = db.query_row(text, [name], read).optional()?;
            // A name that has none is answered as one that has.
            let found: (String, i64, i64, i64) = found.ok_or(Refusal::WrongCode)?;
            let (known, made, wrong, closed_until) = found;
            if closed_until > now {
                return Err(Refusal::WrongCode.into());
            }
            let is_valid = !known.is_empty() && now - made <= REGISTRATION;
            if is_valid && bool::from(known.as_bytes().ct_eq(code)) {
                db.execute("DELETE FROM registrations WHERE name = ?1", [name])?;
                return Ok(());
            }
            if wrong + 1 < MOST_WRONG {
                let text = "UPDATE registrations SET wrong = wrong + 1 WHERE name = ?1";
                db.execute(text, [name])?;
            } else {
                let text = "UPDATE registrations SET code = '', wrong = 0, closed_until = ?2
                            WHERE name = ?1";
                db.execute(text, params![name, now + CLOSED])?;
            }
            Err(Trouble::Counted(Refusal::WrongCode))
        })
    }

    /// Whether mails reach the account of a name.
    pub fn has_mail(&self, name: &str) -> Result<bool, Trouble> {
        let text = "SELECT count(*) FROM accounts WHERE name = ?1 AND email != ''";
        let mut statement = self.db.prepare_cached(text)?;
        let count: i64 = statement.query_row([name], |row| row.get(0))?;
        Ok(count > 0)
    }

    /// Whether a device is one of an account's.
    pub fn has_own_device(&self, account: i64, device: &Id) -> Result<bool, Trouble> {
        let text = "SELECT count(*) FROM own_devices WHERE account = ?1 AND id = ?2";
        let mut statement = self.db.prepare_cached(text)?;
        let count: i64 = statement.query_row(params![account, device], |row| row.get(0))?;
        Ok(count > 0)
    }

    /// The devices of an account, the oldest first.
    pub fn own_devices(&self, account: i64) -> Result<Vec<DeviceInfo>, Trouble> {
        let text = "SELECT id, name, first, last FROM own_devices WHERE account = ?1
                    ORDER BY first, id";
        let read = |row: &Row<'_>| {
            Ok(DeviceInfo {
                id: row.get(0)?,
                name: row.get(1)?,
                first: row.get(2)?,
                last: row.get(3)?,
                is_online: false,
                is_this: false,
            })
        };
        let mut statement = self.db.prepare_cached(text)?;
        let devices = statement.query_map([account], read)?;
        Ok(devices.collect::<Result<_, _>>()?)
    }

    /// Ends a device of an account.
    pub fn unlink_own(&mut self, account: i64, device: &Id) -> Result<(), Trouble> {
        self.change(|db| {
            let text = "DELETE FROM own_devices WHERE account = ?1 AND id = ?2";
            let ended = db.execute(text, params![account, device])?;
            found(ended, Refusal::NotFound)
        })
    }

    /// Gives an account another master password.
    pub fn set_own_password(&mut self, account: i64, new: &NewPassword) -> Result<(), Trouble> {
        let Kdf {
            salt,
            memory_kib,
            passes,
            lanes,
        } = &new.kdf;
        self.change(|db| {
            let changed = db.execute(
                "UPDATE own SET salt = ?2, memory_kib = ?3, passes = ?4, lanes = ?5, auth = ?6,
                 wrapped = ?7 WHERE account = ?1",
                params![
                    account,
                    salt,
                    memory_kib,
                    passes,
                    lanes,
                    auth_digest(&new.auth),
                    new.wrapped.0
                ],
            )?;
            found(changed, Refusal::NotFound)
        })
    }

    /// Ends an account and its entries.
    pub fn delete_own(&mut self, account: i64) -> Result<(), Trouble> {
        self.change(|db| {
            let text = "DELETE FROM accounts WHERE id = ?1";
            found(db.execute(text, [account])?, Refusal::NotFound)
        })?;
        self.remove_root(account);
        Ok(())
    }
}

/// Refuses what another account has.
fn expect_none(
    db: &Connection,
    which: &str,
    value: &str,
    otherwise: Refusal,
) -> Result<(), Trouble> {
    let text = format!("SELECT count(*) FROM accounts WHERE {which}");
    let count: i64 = db.query_row(&text, [value], |row| row.get(0))?;
    match count {
        0 => Ok(()),
        _ => Err(otherwise.into()),
    }
}

/// Refuses more new accounts than people make.
fn expect_few(db: &Connection, (from, now): (&str, i64)) -> Result<(), Trouble> {
    let text = "SELECT count(*), coalesce(sum(address = ?1), 0) FROM accounts
                WHERE made >= ?2";
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (all, here): (i64, i64) = db.query_row(text, params![from, now - INACTIVE], read)?;
    match all >= MOST_INACTIVE_IN_ALL || here >= MOST_INACTIVE {
        true => Err(Refusal::TooManyCodes.into()),
        false => Ok(()),
    }
}

/// Makes a device one of an account's.
fn link(db: &Connection, account: i64, device: &Device, now: i64) -> Result<(), Trouble> {
    let text = "SELECT count(*) FROM own_devices WHERE account = ?1";
    let devices: i64 = db.query_row(text, [account], |row| row.get(0))?;
    if devices >= MOST_DEVICES {
        return Err(Refusal::TooManyCodes.into());
    }
    db.execute(
        "INSERT INTO own_devices VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
        params![account, device.id, token_digest(device), device.name, now],
    )?;
    Ok(())
}
