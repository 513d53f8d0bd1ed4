//! How far a run is, on a terminal.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressState, ProgressStyle};

use crate::backup::Meter;

const TICK: Duration = Duration::from_millis(200);

/// A line that follows the meter until it is cleared.
pub(super) fn follow(meter: &Arc<Meter>, quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let meter = Arc::clone(meter);
    let state = move |_: &ProgressState, line: &mut dyn std::fmt::Write| {
        let entries = HumanCount(meter.entries.load(Ordering::Relaxed));
        let bytes = HumanBytes(meter.bytes.load(Ordering::Relaxed));
        // Into memory: it can't fail.
        let _ = write!(line, "{entries} entries, {bytes}");
    };
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {state}  {elapsed}") {
        bar.set_style(style.with_key("state", state));
    }
    bar.enable_steady_tick(TICK);
    bar
}
