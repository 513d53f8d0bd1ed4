//! One check by PAM, in a process that ends with it: what a module leaves behind, or
//! breaks, is gone then.

use std::io;
use std::os::fd::AsFd;

use nix::sys::prctl::set_name;
use nix::sys::signal::SigSet;
use nix::unistd::{Pid, setpgid};
use rustix::stdio::{dup2_stderr, stdout};
use zeroize::Zeroizing;

use super::{Check, Outcome, Shown};
use crate::sys::pam::{self, Item, Library, Transaction};
use crate::sys::process::{follow, keep_only};

/// What modules get to know in place of a terminal.
const TTY: &str = "tfd";

/// Words by which the prompts of modules for one-time codes are known.
const CODES: [&str; 6] = ["one-time", "otp", "code", "token", "oath", "2fa"];

/// Checks, and answers, in a process just forked by `parent`.
pub(super) fn run(library: &Library, service: &str, check: &Check, parent: Pid) -> io::Result<()> {
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    follow(parent)?;
    set_name(c"tfd-pam-check")?;
    // Standard error is the channel to the logger, which modules know nothing of.
    dup2_stderr(stdout())?;
    keep_only(&[check.answer.as_fd()])?;
    SigSet::all().thread_unblock()?;
    check.answer.send(&outcome(library, service, check))
}

fn outcome(library: &Library, service: &str, check: &Check) -> Outcome {
    let mut client = Client {
        shown: check.shown.as_ref(),
        has_password: false,
    };
    let answers = Box::new(move |is_shown, prompt: &[u8]| client.answer(is_shown, prompt));
    let begun = Transaction::begin(library, (service, &check.account), answers);
    let mut transaction = match begun {
        Ok(transaction) => transaction,
        Err(code) => return Outcome::Failed(format!("not begun: error {code}")),
    };
    let peer = check.peer.to_string();
    let result = transaction
        .set(Item::RemoteHost, &peer)
        .and_then(|()| transaction.set(Item::Tty, TTY))
        .and_then(|()| transaction.without_delay())
        .and_then(|()| match check.shown {
            Some(_) => transaction.authenticate(),
            None => Ok(()),
        });
    match result {
        Ok(()) => {}
        Err(pam::AUTH_ERR | pam::USER_UNKNOWN | pam::MAXTRIES | pam::PERM_DENIED) => {
            return Outcome::Wrong;
        }
        Err(code) => return Outcome::Failed(transaction.describe(code)),
    }
    let result = transaction.manage_account();
    match result {
        Ok(()) => Outcome::Open,
        Err(pam::ACCT_EXPIRED) => Outcome::Expired,
        Err(pam::NEW_AUTHTOK_REQD | pam::AUTHTOK_EXPIRED) => Outcome::PasswordExpired,
        Err(pam::PERM_DENIED | pam::AUTH_ERR | pam::USER_UNKNOWN) => Outcome::Denied,
        Err(code) => Outcome::Failed(transaction.describe(code)),
    }
}

/// Who answers the prompts of modules.
struct Client<'a> {
    shown: Option<&'a Shown>,
    has_password: bool,
}

impl Client<'_> {
    /// The answer to a prompt. Without a code it is the password, wherever nothing
    /// that is typed may be seen; with one, a prompt for a code gets that, others the
    /// password once, and then the code.
    fn answer(&mut self, is_shown: bool, prompt: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let Shown { password, code } = self.shown?;
        let answer = match code {
            None if is_shown => return None,
            None => password,
            Some(code) if self.has_password || is_for_code(prompt) => code,
            Some(_) => {
                self.has_password = true;
                password
            }
        };
        Some(answer.clone())
    }
}

fn is_for_code(prompt: &[u8]) -> bool {
    let prompt = String::from_utf8_lossy(prompt).to_lowercase();
    CODES.iter().any(|word| prompt.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(code: Option<&str>, prompts: &[(bool, &str)]) -> Vec<Option<String>> {
        let own = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
        let shown = Shown {
            password: own("pass"),
            code: code.map(own),
        };
        let mut client = Client {
            shown: Some(&shown),
            has_password: false,
        };
        let text = |answer: Zeroizing<Vec<u8>>| String::from_utf8(answer.to_vec()).expect("text");
        let prompts = prompts.iter();
        prompts
            .map(|(is_shown, prompt)| client.answer(*is_shown, prompt.as_bytes()).map(text))
            .collect()
    }

    #[test]
    fn prompts_get_password_and_code_in_whatever_order_they_come() {
        let oath = (false, "One-time password (OATH) for `ann': ");
        let unix = (false, "Password: ");
        let own = |text: &str| Some(text.to_owned());
        let (pass, code) = (own("pass"), own("123456"));
        let with = Some("123456");
        assert_eq!(answers(with, &[unix, oath]), [pass.clone(), code.clone()]);
        assert_eq!(answers(with, &[oath, unix]), [code.clone(), pass.clone()]);
        let other = [unix, (true, "Passphrase of the day: ")];
        assert_eq!(answers(with, &other), [pass.clone(), code]);
        assert_eq!(answers(None, &[unix, oath]), [pass.clone(), pass]);
        assert_eq!(answers(None, &[(true, "login: ")]), [None]);
    }
}
