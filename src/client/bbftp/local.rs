//! Files here: those that are sent, and those that arrive, which appear whole
//! or not at all.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FlockOperation, OFlags, Timespec, Timestamps, flock, utimensat};
use sha2::{Digest, Sha256};

use super::error::{
    CHMOD, CREATE, DIRECTORY, Error, Fate, MKDIR, NEEDS_DIRECTORY, NO_DIRECTORY, NOT_WRITABLE,
    OPEN, RENAME, Result, STAT, TIMES, WRITE,
};
use crate::bbftp::wire::{Options, Transfer};
use crate::text::{hex, shown};

/// The permissions that a file gets here from the server's: never more.
const MODE: u32 = 0o777;

/// A file that is sent.
pub(super) struct Source {
    pub(super) file: Arc<File>,
    pub(super) size: u64,
    mode: u32,
    accessed: i64,
    modified: i64,
    /// What any change of it changes.
    version: Version,
}

/// Length, change of the content and of the inode, in seconds and nanoseconds.
type Version = (u64, (i64, i64), (i64, i64));

fn version(stat: &fs::Metadata) -> Version {
    let changed = (stat.mtime(), stat.mtime_nsec());
    (stat.len(), changed, (stat.ctime(), stat.ctime_nsec()))
}

impl Source {
    /// # Errors
    /// When it can't be read, or is a directory.
    pub(super) fn open(path: &Path) -> Result<Source> {
        let found = fs::metadata(path).map_err(|e| Error::local(STAT, "stating", path, &e))?;
        if found.is_dir() {
            let text = format!("File {} is a directory", shown(path.as_os_str().as_bytes()));
            return Err(Error::new(DIRECTORY, Fate::Final, text));
        }
        let opening = |e: io::Error| Error::local(OPEN, "opening", path, &e);
        let file = File::open(path).map_err(opening)?;
        let stat = file.metadata().map_err(opening)?;
        Ok(Source {
            size: stat.len(),
            mode: stat.mode() & 0o7777,
            accessed: stat.atime(),
            modified: stat.mtime(),
            version: version(&stat),
            file: Arc::new(file),
        })
    }

    /// Whether it is as it was when it was opened.
    pub(super) fn is_unchanged(&self) -> bool {
        let now = self.file.metadata();
        now.is_ok_and(|now| version(&now) == self.version)
    }

    /// What the server is to know of it.
    pub(super) fn describe(&self, transfer: Transfer) -> Transfer {
        let time = |time: i64| Some(u32::try_from(time.max(0)).unwrap_or(u32::MAX));
        Transfer {
            size: self.size,
            mode: self.mode,
            accessed: time(self.accessed),
            modified: time(self.modified),
            ..transfer
        }
    }
}

/// The SHA-256 of a file in digits.
pub(super) fn sha256(file: &File) -> io::Result<String> {
    use std::os::unix::fs::FileExt;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        match file.read_at(&mut buffer, at)? {
            0 => return Ok(hex(&digest.finalize())),
            n => {
                digest.update(&buffer[..n]);
                at += n as u64;
            }
        }
    }
}

/// A file that arrives. Unless it is settled, nothing of it stays.
pub(super) struct Landing {
    pub(super) file: Arc<File>,
    path: PathBuf,
    /// The name that it has until it is whole; none where it is written in place.
    temporary: Option<PathBuf>,
    /// Whether what is here stays, whatever comes.
    stays: Cell<bool>,
}

impl Landing {
    /// Makes the file, and with [`Options::DIR`] the directories above it.
    ///
    /// # Errors
    /// Why it can't be made.
    pub(super) fn create(path: &Path, options: Options) -> Result<Landing> {
        check_target(path)?;
        make_parents(path, options)?;
        let temporary = options.has(Options::TMP).then(|| temporary_name(path));
        let writing = temporary.as_deref().unwrap_or(path);
        let mut how = OpenOptions::new();
        how.read(true).write(true).mode(0o666);
        let opened = match temporary {
            Some(_) => {
                // One that a process of the same number has left.
                let _ = fs::remove_file(writing);
                how.create_new(true).open(writing)
            }
            None => how.create(true).truncate(true).open(writing),
        };
        let file = opened.map_err(|e| Error::local(CREATE, "creating", writing, &e))?;
        Ok(Landing {
            file: Arc::new(file),
            path: path.to_owned(),
            temporary,
            stays: Cell::new(false),
        })
    }

    /// Makes one of which all that arrives stays, so that it can be continued: its
    /// name has the size and the time of change that the server's file has.
    ///
    /// # Errors
    /// Why it can't be made.
    pub(super) fn begin(path: &Path, options: Options, transfer: &Transfer) -> Result<Landing> {
        let Some(modified) = transfer.modified.filter(|_| options.has(Options::TMP)) else {
            return Landing::create(path, options);
        };
        check_target(path)?;
        make_parents(path, options)?;
        let mut part = part_prefix(path);
        part.push(format!("{}.{modified:08x}", transfer.size));
        let begun = Landing::open_part(path, part.into(), true);
        begun.or_else(|_| Landing::create(path, options))
    }

