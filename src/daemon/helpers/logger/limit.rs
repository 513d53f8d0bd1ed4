//! How many lines a process may log: those that an attacker may have taken over
//! could fill the disk and hide what matters.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Lines at once, and from then on for each second.
const BURST: f64 = 200.0;
const RATE: f64 = 20.0;

/// Bytes that count for one line.
const LINE: usize = 1024;

/// Processes that read what clients or other servers send.
const LIMITED: [&str; 8] = [
    "gate",
    "relay",
    "session",
    "dialer",
    "udp",
    "pool",
    "resolver",
    "responder",
];

/// How long a process waits for the report of what was left out.
const PAUSE: Duration = Duration::from_secs(1);

/// The kind of a process, and the process.
type From = (&'static str, u32);

/// What each process may still log.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    processes: HashMap<From, Bucket>,
    reported: Option<Instant>,
}

#[derive(Debug)]
struct Bucket {
    lines: f64,
    filled: Instant,
    left_out: u64,
}

impl Bucket {
    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        self.lines = (self.lines + RATE * passed.as_secs_f64()).min(BURST);
        self.filled = now;
    }
}

impl Limiter {
    /// Whether a process may log one more line, of so many bytes.
    pub(super) fn admits(&mut self, from: From, len: usize) -> bool {
        self.admits_at(from, len, Instant::now())
    }

    fn admits_at(&mut self, from: From, len: usize, now: Instant) -> bool {
        if !LIMITED.contains(&from.0) {
            return true;
        }
        let bucket = self.processes.entry(from).or_insert(Bucket {
            lines: BURST,
            filled: now,
            left_out: 0,
        });
        bucket.fill(now);
        let admits = bucket.lines >= 1.0;
        if admits {
            bucket.lines -= 1.0 + (len / LINE) as f64;
        } else {
            bucket.left_out += 1;
        }
        admits
    }

    /// How long to wait for lines at most.
    pub(super) fn pause(&self) -> Option<Duration> {
        (!self.processes.is_empty()).then_some(PAUSE)
    }

    /// The processes of which lines were left out, and how many; once a second.
    /// Forgets those that may log as much as any.
    pub(super) fn left_out(&mut self) -> Vec<(From, u64)> {
        self.left_out_at(Instant::now())
    }

    fn left_out_at(&mut self, now: Instant) -> Vec<(From, u64)> {
        if self.reported.is_some_and(|last| now < last + PAUSE) {
            return Vec::new();
        }
        self.reported = Some(now);
        let mut found = Vec::new();
        self.processes.retain(|from, bucket| {
            bucket.fill(now);
            if bucket.left_out > 0 {
                found.push((*from, std::mem::take(&mut bucket.left_out)));
            }
            bucket.lines < BURST
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_counted_and_held_against_nobody_else() {
        let mut limiter = Limiter::default();
        let (now, gate) = (Instant::now(), ("gate", 7));
        let admitted = (0..1000)
            .filter(|_| limiter.admits_at(gate, 9, now))
            .count();
        assert_eq!(admitted, 200);
        for other in [("gate", 8), ("session", 7), ("tfd", 7)] {
            assert!(limiter.admits_at(other, 9, now));
        }
        assert_eq!(limiter.left_out_at(now), [(gate, 800)]);
        let soon = now + Duration::from_secs(1);
        let admitted = (0..1000).filter(|_| limiter.admits_at(gate, 9, soon));
        assert_eq!(admitted.count(), 20);
        assert_eq!(limiter.left_out_at(soon), [(gate, 980)]);
        let late = now + Duration::from_secs(60);
        assert!(limiter.left_out_at(late).is_empty());
        assert_eq!((limiter.pause(), limiter.processes.len()), (None, 0));
    }

    #[test]
    fn long_lines_count_for_more_and_trusted_processes_are_not_limited() {
        let mut limiter = Limiter::default();
        let now = Instant::now();
        let admits = |limiter: &mut Limiter, from| limiter.admits_at(from, 9 * LINE, now);
        let gate = (0..1000).filter(|_| admits(&mut limiter, ("gate", 1)));
        assert_eq!(gate.count(), 20);
        let trusted = (0..1000).filter(|_| admits(&mut limiter, ("authenticator", 1)));
        assert_eq!(trusted.count(), 1000);
    }
}
