//! A file that arrives whole: readers see the old one or the new one, never
//! a part; a writer that dies leaves the old one as it was.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Access, AtFlags, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::behind::WriteBehind;
use super::inherit::{copy_attributes, inherit, take_group};
use super::part::{PartFile, Taken, is_directory, is_file, is_link};
use super::path::RootPath;
use super::quota::{Quota, Reservation};
use super::root::{Entry, Root, while_stale};
use crate::sys::number::size;

/// The bits of a mode that a file keeps when it is replaced.
const PERMISSIONS: u32 = 0o777;

/// The mode of a file that only its owner may open.
const PRIVATE: u32 = 0o600;

/// The bits of any mode, and those that depend on the group.
const ALL_BITS: u32 = 0o7777;
const GROUP_BITS: u32 = 0o2070;

/// The bytes of a block that may be a hole.
const BLOCK: usize = 4096;

/// An upload in progress.
#[derive(Debug)]
pub struct Upload {
    part: PartFile,
    target: Entry,
    replace: bool,
    /// The only file that may be replaced.
    only: Option<Stat>,
    placeholder: Option<Placeholder>,
    length: u64,
    behind: WriteBehind,
    quota: Quota,
    taken: Reservation,
}

/// An empty file that has the name until the upload is whole. Removed when
/// dropped, if it still is there.
#[derive(Debug)]
struct Placeholder {
    entry: Entry,
    /// Kept open, so that no other file gets its number.
    file: OwnedFd,
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        let (directory, name) = (&self.entry.directory, self.entry.name());
        if let Ok(made) = rustix::fs::fstat(&self.file)
            && made.st_size == 0
        {
            let _ = Quota::none().unlink_exactly(directory, name, &made);
        }
    }
}

/// A file of which what arrives is to stay.
#[derive(Clone, Copy, Debug)]
pub struct Lasting<'a> {
    /// Who alone finds it again.
    pub account: &'a [u8],
    /// The length of the file.
    pub length: u64,
    /// Whether it is to begin without what has arrived.
    pub afresh: bool,
}

/// Why an upload can't begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// The name is a directory's.
    #[error("a directory")]
    Directory,
    /// The name exists and may not be replaced.
    #[error("exists")]
    Exists,
    /// The name is that of a device, pipe or socket.
    #[error("not a regular file")]
    Special,
    /// The system's error.
    #[error(transparent)]
    System(#[from] Errno),
}

impl Upload {
    /// Begins a file at `path`. If the path ends in a link, the link is kept and
    /// the file appears where it leads. With `replace` an old file is replaced,
    /// provided this process may write it, and the new one has its permission bits,
    /// group, access list and attributes.
    ///
    /// # Errors
    /// Why not. Nothing has changed then.
    pub fn begin(
        root: &Root,
        path: &RootPath,
        replace: bool,
        mode: u32,
        quota: Quota,
    ) -> Result<Upload, UploadError> {
        let target = target_of(root, path, replace, Root::final_entry)?;
        Upload::begin_in(target, (replace, mode), quota, PartFile::create)
    }

    /// As [`Upload::begin`], but a link in the last place is itself replaced.
    ///
    /// # Errors
    /// As [`Upload::begin`].
    pub fn begin_in_place(
        root: &Root,
        path: &RootPath,
        replace: bool,
        mode: u32,
        quota: Quota,
    ) -> Result<Upload, UploadError> {
        let target = target_of(root, path, replace, Root::entry)?;
        Upload::begin_in(target, (replace, mode), quota, PartFile::create)
    }

    /// As [`Upload::begin`], for a file of this length of which what has arrived
    /// stays with [`Upload::leave`], and is here again if the same account begins
    /// the same file again; with `afresh` it is thrown away. While another process
    /// does so, nothing stays of this one.
    ///
    /// # Errors
    /// Why not. Nothing has changed then, except what had arrived.
    pub fn begin_lasting(
        root: &Root,
        path: &RootPath,
        (replace, mode): (bool, u32),
        quota: Quota,
        lasting: &Lasting<'_>,
    ) -> Result<Upload, UploadError> {
        let make = |target: &Entry, mode| {
            let part = PartFile::lasting(target, mode, lasting.account);
            part.map_or_else(|| PartFile::create(target, mode), Ok)
        };
        let target = target_of(root, path, replace, Root::final_entry)?;
        let mut upload = Upload::begin_in(target, (replace, mode), quota, make)?;
        let has = size(rustix::fs::fstat(upload.part())?.st_size);
        // Its space was taken when it was begun.
        upload.taken.adopt(has);
        if has == lasting.length && !lasting.afresh {
            upload.length = has;
        } else {
            rustix::fs::ftruncate(upload.part(), 0)?;
            upload.taken.become_bytes(0);
            upload.extend_to(lasting.length)?;
        }
        Ok(upload)
    }

