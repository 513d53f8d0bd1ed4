//! The SHA-256 of a file while its bytes pass: of a short one from memory, of a
//! long one by a thread that reads behind the writer or the sender, from the
//! system's memory. Who passes the bytes does not wait for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::store::wanted;
use crate::sys::number::{at_most, size};
use crate::sys::process::spawn_beside;

/// A file with more bytes gets a thread.
const LONG: u64 = 1 << 20;

/// The bytes that the thread reads at once.
const BUFFER: usize = 256 * 1024;

/// The thread's stack, in bytes.
const STACK: usize = 64 * 1024;

/// How long to wait until the client is looked at.
const PAUSE: Duration = Duration::from_secs(1);

/// What shows that a file is the one that it was: its number, its size and the
/// times at which content and inode have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    file: (u64, u64),
    size: u64,
    changed: [(i64, u64); 2],
}

impl State {
    /// That of an open file now.
    ///
    /// # Errors
    /// The system's.
    pub fn of(file: impl AsFd) -> Result<State, Errno> {
        let stat = rustix::fs::fstat(file)?;
        Ok(State {
            file: (stat.st_dev, stat.st_ino),
            size: size(stat.st_size),
            changed: [
                (stat.st_mtime, stat.st_mtime_nsec),
                (stat.st_ctime, stat.st_ctime_nsec),
            ],
        })
    }
}

/// The bytes of a file as they pass, from the first one on.
#[derive(Debug)]
pub struct Passing {
    file: OwnedFd,
    before: State,
    /// The digest of what has passed, while that is short.
    begun: Option<Sha256>,
    follower: Option<Follower>,
}

impl Passing {
    /// For the digest of any file, which must be open for reading.
    ///
    /// # Errors
    /// The system's.
    pub fn of(file: BorrowedFd<'_>) -> Result<Passing, Errno> {
        let begun = Some(Sha256::new());
        let passing = Passing::of_long(file)?;
        Ok(Passing { begun, ..passing })
    }

    /// For that of a long one only.
    ///
    /// # Errors
    /// The system's.
    pub fn of_long(file: BorrowedFd<'_>) -> Result<Passing, Errno> {
        Ok(Passing {
            file: rustix::io::fcntl_dupfd_cloexec(file, 0)?,
            before: State::of(file)?,
            begun: None,
            follower: None,
        })
    }

    /// Whether [`Passing::passed`] needs the bytes themselves.
    pub fn needs_bytes(&self) -> bool {
        self.begun.is_some()
    }

    /// These bytes have passed, which end at this offset. What is for long files
    /// alone needs none.
    pub fn passed(&mut self, data: &[u8], end: u64) {
        if self.follower.is_none()
            && end > LONG
            && let Ok(follower) = Follower::start(&self.file)
        {
            (self.begun, self.follower) = (None, Some(follower));
        }
        match (&self.follower, &mut self.begun) {
            (Some(follower), _) => follower.reach(end),
            (None, Some(begun)) => begun.update(data),
            (None, None) => {}
        }
    }

    /// The digest of the whole file; waits for it.
    ///
    /// # Errors
    /// `ECANCELED` when nobody waits for it any more, else the system's.
    pub fn digest(self) -> Result<[u8; 32], Errno> {
        match (self.follower, self.begun) {
            (Some(follower), _) => {
                follower.end();
                follower.wait()
            }
            (None, Some(begun)) => Ok(begun.finalize().into()),
            (None, None) => Err(Errno::NODATA),
        }
    }

    /// Lets the digest of a long file be made, all of which has been written, and
    /// returns how the file is now; `None` for a short one.
    pub fn written(self) -> Option<(State, Follower)> {
        let follower = self.follower?;
        follower.end();
        Some((State::of(&self.file).ok()?, follower))
    }

    /// As [`Passing::written`], when all has been read; also `None` if the file has
    /// changed since the beginning.
    pub fn read(self) -> Option<(State, Follower)> {
        let before = self.before;
        self.written().filter(|(now, _)| *now == before)
    }
}

