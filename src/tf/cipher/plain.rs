//! The cipher as the document writes it, one byte after another.

use super::recurrence::{first_seed, step};

/// The reference for [`Cipher`](super::Cipher), which must give the same bytes
/// faster.
pub struct PlainCipher {
    key: Vec<u8>,
    seed: u64,
}

impl PlainCipher {
    /// A direction at its start.
    pub fn new(key: &[u8]) -> PlainCipher {
        PlainCipher {
            key: key.to_vec(),
            seed: first_seed(key),
        }
    }

    /// The same direction after NIGMA: a new key and the same seed.
    #[cfg(test)]
    pub(super) fn with_new_key(&self, key: &[u8]) -> PlainCipher {
        PlainCipher {
            key: key.to_vec(),
            seed: self.seed,
        }
    }

    /// Enciphers one unit in place.
    pub fn encrypt(&mut self, unit: &mut [u8]) {
        let mut j = 0;
        for byte in unit {
            if j == self.key.len() {
                j = 0;
            }
            *byte = (*byte ^ self.key[j]).wrapping_add((self.seed >> 56) as u8);
            self.seed = step(self.seed);
            if self.seed == 0 {
                self.seed = first_seed(&self.key);
            }
            self.key[j] = (self.seed & 0xff) as u8;
            j += 1;
        }
    }
}
