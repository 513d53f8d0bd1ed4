//! PAM, with `auth = "pam"`: the questions of the authenticator to the process that
//! calls it, `tfd-pam`, and the answers. The authenticator itself never runs a line
//! of a module.

mod check;
mod process;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::config;
use crate::ipc::Pipe;
use crate::ipc::codec::codec;
use crate::ipc::gates::DELAY;
use crate::ipc::pipe::pair;
use crate::ipc::poll::{Poll, left};
use crate::users::account::check_name;

pub(crate) use process::{load, start};

/// Checks at once: more than one address may have clients that have not logged in.
pub const PARALLEL: usize = 64;

/// The longest password that modules take, in bytes (PAM_MAX_RESP_SIZE).
const LONGEST: usize = 511;

/// How much longer than a check the wait for it takes.
const GRACE: Duration = Duration::from_secs(2);

/// Where services are configured.
const PLACES: [&str; 3] = ["/etc/pam.d", "/usr/lib/pam.d", "/usr/etc/pam.d"];

/// A question; another is dropped without an answer.
#[derive(Debug)]
struct Check {
    account: String,
    peer: IpAddr,
    /// What the client has shown; none if only the account is looked at.
    shown: Option<Shown>,
    answer: Pipe<Outcome, ()>,
}

codec!(struct Check { account, peer, shown, answer } if Check::is_valid);

impl Check {
    fn is_valid(&self) -> bool {
        let is_fine = |shown: &Shown| {
            let texts = [Some(&shown.password), shown.code.as_ref()];
            texts.into_iter().flatten().all(|text| is_password(text))
        };
        check_name(&self.account).is_ok() && self.shown.as_ref().is_none_or(is_fine)
    }
}

/// What a client has shown.
#[derive(Debug)]
struct Shown {
    password: Zeroizing<Vec<u8>>,
    /// The answer to a second question, if there is to be one.
    code: Option<Zeroizing<Vec<u8>>>,
}

codec!(struct Shown { password, code });

/// Whether it can be a password at all: not an empty one, which directories take for
/// nobody's, nor one with a NUL, at which modules would end it.
fn is_password(text: &[u8]) -> bool {
    (1..=LONGEST).contains(&text.len()) && !text.contains(&0)
}

/// What PAM says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client may log in.
    Open,
    /// The password is wrong, or the modules do not know the user.
    Wrong,
    /// The account has expired. From here on the password was right.
    Expired,
    /// The password has expired.
    PasswordExpired,
    /// The account may not be used now.
    Denied,
    /// Nothing, for this reason.
    Failed(String),
}

codec!(enum Outcome {
    1 => Open,
    2 => Wrong,
    3 => Expired,
    4 => PasswordExpired,
    5 => Denied,
    6 => Failed(why),
});

/// The last refusal.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// How long after the question its answer was due.
    pub after: Duration,
    /// Whether PAM had said anything.
    pub is_answered: bool,
}

/// The authenticator's end.
#[derive(Debug)]
pub struct Pam {
    checks: Pipe<Check, ()>,
    limit: Duration,
    code_digits: usize,
    last: Mutex<Refused>,
}

impl Pam {
    fn new(checks: Pipe<Check, ()>, settings: &config::Pam) -> Pam {
        Pam {
            checks,
            limit: settings.timeout,
            code_digits: settings.code_digits,
            last: Mutex::new(Refused {
                after: DELAY,
                is_answered: true,
            }),
        }
    }