/// A thread that makes the digest of a file. It ends when this is dropped.
#[derive(Debug)]
pub struct Follower(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    /// How far the file may be read, and has bytes.
    end: u64,
    /// It may be read to its end.
    is_whole: bool,
    is_dropped: bool,
    digest: Option<Result<[u8; 32], Errno>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    fn start(file: &OwnedFd) -> io::Result<Follower> {
        let file = file.try_clone()?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        spawn_beside("tfd-digest", STACK, move || {
            let digest = follow(&file, &theirs);
            theirs.state().digest = Some(digest);
            theirs.changed.notify_all();
        })?;
        Ok(Follower(shared))
    }

    /// Lets it read up to this offset.
    fn reach(&self, end: u64) {
        self.0.state().end = end;
        self.0.changed.notify_all();
    }

    /// Lets it read to the end of the file.
    fn end(&self) {
        self.0.state().is_whole = true;
        self.0.changed.notify_all();
    }

    /// The digest, which is waited for.
    ///
    /// # Errors
    /// As [`Passing::digest`].
    pub fn wait(&self) -> Result<[u8; 32], Errno> {
        let mut state = self.0.state();
        loop {
            if let Some(digest) = state.digest {
                return digest;
            }
            let waited = self.0.changed.wait_timeout(state, PAUSE);
            let (next, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = next;
            if timeout.timed_out() {
                wanted::check()?;
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.state().is_dropped = true;
        self.0.changed.notify_all();
    }
}

/// Reads a file up to where it may, until it ends.
fn follow(file: &OwnedFd, shared: &Shared) -> Result<[u8; 32], Errno> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    let mut at = 0;
    loop {
        let mut state = shared.state();
        while state.end <= at && !state.is_whole && !state.is_dropped {
            let waited = shared.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_dropped {
            return Err(Errno::CANCELED);
        }
        let (end, is_whole) = (state.end, state.is_whole);
        drop(state);
        let room = if is_whole {
            BUFFER
        } else {
            at_most(end - at, BUFFER)
        };
        match rustix::io::pread(file, &mut buffer[..room], at) {
            Ok(0) if is_whole && at >= end => return Ok(digest.finalize().into()),
            // Somebody has cut it.
            Ok(0) => return Err(Errno::IO),
            Ok(len) => {
                digest.update(&buffer[..len]);
                at += len as u64;
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn digest_of(content: &[u8]) -> [u8; 32] {
        Sha256::digest(content).into()
    }

    #[test]
    fn a_digest_made_behind_the_writer_is_that_of_the_file() {
        for length in [0, 1, LONG as usize, LONG as usize + 1, 9_000_000] {
            let content: Vec<u8> = (0..length).map(|i| (i >> 5) as u8).collect();
            let mut file = tempfile::tempfile().expect("file");
            let mut passing = Passing::of(file.as_fd()).expect("passing");
            let mut long = Passing::of_long(file.as_fd()).expect("passing");
            let mut end = 0;
            for piece in content.chunks(300_000) {
                file.write_all(piece).expect("write");
                end += piece.len() as u64;
                passing.passed(piece, end);
                long.passed(&[], end);
            }
            assert_eq!(passing.digest(), Ok(digest_of(&content)), "{length}");
            let long = long.written().map(|(_, follower)| follower.wait());
            let expected = (end > LONG).then(|| Ok(digest_of(&content)));
            assert_eq!(long, expected, "{length}");
        }
    }

    #[test]
    fn a_file_that_is_cut_meanwhile_has_no_digest() {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(&[7; 3 << 20]).expect("write");
        let mut passing = Passing::of(file.as_fd()).expect("passing");
        file.set_len(1 << 20).expect("cut");
        passing.passed(&[], 3 << 20);
        assert_eq!(passing.digest(), Err(Errno::IO));
    }
}
