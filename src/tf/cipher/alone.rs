//! The chain without its use: what the generator alone is measured with.

use super::chain::Chain;
use super::recurrence::first_seed;

/// The chain of a key.
pub struct ChainAlone(Chain);

impl ChainAlone {
    /// The chain at its start. `key` has 8 bytes or more.
    pub fn new(key: &[u8]) -> ChainAlone {
        ChainAlone(Chain::new(first_seed(key)))
    }

    /// Makes the next `len` top and low bytes ready for use and drops them.
    /// Returns how many were made: fewer where the seed would become 0.
    pub fn make(&mut self, len: usize) -> usize {
        let mut made = 0;
        while made < len {
            if self.0.ready() == 0 {
                self.0.refill();
            }
            let ready = self.0.ready().min(len - made);
            if ready == 0 {
                break;
            }
            self.0.advance(ready);
            made += ready;
        }
        made
    }
}
