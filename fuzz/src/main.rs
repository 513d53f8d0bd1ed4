//! Everything that reads bytes from others, fuzzed by one program: FUZZ_TARGET says what.
#![no_main]

mod peer;
mod place;
mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};

use targets::{TARGETS, Target};

/// No file grows longer, so that none takes long to read.
const LONGEST: u64 = 1 << 20;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(init: begin(), |data: &[u8]| {
    TARGET.get().expect("a target")(data);
});

fn begin() {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let named = TARGETS.iter().find(|(target, _)| *target == name);
    let Some((_, target)) = named else {
        let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        eprintln!(
            "FUZZ_TARGET={name}: no target; there are {}",
            names.join(", ")
        );
        std::process::exit(2);
    };
    TARGET.get_or_init(|| *target);
    // Writes beyond the limit fail, and do not end the process.
    let mut signal = SigSet::empty();
    signal.add(Signal::SIGXFSZ);
    signal.thread_block().expect("mask");
    setrlimit(Resource::RLIMIT_FSIZE, LONGEST, LONGEST).expect("limit");
}