    fn begin_in(
        target: Entry,
        (replace, mode): (bool, u32),
        quota: Quota,
        make: impl FnOnce(&Entry, u32) -> Result<PartFile, Errno>,
    ) -> Result<Upload, UploadError> {
        let old = open_old(&target, replace)?;
        let part = make(&target, if old.is_some() { PRIVATE } else { mode })?;
        let upload = Upload::of(part, target, replace, quota)?;
        if let Some(old) = old {
            let stat = rustix::fs::fstat(&old)?;
            inherit(old.as_fd(), &stat, upload.part(), PERMISSIONS)?;
        }
        Ok(upload)
    }

    /// As [`Upload::begin_in_place`], but until [`Upload::set_mode`] nobody else may
    /// open it, and of an old file it has the group alone; with `attributes` also those of
    /// users. Also returns the bits of a mode that it may get: none for the group, if
    /// that can't be the old one's.
    ///
    /// # Errors
    /// As [`Upload::begin`].
    pub fn begin_private(
        root: &Root,
        path: &RootPath,
        (replace, attributes): (bool, bool),
        quota: Quota,
    ) -> Result<(Upload, u32), UploadError> {
        let target = target_of(root, path, replace, Root::entry)?;
        let old = open_old(&target, replace)?;
        let part = PartFile::create(&target, PRIVATE)?;
        let upload = Upload::of(part, target, replace, quota)?;
        let Some(old) = old else {
            return Ok((upload, ALL_BITS));
        };
        if attributes {
            copy_attributes(old.as_fd(), upload.part());
        }
        let has_group = take_group(&rustix::fs::fstat(&old)?, upload.part())?;
        Ok((upload, if has_group { ALL_BITS } else { !GROUP_BITS }))
    }

    fn of(
        part: PartFile,
        target: Entry,
        replace: bool,
        quota: Quota,
    ) -> Result<Upload, UploadError> {
        let taken = quota.reserve(0)?;
        let behind = WriteBehind::new(0, false);
        Ok(Upload {
            part,
            target,
            replace,
            only: None,
            placeholder: None,
            length: 0,
            behind,
            quota,
            taken,
        })
    }

    /// As [`Upload::begin`], but a name that is free is taken at once by an empty
    /// file.
    ///
    /// # Errors
    /// Why not. Nothing has changed then.
    pub fn begin_with_name(
        root: &Root,
        path: &RootPath,
        replace: bool,
        mode: u32,
        quota: Quota,
    ) -> Result<Upload, UploadError> {
        let placeholder = Placeholder::make(root, path, mode)?;
        let may_replace = replace || placeholder.is_some();
        let upload = Upload::begin(root, path, may_replace, mode, quota)?;
        let only = match &placeholder {
            Some(placeholder) if !replace => Some(rustix::fs::fstat(&placeholder.file)?),
            _ => None,
        };
        Ok(Upload {
            only,
            placeholder,
            ..upload
        })
    }

    /// Lets it replace this file only.
    pub fn replacing_only(self, file: Stat) -> Upload {
        let only = Some(file);
        Upload { only, ..self }
    }

    /// Starts writing to disk early, if the bytes must be there at the end.
    pub fn with_write_behind(mut self, wanted: bool) -> Upload {
        self.behind = WriteBehind::new(0, wanted);
        self
    }

