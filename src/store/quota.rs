//! Quotas: how many bytes the files beneath a root may have, and those of each
//! system user. Space is reserved before it is written and released when a file
//! is removed, in counters that all sessions share, so that simultaneous uploads
//! never exceed a limit together. Each identity has a page of its own, memory that
//! its sessions alone can write to; others read it by descriptors for reading.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::part::{is_file, part_name, rename};
use crate::sys::file::{try_lock_bytes, unlock_bytes};
use crate::sys::memory::{ReadWords, WORD, map_page, page_size};
use crate::sys::number::size;

/// How long to wait for a file that others have locked; without the lock its
/// growth may be counted twice, but never too little.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// What the words of an identity's page hold. The first is the daemon's. In the
/// page of all identities there is the first alone.
pub mod page {
    /// The bytes of its files when they were last counted.
    pub const COUNTED: usize = 0;
    /// How many bytes its sessions have added to its own files since.
    pub const OWN: usize = 1;
    /// How many they have added to all files.
    pub const ALL: usize = 2;
    /// How often they have changed one of these.
    pub const CHANGES: usize = 3;
}

/// The limits of one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
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
    /// The page of all identities, and those of each, where there is a limit for
    /// all files.
    pages: Option<ReadWords>,
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

    /// The quota of the identity with this page, which is closed.
    pub fn map(page: OwnedFd, limits: Limits, pages: Option<ReadWords>) -> std::io::Result<Quota> {
        let mine = map_page(page.as_fd())?;
        Ok(Quota(Some(Meter {
            limits,
            mine,
            pages,
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

    /// The limit that has the least left, if there is one.
    pub fn tightest(&self) -> Option<u64> {
        let meter = self.0?;
        let left = |limit: u64, used: i64| limit.cast_signed().saturating_sub(used);
        let own = meter
            .limits
            .own
            .map(|limit| (left(limit, meter.own()), limit));
        let all = meter
            .limits
            .all
            .map(|limit| (left(limit, meter.all()), limit));
        let tightest = own.into_iter().chain(all).min();
        tightest.map(|(_, limit)| limit)
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
        let is_wanted = |stat: &Stat| are_one(stat, wanted);
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
    /// file gets its name back. Its size is read when it has lost the name: until
    /// then a session that has it open may cut it.
    fn unlink_apart(
        &self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        is_wanted: impl Fn(&Stat) -> bool,
    ) -> Result<(), Errno> {
        let apart = part_name()?;
        let apart = OsStr::from_bytes(&apart);
        rename(directory, name, directory, apart, RenameFlags::NOREPLACE)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let removed = rustix::fs::openat(directory, apart, flags, Mode::empty()).and_then(|file| {
            if !is_wanted(&rustix::fs::fstat(&file)?) {
                return Err(Errno::STALE);
            }
            rustix::fs::unlinkat(directory, apart, AtFlags::empty())?;
            let stat = rustix::fs::fstat(&file)?;
            if stat.st_nlink == 0 {
                self.gone(&stat);
            }
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
                    let last = old?;
                    if last.st_nlink <= 1 {
                        self.gone(&last);
                    }
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// As [`Quota::replace`] within a directory, but only this file.
    ///
    /// # Errors
    /// `ESTALE` for another file, else the system's.
    pub fn replace_exactly(
        &self,
        directory: BorrowedFd<'_>,
        from: &OsStr,
        to: &OsStr,
        wanted: &Stat,
    ) -> Result<(), Errno> {
        let now = rustix::fs::statat(directory, to, AtFlags::SYMLINK_NOFOLLOW)?;
        if !are_one(&now, wanted) {
            return Err(Errno::STALE);
        }
        let exchange = || rename(directory, from, directory, to, RenameFlags::EXCHANGE);
        match exchange() {
            Err(Errno::INVAL | Errno::NOSYS) => self.replace(directory, from, directory, to),
            Err(e) => Err(e),
            Ok(()) => match self.unlink_exactly(directory, from, wanted) {
                // Another file took the name in between: it gets it back.
                Err(Errno::STALE) => exchange().and(Err(Errno::STALE)),
                other => other,
            },
        }
    }

    /// Lets `write` change a file, which must be open for writing, and extend it
    /// to at most `end` bytes. Sessions that do so with the same file wait, so that
    /// its growth is counted once; clients' own locks on it do not matter. A file
    /// that has lost its name does not count, and can't be extended.
    ///
    /// # Errors
    /// `EDQUOT` when the growth passes a limit, `ESTALE` without a name, and what
    /// `write` returns.
    pub fn grow_file(
        &self,
        file: BorrowedFd<'_>,
        end: u64,
        write: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if self.0.is_none() {
            return write();
        }
        let locked = (0..LOCK_TRIES).any(|_| {
            let free = try_lock_bytes(file).is_ok();
            if !free {
                std::thread::sleep(LOCK_PAUSE);
            }
            free
        });
        let grown = self.grow_locked(file, end, write);
        if locked {
            let _ = unlock_bytes(file);
        }
        grown
    }

    fn grow_locked(
        &self,
        file: BorrowedFd<'_>,
        end: u64,
        write: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let stat = rustix::fs::fstat(file)?;
        let before = size(stat.st_size);
        if stat.st_nlink == 0 {
            return if end > before {
                Err(Errno::STALE)
            } else {
                write()
            };
        }
        let mut taken = self.reserve(end.saturating_sub(before))?;
        let written = write();
        let stat = rustix::fs::fstat(file)?;
        let now = size(stat.st_size);
        taken.become_bytes(now.saturating_sub(before));
        taken.keep();
        if stat.st_nlink > 0 {
            self.shrunk(&stat, before.saturating_sub(now));
        }
        written
    }

    /// Releases the space that a file has given up.
    fn shrunk(&self, stat: &Stat, bytes: u64) {
        if let Some(meter) = self.0.filter(|_| bytes > 0) {
            meter.add(-bytes.cast_signed(), stat.st_uid == meter.limits.uid);
        }
    }

    /// Releases the space of a file whose last link is removed.
    fn gone(&self, stat: &Stat) {
        if is_file(stat) {
            self.shrunk(stat, size(stat.st_size));
        }
    }
}

/// Whether both are of one file.
fn are_one(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
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
        let Some(pages) = self.pages else { return 0 };
        let words = page_size() / WORD;
        let word = |page: usize, word: usize| pages.load(page * words + word).cast_signed();
        let each = 1..pages.words() / words;
        each.map(|index| word(index, page::ALL)).sum::<i64>() + word(0, page::COUNTED)
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

    /// Holds bytes as well that are counted already.
    pub fn adopt(&mut self, bytes: u64) {
        if self.quota.0.is_some() {
            self.bytes += bytes;
        }
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
    use crate::sys::memory::{map_pages_to_read, shared_pages};

    fn quotas(own: u64, all: u64) -> [Quota; 2] {
        let pages = [0; 3].map(|_| shared_pages("test", 1).expect("memory"));
        let all_pages = map_pages_to_read(&pages).expect("all");
        [1, 2].map(|page| {
            let limits = Limits {
                uid: page as u32,
                own: Some(own),
                all: Some(all),
            };
            let own = pages[page].try_clone().expect("page");
            Quota::map(own, limits, Some(all_pages)).expect("quota")
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
    fn a_file_that_is_cut_while_it_is_removed_gives_its_space_back_at_most_once() {
        const BIG: u64 = 1 << 40;
        let dir = tempfile::tempdir().expect("directory");
        let [quota, _] = quotas(u64::MAX >> 2, u64::MAX >> 2);
        let meter = quota.0.expect("meter");
        let uid = rustix::process::getuid().as_raw();
        let limits = Limits {
            uid,
            ..meter.limits
        };
        let quota = Quota(Some(Meter { limits, ..meter }));
        let handle = std::fs::File::open(dir.path()).expect("open");
        let name = OsStr::new("f");
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let _ = quota.unlink(&handle, name);
                }
            });
            for _ in 0..5000 {
                let Ok(file) = std::fs::File::create_new(dir.path().join(name)) else {
                    continue;
                };
                for end in [BIG, 0] {
                    let set = || file.set_len(end).map_err(|_| Errno::IO);
                    let _ = quota.grow_file(file.as_fd(), end, set);
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        let _ = quota.unlink(&handle, name);
        let used = quota.0.expect("meter").own();
        assert!(used >= 0, "{used} given back too often");
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
