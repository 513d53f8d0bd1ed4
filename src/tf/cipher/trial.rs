//! Whether a thread that makes the chain ahead is worth it: only where the
//! chain is used fast, and only while it is used faster than without. Where all
//! cores are busy it is not.

use std::time::{Duration, Instant};

/// Bytes after which it is looked how long they took.
const STRETCH: usize = 4 * 1024 * 1024;

/// A stretch is fast that takes no longer.
const FAST: Duration = Duration::from_millis(100);

/// Stretches in one way, with a thread or without, before the other is tried
/// again.
const TERM: u32 = 32;

/// What is known of the time that stretches take.
pub(super) struct Trial {
    /// Bytes left of this stretch.
    left: usize,
    /// When it began; nothing is known of the first.
    begun: Option<Instant>,
    /// How long the last one without a thread took.
    without: Duration,
    /// Stretches to go before the other way is tried.
    term: u32,
    /// Whether the thread was worth it in the last stretch. One that was not
    /// may be an accident then.
    was_worth_it: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    GoOn,
    /// A thread may be worth it.
    Start,
    /// The thread is not worth it, or it is time to look whether it still is.
    Stop,
}

impl Trial {
    pub(super) fn new() -> Trial {
        Trial {
            left: STRETCH,
            begun: None,
            without: Duration::MAX,
            term: 0,
            was_worth_it: false,
        }
    }

    /// Takes note that bytes are used, with a thread or without.
    pub(super) fn used(&mut self, bytes: usize, with_thread: bool) -> Verdict {
        self.left = self.left.saturating_sub(bytes);
        if self.left > 0 {
            return Verdict::GoOn;
        }
        self.left = STRETCH;
        let now = Instant::now();
        match self.begun.replace(now) {
            Some(begun) => self.judge(now - begun, with_thread),
            None => Verdict::GoOn,
        }
    }

    fn judge(&mut self, took: Duration, with_thread: bool) -> Verdict {
        if with_thread {
            let is_worth_it = took.saturating_mul(20) <= self.without.saturating_mul(19);
            let stays = is_worth_it || self.was_worth_it;
            self.was_worth_it = is_worth_it;
            if stays && self.term > 0 {
                self.term -= 1;
                return Verdict::GoOn;
            }
            self.term = if stays { 0 } else { TERM };
            return Verdict::Stop;
        }
        self.without = took;
        if took > FAST || self.term > 0 {
            self.term = self.term.saturating_sub(1);
            return Verdict::GoOn;
        }
        (self.term, self.was_worth_it) = (TERM, false);
        Verdict::Start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(12);
    const MEDIUM: Duration = Duration::from_millis(20);
    const SLOW: Duration = Duration::from_millis(101);

    #[test]
    fn a_chain_used_slowly_gets_no_thread() {
        let mut trial = Trial::new();
        assert_eq!(trial.judge(SLOW, false), Verdict::GoOn);
        assert_eq!(trial.judge(MEDIUM, false), Verdict::Start);
    }

    #[test]
    fn a_thread_that_makes_nothing_faster_ends_and_is_tried_again_later() {
        let mut trial = Trial::new();
        assert_eq!(trial.judge(MEDIUM, false), Verdict::Start);
        assert_eq!(trial.judge(MEDIUM, true), Verdict::Stop);
        for _ in 0..TERM {
            assert_eq!(trial.judge(MEDIUM, false), Verdict::GoOn);
        }
        assert_eq!(trial.judge(MEDIUM, false), Verdict::Start);
    }

    #[test]
    fn one_slow_stretch_is_an_accident_and_two_are_not() {
        let mut trial = Trial::new();
        assert_eq!(trial.judge(MEDIUM, false), Verdict::Start);
        for took in [QUICK, MEDIUM, QUICK, MEDIUM] {
            assert_eq!(trial.judge(took, true), Verdict::GoOn);
        }
        assert_eq!(trial.judge(MEDIUM, true), Verdict::Stop);
        assert_eq!(trial.judge(MEDIUM, false), Verdict::GoOn);
    }

    #[test]
    fn a_thread_that_is_worth_it_is_measured_anew_from_time_to_time() {
        let mut trial = Trial::new();
        assert_eq!(trial.judge(MEDIUM, false), Verdict::Start);
        for _ in 0..TERM {
            assert_eq!(trial.judge(QUICK, true), Verdict::GoOn);
        }
        assert_eq!(trial.judge(QUICK, true), Verdict::Stop);
        // Without it everything has become as fast.
        assert_eq!(trial.judge(QUICK, false), Verdict::Start);
        assert_eq!(trial.judge(QUICK, true), Verdict::Stop);
    }

    #[test]
    fn a_thread_stays_of_which_nothing_is_known() {
        assert_eq!(
            Trial {
                term: TERM,
                ..Trial::new()
            }
            .judge(SLOW, true),
            Verdict::GoOn
        );
    }

    #[test]
    fn nothing_is_judged_before_a_whole_stretch() {
        let mut trial = Trial::new();
        assert_eq!(trial.used(STRETCH, false), Verdict::GoOn);
        assert_eq!(trial.used(STRETCH - 1, false), Verdict::GoOn);
        assert_eq!(trial.used(1, false), Verdict::Start);
    }
}
