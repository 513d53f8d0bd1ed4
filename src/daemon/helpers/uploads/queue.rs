//! The jobs of `on_upload` on disk: a file for each, so that they survive every
//! restart. A job appears whole, by a rename, and goes when it is done.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RawDir};

use crate::ipc::codec::{Decode, Encode, codec};

/// What the names of jobs end in: those that wait, those being written, and those
/// that were given up.
const JOB: &str = ".job";
const NEW: &str = ".new";
const FAILED: &str = ".failed";

/// The longest job, in bytes.
const MAX_JOB: u64 = 64 * 1024;

/// The pauses before a job is tried again: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// How often a job is tried.
pub(super) const TRIES: u32 = 20;

/// A file that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// Where it is, from the configuration's root.
    pub(super) path: Vec<u8>,
    /// The same from the root of the client.
    pub(super) client_path: Vec<u8>,
    pub(super) account: String,
    pub(super) protocol: String,
    pub(super) peer: String,
}

codec!(struct Job { path, client_path, account, protocol, peer });

/// A job that waits: its name, and how often it was tried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Waiting {
    due: Instant,
    pub(super) name: String,
    pub(super) tried: u32,
}

/// The directory with the jobs, and the order in which they are due.
#[derive(Debug)]
pub(super) struct Queue {
    directory: OwnedFd,
    waiting: BTreeSet<Waiting>,
    /// The time in the name of the last job.
    last: u128,
    /// Whether a job must be on disk before its upload is acknowledged.
    sync: bool,
}

