//! The session cipher (document, "The encryption system"; exact form in
//! tf-protocol(7)). It is weak: both directions start alike and nothing is
//! authenticated.
//!
//! The chain of seeds depends on neither data nor units, so it is made ahead
//! of its use, as two byte arrays (the top and the low byte of each seed),
//! and applied to the data with xor and add.

mod chain;
pub mod cycle;
#[cfg(test)]
#[path = "../../../tests/common/plain_cipher.rs"]
mod plain;
pub mod tables;

use zeroize::Zeroizing;

use crate::ipc::codec::{Decode, Encode, Reader, Writer};
use chain::Chain;
#[cfg(feature = "testing")]
pub use chain::ChainAlone;
use cycle::{first_seed, step};

/// The longest session key of a handshake, in bytes (document, "The encryption
/// system").
pub const MAX_KEY: usize = 214;

/// One direction of a session: the current key, the seed chain, and the bytes of
/// the chain that are made but not yet used.
#[derive(Clone)]
pub struct Cipher {
    key: Zeroizing<Vec<u8>>,
    chain: Chain,
    scratch: Zeroizing<Vec<u8>>,
}

impl Cipher {
    /// A direction at its start.
    ///
    /// `key` is the session key, 8 bytes or more.
    pub fn new(key: &[u8]) -> Cipher {
        debug_assert!(key.len() >= 8);
        Cipher {
            key: key.to_vec().into(),
            chain: Chain::new(first_seed(key)),
            scratch: Zeroizing::default(),
        }
    }

    /// The same direction after NIGMA: a new key and the same seed.
    pub fn with_new_key(&self, key: &[u8]) -> Cipher {
        Cipher {
            key: key.to_vec().into(),
            chain: self.chain.clone(),
            scratch: Zeroizing::default(),
        }
    }

    /// Deciphers the first bytes of the next unit, 8 at most, without advancing.
    pub fn preview(&self, bytes: &mut [u8]) {
        if self.chain.ready() < bytes.len() {
            return self.clone().decrypt(bytes);
        }
        let (top, _) = self.chain.next(bytes.len());
        subtract_and_xor(bytes, &self.key, top);
    }

    /// Whether the chain is on a cycle and read from its table.
    #[cfg(test)]
    fn reads_a_table(&self) -> bool {
        self.chain.ready() > 1 << 20
    }

    /// Enciphers one unit in place.
    pub fn encrypt(&mut self, unit: &mut [u8]) {
        self.encrypt_part(0, unit);
    }

    /// Deciphers one unit in place.
    pub fn decrypt(&mut self, unit: &mut [u8]) {
        self.decrypt_part(0, unit);
    }

    /// Enciphers part of a unit whose first `offset` bytes are done already.
    pub fn encrypt_part(&mut self, offset: usize, part: &mut [u8]) {
        self.apply(offset, part, xor_and_add);
    }

    /// Deciphers part of a unit whose first `offset` bytes are done already.
    pub fn decrypt_part(&mut self, offset: usize, part: &mut [u8]) {
        self.apply(offset, part, subtract_and_xor);
    }

    /// Runs `combine(data, key bytes, seed bytes)` over part of a unit.
    fn apply(&mut self, offset: usize, part: &mut [u8], combine: impl Fn(&mut [u8], &[u8], &[u8])) {
        let n = self.key.len();
        let mut done = 0;
        while done < part.len() {
            if self.chain.ready() == 0 {
                self.chain.refill();
            }
            let at = (offset + done) % n;
            let len = self.chain.ready().min(part.len() - done);
            if len == 0 {
                let (top, key_byte) = self.reseed_step(at);
                combine(&mut part[done..=done], &[key_byte], &[top]);
                done += 1;
                continue;
            }
            let piece = &mut part[done..done + len];
            let (top, low) = self.chain.next(len);

            // The key byte of position p is the low byte made n bytes before,
            // or, for the first n bytes of the piece, what the key holds.
            let head = n.min(len);
            self.scratch.clear();
            self.scratch
                .extend(self.key[at..].iter().chain(&self.key[..at]).take(head));
            combine(&mut piece[..head], &self.scratch, &top[..head]);
            combine(&mut piece[head..], &low[..len - head], &top[head..]);
            for (i, byte) in low.iter().enumerate().skip(len - head) {
                self.key[(at + i) % n] = *byte;
            }
            self.chain.advance(len);
            done += len;
        }
    }

