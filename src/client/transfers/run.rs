//! What all parts of one run of transfers share: the way to the server, the
//! options, the observer, the sum of what was done, and the lines: connections
//! that come back. A lost one is opened again after growing pauses, and the
//! work at hand begins again.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use super::local::Target;
use super::requests::{data_of, join, part_name, request};
use super::{Failure, Options, Summary};
use crate::client::access::Access;
use crate::client::cancel::notice_silence;
use crate::client::connect::Connection;
use crate::client::error::{ClientError, Result};
use crate::client::observe::{Event, Note, Observer, Operation};
use crate::client::transfer::BUFFER;
use crate::sys::number::at_most;
use crate::tf::env::POLICY;
use crate::tf::status::Status;
use crate::tf::wire::Pace;

/// The pauses before tries: the first, and the longest.
const FIRST_RETRY_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_RETRY_PAUSE: Duration = Duration::from_secs(30);

/// A link that is silent for longer, though it is probed, is dead.
pub(super) const SILENCE_TIMEOUT: Duration = Duration::from_secs(40);

/// A run of transfers.
pub(super) struct Run<'r> {
    pub(super) access: &'r Access,
    pub(super) options: &'r Options,
    observer: &'r dyn Observer,
    pub(super) pace: Option<Pace>,
    summary: Mutex<Summary>,
    next_file: AtomicUsize,
    direct: AtomicBool,
    lists_all: AtomicBool,
    spare: AtomicBool,
    /// Whether the observer knows that there are fewer lines than asked for.
    fewer: AtomicBool,
}

/// A file of a run, as it is reported.
#[derive(Clone, Debug)]
pub(super) struct Id {
    pub(super) number: usize,
    /// Its remote path.
    pub(super) name: Vec<u8>,
    /// What a mirror does with it, and its path there.
    pub(super) operation: Option<(Operation, Vec<u8>)>,
}

