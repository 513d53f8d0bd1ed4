//! The book: a small sealed file at an owner's keepers that says where the others are,
//! and which snapshots there should be. Books are merged, never replaced, so that
//! machines need no order among them.

use std::collections::BTreeMap;

use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};

use crate::backup::account::Account;
use crate::backup::seed::Seed;
use crate::backup::{BackupError, Result};
use crate::hub::wire::{Key, Name, User, Value, Way};

/// The first bytes of a book, which its seal covers.
const MAGIC: &[u8] = b"TFHUBBK1";

/// The first line of its text.
const FIRST_LINE: &str = "tfd-hub-book 1";

const NONCE: usize = 12;
const TAG: usize = 16;

/// The length of a text is a multiple of this.
const BLOCK: usize = 4096;

/// How long a dropped snapshot is remembered, in seconds.
const REMEMBERED: u64 = 100 * 24 * 60 * 60;

/// What is known of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// It was made at this time.
    Made(u64),
    /// It was dropped at this time.
    Dropped(u64),
}

/// What a book says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Book {
    config: Option<Name>,
    /// The key of each keeper, and where it is.
    pub(super) keepers: BTreeMap<User, (Key, Way)>,
    snapshots: BTreeMap<Name, Fate>,
}

impl Book {
    /// The one that names these keepers.
    pub(super) fn of(keepers: BTreeMap<User, (Key, Way)>) -> Book {
        Book {
            keepers,
            ..Book::default()
        }
    }

    /// Takes in what another one says. A snapshot that was dropped does not come back.
    pub(super) fn merge(&mut self, other: Book) {
        self.config = self.config.or(other.config);
        for (user, at) in other.keepers {
            self.keepers.entry(user).or_insert(at);
        }
        for (name, fate) in other.snapshots {
            let known = self.snapshots.entry(name).or_insert(fate);
            *known = fate.max(*known);
        }
    }

    pub(super) fn has_config(&mut self, name: Name) {
        self.config = Some(name);
    }

    /// A snapshot is there.
    pub(super) fn has_made(&mut self, name: Name, time: u64) {
        self.snapshots.entry(name).or_insert(Fate::Made(time));
    }

    /// A snapshot was dropped.
    pub(super) fn has_dropped(&mut self, name: Name, time: u64) {
        self.snapshots.insert(name, Fate::Dropped(time));
    }

    /// The snapshots that there should be, and when they were made.
    pub(super) fn made(&self) -> impl Iterator<Item = (Name, u64)> {
        let all = self.snapshots.iter();
        all.filter_map(|(name, fate)| match fate {
            Fate::Made(time) => Some((*name, *time)),
            Fate::Dropped(_) => None,
        })
    }

    /// Forgets what was dropped long ago.
    pub(super) fn forget(&mut self, now: u64) {
        self.snapshots.retain(|_, fate| match fate {
            Fate::Made(_) => true,
            Fate::Dropped(time) => now < *time + REMEMBERED,
        });
    }

    fn text(&self, account: &Account) -> String {
        let mut lines = vec![FIRST_LINE.to_owned()];
        lines.push(format!(
            "hub {} {}",
            account.entrance.address,
            account.hub()
        ));
        lines.extend(self.config.map(|name| format!("config {}", name.text())));
        for (user, (key, way)) in &self.keepers {
            lines.push(format!(
                "keeper {} {} {}",
                user.as_str(),
                key.text(),
                way.text()
            ));
        }
        for (name, fate) in &self.snapshots {
            lines.push(match fate {
                Fate::Made(time) => format!("+ {} {time}", name.text()),
                Fate::Dropped(time) => format!("- {} {time}", name.text()),
            });
        }
        lines.join("\n") + "\n"
    }

