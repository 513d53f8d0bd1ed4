//! Part files: files in progress, next to the place where they will appear,
//! under a name that is hidden from clients. A part is locked while it is
//! written, so that a sweep can distinguish it from one whose writer has died.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags, SeekFrom, Stat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::path::{LASTING_PREFIX, PART_DIGITS, PART_PREFIX, PART_SUFFIX};
use super::quota::Quota;
use super::root::Entry;
use crate::text::hex;

/// How many names to try when they are taken.
const TRIES: usize = 8;

/// How often, and how long each time, to wait for a lasting part whose writer may
/// just be about to end, and for a name that is just being given to another file.
const LOCK_TRIES: usize = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// File systems that take bytes for which they may have no room, and say so when the file
/// is closed: NFS and SMB (three kinds).
const LATE: [u32; 4] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42];

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

/// The name of the part that lasts for an account and a name in its directory.
fn lasting_name(account: &[u8], target: &[u8]) -> Vec<u8> {
    let mut digest = Sha256::new();
    for field in [&b"lasting part"[..], account, target] {
        digest.update((field.len() as u64).to_be_bytes());
        digest.update(field);
    }
    let digits = hex(&digest.finalize()[..PART_DIGITS / 2]);
    [LASTING_PREFIX, digits.as_bytes(), PART_SUFFIX].concat()
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
/// [`PartFile::publish`] or [`PartFile::leave`].
#[derive(Debug)]
pub struct PartFile {
    file: OwnedFd,
    directory: OwnedFd,
    name: Vec<u8>,
    lasts: bool,
    stays: bool,
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
                        lasts: false,
                        stays: false,
                    });
                }
                Ok(_) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e),
            }
        }
        Err(Errno::EXIST)
    }

    /// The part that lasts for this account and target: the one that an earlier
    /// upload has left, or an empty one. None while another process writes to it,
    /// and where it can't be made, or is somebody else's file.
    pub fn lasting(target: &Entry, mode: u32, account: &[u8]) -> Option<PartFile> {
        let directory = rustix::io::fcntl_dupfd_cloexec(&target.directory, 0).ok()?;
        let name = lasting_name(account, &target.name);
        let (path, mode) = (OsStr::from_bytes(&name), Mode::from_raw_mode(mode));
        let flags =
            OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        for _ in 0..LOCK_TRIES {
            let file = rustix::fs::openat(&directory, path, flags, mode).ok()?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if has_name(&file, &directory, path) => {
                    return is_own_file(&file).then_some(PartFile {
                        file,
                        directory,
                        name,
                        lasts: true,
                        stays: false,
                    });
                }
                // It has been published or swept before it was locked.
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
                Err(_) => return None,
            }
        }
        None
    }

    /// Leaves what has arrived in a lasting part to the next one of the same account
    /// and target; whether there is anything.
    pub fn leave(mut self) -> bool {
        self.stays = self.lasts && rustix::fs::seek(&self.file, SeekFrom::Data(0)).is_ok();
        self.stays
    }

    /// The file, for reading and writing.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Lets the file appear under its own name. With `sync`, file and name are
    /// on disk before this returns. The bytes of a file that replaces another are
    /// in any case: a disk that fails later must not take both. So are those on a file
    /// system that reports a full disk late.
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
        } else if reports_late(&self.file)? || !matches!(on, Taken::Refuse) && replaces() {
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
        self.stays = true;
        if sync {
            sync_directory(&self.directory)?;
        }
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.stays {
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

/// Whether a file still has this name.
fn has_name(file: &OwnedFd, directory: &OwnedFd, name: &OsStr) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let named = rustix::fs::statat(directory, name, flags);
    let id = |stat: Stat| (stat.st_dev, stat.st_ino);
    named.is_ok_and(|named| rustix::fs::fstat(file).map(id) == Ok(id(named)))
}

/// Whether this is a regular file of this process's user with one name.
fn is_own_file(file: &OwnedFd) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| {
        // Its owner alone may set the mode.
        let mode = Mode::from_raw_mode(stat.st_mode);
        is_file(&stat) && stat.st_nlink == 1 && rustix::fs::fchmod(file, mode).is_ok()
    })
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
    let again = || rustix::fs::renameat_with(&from_directory, from, &to_directory, to, flags);
    let mut renamed = again();
    for _ in 1..LOCK_TRIES {
        // NFS gives a file that is open here another name first; others wait for that.
        if renamed != Err(Errno::TXTBSY) {
            break;
        }
        std::thread::sleep(LOCK_PAUSE);
        renamed = again();
    }
    match renamed {
        Err(Errno::INVAL | Errno::NOSYS) if flags.contains(RenameFlags::NOREPLACE) => {
            rustix::fs::linkat(&from_directory, from, &to_directory, to, AtFlags::empty())?;
            rustix::fs::unlinkat(&from_directory, from, AtFlags::empty())
        }
        other => other,
    }
}

