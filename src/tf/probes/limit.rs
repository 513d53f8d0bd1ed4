//! Limits answers that are longer than their questions to a few a second for each
//! source, so that a forged sender cannot be flooded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::users::throttle::source_of;

/// Long answers a source may have at once, and again after each pause.
const BURST: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// The most sources remembered.
const MOST: usize = 4096;

/// Long answers so far.
#[derive(Debug, Default)]
pub(crate) struct Limit(HashMap<IpAddr, (u32, Instant)>);

impl Limit {
    /// Whether an answer of this length may go to a source.
    pub(crate) fn allows(
        &mut self,
        source: IpAddr,
        question: usize,
        answer: usize,
        now: Instant,
    ) -> bool {
        if answer <= 2 * question {
            return true;
        }
        if self.0.len() >= MOST {
            self.0
                .retain(|_, (_, since)| now.saturating_duration_since(*since) < PAUSE * BURST);
            if self.0.len() >= MOST {
                return false;
            }
        }
        let (given, since) = self.0.entry(source_of(source)).or_insert((0, now));
        let pauses = now.saturating_duration_since(*since).as_millis() / PAUSE.as_millis();
        if pauses > 0 {
            *given = given.saturating_sub(u32::try_from(pauses).unwrap_or(u32::MAX));
            *since = now;
        }
        *given += 1;
        *given <= BURST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_gets_few_long_answers_and_any_number_of_short_ones() {
        let mut limit = Limit::default();
        let (a, b) = (
            "192.0.2.1".parse().expect("a"),
            "192.0.2.2".parse().expect("b"),
        );
        let now = Instant::now();
        let given = (0..100).filter(|_| limit.allows(a, 1, 30, now)).count();
        assert_eq!(given, BURST as usize);
        assert!(limit.allows(b, 1, 30, now) && limit.allows(a, 33, 12, now));
        assert!(!limit.allows(a, 1, 30, now));
        let later = now + PAUSE * 200;
        assert!(limit.allows(a, 1, 30, later));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut limit = Limit::default();
        let now = Instant::now();
        for n in 0..10_000_u32 {
            limit.allows(IpAddr::V4(n.into()), 1, 30, now);
        }
        assert!(limit.0.len() <= MOST);
    }
}
