//! How much is stored, by system user and in all: the daemon's side of the
//! counters for quotas (`store::quota`). The daemon writes what was counted on
//! disk, sessions write what has changed since.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use crate::store::quota::{Limits, page};
use crate::sys::memory::{ReadWords, WORD, for_reading, map_pages_to_read, shared_pages};

/// The most system users with a page of their own.
const MAX_IDENTITIES: usize = 16_384;

/// Pages that sessions read which no system user has yet: those of accounts that
/// are added while they run.
const SPARE: usize = 16;

/// What quotas count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counter {
    /// All files beneath the root.
    All,
    /// Those of a system user.
    User(u32),
}

/// The values of counters.
pub type Counts = Vec<(Counter, u64)>;

/// A counter, for servers that share what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Which.
    pub counter: Counter,
    /// The bytes that the sessions of this server have added since it began.
    pub added: i64,
    /// The bytes that there are, as far as this server knows.
    pub stored: u64,
}

/// The counters of all identities.
#[derive(Debug)]
pub struct Usage {
    /// The page of all identities, which the daemon alone writes to, then theirs.
    pages: Vec<OwnedFd>,
    /// Which page is whose.
    owners: HashMap<u32, usize>,
    counted: HashMap<u32, u64>,
}

impl Usage {
    /// Nothing is counted yet.
    pub fn new() -> io::Result<Usage> {
        Ok(Usage {
            pages: vec![shared_pages("tfd-usage", 1)?],
            owners: HashMap::new(),
            counted: HashMap::new(),
        })
    }

    /// The limits of a system user, who has a page from now on; `None` without
    /// a limit.
    ///
    /// # Errors
    /// `OutOfMemory` when there are no pages left, else the system's.
    pub fn limits(
        &mut self,
        uid: u32,
        own: Option<u64>,
        all: Option<u64>,
    ) -> io::Result<Option<Limits>> {
        if own.is_none() && all.is_none() {
            return Ok(None);
        }
        self.add(uid)?;
        Ok(Some(Limits { uid, own, all }))
    }

    /// Gives all these system users their pages, so that the sessions of each can
    /// read those of the others.
    pub fn prepare(&mut self, uids: impl IntoIterator<Item = u32>) -> io::Result<()> {
        uids.into_iter().try_for_each(|uid| self.add(uid))?;
        self.make_pages(self.owners.len() + SPARE)
    }

    fn add(&mut self, uid: u32) -> io::Result<()> {
        if self.owners.contains_key(&uid) {
            return Ok(());
        }
        let page = self.owners.len() + 1;
        self.make_pages(page)?;
        self.owners.insert(uid, page);
        let counted = self.counted.get(&uid).copied().unwrap_or(0);
        self.set(page, page::COUNTED, counted)
    }

