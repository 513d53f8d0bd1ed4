//! Failed logins: an address that has failed too often, in all or at one account,
//! is blocked for a time that doubles with each further failure. Failures at an
//! account from everywhere block nobody, or anybody could lock its owner out:
//! they delay the answer to addresses that have never logged in to it. Blocks
//! and such addresses are kept in a file, so that a restart frees nobody.

use std::collections::HashMap;
use std::fs::File;
use std::hash::Hash;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Failures are forgotten after this many seconds without one.
const MEMORY: u64 = 3600;

/// The longest block, in seconds.
const LONGEST: u64 = 3600;

/// The most records and the most known addresses; the oldest are dropped first.
const MOST: usize = 16_384;

/// How long an address is known after its last login, and how old a login may
/// be in the file, in seconds.
const KNOWN: u64 = 90 * 86_400;
const FRESH: u64 = 86_400;

/// No account has a longer name.
const LONGEST_NAME: usize = 255;

/// When logins are blocked, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Failures until the first block; 0 for no blocks.
    pub failures: u32,
    /// The first block.
    pub block: Duration,
}

/// Who failed. An address is an IPv4 address or an IPv6 network of 64 bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    /// An address, at whatever account.
    Address(IpAddr),
    /// An address at an account.
    Login(String, IpAddr),
    /// Addresses that are not known, at a name. Blocks nobody.
    Name(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    failures: u32,
    /// Of the last failure, in seconds since the epoch.
    last: u64,
    /// The end of the block, likewise.
    until: u64,
}

impl Record {
    /// The record as it is now: one from the future, of a clock that was set
    /// back, counts from now on.
    fn at(self, now: u64) -> Record {
        let ahead = self.last.saturating_sub(now);
        let until = self.until.saturating_sub(ahead);
        Record {
            last: self.last - ahead,
            until,
            ..self
        }
    }
}

/// The failures so far. Times are seconds since the epoch.
#[derive(Debug)]
pub struct Throttle {
    limits: Limits,
    records: HashMap<Who, Record>,
    /// The addresses that have logged in to an account, and when at last.
    known: HashMap<(String, IpAddr), u64>,
    /// The latest time given by the caller.
    now: u64,
    file: Option<File>,
}

impl Throttle {
    /// Continues with the content of the file; invalid lines are ignored.
    pub fn new(limits: Limits, file: Option<File>) -> Throttle {
        let mut throttle = Throttle {
            limits,
            records: HashMap::new(),
            known: HashMap::new(),
            now: 0,
            file,
        };
        let mut text = String::new();
        if let Some(file) = &mut throttle.file {
            let _ = file.take(16 << 20).read_to_string(&mut text);
        }
        for line in text.lines() {
            let _ = throttle.read_line(line);
        }
        throttle.now = throttle
            .records
            .values()
            .map(|record| record.last)
            .max()
            .unwrap_or(0);
        throttle
    }

    /// How many more seconds logins from an address are blocked; `None` if they
    /// are not.
    pub fn address_blocked(&mut self, address: IpAddr, now: u64) -> Option<u64> {
        self.left(&Who::Address(source_of(address)), now)
    }

    /// The same for logins to an account from an address.
    pub fn login_blocked(&mut self, account: &str, address: IpAddr, now: u64) -> Option<u64> {
        let who = Who::Login(account.to_owned(), source_of(address));
        self.left(&who, now)
    }

    /// Whether an address has logged in to an account before.
    pub fn knows(&self, account: &str, address: IpAddr) -> bool {
        let pair = (account.to_owned(), source_of(address));
        self.known.contains_key(&pair)
    }

    /// Whether the answer to a login is to be delayed: too many to this name have
    /// failed, and the address is not known.
    pub fn is_delayed(&mut self, name: &str, address: IpAddr, now: u64) -> bool {
        self.follow_clock(now);
        let record = self.records.get(&Who::Name(name.to_owned()));
        let is_hot = record.is_some_and(|record| {
            record.failures >= self.limits.failures && now.saturating_sub(record.last) <= MEMORY
        });
        is_hot && !self.knows(name, address)
    }

