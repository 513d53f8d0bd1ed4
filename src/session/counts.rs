//! What a connection's requests came to, for the metrics: counted by the session
//! in its page, and added up by the daemon. A process that was taken over can
//! falsify its own; nothing is decided by them.

use crate::session::audit::Outcome;
use crate::session::effect::Effect;
use crate::session::shortage::Shortage;

/// What requests may do to files, in the order in which they are counted.
pub const CLASSES: [&str; 3] = ["read", "add", "change"];

/// The codes that are counted apart; the first place is for failures without one,
/// and for codes beyond these.
const CODES: usize = 64;

/// Where the counters are.
mod place {
    use super::{CLASSES, Shortage};

    pub(super) const REQUESTS: usize = 0;
    pub(super) const BYTES: usize = REQUESTS + CLASSES.len();
    pub(super) const NO_ROOM: usize = BYTES + CLASSES.len();
    pub(super) const FAILED: usize = NO_ROOM + Shortage::KINDS.len();
}

/// How many counters there are.
pub const COUNTERS: usize = place::FAILED + CODES;

/// The counters of a connection, or of many together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts([u64; COUNTERS]);

impl Default for Counts {
    fn default() -> Counts {
        Counts([0; COUNTERS])
    }
}

/// What a request adds to which counter.
pub fn changes(effect: Effect, outcome: Outcome, bytes: u64) -> impl Iterator<Item = (usize, u64)> {
    let class = match effect {
        Effect::Reads => 0,
        Effect::Adds => 1,
        Effect::Changes => 2,
    };
    let code = match outcome {
        Outcome::Failed(code) | Outcome::NoRoom { code, .. } => Some(code.unwrap_or(0)),
        _ => None,
    };
    let failed = code.map(|code| match usize::from(code) {
        code if code < CODES => place::FAILED + code,
        _ => place::FAILED,
    });
    let no_room = match outcome {
        Outcome::NoRoom { shortage, .. } => Some(place::NO_ROOM + shortage.kind()),
        _ => None,
    };
    let moved = [(place::REQUESTS + class, 1), (place::BYTES + class, bytes)];
    let ended = failed.into_iter().chain(no_room);
    moved.into_iter().chain(ended.map(|at| (at, 1)))
}

impl Counts {
    /// Those that a page has.
    pub fn from_words(words: &[u64]) -> Counts {
        let mut counts = Counts::default();
        for (count, word) in counts.0.iter_mut().zip(words) {
            *count = *word;
        }
        counts
    }

    /// Adds others.
    pub fn add(&mut self, others: &Counts) {
        for (sum, count) in self.0.iter_mut().zip(others.0) {
            *sum = sum.wrapping_add(count);
        }
    }

    /// Requests by class.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        named(&CLASSES, &self.0[place::REQUESTS..])
    }

    /// Bytes of files and listings by class.
    pub fn bytes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        named(&CLASSES, &self.0[place::BYTES..])
    }

    /// Failures for lack of room, by what there was too little of.
    pub fn no_room(&self) -> impl Iterator<Item = (&'static str, u64)> {
        named(&Shortage::KINDS, &self.0[place::NO_ROOM..])
    }

    /// The codes that were answered, 0 for a failure without one, and how often.
    pub fn failed(&self) -> impl Iterator<Item = (usize, u64)> {
        let codes = self.0[place::FAILED..].iter().copied().enumerate();
        codes.filter(|(_, count)| *count > 0)
    }

    /// All requests, and those of them that failed.
    pub fn totals(&self) -> (u64, u64) {
        let sum = |counts: &[u64]| counts.iter().fold(0, |sum: u64, n| sum.wrapping_add(*n));
        let requests = sum(&self.0[place::REQUESTS..place::BYTES]);
        (requests, sum(&self.0[place::FAILED..]))
    }
}

fn named(names: &[&'static str], counts: &[u64]) -> impl Iterator<Item = (&'static str, u64)> {
    names.iter().copied().zip(counts.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_by_class_code_and_what_there_was_no_room_for() {
        let mut words = [0; COUNTERS];
        let no_room = Outcome::NoRoom {
            code: Some(13),
            shortage: Shortage::Quota(None),
        };
        for (effect, outcome, bytes) in [
            (Effect::Reads, Outcome::Done, 5),
            (Effect::Reads, Outcome::Failed(Some(9)), 0),
            (Effect::Adds, no_room, 7),
            (Effect::Changes, Outcome::Failed(None), 1),
            (Effect::Changes, Outcome::Failed(Some(u16::MAX)), 1),
            (Effect::Changes, Outcome::Lost, 2),
        ] {
            for (at, more) in changes(effect, outcome, bytes) {
                words[at] += more;
            }
        }
        let once = Counts::from_words(&words);
        let mut twice = once;
        twice.add(&once);
        let all = |counts: &Counts| -> (Vec<u64>, Vec<u64>, Vec<u64>) {
            let of = |pairs: &mut dyn Iterator<Item = (&'static str, u64)>| {
                pairs.map(|(_, count)| count).collect()
            };
            (
                of(&mut counts.requests()),
                of(&mut counts.bytes()),
                of(&mut counts.no_room()),
            )
        };
        assert_eq!(all(&once), (vec![2, 1, 3], vec![5, 7, 4], vec![0, 1, 0]));
        assert_eq!(all(&twice).0, [4, 2, 6]);
        assert_eq!(once.failed().collect::<Vec<_>>(), [(0, 2), (9, 1), (13, 1)]);
        assert_eq!(once.totals(), (6, 4));
    }
}
