//! What a link is held to and measured by: a rate, which several links may
//! share, and counters in memory that other processes read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

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

/// No queue of bytes that wait is longer.
const LONGEST_QUEUE: Duration = Duration::from_secs(600);

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

/// A rate; its clones share it, and so do all with the same clock.
#[derive(Clone, Debug)]
pub struct Pace {
    bytes_per_second: u64,
    clock: Clock,
}

/// When the bytes so far are due, in nanoseconds of the system's monotonic clock.
#[derive(Clone, Debug)]
enum Clock {
    Own(Arc<AtomicU64>),
    /// In memory that other processes share.
    Shared(&'static AtomicU64),
}

impl Pace {
    /// At most so many bytes a second.
    pub fn new(bytes_per_second: u64) -> Pace {
        Pace::by(bytes_per_second, Clock::Own(Arc::default()))
    }

    /// The same together with all who have this clock. Each waits for its own
    /// bytes behind those of the others, so that none is left behind.
    pub fn shared(bytes_per_second: u64, clock: &'static AtomicU64) -> Pace {
        Pace::by(bytes_per_second, Clock::Shared(clock))
    }

    fn by(bytes_per_second: u64, clock: Clock) -> Pace {
        Pace {
            bytes_per_second: bytes_per_second.max(1),
            clock,
        }
    }

    /// How many bytes to move at once, so that no wait is a long one.
    pub fn piece(&self) -> usize {
        at_most(self.bytes_per_second / PIECES_PER_SECOND, usize::MAX).max(SMALLEST_PIECE)
    }

    /// Notes bytes moved and waits until they are due.
    pub fn moved(&self, bytes: usize) {
        let wait = self.wait_for(bytes as u64, now());
        if wait >= SHORTEST_WAIT {
            std::thread::sleep(wait);
        }
    }

    /// How long to wait after these bytes.
    fn wait_for(&self, bytes: u64, now: u64) -> Duration {
        let clock = match &self.clock {
            Clock::Own(clock) => clock,
            Clock::Shared(clock) => *clock,
        };
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let due = |before: u64| {
            // Another process could have written anything.
            let is_usual = before.saturating_add(nanoseconds(QUIET_CREDIT)) >= now
                && before <= now.saturating_add(nanoseconds(LONGEST_QUEUE));
            let begin = if is_usual { before } else { now };
            begin.saturating_add(nanoseconds(cost))
        };
        let before = clock.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
            Some(due(before))
        });
        let due = due(before.unwrap_or_else(|before| before));
        Duration::from_nanos(due.saturating_sub(now))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The same for all processes.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    nanoseconds(Duration::try_from(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn bytes_wait_until_they_are_due_and_quiet_gives_little_credit() {
        let pace = Pace::new(1000);
        let wait = |bytes, now| pace.wait_for(bytes, now).as_millis();
        let begin = 100 * SECOND;
        assert_eq!(wait(1000, begin), 1000);
        assert_eq!(wait(500, begin + SECOND), 500);
        assert_eq!(wait(100, begin + SECOND * 7 / 4), 0);
        assert_eq!(wait(1000, begin + 60 * SECOND), 1000);
    }

    #[test]
    fn all_with_one_clock_share_the_rate_whatever_is_written_into_it() {
        static CLOCK: AtomicU64 = AtomicU64::new(0);
        let begin = 100 * SECOND;
        let paces = [0; 4].map(|_| Pace::shared(1000, &CLOCK));
        let waits = paces.each_ref().map(|pace| pace.wait_for(100, begin));
        assert_eq!(waits.map(|wait| wait.as_millis()), [100, 200, 300, 400]);
        // Another reading of the configuration gives another rate.
        let fast = Pace::shared(10_000, &CLOCK);
        assert_eq!(fast.wait_for(100, begin).as_millis(), 410);
        CLOCK.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(paces[0].wait_for(100, begin).as_millis(), 100);
    }
}
