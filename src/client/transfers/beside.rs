//! The server's digest of a large file, made while its bytes are on their way:
//! it is asked for over a connection of its own. Only an equal one counts;
//! whatever else comes of it, the digest is asked for once more at the end.

use std::cell::Cell;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::line::notice_silence;
use super::run::Run;
use super::upload_alone::digest_there;
use crate::client::access::Access;
use crate::client::cancel::Cancel;
use crate::client::error::Result;

/// The smallest file whose digest is worth a connection, in bytes.
const WORTH_IT: u64 = 64 * 1024 * 1024;

/// What may be on its way to the server and not stored, in bytes.
const IN_FLIGHT: u64 = 8 * 1024 * 1024;

/// Twice the bytes a second at which servers make digests: so it does not come
/// to naught if sending becomes half as fast meanwhile, as it may for want of
/// cores.
const FASTEST: u64 = 4 * 1024 * 1024 * 1024;

/// How often it is looked whether the user asked to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Tells when the server is to begin.
pub(super) struct Start {
    go: Option<Sender<()>>,
    told: Cell<bool>,
    since: Instant,
}

impl Start {
    fn new(go: Option<Sender<()>>) -> Start {
        Start {
            go,
            told: Cell::new(false),
            since: Instant::now(),
        }
    }

    /// Now.
    pub(super) fn now(&self) {
        if let Some(go) = &self.go
            && !self.told.replace(true)
        {
            // Nobody listens any more when there was no connection to be had.
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
    stored > 0 && rest <= length as f64 / FASTEST as f64
}

/// Does `work` while the server makes the digest of a file of this length,
/// from the moment it is told to; returns the digest, if it came to one.
///
/// # Errors
/// Those of `work`.
pub(super) fn beside<T>(
    run: &Run<'_>,
    remote: &[u8],
    length: u64,
    work: impl FnOnce(&Start) -> Result<T>,
) -> Result<(T, Option<[u8; 32]>)> {
    if !run.may_open_another() || !run.options.verify || length < WORTH_IT {
        return work(&Start::new(None)).map(|done| (done, None));
    }
    let mut access = run.access.clone();
    access.target.cancel = Cancel::default();
    let ours = access.target.cancel.clone();
    std::thread::scope(|scope| {
        let (go, started) = channel();
        let (answer, answers) = channel();
        scope.spawn(move || {
            if started.recv().is_ok() {
                // Nobody takes it when the work has failed.
                let _ = answer.send(ask(&access, remote));
            }
        });
        let done = work(&Start::new(Some(go)));
        loop {
            if done.is_err() || run.go_on().is_err() {
                ours.cancel();
            }
            match answers.recv_timeout(LOOK) {
                Err(RecvTimeoutError::Timeout) => {}
                there => return done.map(|done| (done, there.ok().and_then(Result::ok))),
            }
        }
    })
}

fn ask(access: &Access, remote: &[u8]) -> Result<[u8; 32]> {
    let mut connection = access.open()?;
    // Without it a dead link is noticed later.
    let _ = notice_silence(connection.wire().socket());
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
