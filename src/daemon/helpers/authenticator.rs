//! The authenticator: the one process that knows the hashes of passwords. A gate
//! whose client has shown the hash may ask it whether a name and a password
//! fit, or what its client has proved by a certificate; then it hands the gate's channel to the daemon, which starts the
//! session. It answers nothing else and runs unprivileged.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::epoll;
use zeroize::{Zeroize, Zeroizing};

use crate::daemon::helpers::replay_guard::ReplayGuard;
use crate::ipc::channel::{Channel, address_from_bytes, address_to_bytes};
use crate::ipc::tag::Tag;
use crate::net::tls::login::{Authority, Proof};
use crate::session::login::{self, Ask, MAX_CLAIM, Why};
use crate::sys::process::{PANICKED, exit};
use crate::users::account::Account;
use crate::users::hash;
use crate::users::throttle::Throttle;

/// Passwords checked at once; each takes 19 MiB while it is.
const WORKERS: usize = 2;

/// Bytes of the daemon's message with a gate's channel: tag, address.
pub const GATE_LEN: usize = Tag::LEN + 16;
/// Bytes of the authenticator's message with a channel back: tag, account, whether a
/// certificate has fitted.
pub const ADMIT_LEN: usize = Tag::LEN + 4 + 1;

/// The daemon's message with a gate's channel.
#[must_use]
pub fn gate_message(tag: Tag, peer: IpAddr) -> [u8; GATE_LEN] {
    let mut bytes = [0; GATE_LEN];
    bytes[..Tag::LEN].copy_from_slice(&tag.to_bytes());
    bytes[Tag::LEN..].copy_from_slice(&address_to_bytes(peer));
    bytes
}

/// The tag and the address in the daemon's message, if it is one.
#[must_use]
pub fn read_gate_message(bytes: &[u8]) -> Option<(Tag, IpAddr)> {
    let (tag, octets) = Tag::split_from(bytes)?;
    Some((tag, address_from_bytes(octets.try_into().ok()?)))
}

/// The authenticator's message with a channel back.
#[must_use]
pub fn admission(tag: Tag, account: usize, certificate: bool) -> [u8; ADMIT_LEN] {
    let mut bytes = [u8::from(certificate); ADMIT_LEN];
    bytes[..Tag::LEN].copy_from_slice(&tag.to_bytes());
    bytes[Tag::LEN..][..4].copy_from_slice(&(account as u32).to_be_bytes());
    bytes
}

/// Tag, account, and whether a certificate has fitted, in the authenticator's message,
/// if it is one.
#[must_use]
pub fn read_admission(bytes: &[u8]) -> Option<(Tag, usize, bool)> {
    let (tag, rest) = Tag::split_from(bytes)?;
    let (account, rest) = rest.split_first_chunk::<4>()?;
    let [certificate @ (0 | 1)] = *rest else {
        return None;
    };
    let account = usize::try_from(u32::from_be_bytes(*account)).ok()?;
    Some((tag, account, certificate == 1))
}

/// A gate that may ask.
struct Gate {
    tag: Tag,
    peer: IpAddr,
    channel: Channel,
}

/// Who a client says that it is.
enum Claim {
    Password(String, Zeroizing<Vec<u8>>),
    Certificate(Box<Proof>),
}

/// A claim to check, and the gate it is for.
struct Job {
    gate: Gate,
    claim: Claim,
}

/// The accounts, a hash for names that none of them has, who has failed, and
/// what tells whom a certificate names.
struct Book {
    accounts: Vec<Account>,
    nobody: String,
    throttle: Mutex<Throttle>,
    shown: Option<ReplayGuard>,
}

impl Book {
    fn new(
        accounts: Vec<Account>,
        throttle: Throttle,
        authority: Option<Authority>,
    ) -> io::Result<Book> {
        let mut password = [0; 32];
        getrandom::fill(&mut password).map_err(io::Error::other)?;
        let nobody = hash::make(&password).map_err(io::Error::other)?;
        let (throttle, shown) = (Mutex::new(throttle), authority.map(ReplayGuard::new));
        Ok(Book {
            accounts,
            nobody,
            throttle,
            shown,
        })
    }

