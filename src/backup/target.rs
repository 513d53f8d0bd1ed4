//! Where a restore writes: each way is resolved by the kernel beneath one handle and
//! through no link, so nothing is written outside, whatever a snapshot says and
//! even if somebody plants links meanwhile. A file has its name only when it is whole.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use openssl::sha::sha256;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::text::hex;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

const THROUGH_NO_LINK: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// How often the kernel may find the tree changing.
const TRIES: usize = 100;

/// The directory that is written into.
pub(super) struct Target {
    handle: OwnedFd,
}

/// What an entry is to have.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    /// The permission bits, with those above them.
    pub(super) mode: Option<u32>,
    pub(super) owner: Option<(u32, u32)>,
    /// Seconds and nanoseconds.
    pub(super) modified: Option<(i64, i64)>,
    pub(super) xattrs: Vec<(OsString, Vec<u8>)>,
}

impl Target {
    /// The directory at a path, which may lead through links: the user named it. It is
    /// made if it isn't there.
    pub(super) fn open(path: &Path) -> io::Result<Target> {
        fs::create_dir_all(path)?;
        let handle = rustix::fs::open(path, DIRECTORY, Mode::empty())?;
        Ok(Target { handle })
    }

    fn enter(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.resolve(path, DIRECTORY)
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = match path.as_os_str().is_empty() {
            true => Path::new("."),
            false => path,
        };
        let mut result = Err(Errno::AGAIN);
        for _ in 0..TRIES {
            let flags = flags | OFlags::CLOEXEC;
            result = rustix::fs::openat2(&self.handle, path, flags, Mode::empty(), THROUGH_NO_LINK);
            if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        result
    }

    /// The directory that an entry is in, and its name there.
    fn place<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a OsStr), Errno> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        Ok((self.enter(path.parent().unwrap_or(Path::new("")))?, name))
    }

    /// What is there.
    pub(super) fn stat(&self, path: &Path) -> io::Result<Stat> {
        let (directory, name) = self.place(path)?;
        Ok(rustix::fs::statat(
            &directory,
            name,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Makes a directory that nobody else reads yet; one that exists is fine.
    pub(super) fn make_directory(&self, path: &Path) -> io::Result<()> {
        let (directory, name) = self.place(path)?;
        match rustix::fs::mkdirat(&directory, name, Mode::RWXU) {
            Err(Errno::EXIST) => Ok(self.enter(path).map(drop)?),
            made => Ok(made?),
        }
    }

    /// Begins a file.
    pub(super) fn begin(&self, path: &Path) -> io::Result<Part> {
        let (directory, name) = self.place(path)?;
        let digits = hex(&sha256(name.as_bytes())[..8]);
        let part = OsString::from(format!(".tf-{digits}.part"));
        // One that a killed restore has left, or somebody has planted.
        match rustix::fs::unlinkat(&directory, &part, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, &part, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Part {
            directory,
            file: file.into(),
            part,
            name: name.to_owned(),
        })
    }

    /// Makes a symbolic link. It replaces anything but a directory.
    pub(super) fn make_link(&self, path: &Path, leads_to: &Path) -> io::Result<()> {
        let (directory, name) = self.place(path)?;
        clear(&directory, name)?;
        Ok(rustix::fs::symlinkat(leads_to, &directory, name)?)
    }

    /// Makes a pipe, a socket or a device. It replaces anything but a directory.
    pub(super) fn make_node(&self, path: &Path, kind: FileType, device: u64) -> io::Result<()> {
        let (directory, name) = self.place(path)?;
        clear(&directory, name)?;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::mknodat(&directory, name, kind, mode, device)?)
    }

    /// Gives a file another name. It replaces anything but a directory.
    pub(super) fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (old_directory, old) = self.place(from)?;
        let (directory, name) = self.place(to)?;
        clear(&directory, name)?;
        let flags = AtFlags::empty();
        Ok(rustix::fs::linkat(
            &old_directory,
            old,
            &directory,
            name,
            flags,
        )?)
    }

    /// Gives a directory what it is to have.
    pub(super) fn finish_directory(&self, path: &Path, wanted: &Attributes) -> io::Result<()> {
        let handle = self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        apply(handle, wanted)
    }

    /// Gives what is neither file nor directory its owner, its mode and its time. A
    /// symbolic link has no mode.
    pub(super) fn finish_other(&self, path: &Path, wanted: &Attributes) -> io::Result<()> {
        let (directory, name) = self.place(path)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if let Some((uid, gid)) = wanted.owner {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            let owned = rustix::fs::chownat(&directory, name, Some(uid), Some(gid), flags);
            forgive_ordinary_users(owned)?;
        }
        let kind = FileType::from_raw_mode(rustix::fs::statat(&directory, name, flags)?.st_mode);
        if let Some(mode) = wanted.mode.filter(|_| !kind.is_symlink()) {
            let mode = Mode::from_raw_mode(mode);
            rustix::fs::chmodat(&directory, name, mode, AtFlags::empty())?;
        }
        if let Some(time) = wanted.modified {
            rustix::fs::utimensat(&directory, name, &times(time), flags)?;
        }
        Ok(())
    }
}

/// A file that is being written.
pub(super) struct Part {
    directory: OwnedFd,
    pub(super) file: File,
    part: OsString,
    name: OsString,
}

impl Part {
    /// Gives the file what it is to have, its name last.
    pub(super) fn publish(self, wanted: &Attributes) -> io::Result<()> {
        let published = apply(&self.file, wanted).and_then(|()| {
            let (at, part) = (&self.directory, &self.part);
            Ok(rustix::fs::renameat(at, part, at, &self.name)?)
        });
        if published.is_err() {
            self.discard();
        }
        published
    }

    /// Removes it.
    pub(super) fn discard(self) {
        // What failed before is reported.
        let _ = rustix::fs::unlinkat(&self.directory, &self.part, AtFlags::empty());
    }
}

/// Removes anything but a directory.
fn clear(directory: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        cleared => cleared,
    }
}

/// Owner before mode: a change of owner takes bits away. Capabilities and lists of
/// rights come after both, times last.
fn apply(file: impl AsFd, wanted: &Attributes) -> io::Result<()> {
    let file = file.as_fd();
    let mut is_owned = true;
    if let Some((uid, gid)) = wanted.owner {
        let owned = rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        is_owned = owned.is_ok();
        forgive_ordinary_users(owned)?;
    }
    if let Some(mode) = wanted.mode {
        // Nobody runs programs as who did not write them.
        let mode = match is_owned {
            true => mode,
            false => mode & 0o1777,
        };
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
    }
    for (name, value) in &wanted.xattrs {
        let set = rustix::fs::fsetxattr(file, name, value, XattrFlags::empty());
        // Other filesystems know other ones.
        if !matches!(set, Err(Errno::OPNOTSUPP)) {
            forgive_ordinary_users(set)?;
        }
    }
    if let Some(time) = wanted.modified {
        rustix::fs::futimens(file, &times(time))?;
    }
    Ok(())
}

/// Who is not root can't give files away, nor set what only root may.
fn forgive_ordinary_users(done: Result<(), Errno>) -> Result<(), Errno> {
    match done {
        Err(Errno::PERM) if !rustix::process::geteuid().is_root() => Ok(()),
        done => done,
    }
}

fn times((seconds, nanoseconds): (i64, i64)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
