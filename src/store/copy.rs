//! Real copies: by reflink where the file system can, else in the kernel,
//! else by reading and writing. A copy appears whole or not at all.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, SeekFrom};
use rustix::io::Errno;

use super::inherit::inherit;
use super::part::{PartFile, Taken, part_name, rename, sync_directory};
use super::path::{Policy, RootPath};
use super::quota::{Quota, Reservation};
use super::root::Entry;
use super::tree::{Met, Step, Visit, open_directory, remove_tree, walk_whole};
use super::wanted::{WORK, check, undo};
use crate::sys::number::size;

/// Bytes to read and write at once if the kernel can't copy.
const BUFFER: usize = 256 * 1024;

/// How copies are made.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Whose names are left out of trees.
    pub policy: &'a Policy,
    /// Whether the copy is on disk when it is made.
    pub sync: bool,
    /// What it counts against.
    pub quota: &'a Quota,
    /// The bits of modes that are kept.
    pub bits: u32,
}

/// Copies a regular file to a free name, with what [`inherit`] gives it.
///
/// # Errors
/// `EEXIST` when the name is taken, else the system's. Nothing is left then.
pub fn copy_file(source: BorrowedFd<'_>, target: &Entry, rules: Rules<'_>) -> Result<(), Errno> {
    let part = PartFile::create(target, 0o600)?;
    let taken = copy_within(rules, source, part.file())?;
    part.publish(target.name(), Taken::Refuse, rules.sync)?;
    taken.keep();
    Ok(())
}

/// Copies all bytes of one file to another, empty one, within a quota, and what
/// it inherits. Returns the space reserved for it.
fn copy_within(
    rules: Rules<'_>,
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
) -> Result<Reservation, Errno> {
    let stat = rustix::fs::fstat(source)?;
    let expected = size(stat.st_size);
    let mut taken = rules.quota.reserve(expected)?;
    copy_data(source, target)?;
    let copied = size(rustix::fs::fstat(target)?.st_size);
    taken.grow(copied.saturating_sub(expected))?;
    taken.become_bytes(copied);
    inherit(source, &stat, target, rules.bits)?;
    Ok(taken)
}

/// Copies all bytes of one file to another, empty one; holes stay holes.
fn copy_data(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    if rustix::fs::ioctl_ficlone(target, source).is_ok() {
        return Ok(());
    }
    let mut at = 0;
    while let Some((from, to)) = data_behind(source, at)? {
        at = from;
        while at < to {
            let copied = copy_range(source, target, at, (to - at).min(WORK))?;
            check()?;
            if copied == 0 {
                break;
            }
            at += copied;
        }
        at = to;
    }
    let length = rustix::fs::fstat(source)?.st_size;
    if length > rustix::fs::fstat(target)?.st_size {
        rustix::fs::ftruncate(target, size(length))?;
    }
    Ok(())
}

/// The next bytes of a file behind an offset that are not a hole.
fn data_behind(file: BorrowedFd<'_>, at: u64) -> Result<Option<(u64, u64)>, Errno> {
    let from = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(from) => from,
        Err(Errno::NXIO) => return Ok(None),
        // The file system knows nothing of holes.
        Err(Errno::INVAL) => at,
        Err(e) => return Err(e),
    };
    let end = match rustix::fs::seek(file, SeekFrom::Hole(from)) {
        Ok(end) => end,
        Err(_) => size(rustix::fs::fstat(file)?.st_size),
    };
    Ok((end > from).then_some((from, end)))
}

/// Copies up to so many bytes to the same place; how many.
fn copy_range(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    at: u64,
    length: u64,
) -> Result<u64, Errno> {
    let (mut from, mut to) = (at, at);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    loop {
        let copied =
            rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), length);
        return match copied {
            Ok(copied) => Ok(copied as u64),
            Err(Errno::INTR) => continue,
            Err(e @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) => Err(e),
            Err(_) => copy_by_hand(source, target, at, length),
        };
    }
}

