//! Failed logins: an address that has failed too often at one account is blocked
//! there, one that has failed far too often in all is blocked as a whole, each for
//! a time that doubles with each further failure. Failures at an account from
//! everywhere block nobody, or anybody could lock its owner out: they delay the
//! answer to addresses that have never logged in to it. An operator may bar an
//! account or an address, and lift all of it. What blocks is kept in a file, so
//! that a restart frees nobody.

mod book;
pub mod shared;

use std::collections::HashMap;
use std::fs::File;
use std::hash::Hash;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::account::check_name;
use crate::trusted;
use book::Book;

/// Failures are forgotten after this many seconds without one.
pub const MEMORY: u64 = 3600;

/// The longest block, in seconds.
pub const LONGEST: u64 = 3600;

/// How many times the failures that block an address at one account block it as a
/// whole. One account counts for no more than one of these times.
pub const WHOLE_ADDRESS: u32 = 5;

/// The most records and the most known addresses; the oldest are dropped first.
const MOST: usize = 16_384;

/// How long an address is known after its last login, and how old a login may
/// be in the file, in seconds.
pub const KNOWN: u64 = 90 * 86_400;
const FRESH: u64 = 86_400;

/// The end of a bar that an operator has to lift.
pub const FOR_GOOD: u64 = u64::MAX;

/// No account has a longer name.
const LONGEST_NAME: usize = 255;

/// When logins are blocked, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Failures at one account until the first block; 0 for no blocks.
    pub failures: u32,
    /// The first block.
    pub block: Duration,
}

/// Who failed. An address is an IPv4 address or an IPv6 network of 64 bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    /// An address, at whatever account.
    Address(IpAddr),
    /// The same for failures at other servers, by the store that they share.
    Elsewhere(IpAddr),
    /// An address at an account.
    Login(String, IpAddr),
    /// Addresses that are not known, at a name. Blocks nobody.
    Name(String),
}

/// Whom an operator bars, or frees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An address, at whatever account.
    Address(IpAddr),
    /// An account, from wherever.
    Account(String),
}

impl Target {
    /// The target that an operator names.
    pub fn of(text: &str) -> Target {
        match text.parse() {
            Ok(address) => Target::Address(source_of(address)),
            Err(_) => Target::Account(text.to_owned()),
        }
    }
}

/// A block that lasts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blocked {
    /// The account, unless it holds for all.
    pub account: Option<String>,
    /// The address, unless it holds for all.
    pub address: Option<IpAddr>,
    /// The failures; none for a bar.
    pub failures: Option<u32>,
    /// Its end, in seconds since the epoch, or [`FOR_GOOD`].
    pub until: u64,
}

/// What a failure has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// How many seconds the next attempt is blocked.
    pub seconds: u64,
    /// Whether at every account.
    pub is_whole_address: bool,
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

/// What is known of logins.
#[derive(Clone, Debug, Default)]
struct State {
    records: HashMap<Who, Record>,
    /// The addresses that have logged in to an account, and when at last.
    known: HashMap<(String, IpAddr), u64>,
    /// Whom an operator has barred, and until when.
    barred: HashMap<Target, u64>,
    /// The period of the last one-time code of each account.
    codes: HashMap<String, u64>,
}

/// The failures so far. Times are seconds since the epoch. Others may change the
/// file at the same time: the authenticators of other generations, and operators.
#[derive(Debug)]
pub struct Throttle {
    limits: Limits,
    state: State,
    /// The latest time given by the caller.
    now: Option<u64>,
    book: Option<Book>,
}

impl Throttle {
    /// For an operator, who fails no login.
    pub fn for_operator(file: File) -> Throttle {
        let limits = Limits {
            failures: 0,
            block: Duration::ZERO,
        };
        Throttle::new(limits, Some(file))
    }

    /// Continues with the content of the file; invalid lines are ignored.
    pub fn new(limits: Limits, file: Option<File>) -> Throttle {
        let mut throttle = Throttle {
            limits,
            state: State::default(),
            now: None,
            book: file.map(Book::new),
        };
        throttle.now = throttle.read(|state| state.records.values().map(|of| of.last).max());
        throttle
    }

