//! How much is stored, by system user and in all: the daemon's side of the
//! counters for quotas (`store::quota`). The daemon writes what was counted on
//! disk, sessions write what has changed since.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::store::quota::{Limits, page};
use crate::sys::memory::{WORD, page_size, shared_pages};

/// The most system users with a page of their own.
const MAX_IDENTITIES: usize = 65_535;

/// The counters of all identities.
#[derive(Debug)]
pub struct Usage {
    memory: OwnedFd,
    pages: HashMap<u32, usize>,
    counted: HashMap<u32, u64>,
}

impl Usage {
    /// Nothing is counted yet.
    pub fn new() -> io::Result<Usage> {
        let memory = shared_pages("tfd-usage", MAX_IDENTITIES + 1)?;
        Ok(Usage {
            memory,
            pages: HashMap::new(),
            counted: HashMap::new(),
        })
    }

    /// The limits of a system user, with its page; `None` where there is no
    /// limit.
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
        let next = self.pages.len() + 1;
        let page = *self.pages.entry(uid).or_insert(next);
        if page > MAX_IDENTITIES {
            self.pages.remove(&uid);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if page == next {
            self.set(
                page,
                page::COUNTED,
                self.counted.get(&uid).copied().unwrap_or(0),
            )?;
            self.set(0, page::PAGES, page as u64)?;
        }
        Ok(Some(Limits {
            page,
            uid,
            own,
            all,
        }))
    }

    /// How often sessions have changed what is stored.
    pub fn changes(&self) -> u64 {
        self.sum(page::CHANGES)
    }

    /// How many bytes count for the root's quota.
    pub fn stored(&self) -> u64 {
        self.get(0, page::COUNTED).wrapping_add(self.sum(page::ALL))
    }

    /// Stores a new count of the bytes of each owner.
    pub fn take_over(&mut self, counted: HashMap<u32, u64>) -> io::Result<()> {
        let all: u64 = counted.values().sum();
        for (uid, page) in &self.pages {
            let own = counted.get(uid).copied().unwrap_or(0);
            self.set(
                *page,
                page::COUNTED,
                own.wrapping_sub(self.get(*page, page::OWN)),
            )?;
        }
        self.set(0, page::COUNTED, all.wrapping_sub(self.sum(page::ALL)))?;
        self.counted = counted;
        Ok(())
    }

    fn sum(&self, word: usize) -> u64 {
        self.pages
            .values()
            .fold(0, |sum, page| sum.wrapping_add(self.get(*page, word)))
    }

    fn get(&self, page: usize, word: usize) -> u64 {
        let mut bytes = [0; WORD];
        match rustix::io::pread(&self.memory, &mut bytes, place(page, word)) {
            Ok(WORD) => u64::from_ne_bytes(bytes),
            _ => 0,
        }
    }

    fn set(&self, page: usize, word: usize, value: u64) -> io::Result<()> {
        let bytes = value.to_ne_bytes();
        Ok(rustix::io::pwrite(&self.memory, &bytes, place(page, word)).map(drop)?)
    }
}

impl AsFd for Usage {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

fn place(page: usize, word: usize) -> u64 {
    (page * page_size() + word * WORD) as u64
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
        let mut quota = |uid, own| {
            let limits = usage
                .limits(uid, Some(own), Some(100))
                .expect("page")
                .expect("limits");
            Quota::map(usage.as_fd(), limits).expect("quota")
        };
        let (five, six) = (quota(5, 50), quota(6, 80));
        assert_eq!((five.left(), six.left()), (Some(10), Some(53)));
        six.reserve(20).expect("room").keep();
        assert_eq!((five.left(), six.left()), (Some(10), Some(33)));
        assert_eq!((usage.changes(), usage.stored()), (1, 67));
        usage
            .take_over(HashMap::from([(5, 10), (6, 30)]))
            .expect("count");
        assert_eq!((five.left(), six.left()), (Some(40), Some(50)));
    }
}
