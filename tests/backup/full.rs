//! Disks without room.

use std::fs;

use crate::desk::{Desk, noise, seen};
use crate::disk::SmallDisk;

/// Files of so many MiB in all, in a directory.
fn fill(desk: &Desk, directory: &str, from: u64, mib: u64) {
    fs::create_dir_all(desk.path(directory)).expect("directory");
    for number in from..from + mib {
        let path = desk.path(directory).join(number.to_string());
        fs::write(path, noise(number, 1 << 20)).expect("file");
    }
}

#[track_caller]
fn expect_back(desk: &Desk, snapshot: &str, source: &str, target: &str) {
    desk.fine(&["restore", snapshot, "--target", target]);
    assert_eq!(
        seen(&desk.restored(target, source)),
        seen(&desk.path(source))
    );
}

#[test]
fn a_full_disk_fails_the_run_by_its_name_and_the_snapshots_on_it_stay_whole() {
    let Some(disk) = SmallDisk::mount(16) else {
        return;
    };
    let place = disk.path().to_str().expect("UTF-8").to_owned();
    let desk = Desk::with_keepers(&[&place]);
    fill(&desk, "small", 0, 4);
    fill(&desk, "large", 100, 40);
    desk.fine(&["backup", &desk.text("small")]);
    let (_, err) = desk.ends(1, &["backup", &desk.text("large")]);
    assert!(
        err.contains(&format!("{place}: takes no more: No space")),
        "{err}"
    );
    assert!(err.contains("make room there"), "{err}");
    assert_eq!(desk.fine(&["snapshots"]).lines().count(), 1);
    expect_back(&desk, "latest", "small", "back");
    let (_, err) = desk.ends(0, &["check", "--read-data"]);
    assert_eq!(err, "");
}

#[test]
fn beside_a_full_disk_the_others_get_all_and_what_was_forgotten_gives_way() {
    let Some(disk) = SmallDisk::mount(32) else {
        return;
    };
    let place = disk.path().to_str().expect("UTF-8").to_owned();
    let desk = Desk::with_keepers(&["one", &place]);
    fill(&desk, "first", 0, 18);
    fill(&desk, "second", 100, 18);
    desk.fine(&["backup", &desk.text("first")]);
    let (_, err) = desk.ends(4, &["backup", &desk.text("second")]);
    assert!(err.contains(&format!("{place}: takes no more")), "{err}");
    expect_back(&desk, "latest~1", "first", "back");
    expect_back(&desk, "latest", "second", "back");
    // What no snapshot needs goes into the trash, and from there when room is needed.
    desk.fine(&["forget", "latest~1", "--prune"]);
    let (_, err) = desk.ends(0, &["backup", &desk.text("second")]);
    assert!(err.contains("its trash has been emptied"), "{err}");
    fs::remove_dir_all(desk.path("one")).expect("remove");
    expect_back(&desk, "latest", "second", "again");
}

#[test]
fn a_prune_that_finds_no_room_removes_nothing_that_is_needed() {
    let Some(disk) = SmallDisk::mount(40) else {
        return;
    };
    let place = disk.path().to_str().expect("UTF-8").to_owned();
    let desk = Desk::with_keepers(&["one", &place]);
    fill(&desk, "source", 0, 12);
    desk.fine(&["backup", &desk.text("source")]);
    for number in 0..4 {
        fs::remove_file(desk.path("source").join(number.to_string())).expect("remove");
    }
    desk.fine(&["backup", &desk.text("source")]);
    desk.fine(&["forget", "latest~1"]);
    let room = fs::File::create(disk.path().join("somebody's")).expect("file");
    rustix::fs::fallocate(&room, rustix::fs::FallocateFlags::empty(), 0, 24 << 20).expect("room");
    let (_, err) = desk.ends(1, &["prune", "--max-unused", "0%"]);
    assert!(err.contains(&format!("{place}: takes no more")), "{err}");
    expect_back(&desk, "latest", "source", "back");
    fs::rename(desk.path("one"), desk.path("away")).expect("rename");
    expect_back(&desk, "latest", "source", "again");
    fs::rename(desk.path("away"), desk.path("one")).expect("rename");
    room.set_len(0).expect("shorter");
    desk.fine(&["prune", "--max-unused", "0%"]);
    desk.fine(&["check", "--read-data"]);
    fs::remove_dir_all(desk.path("one")).expect("remove");
    expect_back(&desk, "latest", "source", "last");
}