    fn left(&mut self, who: &Who, now: u64) -> Option<u64> {
        self.follow_clock(now);
        self.records
            .get(who)?
            .until
            .checked_sub(now)
            .filter(|left| *left > 0)
    }

    /// A clock that was set back does not extend a block.
    fn follow_clock(&mut self, now: u64) {
        if now < self.now {
            self.records
                .values_mut()
                .for_each(|record| *record = record.at(now));
        }
        self.now = now;
    }

    /// Records a failure from an address for a name, and whether an account has
    /// that. Returns how many seconds the next attempt is blocked.
    ///
    /// # Errors
    /// When the file could not be written; the failure still counts.
    pub fn failed(
        &mut self,
        address: IpAddr,
        name: &str,
        is_account: bool,
        now: u64,
    ) -> io::Result<Option<u64>> {
        if self.limits.failures == 0 {
            return Ok(None);
        }
        self.follow_clock(now);
        let source = source_of(address);
        let login = is_account.then(|| Who::Login(name.to_owned(), source));
        let is_stranger = name.len() <= LONGEST_NAME && !self.knows(name, address);
        if is_stranger {
            self.count(Who::Name(name.to_owned()), now);
        }
        let mut longest = 0;
        for who in [Who::Address(source)].into_iter().chain(login) {
            longest = longest.max(self.count(who, now));
        }
        self.forget_old(now);
        self.save()?;
        Ok((longest > 0).then_some(longest))
    }

    /// Counts a failure; for how many seconds that blocks.
    fn count(&mut self, who: Who, now: u64) -> u64 {
        let new = Record {
            failures: 0,
            last: now,
            until: 0,
        };
        let record = self.records.entry(who).or_insert(new);
        if now.saturating_sub(record.last.max(record.until)) > MEMORY {
            *record = new;
        }
        record.failures = record.failures.saturating_add(1);
        record.last = now;
        let Some(beyond) = record.failures.checked_sub(self.limits.failures) else {
            return 0;
        };
        let block = self.limits.block.as_secs().max(1);
        let seconds = block
            .saturating_mul(1 << beyond.min(16))
            .min(LONGEST.max(block));
        record.until = now + seconds;
        seconds
    }

    /// Records a login: the address is known to the account from now on, and its
    /// own failures are forgotten.
    pub fn succeeded(&mut self, address: IpAddr, account: &str, now: u64) -> io::Result<()> {
        let source = source_of(address);
        let login = Who::Login(account.to_owned(), source);
        let forgotten = [Who::Address(source), login].map(|who| self.records.remove(&who));
        let pair = (account.to_owned(), source);
        let last = self.known.get(&pair).copied();
        if last.is_some_and(|last| last.abs_diff(now) < FRESH)
            && forgotten.iter().all(Option::is_none)
        {
            return Ok(());
        }
        self.known.insert(pair, now);
        self.forget_old(now);
        self.save()
    }

    fn forget_old(&mut self, now: u64) {
        self.records
            .retain(|_, record| now.saturating_sub(record.last.max(record.until)) < MEMORY);
        drop_oldest(&mut self.records, |record| record.last.max(record.until));
        self.known
            .retain(|_, last| now.saturating_sub(*last) < KNOWN);
        drop_oldest(&mut self.known, |last| *last);
    }

    fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let records = self.records.iter();
        let known = self.known.iter();
        let known = known.map(|((name, address), last)| format!("known {name} {address} {last}\n"));
        let text: String = records
            .filter_map(|(who, record)| line(who, *record))
            .chain(known)
            .collect();
        file.write_all_at(text.as_bytes(), 0)?;
        file.set_len(text.len() as u64)
    }
}

