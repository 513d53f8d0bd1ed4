//! Passwords that PAM checks in place of the hashes. Only names of the users file are
//! asked about; others are refused as the last wrong password was, after as long.

use std::net::IpAddr;
use std::time::Instant;

use super::{Book, Failure, Refusal, time};
use crate::daemon::helpers::pam::{Outcome, Pam};
use crate::session::login::Why;
use crate::users::totp;

/// The account that a password opens, with the period of the one-time code behind it.
type Shown = Result<(usize, Option<u64>), Refusal>;

impl Book {
    /// As [`Book::check_password`], by PAM; and when the answer is due. A client sends
    /// the password, the code of the account's own secret, and PAM's code, without a
    /// space.
    pub(super) fn check_by_pam(
        &self,
        pam: &Pam,
        found: Option<usize>,
        (peer, sent): (IpAddr, &[u8]),
    ) -> (Shown, Option<Instant>) {
        let began = Instant::now();
        let Some((sent, code)) = pam.split(sent) else {
            // Whatever the name is, and nobody has looked at the password.
            return (Err(Refusal::code_needed()), None);
        };
        let Some(index) = found else {
            let last = pam.last_refused();
            let failure = match last.is_answered {
                true => Failure::UnknownUser.into(),
                false => Refusal::unavailable(),
            };
            return (Err(failure), Some(began + last.after));
        };
        let account = &self.accounts[index];
        let own = account.totp.as_ref().zip(totp::split(sent));
        let password = own.map_or(sent, |(_, (password, _))| password);
        let outcome = pam.check(&account.name, peer, (password, code));
        let result = allow(outcome, &account.name).and_then(|()| match (&account.totp, own) {
            (None, _) => Ok((index, None)),
            (Some(_), None) => Err(Refusal::code_needed()),
            (Some(_), Some((secret, (_, code)))) => {
                let step = secret.step_of(code, time().0);
                let step = step.ok_or_else(Refusal::wrong_code);
                step.map(|step| (index, Some(step)))
            }
        });
        let due = match result.as_ref().map_err(|refusal| refusal.failure) {
            Err(Failure::WrongPassword) => Some(pam.refused(began, true)),
            Err(Failure::Unavailable) => Some(pam.refused(began, false)),
            _ => None,
        };
        (result, due)
    }

    /// Whether PAM lets an account in that a certificate has opened.
    pub(super) fn check_account_by_pam(&self, index: usize, peer: IpAddr) -> Result<(), Refusal> {
        let Some(pam) = &self.pam else { return Ok(()) };
        let name = &self.accounts[index].name;
        allow(pam.check_account(name, peer), name)
    }
}

impl Refusal {
    fn unavailable() -> Refusal {
        Refusal {
            why: Why::Unavailable,
            ..Failure::Unavailable.into()
        }
    }
}

/// What PAM's answer about a user means.
fn allow(outcome: Outcome, user: &str) -> Result<(), Refusal> {
    let closed = |reason, why| Refusal {
        reason,
        why,
        ..Failure::ClosedAccount.into()
    };
    Err(match outcome {
        Outcome::Open => return Ok(()),
        Outcome::Wrong => Failure::WrongPassword.into(),
        Outcome::Expired => closed("PAM: the account has expired", Why::Expired),
        Outcome::PasswordExpired => closed("PAM: the password has expired", Why::PasswordExpired),
        Outcome::Denied => closed("PAM: not allowed now", Why::Denied),
        Outcome::Failed(error) => {
            log::error!(user, error; "PAM failed");
            Refusal::unavailable()
        }
    })
}
