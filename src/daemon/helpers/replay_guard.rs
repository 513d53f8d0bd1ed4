//! Checks the certificates that gates bring to the authenticator. Each signature
//! counts once, so that a gate taken over by an attacker can't reuse one for another
//! connection.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use openssl::sha::sha256;

use crate::net::tls::login::{Authority, Proof};

/// How many handshakes are remembered.
const MEMORY: usize = 16 * 1024;

/// The authority of clients, and the handshakes seen.
pub(crate) struct ReplayGuard {
    authority: Authority,
    seen: Mutex<Seen>,
}

/// The handshakes seen, the oldest first.
#[derive(Default)]
struct Seen {
    order: VecDeque<[u8; 32]>,
    all: HashSet<[u8; 32]>,
}

impl ReplayGuard {
    pub(crate) fn new(authority: Authority) -> ReplayGuard {
        ReplayGuard {
            authority,
            seen: Mutex::default(),
        }
    }

    /// The name in the certificate behind this proof.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn name(&self, proof: &Proof) -> Result<String, &'static str> {
        let name = self.authority.name(proof)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.note(sha256(&proof.content)) {
            return Ok(name);
        }
        Err("the handshake was shown before")
    }
}

impl Seen {
    /// Remembers a handshake; whether it is new.
    fn note(&mut self, handshake: [u8; 32]) -> bool {
        if !self.all.insert(handshake) {
            return false;
        }
        self.order.push_back(handshake);
        if self.order.len() > MEMORY
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_counts_once_for_as_long_as_it_is_remembered() {
        let mut seen = Seen::default();
        let handshake = |number: usize| sha256(&number.to_be_bytes());
        for number in 0..MEMORY {
            assert!(seen.note(handshake(number)) && !seen.note(handshake(number)));
        }
        assert!(!seen.note(handshake(0)));
        assert!(seen.note(handshake(MEMORY)));
        assert_eq!((seen.order.len(), seen.all.len()), (MEMORY, MEMORY));
    }
}
