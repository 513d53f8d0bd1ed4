//! What is done with the bytes of a large file in threads next to the one that
//! enciphers and sends: reading and writing it, and its digests, here and by
//! the server. With cores to spare they cost the transfer no time. Buffers go
//! round; no byte is copied.

use std::cell::Cell;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::requests::{digest_of, request};
use super::run::{Run, SILENCE_TIMEOUT, joined};
use crate::client::access::Access;
use crate::client::cancel::{Cancel, notice_silence};
use crate::client::connect::Connection;
use crate::client::error::{ClientError, Result};
use crate::client::transfer::{Frames, HEADER, Taker};
use crate::sys::number::at_most;

/// The most buffers between two threads.
const BUFFERS: usize = 4;

/// Bytes read at once for a digest alone.
const PIECE: usize = 256 * 1024;

/// The smallest file whose digest is worth a connection, in bytes.
const WORTH_A_CONNECTION: u64 = 64 * 1024 * 1024;

/// What may be on its way to the server and not stored, in bytes.
const IN_FLIGHT: u64 = 8 * 1024 * 1024;

/// Twice the bytes a second at which servers make digests: this leaves a
/// margin if sending slows down.
const FASTEST_DIGEST: u64 = 4 * 1024 * 1024 * 1024;

/// How often it is checked if the user asked to stop.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// A local file as it is read.
#[derive(Clone, Copy)]
pub(super) struct Source<'s> {
    pub(super) file: &'s File,
    pub(super) path: &'s Path,
}

impl Source<'_> {
    /// Fills the buffer from this offset.
    ///
    /// # Errors
    /// The system's, or `Changed` when the file ends before.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|e| match e.kind() {
                std::io::ErrorKind::UnexpectedEof => ClientError::Changed {
                    path: self.path.display().to_string(),
                },
                _ => ClientError::local(self.path, e),
            })
    }
}

