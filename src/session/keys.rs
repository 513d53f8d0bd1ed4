//! The keys of sessions (PROCKEY), in memory that the daemon writes and the
//! UDP process reads: who has a key can ask whether its session is alive.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::memory::{ReadWords, WORD, map_to_read, page_size, shared_pages};

/// Bytes of a key.
pub const KEY: usize = 16;

/// Words before the first key: how many sessions there are, how many there may
/// be, and whether the daemon is about to end.
const SESSIONS: usize = 0;
const MOST: usize = 1;
const DRAINING: usize = 2;
const HEAD: usize = 4;

/// Digits of a key's text before those of its slot.
const KEY_DIGITS: usize = 2 * KEY;

/// The most digits of a slot.
const SLOT_DIGITS: usize = 5;

/// The text of a slot's key: the key, then the slot, by which it is found.
pub fn key_text(slot: u32, key: [u8; KEY]) -> String {
    format!("{:032x}{slot:x}", u128::from_be_bytes(key))
}

/// The digits of such a text, with or without the slash that PROCKEY sends before
/// it and the NUL that some clients send behind it; `None` for any other text.
fn digits(text: &[u8]) -> Option<&str> {
    let text = text.strip_suffix(&[0]).unwrap_or(text);
    let text = text.strip_prefix(b"/").unwrap_or(text);
    let fits = (KEY_DIGITS + 1..=KEY_DIGITS + SLOT_DIGITS).contains(&text.len())
        && text.iter().all(u8::is_ascii_hexdigit);
    std::str::from_utf8(text).ok().filter(|_| fits)
}

/// Whether a text has the form of a key, though no session may have it.
pub fn is_key(text: &[u8]) -> bool {
    digits(text).is_some()
}

/// The slot and the key in such a text.
pub fn read_key(text: &[u8]) -> Option<(u32, [u8; KEY])> {
    let text = digits(text)?;
    let (key, slot) = text.split_at_checked(KEY_DIGITS)?;
    let is_digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    if !text.bytes().all(is_digit) || slot.len() > 1 && slot.starts_with('0') {
        return None;
    }
    let key = u128::from_str_radix(key, 16).ok()?;
    Some((u32::from_str_radix(slot, 16).ok()?, key.to_be_bytes()))
}

/// The daemon's view.
#[derive(Debug)]
pub struct Keys(OwnedFd);

impl Keys {
    /// Room for the keys of so many slots, none of which has one.
    pub fn new(slots: u32) -> io::Result<Keys> {
        let bytes = HEAD * WORD + slots as usize * KEY;
        let keys = Keys(shared_pages("tfd-keys", bytes.div_ceil(page_size()))?);
        keys.write(MOST * WORD, &u64::from(slots).to_ne_bytes())?;
        Ok(keys)
    }

    /// Gives a slot its key, or with 0 none.
    pub fn set(&self, slot: u32, key: [u8; KEY]) -> io::Result<()> {
        self.write(HEAD * WORD + slot as usize * KEY, &key)
    }

    /// Says how many sessions there are.
    pub fn count(&self, sessions: usize) -> io::Result<()> {
        self.write(SESSIONS * WORD, &(sessions as u64).to_ne_bytes())
    }

    /// Says that the daemon is about to end.
    pub fn drain(&self) -> io::Result<()> {
        self.write(DRAINING * WORD, &1_u64.to_ne_bytes())
    }

    fn write(&self, place: usize, bytes: &[u8]) -> io::Result<()> {
        Ok(rustix::io::pwrite(&self.0, bytes, place as u64).map(drop)?)
    }
}

impl AsFd for Keys {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The UDP process's view.
#[derive(Clone, Copy, Debug)]
pub struct ReadKeys(ReadWords);

impl ReadKeys {
    /// Maps the memory.
    pub fn map(memory: BorrowedFd<'_>) -> io::Result<ReadKeys> {
        Ok(ReadKeys(map_to_read(memory)?))
    }

    /// Whether a slot has this key. No slot has the key 0.
    pub fn fits(self, slot: u32, key: [u8; KEY]) -> bool {
        let at = HEAD + slot as usize * (KEY / WORD);
        let words = [self.0.load(at), self.0.load(at + 1)].map(u64::to_ne_bytes);
        key != [0; KEY] && u64::from(slot) < self.most() && words.as_flattened() == key
    }

    /// How many sessions there are.
    pub fn sessions(self) -> u64 {
        self.0.load(SESSIONS)
    }

    /// How many there may be.
    pub fn most(self) -> u64 {
        self.0.load(MOST)
    }

    /// Whether the daemon is about to end.
    pub fn is_draining(self) -> bool {
        self.0.load(DRAINING) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_is_found_by_its_text_until_it_is_taken_back() {
        let keys = Keys::new(1000).expect("keys");
        let view = ReadKeys::map(keys.as_fd()).expect("view");
        keys.set(999, [7; KEY]).expect("set");
        let text = key_text(999, [7; KEY]);
        assert!((22..=36).contains(&text.len()));
        for text in [text.clone(), format!("/{text}"), format!("/{text}\0")] {
            let (slot, key) = read_key(text.as_bytes()).expect("key");
            assert!(view.fits(slot, key));
            assert!(!view.fits(slot - 1, key) && !view.fits(1_000_000, key));
        }
        keys.set(999, [0; KEY]).expect("set");
        assert!(!view.fits(999, [7; KEY]) && !view.fits(999, [0; KEY]));
        for wrong in [
            &b""[..],
            b"/",
            &text.as_bytes()[..32],
            text.to_uppercase().as_bytes(),
        ] {
            assert!(read_key(wrong).is_none_or(|(slot, key)| !view.fits(slot, key)));
        }
        assert!(is_key(text.to_uppercase().as_bytes()) && !is_key(&text.as_bytes()[..32]));
        assert!(!is_key(b"") && !is_key(b"/") && !is_key(format!("{text}000").as_bytes()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..48)) {
            if let Some((slot, key)) = read_key(&bytes) {
                prop_assert!(key_text(slot, key).len() >= KEY_DIGITS);
            }
        }
    }
}
