//! The users file: one account a line, `name:hash:system-user:home:options:expiry`.
//! See tfd-users(5). Reading it checks everything that can be checked without
//! looking at the system. An error never quotes its line: a field in the wrong
//! place may be a hash or a password.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::civil::Date;
use zeroize::Zeroizing;

use super::hash::Scheme;
use super::identity::Identity;
use super::totp::Secret;
use crate::ipc::codec::codec;
use crate::store::{Policy, RootPath};
use crate::text::parse_size;

/// The longest name of an account, in bytes.
pub const MAX_NAME: usize = 64;

/// The mark in front of the hash of a locked account.
pub(super) const LOCK: char = '!';

/// In place of the hash of an account without a password here.
pub const NO_PASSWORD: &str = "*";

/// What is behind the hash of a password, in the same field: secrets as it is.
const PROOF: char = ';';
const TOTP: &str = "totp";
const NEXT_TOTP: &str = "next-totp";

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name a client logs in with.
    pub name: String,
    /// The hash of its password, in crypt format, or [`NO_PASSWORD`].
    pub hash: Zeroizing<String>,
    /// What its one-time codes are made of, if it needs them.
    pub totp: Option<Secret>,
    /// The next such secret, until a code has confirmed it.
    pub next_totp: Option<Secret>,
    /// Whether nobody can log in with it.
    pub locked: bool,
    /// The system user whose identity its sessions take.
    pub system_user: String,
    /// The directory beneath the root that is its sessions' root; empty for
    /// the root itself.
    pub home: String,
    /// What it may do and from where.
    pub options: Options,
    /// The last day, in UTC, on which the account can log in.
    pub expiry: Option<Date>,
}

/// What an account may do and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Networks it may be used from; none for any.
    pub from: Vec<Network>,
    /// The most sessions at once; `None` if unlimited.
    pub max_sessions: Option<u32>,
    /// What its sessions may do to files.
    pub rights: Rights,
    /// The most bytes a second of all its sessions, both directions together.
    pub rate: Option<u64>,
    /// The most bytes the files of its system user may have beneath the root.
    pub quota: Option<u64>,
    /// Whether it may have an account of the vault, whose sessions take its identity.
    pub vault: bool,
}

/// What a session may do to files, in addition to the system's permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rights {
    /// Whatever the system allows.
    #[default]
    Full,
    /// Add files and directories; never change, replace or remove any.
    AppendOnly,
    /// Change nothing.
    ReadOnly,
}

/// Bits in front of the address in an IPv4-mapped IPv6 address.
const MAPPED: u8 = 96;

