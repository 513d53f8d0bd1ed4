//! Bars on a terminal: the name of a file, how far it is, and how fast by what
//! moved recently. A bar never shows bytes as moved that were there before.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{
    HumanBytes, HumanDuration, MultiProgress, ProgressBar, ProgressState, ProgressStyle,
};

use crate::text::shown;

/// The time over which a rate is measured.
const WINDOW: Duration = Duration::from_secs(5);

/// The least time between two points of it.
const STEP: Duration = Duration::from_millis(100);

/// How often a bar is drawn when nothing moves.
const TICK: Duration = Duration::from_millis(250);

/// The most characters of a name.
const NAME: usize = 28;

/// How much moved, and how fast recently.
#[derive(Default)]
pub(super) struct Meter {
    total: u64,
    /// Points of time, and what had been moved then.
    points: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// So many bytes more have been moved.
    pub(super) fn add(&mut self, bytes: u64, now: Instant) {
        let is_due = self
            .points
            .back()
            .is_none_or(|(then, _)| now.saturating_duration_since(*then) >= STEP);
        if is_due {
            self.points.push_back((now, self.total));
        }
        self.total += bytes;
        let is_old = |then: Instant| now.saturating_duration_since(then) > WINDOW;
        while self.points.len() > 1 && self.points.front().is_some_and(|(then, _)| is_old(*then)) {
            self.points.pop_front();
        }
    }

    /// All bytes that have been moved.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes a second, over the last seconds.
    pub(super) fn rate(&self, now: Instant) -> u64 {
        let Some((then, before)) = self.points.front() else {
            return 0;
        };
        let time = now.saturating_duration_since(*then).max(STEP);
        per_second(self.total - before, time)
    }
}

/// Bytes a second, of so many in this time.
pub(in crate::cli) fn per_second(bytes: u64, time: Duration) -> u64 {
    let microseconds = time.as_micros().max(1000);
    u64::try_from(u128::from(bytes) * 1_000_000 / microseconds).unwrap_or(u64::MAX)
}

/// What is done with the bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Moving,
    /// The digest of what is there already is made.
    Checking,
    /// The digests of the whole are compared.
    Verifying,
}

struct Look {
    phase: Phase,
    since: Instant,
    meter: Meter,
}

impl Look {
    /// What stands behind the bar.
    fn text(&self, left: u64, now: Instant) -> String {
        let time = HumanDuration(now.saturating_duration_since(self.since));
        match self.phase {
            Phase::Checking => "checking what is there".to_owned(),
            Phase::Verifying => format!("verifying {time:#}"),
            Phase::Moving => {
                let rate = self.meter.rate(now);
                let left = left.checked_div(rate).map(Duration::from_secs);
                let left = left.map_or("-".to_owned(), |left| format!("{:#}", HumanDuration(left)));
                format!("{}/s {left}", HumanBytes(rate))
            }
        }
    }
}

/// The bar of one file, or of all.
pub(super) struct Line {
    bar: ProgressBar,
    look: Arc<Mutex<Look>>,
    size: u64,
}

impl Line {
    /// A bar for so many bytes, above the others or below.
    pub(super) fn new(bars: &MultiProgress, size: u64, is_above: bool) -> Line {
        let look = Arc::new(Mutex::new(Look {
            phase: Phase::Moving,
            since: Instant::now(),
            meter: Meter::default(),
        }));
        let shared = Arc::clone(&look);
        let pace = move |state: &ProgressState, out: &mut dyn Write| {
            let left = state.len().unwrap_or(0).saturating_sub(state.pos());
            // Nothing can be done about a terminal that takes no text.
            let _ = out.write_str(&lock(&shared).text(left, Instant::now()));
        };
        let form = "{msg} [{wide_bar}] {bytes}/{total_bytes} {pace}";
        let style = ProgressStyle::with_template(form);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar =
            ProgressBar::new(size).with_style(style.with_key("pace", pace).progress_chars("=> "));
        let bar = if is_above {
            bars.insert(0, bar)
        } else {
            bars.add(bar)
        };
        bar.enable_steady_tick(TICK);
        Line { bar, look, size }
    }

    /// What stands before it.
    pub(super) fn set_label(&self, label: String) {
        self.bar.set_message(label);
    }

    /// The name of its file.
    pub(super) fn set_name(&self, name: &[u8]) {
        self.set_label(fitted(&shown(name)));
    }

    /// A transfer begins at this byte.
    pub(super) fn begin(&self, position: u64) {
        self.enter(Phase::Moving);
        self.bar.set_length(self.size);
        self.bar.set_position(position);
    }

    /// So many bytes have been moved, up to this one.
    pub(super) fn moved(&self, bytes: u64, position: u64) {
        self.enter(Phase::Moving);
        lock(&self.look).meter.add(bytes, Instant::now());
        self.bar.set_position(position);
    }

    /// So many bytes of those that are there have been looked at; `None` for
    /// the digest of the whole.
    pub(super) fn checked(&self, position: Option<u64>) {
        match position {
            Some(position) => {
                self.enter(Phase::Checking);
                self.bar.set_position(position);
            }
            None => self.enter(Phase::Verifying),
        }
    }

    /// Takes it away.
    pub(super) fn end(self) {
        self.bar.finish_and_clear();
    }

    fn enter(&self, phase: Phase) {
        let mut look = lock(&self.look);
        if look.phase != phase {
            (look.phase, look.since) = (phase, Instant::now());
        }
    }
}

fn lock(look: &Mutex<Look>) -> MutexGuard<'_, Look> {
    look.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of a name that is too long.
fn fitted(name: &str) -> String {
    let length = name.chars().count();
    if length <= NAME {
        return name.to_owned();
    }
    let end: String = name.chars().skip(length + 1 - NAME).collect();
    format!("…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_rate_is_that_of_the_last_seconds_and_a_pause_does_not_slow_it() {
        let begin = Instant::now();
        let after = |ms| begin + Duration::from_millis(ms);
        let mut meter = Meter::default();
        for step in 0..100 {
            meter.add(MIB, after(step * 100));
        }
        let rate = meter.rate(after(10_000));
        assert!((9 * MIB..11 * MIB).contains(&rate), "{rate}");
        // The link is lost for a minute.
        for step in 0..10 {
            meter.add(MIB, after(70_000 + step * 100));
        }
        let rate = meter.rate(after(71_000));
        assert!((9 * MIB..11 * MIB).contains(&rate), "{rate}");
        assert_eq!(meter.total(), 110 * MIB);
    }

    #[test]
    fn a_bar_says_what_is_done() {
        let now = Instant::now();
        let mut look = Look {
            phase: Phase::Checking,
            since: now,
            meter: Meter::default(),
        };
        assert_eq!(look.text(10 * MIB, now), "checking what is there");
        look.phase = Phase::Verifying;
        assert_eq!(look.text(0, now + Duration::from_secs(4)), "verifying 4s");
        look.phase = Phase::Moving;
        assert_eq!(look.text(10 * MIB, now), "0 B/s -");
        look.meter.add(MIB, now);
        let later = now + Duration::from_secs(1);
        assert_eq!(look.text(10 * MIB, later), "1.00 MiB/s 10s");
    }

    #[test]
    fn the_end_of_a_long_name_is_shown() {
        assert_eq!(fitted("short"), "short");
        let long = format!("{}/end.pdf", "d".repeat(100));
        let shown = fitted(&long);
        assert!(shown.ends_with("/end.pdf") && shown.starts_with('…'));
        assert_eq!(shown.chars().count(), NAME);
    }
}
