//! Several runs at once.

use std::fs::{self, File};
use std::process::{Child, Stdio};

use crate::desk::{Desk, expect, noise, seen, wait_until};

fn begin(desk: &Desk, arguments: &[&str]) -> Child {
    let mut command = desk.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("tf-backup")
}

#[track_caller]
fn end(run: Child, status: i32) -> (String, String) {
    expect(&run.wait_with_output().expect("end"), status)
}

/// Two directories with some files that they share.
fn with_two_sources() -> Desk {
    let desk = Desk::with_keepers(&["one", "two"]);
    for (source, first) in [("left", 0), ("right", 4)] {
        fs::create_dir(desk.path(source)).expect("directory");
        for number in first..first + 8 {
            let path = desk.path(source).join(number.to_string());
            fs::write(path, noise(number, 1 << 20)).expect("file");
        }
    }
    desk
}

#[test]
fn two_machines_of_one_owner_back_up_at_once() {
    let desk = with_two_sources();
    let runs = ["left", "right"].map(|it| begin(&desk, &["backup", "--host", it, &desk.text(it)]));
    for run in runs {
        end(run, 0);
    }
    let listed = desk.fine(&["snapshots"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    for line in listed.lines() {
        desk.fine(&["restore", &line[..8], "--target", "back"]);
    }
    for source in ["left", "right"] {
        assert_eq!(
            seen(&desk.restored("back", source)),
            seen(&desk.path(source))
        );
    }
    desk.fine(&["prune"]);
    desk.fine(&["check", "--read-data"]);
}

#[test]
fn what_removes_files_waits_for_a_run_that_adds_some() {
    let desk = with_two_sources();
    desk.fine(&["backup", &desk.text("left")]);
    // As a run that adds files holds it.
    let mut entries = fs::read_dir(desk.path("one")).expect("directory");
    let owner = entries.find_map(|entry| {
        let name = entry.expect("entry").file_name();
        (name.len() == 32).then_some(name)
    });
    let owner = desk.path("one").join(owner.expect("the owner's directory"));
    let lock = File::open(&owner).expect("directory");
    lock.lock_shared().expect("lock");
    let log = desk.path("log");
    let mut prune = desk.command(&["prune"]);
    prune.stderr(File::create(&log).expect("file"));
    let mut prune = prune.stdout(Stdio::null()).spawn().expect("tf-backup");
    wait_until("the word that it waits", || {
        let said = fs::read_to_string(&log).expect("log");
        said.contains("another run is going on: waiting")
    });
    desk.fine(&["backup", &desk.text("right")]);
    assert!(prune.try_wait().expect("state").is_none(), "it waits");
    lock.unlock().expect("unlock");
    assert!(prune.wait().expect("end").success());
    desk.fine(&["check", "--read-data"]);
}