/// A network: an address and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether an address is in it. An IPv4-mapped address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let unused = width - u32::from(self.bits);
            unused >= width || a >> unused == b >> unused
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let wrong = || "not a network: write 192.0.2.0/24 or 2001:db8::/32".to_owned();
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > most {
            return Err(wrong());
        }
        Ok(match (address, address.to_canonical()) {
            // IPv4-mapped; lookups are canonical already.
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if bits >= MAPPED => Network {
                address: v4,
                bits: bits - MAPPED,
            },
            _ => Network { address, bits },
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Bytes a second.
fn read_rate(text: &str) -> Result<u64, String> {
    let remedy = || "rate: use bytes a second, such as 500000, 500K or 20M".to_owned();
    parse_size(text)
        .filter(|rate| *rate >= 1024)
        .ok_or_else(remedy)
}

/// Bytes stored. For no quota leave the option out; 0 is refused.
fn read_quota(text: &str) -> Result<u64, String> {
    let remedy = || "quota: use bytes above 0, such as 500M or 2T".to_owned();
    parse_size(text)
        .filter(|quota| (1..=1 << 62).contains(quota))
        .ok_or_else(remedy)
}

impl FromStr for Options {
    type Err = String;

    fn from_str(text: &str) -> Result<Options, String> {
        let mut options = Options::default();
        let mut given: Vec<&str> = Vec::new();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let key = word.split('=').next().unwrap_or(word);
            if key != "from" && given.contains(&key) {
                return Err(format!("{key} is given twice: remove one"));
            }
            given.push(key);
            match word.split_once('=') {
                None if word == "read-only" => options.rights = Rights::ReadOnly,
                None if word == "append-only" => options.rights = Rights::AppendOnly,
                None if word == "vault" => options.vault = true,
                Some(("rate", rate)) => options.rate = Some(read_rate(rate)?),
                Some(("quota", quota)) => options.quota = Some(read_quota(quota)?),
                Some(("from", network)) => options
                    .from
                    .push(network.parse().map_err(|e| format!("from: {e}"))?),
                Some(("max", count)) => {
                    let count = count.parse().ok().filter(|count| *count > 0);
                    let remedy = || "max: use a number above 0".to_owned();
                    options.max_sessions = Some(count.ok_or_else(remedy)?);
                }
                _ => {
                    let remedy = "unknown option: use read-only, append-only, max=N, rate=BYTES, \
                                  quota=BYTES, from=NETWORK, vault";
                    return Err(remedy.to_owned());
                }
            }
        }
        if given.contains(&"read-only") && given.contains(&"append-only") {
            return Err("read-only and append-only exclude each other".to_owned());
        }
        Ok(options)
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rights = match self.rights {
            Rights::Full => None,
            Rights::AppendOnly => Some("append-only".to_owned()),
            Rights::ReadOnly => Some("read-only".to_owned()),
        };
        let rate = self.rate.map(|rate| format!("rate={rate}"));
        let max = self.max_sessions.map(|max| format!("max={max}"));
        let from = self.from.iter().map(|network| format!("from={network}"));
        let quota = self.quota.map(|quota| format!("quota={quota}"));
        let vault = self.vault.then(|| "vault".to_owned());
        let words: Vec<String> = rights
            .into_iter()
            .chain(max)
            .chain(rate)
            .chain(quota)
            .chain(vault)
            .chain(from)
            .collect();
        f.write_str(&words.join(","))
    }
}

/// A hash, and the secrets of codes behind it.
fn read_proofs(field: &str) -> Result<(&str, Option<Secret>, Option<Secret>), String> {
    let mut words = field.split(PROOF);
    let hash = words.next().unwrap_or_default();
    let (mut totp, mut next) = (None, None);
    for word in words {
        let (place, secret) = match word.split_once('=') {
            Some((TOTP, secret)) => (&mut totp, secret),
            Some((NEXT_TOTP, secret)) => (&mut next, secret),
            _ => return Err("unknown text behind the hash: remove it".to_owned()),
        };
        let secret = secret.parse().map_err(|e| format!("{TOTP}: {e}"))?;
        if place.replace(secret).is_some() {
            return Err(format!("{TOTP} is given twice: remove one"));
        }
    }
    Ok((hash, totp, next))
}

impl FromStr for Account {
    type Err = String;

    fn from_str(line: &str) -> Result<Account, String> {
        if line.chars().any(char::is_control) {
            return Err("a control character: remove it".to_owned());
        }
        // A network may contain colons, so the last two fields are cut from the
        // end.
        let fields: Vec<&str> = line.splitn(5, ':').collect();
        let [name, hash, system_user, home, rest] = fields[..] else {
            return Err(
                "fewer than six fields: write name:hash:system-user:home:options:expiry".to_owned(),
            );
        };
        let (options, expiry) = rest
            .rsplit_once(':')
            .ok_or("fewer than six fields: write name:hash:system-user:home:options:expiry")?;
        check_name(name)?;
        let (locked, hash) = match hash.strip_prefix(LOCK) {
            Some(hash) => (true, hash),
            None => (false, hash),
        };
        let (hash, totp, next_totp) = read_proofs(hash).map_err(|e| format!("{name}: {e}"))?;
        let is_without = hash == NO_PASSWORD || locked && hash.is_empty();
        if Scheme::of(hash).is_none() && !is_without {
            return Err(format!(
                "{name}: unknown kind of hash: set it with tfd user passwd"
            ));
        }
        if system_user.is_empty() {
            return Err(format!("{name}: no system user"));
        }
        if [system_user, home]
            .into_iter()
            .any(|field| Scheme::of(field).is_some())
        {
            return Err(format!("{name}: the hash is in the wrong field"));
        }
        if !home.is_empty() && RootPath::parse(home.as_bytes(), &Policy::NONE).is_err() {
            return Err(format!(
                "{name}: the home is not a directory beneath the root"
            ));
        }
        let expiry = match expiry {
            "" => None,
            day => Some(
                day.parse()
                    .map_err(|_| format!("{name}: the expiry is not a day: write 2027-12-31"))?,
            ),
        };
        Ok(Account {
            name: name.to_owned(),
            hash: Zeroizing::new(hash.to_owned()),
            totp,
            next_totp,
            locked,
            system_user: system_user.to_owned(),
            home: home.to_owned(),
            options: options.parse().map_err(|e| format!("{name}: {e}"))?,
            expiry,
        })
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lock = if self.locked { "!" } else { "" };
        let expiry = self.expiry.map(|day| day.to_string()).unwrap_or_default();
        let Account {
            name,
            hash,
            system_user,
            home,
            options,
            ..
        } = self;
        write!(f, "{name}:{lock}{}", hash.as_str())?;
        for (key, secret) in [(TOTP, &self.totp), (NEXT_TOTP, &self.next_totp)] {
            if let Some(secret) = secret {
                write!(f, "{PROOF}{key}={}", *secret.to_base32())?;
            }
        }
        write!(f, ":{system_user}:{home}:{options}:{expiry}")
    }
}

/// Why an account does not let in who has shown its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It is locked.
    Locked,
    /// Its last day is over.
    Expired,
    /// It may not be used from that address.
    Network,
}

