//! Failed logins: an address or an account that has failed too often is
//! blocked for a time that doubles with each further failure. Blocks are kept in
//! a file, so that a restart frees nobody.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Failures are forgotten after this many seconds without one.
const MEMORY: u64 = 3600;

/// The longest block, in seconds.
const LONGEST: u64 = 3600;

/// The most addresses and accounts remembered; the oldest are dropped first.
const MOST: usize = 16_384;

/// When logins are blocked, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Failures until the first block; 0 for no blocks.
    pub failures: u32,
    /// The first block.
    pub block: Duration,
}

/// Who failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    /// An IPv4 address, or an IPv6 network of 64 bits.
    Address(IpAddr),
    Account(String),
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
            now: 0,
            file,
        };
        let mut text = String::new();
        if let Some(file) = &mut throttle.file {
            let _ = file.take(16 << 20).read_to_string(&mut text);
        }
        throttle.records = text.lines().filter_map(read_line).collect();
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
        self.left(&network(address), now)
    }

    /// The same for an account.
    pub fn account_blocked(&mut self, account: &str, now: u64) -> Option<u64> {
        self.left(&Who::Account(account.to_owned()), now)
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

    /// Records a failure from an address, and for an account if the name has one.
    /// Returns how many seconds the next attempt is blocked.
    ///
    /// # Errors
    /// When the file could not be written; the failure still counts.
    pub fn failed(
        &mut self,
        address: IpAddr,
        account: Option<&str>,
        now: u64,
    ) -> io::Result<Option<u64>> {
        if self.limits.failures == 0 {
            return Ok(None);
        }
        self.follow_clock(now);
        let mut longest = 0;
        let account = account.map(|name| Who::Account(name.to_owned()));
        for who in [network(address)].into_iter().chain(account) {
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
            if let Some(beyond) = record.failures.checked_sub(self.limits.failures) {
                let block = self.limits.block.as_secs().max(1);
                let seconds = block
                    .saturating_mul(1 << beyond.min(16))
                    .min(LONGEST.max(block));
                record.until = now + seconds;
                longest = longest.max(seconds);
            }
        }
        self.forget_old(now);
        self.save()?;
        Ok((longest > 0).then_some(longest))
    }

    /// Records a login: earlier failures are forgotten.
    pub fn succeeded(&mut self, address: IpAddr, account: &str) -> io::Result<()> {
        let address = self.records.remove(&network(address));
        let account = self.records.remove(&Who::Account(account.to_owned()));
        if address.is_some() || account.is_some() {
            self.save()
        } else {
            Ok(())
        }
    }

    fn forget_old(&mut self, now: u64) {
        self.records
            .retain(|_, record| now.saturating_sub(record.last.max(record.until)) < MEMORY);
        while self.records.len() > MOST {
            let oldest = self
                .records
                .iter()
                .min_by_key(|(_, record)| record.last.max(record.until));
            let Some(oldest) = oldest.map(|(who, _)| who.clone()) else {
                return;
            };
            self.records.remove(&oldest);
        }
    }

    fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let text: String = self
            .records
            .iter()
            .map(|(who, record)| line(who, *record))
            .collect();
        file.write_all_at(text.as_bytes(), 0)?;
        file.set_len(text.len() as u64)
    }
}

fn network(address: IpAddr) -> Who {
    Who::Address(source_of(address))
}

/// What counts as one source: an IPv4 address, or an IPv6 network of 64 bits.
pub fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// `address 192.0.2.1 failures last until` or `account ann failures last until`.
fn line(who: &Who, record: Record) -> String {
    let Record {
        failures,
        last,
        until,
    } = record;
    match who {
        Who::Address(address) => format!("address {address} {failures} {last} {until}\n"),
        Who::Account(name) => format!("account {name} {failures} {last} {until}\n"),
    }
}

fn read_line(line: &str) -> Option<(Who, Record)> {
    let words: Vec<&str> = line.split(' ').collect();
    let [kind, who, failures, last, until] = words[..] else {
        return None;
    };
    let who = match kind {
        "address" => Who::Address(who.parse().ok()?),
        "account" => Who::Account(who.to_owned()),
        _ => return None,
    };
    let (failures, last, until) = (
        failures.parse().ok()?,
        last.parse().ok()?,
        until.parse().ok()?,
    );
    Some((
        who,
        Record {
            failures,
            last,
            until,
        },
    ))
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
        let mut fail = |now| throttle.failed(from, Some("ann"), now).expect("noted");
        assert_eq!((fail(100), fail(101), fail(102)), (None, None, Some(60)));
        assert_eq!((fail(170), fail(300)), (Some(120), Some(240)));
        assert_eq!(throttle.address_blocked(from, 301), Some(239));
        assert_eq!(throttle.account_blocked("ann", 301), Some(239));
        assert_eq!(throttle.address_blocked(address("192.0.2.2"), 301), None);
        assert_eq!(throttle.account_blocked("bob", 301), None);
        assert_eq!(throttle.address_blocked(from, 540), None);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_block_longer() {
        let mut throttle = Throttle::new(LIMITS, None);
        let from = address("192.0.2.1");
        for now in [90_000, 90_001, 90_002] {
            throttle.failed(from, None, now).expect("noted");
        }
        assert_eq!(throttle.address_blocked(from, 3600), Some(60));
        assert_eq!(throttle.address_blocked(from, 3602), Some(58));
        assert_eq!(throttle.failed(from, None, 3602).expect("noted"), Some(120));
        assert_eq!(throttle.address_blocked(from, 3612), Some(110));
    }

    #[test]
    fn a_login_or_an_hour_of_quiet_forgets() {
        let mut throttle = Throttle::new(LIMITS, None);
        let from = address("2001:db8::1");
        let neighbour = address("2001:db8::2");
        for now in [1, 2] {
            throttle.failed(from, Some("ann"), now).expect("noted");
        }
        throttle.succeeded(neighbour, "ann").expect("noted");
        assert_eq!(throttle.failed(from, Some("ann"), 3).expect("noted"), None);
        assert_eq!(throttle.failed(from, Some("ann"), 4).expect("noted"), None);
        assert_eq!(
            throttle.failed(from, Some("ann"), 4000).expect("noted"),
            None
        );
    }

    #[test]
    fn a_restart_frees_nobody_and_rubbish_in_the_file_is_passed_over() {
        let file = tempfile::tempfile().expect("file");
        let mut throttle = Throttle::new(LIMITS, Some(file.try_clone().expect("file")));
        let from = address("192.0.2.1");
        for now in [1, 2, 3] {
            throttle.failed(from, Some("ann"), now).expect("noted");
        }
        let len = file.metadata().expect("stat").len();
        file.write_all_at(b"address x 1\nrubbish\naccount", len)
            .expect("write");
        let reopened = |file: &File| {
            use std::io::Seek;
            let mut file = file.try_clone().expect("file");
            file.rewind().expect("rewind");
            Throttle::new(LIMITS, Some(file))
        };
        assert_eq!(reopened(&file).address_blocked(from, 4), Some(59));
        reopened(&file).succeeded(from, "ann").expect("noted");
        assert_eq!(reopened(&file).account_blocked("ann", 4), None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut throttle = Throttle::new(LIMITS, None);
        for n in 0..10_000_u32 {
            let from = IpAddr::V4(std::net::Ipv4Addr::from(n));
            throttle
                .failed(from, Some(&format!("user{n}")), 1)
                .expect("noted");
        }
        assert!(throttle.records.len() <= MOST);
    }
}