/// Reads a range in frames of `size` bytes of data, while `send` sends them.
/// The digest, if there is one, goes on over the range.
///
/// # Errors
/// Those of `send`; those of reading reach it by its frames.
pub(super) fn read_ahead(
    source: Source<'_>,
    range: Range<u64>,
    size: usize,
    digest: Option<Sha256>,
    send: impl FnOnce(Frames<'_>) -> Result<()>,
) -> Result<Option<Sha256>> {
    std::thread::scope(|scope| {
        let (full, mut frames) = sync_channel(BUFFERS);
        let (empty, spent) = channel::<Vec<u8>>();
        scope.spawn(move || read_frames(source, range, size, &spent, &full));
        let digester = digest.map(|digest| {
            let (full, read) = sync_channel(BUFFERS);
            let read = std::mem::replace(&mut frames, read);
            scope.spawn(move || digest_frames(digest, &read, &full))
        });
        let sent = send(&mut |frame| {
            if frame.capacity() > 0 {
                let _ = empty.send(frame);
            }
            frames.recv().ok().transpose()
        });
        drop(frames);
        let digest = digester.map(joined);
        sent.map(|()| digest)
    })
}

/// Reads a range into frames, spent ones where there are any, until the end or
/// a failure.
fn read_frames(
    source: Source<'_>,
    range: Range<u64>,
    size: usize,
    spent: &Receiver<Vec<u8>>,
    full: &SyncSender<Result<Vec<u8>>>,
) {
    let mut at = range.start;
    while at < range.end {
        let mut frame = spent.try_recv().unwrap_or_default();
        let len = at_most(range.end - at, size);
        frame.resize(HEADER + len, 0);
        let read = source.read(&mut frame[HEADER..], at);
        let failed = read.is_err();
        // The other side has given up when nobody takes it.
        if full.send(read.map(|()| frame)).is_err() || failed {
            return;
        }
        at += len as u64;
    }
}

/// Passes frames on, and makes the digest of their data.
fn digest_frames(
    mut digest: Sha256,
    read: &Receiver<Result<Vec<u8>>>,
    full: &SyncSender<Result<Vec<u8>>>,
) -> Sha256 {
    for frame in read {
        if let Ok(frame) = &frame {
            digest.update(&frame[HEADER..]);
        }
        if full.send(frame).is_err() {
            break;
        }
    }
    digest
}

/// Takes data on to a digest and to `write`, each in a thread, while `receive`
/// receives it. Returns the digest.
///
/// # Errors
/// Those of `receive` and of `write`.
pub(super) fn write_behind(
    digest: Sha256,
    mut write: impl FnMut(&[u8]) -> Result<()> + Send,
    receive: impl FnOnce(Taker<'_>) -> Result<()>,
) -> Result<Sha256> {
    std::thread::scope(|scope| {
        let (full, filled) = sync_channel::<Vec<u8>>(BUFFERS);
        let (digested, known) = sync_channel::<Vec<u8>>(BUFFERS);
        let (empty, spent) = channel();
        let digester = scope.spawn(move || {
            let mut digest = digest;
            for data in filled {
                digest.update(&data);
                // The writer has failed when it takes no more.
                if digested.send(data).is_err() {
                    break;
                }
            }
            digest
        });
        let writer = scope.spawn(move || {
            for data in known {
                write(&data)?;
                // Nobody takes it at the end.
                let _ = empty.send(data);
            }
            Ok(())
        });
        let mut refused = false;
        let received = receive(&mut |data| match full.send(data) {
            Ok(()) => Ok(spent.try_recv().unwrap_or_default()),
            Err(_) => {
                refused = true;
                // Its place is taken by the writer's own error.
                Err(ClientError::Interrupted)
            }
        });
        drop(full);
        let digest = joined(digester);
        let written = joined(writer);
        match written {
            Ok(()) if refused => Err(ClientError::Interrupted),
            Ok(()) => received.map(|()| digest),
            Err(e) => Err(e),
        }
    })
}

/// A digest that has come to `range`, over that range of a file. `at_byte` gets the
/// positions.
///
/// # Errors
/// The system's, `Changed` when the file is shorter, or `Interrupted`.
pub(super) fn extend_digest(
    run: &Run<'_>,
    source: Source<'_>,
    mut digest: Sha256,
    range: Range<u64>,
    at_byte: impl Fn(u64),
) -> Result<Sha256> {
    let mut buffer = vec![0; PIECE];
    let mut at = range.start;
    while at < range.end {
        run.go_on()?;
        at_byte(at);
        let piece = &mut buffer[..at_most(range.end - at, PIECE)];
        source.read(piece, at)?;
        digest.update(&*piece);
        at += piece.len() as u64;
    }
    Ok(digest)
}

/// The digest of a remote file, made by the server.
///
/// # Errors
/// The server's refusal, or the connection is lost.
pub(super) fn digest_there(connection: &mut Connection, path: &[u8]) -> Result<[u8; 32]> {
    digests_at_once(connection, path, || Ok(()))?.1
}

/// A digest made here, while the server makes the one of its file.
///
/// # Errors
/// Those of `make`, or the connection is lost.
pub(super) fn digests_at_once<T>(
    connection: &mut Connection,
    path: &[u8],
    make: impl FnOnce() -> Result<T>,
) -> Result<(T, Result<[u8; 32]>)> {
    let asked = request("SHA256", path);
    connection.wire().write_message(&asked)?;
    let here = make();
    let mut reply = Vec::new();
    connection.wire().read_message(&mut reply)?;
    Ok((here?, digest_of(&asked, &reply)))
}

/// Compares what has come with what the server has; a digest that it has made
/// already counts if it is the same.
///
/// # Errors
/// `Mismatch`, the server's refusal, or the connection is lost.
pub(super) fn compare(
    connection: &mut Connection,
    remote: &[u8],
    digest: Sha256,
    there: Option<[u8; 32]>,
) -> Result<()> {
    let here: [u8; 32] = digest.finalize().into();
    if there == Some(here) || digest_there(connection, remote)? == here {
        return Ok(());
    }
    Err(ClientError::Mismatch {
        path: String::from_utf8_lossy(remote).into(),
    })
}

/// Says when the server is to begin with a digest.
pub(super) struct Start {
    go: Cell<Option<Sender<()>>>,
    since: Instant,
}

impl Start {
    /// Now.
    pub(super) fn now(&self) {
        if let Some(go) = self.go.take() {
            // Nobody listens any more if no connection could be opened.
            let _ = go.send(());
        }
    }

    /// Now, if the server would not come to the end of what it has before the
    /// rest is there: the bytes from `begin` to `position` have been sent.
    pub(super) fn when_due(&self, begin: u64, position: u64, length: u64) {
        if is_due(self.since.elapsed(), begin, position, length) {
            self.now();
        }
    }
}

fn is_due(elapsed: Duration, begin: u64, position: u64, length: u64) -> bool {
    let stored = position.saturating_sub(begin + IN_FLIGHT);
    let left = length - position.min(length) + IN_FLIGHT;
    let rest = elapsed.as_secs_f64() * left as f64 / stored as f64;
    stored > 0 && rest <= length as f64 / FASTEST_DIGEST as f64
}

/// Does `work` while the server makes the digest of a file of this length over
/// a connection of its own, from the moment it is told to. Returns the digest,
/// if there was one: only an equal one counts, and for any other the server is
/// asked once more at the end. `waiting` is called when only the digest is missing.
///
/// # Errors
/// Those of `work`.
pub(super) fn digest_concurrently<T>(
    run: &Run<'_>,
    remote: &[u8],
    length: u64,
    work: impl FnOnce(&Start) -> Result<T>,
    waiting: impl FnOnce(),
) -> Result<(T, Option<[u8; 32]>)> {
    let start = |go| Start {
        go: Cell::new(go),
        since: Instant::now(),
    };
    if !run.may_open_another() || !run.options.verify || length < WORTH_A_CONNECTION {
        return work(&start(None)).map(|done| (done, None));
    }
    let mut access = run.access.unattended();
    access.target.cancel = Cancel::default();
    let cancel = access.target.cancel.clone();
    std::thread::scope(|scope| {
        let (go, started) = channel();
        let (answer, answers) = channel();
        scope.spawn(move || {
            if started.recv().is_ok() {
                // Nobody takes it when the work has failed.
                let _ = answer.send(ask(&access, remote));
            }
        });
        let done = work(&start(Some(go)));
        if done.is_ok() {
            waiting();
        }
        loop {
            if done.is_err() || run.go_on().is_err() {
                cancel.cancel();
            }
            match answers.recv_timeout(CHECK_INTERVAL) {
                Err(RecvTimeoutError::Timeout) => {}
                there => return done.map(|done| (done, there.ok().and_then(Result::ok))),
            }
        }
    })
}

fn ask(access: &Access, remote: &[u8]) -> Result<[u8; 32]> {
    let mut connection = access.open()?;
    // Without it a dead link is noticed later.
    let _ = notice_silence(connection.socket(), SILENCE_TIMEOUT);
    let digest = digest_there(&mut connection, remote)?;
    // It is over either way.
    let _ = connection.end();
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// Each row: milliseconds since the begin, MiB: begin, position, length;
    /// whether it is due.
    #[test]
    fn a_digest_is_due_when_it_would_end_behind_the_last_byte() {
        let rows = [
            // 500 MiB/s: a quarter of a second before the end of 1 GiB.
            (1000, 0, 500, 1024, false),
            (1500, 0, 750, 1024, false),
            (1600, 0, 800, 1024, false),
            (1900, 0, 950, 1024, true),
            (2048, 0, 1024, 1024, true),
            // Only the speed of what was sent counts.
            (600, 500, 800, 1024, false),
            (600, 400, 900, 1024, true),
            // As fast as digests are made: soon, but not for what is in flight.
            (1, 0, 8, 1024, false),
            (10, 0, 40, 1024, false),
            (400, 0, 800, 1024, true),
            // A slow link: at its very end.
            (100_000, 0, 1000, 1024, false),
            (0, 0, 0, 64, false),
        ];
        for (time, begin, position, length, due) in rows {
            let elapsed = Duration::from_millis(time);
            let got = is_due(elapsed, begin * MIB, position * MIB, length * MIB);
            assert_eq!(got, due, "{time} {begin} {position} {length}");
        }
    }
}