/// What counts as one source: an IPv4 address, or an IPv6 network of 64 bits.
pub fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Drops the oldest beyond [`MOST`].
fn drop_oldest<K: Clone + Eq + Hash, V>(all: &mut HashMap<K, V>, age: impl Fn(&V) -> u64) {
    while all.len() > MOST {
        let oldest = all.iter().min_by_key(|(_, value)| age(value));
        let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
            return;
        };
        all.remove(&oldest);
    }
}

/// `address 192.0.2.1 failures last until` or `login ann 192.0.2.1 failures last
/// until`.
fn line(who: &Who, record: Record) -> Option<String> {
    let Record {
        failures,
        last,
        until,
    } = record;
    let who = match who {
        Who::Address(address) => format!("address {address}"),
        Who::Login(name, address) => format!("login {name} {address}"),
        Who::Name(_) => return None,
    };
    Some(format!("{who} {failures} {last} {until}\n"))
}

impl Throttle {
    /// Takes a line of the file, if it is one.
    fn read_line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let (who, numbers) = match words[..] {
            ["known", name, address, last] => {
                let pair = (name.to_owned(), address.parse().ok()?);
                self.known.insert(pair, last.parse().ok()?);
                return Some(());
            }
            ["address", address, ..] => (Who::Address(address.parse().ok()?), &words[2..]),
            ["login", name, address, ..] => {
                let who = Who::Login(name.to_owned(), address.parse().ok()?);
                (who, &words[3..])
            }
            _ => return None,
        };
        let [failures, last, until] = numbers else {
            return None;
        };
        let record = Record {
            failures: failures.parse().ok()?,
            last: last.parse().ok()?,
            until: until.parse().ok()?,
        };
        self.records.insert(who, record);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        failures: 3,
        block: Duration::from_secs(60),
    };

    fn address(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn the_third_failure_blocks_and_each_further_one_twice_as_long() {
        let mut throttle = Throttle::new(LIMITS, None);
        let from = address("192.0.2.1");
        let mut fail = |now| throttle.failed(from, "ann", true, now).expect("noted");
        assert_eq!((fail(100), fail(101), fail(102)), (None, None, Some(60)));
        assert_eq!((fail(170), fail(300)), (Some(120), Some(240)));
        assert_eq!(throttle.address_blocked(from, 301), Some(239));
        assert_eq!(throttle.login_blocked("ann", from, 301), Some(239));
        let other = address("192.0.2.2");
        assert_eq!(throttle.address_blocked(other, 301), None);
        assert_eq!(throttle.login_blocked("ann", other, 301), None);
        assert_eq!(throttle.login_blocked("bob", from, 301), None);
        assert_eq!(throttle.address_blocked(from, 540), None);
    }

    #[test]
    fn failures_from_everywhere_delay_strangers_and_block_nobody() {
        let mut throttle = Throttle::new(LIMITS, None);
        let (home, new) = (address("2001:db8::1"), address("198.51.100.1"));
        throttle.succeeded(home, "ann", 1).expect("noted");
        for n in 0..10 {
            assert_eq!(throttle.is_delayed("ann", new, 2), n >= 3);
            let from = IpAddr::V4((0xC000_0200 + n).into());
            assert_eq!(throttle.failed(from, "ann", true, 2).expect("noted"), None);
        }
        assert!(!throttle.is_delayed("ann", home, 3) && !throttle.is_delayed("bob", new, 3));
        for from in [home, new] {
            assert_eq!(throttle.login_blocked("ann", from, 3), None);
        }
        // What is behind the same network of 64 bits as its owner is known, too.
        assert!(throttle.knows("ann", address("2001:db8::2")) && !throttle.knows("ann", new));
        assert!(!throttle.is_delayed("ann", new, 4000), "an hour of quiet");
        // The owner's own failures are no reason to delay strangers.
        for now in [5000, 5001, 5002] {
            throttle.failed(home, "ann", true, now).expect("noted");
        }
        assert!(!throttle.is_delayed("ann", new, 5003));
        assert!(throttle.login_blocked("ann", home, 5003).is_some());
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_block_longer() {
        let mut throttle = Throttle::new(LIMITS, None);
        let from = address("192.0.2.1");
        let mut fail = |now| throttle.failed(from, "nobody", false, now).expect("noted");
        for now in [90_000, 90_001, 90_002] {
            fail(now);
        }
        assert_eq!(throttle.address_blocked(from, 3600), Some(60));
        assert_eq!(throttle.address_blocked(from, 3602), Some(58));
        let failed = throttle.failed(from, "nobody", false, 3602);
        assert_eq!(failed.expect("noted"), Some(120));
        assert_eq!(throttle.address_blocked(from, 3612), Some(110));
    }

    #[test]
    fn a_login_or_an_hour_of_quiet_forgets() {
        let mut throttle = Throttle::new(LIMITS, None);
        let from = address("2001:db8::1");
        let neighbour = address("2001:db8::2");
        let fail = |throttle: &mut Throttle, now| {
            let failed = throttle.failed(from, "ann", true, now);
            failed.expect("noted")
        };
        for now in [1, 2] {
            fail(&mut throttle, now);
        }
        throttle.succeeded(neighbour, "ann", 2).expect("noted");
        assert_eq!(fail(&mut throttle, 3), None);
        assert_eq!(fail(&mut throttle, 4), None);
        assert_eq!(fail(&mut throttle, 4000), None);
    }

    #[test]
    fn a_login_to_another_account_forgets_no_failure_at_this_one() {
        let mut throttle = Throttle::new(LIMITS, None);
        let from = address("192.0.2.1");
        for now in [1, 2, 3] {
            throttle.failed(from, "ann", true, now).expect("noted");
            throttle.succeeded(from, "mallory", now).expect("noted");
        }
        assert_eq!(throttle.login_blocked("ann", from, 4), Some(59));
        assert_eq!(throttle.address_blocked(from, 4), None);
    }

    #[test]
    fn a_restart_frees_nobody_and_rubbish_in_the_file_is_passed_over() {
        let file = tempfile::tempfile().expect("file");
        let mut throttle = Throttle::new(LIMITS, Some(file.try_clone().expect("file")));
        let (from, home) = (address("192.0.2.1"), address("2001:db8::1"));
        throttle.succeeded(home, "ann", 1).expect("noted");
        for now in [1, 2, 3] {
            throttle.failed(from, "ann", true, now).expect("noted");
        }
        let len = file.metadata().expect("stat").len();
        file.write_all_at(
            b"address x 1\nrubbish\naccount ann 9 9 9\nlogin ann 1.1.1.1 1",
            len,
        )
        .expect("write");
        let reopened = |file: &File| {
            use std::io::Seek;
            let mut file = file.try_clone().expect("file");
            file.rewind().expect("rewind");
            Throttle::new(LIMITS, Some(file))
        };
        let mut again = reopened(&file);
        assert_eq!(again.address_blocked(from, 4), Some(59));
        assert_eq!(again.login_blocked("ann", from, 4), Some(59));
        assert!(again.knows("ann", home) && !again.knows("ann", from));
        again.succeeded(from, "ann", 5).expect("noted");
        let mut again = reopened(&file);
        assert_eq!(again.login_blocked("ann", from, 5), None);
        assert!(again.knows("ann", from));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut throttle = Throttle::new(LIMITS, None);
        for n in 0..10_000_u32 {
            let from = IpAddr::V4(std::net::Ipv4Addr::from(n));
            let name = format!("user{n}");
            throttle.failed(from, &name, true, 1).expect("noted");
        }
        for n in 0..u32::try_from(MOST).expect("number") {
            let pair = ("ann".to_owned(), IpAddr::V4(n.into()));
            throttle.known.insert(pair, n.into());
        }
        let last = address("192.0.2.1");
        throttle.succeeded(last, "ann", 1 << 20).expect("noted");
        assert!(throttle.records.len() <= MOST && throttle.known.len() <= MOST);
        assert!(throttle.knows("ann", last) && !throttle.knows("ann", address("0.0.0.0")));
    }
}
