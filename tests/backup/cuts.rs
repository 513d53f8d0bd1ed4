//! Runs that are killed in the middle, and then run again. They are killed at a chosen
//! system call, so no run is too fast to be cut and none too slow.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use crate::desk::{Desk, PROGRAM, noise, seen, walk};

/// Enough for several packs.
fn with_large_files() -> Desk {
    let desk = Desk::with_keepers(&["one", "two"]);
    let source = desk.path("source");
    fs::create_dir(&source).expect("directory");
    for number in 0..16 {
        let bytes = noise(number, 8 << 20);
        fs::write(source.join(number.to_string()), bytes).expect("file");
    }
    desk
}

/// Runs the program, and kills it when one of its threads renames something for the
/// `count`-th time. Whether it was killed; `None` where that is not possible.
fn killed_at_rename(desk: &Desk, count: u32, arguments: &[&str]) -> Option<bool> {
    let inject = format!("inject=/^rename:signal=KILL:when={count}");
    let mut command = desk.command_of("strace", &["-f", "-q", "-o", "/dev/null"]);
    command.args(["-e", "trace=/^rename", "-e", &inject, PROGRAM]);
    command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let Ok(status) = command.status() else {
        println!("left out: there is no strace");
        return None;
    };
    Some(status.signal() == Some(9))
}

#[track_caller]
fn expect_source_in(desk: &Desk, target: &str) {
    let source = seen(&desk.path("source"));
    assert_eq!(seen(&desk.restored(target, "source")), source);
}

#[test]
fn a_backup_that_was_killed_is_completed_by_the_next_and_keeps_what_was_written() {
    let desk = with_large_files();
    let run = ["backup", &desk.text("source")];
    let Some(killed) = killed_at_rename(&desk, 4, &run) else {
        return;
    };
    assert!(killed);
    assert_eq!(
        desk.files("one", "s").len(),
        0,
        "nothing is half a snapshot"
    );
    assert_eq!(desk.fine(&["snapshots"]), "");
    let before = desk.files("one", "d");
    assert!(before.len() >= 3, "{before:?}");
    let made = desk.json(&run);
    let added = made["added"].as_u64().expect("a number");
    let adopted = before.len() as u64 * (15 << 20);
    let all = (16 * 8) << 20;
    assert!(added < all - adopted / 2, "{added} added again");
    let now = desk.files("one", "d");
    assert!(before.iter().all(|pack| now.contains(pack)));
    desk.fine(&["restore", "latest", "--target", "back"]);
    expect_source_in(&desk, "back");
}

#[test]
fn a_restore_that_was_killed_is_continued_by_the_next() {
    let desk = with_large_files();
    desk.fine(&["backup", &desk.text("source")]);
    let restore = ["restore", "latest", "--target", "back"];
    let Some(killed) = killed_at_rename(&desk, 2, &restore) else {
        return;
    };
    assert!(killed);
    let restored = desk.json(&restore);
    let unchanged = restored["unchanged"].as_u64().expect("a number");
    assert!((1..16).contains(&unchanged), "{restored}");
    expect_source_in(&desk, "back");
    let mut left = Vec::new();
    walk(&desk.path("back"), &mut left);
    assert_eq!(left.len(), 16, "no part stays: {left:?}");
}

/// Two snapshots; the first is forgotten, and so packs are rewritten and removed.
fn with_a_forgotten_snapshot() -> Desk {
    let desk = Desk::with_keepers(&["one", "two"]);
    let source = desk.path("source");
    fs::create_dir(&source).expect("directory");
    for number in 0..8 {
        let bytes = noise(number, 600_000);
        fs::write(source.join(number.to_string()), bytes).expect("file");
    }
    desk.fine(&["backup", &desk.text("source")]);
    for number in 0..6 {
        fs::remove_file(source.join(number.to_string())).expect("remove");
    }
    desk.fine(&["backup", &desk.text("source")]);
    desk.fine(&["forget", "latest~1"]);
    desk
}

#[test]
fn a_prune_that_was_killed_at_any_step_loses_nothing_and_the_next_completes_it() {
    let prune = ["prune", "--max-unused", "0%"];
    let mut cuts = 0;
    // It ends by itself when there are no more steps.
    for step in 1.. {
        let desk = with_a_forgotten_snapshot();
        match killed_at_rename(&desk, step, &prune) {
            None => return,
            Some(false) => break,
            Some(true) => cuts += 1,
        }
        desk.fine(&["restore", "latest", "--target", "back"]);
        expect_source_in(&desk, "back");
        fs::write(desk.path("source/new"), "new").expect("file");
        desk.fine(&["backup", &desk.text("source")]);
        desk.fine(&prune);
        desk.fine(&["check", "--read-data"]);
        for keeper in ["one", "two"] {
            let packs = desk.files(keeper, "d");
            let is_kept = |path: &&std::path::PathBuf| !path.to_string_lossy().contains("/trash/");
            let kept = packs.iter().filter(is_kept);
            let bytes: u64 = kept
                .map(|it| fs::metadata(it).expect("metadata").len())
                .sum();
            assert!(bytes < 1_400_000, "step {step}: {bytes} in {keeper}");
        }
        fs::remove_dir_all(desk.path("one")).expect("remove");
        desk.fine(&["restore", "latest", "--target", "again"]);
        expect_source_in(&desk, "again");
    }
    assert!(cuts >= 4, "{cuts} steps");
}
