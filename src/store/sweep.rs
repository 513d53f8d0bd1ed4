//! Sweeping: part files and part trees whose writer has died are removed at
//! the daemon's start. A live writer holds a lock on its part, also the writer
//! of another daemon on the same directory.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::path::{Policy, RootPath, is_own_part};
use super::quota::Quota;
use super::root::Root;
use super::tree::{Step, remove_tree, walk};

/// Removes every abandoned part beneath the root and returns how many.
pub fn sweep(root: &Root) -> Result<usize, Errno> {
    let start = root.open_dir(&RootPath::root())?;
    let mut removed = 0;
    walk(start.as_fd(), |visit| {
        let name = visit.name();
        if !is_own_part(name.as_bytes()) || !(visit.kind.is_file() || visit.kind.is_dir()) {
            return Ok::<Step, Errno>(Step::Enter);
        }
        if let Some(_lock) = take_over(visit.directory.as_fd(), name) {
            let gone = if visit.kind.is_dir() {
                remove_tree(visit.directory, name, &Policy::NONE, &Quota::none())
            } else {
                rustix::fs::unlinkat(visit.directory, name, AtFlags::empty())
            };
            removed += usize::from(gone.is_ok());
        }
        Ok(Step::Over)
    })?;
    Ok(removed)
}

/// The lock on a part that nobody holds.
fn take_over(directory: std::os::fd::BorrowedFd<'_>, name: &OsStr) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let part = rustix::fs::openat(directory, name, flags, Mode::empty()).ok()?;
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
        let like_it = ["f.part", ".tfd-notes.part", ".tfd-1.part", &abandoned("F")];
        for name in like_it {
            fs::write(dir.path().join("a").join(name), "").expect("write");
        }
        let path = RootPath::parse(b"a/new", &Policy::NONE).expect("path");
        let upload = Upload::begin(&root, &path, false, 0o644, Quota::none()).expect("begin");
        assert_eq!(sweep(&root), Ok(2));
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
                    sweep(&root).expect("sweep");
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
