//! When to start again what has ended: at once after a long life, and later each
//! time it ends soon.

use std::time::{Duration, Instant};

/// The first pause and the longest; after so long a life the first comes again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pauses of something that runs and may end.
#[derive(Debug)]
pub struct Backoff {
    started: Instant,
    pause: Duration,
    due: Option<Instant>,
}

impl Default for Backoff {
    /// Of something that was started just now.
    fn default() -> Backoff {
        Backoff {
            started: Instant::now(),
            pause: FIRST_PAUSE,
            due: None,
        }
    }
}

impl Backoff {
    /// Takes note that it has ended, or could not be started.
    pub fn failed(&mut self) {
        if self.due.is_none() && self.started.elapsed() > LONGEST_PAUSE {
            self.pause = FIRST_PAUSE;
        }
        self.due = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Takes note that it runs again.
    pub fn started(&mut self) {
        self.started = Instant::now();
        self.due = None;
    }

    /// When to start it again; `None` while it runs.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether it is time to start it again.
    pub fn is_due(&self) -> bool {
        self.due.is_some_and(|due| Instant::now() >= due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_longer_than_the_last_up_to_half_a_minute() {
        let mut backoff = Backoff::default();
        assert_eq!((backoff.due(), backoff.is_due()), (None, false));
        let mut pauses = Vec::new();
        for _ in 0..12 {
            backoff.failed();
            pauses.push(backoff.due().expect("due").duration_since(Instant::now()));
            assert!(!backoff.is_due());
            backoff.started();
            assert_eq!(backoff.due(), None);
        }
        assert!(pauses[0] <= FIRST_PAUSE, "{pauses:?}");
        assert!(pauses[..9].is_sorted(), "{pauses:?}");
        let longest = LONGEST_PAUSE / 2..=LONGEST_PAUSE;
        assert!(longest.contains(&pauses[11]), "{pauses:?}");
    }
}