    /// What a client has sent as a password and the code behind it, if codes are
    /// sent; `None` without one.
    pub fn split<'a>(&self, sent: &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        if self.code_digits == 0 {
            return Some((sent, None));
        }
        let at = sent.len().checked_sub(self.code_digits)?;
        let (password, code) = sent.split_at(at);
        let is_code = code.iter().all(u8::is_ascii_digit);
        is_code.then_some((password, Some(code)))
    }

    /// Whether a password, and a code, open an account. What can't be a password is
    /// wrong, and no module sees it.
    pub fn check(
        &self,
        account: &str,
        peer: IpAddr,
        (password, code): (&[u8], Option<&[u8]>),
    ) -> Outcome {
        if !is_password(password) {
            return Outcome::Wrong;
        }
        let own = |text: &[u8]| Zeroizing::new(text.to_vec());
        let shown = Shown {
            password: own(password),
            code: code.map(own),
        };
        self.ask(account, peer, Some(shown))
    }

    /// Whether an account may be used that has proved otherwise who it is.
    pub fn check_account(&self, account: &str, peer: IpAddr) -> Outcome {
        self.ask(account, peer, None)
    }

    fn ask(&self, account: &str, peer: IpAddr, shown: Option<Shown>) -> Outcome {
        let failed = |e: io::Error| Outcome::Failed(e.to_string());
        self.try_to_ask(account, peer, shown).unwrap_or_else(failed)
    }

    fn try_to_ask(&self, account: &str, peer: IpAddr, shown: Option<Shown>) -> io::Result<Outcome> {
        let (ours, theirs) = pair::<(), Outcome>()?;
        self.checks.send(&Check {
            account: account.to_owned(),
            peer,
            shown,
            answer: theirs,
        })?;
        let until = Instant::now() + self.limit + GRACE;
        loop {
            let mut poll = Poll::default();
            poll.read((), &ours);
            if !poll.wait(Some(left(until)))?.is_empty() {
                let ended = || io::Error::other("its process has ended");
                return ours.receive()?.ok_or_else(ended);
            }
            if left(until).is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Takes note of a refusal to a question of then: when its answer is due. That is
    /// after a whole number of periods, so that a small difference does not show.
    pub fn refused(&self, began: Instant, is_answered: bool) -> Instant {
        let periods = began.elapsed().as_millis() / DELAY.as_millis() + 1;
        let after = DELAY * u32::try_from(periods).unwrap_or(u32::MAX);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Refused { after, is_answered };
        began + after
    }

    /// The last refusal. One that no module was asked about is to look the same.
    pub fn last_refused(&self) -> Refused {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Pam {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.checks.as_fd()
    }
}

/// That a service has no file of its own.
pub fn missing_service(service: &str) -> Option<String> {
    let has_it = |place: &&str| Path::new(place).join(service).exists();
    if PLACES.iter().any(has_it) || !Path::new(PLACES[0]).is_dir() {
        return None;
    }
    Some(format!(
        "{}/{service} is missing, so PAM's \"other\" decides about logins: make it, from the \
         example pam-tfd",
        PLACES[0]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::codec::Encode;

    fn pam(code_digits: usize) -> (Pam, Pipe<(), Check>) {
        let (ours, theirs) = pair().expect("pair");
        let settings = config::Pam {
            service: "tfd".to_owned(),
            timeout: Duration::from_secs(60),
            code_digits,
        };
        (Pam::new(ours, &settings), theirs)
    }

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn codes_are_cut_off_where_they_are_sent_and_nowhere_else() {
        assert_eq!(pam(0).0.split(b"a123456"), Some((&b"a123456"[..], None)));
        let (pam, _other) = pam(6);
        let cut = (&b"a1"[..], Some(&b"234567"[..]));
        assert_eq!(pam.split(b"a1234567"), Some(cut));
        for without in [&b"pass word"[..], b"12345", b"a12345x", b""] {
            assert_eq!(pam.split(without), None);
        }
    }

    #[test]
    fn what_cannot_be_a_password_reaches_no_module() {
        let (pam, process) = pam(0);
        for wrong in [&b""[..], b"right\0", &[b'x'; LONGEST + 1]] {
            assert_eq!(pam.check("ann", PEER, (wrong, None)), Outcome::Wrong);
        }
        let none = process.try_receive().expect_err("nothing").kind();
        assert_eq!(none, io::ErrorKind::WouldBlock);
        let answering = std::thread::spawn(move || {
            let check = process.receive().expect("receive").expect("one");
            check.answer.send(&Outcome::Denied).expect("send");
            drop(process.receive());
        });
        let shown = (&b"right"[..], Some(&b"1"[..]));
        assert_eq!(pam.check("ann", PEER, shown), Outcome::Denied);
        let no_answer = pam.check_account("ann", PEER);
        assert!(matches!(no_answer, Outcome::Failed(_)), "{no_answer:?}");
        answering.join().expect("process");
    }

    #[test]
    fn a_question_that_the_authenticator_would_not_ask_is_none() {
        let (pam, process) = pam(0);
        for (account, password) in [("../ann", "x"), ("ann", ""), ("ann", "x\0")] {
            let (_, answer) = pair::<(), Outcome>().expect("pair");
            let password = Zeroizing::new(password.as_bytes().to_vec());
            let check = Check {
                account: account.to_owned(),
                peer: PEER,
                shown: Some(Shown {
                    password,
                    code: None,
                }),
                answer,
            };
            pam.checks.send(&check).expect("send");
            assert!(process.receive().is_err(), "{:?}", check.to_bytes());
        }
    }

    #[test]
    fn refusals_are_due_after_whole_periods() {
        let (pam, _process) = pam(0);
        let began = Instant::now();
        assert_eq!(pam.refused(began, true), began + DELAY);
        let long_ago = began.checked_sub(DELAY).expect("time");
        assert_eq!(pam.refused(long_ago, false), long_ago + 2 * DELAY);
        let last = pam.last_refused();
        assert_eq!((last.after, last.is_answered), (2 * DELAY, false));
    }
}
