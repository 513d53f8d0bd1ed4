//! The directory that files from a server are written into, or a tree that is
//! sent. Every way in it is resolved by the kernel beneath one handle and
//! through no link, so no name a server sends, and no link that somebody
//! planted, leads out of it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Uid,
};
use rustix::io::Errno;

use super::keep::local::{apply, times};
use super::requests::{PART_SUFFIX, directory, is_part, last, part_name};
use crate::client::error::{ClientError, Result};
use crate::client::extension::Attributes;

const OPEN_DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

const THROUGH_NO_LINK: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// The permission bits of new files, before the umask.
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

/// Those of a part whose file's mode is known: nobody else reads it before it has
/// that.
const NARROW_FILE: Mode = Mode::from_raw_mode(0o600);

/// The permission bits of new directories, before the umask, and of those that get
/// theirs at the end.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o777);
const NARROW_DIRECTORY: Mode = Mode::from_raw_mode(0o700);

/// A directory that is written into, or read from.
pub(super) struct Target {
    handle: Arc<OwnedFd>,
    path: PathBuf,
    /// The directory that was opened last: files come sorted.
    last: Mutex<Option<(Vec<u8>, Arc<OwnedFd>)>>,
}

impl Target {
    /// The directory at a path, which may lead through links: the user named
    /// it.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(path: &Path) -> Result<Target> {
        let here = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let handle = rustix::fs::open(here, OPEN_DIRECTORY, Mode::empty())
            .map_err(|e| ClientError::local(here, e.into()))?;
        Ok(Target {
            handle: Arc::new(handle),
            path: path.to_owned(),
            last: Mutex::new(None),
        })
    }

    /// A directory in it, made as [`Target::make_directory`] does, and whether it was.
    ///
    /// # Errors
    /// The system's; a link in its place is one.
    pub(super) fn beneath(&self, relative: &[u8], narrow: bool) -> Result<(Target, bool)> {
        let made = self.make_directory(relative, narrow)?;
        let handle = enter(&self.handle, OsStr::from_bytes(relative));
        let handle = Arc::new(handle.map_err(|e| self.error(relative, e))?);
        let target = Target {
            handle,
            path: self.path_of(relative),
            last: Mutex::new(None),
        };
        Ok((target, made))
    }

    /// The path of something in it, for people.
    pub(super) fn path_of(&self, relative: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(relative))
    }

    /// Makes a directory, and those on its way, as narrow as a part if its mode comes
    /// later; one that exists is fine. Whether it made one.
    ///
    /// # Errors
    /// The system's; a link on the way is one.
    pub(super) fn make_directory(&self, relative: &[u8], narrow: bool) -> Result<bool> {
        let mode = if narrow {
            NARROW_DIRECTORY
        } else {
            DIRECTORY_MODE
        };
        let mut made = false;
        let error = |e: Errno| self.error(relative, e);
        let mut at = Arc::clone(&self.handle);
        for name in relative
            .split(|c| *c == b'/')
            .filter(|name| !name.is_empty())
        {
            let name = OsStr::from_bytes(name);
            made = match rustix::fs::mkdirat(&at, name, mode) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(e) => return Err(error(e)),
            };
            at = Arc::new(enter(&at, name).map_err(error)?);
        }
        Ok(made)
    }

    /// Gives a directory, or with an empty path this one, what it is to have.
    ///
    /// # Errors
    /// The system's; a link on the way or in its place is one.
    pub(super) fn set_attributes(&self, relative: &[u8], attributes: &Attributes) -> Result<()> {
        let way = match relative {
            b"" => OsStr::new("."),
            relative => OsStr::from_bytes(relative),
        };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat2(&self.handle, way, flags, Mode::empty(), THROUGH_NO_LINK)
            .and_then(|file| apply(file, attributes))
            .map_err(|e| self.error(relative, e))
    }

    /// The directory an entry lies in.
    ///
    /// # Errors
    /// The system's; a link on the way is one.
    fn directory_of(&self, relative: &[u8]) -> Result<Arc<OwnedFd>> {
        let parent = directory(relative);
        if parent.is_empty() {
            return Ok(Arc::clone(&self.handle));
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((path, handle)) = &*last
            && path == parent
        {
            return Ok(Arc::clone(handle));
        }
        let opened = enter(&self.handle, OsStr::from_bytes(parent));
        let handle = Arc::new(opened.map_err(|e| self.error(parent, e))?);
        *last = Some((parent.to_vec(), Arc::clone(&handle)));
        Ok(handle)
    }

    /// Lets a file have another name, too, or that name alone where there are no
    /// links. It replaces what has that name.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn keep_under(&self, relative: &[u8], backup: &[u8]) -> Result<()> {
        let (from, to) = (self.directory_of(relative)?, self.directory_of(backup)?);
        let (old, kept) = (
            OsStr::from_bytes(last(relative)),
            OsStr::from_bytes(last(backup)),
        );
        match rustix::fs::unlinkat(&to, kept, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(self.error(backup, e)),
        }
        let linked = rustix::fs::linkat(&from, old, &to, kept, AtFlags::empty());
        linked
            .or_else(|_| rustix::fs::renameat(&from, old, &to, kept))
            .map_err(|e| self.error(backup, e))
    }

    /// Opens a file for reading, without waiting for a pipe's writer.
    ///
    /// # Errors
    /// The system's; a link on the way or in its place is one.
    pub(super) fn open_to_read(&self, relative: &[u8]) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let way = OsStr::from_bytes(relative);
        let file = rustix::fs::openat2(&self.handle, way, flags, Mode::empty(), THROUGH_NO_LINK);
        file.map(File::from).map_err(|e| self.error(relative, e))
    }

    /// Makes a symbolic link, which replaces what has the name unless that is a
    /// directory.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn make_link(
        &self,
        relative: &[u8],
        leads_to: &[u8],
        wanted: &Attributes,
    ) -> Result<()> {
        let leads_to = OsStr::from_bytes(leads_to);
        self.replace(relative, |directory, part| {
            rustix::fs::symlinkat(leads_to, directory, part)?;
            if let Some((uid, gid)) = wanted.owner {
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                let itself = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::chownat(directory, part, Some(uid), Some(gid), itself)?;
            }
            wanted.modified.map_or(Ok(()), |time| {
                let itself = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::utimensat(directory, part, &times(time), itself)
            })
        })
    }

    /// Makes one more name for a file of this tree, in the same way.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn make_name(&self, relative: &[u8], file: &[u8]) -> Result<()> {
        let from = self.directory_of(file)?;
        let name = OsStr::from_bytes(last(file));
        self.replace(relative, |directory, part| {
            rustix::fs::linkat(&from, name, directory, part, AtFlags::empty())
        })
    }

    /// Makes an entry next to a name, and lets it take the name.
    fn replace(
        &self,
        relative: &[u8],
        make: impl Fn(&OwnedFd, &OsStr) -> rustix::io::Result<()>,
    ) -> Result<()> {
        let error = |e| self.error(relative, e);
        let directory = self.directory_of(relative)?;
        let part = part_name(&[relative], b"link");
        let (part, to) = (OsStr::from_bytes(&part), OsStr::from_bytes(last(relative)));
        let remove = || rustix::fs::unlinkat(&directory, part, AtFlags::empty());
        let made = match make(&directory, part) {
            // An earlier try left it.
            Err(Errno::EXIST) => remove().and_then(|()| make(&directory, part)),
            made => made,
        };
        let placed = made.and_then(|()| rustix::fs::renameat(&directory, part, &directory, to));
        // Two names of one file don't replace each other.
        let _ = remove();
        placed.map_err(error)
    }

    /// Deletes a file or link, or an empty directory.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn delete(&self, relative: &[u8], is_directory: bool) -> Result<()> {
        let directory = self.directory_of(relative)?;
        let flags = if is_directory {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        rustix::fs::unlinkat(directory, OsStr::from_bytes(last(relative)), flags)
            .map_err(|e| self.error(relative, e))
    }

    /// Begins an empty part next to an entry. Only its owner reads it if its mode
    /// comes later; else it has that of the file it replaces, from its first byte on.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new_part(&self, relative: &[u8], name: &[u8], narrow: bool) -> Result<Part> {
        let mode = if narrow { NARROW_FILE } else { FILE_MODE };
        let directory = self.directory_of(relative)?;
        let name = OsStr::from_bytes(name);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let make = || rustix::fs::openat(&directory, name, flags, mode);
        let made = match make() {
            // An earlier try left it.
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(&directory, name, AtFlags::empty()).and_then(|()| make())
            }
            made => made,
        };
        let file = made.map_err(|e| self.error(relative, e))?;
        let part = self.part(directory, relative, name.as_bytes(), file);
        if let Err(e) = part.look_at_old(!narrow) {
            part.remove();
            return Err(e);
        }
        Ok(part)
    }

    fn part(&self, directory: Arc<OwnedFd>, relative: &[u8], name: &[u8], file: OwnedFd) -> Part {
        Part {
            directory,
            name: name.to_vec(),
            target: last(relative).to_vec(),
            path: self.path_of(relative),
            file: file.into(),
        }
    }

    /// Removes the parts of other versions of a file: those whose names begin
    /// as `any` does, up to its ending, but for `one`.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn remove_parts_but(&self, relative: &[u8], any: &[u8], one: &[u8]) -> Result<()> {
        let directory = self.directory_of(relative)?;
        let error = |e: Errno| self.error(relative, e);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = rustix::fs::openat(&directory, ".", flags, Mode::empty()).map_err(error)?;
        let begin = any.strip_suffix(PART_SUFFIX).unwrap_or(any);
        for entry in rustix::fs::Dir::new(readable).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = entry.file_name().to_bytes();
            if name.starts_with(begin) && name != one && is_part(name) {
                let flags = AtFlags::empty();
                rustix::fs::unlinkat(&directory, OsStr::from_bytes(name), flags).map_err(error)?;
            }
        }
        Ok(())
    }

    /// The part that an earlier try left, or a new one, locked.
    ///
    /// # Errors
    /// The system's, or that another process works on it.
    pub(super) fn resumed_part(&self, relative: &[u8], name: &[u8], narrow: bool) -> Result<Part> {
        let directory = self.directory_of(relative)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&directory, OsStr::from_bytes(name), flags, Mode::empty());
        let mut part = match opened {
            Ok(file) if is_ours(&file) => self.part(directory, relative, name, file),
            _ => self.new_part(relative, name, narrow)?,
        };
        if let Err(e) = rustix::fs::flock(&part.file, FlockOperation::NonBlockingLockExclusive) {
            part.name.clear();
            return Err(match e {
                Errno::WOULDBLOCK => {
                    let busy = io::Error::other("another tf is receiving this file");
                    ClientError::local(&part.path, busy)
                }
                e => self.error(relative, e),
            });
        }
        Ok(part)
    }

    fn error(&self, relative: &[u8], e: Errno) -> ClientError {
        let path = self.path_of(relative);
        match e {
            Errno::LOOP | Errno::XDEV => ClientError::local(
                &path,
                io::Error::other("a symbolic link is in the way, and none is followed here"),
            ),
            e => ClientError::local(&path, e.into()),
        }
    }
}

