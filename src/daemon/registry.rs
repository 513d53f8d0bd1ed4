//! The table of connections: which client has which slot, and how many are
//! allowed. Only the daemon has it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::counters::Counters;
use crate::net::proxy_header::is_trusted;
use crate::session::keys::{KEY, Keys};
use crate::users::account::Network;
use crate::users::throttle::source_of;

/// How often to scan the table for clients that have completed their login, for
/// each client in it: a scan costs less than a tenth of that.
const LOOK_AGAIN: Duration = Duration::from_micros(10);

/// How many connections there may be.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From one source ([`source_of`]), 0 for no limit.
    pub per_address: u32,
    /// Proxies, which stand for many addresses and count them themselves.
    pub proxies: Vec<Network>,
    /// Before their login is complete. From three quarters of this on, new
    /// connections are refused at random, the more the nearer it is.
    pub unauthenticated: u32,
}

/// The slots and their connections.
#[derive(Debug)]
pub struct Registry {
    free: Vec<u32>,
    /// Slots whose processes have ended, until [`Registry::settle`].
    ended: Vec<u32>,
    holders: HashMap<u32, Holder>,
    per_address: HashMap<IpAddr, u32>,
    limits: Limits,
    /// Connections that are not authenticated yet.
    waiting: u32,
    looked: Instant,
    keys: Keys,
    /// What was counted.
    pub counters: Counters,
}

/// The connection in a slot.
#[derive(Debug)]
struct Holder {
    peer: SocketAddr,
    /// The client, if a proxy brought the connection.
    client: Option<SocketAddr>,
    key: [u8; 16],
    /// How many processes serve it: the gate, the session, for a moment both.
    processes: u32,
    waiting: bool,
    since: Instant,
}

/// A connection, as the daemon knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its slot.
    pub slot: u32,
    /// The client.
    pub peer: SocketAddr,
    /// Its process key.
    pub key: [u8; 16],
    /// When it came.
    pub since: Instant,
}

impl Full {
    /// All of them, in the order of their numbers.
    pub const ALL: [Full; 3] = [Full::InAll, Full::FromAddress, Full::Unauthenticated];
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
}

impl Registry {
    /// A table of `slots` free slots.
    pub fn new(slots: u32, limits: Limits) -> io::Result<Registry> {
        Ok(Registry {
            free: (0..slots).rev().collect(),
            ended: Vec::new(),
            holders: HashMap::new(),
            per_address: HashMap::new(),
            limits,
            waiting: 0,
            looked: Instant::now(),
            keys: Keys::new(slots)?,
            counters: Counters::default(),
        })
    }

    /// The memory with the keys of connections.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Sets the limits from now on.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes a slot for a connection and the process that serves it. `key` is
    /// the connection's process key, `lot` a random number. `is_admitted` says
    /// whether a slot's client has completed its login.
    ///
    /// # Errors
    /// Which limit is reached; nothing changes then.
    pub fn take(
        &mut self,
        peer: SocketAddr,
        key: [u8; 16],
        lot: u32,
        is_admitted: impl Fn(u32) -> bool,
    ) -> Result<u32, Full> {
        let taken = self.try_take(peer, key, lot, is_admitted);
        match taken {
            Ok(_) => self.counters.connections += 1,
            Err(full) => self.counters.refuse(full),
        }
        taken
    }

    fn try_take(
        &mut self,
        peer: SocketAddr,
        key: [u8; 16],
        lot: u32,
        is_admitted: impl Fn(u32) -> bool,
    ) -> Result<u32, Full> {
        let source = source_of(peer.ip());
        let from_source = self.per_address.get(&source).copied().unwrap_or(0);
        let is_proxy = is_trusted(peer.ip(), &self.limits.proxies);
        if self.limits.per_address > 0 && from_source >= self.limits.per_address && !is_proxy {
            return Err(Full::FromAddress);
        }
        if self.is_crowded(lot, is_admitted) {
            return Err(Full::Unauthenticated);
        }
        let slot = self.free.pop().ok_or(Full::InAll)?;
        self.per_address.insert(source, from_source + 1);
        self.waiting += 1;
        let since = Instant::now();
        let holder = Holder {
            peer,
            client: None,
            key,
            processes: 1,
            waiting: true,
            since,
        };
        self.holders.insert(slot, holder);
        self.publish(slot, key);
        Ok(slot)
    }