    /// Looks at the state as it is in the file now.
    fn read<T>(&mut self, look: impl FnOnce(&State) -> T) -> T {
        if let Some(book) = &mut self.book {
            let _lock = book.lock();
            book.read_if_changed(&mut self.state, self.now);
        }
        look(&self.state)
    }

    /// Changes it there, if `change` says that it has.
    fn write<T>(&mut self, change: impl FnOnce(&mut State) -> (T, bool)) -> io::Result<T> {
        let Some(book) = &mut self.book else {
            return Ok(change(&mut self.state).0);
        };
        let _lock = book.lock();
        book.read_if_changed(&mut self.state, self.now);
        let (result, has_changed) = change(&mut self.state);
        if has_changed {
            book.save(&self.state)?;
        }
        Ok(result)
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

    /// Until when an operator has barred an address or an account.
    pub fn barred(&mut self, account: &str, address: IpAddr, now: u64) -> Option<u64> {
        let targets = [
            Target::Address(source_of(address)),
            Target::Account(account.to_owned()),
        ];
        self.read(|state| {
            let until = targets.iter().filter_map(|target| state.barred.get(target));
            until.copied().filter(|until| *until > now).max()
        })
    }

    /// Whether an address has logged in to an account before.
    pub fn knows(&self, account: &str, address: IpAddr) -> bool {
        let pair = (account.to_owned(), source_of(address));
        self.state.known.contains_key(&pair)
    }

    /// Whether the answer to a login is to be delayed: too many to this name have
    /// failed, and the address is not known.
    pub fn is_delayed(&mut self, name: &str, address: IpAddr, now: u64) -> bool {
        self.follow_clock(now);
        let record = self.state.records.get(&Who::Name(name.to_owned()));
        let is_hot = record.is_some_and(|record| {
            record.failures >= self.limits.failures && now.saturating_sub(record.last) <= MEMORY
        });
        is_hot && !self.knows(name, address)
    }

    fn left(&mut self, who: &Who, now: u64) -> Option<u64> {
        self.follow_clock(now);
        let until = self.read(|state| state.records.get(who).map(|record| record.until));
        until?.checked_sub(now).filter(|left| *left > 0)
    }

    /// A clock that was set back does not extend a block.
    fn follow_clock(&mut self, now: u64) {
        if self.now.is_some_and(|before| now < before) {
            self.state.follow_clock(now);
        }
        self.now = Some(now);
    }

    /// Records a failure from an address for a name. A name that no account has
    /// counts like others, or blocks would show which exist. It counts at the
    /// address until it is blocked there itself.
    ///
    /// # Errors
    /// When the file could not be written; the failure still counts.
    pub fn failed(&mut self, address: IpAddr, name: &str, now: u64) -> io::Result<Option<Block>> {
        let Limits { failures, block } = self.limits;
        if failures == 0 {
            return Ok(None);
        }
        self.follow_clock(now);
        let source = source_of(address);
        self.write(|state| {
            let is_known = state.known.contains_key(&(name.to_owned(), source));
            if !is_known && name.len() <= LONGEST_NAME {
                state.count(Who::Name(name.to_owned()), (failures, block), now);
            }
            let login = check_name(name).is_ok().then(|| {
                let who = Who::Login(name.to_owned(), source);
                state.count(who, (failures, block), now)
            });
            let (so_far, seconds) = login.unwrap_or_default();
            let mut found = Block {
                seconds,
                is_whole_address: false,
            };
            if so_far <= failures {
                let most = failures.saturating_mul(WHOLE_ADDRESS);
                let (_, whole) = state.count(Who::Address(source), (most, block), now);
                if whole > 0 {
                    found = Block {
                        seconds: whole.max(seconds),
                        is_whole_address: true,
                    };
                }
            }
            state.forget_old(now);
            ((found.seconds > 0).then_some(found), true)
        })
    }

    /// Records a login: the address is known to the account from now on, and the
    /// account's own failures there are forgotten.
    pub fn succeeded(&mut self, address: IpAddr, account: &str, now: u64) -> io::Result<()> {
        let source = source_of(address);
        let most = self.limits.failures;
        self.write(|state| {
            let login = Who::Login(account.to_owned(), source);
            let own = state.records.remove(&login);
            if let Some(record) = own {
                state.forgive(source, record.failures.min(most), now);
            }
            let pair = (account.to_owned(), source);
            let last = state.known.get(&pair).copied();
            if own.is_none() && last.is_some_and(|last| last.abs_diff(now) < FRESH) {
                return ((), false);
            }
            state.known.insert(pair, now);
            state.forget_old(now);
            ((), true)
        })
    }

    /// Uses up the one-time code of a period: whether it and all later ones were
    /// still unused.
    ///
    /// # Errors
    /// When the file could not be written: a restart would forget it.
    pub fn use_code(&mut self, account: &str, step: u64) -> io::Result<bool> {
        self.write(|state| {
            let last = state.codes.entry(account.to_owned()).or_insert(0);
            let is_new = *last < step;
            *last = step.max(*last);
            (is_new, is_new)
        })
    }

    /// Forgets the codes of an account: its secret is another now.
    pub fn forget_codes(&mut self, account: &str) -> io::Result<()> {
        self.write(|state| ((), state.codes.remove(account).is_some()))
    }

    /// All blocks that last, in the order of accounts and addresses.
    pub fn all(&mut self, now: u64) -> Vec<Blocked> {
        self.read(|state| state.lasting(now))
    }

    /// Frees an address at every account, or an account from everywhere: how many
    /// blocks that has ended. An address that is blocked as a whole stays so if only
    /// an account is freed, and a bar without an end stays.
    pub fn free(&mut self, target: &Target, now: u64) -> io::Result<usize> {
        self.write(|state| {
            let is_meant = |blocked: &Blocked| match target {
                Target::Address(address) => blocked.address == Some(*address),
                Target::Account(name) => blocked.account.as_ref() == Some(name),
            };
            let ends = |until: u64| until > now && until != FOR_GOOD;
            let lasting = state.blocks().filter(|blocked| ends(blocked.until));
            let count = lasting.filter(is_meant).count();
            let before = state.records.len() + state.barred.len();
            let stays = |of: &Target, until: u64| of != target || until == FOR_GOOD;
            state.barred.retain(|of, until| stays(of, *until));
            state.records.retain(|who, _| match (who, target) {
                (
                    Who::Address(address) | Who::Elsewhere(address) | Who::Login(_, address),
                    Target::Address(freed),
                ) => address != freed,
                (Who::Login(name, _) | Who::Name(name), Target::Account(freed)) => name != freed,
                _ => true,
            });
            let after = state.records.len() + state.barred.len();
            (count, before != after)
        })
    }

    /// The addresses blocked as a whole from which logins to an account have
    /// failed.
    pub fn whole_addresses_of(&mut self, account: &str, now: u64) -> Vec<IpAddr> {
        let is_blocked = |state: &State, address: &IpAddr| {
            let whole = [Who::Address(*address), Who::Elsewhere(*address)];
            let mut records = whole.iter().filter_map(|who| state.records.get(who));
            records.any(|record| record.until > now)
        };
        self.read(|state| {
            let addresses = state.records.keys().filter_map(|who| match who {
                Who::Login(name, address) if name == account => Some(*address),
                _ => None,
            });
            addresses.filter(|one| is_blocked(state, one)).collect()
        })
    }

    /// Bars an address or an account until then or longer; with no time, no longer.
    pub fn bar(&mut self, target: Target, until: Option<u64>) -> io::Result<()> {
        self.write(|state| {
            let before = state.barred.remove(&target);
            let until = until.map(|until| until.max(before.unwrap_or(0)));
            state.barred.extend(until.map(|until| (target, until)));
            ((), before != until)
        })
    }

    /// Forgets the bars of accounts without an end: the users file, read just now,
    /// says which are locked.
    pub fn forget_bars_for_good(&mut self) -> io::Result<()> {
        self.write(|state| {
            let before = state.barred.len();
            let is_account = |target: &Target| matches!(target, Target::Account(_));
            state
                .barred
                .retain(|target, until| *until != FOR_GOOD || !is_account(target));
            ((), before != state.barred.len())
        })
    }
}

impl State {
    fn follow_clock(&mut self, now: u64) {
        let records = self.records.values_mut();
        records.for_each(|record| *record = record.at(now));
    }

