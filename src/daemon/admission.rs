//! Who may connect: how many connections there may be of one source, and before
//! their login is complete. It counts and decides nothing else.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::net::proxy_header::is_trusted;
use crate::users::account::Network;
use crate::users::throttle::source_of;

/// How often to scan the table for clients that have completed their login, for
/// each client in it: a scan costs less than a tenth of that.
const SCAN_PAUSE: Duration = Duration::from_micros(10);

/// How many connections there may be.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(Default))]
pub struct Limits {
    /// From one source ([`source_of`]), 0 for no limit.
    pub per_address: u32,
    /// Proxies, which stand for many addresses and count them themselves.
    pub proxies: Vec<Network>,
    /// Before their login is complete. From three quarters of this on, new
    /// connections are refused at random, the more the nearer it is.
    pub unauthenticated: u32,
    /// Of these, from one source, 0 for no limit.
    pub unauthenticated_per_address: u32,
    /// Of these, from one network ([`network_of`]), 0 for no limit.
    pub unauthenticated_per_network: u32,
}

/// Why a connection gets no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// All slots are taken.
    #[error("too many connections in all (max_sessions)")]
    InAll,
    /// This address has as many as it may have.
    #[error("too many connections from this address (max_sessions_per_address)")]
    FromAddress,
    /// Too many have not completed their login.
    #[error("too many connections before login (max_unauthenticated)")]
    Unauthenticated,
    /// Too many of this address have not.
    #[error(
        "too many connections before login from this address (max_unauthenticated_per_address)"
    )]
    UnauthenticatedAddress,
    /// Too many of this network have not.
    #[error(
        "too many connections before login from this network (max_unauthenticated_per_network)"
    )]
    UnauthenticatedNetwork,
}

impl Full {
    /// All of them, in the order of their numbers.
    pub const ALL: [Full; 5] = [
        Full::InAll,
        Full::FromAddress,
        Full::Unauthenticated,
        Full::UnauthenticatedAddress,
        Full::UnauthenticatedNetwork,
    ];
}

/// The addresses of the network that one counts for: 24 bits of IPv4, 56 of IPv6.
fn network_of(address: IpAddr) -> RangeInclusive<IpAddr> {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let first = v4.to_bits() >> 8 << 8;
            IpAddr::V4(Ipv4Addr::from_bits(first))..=IpAddr::V4((first | 0xff).into())
        }
        IpAddr::V6(v6) => {
            let first = v6.to_bits() >> 72 << 72;
            let last = first | ((1 << 72) - 1);
            IpAddr::V6(Ipv6Addr::from_bits(first))..=IpAddr::V6(last.into())
        }
    }
}

/// How many connections there are.
#[derive(Debug)]
pub struct Occupancy {
    limits: Limits,
    per_address: HashMap<IpAddr, u32>,
    /// Those whose login is not complete, in all and of each source.
    unauthenticated: u32,
    unauthenticated_of: BTreeMap<IpAddr, u32>,
    scanned: Instant,
}

impl Occupancy {
    /// None yet.
    pub fn new(limits: Limits) -> Occupancy {
        Occupancy {
            limits,
            per_address: HashMap::new(),
            unauthenticated: 0,
            unauthenticated_of: BTreeMap::new(),
            scanned: Instant::now(),
        }
    }