/// Opens a directory beneath another, through no link.
fn enter(at: &OwnedFd, relative: &OsStr) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::openat2(at, relative, OPEN_DIRECTORY, Mode::empty(), THROUGH_NO_LINK)
}

/// Whether this is a plain file of ours that no other name leads to.
fn is_ours(file: &OwnedFd) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode).is_file()
            && stat.st_nlink == 1
            && stat.st_uid == rustix::process::geteuid().as_raw()
    })
}

/// A file on its way to its place.
pub(super) struct Part {
    directory: Arc<OwnedFd>,
    name: Vec<u8>,
    /// The name it will have.
    target: Vec<u8>,
    /// The path it will have, for people.
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl Drop for Part {
    /// A program that was started since may hold the file open for a moment
    /// longer, and the lock with it.
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

impl Part {
    /// Looks at what has the name, and takes an old file's permissions if it is to
    /// have them.
    ///
    /// # Errors
    /// The system's, or that the name is neither a file's nor a link's: a
    /// reader of a pipe or a user of a device would lose it.
    fn look_at_old(&self, take_mode: bool) -> Result<()> {
        let target = OsStr::from_bytes(&self.target);
        let Ok(old) = rustix::fs::statat(&self.directory, target, AtFlags::SYMLINK_NOFOLLOW) else {
            return Ok(());
        };
        match FileType::from_raw_mode(old.st_mode) {
            FileType::RegularFile if take_mode => {
                let mode = Mode::from_raw_mode(old.st_mode & 0o777);
                rustix::fs::fchmod(&self.file, mode).map_err(|e| self.error(e.into()))
            }
            FileType::RegularFile | FileType::Symlink => Ok(()),
            FileType::Directory => {
                Err(self.error(io::Error::other("a directory of this name is there")))
            }
            _ => Err(self.error(io::Error::other(
                "a pipe, socket or device has this name: write - for standard output",
            ))),
        }
    }

    /// Gives it what its file is to have.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn set_attributes(&self, attributes: &Attributes) -> Result<()> {
        apply(&self.file, attributes).map_err(|e| self.error(e.into()))
    }

    /// Puts its bytes on disk.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| self.error(e))
    }

