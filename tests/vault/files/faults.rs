//! Syncs that are killed, and files that others change at the same time.

use std::fs;
use std::time::Duration;

use super::*;
use crate::common::wait_until;

#[test]
fn a_sync_that_is_killed_at_any_moment_loses_nothing() {
    let Some(devices) = Devices::linked(2) else {
        return;
    };
    let [ann, bob] = &devices.people[..] else {
        panic!("two")
    };
    for round in 0..12_u64 {
        fine(
            ann,
            &format!("{FILE}x\n"),
            &["add", "f.kdbx", &format!("ann {round}")],
        );
        fine(
            bob,
            &format!("{FILE}x\n"),
            &["add", "f.kdbx", &format!("bob {round}")],
        );
        for person in [ann, bob] {
            let mut running = start(person, &["sync", "f.kdbx"]);
            std::thread::sleep(Duration::from_millis(20 * round));
            let _ = running.0.kill();
        }
    }
    devices.settle();
    let listed = fine(ann, FILE, &["ls", "f.kdbx"]);
    for round in 0..12 {
        let lines = |name: String| listed.lines().filter(|line| *line == name).count();
        assert_eq!(
            (lines(format!("ann {round}")), lines(format!("bob {round}"))),
            (1, 1),
            "{listed}"
        );
    }
    let left = fs::read_dir(ann.path("")).expect("home").count();
    assert!(left < 30, "a killed run leaves one file at most");
}

#[test]
fn what_a_program_saves_while_a_file_is_synced_arrives() {
    let Some(devices) = Devices::linked(2) else {
        return;
    };
    let [ann, bob] = &devices.people[..] else {
        panic!("two")
    };
    let watching = start(ann, &["watch", "f.kdbx"]);
    for number in 0..5 {
        xc(
            ann,
            &["add", "-u", "u", "f.kdbx", &format!("entry {number}")],
            FILE,
        );
    }
    wait_until("all have arrived", || {
        devices.sync(1);
        fine(bob, FILE, &["ls", "f.kdbx"]).matches("entry ").count() == 5
    });
    // And what comes from elsewhere is in the file by itself.
    fine(bob, &format!("{FILE}x\n"), &["add", "f.kdbx", "from bob"]);
    devices.sync(1);
    wait_until("it has come", || {
        fine(ann, FILE, &["ls", "f.kdbx"]).contains("from bob\n")
    });
    drop(watching);
    devices.settle();
}