    /// The hash a password is checked against. For a name that no account has,
    /// it is one of another account, always the same: the answer takes as long
    /// as for some account of the file.
    fn hash_for(&self, found: Option<usize>, name: &str) -> &str {
        let has_hash = |account: &&Account| !account.hash.is_empty();
        if let Some(account) = found.map(|index| &self.accounts[index]).filter(has_hash) {
            return &account.hash;
        }
        let all: Vec<&Account> = self.accounts.iter().filter(has_hash).collect();
        let sum = name.bytes().fold(0_usize, |sum, b| {
            sum.wrapping_mul(31).wrapping_add(b.into())
        });
        all.get(sum.checked_rem(all.len()).unwrap_or(0))
            .map_or(&self.nobody, |other| &other.hash)
    }
}

/// Serves gates until the daemon's channel is closed.
///
/// # Errors
/// The system's, when the authenticator can't go on.
pub fn run(
    accounts: Vec<Account>,
    throttle: Throttle,
    authority: Option<Authority>,
    daemon: Channel,
) -> io::Result<()> {
    let book = Arc::new(Book::new(accounts, throttle, authority)?);
    let daemon = Arc::new(daemon);
    let gates = Arc::new(Gates::new()?);
    for _ in 0..WORKERS {
        let (book, daemon, gates) = (Arc::clone(&book), Arc::clone(&daemon), Arc::clone(&gates));
        std::thread::Builder::new()
            .name("tfd-auth".to_owned())
            .spawn(move || {
                let _all = EndsAll;
                let Err(e) = answer(&book, &daemon, &gates);
                log::error!("authenticator failed error=\"{e}\"");
            })?;
    }
    let mut buffer = [0; GATE_LEN];
    loop {
        match daemon.receive(&mut buffer)? {
            (0, _) => return Ok(()),
            (len, handles) => {
                if let Some(gate) = read_gate(&buffer[..len], handles) {
                    gates.expect(gate)?;
                }
            }
        }
    }
}

/// Ends the process with a thread that checks passwords: the daemon starts
/// another.
struct EndsAll;

impl Drop for EndsAll {
    fn drop(&mut self) {
        exit(PANICKED);
    }
}

/// The gates that may ask.
struct Gates {
    poller: OwnedFd,
    /// The number of the next one, and those that are expected to ask.
    expected: Mutex<(u64, HashMap<u64, Gate>)>,
}

impl Gates {
    fn new() -> io::Result<Gates> {
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Gates {
            poller,
            expected: Mutex::default(),
        })
    }

    /// Has one thread told when this gate asks.
    fn expect(&self, gate: Gate) -> io::Result<()> {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, gates) = &mut *expected;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        epoll::add(
            &self.poller,
            &gate.channel,
            epoll::EventData::new_u64(*next),
            flags,
        )?;
        gates.insert(*next, gate);
        *next += 1;
        Ok(())
    }

    /// Waits for a gate that asks, or is gone.
    fn next(&self) -> io::Result<Option<Gate>> {
        let mut events = Vec::with_capacity(1);
        match epoll::wait(
            &self.poller,
            rustix::buffer::spare_capacity(&mut events),
            None,
        ) {
            Err(rustix::io::Errno::INTR) => return Ok(None),
            other => other?,
        };
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = events
            .first()
            .and_then(|event| expected.1.remove(&event.data.u64()));
        gate.as_ref()
            .map_or(Ok(()), |gate| epoll::delete(&self.poller, &gate.channel))?;
        Ok(gate)
    }
}

/// Checks what gates ask, one after another.
fn answer(book: &Book, daemon: &Channel, gates: &Gates) -> io::Result<Infallible> {
    let mut buffer = Zeroizing::new(vec![0; MAX_CLAIM]);
    loop {
        let Some(gate) = gates.next()? else { continue };
        let asked = read_claim(&gate, &mut buffer);
        buffer.as_mut_slice().zeroize();
        let gate = match asked {
            Asked::Claim(claim) => check(book, daemon, Job { gate, claim }),
            Asked::Nothing => Some(gate),
            Asked::Nonsense => None,
        };
        gate.map_or(Ok(()), |gate| gates.expect(gate))?;
    }
}