    /// Appends data. All of it is stored, or an error comes back.
    pub fn write(&mut self, mut data: &[u8]) -> Result<(), Errno> {
        self.taken.grow(data.len() as u64)?;
        while !data.is_empty() {
            match rustix::io::pwrite(self.part.file(), data, self.length) {
                Ok(0) => return Err(Errno::IO),
                Ok(n) => {
                    self.length += n as u64;
                    data = &data[n..];
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        self.behind.wrote(self.part.file(), self.length);
        Ok(())
    }

    /// As [`Upload::write`], but blocks of zeros become holes.
    pub fn write_sparse(&mut self, mut data: &[u8]) -> Result<(), Errno> {
        while !data.is_empty() {
            let blocks = || {
                data.chunks(BLOCK)
                    .map(|block| block.iter().all(|c| *c == 0))
            };
            let is_hole = blocks().next() == Some(true);
            let count = blocks().take_while(|other| *other == is_hole).count();
            let (now, later) = data.split_at(data.len().min(count * BLOCK));
            if is_hole {
                self.extend_to(self.length + now.len() as u64)?;
            } else {
                self.write(now)?;
            }
            data = later;
        }
        Ok(())
    }

    /// Takes the space for a file of this length and extends the part to it, for
    /// several writers at their own offsets of [`Upload::part`]: behind what is
    /// written so far.
    ///
    /// # Errors
    /// `EDQUOT` where it passes a limit, else the system's.
    pub fn extend_to(&mut self, length: u64) -> Result<(), Errno> {
        self.taken.grow(length.saturating_sub(self.length))?;
        rustix::fs::ftruncate(self.part.file(), length)?;
        self.length = length;
        Ok(())
    }

    /// Gives it these permissions, whatever an old file has.
    ///
    /// # Errors
    /// The system's.
    pub fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        rustix::fs::fchmod(self.part.file(), Mode::from_raw_mode(mode & PERMISSIONS))
    }

    /// Gives it these times of access and change, in seconds since the epoch.
    /// Nothing may be written behind that.
    ///
    /// # Errors
    /// The system's.
    pub fn set_times(&self, accessed: u32, modified: u32) -> Result<(), Errno> {
        let time = |seconds: u32| Timespec {
            tv_sec: seconds.into(),
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time(accessed),
            last_modification: time(modified),
        };
        rustix::fs::futimens(self.part.file(), &times)
    }

    /// The part, which is locked.
    pub fn part(&self) -> BorrowedFd<'_> {
        self.part.file()
    }

    /// The file that has the name now.
    ///
    /// # Errors
    /// The system's; `ENOENT` if there is none.
    pub fn old(&self) -> Result<Stat, Errno> {
        self.target.stat()
    }

    /// Ends it, and leaves what has arrived of a lasting one.
    pub fn leave(self) {
        if self.part.leave() {
            self.taken.keep();
        }
    }

    /// Lets the file appear. With `sync`, bytes and name are on disk first.
    ///
    /// # Errors
    /// `EEXIST` or `ESTALE` when a file of that name was made during the upload
    /// and may not be replaced, else the system's. The old file is then unchanged.
    pub fn commit(self, sync: bool) -> Result<(), Errno> {
        let on = match &self.only {
            Some(only) => Taken::ReplaceExactly(&self.quota, only),
            None if self.replace => Taken::Replace(&self.quota),
            None => Taken::Refuse,
        };
        self.part.publish(self.target.name(), on, sync)?;
        drop(self.placeholder);
        self.taken.keep();
        Ok(())
    }
}

impl Placeholder {
    /// Takes the name of a path, unless it is taken.
    fn make(root: &Root, path: &RootPath, mode: u32) -> Result<Option<Placeholder>, Errno> {
        if path.names_directory() {
            return Ok(None);
        }
        let entry = root.final_entry(path)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        match rustix::fs::openat(&entry.directory, entry.name(), flags, mode) {
            Ok(file) => Ok(Some(Placeholder { entry, file })),
            Err(Errno::EXIST) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// Where a file of this path appears.
fn target_of(
    root: &Root,
    path: &RootPath,
    replace: bool,
    entry: impl Fn(&Root, &RootPath) -> Result<Entry, Errno>,
) -> Result<Entry, UploadError> {
    if path.is_root() || path.names_directory() {
        return Err(if replace {
            UploadError::Directory
        } else {
            UploadError::Exists
        });
    }
    Ok(entry(root, path)?)
}

/// Opens the old file of an entry, which may be replaced. A link gives nothing to
/// the file that takes its place.
fn open_old(target: &Entry, replace: bool) -> Result<Option<OwnedFd>, UploadError> {
    let stat = match target.stat() {
        Err(Errno::NOENT) => return Ok(None),
        stat => stat?,
    };
    if !replace {
        return Err(UploadError::Exists);
    }
    if is_directory(&stat) {
        return Err(UploadError::Directory);
    }
    if is_link(&stat) {
        return Ok(None);
    }
    if !is_file(&stat) {
        return Err(UploadError::Special);
    }
    let flags = AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW;
    let (directory, name) = (&target.directory, target.name());
    while_stale(|| rustix::fs::accessat(directory, name, Access::WRITE_OK, flags))?;
    let open = |flags| {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        while_stale(|| rustix::fs::openat(directory, name, flags, Mode::empty()))
    };
    let opened = open(OFlags::RDONLY).or_else(|_| open(OFlags::WRONLY));
    Ok(Some(opened?))
}

#[cfg(test)]
mod tests;