    /// Counts a failure: how many there are now, and for how many seconds that
    /// blocks.
    fn count(&mut self, who: Who, (most, block): (u32, Duration), now: u64) -> (u32, u64) {
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
        let Some(beyond) = record.failures.checked_sub(most) else {
            return (record.failures, 0);
        };
        let block = block.as_secs().max(1);
        let seconds = block
            .saturating_mul(1 << beyond.min(16))
            .min(LONGEST.max(block));
        record.until = now + seconds;
        (record.failures, seconds)
    }

    /// Takes so many failures off an address.
    fn forgive(&mut self, source: IpAddr, failures: u32, now: u64) {
        let who = Who::Address(source);
        if let Some(record) = self.records.get_mut(&who) {
            record.failures = record.failures.saturating_sub(failures);
            if record.failures == 0 && record.until <= now {
                self.records.remove(&who);
            }
        }
    }

    /// What blocks, or has blocked.
    fn blocks(&self) -> impl Iterator<Item = Blocked> + '_ {
        let by_failures = self.records.iter().filter_map(|(who, record)| {
            let (account, address) = match who {
                Who::Address(address) | Who::Elsewhere(address) => (None, *address),
                Who::Login(name, address) => (Some(name.clone()), *address),
                Who::Name(_) => return None,
            };
            Some(Blocked {
                account,
                address: Some(address),
                failures: Some(record.failures),
                until: record.until,
            })
        });
        let by_operators = self.barred.iter().map(|(target, until)| {
            let (account, address) = match target {
                Target::Address(address) => (None, Some(*address)),
                Target::Account(name) => (Some(name.clone()), None),
            };
            Blocked {
                account,
                address,
                failures: None,
                until: *until,
            }
        });
        by_failures.chain(by_operators)
    }

