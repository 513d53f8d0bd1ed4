//! Real copies: by reflink where the file system can, else in the kernel,
//! else by reading and writing. A copy appears whole or not at all.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::part::{PartFile, Taken, part_name, rename, sync_directory};
use super::path::{Policy, RootPath};
use super::quota::{Quota, Reservation};
use super::root::Entry;
use super::tree::{Met, Step, Visit, open_directory, remove_tree, walk_whole};
use crate::sys::number::size;

/// Bytes copied by one call.
const CHUNK: usize = 1 << 30;

/// Bytes to read and write at once if the kernel can't copy.
const BUFFER: usize = 256 * 1024;

/// Permission bits that are kept.
const MODE: u32 = 0o7777;

/// Copies a regular file to a free name and keeps the mode. With `sync` the copy
/// is on disk when this returns.
///
/// # Errors
/// `EEXIST` when the name is taken, else the system's. Nothing is left then.
pub fn copy_file(
    source: BorrowedFd<'_>,
    target: &Entry,
    sync: bool,
    quota: &Quota,
) -> Result<(), Errno> {
    let part = PartFile::create(target, 0o600)?;
    let (mode, taken) = copy_within(quota, source, part.file())?;
    part.set_mode(mode)?;
    part.publish(target.name(), Taken::Refuse, sync)?;
    taken.keep();
    Ok(())
}

/// Copies all bytes of one file to another, empty one, within a quota. Returns
/// the mode of the first and the space reserved for the second.
fn copy_within(
    quota: &Quota,
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
) -> Result<(u32, Reservation), Errno> {
    let stat = rustix::fs::fstat(source)?;
    let expected = size(stat.st_size);
    let mut taken = quota.reserve(expected)?;
    copy_data(source, target)?;
    let copied = size(rustix::fs::fstat(target)?.st_size);
    taken.grow(copied.saturating_sub(expected))?;
    taken.become_bytes(copied);
    Ok((stat.st_mode & MODE, taken))
}

/// Copies all bytes of one file to another, empty one.
fn copy_data(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    if rustix::fs::ioctl_ficlone(target, source).is_ok() {
        return Ok(());
    }
    let mut copied = false;
    loop {
        match rustix::fs::copy_file_range(source, None, target, None, CHUNK) {
            Ok(0) => return Ok(()),
            Ok(_) => copied = true,
            Err(Errno::INTR) => {}
            Err(e @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) => return Err(e),
            Err(e) if copied => return Err(e),
            Err(_) => return copy_by_hand(source, target),
        }
    }
}

fn copy_by_hand(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut data = match rustix::io::read(source, &mut *buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => &buffer[..n],
            Err(Errno::INTR) => continue,
            Err(e) => return Err(e),
        };
        while !data.is_empty() {
            match rustix::io::write(target, data) {
                Ok(0) => return Err(Errno::IO),
                Ok(n) => data = &data[n..],
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// Copies a directory with its content to a free name: files and directories
/// with their modes, links as links with the same text. Devices, pipes, sockets
/// and the server's own files are skipped. The tree is built under a hidden name
/// and appears whole.
///
/// # Errors
/// `EEXIST` when the name is taken, else the system's. Nothing is left then.
pub fn copy_tree(
    source: BorrowedFd<'_>,
    target: &Entry,
    policy: &Policy,
    sync: bool,
    quota: &Quota,
) -> Result<(), Errno> {
    let parent = target.directory.as_fd();
    let hidden = part_name()?;
    let name = OsStr::from_bytes(&hidden);
    rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
    let built = build_tree(source, parent, name, policy, quota).and_then(|copy| {
        rename(parent, name, parent, target.name(), RenameFlags::NOREPLACE)?;
        if sync {
            rustix::fs::syncfs(&copy)?;
            sync_directory(parent)?;
        }
        Ok(())
    });
    if built.is_err() {
        let _ = remove_tree(parent, name, &Policy::NONE, quota);
    }
    built
}

fn build_tree(
    source: BorrowedFd<'_>,
    parent: BorrowedFd<'_>,
    name: &OsStr,
    policy: &Policy,
    quota: &Quota,
) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    rustix::fs::flock(&copy, FlockOperation::NonBlockingLockExclusive)?;
    let mut modes = vec![(RootPath::root(), rustix::fs::fstat(source)?.st_mode & MODE)];
    walk_whole(source, |met| {
        let visit = match met {
            Met::Entry(visit) => visit,
            Met::Unread(_) => return Err(Errno::ACCESS),
        };
        if policy.hides(visit.name().as_bytes()) {
            return Ok(Step::Over);
        }
        copy_entry(&visit, copy.as_fd(), &mut modes, quota)?;
        Ok::<Step, Errno>(Step::Enter)
    })?;
    // Last, and from below: a directory that may not be written to could not
    // be filled.
    for (path, mode) in modes.iter().rev() {
        rustix::fs::fchmod(
            open_directory(copy.as_fd(), path)?,
            Mode::from_raw_mode(*mode),
        )?;
    }
    Ok(copy)
}

fn copy_entry(
    visit: &Visit<'_>,
    copy: BorrowedFd<'_>,
    modes: &mut Vec<(RootPath, u32)>,
    quota: &Quota,
) -> Result<(), Errno> {
    let into = || open_directory(copy, &visit.path.parent());
    match visit.kind {
        FileType::Directory => {
            let stat =
                rustix::fs::statat(visit.directory, visit.name(), AtFlags::SYMLINK_NOFOLLOW)?;
            rustix::fs::mkdirat(into()?, visit.name(), Mode::RWXU)?;
            modes.push((visit.path.clone(), stat.st_mode & MODE));
        }
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let source = rustix::fs::openat(visit.directory, visit.name(), flags, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let into = into()?;
            let target = rustix::fs::openat(&into, visit.name(), flags, Mode::RUSR | Mode::WUSR)?;
            match copy_within(quota, source.as_fd(), target.as_fd()) {
                Ok((mode, taken)) => {
                    taken.keep();
                    rustix::fs::fchmod(&target, Mode::from_raw_mode(mode))?;
                }
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
        copy_by_hand(source.as_fd(), target.as_fd()).expect("copy");
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
        copy_tree(
            opened.as_fd(),
            &entry(dir.path(), "t"),
            &Policy::NONE,
            true,
            &Quota::none(),
        )
        .expect("copy");
        let copied = fs::metadata(dir.path().join("t/closed")).expect("stat");
        assert_eq!(copied.permissions().mode() & 0o7777, 0o550);
        assert!(dir.path().join("t/closed/f").exists() && !dir.path().join("t/pipe").exists());
        let taken = copy_tree(
            opened.as_fd(),
            &entry(dir.path(), "t"),
            &Policy::NONE,
            false,
            &Quota::none(),
        );
        assert_eq!(taken, Err(Errno::EXIST));
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 2);
        mode(&source.join("closed"), 0o750);
        mode(&dir.path().join("t/closed"), 0o750);
    }
}