fn read_gate(bytes: &[u8], handles: Vec<OwnedFd>) -> Option<Gate> {
    let (tag, peer) = read_gate_message(bytes)?;
    let channel = Channel::from_handle(handles.into_iter().next()?);
    Some(Gate { tag, peer, channel })
}

/// What a gate's message is to the authenticator.
enum Asked {
    Claim(Claim),
    /// The state behind a claim that failed: it is for the session.
    Nothing,
    /// What no gate sends, or its end.
    Nonsense,
}

fn read_claim(gate: &Gate, buffer: &mut [u8]) -> Asked {
    let len = match gate.channel.receive(buffer) {
        Ok((len, _)) => len,
        Err(e) if e.kind() == io::ErrorKind::InvalidData => return Asked::Nothing,
        Err(_) => return Asked::Nonsense,
    };
    match Ask::from_bytes(&buffer[..len]) {
        Some(Ask::Password { name, password }) => Asked::Claim(Claim::Password(
            name.to_owned(),
            Zeroizing::new(password.to_vec()),
        )),
        Some(Ask::Certificate(proof)) => Proof::from_bytes(proof)
            .map_or(Asked::Nonsense, |proof| {
                Asked::Claim(Claim::Certificate(Box::new(proof)))
            }),
        Some(Ask::State(_)) => Asked::Nothing,
        Some(Ask::Jail { .. }) | None => Asked::Nonsense,
    }
}

/// Checks a claim. A gate whose claim holds goes to the daemon; another one
/// gets the verdict and comes back, to ask again.
fn check(book: &Book, daemon: &Channel, job: Job) -> Option<Gate> {
    let Job { gate, claim } = job;
    let (name, by, verdict) = match &claim {
        Claim::Password(name, password) => {
            (name.clone(), "", admit(book, gate.peer, name, password))
        }
        Claim::Certificate(proof) => {
            let (name, verdict) = admit_by_certificate(book, gate.peer, proof);
            (name, " by=certificate", verdict)
        }
    };
    match verdict {
        Ok(index) => {
            let message = admission(gate.tag, index, !by.is_empty());
            let _ = daemon.send(&message, &[gate.channel.as_fd()]);
            None
        }
        Err(reason) => {
            let peer = gate.peer;
            log::warn!("login failed peer={peer} user={name:?}{by} reason=\"{reason}\"");
            let is_heard = login::answer(&gate.channel, Err(Why::Password)).is_ok();
            is_heard.then_some(gate)
        }
    }
}

/// The name in a certificate, and the account that it opens or why it opens
/// none. Nobody can guess a certificate, so that failures block nobody, and an
/// account that is blocked for wrong passwords opens.
fn admit_by_certificate(
    book: &Book,
    peer: IpAddr,
    proof: &Proof,
) -> (String, Result<usize, &'static str>) {
    let Some(shown) = &book.shown else {
        return (String::new(), Err("no certificates are taken"));
    };
    let name = match shown.name(proof) {
        Ok(name) => name,
        Err(reason) => return (String::new(), Err(reason)),
    };
    let today = jiff::Timestamp::now()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    let found = book
        .accounts
        .iter()
        .position(|account| account.name == name);
    let verdict = match found.map(|index| (index, &book.accounts[index])) {
        None => Err("no such user"),
        Some((_, account)) if !account.is_open(peer, today) => {
            Err("locked, expired or not from here")
        }
        Some((index, _)) => Ok(index),
    };
    (name, verdict)
}

