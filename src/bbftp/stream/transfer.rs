//! The streams of a transfer: their threads, what these have in common, and
//! their end.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};

use super::connection::Connection;
use super::{Result, StreamError, gzip, plain};
use crate::net::Link;
use crate::net::link::Pace;

/// The message that ends a stream, by the receiver: code 4, length 0.
const ACK: [u8; 8] = [0, 0, 0, 4, 0, 0, 0, 0];

/// The stack of a stream's thread, which has its buffers elsewhere.
pub(super) const STACK: usize = 256 * 1024;

/// Bytes of a file that go out with one call.
const PIECE: usize = 1 << 20;

/// The longest range whose records the kernel makes, which can't change its
/// key.
const MOST_BY_KERNEL: u64 = 128 << 30;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the file to the peer.
    Send,
    /// From the peer to the file.
    Receive,
}

/// How a range is on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    Plain,
    /// In chunks of zlib, each of at most so many bytes before and after.
    Gzip(usize),
}

/// What a transfer is about.
#[derive(Clone, Debug)]
pub struct Job {
    /// The file, open for reading or writing.
    pub file: Arc<File>,
    /// Which way.
    pub direction: Direction,
    /// How.
    pub coding: Coding,
    /// How long a stream may make no progress.
    pub idle: Duration,
    /// How long the receiver may take to acknowledge a whole range.
    pub ack: Duration,
    /// The rate that all streams share.
    pub pace: Option<Pace>,
    /// Whether what is received goes to disk at once.
    pub write_behind: bool,
}

/// Streams under way. Readable, as a descriptor, once all have ended.
#[derive(Debug)]
pub struct Streams {
    common: Arc<Common>,
    threads: Vec<JoinHandle<()>>,
    ended: PipeReader,
}

/// What the threads of a transfer have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) job: Job,
    pub(super) streams: usize,
    moved: AtomicU64,
    failure: Mutex<Option<StreamError>>,
    /// Readable once all streams are to end, which is when the other end is gone.
    ending: PipeReader,
    end: Mutex<Option<PipeWriter>>,
}

impl Streams {
    /// Starts a stream for each of these connections, with its range. Both
    /// have the order of the streams.
    ///
    /// # Errors
    /// The system's. What was started has ended then.
    pub fn start(job: Job, streams: Vec<(Link, Range<u64>)>) -> io::Result<Streams> {
        let (ended, running) = io::pipe()?;
        let (ending, end) = io::pipe()?;
        let mut started = Streams {
            common: Arc::new(Common {
                job,
                streams: streams.len(),
                moved: AtomicU64::new(0),
                failure: Mutex::new(None),
                ending,
                end: Mutex::new(Some(end)),
            }),
            threads: Vec::new(),
            ended,
        };
        // Signals are for the thread that waits.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let spawned = streams
            .into_iter()
            .try_for_each(|stream| started.spawn(stream, running.try_clone()?));
        mask.thread_set_mask()?;
        spawned.map(|()| started)
    }

    fn spawn(&mut self, (link, range): (Link, Range<u64>), running: PipeWriter) -> io::Result<()> {
        let common = Arc::clone(&self.common);
        let thread = Builder::new().stack_size(STACK).spawn(move || {
            if let Err(e) = common.run(link, range) {
                common.end(e);
            }
            drop(running);
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Bytes of the file that were moved so far.
    pub fn moved(&self) -> u64 {
        self.common.moved.load(Ordering::Relaxed)
    }

    /// Ends all streams.
    pub fn abort(&self) {
        self.common.end(StreamError::Aborted);
    }

    /// Waits until all have ended: the bytes moved.
    ///
    /// # Errors
    /// Why the first that failed did.
    pub fn finish(mut self) -> Result<u64> {
        self.join();
        let mut failure = self.common.failure();
        failure.take().map_or_else(|| Ok(self.moved()), Err)
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.common.end(StreamError::Aborted);
            }
        }
    }
}

impl AsFd for Streams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.abort();
            self.join();
        }
    }
}

impl Common {
    /// Moves a range over its connection, and closes that.
    fn run(&self, mut link: Link, range: Range<u64>) -> Result<()> {
        link.set_pace(self.job.pace.clone());
        link.expect_transfers();
        let is_short = range.end - range.start <= MOST_BY_KERNEL;
        if self.job.direction == Direction::Send && self.job.pace.is_none() && is_short {
            link.let_kernel_seal();
        }
        let mut connection = Connection::new(link, self)?;
        match (self.job.direction, self.job.coding) {
            (Direction::Send, Coding::Plain) => plain::send(self, &mut connection, range)?,
            (Direction::Send, Coding::Gzip(most)) => {
                gzip::send(self, &mut connection, range, most)?;
            }
            (Direction::Receive, Coding::Plain) => {
                plain::Receiver::new(self, range).receive(&mut connection)?;
            }
            (Direction::Receive, Coding::Gzip(most)) => {
                gzip::receive(self, &mut connection, range, most)?;
            }
        }
        match self.job.direction {
            Direction::Send => self.await_ack(&mut connection)?,
            Direction::Receive => acknowledge(&mut connection)?,
        }
        connection.link().close();
        Ok(())
    }

    fn await_ack(&self, connection: &mut Connection<'_>) -> Result<()> {
        connection.set_idle_limit(self.job.ack);
        let mut answer = [0; ACK.len()];
        connection.read_exact(&mut answer)?;
        if answer[..4] == ACK[..4] {
            Ok(())
        } else {
            Err(StreamError::NotAcknowledged)
        }
    }

    /// Readable once all streams are to end.
    pub(super) fn ending(&self) -> &PipeReader {
        &self.ending
    }

    /// Counts bytes of the file.
    pub(super) fn moved(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How many bytes to move at once, so that none waits long for its rate.
    pub(super) fn piece(&self) -> usize {
        let pace = self.job.pace.as_ref();
        pace.map_or(PIECE, |pace| pace.piece().min(PIECE))
    }

    /// Ends all streams, for this reason if it is the first.
    fn end(&self, why: StreamError) {
        self.failure().get_or_insert(why);
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn failure(&self) -> MutexGuard<'_, Option<StreamError>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Acknowledges a whole range.
fn acknowledge(connection: &mut Connection<'_>) -> Result<()> {
    let link = connection.link();
    if link.has_input() && link.read(&mut [0]).is_ok() {
        return Err(StreamError::TooMany);
    }
    connection.write(&ACK)
}