    /// Sets the limits from now on.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether connections from there are a proxy's.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        is_trusted(address, &self.limits.proxies)
    }

    /// Whether another connection may come from there; `lot` is a random number.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn check(&self, address: IpAddr, lot: u32) -> Result<(), Full> {
        let most = self.limits.per_address;
        let from_source = self.per_address.get(&source_of(address));
        let is_full = from_source.is_some_and(|count| most > 0 && *count >= most);
        if is_full && !self.is_proxy(address) {
            return Err(Full::FromAddress);
        }
        self.check_unauthenticated_of(address)?;
        let limit = self.limits.unauthenticated;
        let from = self.first_refused();
        let over = self.unauthenticated.saturating_sub(from);
        // Random early refusal.
        if self.unauthenticated >= limit || lot % (limit - from).max(1) < over {
            return Err(Full::Unauthenticated);
        }
        Ok(())
    }

    /// The limits before login of one address and its network. A proxy counts its
    /// clients itself.
    fn check_unauthenticated_of(&self, address: IpAddr) -> Result<(), Full> {
        if self.is_proxy(address) {
            return Ok(());
        }
        let of_source = self.unauthenticated_of.get(&source_of(address));
        let limit = self.limits.unauthenticated_per_address;
        if of_source.is_some_and(|count| limit > 0 && *count >= limit) {
            return Err(Full::UnauthenticatedAddress);
        }
        let of_network = self.unauthenticated_of.range(network_of(address));
        let of_network = of_network.filter(|(other, _)| !self.is_proxy(**other));
        let limit = self.limits.unauthenticated_per_network;
        if limit > 0 && of_network.map(|(_, count)| count).sum::<u32>() >= limit {
            return Err(Full::UnauthenticatedNetwork);
        }
        Ok(())
    }

    /// Whether so many are not authenticated, in all or there, that it is worth a
    /// look which of them are by now.
    pub fn is_scan_due(&mut self, address: IpAddr) -> bool {
        let is_due =
            self.may_refuse(address) && self.scanned.elapsed() >= SCAN_PAUSE * self.unauthenticated;
        if is_due {
            self.scanned = Instant::now();
        }
        is_due
    }

    /// Whether so many are not authenticated, in all or there, that a connection
    /// from there may be refused.
    pub fn may_refuse(&self, address: IpAddr) -> bool {
        self.unauthenticated >= self.first_refused()
            || self.check_unauthenticated_of(address).is_err()
    }

    /// From how many unauthenticated connections on some are refused.
    fn first_refused(&self) -> u32 {
        self.limits.unauthenticated - self.limits.unauthenticated / 4
    }

    /// Counts a connection from there, whose login is not complete.
    pub fn come(&mut self, address: IpAddr) {
        *self.per_address.entry(source_of(address)).or_default() += 1;
        self.not_authenticated(address);
    }

    /// Takes note that the login of one from there is complete.
    pub fn authenticated(&mut self, address: IpAddr) {
        let source = source_of(address);
        self.unauthenticated -= 1;
        if let Some(count) = self.unauthenticated_of.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.unauthenticated_of.remove(&source);
            }
        }
    }

    /// Takes note that the login of one from there has come to nothing after all.
    pub fn not_authenticated(&mut self, address: IpAddr) {
        *self
            .unauthenticated_of
            .entry(source_of(address))
            .or_default() += 1;
        self.unauthenticated += 1;
    }

    /// Takes note that one has ended.
    pub fn go(&mut self, address: IpAddr, was_unauthenticated: bool) {
        if was_unauthenticated {
            self.authenticated(address);
        }
        let source = source_of(address);
        if let Some(count) = self.per_address.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occupancy(per_address: u32, proxies: &[&str]) -> Occupancy {
        let network = |text: &&str| text.parse().expect("network");
        Occupancy::new(Limits {
            per_address,
            proxies: proxies.iter().map(network).collect(),
            unauthenticated: 100,
            unauthenticated_per_address: 0,
            unauthenticated_per_network: 0,
        })
    }

    fn come(occupancy: &mut Occupancy, from: &str, lot: u32) -> Result<(), Full> {
        let from = from.parse().expect("address");
        occupancy.check(from, lot)?;
        occupancy.come(from);
        Ok(())
    }

    fn go(occupancy: &mut Occupancy, from: &str) {
        occupancy.go(from.parse().expect("address"), true);
    }

    #[test]
    fn one_address_can_not_take_all_slots() {
        let mut all = occupancy(2, &[]);
        come(&mut all, "127.0.0.1", 0).expect("room");
        come(&mut all, "127.0.0.1", 0).expect("room");
        assert_eq!(come(&mut all, "127.0.0.1", 0), Err(Full::FromAddress));
        come(&mut all, "127.0.0.2", 0).expect("another address");
        go(&mut all, "127.0.0.1");
        come(&mut all, "127.0.0.1", 0).expect("room again");
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_source_and_an_ipv4_mapped_address_itself() {
        let mut all = occupancy(2, &[]);
        come(&mut all, "2001:db8:0:1::1", 0).expect("room");
        come(&mut all, "2001:db8:0:1:ffff::2", 0).expect("room");
        assert_eq!(come(&mut all, "2001:db8:0:1::3", 0), Err(Full::FromAddress));
        come(&mut all, "2001:db8:0:2::1", 0).expect("another network");
        go(&mut all, "2001:db8:0:1::1");
        come(&mut all, "2001:db8:0:1::3", 0).expect("room again");
        come(&mut all, "192.0.2.1", 0).expect("room");
        come(&mut all, "::ffff:192.0.2.1", 0).expect("room");
        assert_eq!(come(&mut all, "192.0.2.1", 0), Err(Full::FromAddress));
        come(&mut all, "::ffff:192.0.2.2", 0).expect("another address");
    }

    #[test]
    fn a_proxy_brings_clients_of_many_addresses_and_nobody_else_does() {
        let mut all = occupancy(1, &["127.0.0.1"]);
        come(&mut all, "127.0.0.1", 0).expect("room");
        come(&mut all, "127.0.0.1", 0).expect("another client of the proxy");
        come(&mut all, "127.0.0.2", 0).expect("room");
        assert_eq!(come(&mut all, "127.0.0.2", 0), Err(Full::FromAddress));
    }

    #[test]
    fn who_has_not_logged_in_is_counted_apart_by_address_and_network() {
        let mut all = occupancy(0, &["192.0.2.200"]);
        all.limits.unauthenticated_per_address = 2;
        all.limits.unauthenticated_per_network = 3;
        for network in ["192.0.2.", "2001:db8:0:ab"] {
            let host = |n: u32| match network.ends_with('.') {
                true => format!("{network}{n}"),
                false => format!("{network}{n:02x}::1"),
            };
            let first = host(1).parse().expect("address");
            come(&mut all, &host(1), 0).expect("one");
            come(&mut all, &host(1), 0).expect("two");
            let third = come(&mut all, &host(1), 0);
            assert_eq!(third, Err(Full::UnauthenticatedAddress));
            come(&mut all, &host(255), 0).expect("another address");
            let fourth = come(&mut all, &host(3), 0);
            assert_eq!(fourth, Err(Full::UnauthenticatedNetwork));
            all.scanned -= SCAN_PAUSE * 100;
            assert!(all.is_scan_due(first), "one may be in by now");
            all.authenticated(first);
            come(&mut all, &host(3), 0).expect("room");
            go(&mut all, &host(3));
            all.go(first, false);
            come(&mut all, &host(1), 0).expect("room again");
        }
        for _ in 0..9 {
            come(&mut all, "192.0.2.200", 0).expect("a proxy");
        }
        come(&mut all, "192.0.3.1", 0).expect("another network");
        assert_eq!(all.unauthenticated, 16);
        go(&mut all, "192.0.2.1");
        come(&mut all, "192.0.2.3", 0).expect("a proxy counts for no network");
    }

    #[test]
    fn newcomers_are_refused_at_random_before_the_limit_and_always_at_it() {
        let mut all = occupancy(0, &[]);
        let address = "127.0.0.1".parse().expect("address");
        for count in 0..100 {
            let refused = (0..25).filter(|lot| all.check(address, *lot).is_err());
            let refused = refused.count();
            assert_eq!(refused, usize::saturating_sub(count, 75), "at {count}");
            come(&mut all, "127.0.0.1", 24).expect("room");
        }
        assert_eq!(come(&mut all, "127.0.0.1", 24), Err(Full::Unauthenticated));
        std::thread::sleep(SCAN_PAUSE * 100);
        assert!(all.is_scan_due(address));
        (0..100).for_each(|_| all.authenticated(address));
        come(&mut all, "127.0.0.1", 0).expect("all of them are in");
    }
}
