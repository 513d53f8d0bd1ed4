//! One entry of the list while it is watched: the names that wait to be
//! reported, and when to scan its directory again. A scan reads a batch of names;
//! files that arrive are appended, so that no file costs a scan.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Listed;
use super::events::Events;
use crate::store::{Root, RootPath};
use crate::tf::env::Env;
use crate::tf::env::POLICY;
use crate::users::Rights;

/// The most names that wait at once.
const BATCH: usize = 256;

/// How long to scan a directory without events before trying events again.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// A directory being watched for names that begin with a token.
pub(super) struct Watch {
    index: usize,
    listed: Listed,
    names: VecDeque<Vec<u8>>,
    /// Whether the directory may contain further names.
    more: bool,
    /// When the next name may be reported.
    rests_until: Instant,
    /// When to scan the directory again; `None` while it has events.
    look_at: Option<Instant>,
    /// When to try events again.
    ask_at: Instant,
}

impl Watch {
    pub(super) fn new(index: usize, listed: Listed) -> Watch {
        let now = Instant::now();
        let names = VecDeque::new();
        let look_at = Some(now);
        Watch {
            index,
            listed,
            names,
            more: false,
            rests_until: now,
            look_at,
            ask_at: now,
        }
    }

    pub(super) fn path(&self) -> &RootPath {
        &self.listed.path
    }

    /// Checks the directory, if it is time: turns on its events, or if that is
    /// impossible, has it scanned now and after each `pause`.
    pub(super) fn look(&mut self, events: &mut Events, root: &Root, pause: Duration) {
        let now = Instant::now();
        if self.look_at.is_none_or(|at| at > now) {
            return;
        }
        self.look_at = Some(now + pause);
        self.more = true;
        if self.ask_at > now {
            return;
        }
        match events.begin(self.index, root, &self.listed.path) {
            Ok(there) => {
                self.look_at = None;
                self.more = there;
            }
            Err(e) => {
                self.ask_at = now + ASK_AGAIN;
                log::debug!(path:% = self.listed.path, reason:% = e; "scanned");
            }
        }
    }

    /// Has the directory scanned again, and events tried again.
    pub(super) fn doubt(&mut self) {
        let now = Instant::now();
        self.look_at = Some(now);
        self.ask_at = now;
    }

    /// Adds a name that has appeared.
    pub(super) fn arrived(&mut self, name: &[u8]) {
        if !self.wants(name) {
            return;
        }
        if self.names.len() >= BATCH {
            self.more = true;
        } else if !self.names.iter().any(|known| known == name) {
            self.names.push_back(name.to_vec());
        }
    }

    /// When there may be something to do; `None` if only an event can bring it.
    pub(super) fn due(&self) -> Option<Instant> {
        let waits = !self.names.is_empty() || self.more;
        let report_at = waits.then_some(self.rests_until);
        report_at.into_iter().chain(self.look_at).min()
    }

    /// The file to report now. Names without a file are dropped.
    pub(super) fn next(&mut self, root: &Root, pause: Duration) -> Option<FoundFile> {
        let now = Instant::now();
        if self.rests_until > now || self.names.is_empty() && !self.more {
            return None;
        }
        let Ok(directory) = root.open_dir(&self.listed.path) else {
            self.names.clear();
            self.more = false;
            self.look_at.get_or_insert(now + pause);
            return None;
        };
        if let Some(file) = self.first(&directory) {
            return Some(file);
        }
        if std::mem::take(&mut self.more) && self.scan(&directory).is_err() {
            self.look_at.get_or_insert(now + pause);
        }
        self.first(&directory)
    }

    fn first(&mut self, directory: &OwnedFd) -> Option<FoundFile> {
        while let Some(name) = self.names.front() {
            let file = FoundFile::find(directory, name);
            if file.is_some() {
                return file;
            }
            self.names.pop_front();
        }
        None
    }

