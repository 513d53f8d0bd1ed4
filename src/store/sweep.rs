//! Sweeping: part files and part trees whose writer has died are removed, and
//! what cut uploads have left that nobody resumed for a long time. A live
//! writer holds a lock on its part, also the writer of another daemon on the same
//! directory.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::part::is_file;
use super::path::{Policy, RootPath, is_lasting_part, is_own_part, is_upload_part};
use super::quota::Quota;
use super::root::Root;
use super::tree::{Step, remove_tree, walk};

/// How many parts were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Ours, abandoned by their writers.
    pub abandoned: usize,
    /// Those of uploads that were never resumed.
    pub broken_off: usize,
}

/// Removes every abandoned part beneath the root, and of broken-off uploads those
/// that have not changed for `kept`; without it, none.
pub fn sweep(root: &Root, kept: Option<Duration>) -> Result<Swept, Errno> {
    let start = root.open_dir(&RootPath::root())?;
    let mut removed = Swept::default();
    walk(start.as_fd(), |visit| {
        let name = visit.name();
        if is_own_part(name.as_bytes()) && visit.kind.is_symlink() {
            // It can't be locked, and gets its own name at once.
            let gone = rustix::fs::unlinkat(visit.directory, name, AtFlags::empty());
            removed.abandoned += usize::from(gone.is_ok());
            return Ok(Step::Over);
        }
        if let Some(kept) = kept
            && visit.kind.is_file()
            && (is_upload_part(name.as_bytes()) || is_lasting_part(name.as_bytes()))
        {
            let gone = remove_older(visit.directory.as_fd(), name, kept);
            removed.broken_off += usize::from(gone);
            return Ok(Step::Over);
        }
        if !is_own_part(name.as_bytes()) || !(visit.kind.is_file() || visit.kind.is_dir()) {
            return Ok::<Step, Errno>(Step::Enter);
        }
        if let Some(_lock) = take_over(visit.directory.as_fd(), name) {
            let gone = if visit.kind.is_dir() {
                remove_tree(visit.directory, name, &Policy::NONE, &Quota::none())
            } else {
                rustix::fs::unlinkat(visit.directory, name, AtFlags::empty())
            };
            removed.abandoned += usize::from(gone.is_ok());
        }
        Ok(Step::Over)
    })?;
    Ok(removed)
}

/// Removes the part of an upload unless it is young or in use; whether it did.
fn remove_older(directory: std::os::fd::BorrowedFd<'_>, name: &OsStr, kept: Duration) -> bool {
    let is_old = |stat: &Stat| is_file(stat) && age(stat) >= kept;
    let now = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    if !now.is_ok_and(|stat| is_old(&stat)) {
        return false;
    }
    let Some(lock) = take_over(directory, name) else {
        return false;
    };
    // Between the two looks it may have been written to.
    let removed = rustix::fs::fstat(&lock)
        .ok()
        .filter(is_old)
        .map(|stat| Quota::none().unlink_exactly(directory, name, &stat));
    removed.is_some_and(|removed| removed.is_ok())
}

/// How long ago a file was last changed in any way: a time of change may be older
/// than the file.
fn age(stat: &Stat) -> Duration {
    let changed = stat.st_mtime.max(stat.st_ctime);
    let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(changed).unwrap_or(0));
    let age = SystemTime::now().duration_since(changed);
    age.unwrap_or_default()
}

/// The lock on a part that nobody holds. NFS locks only what may be written to; a
/// directory never may.
fn take_over(directory: std::os::fd::BorrowedFd<'_>, name: &OsStr) -> Option<OwnedFd> {
    let open = |flags| {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(directory, name, flags, Mode::empty())
    };
    let part = open(OFlags::RDWR).or_else(|_| open(OFlags::RDONLY)).ok()?;
    rustix::fs::flock(&part, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::upload::Upload;
    use std::fs;

    #[test]
    fn abandoned_parts_go_and_those_being_written_stay() {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = Root::open(dir.path()).expect("root");
        let abandoned = |digit: &str| format!(".tfd-{}.part", digit.repeat(32));
        let tree = dir.path().join("a/x.sd").join(abandoned("1"));
        fs::create_dir_all(tree.join("deep")).expect("mkdir");
        fs::write(dir.path().join("a").join(abandoned("f")), "").expect("write");
        let link = dir.path().join("a").join(abandoned("2"));
        std::os::unix::fs::symlink("new", link).expect("link");
        let like_it = ["f.part", ".tfd-notes.part", ".tfd-1.part", &abandoned("F")];
        for name in like_it {
            fs::write(dir.path().join("a").join(name), "").expect("write");
        }
        let path = RootPath::parse(b"a/new", &Policy::NONE).expect("path");
        let upload = Upload::begin(&root, &path, false, 0o644, Quota::none()).expect("begin");
        let swept = Swept {
            abandoned: 3,
            broken_off: 0,
        };
        assert_eq!(sweep(&root, None), Ok(swept));
        assert_eq!(
            fs::read_dir(dir.path().join("a")).expect("dir").count(),
            2 + like_it.len()
        );
        upload.commit(false).expect("commit");
        assert!(dir.path().join("a/new").exists());
        assert!(
            like_it
                .iter()
                .all(|name| dir.path().join("a").join(name).exists())
        );
    }

    #[test]
    fn what_is_left_of_an_upload_goes_with_its_age_unless_it_is_in_use() {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = Root::open(dir.path()).expect("root");
        let part = |name: &str| dir.path().join(name);
        let names = [
            ".tf-0123456789abcdef.part",
            ".tf-0123456789abcdef-01234567.part",
            ".tf-ffffffffffffffff.part",
            ".tfd-kept-0123456789abcdef0123456789abcdef.part",
            ".tf-notes.part",
            ".tf-0123456789abcdeg.part",
            "tf-0123456789abcdef.part",
        ];
        for name in names {
            let file = fs::File::create(part(name)).expect("part");
            // A time that the client has set.
            file.set_modified(UNIX_EPOCH).expect("time");
        }
        let swept = |kept| sweep(&root, kept).expect("sweep").broken_off;
        assert_eq!(swept(None), 0);
        assert_eq!(swept(Some(Duration::from_secs(60))), 0);
        let used = fs::File::open(part(names[2])).expect("open");
        rustix::fs::flock(&used, FlockOperation::LockShared).expect("lock");
        assert_eq!(swept(Some(Duration::ZERO)), 3);
        let left = names.map(|name| part(name).exists());
        assert_eq!(left, [false, false, true, false, true, true, true]);
        drop(used);
        assert_eq!(swept(Some(Duration::ZERO)), 1);
    }

    #[test]
    fn a_sweep_at_the_same_time_takes_no_part_from_its_writer() {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = Root::open(dir.path()).expect("root");
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
                while !over.load(std::sync::atomic::Ordering::Relaxed)
                    && std::time::Instant::now() < end
                {
                    sweep(&root, None).expect("sweep");
                }
            });
            for number in 0..3000 {
                let path =
                    RootPath::parse(format!("{number}").as_bytes(), &Policy::NONE).expect("path");
                let upload = Upload::begin(&root, &path, false, 0o644, Quota::none());
                upload.expect("begin").commit(false).expect("commit");
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 3000);
    }
}
