//! The table of connections: who has which slot, and how many are allowed.
//! Only the daemon has it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// The slots and who has them.
#[derive(Debug)]
pub struct Registry {
    free: Vec<u32>,
    holders: HashMap<u32, Holder>,
    per_address: HashMap<IpAddr, u32>,
    per_address_limit: u32,
}

/// Who has a slot.
#[derive(Debug)]
struct Holder {
    peer: SocketAddr,
    key: [u8; 16],
    /// How many processes serve it: the gate, the session, for a moment both.
    processes: u32,
}

/// Why a connection gets no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// All slots are taken.
    #[error("too many connections in all (max_sessions)")]
    InAll,
    /// This address has all it may have.
    #[error("too many connections from this address (max_sessions_per_address)")]
    FromAddress,
}

impl Registry {
    /// A table of `slots` free slots. `per_address_limit` is the most for one
    /// address, 0 for no limit.
    #[must_use]
    pub fn new(slots: u32, per_address_limit: u32) -> Registry {
        Registry {
            free: (0..slots).rev().collect(),
            holders: HashMap::new(),
            per_address: HashMap::new(),
            per_address_limit,
        }
    }

    /// Sets the limit for one address from now on, 0 for none.
    pub fn limit_per_address(&mut self, limit: u32) {
        self.per_address_limit = limit;
    }

    /// Takes a slot for a connection and the process that serves it. `key` is
    /// the connection's process key.
    ///
    /// # Errors
    /// Which limit is reached; nothing has changed then.
    pub fn take(&mut self, peer: SocketAddr, key: [u8; 16]) -> Result<u32, Full> {
        let from_address = self.per_address.get(&peer.ip()).copied().unwrap_or(0);
        if self.per_address_limit > 0 && from_address >= self.per_address_limit {
            return Err(Full::FromAddress);
        }
        let slot = self.free.pop().ok_or(Full::InAll)?;
        self.per_address.insert(peer.ip(), from_address + 1);
        self.holders.insert(slot, Holder { peer, key, processes: 1 });
        Ok(slot)
    }

    /// Counts a further process that serves a connection.
    pub fn share(&mut self, slot: u32) {
        if let Some(holder) = self.holders.get_mut(&slot) {
            holder.processes += 1;
        }
    }

    /// Takes note that a process has ended; with the last one of a connection
    /// its slot is free.
    pub fn release(&mut self, slot: u32) {
        let Some(holder) = self.holders.get_mut(&slot) else { return };
        holder.processes -= 1;
        if holder.processes > 0 {
            return;
        }
        let address = holder.peer.ip();
        self.holders.remove(&slot);
        if let Some(count) = self.per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&address);
            }
        }
        self.free.push(slot);
    }

    /// The peer and the process key of a connection.
    #[must_use]
    pub fn connection(&self, slot: u32) -> Option<(SocketAddr, [u8; 16])> {
        self.holders.get(&slot).map(|holder| (holder.peer, holder.key))
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.holders.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 16] = [7; 16];

    fn peer(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[test]
    fn a_slot_is_one_connections_until_it_is_released() {
        let mut registry = Registry::new(2, 0);
        let first = registry.take(peer("127.0.0.1:1"), KEY).expect("slot");
        let second = registry.take(peer("127.0.0.1:2"), KEY).expect("slot");
        assert_ne!(first, second);
        assert_eq!(registry.take(peer("127.0.0.1:3"), KEY), Err(Full::InAll));
        registry.share(first);
        registry.release(first);
        assert_eq!(registry.connection(first), Some((peer("127.0.0.1:1"), KEY)));
        registry.release(first);
        assert_eq!(registry.connection(first), None);
        registry.release(first);
        assert_eq!(registry.take(peer("127.0.0.1:4"), KEY), Ok(first));
    }

    #[test]
    fn one_address_can_not_take_all_slots() {
        let mut registry = Registry::new(8, 2);
        let first = registry.take(peer("127.0.0.1:1"), KEY).expect("slot");
        registry.take(peer("127.0.0.1:2"), KEY).expect("slot");
        assert_eq!(registry.take(peer("127.0.0.1:3"), KEY), Err(Full::FromAddress));
        registry.take(peer("127.0.0.2:1"), KEY).expect("another address");
        registry.release(first);
        registry.take(peer("127.0.0.1:3"), KEY).expect("room again");
    }
}
