//! One entry of the list while it is watched: the names that wait to be told,
//! and when its directory has to be looked at again. A scan takes up a batch
//! of names; what comes meanwhile is appended, so that no file costs a scan.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::events::Events;
use super::list::Listed;
use super::told::Told;
use crate::store::path::is_hidden;
use crate::store::{Root, RootPath};

/// The most names that wait at once.
const BATCH: usize = 256;

/// How long a directory that gives no events is scanned until it is asked for
/// them again.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// A directory being watched for names that begin with a token.
pub(super) struct Watch {
    index: usize,
    listed: Listed,
    names: VecDeque<Vec<u8>>,
    /// Whether the directory may hold names beside these.
    more: bool,
    /// When the client may be told the next name.
    rests_until: Instant,
    /// When to look at the directory again; `None` while events tell.
    look_at: Option<Instant>,
    /// When to ask for events again.
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

    /// Looks at the directory, if it is time: has its events told, or where
    /// that can't be, has it scanned and looked at again after `pause`.
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
                log::debug!("scanned path={} reason=\"{e}\"", self.listed.path);
            }
        }
    }

    /// Has the directory looked at again, and asked for events.
    pub(super) fn doubt(&mut self) {
        let now = Instant::now();
        self.look_at = Some(now);
        self.ask_at = now;
    }

    /// Takes note of a name that has appeared.
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

    /// The moment at which there may be something to do; `None` while only an
    /// event can change that.
    pub(super) fn due(&self) -> Option<Instant> {
        let waits = !self.names.is_empty() || self.more;
        let tell_at = waits.then_some(self.rests_until);
        tell_at.into_iter().chain(self.look_at).min()
    }

    /// The file to tell now. Names that no longer stand for one are dropped.
    pub(super) fn next(&mut self, root: &Root, pause: Duration) -> Option<Told> {
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
        if let Some(told) = self.first(&directory) {
            return Some(told);
        }
        if std::mem::take(&mut self.more) && self.scan(&directory).is_err() {
            self.look_at.get_or_insert(now + pause);
        }
        self.first(&directory)
    }

    fn first(&mut self, directory: &OwnedFd) -> Option<Told> {
        while let Some(name) = self.names.front() {
            let told = Told::find(directory, name);
            if told.is_some() {
                return told;
            }
            self.names.pop_front();
        }
        None
    }

    /// Takes up a batch of names; none is waiting.
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
        name.starts_with(&self.listed.token) && !is_hidden(name)
    }

    /// The file told last is gone: the next may follow at once.
    pub(super) fn drop_told(&mut self) {
        self.names.pop_front();
    }

    /// The file told last stays: at this time the next is told, and this one
    /// when it is its turn again, so that it holds up no other.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_are_taken_up_batch_after_batch() {
        let dir = tempfile::tempdir().expect("directory");
        let root = Root::open(dir.path()).expect("root");
        fs::create_dir_all(dir.path().join("d/x-directory")).expect("mkdir");
        symlink("..", dir.path().join("d/x-link")).expect("link");
        let path = RootPath::parse(b"d").expect("path");
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
            let told = watch.next(&root, pause).expect("a file");
            assert!(watch.names.len() <= BATCH);
            let name = String::from_utf8(told.name).expect("text");
            fs::remove_file(dir.path().join("d").join(name)).expect("remove");
            watch.drop_told();
        }
        assert!(watch.next(&root, pause).is_none() && !watch.more);
    }
}
