//! The owner's books at the keepers of a hub: read, merged, and one more after each run
//! that has changed what they say.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use openssl::sha::sha256;

use super::book::Book;
use super::failed;
use super::reading::Reading;
use super::sending::Sending;
use crate::backup::Result;
use crate::backup::keepers::{Report, held};
use crate::backup::seed::Seed;
use crate::hub::wire::{Kind, Kinds, Name, User, Value, Way};
use crate::text::{hex, reason};

/// What keeps the books.
pub(super) struct Books {
    seed: Seed,
    reading: Arc<Reading>,
    sending: Arc<Sending>,
    report: Arc<Report>,
    /// Snapshots that this run has removed.
    dropped: Mutex<BTreeSet<Name>>,
}

/// A keeper, as people compare it.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct KeeperAt {
    pub(crate) user: String,
    /// None for one that is spoken to by the hub's relay alone.
    pub(crate) address: Option<String>,
    /// Its public key.
    pub(crate) key: String,
}

impl Books {
    pub(super) fn new(
        seed: Seed,
        reading: Arc<Reading>,
        sending: Arc<Sending>,
        report: Arc<Report>,
    ) -> Books {
        Books {
            seed,
            reading,
            sending,
            report,
            dropped: Mutex::default(),
        }
    }

    /// Takes note of a snapshot that is removed.
    pub(super) fn drops(&self, name: Name) {
        held(&self.dropped).insert(name);
    }

    /// All of them as one. One that can't be had is left out: others say the same.
    fn read(&self) -> Result<Book> {
        let mut book = Book::default();
        for name in self
            .reading
            .list(Kinds::Only(Kind::Book))
            .map_err(failed)?
            .into_keys()
        {
            let file = self.reading.read(name);
            match file.ok().and_then(|file| Book::open(&file, &self.seed)) {
                Some(other) => book.merge(other),
                None => self
                    .report
                    .note(&hex(&name.0[..4]), "this book can't be read"),
            }
        }
        Ok(book)
    }

    /// The names of the keepers that they name.
    pub(super) fn users(&self) -> Result<BTreeSet<User>> {
        Ok(self.read()?.keepers.into_keys().collect())
    }

    /// The keepers that they name.
    pub(super) fn keepers(&self) -> Result<Vec<KeeperAt>> {
        let keepers = self.read()?.keepers.into_iter();
        let shown = keepers.map(|(user, (key, way))| KeeperAt {
            user: user.as_str().to_owned(),
            address: match way {
                Way::Direct(address) => Some(address.text()),
                Way::Back(_) | Way::Relay { .. } => None,
            },
            key: key.text(),
        });
        Ok(shown.collect())
    }

    /// Compares what the hub lists with what they say, and writes a new one if that has
    /// changed.
    pub(super) fn renew(&self) -> Result<()> {
        let old = self.read()?;
        let now = self.reading.client().time();
        let mut book = Book::of(self.sending.keepers());
        book.merge(old.clone());
        let listed = |kind| self.reading.list(Kinds::Only(kind)).map_err(failed);
        for name in listed(Kind::Config)?.into_keys() {
            book.has_config(name);
        }
        let snapshots = listed(Kind::Snapshot)?;
        for name in snapshots.keys() {
            book.has_made(*name, now);
        }
        for name in held(&self.dropped).iter() {
            book.has_dropped(*name, now);
        }
        for (name, _) in book
            .made()
            .filter(|(name, _)| !snapshots.contains_key(name))
        {
            let what = "this snapshot was made, and the hub does not list it: hidden, or lost";
            self.report.note(&hex(&name.0[..4]), what);
        }
        book.forget(now);
        if book == old {
            return Ok(());
        }
        let file = book.seal(self.reading.client().account(), &self.seed)?;
        let name = Name(sha256(&file));
        let copies = book.keepers.len();
        if let Err(e) = self.sending.write_book(name, Bytes::from(file), copies) {
            // The snapshot is there without it.
            self.report.has_fewer();
            self.report.note(&"the book", &reason(&e));
        }
        Ok(())
    }
}
