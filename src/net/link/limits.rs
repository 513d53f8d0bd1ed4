//! What a link is held to and measured by: a rate, which several links may
//! share, and counters in memory that other processes read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Link;
use crate::sys::number::at_most;

/// Shorter waits are added to a later one.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);

/// What [`Pace::piece`] divides a rate into, and the least it gives.
const PIECES_PER_SECOND: u64 = 16;
const SMALLEST_PIECE: usize = 512;

/// How much quiet counts: after more of it counting starts again, so that a
/// session that was idle does not then run without limit.
const QUIET_CREDIT: Duration = Duration::from_millis(500);

/// The counters of a connection, which its links share.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    /// Bytes from the peer.
    pub received: &'static AtomicU64,
    /// Bytes to the peer.
    pub sent: &'static AtomicU64,
}

impl Link {
    pub(super) fn count_received(&self, bytes: usize) {
        if let Some(meter) = &self.meter {
            count(meter.received, bytes);
        }
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        if let Some(meter) = &self.meter {
            count(meter.sent, bytes);
        }
    }

    /// Waits until so many bytes are due.
    pub(super) fn keep_pace(&self, bytes: usize) {
        if let Some(pace) = &self.pace {
            pace.moved(bytes);
        }
    }
}

fn count(counter: &AtomicU64, bytes: usize) {
    counter.fetch_add(bytes as u64, Ordering::Relaxed);
}

/// A rate; its clones share it.
#[derive(Clone, Debug)]
pub struct Pace(Arc<Mutex<Ledger>>);

impl Pace {
    /// At most so many bytes a second.
    pub fn new(bytes_per_second: u64) -> Pace {
        Pace(Arc::new(Mutex::new(Ledger::new(bytes_per_second))))
    }

    /// How many bytes to move at once, so that no wait is a long one.
    pub fn piece(&self) -> usize {
        let ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at_most(ledger.bytes_per_second / PIECES_PER_SECOND, usize::MAX).max(SMALLEST_PIECE)
    }

    /// Notes bytes moved and waits until they are due.
    fn moved(&self, bytes: usize) {
        let wait = {
            let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let elapsed = ledger.since.elapsed();
            ledger.wait_for(bytes as u64, elapsed)
        };
        if wait >= SHORTEST_WAIT {
            std::thread::sleep(wait);
        }
    }
}

/// The bytes moved, and since when.
#[derive(Debug)]
struct Ledger {
    bytes_per_second: u64,
    since: Instant,
    moved: u64,
}

impl Ledger {
    fn new(bytes_per_second: u64) -> Ledger {
        Ledger {
            bytes_per_second: bytes_per_second.max(1),
            since: Instant::now(),
            moved: 0,
        }
    }

    /// How long to wait after these bytes, so long after the beginning.
    fn wait_for(&mut self, bytes: u64, elapsed: Duration) -> Duration {
        let due = |moved: u64| Duration::from_secs_f64(moved as f64 / self.bytes_per_second as f64);
        if elapsed > due(self.moved) + QUIET_CREDIT {
            self.since = Instant::now();
            self.moved = bytes;
            return due(bytes);
        }
        self.moved += bytes;
        due(self.moved).saturating_sub(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_wait_until_they_are_due_and_quiet_gives_little_credit() {
        let mut pace = Ledger::new(1000);
        let second = Duration::from_secs(1);
        assert_eq!(pace.wait_for(1000, Duration::ZERO), second);
        assert_eq!(pace.wait_for(500, second), second / 2);
        assert_eq!(
            pace.wait_for(100, second * 3 / 2 + QUIET_CREDIT / 2),
            Duration::ZERO
        );
        assert_eq!(pace.wait_for(1000, second * 60), second);
    }
}