impl Account {
    /// Whether the account may log in now, from this address.
    ///
    /// # Errors
    /// Why not.
    pub fn check_open(&self, from: IpAddr, today: Date) -> Result<(), Closed> {
        let networks = &self.options.from;
        if self.locked {
            return Err(Closed::Locked);
        }
        if self.expiry.is_some_and(|last| today > last) {
            return Err(Closed::Expired);
        }
        match networks.is_empty() || networks.iter().any(|network| network.contains(from)) {
            true => Ok(()),
            false => Err(Closed::Network),
        }
    }
}

/// Checks the name of an account: no blanks, since LOGIN ends the name at the
/// first, and nothing that has a meaning in the file or in a log.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_alphanumeric() || "._@+-".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(fine) {
        return Err(format!(
            "not a valid account name: use 1 to {MAX_NAME} letters, digits and ._@+-"
        ));
    }
    Ok(())
}

/// The accounts of a users file. Empty lines and lines that begin with `#` are
/// ignored.
///
/// # Errors
/// Every problem, with its line.
pub fn parse(text: &str) -> Result<Vec<Account>, Vec<(usize, String)>> {
    let mut accounts: Vec<Account> = Vec::new();
    let mut names = HashSet::new();
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match line.parse::<Account>() {
            Ok(account) if names.insert(account.name.clone()) => accounts.push(account),
            Ok(account) => problems.push((index + 1, format!("{}: is given twice", account.name))),
            Err(text) => problems.push((index + 1, text)),
        }
    }
    if problems.is_empty() {
        Ok(accounts)
    } else {
        Err(problems)
    }
}

/// What the daemon needs to start a session of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The name of the account.
    pub name: String,
    /// The identity its sessions take.
    pub identity: Identity,
    /// The directory beneath the root that is their root; empty for the root
    /// itself.
    pub home: String,
    /// What they may do to files.
    pub rights: Rights,
    /// The most sessions at once; `None` if unlimited.
    pub max_sessions: Option<u32>,
    /// The most bytes a second of all its sessions; `None` if unlimited.
    pub rate: Option<u64>,
    /// The most bytes its system user may have stored.
    pub quota: Option<u64>,
}

codec!(struct Login { name, identity, home, rights, max_sessions, rate, quota });
codec!(enum Rights { 0 => Full, 1 => ReadOnly, 2 => AppendOnly });

impl Login {
    /// A login that may do all beneath `home`, as those of a protocol's own accounts.
    pub fn unlimited(name: String, identity: Identity, home: String) -> Login {
        Login {
            name,
            identity,
            home,
            rights: Rights::Full,
            max_sessions: None,
            rate: None,
            quota: None,
        }
    }