    fn make_pages(&mut self, last: usize) -> io::Result<()> {
        if last > MAX_IDENTITIES + SPARE {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        while self.pages.len() <= last {
            self.pages.push(shared_pages("tfd-usage", 1)?);
        }
        Ok(())
    }

    /// The page of a system user, for its sessions to write to.
    pub fn page(&self, limits: &Limits) -> io::Result<OwnedFd> {
        let page = self.owners.get(&limits.uid);
        let page = page.and_then(|page| self.pages.get(*page));
        page.ok_or(io::ErrorKind::NotFound)?.try_clone()
    }

    /// Maps all pages for reading.
    pub fn map_to_read(&self) -> io::Result<ReadWords> {
        let readers = self.pages.iter().map(for_reading);
        map_pages_to_read(&readers.collect::<io::Result<Vec<_>>>()?)
    }

    /// How often sessions have changed what is stored.
    pub fn changes(&self) -> u64 {
        self.sum(page::CHANGES)
    }

    /// How many bytes count for the root's quota.
    pub fn stored(&self) -> u64 {
        self.get(0, page::COUNTED).wrapping_add(self.sum(page::ALL))
    }

    /// How many bytes the files of a system user have, if they are counted.
    pub fn of(&self, uid: u32) -> Option<u64> {
        match self.owners.get(&uid) {
            Some(page) => {
                let since = self.get(*page, page::OWN);
                Some(self.get(*page, page::COUNTED).wrapping_add(since))
            }
            None => self.counted.get(&uid).copied(),
        }
    }

    /// Stores a new count of the bytes of each owner.
    pub fn take_over(&mut self, counted: HashMap<u32, u64>) -> io::Result<()> {
        let all: u64 = counted.values().sum();
        for (uid, page) in &self.owners {
            let own = counted.get(uid).copied().unwrap_or(0);
            let own = own.wrapping_sub(self.get(*page, page::OWN));
            self.set(*page, page::COUNTED, own)?;
        }
        self.set(0, page::COUNTED, all.wrapping_sub(self.sum(page::ALL)))?;
        self.counted = counted;
        Ok(())
    }

    /// All counters of this server.
    pub fn used(&self) -> Vec<Used> {
        let all = Used {
            counter: Counter::All,
            added: self.sum(page::ALL).cast_signed(),
            stored: self.stored(),
        };
        let of_user = |(uid, at): (&u32, &usize)| Used {
            counter: Counter::User(*uid),
            added: self.get(*at, page::OWN).cast_signed(),
            stored: self.of(*uid).unwrap_or(0),
        };
        let mut used = vec![all];
        used.extend(self.owners.iter().map(of_user));
        used
    }

    /// Takes what counts for a counter beside what sessions of this server have added.
    pub fn share(&mut self, counter: Counter, others: u64) -> io::Result<()> {
        let at = match counter {
            Counter::All => Some(0),
            Counter::User(uid) => self.owners.get(&uid).copied(),
        };
        at.map_or(Ok(()), |at| self.set(at, page::COUNTED, others))
    }

    fn sum(&self, word: usize) -> u64 {
        self.owners
            .values()
            .fold(0, |sum, page| sum.wrapping_add(self.get(*page, word)))
    }

    fn get(&self, page: usize, word: usize) -> u64 {
        let mut bytes = [0; WORD];
        match rustix::io::pread(&self.pages[page], &mut bytes, place(word)) {
            Ok(WORD) => u64::from_ne_bytes(bytes),
            _ => 0,
        }
    }

    fn set(&self, page: usize, word: usize, value: u64) -> io::Result<()> {
        let bytes = value.to_ne_bytes();
        Ok(rustix::io::pwrite(&self.pages[page], &bytes, place(word)).map(drop)?)
    }
}

fn place(word: usize) -> u64 {
    (word * WORD) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Quota;

    #[test]
    fn a_count_replaces_what_was_known_and_quotas_follow_it() {
        let mut usage = Usage::new().expect("memory");
        assert_eq!(usage.limits(5, None, None).expect("limits"), None);
        usage
            .take_over(HashMap::from([(5, 40), (9, 7)]))
            .expect("count");
        usage.prepare([5, 6]).expect("pages");
        let pages = usage.map_to_read().expect("pages");
        let mut quota = |uid, own| {
            let limits = usage.limits(uid, Some(own), Some(100));
            let limits = limits.expect("page").expect("limits");
            let page = usage.page(&limits).expect("page");
            Quota::map(page, limits, Some(pages)).expect("quota")
        };
        let (five, six, later) = (quota(5, 50), quota(6, 80), quota(7, 90));
        assert_eq!((five.left(), six.left()), (Some(10), Some(53)));
        six.reserve(20).expect("room").keep();
        assert_eq!((five.left(), six.left()), (Some(10), Some(33)));
        assert_eq!((usage.changes(), usage.stored()), (1, 67));
        usage
            .take_over(HashMap::from([(5, 10), (6, 30)]))
            .expect("count");
        assert_eq!((five.left(), six.left()), (Some(40), Some(50)));
        later.reserve(30).expect("room").keep();
        assert_eq!(six.left(), Some(30), "of an account that came later");
    }
}
