//! A direction as a message, for the process that takes a session over: key and
//! seed.

use zeroize::Zeroizing;

use super::chain::Chain;
use super::{Cipher, MAX_KEY};
use crate::ipc::codec::{Decode, Encode, Reader, Writer};

impl Encode for Cipher {
    fn encode<'a>(&'a self, out: &mut Writer<'a>) {
        self.key.encode(out);
        out.put(&self.chain.seed().to_be_bytes());
    }
}

impl Decode for Cipher {
    fn decode(from: &mut Reader<'_>) -> Option<Cipher> {
        let key = Zeroizing::<Vec<u8>>::decode(from)?;
        let seed = u64::decode(from)?;
        (8..=MAX_KEY).contains(&key.len()).then(|| Cipher {
            key,
            chain: Chain::new(seed),
            scratch: Zeroizing::default(),
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
            let mut resumed = Cipher::from_bytes(&cipher.to_bytes()).expect("state");
            let (mut a, mut b) = (vec![2; after], vec![2; after]);
            cipher.encrypt(&mut a);
            resumed.encrypt(&mut b);
            prop_assert!(a == b);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Cipher::from_bytes(&bytes);
        }
    }
}