    /// Lines that say something else are left out: a later version may have some.
    fn parse(text: &str) -> Option<Book> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let mut book = Book::default();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["config", name] => book.config = Some(Name::read(name)?),
                ["keeper", user, key, way, ..] => {
                    let at = (Key::read(key)?, Way::read(way)?);
                    book.keepers.insert(User::read(user)?, at);
                }
                ["+", name, time] => {
                    let fate = Fate::Made(u64::read(time)?);
                    book.snapshots.insert(Name::read(name)?, fate);
                }
                ["-", name, time] => {
                    let fate = Fate::Dropped(u64::read(time)?);
                    book.snapshots.insert(Name::read(name)?, fate);
                }
                _ => {}
            }
        }
        Some(book)
    }

    /// The file of it.
    pub(super) fn seal(&self, account: &Account, seed: &Seed) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce)
            .map_err(|e| BackupError::Failed(format!("no random bytes: {e}")))?;
        self.seal_with(nonce, account, seed)
    }

    fn seal_with(&self, nonce: [u8; NONCE], account: &Account, seed: &Seed) -> Result<Vec<u8>> {
        let mut text = self.text(account).into_bytes();
        text.resize(text.len().next_multiple_of(BLOCK), b'\n');
        let key = seed.book_key()?;
        let mut tag = [0; TAG];
        let cipher = Cipher::aes_256_gcm();
        let sealed = encrypt_aead(cipher, &*key, Some(&nonce), MAGIC, &text, &mut tag)?;
        Ok([MAGIC, &nonce, &sealed, &tag].concat())
    }

    /// The one in a file; `None` if it is not this owner's.
    pub(super) fn open(file: &[u8], seed: &Seed) -> Option<Book> {
        let (nonce, rest) = file.strip_prefix(MAGIC)?.split_at_checked(NONCE)?;
        let (sealed, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
        let key = seed.book_key().ok()?;
        let cipher = Cipher::aes_256_gcm();
        let text = decrypt_aead(cipher, &*key, Some(nonce), MAGIC, sealed, tag).ok()?;
        Book::parse(str::from_utf8(&text).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use openssl::sha::sha256;

    use super::*;

    fn anna() -> Seed {
        let bytes: Vec<u8> = (0..32).collect();
        Seed::from_bytes(&bytes).expect("32 bytes")
    }

    fn account() -> Account {
        let lines = [
            ("hub", "hub.example.org:7170 hub.example.org"),
            ("pin", "SHA256:AAAA"),
            ("user", "anna"),
            ("factor", "2"),
        ];
        Account::parse(&lines).expect("account")
    }

    fn bobs() -> Book {
        let mut book = Book::default();
        book.has_config(Name([0x11; 32]));
        let key = Key::read("N78UC4ahUtSig_Eg5NZKmo8V7MCCDmlJJdRJTzZ5cHU").expect("key");
        let way = Way::read("198.51.100.7:7171").expect("way");
        book.keepers
            .insert(User::read("bob").expect("name"), (key, way));
        book.has_made(Name([0x22; 32]), 1_795_336_990);
        book
    }

    #[test]
    fn a_book_is_that_of_the_protocol_and_opens_for_its_owner() {
        let nonce: Vec<u8> = (0..12).collect();
        let nonce = nonce.try_into().expect("12 bytes");
        let file = bobs()
            .seal_with(nonce, &account(), &anna())
            .expect("sealed");
        assert_eq!(file.len(), 4132);
        assert_eq!(
            Name(sha256(&file)).text(),
            "b0fb05b3723e2db06fbcfe30eacb1366e3efb05c45dc2c35c9f34bea514ab7d8"
        );
        assert_eq!(Book::open(&file, &anna()), Some(bobs()));
        let other = Seed::from_bytes(&[9; 32]).expect("32 bytes");
        assert_eq!(Book::open(&file, &other), None);
        for len in [0, 8, 20, 35, 4131] {
            assert_eq!(Book::open(&file[..len], &anna()), None);
        }
    }

    #[test]
    fn a_dropped_snapshot_stays_dropped_and_is_forgotten_in_the_end() {
        let (name, other) = (Name([0x22; 32]), Name([0x33; 32]));
        let mut book = bobs();
        book.has_dropped(name, 1_795_337_000);
        book.has_made(other, 7);
        let mut merged = bobs();
        merged.merge(book.clone());
        assert_eq!(merged, book);
        book.merge(bobs());
        assert_eq!(book.made().collect::<Vec<_>>(), [(other, 7)]);
        book.forget(1_795_337_000 + REMEMBERED - 1);
        assert_eq!(book, merged);
        book.forget(1_795_337_000 + REMEMBERED);
        assert_ne!(book, merged);
    }
}
