//! The authenticator: the one process that knows the hashes of passwords. A gate
//! may ask it to check a name and a password, or what its client has proved by a
//! certificate; if they are right, it hands the gate's channel to the daemon,
//! which starts the session. It answers nothing else and runs unprivileged.

mod accounts;
mod by_pam;
mod shared;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::civil::Date;
use log::kv::Value;
use zeroize::Zeroizing;

use crate::daemon::helpers::pam::{self, Pam};
use crate::daemon::helpers::replay_guard::ReplayGuard;
use crate::ipc::Pipe;
use crate::ipc::codec::codec;
use crate::ipc::gates::{self, DELAY, Next};
use crate::ipc::orders::Tag;
use crate::net::tls::login::{Authority, Proof};
use crate::session::failure::Failure;
pub use crate::session::login::AskingGate as Gate;
use crate::session::login::{Ask, GatePipe, Why};
use crate::users::account::{Account, Closed};
use crate::users::throttle::{self, Block, FOR_GOOD, Throttle};
use crate::users::{hash, totp};
use accounts::Accounts;
pub use shared::SharedLogins;

/// Passwords checked at once; each takes 19 MiB while it is.
const WORKERS: usize = 2;

/// A gate whose client is authenticated: the message to the daemon.
#[derive(Debug)]
pub struct Admitted {
    /// Its connection.
    pub tag: Tag,
    /// The number of the account, in the order of the users file.
    pub account: u32,
    /// Whether a certificate has logged it in.
    pub certificate: bool,
    /// The channel to it.
    pub gate: GatePipe,
}

codec!(struct Admitted { tag, account, certificate, gate });

/// What the daemon hears of a login.
pub type Outcome = Result<Admitted, Failure>;

/// Who a client claims to be.
enum Claim {
    Password(String, Zeroizing<Vec<u8>>),
    Certificate(Box<Proof>),
}

/// The accounts, the failures, and the check of certificates.
struct Book {
    accounts: Accounts,
    /// Whether any of them needs one-time codes.
    has_codes: bool,
    throttle: Mutex<Throttle>,
    shown: Option<ReplayGuard>,
    /// What checks passwords in place of the hashes.
    pam: Option<Pam>,
    /// What holds at all servers.
    shared: Option<SharedLogins>,
}

/// What is asked beside the users file.
#[derive(Debug, Default)]
pub struct Checks {
    /// Who vouches for clients' certificates.
    pub authority: Option<Authority>,
    /// What checks passwords in place of the hashes.
    pub pam: Option<Pam>,
    /// What holds at all servers.
    pub shared: Option<SharedLogins>,
}

impl Book {
    fn new(accounts: Vec<Account>, throttle: Throttle, checks: Checks) -> io::Result<Book> {
        let Checks {
            authority,
            pam,
            shared,
        } = checks;
        let (throttle, shown) = (Mutex::new(throttle), authority.map(ReplayGuard::new));
        Ok(Book {
            has_codes: accounts.iter().any(|account| account.totp.is_some()),
            accounts: Accounts::new(accounts).map_err(io::Error::other)?,
            throttle,
            shown,
            pam,
            shared,
        })
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account that a password opens, with the period of the one-time code
    /// behind it where one is needed. Whatever name it is for, a password that could
    /// end in a code is compared with and without.
    fn check_password(
        &self,
        found: Option<usize>,
        (name, password): (&str, &[u8]),
        now: u64,
    ) -> Result<(usize, Option<u64>), Refusal> {
        let (hash, is_own) = self.accounts.hash_for(found, name);
        let with_code = totp::split(password).filter(|_| self.has_codes);
        let whole = hash::fits(hash, password) && is_own;
        let secret = found.and_then(|index| self.accounts[index].totp.as_ref());
        if let (true, Some(index), None) = (whole, found, secret) {
            return Ok((index, None));
        }
        let begin = with_code.is_some_and(|(begin, _)| hash::fits(hash, begin)) && is_own;
        let Some(index) = found else {
            return Err(Failure::UnknownUser.into());
        };
        match (secret, with_code) {
            (Some(secret), Some((_, code))) if begin => match secret.step_of(code, now) {
                Some(step) => Ok((index, Some(step))),
                None => Err(Refusal::wrong_code()),
            },
            (Some(_), _) if whole => Err(Refusal::code_needed()),
            _ => Err(Failure::WrongPassword.into()),
        }
    }

    /// Uses up the one-time code of a period. One whose use can't be kept opens
    /// nothing: it could be used again.
    fn use_code(&self, name: &str, step: u64) -> Result<(), Refusal> {
        match self.throttle().use_code(name, step) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::wrong_code()),
            Err(e) => {
                log::error!(error:% = e; "one-time code not accepted: its use can't be saved");
                Err(Refusal {
                    why: Why::Internal,
                    ..Failure::WrongCode.into()
                })
            }
        }
    }

    /// Whether an account lets in who has proved to be its owner.
    fn check_open(
        &self,
        index: usize,
        peer: IpAddr,
        (now, today): (u64, Date),
    ) -> Result<(), Refusal> {
        let account = &self.accounts[index];
        account.check_open(peer, today)?;
        let barred = self.throttle().barred(&account.name, peer, now);
        barred.map_or(Ok(()), |until| Err(Refusal::barred(until)))
    }
}

