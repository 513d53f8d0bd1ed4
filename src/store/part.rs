//! Part files: files in progress, next to the place where they will appear,
//! under a name that is hidden from clients. A part is locked while it is
//! written, so that a sweep can distinguish it from one whose writer has died.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::path::{PART_DIGITS, PART_PREFIX, PART_SUFFIX};
use super::quota::Quota;
use super::root::Entry;
use crate::text::hex;

/// How many names to try when they are taken.
const TRIES: usize = 8;

/// A new name for a part: unguessable, so that nobody can prepare it.
///
/// # Errors
/// `EIO` when the system has no random bytes.
pub fn part_name() -> Result<Vec<u8>, Errno> {
    let mut random = [0; PART_DIGITS / 2];
    getrandom::fill(&mut random).map_err(|_| Errno::IO)?;
    let digits = hex(&random);
    Ok([PART_PREFIX, digits.as_bytes(), PART_SUFFIX].concat())
}

/// What happens when a name is taken.
#[derive(Clone, Copy, Debug)]
pub enum Taken<'a> {
    /// The existing file stays, and the new one does not appear.
    Refuse,
    /// It is replaced, and its space given back.
    Replace(&'a Quota),
    /// The same if it is this file; another one stays.
    ReplaceExactly(&'a Quota, &'a Stat),
}

/// A file in progress for an entry. Removed when dropped without
/// [`PartFile::publish`].
#[derive(Debug)]
pub struct PartFile {
    file: OwnedFd,
    directory: OwnedFd,
    name: Vec<u8>,
    published: bool,
}

impl PartFile {
    /// Makes an empty part in the directory of `target`, with this mode after
    /// the umask.
    pub fn create(target: &Entry, mode: u32) -> Result<PartFile, Errno> {
        let directory = rustix::io::fcntl_dupfd_cloexec(&target.directory, 0)?;
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..TRIES {
            let name = part_name()?;
            let mode = Mode::from_raw_mode(mode);
            match rustix::fs::openat(&directory, OsStr::from_bytes(&name), flags, mode) {
                Ok(file) if is_kept(&file)? => {
                    return Ok(PartFile {
                        file,
                        directory,
                        name,
                        published: false,
                    });
                }
                Ok(_) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e),
            }
        }
        Err(Errno::EXIST)
    }

    /// The file, for reading and writing.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Lets the file appear under its own name. With `sync`, file and name are
    /// on disk before this returns. The bytes of a file that replaces another are
    /// in any case: a disk that fails later must not take both.
    ///
    /// # Errors
    /// `EEXIST` when the name exists and may not be replaced, `ESTALE` when it is
    /// another file's, else the system's. The part is then removed.
    pub fn publish(mut self, target: &OsStr, on: Taken<'_>, sync: bool) -> Result<(), Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let has_bytes = |stat: Stat| stat.st_size > 0;
        let replaces = || rustix::fs::statat(&self.directory, target, flags).is_ok_and(has_bytes);
        if sync {
            rustix::fs::fsync(&self.file)?;
        } else if !matches!(on, Taken::Refuse) && replaces() {
            rustix::fs::fdatasync(&self.file)?;
        }
        let name = OsStr::from_bytes(&self.name);
        let directory = &self.directory;
        match on {
            Taken::Refuse => rename(directory, name, directory, target, RenameFlags::NOREPLACE)?,
            Taken::Replace(quota) => quota.replace(directory, name, directory, target)?,
            Taken::ReplaceExactly(quota, old) => {
                quota.replace_exactly(directory.as_fd(), name, target, old)?;
            }
        }
        self.published = true;
        if sync {
            sync_directory(&self.directory)?;
        }
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.published {
            let name = OsStr::from_bytes(&self.name);
            if let Err(e) = rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
                log::debug!(name:% = self.name.escape_ascii(), error:% = e; "a part remains");
            }
        }
    }
}

/// Locks a new part; whether it is still there, and not a sweep's that found it
/// before it was locked.
fn is_kept(file: &OwnedFd) -> Result<bool, Errno> {
    // If files can't be locked, a sweep can't lock them either.
    let locked = rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive);
    Ok(locked != Err(Errno::WOULDBLOCK) && rustix::fs::fstat(file)?.st_nlink > 0)
}

/// Renames; refuses to replace if asked to. File systems without that
/// refusal get a hard link and an unlink, which refuse as well.
///
/// # Errors
/// The system's; `EEXIST` for a name that is taken.
pub fn rename(
    from_directory: impl AsFd,
    from: &OsStr,
    to_directory: impl AsFd,
    to: &OsStr,
    flags: RenameFlags,
) -> Result<(), Errno> {
    match rustix::fs::renameat_with(&from_directory, from, &to_directory, to, flags) {
        Err(Errno::INVAL | Errno::NOSYS) if flags.contains(RenameFlags::NOREPLACE) => {
            rustix::fs::linkat(&from_directory, from, &to_directory, to, AtFlags::empty())?;
            rustix::fs::unlinkat(&from_directory, from, AtFlags::empty())
        }
        other => other,
    }
}

/// Syncs the names of a directory to disk. `directory` may be a path handle.
pub fn sync_directory(directory: impl AsFd) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    rustix::fs::fsync(readable)
}

/// Whether this is a regular file.
pub fn is_file(stat: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file()
}

/// Whether this is a directory.
pub fn is_directory(stat: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir()
}