    /// One that was begun earlier, with what was known of the server's file.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub(super) fn find(path: &Path, options: Options) -> Result<Option<(Landing, Transfer)>> {
        let prefix = part_prefix(path);
        let prefix = Path::new(&prefix).file_name().unwrap_or_default();
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let entries = match fs::read_dir(directory) {
            Ok(entries) if options.has(Options::TMP) => entries,
            _ => return Ok(None),
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let rest = name.as_bytes().strip_prefix(prefix.as_bytes());
            let Some((size, modified)) = rest.and_then(part_of) else {
                continue;
            };
            check_target(path)?;
            let was = Transfer {
                size,
                modified: Some(modified),
                ..Transfer::default()
            };
            let part = directory.join(name);
            return Ok(Landing::open_part(path, part, false)
                .ok()
                .map(|landing| (landing, was)));
        }
        Ok(None)
    }

    /// Opens a file that stays, unless another process is at it.
    fn open_part(path: &Path, part: PathBuf, is_new: bool) -> Result<Landing> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(is_new)
            .mode(0o666)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&part);
        let file = opened.map_err(|e| Error::local(CREATE, "creating", &part, &e))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|e| Error::local(CREATE, "locking", &part, &e.into()))?;
        if is_new {
            file.set_len(0)
                .map_err(|e| Error::local(WRITE, "writing", &part, &e))?;
        }
        Ok(Landing {
            file: Arc::new(file),
            path: path.to_owned(),
            temporary: Some(part),
            stays: Cell::new(true),
        })
    }

    /// Lets it go after all.
    pub(super) fn forget(&self) {
        self.stays.set(false);
    }

    /// Gives it its times, permissions and name.
    ///
    /// # Errors
    /// Which of these failed; the file is gone then.
    pub(super) fn settle(self, transfer: &Transfer, options: Options) -> Result<()> {
        let writing = self.temporary.as_deref().unwrap_or(&self.path);
        self.file
            .set_len(transfer.size)
            .map_err(|e| Error::local(WRITE, "writing", writing, &e))?;
        if options.has(Options::MODE) {
            let mode = fs::Permissions::from_mode(transfer.mode & MODE);
            self.file
                .set_permissions(mode)
                .map_err(|e| Error::local(CHMOD, "changing the mode of", writing, &e))?;
        }
        if options.has(Options::ACC)
            && let (Some(accessed), Some(modified)) = (transfer.accessed, transfer.modified)
        {
            set_times(writing, accessed, modified)
                .map_err(|e| Error::local(TIMES, "setting the times of", writing, &e))?;
        }
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.path)
                .map_err(|e| Error::local(RENAME, "renaming", temporary, &e))?;
        }
        self.stays.set(true);
        Ok(())
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.stays.get() {
            let writing = self.temporary.as_deref().unwrap_or(&self.path);
            // It may be gone.
            let _ = fs::remove_file(writing);
        }
    }
}

fn set_times(path: &Path, accessed: u32, modified: u32) -> io::Result<()> {
    let time = |seconds: u32| Timespec {
        tv_sec: seconds.into(),
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time(accessed),
        last_modification: time(modified),
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// What is there already must be a file that its owner may write.
fn check_target(path: &Path) -> Result<()> {
    let refused = |code, why: &str| {
        let text = format!("File {} {why}", shown(path.as_os_str().as_bytes()));
        Err(Error::new(code, Fate::Final, text))
    };
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return refused(NOT_WRITABLE, "ends with a /");
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => refused(DIRECTORY, "is a directory"),
        Ok(found) if found.mode() & 0o200 == 0 => refused(NOT_WRITABLE, "is not writable"),
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            refused(NO_DIRECTORY, "is below something that is no directory")
        }
        Err(e) => Err(Error::local(STAT, "stating", path, &e)),
    }
}

fn make_parents(path: &Path, options: Options) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => return Ok(()),
    };
    if parent.is_dir() {
        return Ok(());
    }
    if !options.has(Options::DIR) {
        let name = shown(parent.as_os_str().as_bytes());
        let text = format!("Directory {name} is not there, and createdir is not set");
        return Err(Error::new(NEEDS_DIRECTORY, Fate::Final, text));
    }
    fs::create_dir_all(parent).map_err(|e| Error::local(MKDIR, "creating", parent, &e))
}

/// The name that a file has here until it is whole, as with the public client.
fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(temporary_suffix());
    name.into()
}

/// The beginning of the name of one that stays.
fn part_prefix(path: &Path) -> OsString {
    let mut name = path.as_os_str().to_owned();
    name.push(".bbftp.part.");
    name
}

/// Size and time of change in the rest of such a name.
fn part_of(rest: &[u8]) -> Option<(u64, u32)> {
    let (size, modified) = std::str::from_utf8(rest).ok()?.split_once('.')?;
    let modified = u32::from_str_radix(modified, 16).ok()?;
    Some((size.parse().ok()?, modified)).filter(|(size, _)| (1..=i64::MAX as u64).contains(size))
}

/// What is behind the name of a file that is not whole.
pub(super) fn temporary_suffix() -> OsString {
    let system = rustix::system::uname();
    let host = system.nodename().to_bytes();
    let host = &host[..host.len().min(63)];
    let process = std::process::id().to_string();
    let parts = [b".bbftp.tmp.", host, b".", process.as_bytes()];
    OsString::from_vec(parts.concat())
}
