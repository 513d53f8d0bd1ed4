//! Locks on files that clients take for themselves (version 2.5, NETLOCK,
//! XS1_LOCK): each is a `flock` on a descriptor of its own, so it holds between
//! sessions, and on a shared directory between servers, and the holder's other
//! commands leave it alone. A lock binds those who ask for one, and nobody else.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, Stat};
use rustix::io::Errno;

use crate::store::read::{ReadError, open_file};
use crate::store::upload::Upload;
use crate::store::{Root, RootPath};
use crate::tf::request::word;
use crate::tf::wire::{Result, Wire, WireError};

/// The most locks by NETLOCK of one session.
const SLOTS: usize = 8;

/// How often to look whether a path still leads to the file that was locked.
const TRIES: usize = 8;

/// How long commands wait that lock a file for themselves.
const BRIEFLY: Duration = Duration::from_secs(5);

/// The pauses between two tries: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Whose a lock of the session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// NETLOCK's of this number.
    Slot(usize),
    /// An open file's of XS1.
    File(usize),
}

/// Device and inode.
type FileId = (u64, u64);

/// A locked file, released when dropped, unless the session keeps it.
#[derive(Debug)]
pub(crate) struct Locked {
    file: OwnedFd,
    id: FileId,
}

impl Locked {
    /// The file.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[derive(Debug)]
struct Held {
    locked: Locked,
    holders: Vec<Holder>,
}

/// The locks of a session.
#[derive(Debug, Default)]
pub struct Locks {
    held: Vec<Held>,
    /// How long the client may be silent while it holds a slot.
    limits: [Option<Duration>; SLOTS],
}

/// How waiting for a lock ended.
#[derive(Debug)]
pub(crate) enum Waited {
    /// The file is locked.
    Got(Locked),
    /// Another session has the lock.
    Busy,
    /// The client sends END: it wants no reply.
    Ended,
    /// The file can't be opened.
    Failed(ReadError),
}

impl Locks {
    /// The lowest free slot.
    pub(crate) fn free_slot(&self) -> Option<usize> {
        self.limits.iter().position(Option::is_none)
    }

    /// How long the client may be silent, if it holds a slot.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.limits.iter().flatten().min().copied()
    }

    /// Keeps a lock for a slot, whose client may be silent for so long.
    pub(crate) fn keep_slot(&mut self, slot: usize, locked: Locked, limit: Duration) {
        self.limits[slot] = Some(limit);
        self.keep(Holder::Slot(slot), locked);
    }

    /// Releases a slot; whether it was in use.
    pub(crate) fn release_slot(&mut self, slot: usize) -> bool {
        self.limits
            .get_mut(slot)
            .is_some_and(|limit| limit.take().is_some())
            && self.release(Holder::Slot(slot))
    }

    /// Keeps a lock for a holder. A file that the session has locked already has
    /// several holders.
    pub(crate) fn keep(&mut self, holder: Holder, locked: Locked) {
        match self
            .held
            .iter_mut()
            .find(|held| held.locked.id == locked.id)
        {
            Some(held) if held.holders.contains(&holder) => {}
            Some(held) => held.holders.push(holder),
            None => self.held.push(Held {
                locked,
                holders: vec![holder],
            }),
        }
    }

    /// Releases what a holder has; whether it had anything. A file is free with
    /// its last holder.
    pub(crate) fn release(&mut self, holder: Holder) -> bool {
        let Some(at) = self
            .held
            .iter()
            .position(|held| held.holders.contains(&holder))
        else {
            return false;
        };
        self.held[at].holders.retain(|other| *other != holder);
        if self.held[at].holders.is_empty() {
            let held = self.held.swap_remove(at);
            // The open file of XS1 shares the lock, and stays open.
            let _ = rustix::fs::flock(held.locked.file, FlockOperation::Unlock);
        }
        true
    }

