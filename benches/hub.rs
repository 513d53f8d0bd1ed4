//! How many files a hub places on one core, for `scripts/bench`: it has the first core for
//! itself, its owners and keepers the others. The files are nothing but names.

#![allow(unreachable_pub, reason = "shared by the test binaries")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "numbers of the bench are small"
)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/hub/peer.rs"]
#[allow(dead_code, reason = "the hub's tests use the rest")]
mod peer;

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use tfd::hub::wire::{Name, Value};

use self::peer::{GIB, Hub, Line, MIB, Person, code, named, server};

/// Files of an owner: beyond 1,000 requests at once, two for each file, a hub takes no
/// more than 200 a second of one peer. Each owner has a keeper.
const FILES: usize = 400;

/// The files that each owner has under way.
const WINDOW: usize = 16;

/// Bytes of a file.
const SIZE: u64 = 1024;

fn main() -> ExitCode {
    let count = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let Some(count) = count else {
        eprintln!("usage: hub COUNT       files placed per second on one core");
        return ExitCode::from(2);
    };
    run_on(&[0]);
    let Some(hub) = server(&format!("window = {WINDOW}")) else {
        return ExitCode::FAILURE;
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    run_on(&(1..cores.max(2)).collect::<Vec<_>>());
    println!("{:.0}", rate(&hub, count));
    ExitCode::SUCCESS
}

/// Keeps this thread, and what it starts later, on these cores.
fn run_on(cores: &[usize]) {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core).expect("core");
    }
    // Of one core alone all have to make do with it.
    let _ = sched_setaffinity(Pid::from_raw(0), &set);
}

/// Files per second.
fn rate(hub: &Hub, count: usize) -> f64 {
    let owners = count.div_ceil(FILES).max(2);
    let keepers: Vec<_> = (0..owners)
        .map(|at| Person::new(&format!("keeper{at}")))
        .collect();
    for keeper in &keepers {
        let line = hub.holder(keeper, GIB);
        thread::spawn(move || keep(line));
    }
    let keepers = Arc::new(keepers);
    let owners: Vec<_> = (0..owners)
        .map(|at| {
            let person = Person::new(&format!("owner{at}"));
            let mut line = hub.owner(&person);
            line.begin(MIB, 1, u8::try_from(at).expect("few owners"));
            (person, line)
        })
        .collect();
    let files = count / owners.len();
    let placed = (files * owners.len()) as f64;
    let begin = Instant::now();
    let threads: Vec<_> = owners
        .into_iter()
        .map(|(person, line)| {
            let keepers = Arc::clone(&keepers);
            thread::spawn(move || place(line, &person, &keepers, files))
        })
        .collect();
    for thread in threads {
        thread.join().expect("owner");
    }
    placed / begin.elapsed().as_secs_f64()
}

/// Takes each file that the hub announces.
fn keep(mut line: Line) {
    while let Some(asked) = line.line() {
        if asked.starts_with("RCV ") {
            line.send(&format!("211 OK to send file ; id={}", named(&asked, "id")));
        }
    }
}

/// Has so many files placed, each signed for by its keeper.
fn place(mut line: Line, owner: &Person, keepers: &[Person], count: usize) {
    let (mut asked, mut placed) = (0, 0);
    while placed < count {
        while asked < count && asked < placed + WINDOW {
            asked += 1;
            let mut name = Name([0; 32]);
            name.0[..8].copy_from_slice(&(asked as u64).to_be_bytes());
            line.request(&format!("PUT {} {SIZE}", name.text()));
        }
        let said = line.line().expect("an answer");
        if said.starts_with("DST ") {
            let words: Vec<&str> = said.split(' ').collect();
            let name = Name::read(words[1]).expect("name");
            let keeper = keepers.iter().find(|it| it.name == words[3]);
            let receipt = keeper.expect("keeper").receipt(owner, name, SIZE);
            line.request(&format!("DFI {} {} receipt={receipt}", words[1], words[3]));
        } else {
            // Notes such as NFI have no number.
            assert!([0, 212].contains(&code(&said)), "{said}");
            placed += usize::from(code(&said) == 212);
        }
    }
}