impl Queue {
    /// Opens it, with the jobs that are there: once no other process has it.
    pub(super) fn open(directory: OwnedFd, sync: bool) -> io::Result<Queue> {
        rustix::fs::flock(&directory, FlockOperation::LockExclusive)?;
        let mut queue = Queue {
            directory,
            waiting: BTreeSet::new(),
            last: 0,
            sync,
        };
        let mut names = queue.names()?;
        names.sort_unstable();
        for name in names {
            if name.ends_with(NEW) {
                queue.remove(&name)?;
            } else if name.ends_with(JOB) {
                queue.wait(name, 0, Duration::ZERO);
            }
        }
        Ok(queue)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut buffer = Vec::with_capacity(32 * 1024);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let again = rustix::fs::openat(&self.directory, ".", flags, Mode::empty())?;
        let mut entries = RawDir::new(again, buffer.spare_capacity_mut());
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            names.extend(entry?.file_name().to_str().map(str::to_owned));
        }
        Ok(names)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When the next is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.first().map(|first| first.due)
    }

    /// Takes the next that is due, for the time that it is being worked on.
    pub(super) fn take(&mut self) -> Option<Waiting> {
        let is_due = self.due().is_some_and(|due| due <= Instant::now());
        is_due.then(|| self.waiting.pop_first()).flatten()
    }

    /// Adds a job.
    pub(super) fn add(&mut self, job: &Job) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.last = now.map_or(0, |now| now.as_nanos()).max(self.last + 1);
        let (new, name) = (
            format!("{:020}{NEW}", self.last),
            format!("{:020}{JOB}", self.last),
        );
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&self.directory, &new, flags, mode)?;
        let written = File::from(file.try_clone()?).write_all(&job.to_bytes());
        let written = written.and_then(|()| {
            if self.sync {
                rustix::fs::fsync(&file)?;
            }
            rustix::fs::renameat(&self.directory, &new, &self.directory, &name)?;
            if self.sync {
                rustix::fs::fsync(&self.directory)?;
            }
            Ok(())
        });
        if let Err(e) = written {
            let _ = self.remove(&new);
            return Err(e);
        }
        self.wait(name, 0, Duration::ZERO);
        Ok(())
    }

    fn wait(&mut self, name: String, tried: u32, pause: Duration) {
        let due = Instant::now() + pause;
        self.waiting.insert(Waiting { due, name, tried });
    }

    /// What a job is; `None` for a file that is none.
    pub(super) fn read(&self, name: &str) -> io::Result<Option<Job>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, name, flags, Mode::empty())?;
        let mut bytes = Vec::new();
        File::from(file).take(MAX_JOB).read_to_end(&mut bytes)?;
        Ok(Job::from_bytes(&bytes))
    }

    /// Removes a job that is done, or of no more use.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        let name = OsStr::from_bytes(name.as_bytes());
        Ok(rustix::fs::unlinkat(
            &self.directory,
            name,
            AtFlags::empty(),
        )?)
    }

    /// Has a job tried again, and returns when; `None` if it is given up: its file
    /// stays, and another try begins when it gets its name back.
    pub(super) fn again(&mut self, waiting: Waiting) -> io::Result<Option<Duration>> {
        let tried = waiting.tried + 1;
        if tried >= TRIES {
            self.give_up(&waiting.name)?;
            return Ok(None);
        }
        let doublings = waiting.tried.min(12);
        let pause = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
        self.wait(waiting.name, tried, pause);
        Ok(Some(pause))
    }

    /// Puts a job aside.
    pub(super) fn give_up(&self, name: &str) -> io::Result<()> {
        let aside = name.replace(JOB, FAILED);
        let directory = self.directory.as_fd();
        Ok(rustix::fs::renameat(directory, name, directory, aside)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(path: &[u8]) -> Job {
        Job {
            path: path.to_vec(),
            client_path: path.to_vec(),
            account: "ann".to_owned(),
            protocol: "tf".to_owned(),
            peer: "127.0.0.1:7".to_owned(),
        }
    }

    fn open(dir: &tempfile::TempDir) -> Queue {
        let directory = File::open(dir.path()).expect("directory");
        Queue::open(directory.into(), true).expect("queue")
    }

    #[test]
    fn jobs_survive_in_their_order_and_go_when_they_are_done() {
        let dir = tempfile::tempdir().expect("directory");
        let mut queue = open(&dir);
        for path in [&b"a\nb"[..], b"\xff", b"c"] {
            queue.add(&job(path)).expect("add");
        }
        std::fs::write(dir.path().join("7.new"), "half").expect("write");
        std::fs::write(dir.path().join("00000000000000000001.job"), "no job").expect("write");
        drop(queue);
        let mut queue = open(&dir);
        assert_eq!(queue.len(), 4);
        let mut read = Vec::new();
        while let Some(waiting) = queue.take() {
            read.push(queue.read(&waiting.name).expect("read"));
            queue.remove(&waiting.name).expect("remove");
        }
        let paths = [&b"a\nb"[..], b"\xff", b"c"].map(|path| Some(job(path)));
        assert_eq!(read[0], None);
        assert_eq!(read[1..], paths);
        assert_eq!(std::fs::read_dir(dir.path()).expect("names").count(), 0);
    }

    #[test]
    fn a_job_that_fails_is_tried_later_each_time_and_given_up_in_the_end() {
        let dir = tempfile::tempdir().expect("directory");
        let mut queue = open(&dir);
        queue.add(&job(b"a")).expect("add");
        let mut waiting = queue.take().expect("job");
        let mut pauses = Vec::new();
        while let Some(pause) = queue.again(waiting).expect("again") {
            pauses.push(pause.as_secs());
            assert!(queue.take().is_none(), "not yet");
            waiting = queue.waiting.pop_first().expect("job");
        }
        assert_eq!(pauses.len(), TRIES as usize - 1);
        assert_eq!(pauses[..4], [1, 2, 4, 8]);
        assert_eq!(pauses.last(), Some(&3600));
        let left = std::fs::read_dir(dir.path()).expect("names").next();
        let left = left.expect("a file").expect("entry").file_name();
        assert!(left.to_string_lossy().ends_with(".failed"), "{left:?}");
    }
}