/// Whether failures block a login to this name, from an address that may be known to it
/// at other servers: that ends what has come about there alone.
fn block(
    throttle: &mut Throttle,
    name: &str,
    peer: IpAddr,
    (now, is_known_elsewhere): (u64, bool),
) -> Option<Refusal> {
    let here = throttle.address_blocked(peer, now);
    let elsewhere = throttle.address_blocked_elsewhere(peer, now);
    let whole = here.max(elsewhere.filter(|_| !is_known_elsewhere));
    if let Some(seconds) = whole
        && !throttle.knows(name, peer)
    {
        return Some(Refusal::blocked(Failure::BlockedAddress, now, seconds));
    }
    let seconds = throttle.login_blocked(name, peer, now)?;
    Some(Refusal::blocked(Failure::BlockedUser, now, seconds))
}

/// The channel to the daemon.
type ToDaemon = Pipe<Outcome, Option<Gate>>;

/// Serves gates until the daemon's channel is closed.
pub fn run(
    accounts: Vec<Account>,
    throttle: Throttle,
    checks: Checks,
    daemon: ToDaemon,
) -> io::Result<()> {
    // Modules may take long, and more of them wait than work.
    let workers = checks.pam.as_ref().map_or(WORKERS, |_| pam::PARALLEL);
    let book = Arc::new(Book::new(accounts, throttle, checks)?);
    let daemon = Arc::new(daemon);
    let to_daemon = Arc::clone(&daemon);
    gates::serve(&daemon, workers, move |gate: Gate| {
        match read_claim(&gate) {
            Asked::Claim(claim) => check(&book, &to_daemon, gate, &claim),
            Asked::Nothing => Next::Again(gate),
            Asked::Nonsense => Next::Done,
        }
    })
}

/// A gate's message.
enum Asked {
    Claim(Claim),
    /// The state after a claim that failed: it was for the session.
    Nothing,
    /// Anything else, or the end of the gate.
    Nonsense,
}

fn read_claim(gate: &Gate) -> Asked {
    match gate.channel.receive() {
        Ok(Some(Ask::Password { name, password })) => Asked::Claim(Claim::Password(name, password)),
        Ok(Some(Ask::Certificate(proof))) => Asked::Claim(Claim::Certificate(Box::new(proof))),
        Ok(Some(Ask::State { .. })) => Asked::Nothing,
        Ok(Some(Ask::Jail { .. }) | None) | Err(_) => Asked::Nonsense,
    }
}

/// Why a login is refused.
struct Refusal {
    failure: Failure,
    /// What the log says.
    reason: &'static str,
    /// What the client gets.
    why: Why,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal {
            failure,
            reason: failure.reason(),
            why: Why::Password,
        }
    }
}

impl From<Closed> for Refusal {
    fn from(closed: Closed) -> Refusal {
        let reason = match closed {
            Closed::Locked => "the account is locked",
            Closed::Expired => "the account has expired",
            Closed::Network => "not from this address",
        };
        Refusal {
            failure: Failure::ClosedAccount,
            reason,
            why: closed.into(),
        }
    }
}

impl Refusal {
    /// An operator has barred the account until then.
    fn barred(until: u64) -> Refusal {
        let why = match until {
            FOR_GOOD => Why::Locked,
            until => Why::Barred { until },
        };
        Refusal {
            why,
            ..Failure::Barred.into()
        }
    }

    /// Too many failures block for so many seconds from now on.
    fn blocked(failure: Failure, now: u64, seconds: u64) -> Refusal {
        let until = now.saturating_add(seconds);
        Refusal {
            why: Why::Blocked { until },
            ..failure.into()
        }
    }