/// Whether the file system of a file reports late that it is full.
fn reports_late(file: &OwnedFd) -> Result<bool, Errno> {
    let kind = u32::try_from(rustix::fs::fstatfs(file)?.f_type);
    Ok(kind.is_ok_and(|kind| LATE.contains(&kind)))
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

/// Whether this is a symbolic link.
pub fn is_link(stat: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::path::is_lasting_part;
    use std::fs;
    use std::os::unix::fs::{FileExt, symlink};

    /// The entry `f` of a directory.
    fn entry(dir: &std::path::Path) -> Entry {
        Entry {
            directory: fs::File::open(dir).expect("open").into(),
            name: b"f".to_vec(),
        }
    }

    fn write(part: &PartFile, bytes: &[u8]) {
        let file = fs::File::from(part.file().try_clone_to_owned().expect("handle"));
        file.write_all_at(bytes, 0).expect("write");
    }

    #[test]
    fn what_is_left_in_a_lasting_part_is_there_for_its_account_and_target_alone() {
        let dir = tempfile::tempdir().expect("directory");
        let target = entry(dir.path());
        let lasting = |account: &str| PartFile::lasting(&target, 0o600, account.as_bytes());
        let size = |part: &PartFile| rustix::fs::fstat(part.file()).expect("stat").st_size;
        let part = lasting("ann").expect("part");
        write(&part, b"content");
        assert!(lasting("ann").is_none(), "it is being written");
        assert!(part.leave());
        let part = lasting("ann").expect("part");
        assert_eq!(size(&part), 7);
        assert_eq!(size(&lasting("bob").expect("part")), 0);
        let other = Entry {
            name: b"g".to_vec(),
            ..entry(dir.path())
        };
        let of_other = PartFile::lasting(&other, 0o600, b"ann").expect("part");
        assert_eq!(size(&of_other), 0);
        assert!(!of_other.leave(), "nothing has arrived");
        assert!(is_lasting_part(&part.name));
        part.publish(OsStr::new("f"), Taken::Refuse, false)
            .expect("publish");
        assert_eq!(size(&lasting("ann").expect("part")), 0);
        assert_eq!(fs::read_dir(dir.path()).expect("directory").count(), 1);
    }

    #[test]
    fn a_lasting_part_is_no_link_and_no_second_name_of_a_file() {
        let dir = tempfile::tempdir().expect("directory");
        let target = entry(dir.path());
        let name = lasting_name(b"ann", b"f");
        let part = dir.path().join(OsStr::from_bytes(&name));
        let theirs = dir.path().join("theirs");
        fs::write(&theirs, "theirs").expect("write");
        symlink("theirs", &part).expect("link");
        assert!(PartFile::lasting(&target, 0o600, b"ann").is_none());
        fs::remove_file(&part).expect("remove");
        fs::hard_link(&theirs, &part).expect("link");
        assert!(PartFile::lasting(&target, 0o600, b"ann").is_none());
        assert_eq!(fs::read(&theirs).expect("read"), b"theirs");
    }
}
