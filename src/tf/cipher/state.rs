//! A direction's state as bytes, for the process that takes a session over.
//! Shape: key length (2 bytes), key, seed (8); numbers big-endian.

use super::chain::Chain;
use super::{Cipher, MAX_KEY};

impl Cipher {
    /// Appends the state to `bytes`.
    pub(crate) fn write_state(&self, bytes: &mut Vec<u8>) {
        let [.., high, low] = self.key.len().to_be_bytes();
        bytes.extend_from_slice(&[high, low]);
        bytes.extend_from_slice(&self.key);
        bytes.extend_from_slice(&self.chain.seed().to_be_bytes());
    }

    /// Takes a state from the front of `bytes`; `None` when there is none.
    pub(crate) fn read_state(bytes: &mut &[u8]) -> Option<Cipher> {
        let mut take = |len| {
            let (taken, rest) = bytes.split_at_checked(len)?;
            *bytes = rest;
            Some(taken)
        };
        let key_len = usize::from(u16::from_be_bytes(take(2)?.try_into().ok()?));
        if !(8..=MAX_KEY).contains(&key_len) {
            return None;
        }
        let key = take(key_len)?;
        let seed = u64::from_be_bytes(take(8)?.try_into().ok()?);
        Some(Cipher {
            key: key.to_vec(),
            chain: Chain::new(seed),
            scratch: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_direction_goes_on_where_it_was(
            key in proptest::collection::vec(any::<u8>(), 16..215),
            before in 0usize..30_000,
            after in 0usize..30_000,
        ) {
            let mut cipher = Cipher::new(&key);
            cipher.encrypt(&mut vec![1; before]);
            let mut state = Vec::new();
            cipher.write_state(&mut state);
            state.push(77);
            let mut rest = state.as_slice();
            let mut resumed = Cipher::read_state(&mut rest).expect("state");
            prop_assert_eq!(rest, &[77]);
            let (mut a, mut b) = (vec![2; after], vec![2; after]);
            cipher.encrypt(&mut a);
            resumed.encrypt(&mut b);
            prop_assert!(a == b);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Cipher::read_state(&mut bytes.as_slice());
        }
    }
}