    /// The step whose seed becomes 0: the seed is reloaded from the key.
    /// Returns the seed byte and the key byte of this step.
    fn reseed_step(&mut self, at: usize) -> (u8, u8) {
        let seed = self.chain.seed();
        let key_byte = self.key[at];
        let next = match step(seed) {
            0 => first_seed(&self.key),
            next => next,
        };
        self.key[at] = (next & 0xff) as u8;
        self.chain.restart(next);
        ((seed >> 56) as u8, key_byte)
    }
}

/// Enciphers bytes with their key bytes and seed bytes.
fn xor_and_add(bytes: &mut [u8], key: &[u8], seed: &[u8]) {
    for ((byte, key), seed) in bytes.iter_mut().zip(key).zip(seed) {
        *byte = (*byte ^ key).wrapping_add(*seed);
    }
}

/// Deciphers them.
fn subtract_and_xor(bytes: &mut [u8], key: &[u8], seed: &[u8]) {
    for ((byte, key), seed) in bytes.iter_mut().zip(key).zip(seed) {
        *byte = byte.wrapping_sub(*seed) ^ key;
    }
}

/// For the process that takes a session over: key and seed.
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
    use proptest::prelude::*;

    use super::plain::PlainCipher;
    use super::*;

    use crate::ipc::codec::{Decode, Encode};

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex"))
            .collect()
    }

    fn range_key(from: u8, to: u8) -> Vec<u8> {
        (from..=to).collect()
    }

    /// Enciphers each plain unit, compares, and deciphers it again.
    fn check(tx: &mut Cipher, rx: &mut Cipher, units: &[(&[u8], &str)]) {
        for (plain, expected) in units {
            let mut unit = plain.to_vec();
            tx.encrypt(&mut unit);
            assert_eq!(unit, hex(expected), "unit {plain:02x?}");
            rx.decrypt(&mut unit);
            assert_eq!(&unit, plain);
        }
    }

    #[test]
    fn vector_a_a_request_and_its_reply() {
        let key = range_key(0x01, 0x20);
        let zeros = [0; 70];
        check(
            &mut Cipher::new(&key),
            &mut Cipher::new(&key),
            &[
                (&hex("00000008"), "0958a49c"),
                (b"testhash", "f25391df33ad7992"),
                (&hex("0000000a"), "570ebf48"),
                (b"ECHO hello", "088b0fe7064749919d63"),
                (
                    &zeros,
                    "679c5ac80d0d9c17e7e350b26997ae5420a9764807c7bef1e2e50691f7ed30002804c29b\
                     872f23a9288457335d2d2b41acffdc7095f5a5c2b58aa89706cb4007705b031d7914",
                ),
            ],
        );
        check(
            &mut Cipher::new(&key),
            &mut Cipher::new(&key),
            &[
                (&hex("00000002"), "0958a496"),
                (b"OK", "bd65"),
                (&hex("00000005"), "d8c9f6ee"),
                (b"hello", "2fcba0a9e7"),
            ],
        );
    }

    #[test]
    fn vector_b_a_unit_longer_than_the_key() {
        let key = range_key(0xf0, 0xff);
        let expected =
            "e7c5c8f610b681fe362f3f9c094a27ec8e69c21e74bde54265a963b138e4461f79cf77a6167120bc";
        check(
            &mut Cipher::new(&key),
            &mut Cipher::new(&key),
            &[(&[0; 40], expected), (&[0xff; 5], "c97ce47d17")],
        );
    }

    #[test]
    fn vector_c_a_new_key_with_the_seed_going_on() {
        let key = range_key(0x01, 0x20);
        let (mut tx, mut rx) = (Cipher::new(&key), Cipher::new(&key));
        check(&mut tx, &mut rx, &[(&[0; 10], "0958a4947b8a550ecf50")]);
        let new_key = range_key(0x40, 0x4f);
        let expected =
            "45730f8ec197ef6d4dd9b1386602864d0459c90fe13ddaded62fb38ecbb55bd790a04306e95fcf8b";
        check(
            &mut tx.with_new_key(&new_key),
            &mut rx.with_new_key(&new_key),
            &[(&[0; 40], expected)],
        );
    }

    #[test]
    fn vector_d_a_seed_of_zero_is_loaded_from_the_key() {
        let key = hex("01000000000000000203040506070809");
        check(
            &mut Cipher::new(&key),
            &mut Cipher::new(&key),
            &[(&[0; 24], "010000000000000002030405060708090101010101010101")],
        );
    }

    /// What may befall a direction between two units.
    #[derive(Clone, Debug)]
    enum Event {
        /// Nothing.
        None,
        /// NIGMA.
        NewKey(Vec<u8>),
        /// Another process takes it over.
        HandOver,
        /// A copy goes on in its place.
        Copy,
        /// The next header is looked at.
        Preview,
    }

    fn events() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => Just(Event::None),
            1 => proptest::collection::vec(any::<u8>(), 8..MAX_KEY).prop_map(Event::NewKey),
            1 => Just(Event::HandOver),
            1 => Just(Event::Copy),
            2 => Just(Event::Preview),
        ]
    }

    fn keys() -> impl Strategy<Value = Vec<u8>> {
        let weak = prop_oneof![
            6 => Just(None),
            // The key that is never used up, and the seed that leads to itself.
            1 => Just(Some(0)),
            1 => Just(Some(0x100)),
            4 => (0u64..0x1_0000).prop_map(Some),
        ];
        (proptest::collection::vec(any::<u8>(), 8..MAX_KEY), weak).prop_map(|(mut key, weak)| {
            if let Some(seed) = weak {
                key[..8].copy_from_slice(&seed.to_le_bytes());
            }
            key
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_units_give_the_same_bytes_as_the_plain_loop_whatever_befalls_the_cipher(
            key in keys(),
            units in proptest::collection::vec((events(), 0usize..200_000), 1..8),
        ) {
            let mut fast = Cipher::new(&key);
            let mut back = Cipher::new(&key);
            let mut plain = PlainCipher::new(&key);
            for (n, (event, len)) in units.into_iter().enumerate() {
                let text: Vec<u8> = (0..len).map(|i| (i * 7 + n) as u8).collect();
                let (mut a, mut b) = (text.clone(), text.clone());
                let mut previewed = 0;
                match event {
                    Event::None => {}
                    Event::NewKey(key) => {
                        (fast, back) = (fast.with_new_key(&key), back.with_new_key(&key));
                        plain = plain.with_new_key(&key);
                    }
                    Event::HandOver => {
                        fast = Cipher::from_bytes(&fast.to_bytes()).expect("state");
                    }
                    Event::Copy => (fast, back) = (fast.clone(), back.clone()),
                    Event::Preview => previewed = len.min(8),
                }
                plain.encrypt(&mut b);
                let mut header = b[..previewed].to_vec();
                back.preview(&mut header);
                prop_assert_eq!(&header, &text[..previewed]);
                fast.encrypt(&mut a);
                prop_assert!(a == b);
                let (first, second) = a.split_at_mut(len / 3);
                back.decrypt_part(0, first);
                back.decrypt_part(first.len(), second);
                prop_assert!(a == text);
            }
        }
    }

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
