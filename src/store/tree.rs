//! Walking and removing trees. Nothing here follows a link: below the start,
//! directories are opened with `RESOLVE_NO_SYMLINKS`, so a directory that is
//! swapped for a link during the walk is left alone. Neither the stack nor the
//! number of open descriptors grows with the depth.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::path::{Policy, RootPath};
use super::quota::Quota;
use super::wanted::check_entry;

/// The longest path within a tree, in bytes; only a removal goes deeper.
const MAX_PATH: usize = 16 * 1024;

/// The longest path that one system call takes, in bytes.
const MAX_PART: usize = 4000;

/// How often to repeat a removal while others add to the tree.
const PASSES: usize = 4;

/// An entry met on a walk.
#[derive(Debug)]
pub struct Visit<'a> {
    /// Its path from where the walk began.
    pub path: &'a RootPath,
    /// What it is; a link is a link.
    pub kind: FileType,
    /// The directory it lives in.
    pub directory: BorrowedFd<'a>,
}

impl Visit<'_> {
    /// Its name.
    pub fn name(&self) -> &OsStr {
        OsStr::from_bytes(self.path.name().unwrap_or_default())
    }
}

/// What a walk visits.
#[derive(Debug)]
pub enum Met<'a> {
    /// An entry.
    Entry(Visit<'a>),
    /// The path of a directory whose entries come next.
    Entered(&'a RootPath),
    /// The path of a directory that can't be read completely.
    Unread(&'a RootPath),
}

/// Whether a walk enters a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It does.
    Enter,
    /// It does not.
    Over,
}

/// Visits every entry beneath a directory, a directory before its content.
/// Directories that can't be read, or have been removed, are skipped.
///
/// # Errors
/// What `visit` returns, and the system's when `start` can't be read.
pub fn walk<E: From<Errno>>(
    start: BorrowedFd<'_>,
    mut visit: impl FnMut(&Visit<'_>) -> Result<Step, E>,
) -> Result<(), E> {
    walk_whole(start, |met| match met {
        Met::Entry(entry) => visit(&entry),
        Met::Entered(_) | Met::Unread(_) => Ok(Step::Over),
    })
}

/// As [`walk`], and reports directories when it enters them, and those that can't
/// be read completely, except removed ones.
pub fn walk_whole<E: From<Errno>>(
    start: BorrowedFd<'_>,
    mut visit: impl FnMut(Met<'_>) -> Result<Step, E>,
) -> Result<(), E> {
    let mut waiting = vec![RootPath::root()];
    let mut first = true;
    while let Some(path) = waiting.pop() {
        if !first {
            visit(Met::Entered(&path))?;
        }
        let directory = match open_directory(start, &path) {
            Err(e) if first => return Err(e.into()),
            Err(Errno::NOENT) => continue,
            Err(_) => {
                visit(Met::Unread(&path))?;
                continue;
            }
            Ok(directory) => directory,
        };
        first = false;
        // Not `Dir::read_from`, which needs the right to enter.
        let mut entries = Dir::new(rustix::io::fcntl_dupfd_cloexec(&directory, 0)?)?;
        while let Some(entry) = entries.read() {
            let entry = match entry {
                Err(Errno::NOENT) => break,
                Err(_) => {
                    visit(Met::Unread(&path))?;
                    break;
                }
                Ok(entry) => entry,
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            check_entry()?;
            let kind = match entry.file_type() {
                FileType::Unknown => kind_of(&directory, name),
                kind => kind,
            };
            let path = path.join(name);
            let entry = Visit {
                path: &path,
                kind,
                directory: directory.as_fd(),
            };
            let step = visit(Met::Entry(entry))?;
            if kind.is_dir() && step == Step::Enter {
                waiting.push(path);
            }
        }
    }
    Ok(())
}

fn kind_of(directory: &OwnedFd, name: &[u8]) -> FileType {
    rustix::fs::statat(
        directory,
        OsStr::from_bytes(name),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_or(FileType::Unknown, |stat| {
        FileType::from_raw_mode(stat.st_mode)
    })
}

/// Opens a directory beneath another for reading, through no link at all. A path
/// that is too long for one call takes several.
///
/// # Errors
/// `ENAMETOOLONG` beyond [`MAX_PATH`], else the system's.
pub fn open_directory(start: BorrowedFd<'_>, path: &RootPath) -> Result<OwnedFd, Errno> {
    let mut rest = path.as_os_str().as_bytes();
    if rest.len() > MAX_PATH {
        return Err(Errno::NAMETOOLONG);
    }
    let mut at: Option<OwnedFd> = None;
    while rest.len() > MAX_PART {
        let cut = rest[..MAX_PART].iter().rposition(|c| *c == b'/');
        let (part, behind) = rest.split_at(cut.ok_or(Errno::NAMETOOLONG)?);
        let from = at.as_ref().map_or(start, AsFd::as_fd);
        at = Some(open_part(from, OsStr::from_bytes(part), OFlags::PATH)?);
        rest = &behind[1..];
    }
    open_part(
        at.as_ref().map_or(start, AsFd::as_fd),
        OsStr::from_bytes(rest),
        OFlags::RDONLY,
    )
}

fn open_part(start: BorrowedFd<'_>, path: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(start, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Removes the content of a directory but not itself, and releases its space.
/// What can't be removed stays, and so do the token files of jails; removing the
/// directory then fails.
pub fn remove_contents(
    directory: BorrowedFd<'_>,
    policy: &Policy,
    quota: &Quota,
) -> Result<(), Errno> {
    for _ in 0..PASSES {
        let mut removal = Removal {
            policy,
            quota,
            removed: false,
        };
        removal.descend(directory)?;
        if !removal.removed {
            break;
        }
    }
    Ok(())
}

/// One pass of a removal: depth first, with the handle of one directory and the
/// names on the way to it, so that no depth is too much for it.
struct Removal<'a> {
    policy: &'a Policy,
    quota: &'a Quota,
    /// Whether it has removed anything.
    removed: bool,
}

/// A directory on the way down.
struct Level {
    /// Which one it is; `..` must lead back to it.
    id: (u64, u64),
    /// Its name in the one above.
    name: Vec<u8>,
    /// The directories in it that are left.
    left: Vec<Vec<u8>>,
}

impl Removal<'_> {
    fn descend(&mut self, start: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut here = open_part(start, OsStr::new("."), OFlags::RDONLY)?;
        let mut way = vec![self.level(&here, Vec::new())?];
        while let Some(level) = way.last_mut() {
            if let Some(name) = level.left.pop() {
                let name_of = OsStr::from_bytes(&name);
                if let Ok(child) = open_part(here.as_fd(), name_of, OFlags::RDONLY) {
                    way.push(self.level(&child, name)?);
                    here = child;
                } else {
                    self.remove_empty(&here, &name);
                }
                continue;
            }
            let name = way.pop().map(|done| done.name).unwrap_or_default();
            let Some(above) = way.last() else { break };
            // Landlock looks at each directory above what is opened, but not for a path.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            here = rustix::fs::openat(&here, "..", flags, Mode::empty())?;
            // Another session has moved it meanwhile.
            if id_of(&here)? != above.id {
                return Err(Errno::STALE);
            }
            self.remove_empty(&here, &name);
        }
        Ok(())
    }

    fn remove_empty(&mut self, directory: &OwnedFd, name: &[u8]) {
        let name = OsStr::from_bytes(name);
        let gone = rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR);
        self.removed |= gone.is_ok();
    }

    /// Removes the files of a directory; what is left to do in it.
    fn level(&mut self, directory: &OwnedFd, name: Vec<u8>) -> Result<Level, Errno> {
        let mut left = Vec::new();
        let mut entries = Dir::new(directory.try_clone().map_err(|_| Errno::MFILE)?)?;
        while let Some(Ok(entry)) = entries.read() {
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || self.policy.guards(name) {
                continue;
            }
            check_entry()?;
            let kind = match entry.file_type() {
                FileType::Unknown => kind_of(directory, name),
                kind => kind,
            };
            if !kind.is_dir() {
                let name = OsStr::from_bytes(name);
                self.removed |= self.quota.unlink(directory, name).is_ok();
            } else if !self.policy.keeps(name) {
                left.push(name.to_vec());
            }
        }
        let id = id_of(directory)?;
        Ok(Level { id, name, left })
    }
}

fn id_of(directory: &OwnedFd) -> Result<(u64, u64), Errno> {
    let stat = rustix::fs::fstat(directory)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Removes a directory with its content from `parent`.
///
/// # Errors
/// `ENOTEMPTY` when something stayed, `ENOTDIR` if it isn't a directory, else the
/// system's.
pub fn remove_tree(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    policy: &Policy,
    quota: &Quota,
) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    if policy.keeps(name.as_bytes()) {
        return Err(Errno::NOTEMPTY);
    }
    remove_contents(directory.as_fd(), policy, quota)?;
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const POLICY: Policy = Policy {
        hidden: &[b"jail.key"],
        hidden_beginning: None,
        kept_ending: Some(b".sd"),
    };

    #[test]
    fn a_tree_is_removed_without_going_through_its_links() {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::create_dir_all(dir.path().join("t/a/b")).expect("mkdir");
        fs::create_dir(dir.path().join("out")).expect("mkdir");
        fs::write(dir.path().join("out/f"), "").expect("write");
        fs::write(dir.path().join("t/a/f"), "").expect("write");
        symlink("../out", dir.path().join("t/link")).expect("link");
        let top = fs::File::open(dir.path()).expect("open");
        remove_tree(top.as_fd(), OsStr::new("t"), &POLICY, &Quota::none()).expect("removed");
        assert!(!dir.path().join("t").exists() && dir.path().join("out/f").exists());
    }

    #[test]
    fn the_token_file_of_a_jail_stays_with_the_way_to_it() {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::create_dir_all(dir.path().join("t/a/b")).expect("mkdir");
        for name in ["t/f", "t/a/jail.key", "t/a/b/f"] {
            fs::write(dir.path().join(name), "x").expect("write");
        }
        let top = fs::File::open(dir.path()).expect("open");
        for policy in [POLICY, POLICY.removing_all()] {
            let removed = remove_tree(top.as_fd(), OsStr::new("t"), &policy, &Quota::none());
            assert_eq!(removed, Err(Errno::NOTEMPTY));
            assert_eq!(fs::read_dir(dir.path().join("t")).expect("t").count(), 1);
            assert_eq!(
                fs::read_dir(dir.path().join("t/a")).expect("t/a").count(),
                1
            );
            assert!(dir.path().join("t/a/jail.key").exists());
        }
    }

    #[test]
    fn secure_directories_stay_with_the_way_to_them() {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::create_dir_all(dir.path().join("t/a/x.sd/in")).expect("mkdir");
        fs::create_dir_all(dir.path().join("t/b")).expect("mkdir");
        let top = fs::File::open(dir.path()).expect("open");
        let name = OsStr::new("t");
        assert_eq!(
            remove_tree(top.as_fd(), name, &POLICY, &Quota::none()),
            Err(Errno::NOTEMPTY)
        );
        assert!(dir.path().join("t/a/x.sd/in").exists() && !dir.path().join("t/b").exists());
        remove_tree(top.as_fd(), name, &POLICY.removing_all(), &Quota::none()).expect("removed");
    }
}
