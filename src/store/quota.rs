//! Quotas: how many bytes the files beneath a root may have, and those of each
//! system user. Space is reserved before it is written and released when a file
//! is removed, in counters that all sessions share, so that simultaneous uploads
//! never exceed a limit together. Each identity writes to a page of its own and
//! can only read the others.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{AtFlags, FlockOperation, RenameFlags, Stat};
use rustix::io::Errno;

use super::part::{is_file, part_name, rename};
use crate::sys::memory::{ReadWords, WORD, map_page, map_to_read, page_size};
use crate::sys::number::size;

/// How long to wait for a file that others have locked; without the lock its
/// growth may be counted twice, but never too little.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// What the words of an identity's page hold. The first is the daemon's.
pub mod page {
    /// The bytes of its files when they were last counted.
    pub const COUNTED: usize = 0;
    /// How many bytes its sessions have added to its own files since.
    pub const OWN: usize = 1;
    /// How many they have added to all files.
    pub const ALL: usize = 2;
    /// How often they have changed one of these.
    pub const CHANGES: usize = 3;
    /// In page 0: how many pages of identities follow.
    pub const PAGES: usize = 1;
}

/// The limits of one identity, and which page is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Its page.
    pub page: usize,
    /// Its uid.
    pub uid: u32,
    /// The most bytes its own files may have.
    pub own: Option<u64>,
    /// The most bytes all files beneath the root may have.
    pub all: Option<u64>,
}

/// A session's quota, if it has one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quota(Option<Meter>);

#[derive(Clone, Copy, Debug)]
struct Meter {
    limits: Limits,
    mine: &'static [AtomicU64],
    pages: ReadWords,
}

/// Bytes reserved for a file that is not whole yet; released when dropped.
#[derive(Debug)]
pub struct Reservation {
    quota: Quota,
    bytes: u64,
}

impl Quota {
    /// No quota at all.
    pub fn none() -> Quota {
        Quota(None)
    }

    /// The quota of an identity, in the memory all sessions share.
    pub fn map(memory: BorrowedFd<'_>, limits: Limits) -> std::io::Result<Quota> {
        let mine = map_page(memory, limits.page)?;
        Ok(Quota(Some(Meter {
            limits,
            mine,
            pages: map_to_read(memory)?,
        })))
    }

    /// The bytes that may still be added, or `None` if unlimited.
    pub fn left(&self) -> Option<u64> {
        let meter = self.0?;
        let left = |limit: u64, used: i64| limit.saturating_sub(u64::try_from(used).unwrap_or(0));
        let own = meter.limits.own.map(|limit| left(limit, meter.own()));
        let all = meter.limits.all.map(|limit| left(limit, meter.all()));
        own.into_iter().chain(all).min()
    }

    /// Reserves space for bytes about to be written.
    ///
    /// # Errors
    /// `EDQUOT` when that passes a limit; nothing is taken then.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation, Errno> {
        let mut reservation = Reservation {
            quota: *self,
            bytes: 0,
        };
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// Removes a file, and releases the space of the last link to it.
    pub fn unlink(&self, directory: impl AsFd, name: &OsStr) -> Result<(), Errno> {
        if self.0.is_some() {
            let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if is_file(&stat) && stat.st_size > 0 {
                return self.unlink_apart(directory.as_fd(), name, |_| true);
            }
        }
        rustix::fs::unlinkat(&directory, name, AtFlags::empty())
    }

    /// As [`Quota::unlink`], but only this file: another file that has taken the
    /// name stays.
    ///
    /// # Errors
    /// `ESTALE` for another file, else the system's.
    pub fn unlink_exactly(
        &self,
        directory: impl AsFd,
        name: &OsStr,
        wanted: &Stat,
    ) -> Result<(), Errno> {
        let is_wanted = |stat: &Stat| (stat.st_dev, stat.st_ino) == (wanted.st_dev, wanted.st_ino);
        if !is_wanted(&rustix::fs::statat(
            &directory,
            name,
            AtFlags::SYMLINK_NOFOLLOW,
        )?) {
            return Err(Errno::STALE);
        }
        self.unlink_apart(directory.as_fd(), name, is_wanted)
    }

    /// Renames a file to a name of its own before it looks at it and removes it,
    /// so that nobody can put another file in its place in between. The wrong
    /// file gets its name back.
    fn unlink_apart(
        &self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        is_wanted: impl Fn(&Stat) -> bool,
    ) -> Result<(), Errno> {
        let apart = part_name()?;
        let apart = OsStr::from_bytes(&apart);
        rename(directory, name, directory, apart, RenameFlags::NOREPLACE)?;
        let removed =
            rustix::fs::statat(directory, apart, AtFlags::SYMLINK_NOFOLLOW).and_then(|stat| {
                if !is_wanted(&stat) {
                    return Err(Errno::STALE);
                }
                rustix::fs::unlinkat(directory, apart, AtFlags::empty())?;
                self.gone(&stat);
                Ok(())
            });
        if removed.is_err() {
            let _ = rename(directory, apart, directory, name, RenameFlags::NOREPLACE);
        }
        removed
    }