/// The account that a name and a password open.
///
/// # Errors
/// Why they open none.
fn admit(book: &Book, peer: IpAddr, name: &str, password: &[u8]) -> Result<usize, &'static str> {
    let time = jiff::Timestamp::now();
    let now = u64::try_from(time.as_second()).unwrap_or(0);
    let throttle = || book.throttle.lock().unwrap_or_else(PoisonError::into_inner);
    if throttle().address_blocked(peer, now).is_some() {
        return Err("too many failures from this address");
    }
    let found = book
        .accounts
        .iter()
        .position(|account| account.name == name);
    let fits = hash::fits(book.hash_for(found, name), password);
    // All of this comes after the hash, so that it takes as long for a name
    // that no account has.
    let today = time.to_zoned(jiff::tz::TimeZone::UTC).date();
    let mut throttle = throttle();
    let verdict = match found.map(|index| (index, &book.accounts[index])) {
        None => Err("no such user"),
        Some(_) if throttle.account_blocked(name, now).is_some() => {
            return Err("too many failures of this user");
        }
        Some((_, account)) if !account.is_open(peer, today) => {
            Err("locked, expired or not from here")
        }
        Some(_) if !fits => Err("wrong password"),
        Some((index, _)) => Ok(index),
    };
    let written = match verdict {
        Ok(_) => throttle.succeeded(peer, name),
        Err(_) => throttle
            .failed(peer, found.map(|_| name), now)
            .map(|blocked| {
                if let Some(seconds) = blocked {
                    log::warn!("login blocked peer={peer} user={name:?} seconds={seconds}");
                }
            }),
    };
    if let Err(e) = written {
        log::error!("blocked logins can't be written down error=\"{e}\"");
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::channel::pair;
    use crate::session::login::{HandOver, Login, MAX_ASK, Steps, Verdict};
    use crate::users::throttle::Limits;

    const LIMITS: Limits = Limits {
        failures: 100,
        block: std::time::Duration::from_secs(60),
    };

    const TAG: Tag = Tag { slot: 7, mark: 8 };

    fn start(lines: &[String]) -> Channel {
        let accounts = lines
            .iter()
            .map(|line| line.parse().expect("account"))
            .collect();
        let (ours, theirs) = pair().expect("pair");
        std::thread::spawn(move || run(accounts, Throttle::new(LIMITS, None), None, theirs));
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

    fn gate(authenticator: &Channel, jail: bool) -> Login {
        gate_with(authenticator, jail, None)
    }

    fn gate_with(authenticator: &Channel, jail: bool, proof: Option<Proof>) -> Login {
        let (ours, theirs) = pair().expect("pair");
        let message = gate_message(TAG, "192.0.2.1".parse().expect("address"));
        authenticator
            .send(&message, &[theirs.as_fd()])
            .expect("send");
        let steps = Steps {
            account: true,
            jail,
        };
        Login::new(ours.into_handle(), steps, proof)
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
            ("bob", "right"),
            ("nn", "right"),
            ("ann ", "right"),
            ("", ""),
        ] {
            let told = log_in(&mut client, user.as_bytes(), password.as_bytes());
            assert_eq!(told, Err(Why::Password), "{user}");
        }
        let asking = std::thread::spawn(move || log_in(&mut client, b"ann", b"right"));
        let mut buffer = [0; ADMIT_LEN];
        let (len, handles) = authenticator.receive(&mut buffer).expect("admission");
        assert_eq!(read_admission(&buffer[..len]), Some((TAG, 1, false)));
        let launcher = Channel::from_handle(handles.into_iter().next().expect("channel"));
        if !jail {
            let mut question = vec![0; MAX_ASK];
            let (len, beside) = launcher.receive(&mut question).expect("state");
            assert_eq!(
                Ask::from_bytes(&question[..len]),
                Some(Ask::State(b"state")),
                "the password is not in it"
            );
            assert_eq!(beside.len(), 1);
        }
        launcher.send(&[0], &[]).expect("send");
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
            let told = client.certificate(None).expect("authenticator");
            assert_eq!(told, Some(Err(Why::Password)));
            assert_eq!(client.certificate(None).expect("once"), None);
            let told = log_in(&mut client, b"ann", b"wrong");
            assert_eq!(told, Err(Why::Password), "it may ask on");
        }
        let odd = gate(&authenticator, true).into_channel();
        let nonsense = Ask::Certificate(b"\0").to_bytes().expect("bytes");
        odd.send(&nonsense, &[]).expect("send");
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
        let empty = Book::new(Vec::new(), throttle(), None).expect("book");
        assert!(hash::Scheme::of(empty.hash_for(None, "x")).is_some());
        let hash = hash::make(b"x").expect("hash");
        let lines = [format!("a:{hash}:a:::"), "new:!:a:::".to_owned()];
        let accounts = lines
            .iter()
            .map(|line| line.parse().expect("account"))
            .collect();
        let book = Book::new(accounts, throttle(), None).expect("book");
        assert_eq!(book.hash_for(Some(1), "new"), hash);
        assert_eq!(book.hash_for(None, "zzz"), hash);
    }
}