    /// Those that last, in order.
    fn lasting(&self, now: u64) -> Vec<Blocked> {
        let lasting = self.blocks().filter(|blocked| blocked.until > now);
        let mut all: Vec<_> = lasting.collect();
        all.sort();
        // An address may be blocked as a whole here and elsewhere.
        all.dedup_by(|next, kept| {
            let who = |of: &Blocked| (of.account.clone(), of.address, of.failures.is_some());
            let is_same = who(next) == who(kept);
            if is_same {
                kept.failures = next.failures;
                kept.until = kept.until.max(next.until);
            }
            is_same
        });
        all
    }

    fn forget_old(&mut self, now: u64) {
        self.records
            .retain(|_, record| now.saturating_sub(record.last.max(record.until)) < MEMORY);
        drop_oldest(&mut self.records, |record| record.last.max(record.until));
        self.known
            .retain(|_, last| now.saturating_sub(*last) < KNOWN);
        drop_oldest(&mut self.known, |last| *last);
        self.barred.retain(|_, until| *until > now);
    }
}

/// Opens the file next to a users file that keeps the state.
///
/// # Errors
/// `NotFound` if there is none and none is to be made, else the system's, or that
/// another user could have put it there.
pub fn open_beside(users: &Path, is_made: bool) -> io::Result<File> {
    let mut flags = OFlags::RDWR;
    flags.set(OFlags::CREATE, is_made);
    open(users, flags)
}

/// The bytes of that file as they are now, unread: they are for [`blocks_in`].
///
/// # Errors
/// As [`open_beside`].
pub fn copy_of_file(users: &Path) -> io::Result<Vec<u8>> {
    let book = Book::new(open(users, OFlags::RDONLY)?);
    let _lock = book.lock();
    book.bytes()
}

/// All blocks of such a copy that last.
pub fn blocks_in(copy: &[u8], now: u64) -> Vec<Blocked> {
    book::state_in(copy).lasting(now)
}

fn open(users: &Path, flags: OFlags) -> io::Result<File> {
    let mut path = users.as_os_str().to_owned();
    path.push(".blocked");
    let path = PathBuf::from(path);
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    let flags = flags | OFlags::NONBLOCK;
    let file = trusted::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(named)?;
    if trusted::is_ours(&file).map_err(named)? && file.metadata().map_err(named)?.is_file() {
        return Ok(file);
    }
    Err(named(io::Error::other("not a file of root: remove it")))
}

/// The time as a throttle counts it: seconds since the epoch.
pub fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
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

#[cfg(test)]
mod tests;