    /// Renames and replaces the file of the new name. With a quota the two change
    /// places first, so that only one session releases the old file's space.
    pub fn replace(
        &self,
        from_directory: impl AsFd,
        from: &OsStr,
        to_directory: impl AsFd,
        to: &OsStr,
    ) -> Result<(), Errno> {
        let plain = |flags| rename(&from_directory, from, &to_directory, to, flags);
        if self.0.is_none() {
            return plain(RenameFlags::empty());
        }
        loop {
            match plain(RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                other => return other,
            }
            let old = rustix::fs::statat(&to_directory, to, AtFlags::SYMLINK_NOFOLLOW);
            match old {
                Ok(old) if !is_file(&old) => return plain(RenameFlags::empty()),
                Ok(_) => {}
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(e),
            }
            match plain(RenameFlags::EXCHANGE) {
                Ok(()) => {
                    let Ok(old) = old else { return Ok(()) };
                    // Another session has replaced or removed the old file.
                    return match self.unlink_exactly(&from_directory, from, &old) {
                        Err(Errno::STALE | Errno::NOENT) => Ok(()),
                        other => other,
                    };
                }
                Err(Errno::NOENT) => {}
                Err(Errno::INVAL | Errno::NOSYS) => {
                    plain(RenameFlags::empty())?;
                    return old.map(|old| self.gone(&old));
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Lets `write` extend a file to `end` bytes, if it is shorter now. Sessions
    /// that extend the same file wait, so that its growth is counted once.
    ///
    /// # Errors
    /// `EDQUOT` when the growth passes a limit, and what `write` returns.
    pub fn grow_file(
        &self,
        file: BorrowedFd<'_>,
        end: u64,
        write: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if self.0.is_none() {
            return write();
        }
        let length = || rustix::fs::fstat(file).map(|stat| size(stat.st_size));
        let locked = (0..LOCK_TRIES).any(|_| {
            let free = rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).is_ok();
            if !free {
                std::thread::sleep(LOCK_PAUSE);
            }
            free
        });
        let before = length()?;
        let grown = self
            .reserve(end.saturating_sub(before))
            .and_then(|mut taken| {
                let written = write();
                taken.become_bytes(length().map_or(0, |now| now.saturating_sub(before)));
                taken.keep();
                written
            });
        if locked {
            let _ = rustix::fs::flock(file, FlockOperation::Unlock);
        }
        grown
    }

    /// Releases the space of a file whose last link is removed.
    fn gone(&self, stat: &Stat) {
        if let Some(meter) = self.0.filter(|_| is_file(stat) && stat.st_nlink <= 1) {
            meter.add(-stat.st_size, stat.st_uid == meter.limits.uid);
        }
    }
}

impl Meter {
    /// The bytes of its own files.
    fn own(&self) -> i64 {
        let counted = self.mine[page::COUNTED]
            .load(Ordering::Relaxed)
            .cast_signed();
        counted + self.mine[page::OWN].load(Ordering::Relaxed).cast_signed()
    }

    /// The bytes of all files.
    fn all(&self) -> i64 {
        let words = page_size() / WORD;
        let word = |page: usize, word: usize| self.pages.load(page * words + word).cast_signed();
        let pages = usize::try_from(word(0, page::PAGES)).unwrap_or(0);
        (1..=pages).map(|index| word(index, page::ALL)).sum::<i64>() + word(0, page::COUNTED)
    }

    fn add(&self, bytes: i64, to_own: bool) {
        if to_own {
            self.mine[page::OWN].fetch_add(bytes.cast_unsigned(), Ordering::SeqCst);
        }
        self.mine[page::ALL].fetch_add(bytes.cast_unsigned(), Ordering::SeqCst);
        self.mine[page::CHANGES].fetch_add(1, Ordering::SeqCst);
    }

    fn is_over(&self) -> bool {
        let above = |limit: Option<u64>, used: i64| {
            limit.is_some_and(|limit| u64::try_from(used).is_ok_and(|used| used > limit))
        };
        above(self.limits.own, self.own()) || above(self.limits.all, self.all())
    }
}

impl Reservation {
    /// Reserves more.
    ///
    /// # Errors
    /// `EDQUOT` when that passes a limit; it stays as it was then.
    pub fn grow(&mut self, bytes: u64) -> Result<(), Errno> {
        let Some(meter) = self.quota.0.filter(|_| bytes > 0) else {
            return Ok(());
        };
        let signed = i64::try_from(bytes).map_err(|_| Errno::DQUOT)?;
        meter.add(signed, true);
        if meter.is_over() {
            meter.add(-signed, true);
            return Err(Errno::DQUOT);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Sets the size, whatever the limits are.
    pub fn become_bytes(&mut self, bytes: u64) {
        if let Some(meter) = self.quota.0 {
            meter.add(bytes.cast_signed() - self.bytes.cast_signed(), true);
            self.bytes = bytes;
        }
    }

    /// Keeps the space for the file, which is whole now.
    pub fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(meter) = self.quota.0.filter(|_| self.bytes > 0) {
            meter.add(-self.bytes.cast_signed(), true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memory::shared_pages;

    fn quotas(own: u64, all: u64) -> [Quota; 2] {
        let memory = shared_pages("test", 3).expect("memory");
        map_page(memory.as_fd(), 0).expect("page")[page::PAGES].store(2, Ordering::Relaxed);
        [1, 2].map(|page| {
            let limits = Limits {
                page,
                uid: page as u32,
                own: Some(own),
                all: Some(all),
            };
            Quota::map(memory.as_fd(), limits).expect("quota")
        })
    }

    #[test]
    fn space_is_taken_up_to_each_limit_and_given_back() {
        let [first, second] = quotas(100, 150);
        let mut taken = first.reserve(60).expect("room");
        assert_eq!(first.reserve(41).err(), Some(Errno::DQUOT));
        taken.grow(40).expect("room");
        assert_eq!(taken.grow(1), Err(Errno::DQUOT));
        assert_eq!((first.left(), second.left()), (Some(0), Some(50)));
        assert_eq!(second.reserve(51).err(), Some(Errno::DQUOT));
        let other = second.reserve(50).expect("room");
        drop(taken);
        assert_eq!((first.left(), second.left()), (Some(100), Some(50)));
        other.keep();
        assert_eq!(first.left(), Some(100));
        assert_eq!(Quota::none().left(), None);
    }

    #[test]
    fn those_who_take_at_once_never_pass_a_limit_together() {
        let quotas = quotas(u64::MAX >> 1, 1000);
        let threads = [0, 1, 0, 1].map(|index| {
            let quota = quotas[index];
            std::thread::spawn(move || {
                (0..10_000)
                    .filter_map(|_| quota.reserve(7).ok())
                    .map(Reservation::keep)
                    .count()
            })
        });
        let taken: usize = threads
            .into_iter()
            .map(|thread| thread.join().expect("thread"))
            .sum();
        assert!(taken <= 1000 / 7, "{taken}");
        assert_eq!(quotas[0].left(), Some(1000 - 7 * taken as u64));
    }
    #[test]
    fn what_is_removed_while_it_is_replaced_gives_its_space_back_once() {
        const BIG: u64 = 1 << 40;
        let dir = tempfile::tempdir().expect("directory");
        let [quota, _] = quotas(u64::MAX >> 2, u64::MAX >> 2);
        let limits = Limits {
            uid: rustix::process::getuid().as_raw(),
            ..quota.0.expect("meter").limits
        };
        let quota = Quota(Some(Meter {
            limits,
            ..quota.0.expect("meter")
        }));
        let handle = std::fs::File::open(dir.path()).expect("open");
        let (new, target) = (OsStr::new("new"), OsStr::new("f"));
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let _ = quota.unlink(&handle, target);
                }
            });
            for size in [BIG, 1].into_iter().cycle().take(20_000) {
                let file = std::fs::File::create(dir.path().join(new)).expect("create");
                let make = || {
                    file.set_len(size).expect("a sparse file");
                    Ok(())
                };
                quota.grow_file(file.as_fd(), size, make).expect("room");
                quota
                    .replace(&handle, new, &handle, target)
                    .expect("replace");
            }
            over.store(true, Ordering::Relaxed);
        });
        let names = std::fs::read_dir(dir.path()).expect("directory");
        let left: u64 = names
            .map(|entry| entry.expect("entry").metadata().expect("stat").len())
            .sum();
        assert_eq!(quota.0.expect("meter").own(), left as i64);
    }
    #[test]
    fn a_file_that_took_the_name_of_the_one_to_be_removed_stays() {
        let dir = tempfile::tempdir().expect("directory");
        let handle = std::fs::File::open(dir.path()).expect("open");
        let path = dir.path().join("f");
        std::fs::write(&path, "old").expect("write");
        let old = rustix::fs::stat(&path).expect("stat");
        let kept = std::fs::File::open(&path).expect("open");
        std::fs::write(dir.path().join("new"), "new").expect("write");
        std::fs::rename(dir.path().join("new"), &path).expect("rename");
        let quota = Quota::none();
        let name = OsStr::new("f");
        assert_eq!(quota.unlink_exactly(&handle, name, &old), Err(Errno::STALE));
        let apart = quota.unlink_apart(handle.as_fd(), name, |stat| stat.st_ino == old.st_ino);
        assert_eq!(apart, Err(Errno::STALE));
        assert_eq!(std::fs::read(&path).expect("read"), b"new");
        let new = rustix::fs::stat(&path).expect("stat");
        assert_eq!(quota.unlink_exactly(&handle, name, &new), Ok(()));
        assert_eq!(std::fs::read_dir(dir.path()).expect("directory").count(), 0);
        std::fs::create_dir(&path).expect("mkdir");
        assert!(quota.unlink_apart(handle.as_fd(), name, |_| true).is_err());
        assert!(path.is_dir());
        drop(kept);
    }
}
