//! What accounts of the vault have to do with those of the users file: some are the
//! same, and failed logins to both are counted next to each other.

use std::io;
use std::net::IpAddr;

use jiff::tz::TimeZone;

use super::Refusal;
use super::book::Trouble;
use super::process::Keeper;
use crate::session::failure::Failure;
use crate::session::login::Why;
use crate::users;
use crate::users::account::check_name;

impl Keeper {
    /// Whether a new account may have a name: in the users file by a code alone.
    pub(super) fn may_register(&self, user: &str) -> bool {
        self.rules.is_open || self.in_users_file(user).is_some()
    }

    /// The account of the users file that has this name, if it may have one here.
    pub(super) fn in_users_file(&self, user: &str) -> Option<&users::Account> {
        let mut accounts = self.rules.users_file.iter();
        accounts.find(|account| account.name == user)
    }

    /// Whether an account is one of the users file. If it is not there any more, or is
    /// closed there, nobody may log in with it.
    pub(super) fn is_of_users_file(
        &self,
        (account, name): (i64, &str),
        peer: IpAddr,
    ) -> Result<bool, Trouble> {
        if !self.book().is_of_users_file(account)? {
            return Ok(false);
        }
        let today = jiff::Timestamp::now().to_zoned(TimeZone::UTC).date();
        let reason = match self.in_users_file(name) {
            None => "not in the users file any more".to_owned(),
            Some(account) => match account.check_open(peer, today) {
                Ok(()) => return Ok(true),
                Err(closed) => Why::from(closed).to_string(),
            },
        };
        log::warn!(peer:%, user = name, reason:%; "login failed");
        self.report(Failure::ClosedAccount);
        Err(Refusal::Credentials.into())
    }
}

/// The name by which failures of an account are counted, next to those of the users
/// file, which may have the same name for somebody else.
pub(super) fn counted_name(user: &str) -> String {
    match check_name(user) {
        Ok(()) => format!("{user}@vault"),
        Err(_) => {
            let digest = openssl::sha::sha256(user.as_bytes());
            let digits: String = digest[..8]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            format!("{digits}@vault")
        }
    }
}

pub(super) fn log_unsaved(saved: io::Result<()>) {
    if let Err(e) = saved {
        log::error!(error:% = e; "blocked logins not saved");
    }
}
