//! The cipher as the document writes it, one byte after another.

/// The reference for the server's cipher, which must give the same bytes faster.
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
    #[allow(dead_code, reason = "benches use one key")]
    pub fn with_new_key(&self, key: &[u8]) -> PlainCipher {
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
            let next = self.seed.wrapping_mul((self.seed >> 8) & 0xffff_ffff);
            self.seed = next.wrapping_add((self.seed >> 40) & 0xffff);
            if self.seed == 0 {
                self.seed = first_seed(&self.key);
            }
            self.key[j] = (self.seed & 0xff) as u8;
            j += 1;
        }
    }
}

/// The first eight bytes of a key, little-endian.
fn first_seed(key: &[u8]) -> u64 {
    let (first, _) = key.split_first_chunk().expect("eight bytes");
    u64::from_le_bytes(*first)
}
