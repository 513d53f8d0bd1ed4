//! The slow lane: one thread that reads files, for checksums that the hub asks for, and
//! all of them once a month against their names. It knows no path and no key.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use super::message::{Done, Job, Work};
use crate::holder::checksum::{self, Hasher};
use crate::holder::store::catalog::Filed;
use crate::hub::wire::Checksum;
use crate::ipc::Pipe;

/// The most checksums that wait.
const MOST: usize = 32;

/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;

/// The longest pause between two pieces that nobody waits for.
const PAUSE: Duration = Duration::from_millis(200);

/// A file that waits for the thread.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Which.
    pub file: Filed,
    /// What is wanted.
    pub work: Work,
}

impl super::Stock {
    /// Queues a checksum; whether there is room for it.
    pub(super) fn queue(&mut self, waiting: Waiting) -> bool {
        let has_room = self.slow.len() < MOST;
        if has_room {
            self.slow.push_back(waiting);
        }
        has_room
    }
}

/// Starts the thread; what jobs are sent on.
pub(super) fn start() -> io::Result<Pipe<Job, Done>> {
    let (ours, theirs): (Pipe<Job, Done>, Pipe<Done, Job>) = crate::ipc::pipe::pair()?;
    let name = "slow".to_owned();
    thread::Builder::new().name(name).spawn(move || {
        while let Ok(Some(Job { file, size, work })) = theirs.receive() {
            let found = work_on(&File::from(file), size, work);
            if let Err(e) = &found {
                log::error!(error:% = e; "file not read");
            }
            let found = found.ok();
            if theirs.send(&Done { work, found }).is_err() {
                return;
            }
        }
    })?;
    Ok(ours)
}

fn work_on(file: &File, size: u64, work: Work) -> io::Result<Checksum> {
    match work {
        Work::Checksum { key, .. } => checksum::of(file, size, &key),
        Work::Name => name_of(file, size),
    }
}

/// The SHA-256 of a file. It leaves the disk to others half of the time.
fn name_of(file: &File, size: u64) -> io::Result<Checksum> {
    let mut hasher = Hasher::default();
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < size {
        let begin = Instant::now();
        let len = checksum::at_most(size - at, PIECE);
        file.read_exact_at(&mut piece[..len], at)?;
        hasher.update(&piece[..len]);
        at += len as u64;
        thread::sleep(begin.elapsed().min(PAUSE));
    }
    Ok(Checksum(hasher.finish().0))
}