impl<'r> Run<'r> {
    pub(super) fn new(
        access: &'r Access,
        options: &'r Options,
        observer: &'r dyn Observer,
    ) -> Run<'r> {
        Run {
            access,
            options,
            observer,
            pace: options.limit.map(Pace::new),
            summary: Mutex::default(),
            next_file: AtomicUsize::new(0),
            direct: AtomicBool::new(false),
            lists_all: AtomicBool::new(false),
            spare: AtomicBool::new(false),
            fewer: AtomicBool::new(false),
        }
    }

    /// Whether the account may only add: a part could not take its place then,
    /// and files are sent under their own names.
    pub(super) fn direct(&self) -> bool {
        self.direct.load(Ordering::Relaxed)
    }

    /// Whether listings leave out an entry of this name: secure directories, and
    /// without the extension names with a newline.
    pub(super) fn is_unlisted(&self, name: &[u8], is_directory: bool) -> bool {
        let newline = !self.lists_all.load(Ordering::Relaxed) && name.contains(&b'\n');
        newline || is_directory && POLICY.keeps(name)
    }

    /// Finds that out: by the extension, or by deleting a file that does not exist.
    ///
    /// # Errors
    /// That the server asks for an account or a jail first, or the connection
    /// is lost.
    pub(super) fn find_rights(&self, line: &mut Line<'_>, directory: &[u8]) -> Result<()> {
        let features = line.steadily(|connection, _| connection.features())?;
        self.lists_all.store(features.list, Ordering::Relaxed);
        if features.store {
            self.direct.store(features.append_only, Ordering::Relaxed);
            return Ok(());
        }
        let asked = request("DEL", &join(directory, &part_name(&[b"nothing"], b"")));
        let reply = line.steadily(|connection, _| connection.request(&asked))?;
        let refusal = data_of(&asked, &reply).err();
        let status = refusal.as_ref().and_then(ClientError::status);
        self.direct
            .store(status == Some(Status::AccessDenied), Ordering::Relaxed);
        match (status, refusal) {
            // Else SUP were refused by a message where a code is awaited.
            (Some(Status::BeforeLogin | Status::BeforeJail), Some(e)) => Err(e),
            _ => Ok(()),
        }
    }

    /// The handle by which the files of a tree are opened; `None` where links
    /// are followed.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn top(&self, path: &Path) -> Result<Option<Arc<Target>>> {
        match self.options.follow {
            true => Ok(None),
            false => Target::open(path).map(|top| Some(Arc::new(top))),
        }
    }

    /// Whether a connection more than the working lines may be opened.
    pub(super) fn may_open_another(&self) -> bool {
        self.spare.load(Ordering::Relaxed)
    }

    /// Allows that, or not.
    pub(super) fn allow_another(&self, may: bool) {
        self.spare.store(may, Ordering::Relaxed);
    }

    /// Whether a local file may be replaced, see [`Observer::may_replace`].
    pub(super) fn may_replace(&self, path: &Path) -> bool {
        self.observer.may_replace(path)
    }

    pub(super) fn notify(&self, event: &Event<'_>) {
        self.observer.notify(event);
    }

    /// A number for a file.
    pub(super) fn id(&self, name: Vec<u8>) -> Id {
        Id {
            number: self.next_file.fetch_add(1, Ordering::Relaxed),
            name,
            operation: None,
        }
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// `Interrupted` when the user asked to stop.
    pub(super) fn go_on(&self) -> Result<()> {
        match self.access.target.cancel.is_cancelled() {
            true => Err(ClientError::Interrupted),
            false => Ok(()),
        }
    }

    /// The bytes of a frame: fewer where a low rate would make long ones
    /// stutter.
    pub(super) fn frame(&self) -> usize {
        let tenth = self.options.limit.map_or(BUFFER as u64, |rate| rate / 10);
        at_most(tenth.max(4096), BUFFER)
    }

    /// A connection that was asked for can't be had. Said once.
    fn has_fewer_lines(&self, error: &ClientError) {
        let is_asked = self.options.streams.is_some();
        if is_asked && !self.fewer.swap(true, Ordering::Relaxed) {
            self.notify(&Event::FewerSessions { error });
        }
    }

    /// All that is to be moved is known.
    pub(super) fn planned(&self, files: u64, bytes: u64) {
        self.notify(&Event::Planned { files, bytes });
    }

    /// A file's transfer begins at this byte.
    pub(super) fn begun(&self, id: &Id, size: u64, from: u64) {
        self.notify(&Event::Begun {
            file: id.number,
            name: &id.name,
            size,
            from,
        });
    }

    /// The digest of a part is at this byte; without one, that of the whole is
    /// compared.
    pub(super) fn checking(&self, id: &Id, size: u64, position: Option<u64>) {
        self.notify(&Event::Checking {
            file: id.number,
            name: &id.name,
            size,
            position,
        });
    }

    /// So many bytes of a file have been moved.
    pub(super) fn at(&self, id: &Id, position: u64) {
        let file = id.number;
        self.notify(&Event::At { file, position });
    }

    /// A file is in its place.
    pub(super) fn done(&self, id: &Id, size: u64) {
        self.sum(|summary| {
            summary.files += 1;
            summary.bytes += size;
        });
        if let Some((operation, name)) = &id.operation {
            self.notify(&Event::Mirror {
                operation: *operation,
                name,
            });
        }
        self.notify(&Event::Done {
            file: id.number,
            name: &id.name,
            size,
        });
    }

    /// A file could not be moved.
    pub(super) fn failed(&self, id: &Id, error: ClientError) {
        self.fail(Some(id.number), &id.name, error);
    }

    /// Another entry could not be moved.
    pub(super) fn failed_entry(&self, name: &[u8], error: ClientError) {
        self.fail(None, name, error);
    }

    fn fail(&self, file: Option<usize>, name: &[u8], error: ClientError) {
        self.notify(&Event::Failed {
            file,
            name,
            error: &error,
        });
        self.sum(|summary| {
            summary.failures.push(Failure {
                name: name.to_vec(),
                error,
            });
        });
    }

    /// Whether anything has failed so far.
    pub(super) fn has_failed(&self) -> bool {
        let mut failed = false;
        self.sum(|summary| failed = !summary.failures.is_empty());
        failed
    }

    /// Something a user should know about an entry.
    pub(super) fn note(&self, name: &[u8], what: Note) {
        self.sum(|summary| match what {
            Note::Link | Note::Special => summary.left_out += 1,
            Note::Secure => summary.secure += 1,
            _ => {}
        });
        self.notify(&Event::Note { name, what });
    }

    pub(super) fn sum(&self, change: impl FnOnce(&mut Summary)) {
        change(&mut self.summary.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn into_summary(self) -> Summary {
        self.summary
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection of a run, while there is one.
pub(super) struct Line<'r> {
    run: &'r Run<'r>,
    connection: Option<Connection>,
    /// Whether there ever was a connection: the first is tried once.
    was_open: bool,
    failures: u32,
    /// What had been moved at the last failure.
    moved_then: u64,
    moved: AtomicU64,
}

impl<'r> Line<'r> {
    pub(super) fn new(run: &'r Run<'r>) -> Line<'r> {
        Line {
            run,
            connection: None,
            was_open: false,
            failures: 0,
            moved_then: 0,
            moved: AtomicU64::new(0),
        }
    }

    /// The connection, opened if it is not yet.
    ///
    /// # Errors
    /// Why it can't be opened.
    pub(super) fn open(&mut self) -> Result<&mut Connection> {
        match self.connection.take() {
            Some(connection) => Ok(self.connection.insert(connection)),
            None => Ok(self.take(self.run.access.open()?)),
        }
    }

    /// Opens a connection next to another: whether the server lets it.
    ///
    /// # Errors
    /// `Interrupted`.
    fn open_further(&mut self) -> Result<bool> {
        if self.was_open {
            return Ok(true);
        }
        match self.run.access.unattended().open() {
            Ok(connection) => {
                self.take(connection);
                Ok(true)
            }
            Err(e @ ClientError::Interrupted) => Err(e),
            Err(e) => {
                self.run.go_on()?;
                self.run.has_fewer_lines(&e);
                Ok(false)
            }
        }
    }

    /// Takes a connection that is open.
    pub(super) fn take(&mut self, mut connection: Connection) -> &mut Connection {
        // Without it a dead link is noticed later.
        let _ = notice_silence(connection.socket(), SILENCE_TIMEOUT);
        if let Some(pace) = &self.run.pace {
            connection.wire().link().set_pace(Some(pace.clone()));
        }
        connection.wire().expect_transfers();
        connection.ask_for_features();
        self.was_open = true;
        self.connection.insert(connection)
    }

    /// Does work that can be repeated, with a connection that is reopened when
    /// it is lost. What moves something says so by the counter;
    /// only tries in a row that moved nothing are counted.
    ///
    /// # Errors
    /// What `work` returns but a loss of connection, or the loss when it is
    /// given up, or `Interrupted`.
    pub(super) fn steadily<T>(
        &mut self,
        mut work: impl FnMut(&mut Connection, &AtomicU64) -> Result<T>,
    ) -> Result<T> {
        loop {
            let done = self
                .open()
                .map(drop)
                .and_then(|()| match &mut self.connection {
                    Some(connection) => work(connection, &self.moved),
                    None => Err(ClientError::Interrupted),
                });
            match done {
                Err(e) if e.ends_a_run() => {
                    self.connection = None;
                    // Then it was we who cut it.
                    self.run.go_on()?;
                    if !self.was_open || !e.is_loss() {
                        return Err(e);
                    }
                    self.pause(e)?;
                }
                other => return other,
            }
        }
    }

    /// As [`Connection::ask_each`], over a connection that comes back.
    ///
    /// # Errors
    /// The connection is lost for good.
    pub(super) fn ask_each<I, A>(
        &mut self,
        items: &[I],
        request: impl Fn(&I) -> Vec<u8>,
        read: impl Fn(&[u8], &[u8]) -> Result<A>,
    ) -> Result<Vec<Result<A>>> {
        self.steadily(|connection, _| connection.ask_each(items, &request, &read))
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// The loss, when there have been tries enough, or `Interrupted`.
    fn pause(&mut self, error: ClientError) -> Result<()> {
        let moved = self.moved.load(Ordering::Relaxed);
        if moved > self.moved_then {
            self.failures = 0;
        }
        self.moved_then = moved;
        let attempts = self.run.options.retries;
        if self.failures >= attempts {
            return Err(error);
        }
        let wait =
            (FIRST_RETRY_PAUSE * 2u32.saturating_pow(self.failures)).min(LONGEST_RETRY_PAUSE);
        self.failures += 1;
        let attempt = self.failures;
        self.run.notify(&Event::Retrying {
            attempt,
            attempts,
            wait,
            error: &error,
        });
        self.run.access.target.cancel.sleep(wait)
    }

    /// The same error, or a more exact one, see [`Connection::explain`].
    pub(super) fn explain(&mut self, error: ClientError) -> ClientError {
        match &mut self.connection {
            Some(connection) => connection.explain(error),
            None => error,
        }
    }

    /// Gives the connection up; the next work opens another.
    pub(super) fn close(&mut self) {
        self.connection = None;
    }

    /// Ends the session politely.
    pub(super) fn end(self) {
        if let Some(connection) = self.connection {
            // It is over either way.
            let _ = connection.end();
        }
    }

    /// The connection, if there is one, as fast as it can be.
    pub(super) fn into_connection(self) -> Option<Connection> {
        let mut connection = self.connection?;
        connection.wire().link().set_pace(None);
        Some(connection)
    }
}

/// Lets each line do this work in a thread of its own: how each ended. A session
/// that the server refuses is missed by nobody while there is a first one.
pub(super) fn on_each<'r>(
    lines: &mut [Line<'r>],
    work: impl Fn(&mut Line<'r>) -> Result<()> + Sync,
) -> Vec<Result<()>> {
    let may_be_refused = lines.len() > 1;
    if let Some(first) = lines.first_mut().filter(|_| may_be_refused)
        && !first.was_open
        && let Err(e) = first.open()
    {
        return vec![Err(e)];
    }
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = lines
            .iter_mut()
            .enumerate()
            .map(|(index, line)| {
                scope.spawn(move || match index == 0 || line.open_further()? {
                    true => work(line),
                    false => Ok(()),
                })
            })
            .collect();
        threads.into_iter().map(joined).collect()
    })
}

/// What a thread returns; its panic goes on here.
pub(super) fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A value that threads share, whatever has become of one of them.
pub(super) fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
