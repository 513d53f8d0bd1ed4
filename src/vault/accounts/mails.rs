//! Which codes are to be mailed: they wait in the database until the mail server has
//! taken the mail, or they are used or too old. Nobody who logs in waits for that.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{OptionalExtension, params};
use zeroize::Zeroizing;

use super::book::{Book, Trouble};
use super::codes::Kind;
use super::process::Keeper;
use crate::vault::mail::{Mail, Mailed, ToMailer};
use crate::vault::now;

/// How long to wait until a mail that was not taken is sent again, in seconds; twice
/// as long each time, up to the longest.
const FIRST_WAIT: i64 = 5;
const LONGEST_WAIT: i64 = 600;

/// How many mails an address gets in an hour.
const MOST_MAILS: i64 = 6;
const HOUR: i64 = 3600;

/// How long to wait for a code that another process makes.
const LOOK: Duration = Duration::from_secs(30);

/// A mail that is due.
pub struct Due {
    account: i64,
    tries: u32,
    /// The mail.
    pub mail: Mail,
}

impl Book {
    /// The next mail that is due; those about devices, too, if they are mailed.
    pub fn next_mail(&mut self, devices: bool, now: i64) -> Result<Option<Due>, Trouble> {
        loop {
            let text = "SELECT account, mail_tries, email, name, kind, code, codes.made
                        FROM codes JOIN accounts ON account = id
                        WHERE mail_due <= ?1 AND code != '' AND email != '' AND
                        (?2 OR kind != 'device') ORDER BY mail_due LIMIT 1";
            let read = |row: &rusqlite::Row<'_>| {
                let kind = Kind::of(&row.get::<_, String>(4)?);
                let made: i64 = row.get(6)?;
                let ends = made + kind.map_or(0, Kind::validity);
                Ok(Due {
                    account: row.get(0)?,
                    tries: row.get(1)?,
                    mail: Mail {
                        to: row.get(2)?,
                        user: row.get(3)?,
                        kind: kind.unwrap_or(Kind::Device),
                        code: Zeroizing::new(row.get::<_, String>(5)?.into_bytes()),
                        minutes: u32::try_from((ends - now) / 60).unwrap_or(0),
                    },
                })
            };
            let found = self
                .db
                .prepare_cached(text)?
                .query_row(params![now, devices], read)
                .optional()?;
            let Some(due) = found else {
                return Ok(None);
            };
            if due.mail.minutes > 0 && self.may_be_mailed(&due, now)? {
                return Ok(Some(due));
            }
            self.wait_with_mail(&due, None)?;
        }
    }

    /// Whether an address has not got too many.
    fn may_be_mailed(&mut self, due: &Due, now: i64) -> Result<bool, Trouble> {
        let address = due.mail.to.to_lowercase();
        let mails: i64 = self.change(|db| {
            db.execute("DELETE FROM mails WHERE time <= ?1", [now - HOUR])?;
            let text = "SELECT count(*) FROM mails WHERE address = ?1";
            Ok(db.query_row(text, [&address], |row| row.get(0))?)
        })?;
        if mails >= MOST_MAILS {
            let user = &due.mail.user;
            log::warn!(user, reason = "too many to this address in an hour"; "mail not sent");
        }
        Ok(mails < MOST_MAILS)
    }

    /// Sends a mail no sooner than then; never, without a time.
    fn wait_with_mail(&mut self, due: &Due, until: Option<i64>) -> Result<(), Trouble> {
        self.change(|db| {
            let text = "UPDATE codes SET mail_due = ?3, mail_tries = ?4
                        WHERE account = ?1 AND code = ?2";
            let code = std::str::from_utf8(&due.mail.code).unwrap_or_default();
            let values = params![due.account, code, until, due.tries.saturating_add(1)];
            db.execute(text, values)?;
            Ok(())
        })
    }

    /// Notes what has come of a mail.
    pub fn mailed(&mut self, due: &Due, outcome: &Mailed, now: i64) -> Result<(), Trouble> {
        let (user, kind) = (&due.mail.user, due.mail.kind.name());
        match outcome {
            Mailed::Sent => {
                log::info!(user, kind; "mail sent");
                let address = due.mail.to.to_lowercase();
                self.change(|db| {
                    let text = "INSERT INTO mails (address, time) VALUES (?1, ?2)";
                    db.execute(text, params![address, now])?;
                    Ok(())
                })?;
                self.wait_with_mail(due, None)
            }
            Mailed::Never(reason) => {
                log::error!(user, kind, reason; "mail not sent");
                self.wait_with_mail(due, None)
            }
            Mailed::Later(reason) => {
                let wait = FIRST_WAIT << due.tries.min(16);
                let seconds = wait.min(LONGEST_WAIT);
                log::warn!(user, kind, reason, seconds; "mail sent again later");
                self.wait_with_mail(due, Some(now + seconds))
            }
            Mailed::Ready => Ok(()),
        }
    }

    /// When the next mail after this moment is due.
    fn mail_due(&self, now: i64) -> Result<Option<i64>, Trouble> {
        let text = "SELECT min(mail_due) FROM codes WHERE mail_due > ?1";
        Ok(self.db.query_row(text, [now], |row| row.get(0))?)
    }
}

/// Wakes the thread that has mails sent.
#[derive(Debug, Default)]
pub struct Wake {
    is_awake: Mutex<bool>,
    woken: Condvar,
}

impl Wake {
    /// There may be a mail.
    pub fn wake(&self) {
        *self.is_awake.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.woken.notify_all();
    }

    /// Waits for that, or for so long.
    fn wait(&self, most: Duration) {
        let awake = self.is_awake.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .woken
            .wait_timeout_while(awake, most, |is_awake| !*is_awake);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// Has mails sent by a mailer, in a thread of its own, until that ends.
pub fn serve(keeper: Arc<Keeper>, mailer: ToMailer) {
    let started = std::thread::Builder::new().spawn(move || {
        if let Err(e) = send_all(&keeper, &mailer) {
            log::error!(error:% = e; "vault mails");
        }
    });
    if let Err(e) = started {
        log::error!(error:% = e; "vault mails");
    }
}

fn send_all(keeper: &Keeper, mailer: &ToMailer) -> Result<(), Trouble> {
    // It says that it is ready.
    let mut is_there = matches!(mailer.receive(), Ok(Some(Mailed::Ready)));
    while is_there {
        let next = keeper.book().next_mail(keeper.mails_devices(), now())?;
        let Some(due) = next else {
            let now = now();
            let wait = keeper.book().mail_due(now)?.map(|due| due - now);
            let wait = wait.and_then(|seconds| u64::try_from(seconds).ok());
            let wait = wait.map_or(LOOK, Duration::from_secs);
            keeper.wake.wait(wait.min(LOOK));
            continue;
        };
        // What a mailer that has ended leaves behind is for the next one.
        let outcome = mailer.send(&due.mail).and_then(|()| mailer.receive());
        is_there = match outcome {
            Ok(Some(outcome)) => {
                keeper.book().mailed(&due, &outcome, now())?;
                true
            }
            Ok(None) | Err(_) => false,
        };
    }
    Ok(())
}