fn copy_by_hand(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    at: u64,
    length: usize,
) -> Result<u64, Errno> {
    let mut buffer = vec![0; BUFFER.min(length)];
    let mut done = 0;
    while done < length {
        let room = BUFFER.min(length - done);
        let mut data = match rustix::io::pread(source, &mut buffer[..room], at + done as u64) {
            Ok(0) => break,
            Ok(n) => &buffer[..n],
            Err(Errno::INTR) => continue,
            Err(e) => return Err(e),
        };
        while !data.is_empty() {
            match rustix::io::pwrite(target, data, at + done as u64) {
                Ok(0) => return Err(Errno::IO),
                Ok(n) => {
                    data = &data[n..];
                    done += n;
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(done as u64)
}

/// Copies a directory with its content to a free name: files and directories
/// with their modes, links as links with the same text. Devices, pipes, sockets
/// and the server's own files are skipped. The tree is built under a hidden name
/// and appears whole.
///
/// # Errors
/// `EEXIST` when the name is taken, else the system's. Nothing is left then.
pub fn copy_tree(source: BorrowedFd<'_>, target: &Entry, rules: Rules<'_>) -> Result<(), Errno> {
    let parent = target.directory.as_fd();
    let hidden = part_name()?;
    let name = OsStr::from_bytes(&hidden);
    rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
    let built = build_tree(source, parent, name, rules).and_then(|copy| {
        rename(parent, name, parent, target.name(), RenameFlags::NOREPLACE)?;
        if rules.sync {
            rustix::fs::syncfs(&copy)?;
            sync_directory(parent)?;
        }
        Ok(())
    });
    if built.is_err() {
        let _ = undo(|| remove_tree(parent, name, &Policy::NONE, rules.quota));
    }
    built
}

fn build_tree(
    source: BorrowedFd<'_>,
    parent: BorrowedFd<'_>,
    name: &OsStr,
    rules: Rules<'_>,
) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    rustix::fs::flock(&copy, FlockOperation::NonBlockingLockExclusive)?;
    let mut directories = vec![RootPath::root()];
    walk_whole(source, |met| {
        let visit = match met {
            Met::Entry(visit) => visit,
            Met::Entered(_) => return Ok(Step::Over),
            Met::Unread(_) => return Err(Errno::ACCESS),
        };
        if rules.policy.hides(visit.name().as_bytes()) {
            return Ok(Step::Over);
        }
        copy_entry(&visit, copy.as_fd(), rules)?;
        if visit.kind.is_dir() {
            directories.push(visit.path.clone());
        }
        Ok::<Step, Errno>(Step::Enter)
    })?;
    // Last, and from below: a directory that may not be written to could not
    // be filled.
    for path in directories.iter().rev() {
        let old = open_directory(source, path)?;
        let new = open_directory(copy.as_fd(), path)?;
        let stat = rustix::fs::fstat(&old)?;
        inherit(old.as_fd(), &stat, new.as_fd(), rules.bits)?;
    }
    Ok(copy)
}

fn copy_entry(visit: &Visit<'_>, copy: BorrowedFd<'_>, rules: Rules<'_>) -> Result<(), Errno> {
    let into = || open_directory(copy, &visit.path.parent());
    match visit.kind {
        FileType::Directory => {
            rustix::fs::mkdirat(into()?, visit.name(), Mode::RWXU)?;
        }
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let source = rustix::fs::openat(visit.directory, visit.name(), flags, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let into = into()?;
            let target = rustix::fs::openat(&into, visit.name(), flags, Mode::RUSR | Mode::WUSR)?;
            match copy_within(rules, source.as_fd(), target.as_fd()) {
                Ok(taken) => taken.keep(),
                Err(e) => {
                    // Its space is given back already; don't give it back with the tree's again.
                    rustix::fs::unlinkat(into, visit.name(), AtFlags::empty())?;
                    return Err(e);
                }
            }
        }
        FileType::Symlink => {
            let text = rustix::fs::readlinkat(visit.directory, visit.name(), Vec::new())?;
            rustix::fs::symlinkat(text, into()?, visit.name())?;
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn entry(directory: &std::path::Path, name: &str) -> Entry {
        Entry {
            directory: fs::File::open(directory).expect("open").into(),
            name: name.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_copy_by_hand_has_the_same_bytes() {
        let dir = tempfile::tempdir().expect("tempdir");
        let content: Vec<u8> = (0..600_000u32).map(|i| (i >> 4) as u8).collect();
        fs::write(dir.path().join("a"), &content).expect("write");
        let source = fs::File::open(dir.path().join("a")).expect("open");
        let target = fs::File::create(dir.path().join("b")).expect("create");
        let copied = copy_by_hand(source.as_fd(), target.as_fd(), 0, 1 << 20).expect("copy");
        assert_eq!(copied, content.len() as u64);
        assert!(fs::read(dir.path().join("b")).expect("read") == content);
    }

    #[test]
    fn a_tree_keeps_its_modes_and_leaves_out_pipes() {
        let dir = tempfile::tempdir().expect("tempdir");
        let source = dir.path().join("s");
        fs::create_dir_all(source.join("closed")).expect("mkdir");
        fs::write(source.join("closed/f"), "x").expect("write");
        nix::unistd::mkfifo(&source.join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        let mode = |path: &std::path::Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
        };
        mode(&source.join("closed/f"), 0o440);
        mode(&source.join("closed"), 0o550);
        let opened = fs::File::open(&source).expect("open");
        let rules = Rules {
            policy: &Policy::NONE,
            sync: true,
            quota: &Quota::none(),
            bits: 0o7777,
        };
        copy_tree(opened.as_fd(), &entry(dir.path(), "t"), rules).expect("copy");
        let copied = fs::metadata(dir.path().join("t/closed")).expect("stat");
        assert_eq!(copied.permissions().mode() & 0o7777, 0o550);
        assert!(dir.path().join("t/closed/f").exists() && !dir.path().join("t/pipe").exists());
        let taken = copy_tree(
            opened.as_fd(),
            &entry(dir.path(), "t"),
            Rules {
                sync: false,
                ..rules
            },
        );
        assert_eq!(taken, Err(Errno::EXIST));
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 2);
        mode(&source.join("closed"), 0o750);
        mode(&dir.path().join("t/closed"), 0o750);
    }
}
