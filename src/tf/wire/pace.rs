//! What keeps a wire to a rate, both directions together, or several wires to
//! one rate.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Waits shorter than this are left for later.
const GRAIN: Duration = Duration::from_millis(5);

/// How much quiet counts: after more of it the count begins anew, so that a
/// session that was idle does not then run without limit.
const CREDIT: Duration = Duration::from_millis(500);

/// A rate; its clones share it.
#[derive(Clone, Debug)]
pub struct Pace(Arc<Mutex<Ledger>>);

impl Pace {
    /// So many bytes a second at the most.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Pace {
        Pace(Arc::new(Mutex::new(Ledger::new(bytes_per_second))))
    }

    /// Takes note of bytes moved and waits until they are due.
    pub(super) fn moved(&self, bytes: usize) {
        let wait = {
            let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let elapsed = ledger.since.elapsed();
            ledger.wait_for(bytes as u64, elapsed)
        };
        if wait >= GRAIN {
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
        if elapsed > due(self.moved) + CREDIT {
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
            pace.wait_for(100, second * 3 / 2 + CREDIT / 2),
            Duration::ZERO
        );
        assert_eq!(pace.wait_for(1000, second * 60), second);
    }
}