    /// Random early refusal: whether `lot` refuses a new connection.
    fn is_crowded(&mut self, lot: u32, is_admitted: impl Fn(u32) -> bool) -> bool {
        let limit = self.limits.unauthenticated;
        let from = limit - limit / 4;
        if self.waiting >= from && self.looked.elapsed() >= LOOK_AGAIN * self.waiting {
            self.looked = Instant::now();
            for (slot, holder) in self.holders.iter_mut().filter(|(_, holder)| holder.waiting) {
                if is_admitted(*slot) {
                    holder.waiting = false;
                    self.waiting -= 1;
                }
            }
        }
        let over = self.waiting.saturating_sub(from);
        self.waiting >= limit || lot % (limit - from).max(1) < over
    }

    /// Counts a further process that serves a connection.
    pub fn share(&mut self, slot: u32) {
        if let Some(holder) = self.holders.get_mut(&slot) {
            holder.processes += 1;
        }
    }

    /// Records that a process has ended, by itself or not; with the last process
    /// its connection is over.
    pub fn release(&mut self, slot: u32, orderly: bool) {
        let Some(holder) = self.holders.get_mut(&slot) else {
            return;
        };
        self.counters.killed += u64::from(!orderly);
        holder.processes -= 1;
        if holder.processes > 0 {
            return;
        }
        let source = source_of(holder.peer.ip());
        self.waiting -= u32::from(holder.waiting);
        self.holders.remove(&slot);
        if let Some(count) = self.per_address.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&source);
            }
        }
        self.ended.push(slot);
        self.publish(slot, [0; KEY]);
    }

    /// Publishes the key that a slot has now.
    fn publish(&self, slot: u32, key: [u8; KEY]) {
        let published = self
            .keys
            .set(slot, key)
            .and_then(|()| self.keys.count(self.holders.len()));
        if let Err(e) = published {
            log::error!("key not published slot={slot} error=\"{e}\"");
        }
    }

    /// Frees the slots of connections that are over, after calling `each` for
    /// them.
    pub fn settle(&mut self, mut each: impl FnMut(&mut Counters, u32)) {
        for slot in self.ended.drain(..) {
            each(&mut self.counters, slot);
            self.free.push(slot);
        }
    }

    /// All connections, by slot.
    pub fn all(&self) -> Vec<Held> {
        let held = |(slot, holder): (&u32, &Holder)| {
            let Holder {
                peer,
                client,
                key,
                since,
                ..
            } = *holder;
            Held {
                slot: *slot,
                peer: client.unwrap_or(peer),
                key,
                since,
            }
        };
        let mut all: Vec<Held> = self.holders.iter().map(held).collect();
        all.sort_by_key(|held| held.slot);
        all
    }

    /// Records the client of a connection that a proxy brought; `client` is only
    /// called for those.
    pub fn introduce(&mut self, slot: u32, client: impl FnOnce() -> Option<SocketAddr>) {
        let Some(holder) = self.holders.get_mut(&slot) else {
            return;
        };
        if is_trusted(holder.peer.ip(), &self.limits.proxies) {
            holder.client = client();
        }
    }

    /// The client and the process key of a connection.
    pub fn connection(&self, slot: u32) -> Option<(SocketAddr, [u8; 16])> {
        let of = |holder: &Holder| (holder.client.unwrap_or(holder.peer), holder.key);
        self.holders.get(&slot).map(of)
    }

    /// Where a connection came from, whatever a proxy has said of its client.
    pub fn peer(&self, slot: u32) -> Option<SocketAddr> {
        self.holders.get(&slot).map(|holder| holder.peer)
    }

    /// How many there may be in all.
    pub fn slots(&self) -> u32 {
        let slots = self.free.len() + self.ended.len() + self.holders.len();
        u32::try_from(slots).unwrap_or(u32::MAX)
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.holders.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 16] = [7; 16];

    const LIMITS: Limits = Limits {
        per_address: 0,
        unauthenticated: 100,
        proxies: Vec::new(),
    };

    fn peer(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    fn take(registry: &mut Registry, from: &str) -> Result<u32, Full> {
        registry.take(peer(from), KEY, 0, |_| false)
    }

    #[test]
    fn a_slot_is_one_connections_until_it_is_released() {
        let mut registry = Registry::new(2, LIMITS).expect("registry");
        let first = take(&mut registry, "127.0.0.1:1").expect("slot");
        let second = take(&mut registry, "127.0.0.1:2").expect("slot");
        assert_ne!(first, second);
        assert_eq!(take(&mut registry, "127.0.0.1:3"), Err(Full::InAll));
        registry.share(first);
        registry.release(first, true);
        assert_eq!(registry.connection(first), Some((peer("127.0.0.1:1"), KEY)));
        assert_eq!(registry.all().len(), 2);
        registry.release(first, false);
        assert_eq!(registry.connection(first), None);
        registry.release(first, true);
        assert_eq!(take(&mut registry, "127.0.0.1:4"), Err(Full::InAll));
        let mut settled = Vec::new();
        registry.settle(|_, slot| settled.push(slot));
        assert_eq!(settled, [first]);
        let Counters {
            connections,
            refused,
            killed,
            ..
        } = registry.counters;
        assert_eq!((connections, refused, killed), (2, [2, 0, 0], 1));
        assert_eq!(take(&mut registry, "127.0.0.1:4"), Ok(first));
    }

    #[test]
    fn one_address_can_not_take_all_slots() {
        let mut registry = Registry::new(
            8,
            Limits {
                per_address: 2,
                ..LIMITS
            },
        )
        .expect("registry");
        let first = take(&mut registry, "127.0.0.1:1").expect("slot");
        take(&mut registry, "127.0.0.1:2").expect("slot");
        assert_eq!(take(&mut registry, "127.0.0.1:3"), Err(Full::FromAddress));
        take(&mut registry, "127.0.0.2:1").expect("another address");
        registry.release(first, true);
        take(&mut registry, "127.0.0.1:3").expect("room again");
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_source_and_an_ipv4_address_in_ipv6_clothes_itself() {
        let mut registry = Registry::new(
            8,
            Limits {
                per_address: 2,
                ..LIMITS
            },
        )
        .expect("registry");
        let first = take(&mut registry, "[2001:db8:0:1::1]:1").expect("slot");
        take(&mut registry, "[2001:db8:0:1:ffff::2]:1").expect("slot");
        assert_eq!(
            take(&mut registry, "[2001:db8:0:1::3]:1"),
            Err(Full::FromAddress)
        );
        take(&mut registry, "[2001:db8:0:2::1]:1").expect("another network");
        registry.release(first, true);
        take(&mut registry, "[2001:db8:0:1::3]:1").expect("room again");
        take(&mut registry, "192.0.2.1:1").expect("slot");
        take(&mut registry, "[::ffff:192.0.2.1]:2").expect("slot");
        assert_eq!(take(&mut registry, "192.0.2.1:3"), Err(Full::FromAddress));
        take(&mut registry, "[::ffff:192.0.2.2]:2").expect("another address");
    }

    #[test]
    fn a_proxy_brings_clients_of_many_addresses_and_nobody_else_does() {
        let proxies = vec!["127.0.0.1".parse().expect("network")];
        let limits = Limits {
            per_address: 1,
            proxies,
            ..LIMITS
        };
        let mut registry = Registry::new(8, limits).expect("registry");
        let first = take(&mut registry, "127.0.0.1:1").expect("slot");
        take(&mut registry, "127.0.0.1:2").expect("another client of the proxy");
        let other = take(&mut registry, "127.0.0.2:1").expect("slot");
        let client = peer("192.0.2.1:7");
        registry.introduce(first, || Some(client));
        registry.introduce(other, || Some(client));
        assert_eq!(registry.connection(first), Some((client, KEY)));
        assert_eq!(registry.connection(other), Some((peer("127.0.0.2:1"), KEY)));
        registry.release(first, true);
        assert_eq!(
            registry.per_address.get(&peer("127.0.0.1:1").ip()),
            Some(&1)
        );
    }

    #[test]
    fn newcomers_are_refused_at_random_before_the_limit_and_always_at_it() {
        let mut registry = Registry::new(200, LIMITS).expect("registry");
        let mut refused_from = None;
        for count in 0..100 {
            let all: Vec<bool> = (0..25)
                .map(|lot| registry.is_crowded(lot, |_| false))
                .collect();
            let refused = all.iter().filter(|crowded| **crowded).count();
            assert_eq!(refused, usize::saturating_sub(count, 75), "at {count}");
            if refused > 0 {
                refused_from.get_or_insert(count);
            }
            registry
                .take(peer("127.0.0.1:1"), KEY, 24, |_| false)
                .expect("slot");
        }
        assert_eq!(refused_from, Some(76));
        assert_eq!(
            take(&mut registry, "127.0.0.1:1"),
            Err(Full::Unauthenticated)
        );
        std::thread::sleep(LOOK_AGAIN * 100);
        registry
            .take(peer("127.0.0.1:1"), KEY, 0, |_| true)
            .expect("all of them are in");
        assert_eq!(registry.waiting, 1);
    }
}