    /// Publishes an upload. The lock of a file that it replaces goes over to the
    /// new one, which is locked before it appears.
    ///
    /// # Errors
    /// As [`Upload::commit`]. The locks are as they were then.
    pub(crate) fn publish(&mut self, upload: Upload, sync: bool) -> std::result::Result<(), Errno> {
        let old = upload.old().ok().map(|old| id(&old));
        let held = self
            .held
            .iter_mut()
            .find(|held| Some(held.locked.id) == old);
        let Some(held) = held else {
            return upload.commit(sync);
        };
        let file = rustix::io::fcntl_dupfd_cloexec(upload.part(), 0)?;
        let id = id(&rustix::fs::fstat(&file)?);
        upload.commit(sync)?;
        held.locked = Locked { file, id };
        Ok(())
    }

    /// Waits for the lock of a file that another session has for a moment.
    ///
    /// # Errors
    /// When the connection can't go on.
    pub(crate) fn lock_briefly(
        &self,
        wire: &mut Wire,
        (root, path): (&Root, &RootPath),
        flags: OFlags,
    ) -> Result<Waited> {
        self.wait(wire, Some(BRIEFLY), || self.try_path(root, path, flags))
    }

    /// Tries until the file is locked, for at most so long, or for ever.
    /// Meanwhile the client may end the session.
    ///
    /// # Errors
    /// When the connection can't go on; `TimedOut` when the time of another lock
    /// of the session is over.
    pub(crate) fn wait(
        &self,
        wire: &mut Wire,
        patience: Option<Duration>,
        mut attempt: impl FnMut() -> std::result::Result<Option<Locked>, ReadError>,
    ) -> Result<Waited> {
        let begin = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            match attempt() {
                Ok(None) => {}
                Ok(Some(locked)) => return Ok(Waited::Got(locked)),
                Err(e) => return Ok(Waited::Failed(e)),
            }
            let waited = begin.elapsed();
            if patience.is_some_and(|patience| waited >= patience) {
                return Ok(Waited::Busy);
            }
            if self.limit().is_some_and(|limit| waited >= limit) {
                return Err(WireError::TimedOut);
            }
            wire.flush()?;
            if wire
                .look_at_request()?
                .is_some_and(|body| word(body) == b"END")
            {
                return Ok(Waited::Ended);
            }
            wire.wait_beside(None, Some(Instant::now() + pause))?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Locks the file that a path leads to, for this session alone if it is open
    /// for writing; `None` while another session has it.
    ///
    /// # Errors
    /// Why it can't be opened.
    pub(crate) fn try_path(
        &self,
        root: &Root,
        path: &RootPath,
        flags: OFlags,
    ) -> std::result::Result<Option<Locked>, ReadError> {
        let operation = if flags.contains(OFlags::RDWR) {
            FlockOperation::NonBlockingLockExclusive
        } else {
            FlockOperation::NonBlockingLockShared
        };
        for _ in 0..TRIES {
            let (file, stat) = open_file(root, path, flags)?;
            let Some(locked) = self.try_file(file, &stat, operation)? else {
                return Ok(None);
            };
            // Another session may have replaced it before it was locked.
            if root.stat(path).is_ok_and(|now| id(&now) == locked.id) {
                return Ok(Some(locked));
            }
        }
        Ok(None)
    }

    /// Locks an open file, unless the session has done so.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn try_file(
        &self,
        file: OwnedFd,
        stat: &Stat,
        operation: FlockOperation,
    ) -> std::result::Result<Option<Locked>, Errno> {
        let id = id(stat);
        if !self.held.iter().any(|held| held.locked.id == id) {
            match rustix::fs::flock(&file, operation) {
                Err(Errno::WOULDBLOCK) => return Ok(None),
                locked => locked?,
            }
        }
        Ok(Some(Locked { file, id }))
    }
}

fn id(stat: &Stat) -> FileId {
    (stat.st_dev, stat.st_ino)
}