    fn code_needed() -> Refusal {
        Refusal {
            why: Why::CodeNeeded,
            ..Failure::WrongCode.into()
        }
    }

    fn wrong_code() -> Refusal {
        Refusal {
            why: Why::WrongCode,
            ..Failure::WrongCode.into()
        }
    }

    fn by_certificate(reason: &'static str) -> Refusal {
        Refusal {
            reason,
            ..Failure::Certificate.into()
        }
    }
}

/// Checks a claim. If it is true, the gate goes to the daemon; otherwise the gate
/// gets the verdict and may ask again.
fn check(book: &Arc<Book>, daemon: &Arc<ToDaemon>, gate: Gate, claim: &Claim) -> Next<Gate> {
    let (name, verdict, due) = match claim {
        Claim::Password(name, password) => {
            let (verdict, due) = admit(book, gate.peer, name, password);
            (name.clone(), verdict, due)
        }
        Claim::Certificate(proof) => {
            let (name, verdict) = admit_by_certificate(book, gate.peer, proof);
            (name, verdict, None)
        }
    };
    let certificate = matches!(claim, Claim::Certificate(_));
    let peer = gate.peer;
    if let Err(Refusal {
        why: Why::CodeNeeded,
        ..
    }) = &verdict
    {
        log::info!(peer:%, user = name; "one-time code asked for");
    } else if let Err(refusal) = &verdict {
        // A full channel costs the count, and nothing else.
        let _ = daemon.try_send(&Err(refusal.failure));
        let by = certificate.then_some(&"certificate");
        let by = by.map_or(Value::null(), Value::from_display);
        let reason = refusal.reason;
        log::warn!(peer:%, user = name, by, reason; "login failed");
    }
    let (book, daemon) = (Arc::clone(book), Arc::clone(daemon));
    let verdict = verdict.map_err(|refusal| refusal.why);
    let answer = move || {
        let verdict = verdict.and_then(|index| book.begin_session(index, &gate));
        report(&daemon, gate, verdict, certificate)
    };
    match due {
        Some(due) => Next::Delayed(due, Box::new(answer)),
        None => answer().into(),
    }
}

/// Gives a verdict; the gate, if it may ask again.
fn report(
    daemon: &ToDaemon,
    gate: Gate,
    verdict: Result<usize, Why>,
    certificate: bool,
) -> Option<Gate> {
    let account = match verdict {
        Ok(account) => account,
        Err(why) => {
            // One whose queue is full is hostile.
            let is_heard = gate.channel.try_send(&Err(why)).is_ok();
            return is_heard.then_some(gate);
        }
    };
    let _ = daemon.send(&Ok(Admitted {
        tag: gate.tag,
        account: u32::try_from(account).ok()?,
        certificate,
        gate: gate.channel,
    }));
    None
}

/// The name in a certificate, and its account or why there is none. Certificates
/// cannot be guessed, so failures don't block, and who is blocked because of wrong
/// passwords still gets in.
fn admit_by_certificate(
    book: &Book,
    peer: IpAddr,
    proof: &Proof,
) -> (String, Result<usize, Refusal>) {
    let wrong = |reason| Err(Refusal::by_certificate(reason));
    let Some(shown) = &book.shown else {
        return (String::new(), wrong("certificates are not accepted"));
    };
    let name = match shown.name(proof) {
        Ok(name) => name,
        Err(reason) => return (String::new(), wrong(reason)),
    };
    let (now, today) = time();
    let verdict = match book.accounts.find(&name) {
        None => wrong("no such user"),
        Some(index) => book
            .check_open(index, peer, (now, today))
            .and_then(|()| book.check_account_by_pam(index, peer))
            .map(|()| index)
            .map_err(|refusal| Refusal {
                failure: Failure::Certificate,
                ..refusal
            }),
    };
    (name, verdict)
}