    /// The login of an account whose system user was looked up.
    pub fn new(account: &Account, identity: Identity) -> Login {
        Login {
            name: account.name.clone(),
            identity,
            home: account.home.clone(),
            rights: account.options.rights,
            max_sessions: account.options.max_sessions,
            rate: account.options.rate,
            quota: account.options.quota,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use crate::ipc::codec::{Decode, Encode};

    const HASH: &str = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$42RgPIrXdXSEEs77lDi/4IqKVqFBAVaHJkzw5uD1r57";

    #[test]
    fn a_line_is_read_and_written_the_same() {
        for line in [
            format!("ann:{HASH}:ann:::"),
            format!("ann:!{HASH}:web-data:sites/ann:read-only,max=2:2027-12-31"),
            format!("backup:{HASH}:backup:b:append-only,rate=1048576:"),
            format!("a@b.c:{HASH}:ann::from=192.0.2.0/24,from=2001:db8::/32:"),
            "new:!:ann:::".to_owned(),
            "pam:*:ann:::".to_owned(),
        ] {
            let account: Account = line.parse().expect("account");
            assert_eq!(account.to_string(), line);
        }
    }

    #[test]
    fn each_mistake_is_told_with_its_line() {
        let text = format!(
            "# comment\n\nann:{HASH}:ann:::\nann:{HASH}:ann:::\nbob:secret:bob:::\n\
             eve:{HASH}::::\nroot:{HASH}:root:../x::\nx y:{HASH}:x:::\nshort:{HASH}:x\n\
             opt:{HASH}:x::fast:\nday:{HASH}:x:::2027-13-01\nnet:{HASH}:x::from=1.2.3.4/33:\n\
             max:{HASH}:x::max=0:\nopen::x:::\nboth:{HASH}:x::append-only,read-only:\nrate:{HASH}:x::rate=9:\n\
             ctl:{HASH}:x:a\0b::\ntwice:{HASH}:x::max=1,max=2:\n"
        );
        let problems = parse(&text).expect_err("problems");
        let lines: Vec<usize> = problems.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, (4..=18).collect::<Vec<_>>(), "{problems:?}");
    }

    #[test]
    fn an_account_is_open_until_its_last_day_from_its_networks_only() {
        let day = |text: &str| text.parse::<Date>().expect("day");
        let account: Account = format!("a:{HASH}:a::from=192.0.2.0/24,from=::1:2026-12-31")
            .parse()
            .expect("account");
        for (from, today, open) in [
            ("192.0.2.7", "2026-12-31", true),
            ("::ffff:192.0.2.7", "2026-01-01", true),
            ("::1", "2026-01-01", true),
            ("192.0.2.7", "2027-01-01", false),
            ("192.0.3.7", "2026-01-01", false),
            ("::2", "2026-01-01", false),
        ] {
            let from = from.parse().expect("address");
            assert_eq!(
                account.check_open(from, day(today)).is_ok(),
                open,
                "{from} {today}"
            );
        }
        let locked: Account = format!("a:!{HASH}:a:::").parse().expect("account");
        let home = "127.0.0.1".parse().expect("address");
        assert_eq!(
            locked.check_open(home, day("2026-01-01")),
            Err(Closed::Locked)
        );
        let all: Network = "0.0.0.0/0".parse().expect("network");
        assert!(all.contains("198.51.100.1".parse().expect("address")));
        for (text, shown) in [
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ] {
            let network: Network = text.parse().expect("network");
            assert!(
                network.contains("192.0.2.7".parse().expect("address")),
                "{text}"
            );
            assert!(
                network.contains("::ffff:192.0.2.7".parse().expect("address")),
                "{text}"
            );
            assert!(
                !network.contains("192.0.3.7".parse().expect("address")),
                "{text}"
            );
            assert_eq!(network.to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,80}") {
            if let Ok(account) = text.parse::<Account>() {
                prop_assert_eq!(account.to_string().parse::<Account>(), Ok(account));
            }
        }
    }

    #[test]
    fn a_login_arrives_as_sent() {
        let identity = Identity::of("root").expect("root");
        for (rights, max_sessions, rate) in [
            (Rights::Full, None, None),
            (Rights::ReadOnly, Some(3), None),
            (Rights::AppendOnly, None, Some(1 << 40)),
        ] {
            let (name, home) = ("ann".to_owned(), "sites/ann".to_owned());
            let identity = identity.clone();
            let quota = rate.map(|rate| rate * 3);
            let login = Login {
                name,
                identity,
                home,
                rights,
                max_sessions,
                rate,
                quota,
            };
            assert_eq!(Login::from_bytes(&login.to_bytes()), Some(login));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Login::from_bytes(&bytes);
        }
    }

    #[test]
    fn a_name_may_be_given_once_however_many_accounts_there_are() {
        let lines: Vec<String> = (0..100_000)
            .map(|n| format!("user{n}:!:ann:::\n"))
            .collect();
        let text = lines.concat();
        assert_eq!(parse(&text).expect("accounts").len(), 100_000);
        let twice = parse(&format!("{text}user7:!:ann:::\n")).expect_err("twice");
        assert_eq!(twice, [(100_001, "user7: is given twice".to_owned())]);
    }
}