    /// Puts all that was written to the file system on disk.
    pub(super) fn sync_file_system(&self) -> Result<()> {
        rustix::fs::syncfs(&self.file).map_err(|e| self.error(e.into()))
    }

    /// The file system it is on.
    pub(super) fn device(&self) -> Option<u64> {
        rustix::fs::fstat(&self.file).ok().map(|stat| stat.st_dev)
    }

    /// Lets it take its place.
    ///
    /// # Errors
    /// The system's; the part is gone then.
    pub(super) fn publish(self) -> Result<()> {
        let (from, to) = self.names();
        let renamed = rustix::fs::renameat(&self.directory, from, &self.directory, to);
        self.published(renamed)
    }

    /// Lets it take its place unless something has it already.
    ///
    /// # Errors
    /// The system's, such as `AlreadyExists`; the part is gone then.
    pub(super) fn publish_new(self) -> Result<()> {
        let ((from, to), at) = (self.names(), &self.directory);
        match rustix::fs::renameat_with(at, from, at, to, RenameFlags::NOREPLACE) {
            // A file system that can't do it: the part's own name goes later.
            Err(Errno::INVAL | Errno::NOSYS) => {
                let linked = rustix::fs::linkat(at, from, at, to, AtFlags::empty());
                let linked = linked.map_err(|e| self.error(e.into()));
                self.remove();
                linked
            }
            renamed => self.published(renamed),
        }
    }

    fn names(&self) -> (&OsStr, &OsStr) {
        (
            OsStr::from_bytes(&self.name),
            OsStr::from_bytes(&self.target),
        )
    }

    fn published(self, renamed: rustix::io::Result<()>) -> Result<()> {
        renamed.map_err(|e| {
            let error = self.error(e.into());
            self.remove();
            error
        })
    }

    /// Removes it.
    pub(super) fn remove(self) {
        // What can't be removed is found and replaced by the next try.
        let name = OsStr::from_bytes(&self.name);
        let _ = rustix::fs::unlinkat(&self.directory, name, AtFlags::empty());
    }

    pub(super) fn error(&self, e: io::Error) -> ClientError {
        ClientError::local(&self.path, e)
    }
}
