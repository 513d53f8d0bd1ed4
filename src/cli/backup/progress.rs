//! How far a run is, on a terminal.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressState, ProgressStyle};

use crate::backup::{Keepers, Meter};

const TICK: Duration = Duration::from_millis(200);

/// A line that follows the meter, and what the keepers wait for, until it is cleared.
pub(super) fn follow(meter: &Arc<Meter>, keepers: &Arc<Keepers>, quiet: bool) -> ProgressBar {
    if quiet || !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    meter.watch();
    let (meter, keepers) = (Arc::clone(meter), Arc::clone(keepers));
    let state = move |state: &ProgressState, line: &mut dyn std::fmt::Write| {
        let waiting = keepers.waits_for();
        let text = sentence(&meter, state.elapsed(), waiting.as_deref());
        // Into memory: it can't fail.
        let _ = line.write_str(&text);
    };
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {state}  {elapsed}") {
        bar.set_style(style.with_key("state", state));
    }
    bar.enable_steady_tick(TICK);
    bar
}

fn sentence(meter: &Meter, elapsed: Duration, waiting: Option<&str>) -> String {
    let bytes = meter.bytes.load(Ordering::Relaxed);
    let percent = meter.percent().map(|it| format!("{it} %, "));
    let rate = u128::from(bytes) * 1000 / elapsed.as_millis().max(1);
    let rate = HumanBytes(u64::try_from(rate).unwrap_or(u64::MAX));
    let waiting = waiting.map(|what| format!("; {what}, trying again"));
    format!(
        "{}{} entries, {}, {rate}/s{}",
        percent.unwrap_or_default(),
        HumanCount(meter.entries.load(Ordering::Relaxed)),
        HumanBytes(bytes),
        waiting.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_fast_and_what_is_waited_for() {
        let meter = Meter::default();
        meter.bytes.store(4 << 20, Ordering::Relaxed);
        meter.entries.store(7, Ordering::Relaxed);
        let second = Duration::from_secs(2);
        let line = sentence(&meter, second, None);
        assert_eq!(line, "7 entries, 4.00 MiB, 2.00 MiB/s");
        let line = sentence(&meter, second, Some("hub:7170: the hub is out of reach"));
        assert!(line.ends_with("2.00 MiB/s; hub:7170: the hub is out of reach, trying again"));
    }
}
