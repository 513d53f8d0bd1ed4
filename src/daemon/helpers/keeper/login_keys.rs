//! The keys of logins, one for each connection of a protocol whose clients
//! encrypt name and password by a key of the server's. A thread of their own
//! makes them ahead, so that no client waits for one.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use openssl::bn::BigNum;
use openssl::pkey::Private;
use openssl::rsa::{Padding, Rsa};
use zeroize::Zeroizing;

use crate::ipc::gates;
use crate::session::keeper::{LOGIN_EXPONENT, LOGIN_KEY_BYTES};

/// How many are kept ready.
const READY: usize = 16;

/// How many blocks a connection may have decrypted: the name and the password.
const BLOCKS: u32 = 2;

type Key = Arc<Rsa<Private>>;

/// Keys for connections.
pub struct LoginKeys(Arc<Shared>);

struct Shared {
    keys: Mutex<Keys>,
    taken: Condvar,
}

struct Keys {
    ready: Vec<Key>,
    /// For those who come when none is ready. They share it until the thread has
    /// made another.
    spare: Key,
    is_spare_used: bool,
}

impl LoginKeys {
    /// Makes the first key, and begins to make others.
    ///
    /// # Errors
    /// When none can be made.
    pub fn start() -> io::Result<LoginKeys> {
        let shared = Arc::new(Shared {
            keys: Mutex::new(Keys {
                ready: Vec::new(),
                spare: make()?,
                is_spare_used: false,
            }),
            taken: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        gates::spawn(move || of_thread.fill())?;
        Ok(LoginKeys(shared))
    }

    /// A key that no other connection has, unless so many have come at once that
    /// none is left.
    pub fn take(&self) -> LoginKey {
        let mut keys = self.0.keys();
        let key = keys.ready.pop().unwrap_or_else(|| {
            keys.is_spare_used = true;
            Arc::clone(&keys.spare)
        });
        drop(keys);
        self.0.taken.notify_one();
        LoginKey {
            key,
            blocks: BLOCKS,
        }
    }

    #[cfg(test)]
    pub(super) fn wait_until_full(&self) {
        let is_filling = |keys: &mut Keys| keys.is_wanted();
        drop(self.0.taken.wait_while(self.0.keys(), is_filling));
    }
}

impl Keys {
    fn is_wanted(&self) -> bool {
        self.ready.len() < READY || self.is_spare_used
    }
}

impl Shared {
    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes keys for as long as the process lives.
    fn fill(&self) -> io::Result<()> {
        loop {
            let is_full = |keys: &mut Keys| !keys.is_wanted();
            drop(self.taken.wait_while(self.keys(), is_full));
            let key = make()?;
            let mut keys = self.keys();
            if keys.ready.len() < READY {
                keys.ready.push(key);
            } else {
                keys.spare = key;
                keys.is_spare_used = false;
            }
            drop(keys);
            self.taken.notify_all();
        }
    }
}

fn make() -> io::Result<Key> {
    let bits = u32::try_from(LOGIN_KEY_BYTES * 8).map_err(io::Error::other)?;
    let key = BigNum::from_slice(&LOGIN_EXPONENT)
        .and_then(|exponent| Rsa::generate_with_e(bits, &exponent));
    Ok(Arc::new(key?))
}

/// The key of a connection.
pub struct LoginKey {
    key: Key,
    /// How many blocks it may still have decrypted.
    blocks: u32,
}

impl LoginKey {
    /// The modulus, which is all of it that is ever told.
    pub fn modulus(&self) -> Vec<u8> {
        self.key.n().to_vec()
    }

    /// Whether another block may be decrypted.
    pub fn has_left(&self) -> bool {
        self.blocks > 0
    }

    /// What a block holds, if it is one.
    pub fn decrypt(&mut self, block: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.blocks -= 1;
        let mut plain = Zeroizing::new(vec![0; LOGIN_KEY_BYTES]);
        if block.len() != plain.len() {
            return None;
        }
        let padding = Padding::PKCS1_OAEP;
        let len = self.key.private_decrypt(block, &mut plain, padding).ok()?;
        Some(Zeroizing::new(plain[..len].to_vec()))
    }
}