    /// Reads a batch of names; none is waiting.
    fn scan(&mut self, directory: &OwnedFd) -> Result<(), Errno> {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !self.wants(name) || is_other(directory, &entry) {
                continue;
            }
            if self.names.len() == BATCH {
                self.more = true;
                break;
            }
            self.names.push_back(name.to_vec());
        }
        Ok(())
    }

    fn wants(&self, name: &[u8]) -> bool {
        name.starts_with(&self.listed.token) && !POLICY.hides(name)
    }

    /// The file reported last was deleted: the next may follow at once.
    pub(super) fn drop_first(&mut self) {
        self.names.pop_front();
    }

    /// The file reported last stays: the next is reported at this time, and this
    /// one in its turn, so that it does not hold up others.
    pub(super) fn rest_until(&mut self, time: Instant) {
        if !self.names.is_empty() {
            self.names.rotate_left(1);
        }
        self.rests_until = time;
    }
}

/// Whether an entry is a directory or a link.
fn is_other(directory: &OwnedFd, entry: &rustix::fs::DirEntry) -> bool {
    let kind = match entry.file_type() {
        FileType::Unknown => {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::statat(directory, entry.file_name(), flags)
                .map_or(FileType::Unknown, |stat| {
                    FileType::from_raw_mode(stat.st_mode)
                })
        }
        kind => kind,
    };
    kind.is_dir() || kind.is_symlink()
}

/// A file to report: found just before, and deleted only if it still has its
/// name. The handle prevents its inode from being reused.
pub(super) struct FoundFile {
    pub(super) name: Vec<u8>,
    file: OwnedFd,
}

impl FoundFile {
    /// The entry of this name, if it exists and is neither a directory nor a link.
    pub(super) fn find(directory: &OwnedFd, name: &[u8]) -> Option<FoundFile> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, OsStr::from_bytes(name), flags, Mode::empty());
        let file = file.ok()?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file).ok()?.st_mode);
        let is_one = !kind.is_dir() && !kind.is_symlink();
        is_one.then(|| FoundFile {
            name: name.to_vec(),
            file,
        })
    }

    /// Deletes it from the directory it was found in.
    ///
    /// # Errors
    /// `EPERM` if the session may not delete, `ESTALE` if another file has its
    /// name now, else the system's.
    pub(super) fn delete(&self, env: &Env, path: &RootPath) -> Result<(), Errno> {
        if env.rights != Rights::Full {
            return Err(Errno::PERM);
        }
        let name = OsStr::from_bytes(&self.name);
        let directory = env.root.open_dir(path)?;
        env.quota
            .unlink_exactly(&directory, name, &rustix::fs::fstat(&self.file)?)?;
        env.settle(&directory).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Policy;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_are_taken_up_batch_after_batch() {
        let dir = tempfile::tempdir().expect("directory");
        let root = Root::open(dir.path()).expect("root");
        fs::create_dir_all(dir.path().join("d/x-directory")).expect("mkdir");
        symlink("..", dir.path().join("d/x-link")).expect("link");
        let path = RootPath::parse(b"d", &Policy::NONE).expect("path");
        let mut watch = Watch::new(
            0,
            Listed {
                token: b"x".to_vec(),
                path,
            },
        );
        let pause = Duration::from_millis(1);
        for number in 0..3 * BATCH {
            let name = format!("x{number}");
            fs::write(dir.path().join("d").join(&name), "").expect("write");
            if number < 2 * BATCH {
                watch.arrived(name.as_bytes());
            }
        }
        for _ in 0..3 * BATCH {
            let file = watch.next(&root, pause).expect("a file");
            assert!(watch.names.len() <= BATCH);
            let name = String::from_utf8(file.name).expect("text");
            fs::remove_file(dir.path().join("d").join(name)).expect("remove");
            watch.drop_first();
        }
        assert!(watch.next(&root, pause).is_none() && !watch.more);
    }
}