/// The account of a name and a password, or why they are refused; and when the answer
/// is due, if not at once. An address that has logged in to the account before counts
/// for itself: whatever else comes from there or elsewhere, it is let through. A
/// blocked password is not looked at: to say that it is right would let guesses go
/// on behind the block.
fn admit(
    book: &Book,
    peer: IpAddr,
    name: &str,
    password: &[u8],
) -> (Result<usize, Refusal>, Option<Instant>) {
    let (now, _) = time();
    let found = book.accounts.find(name);
    let is_known = book.hear_shared(name, peer, now);
    if let Some(refusal) = block(&mut book.throttle(), name, peer, (now, is_known)) {
        return (Err(refusal), None);
    }
    let (shown, due) = match &book.pam {
        Some(pam) => book.check_by_pam(pam, found, (peer, password)),
        None => (book.check_password(found, (name, password), now), None),
    };
    // PAM may have taken a while.
    let (now, today) = time();
    // All of this comes after the hash, so that it takes as long for a name
    // that no account has.
    let verdict = shown.and_then(|(index, step)| {
        book.check_open(index, peer, (now, today))?;
        match step {
            Some(step) => book.use_code(name, step).map(|()| index),
            None => Ok(index),
        }
    });
    let shared = book.say_shared(name, peer, &verdict);
    let mut throttle = book.throttle();
    shared::learn_block(&mut throttle, name, peer, (shared.as_ref(), now));
    // Others may have failed meanwhile: guesses that come at once gain nothing.
    let is_known = shared.as_ref().is_some_and(|shared| shared.is_known);
    let verdict = block(&mut throttle, name, peer, (now, is_known)).map_or(verdict, Err);
    let is_delayed = throttle.is_delayed(name, peer, now);
    let written = match verdict {
        Ok(_) => throttle.succeeded(peer, name, now),
        // The password was right, and nothing was guessed.
        Err(Refusal { why, .. }) if !matches!(why, Why::Password | Why::WrongCode) => Ok(()),
        Err(_) => throttle.failed(peer, name, now).map(|blocked| {
            let blocked = shared::longer(&throttle, (name, peer), blocked, shared.as_ref());
            if let Some(block) = blocked {
                log_block(peer, name, block);
            }
            shared::learn(&mut throttle, name, peer, (shared.as_ref(), now));
        }),
    };
    if let Err(e) = written {
        log::error!(error:% = e; "blocked logins not saved");
    }
    let delayed = is_delayed.then(|| Instant::now() + DELAY);
    (verdict, due.max(delayed))
}

fn log_block(peer: IpAddr, name: &str, block: Block) {
    let Block {
        seconds,
        is_whole_address,
    } = block;
    let all = is_whole_address.then_some(&"all");
    let accounts = all.map_or(Value::null(), Value::from_display);
    log::warn!(peer:%, user = name, seconds, accounts; "login blocked");
}

/// Seconds since the epoch, and the day in UTC.
fn time() -> (u64, Date) {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    (throttle::now(), today.date())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::ipc::channel::pair;
    use crate::session::login::{HandOver, Login, Steps, Verdict};
    use crate::users::throttle::Limits;

    const LIMITS: Limits = Limits {
        failures: 100,
        block: std::time::Duration::from_secs(60),
    };

    const TAG: Tag = Tag { slot: 7, mark: 8 };

    type Authenticator = Pipe<Option<Gate>, Outcome>;

    fn start(lines: &[String]) -> Authenticator {
        let accounts = lines
            .iter()
            .map(|line| line.parse().expect("account"))
            .collect();
        let (ours, theirs) = crate::ipc::pipe::pair().expect("pair");
        std::thread::spawn(move || {
            run(
                accounts,
                Throttle::new(LIMITS, None),
                Checks::default(),
                theirs,
            )
        });
        ours
    }

    /// Tries a name and a password, with a state behind them where they are the
    /// last step.
    fn log_in(gate: &mut Login, user: &[u8], password: &[u8]) -> Verdict {
        let (socket, _other) = pair().expect("pair");
        let next = HandOver {
            socket: socket.as_fd(),
            state: b"state",
        };
        let next = gate.account_is_last().then_some(next);
        gate.password(user, password, next).expect("authenticator")
    }

    fn gate(authenticator: &Authenticator, jail: bool) -> Login {
        gate_with(authenticator, jail, None)
    }

    fn gate_with(authenticator: &Authenticator, jail: bool, proof: Option<Proof>) -> Login {
        let (ours, theirs) = crate::ipc::pipe::pair().expect("pair");
        let gate = Gate {
            tag: TAG,
            peer: "192.0.2.1".parse().expect("address"),
            channel: theirs,
        };
        authenticator.send(&Some(gate)).expect("send");
        let steps = Steps {
            account: true,
            jail,
        };
        Login::new(ours, steps, proof)
    }

    #[test]
    fn a_right_password_sends_the_channel_to_the_daemon_and_a_wrong_one_is_told() {
        for jail in [true, false] {
            log_in_with(jail);
        }
    }

    fn log_in_with(jail: bool) {
        let hash = hash::make(b"right").expect("hash");
        let authenticator = start(&[format!("bob:!{hash}:bob:::"), format!("ann:{hash}:ann:::")]);
        let mut client = gate(&authenticator, jail);
        for (user, password) in [
            ("ann", "wrong"),
            ("bob", "wrong"),
            ("nn", "right"),
            ("ann ", "right"),
            ("", ""),
        ] {
            let verdict = log_in(&mut client, user.as_bytes(), password.as_bytes());
            assert_eq!(verdict, Err(Why::Password), "{user}");
        }
        let verdict = log_in(&mut client, b"bob", b"right");
        assert_eq!(verdict, Err(Why::Locked));
        use Failure::{ClosedAccount, UnknownUser, WrongPassword};
        for failure in [
            WrongPassword,
            WrongPassword,
            UnknownUser,
            UnknownUser,
            UnknownUser,
            ClosedAccount,
        ] {
            let outcome = authenticator.receive().expect("outcome").expect("one");
            assert_eq!(outcome.err(), Some(failure));
        }
        let asking = std::thread::spawn(move || log_in(&mut client, b"ann", b"right"));
        let outcome = authenticator.receive().expect("outcome").expect("one");
        let admitted = outcome.expect("admission");
        let Admitted {
            tag,
            account,
            certificate,
            gate: launcher,
        } = admitted;
        assert_eq!((tag, account, certificate), (TAG, 1, false));
        if !jail {
            let Ok(Some(Ask::State { state, .. })) = launcher.receive() else {
                panic!("the password is not in it");
            };
            assert_eq!(&state[..], b"state");
        }
        launcher.send(&Ok(())).expect("send");
        assert_eq!(asking.join().expect("gate"), Ok(()));
    }

    #[test]
    fn a_proof_that_a_gate_has_made_up_opens_nothing() {
        let hash = hash::make(b"right").expect("hash");
        let authenticator = start(&[format!("ann:{hash}:ann:::")]);
        let proof = crate::net::tls::login::Proof {
            chain: vec![b"certificate of ann".to_vec()],
            ..Default::default()
        };
        for jail in [true, false] {
            let mut client = gate_with(&authenticator, jail, Some(proof.clone()));
            let verdict = client.certificate(None).expect("authenticator");
            assert_eq!(verdict, Some(Err(Why::Password)));
            let outcome = authenticator.receive().expect("outcome").expect("one");
            assert_eq!(outcome.err(), Some(Failure::Certificate));
            assert_eq!(client.certificate(None).expect("once"), None);
            let verdict = log_in(&mut client, b"ann", b"wrong");
            assert_eq!(verdict, Err(Why::Password), "it may ask on");
            let outcome = authenticator.receive().expect("outcome").expect("one");
            assert_eq!(outcome.err(), Some(Failure::WrongPassword));
        }
        let odd = gate(&authenticator, true).into_channel();
        odd.send(&[4, 0], &[]).expect("send");
        assert!(
            matches!(odd.receive(&mut [0; 1]), Ok((0, _)) | Err(_)),
            "its channel is closed"
        );
    }

    #[test]
    fn a_gate_that_asks_anything_else_is_cut_off() {
        let authenticator = start(&[]);
        let mut client = gate(&authenticator, true);
        assert!(client.jail(b"t", &crate::store::RootPath::root()).is_err());
        let mut other = gate(&authenticator, true);
        assert_eq!(log_in(&mut other, b"ann", b"x"), Err(Why::Password));
    }

    #[test]
    fn a_name_without_an_account_is_checked_against_some_hash() {
        let throttle = || Throttle::new(LIMITS, None);
        let empty = Book::new(Vec::new(), throttle(), Checks::default()).expect("book");
        assert!(hash::Scheme::of(empty.accounts.hash_for(None, "x").0).is_some());
        let hash = hash::make(b"x").expect("hash");
        let lines = [
            format!("a:{hash}:a:::"),
            "new:!:a:::".to_owned(),
            "pam:*:a:::".to_owned(),
        ];
        let accounts = lines
            .iter()
            .map(|line| line.parse().expect("account"))
            .collect();
        let book = Book::new(accounts, throttle(), Checks::default()).expect("book");
        assert_eq!(book.accounts.hash_for(Some(0), "a"), (hash.as_str(), true));
        for (found, name) in [(Some(1), "new"), (Some(2), "pam"), (None, "zzz")] {
            assert_eq!(book.accounts.hash_for(found, name), (hash.as_str(), false));
            let refused = book.check_password(found, (name, b"x"), 0);
            assert!(refused.is_err(), "{name}: the hash is another account's");
        }
    }
}
