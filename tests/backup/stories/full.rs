//! Disks that are full: at a keeper, at the hub, and where a restore writes.

use std::io;

use crate::disk::SmallDisk;

use super::*;

fn add(party: &Party, directory: &str, from: u64, mib: u64) {
    let directory = party.anna.path("source").join(directory);
    fs::create_dir_all(&directory).expect("directory");
    for number in from..from + mib {
        let path = directory.join(number.to_string());
        fs::write(path, noise(number, 1 << 20)).expect("file");
    }
}

/// A keeper whose disk has so many MiB.
fn on(disk: &SmallDisk) -> Different {
    Different {
        above: Some(disk.path().to_owned()),
        ..Different::default()
    }
}

#[test]
fn a_keeper_with_a_full_disk_is_passed_over() {
    let Some(disk) = SmallDisk::mount(24) else {
        return;
    };
    let keepers = vec![
        ("bob", on(&disk)),
        ("carol", Different::default()),
        ("dave", Different::default()),
    ];
    let Some(party) = Party::with("2", keepers) else {
        return;
    };
    add(&party, "much", 1000, 60);
    party.anna.fine(&["backup", "source"]);
    party.expect_restored();
}

#[test]
fn a_full_disk_at_the_only_keeper_fails_the_run_and_what_was_there_stays() {
    let Some(disk) = SmallDisk::mount(24) else {
        return;
    };
    let Some(party) = Party::with("1", vec![("bob", on(&disk))]) else {
        return;
    };
    party.anna.fine(&["backup", "source"]);
    add(&party, "much", 1000, 60);
    let (_, err) = party.anna.ends(1, &["backup", "source"]);
    assert!(err.contains("no keeper takes it"), "{err}");
    let machine = party.machine();
    assert_eq!(machine.fine(&["snapshots"]).lines().count(), 1);
    fs::remove_dir_all(party.anna.path("source/much")).expect("remove");
    machine.fine(&["restore", "latest", "--target", "back"]);
    let inside = party.anna.path("source").canonicalize().expect("path");
    let back = machine.path("back");
    let back = back.join(inside.strip_prefix("/").expect("path"));
    let (mut here, mut there) = (seen(&inside), seen(&back));
    for tree in [&mut here, &mut there] {
        // Its time is that of the last change.
        tree.remove("");
    }
    assert!(here == there);
}

#[test]
fn a_restore_to_a_full_disk_names_what_has_no_room_and_goes_on_where_there_is_some() {
    let Some(disk) = SmallDisk::mount(6) else {
        return;
    };
    let Some(party) = Party::of("1", &["bob"]) else {
        return;
    };
    add(&party, "much", 1000, 12);
    party.anna.fine(&["backup", "source"]);
    let machine = party.machine();
    let target = disk.path().join("back");
    let target = target.to_str().expect("UTF-8");
    let (_, err) = machine.ends(3, &["restore", "latest", "--target", target]);
    assert!(
        err.contains("much/") && err.contains("No space left"),
        "{err}"
    );
    machine.fine(&["restore", "latest", "--target", "back"]);
    party.expect_same(&machine);
}

/// A party whose hub has its database on a small disk, which outlives it.
fn party_on_small_disk() -> Option<(SmallDisk, Party)> {
    let disk = SmallDisk::mount(96)?;
    let hub = fixed(peer::server_on(Some(disk.path()), "", "")?);
    let party = Party::at(hub, "1", vec![("bob", Different::default())]);
    Some((disk, party))
}

/// Writes a file until the disk is full.
fn fill_up(file: &Path) -> fs::File {
    let mut rest = fs::File::create(file).expect("file");
    assert!(io::copy(&mut io::repeat(0), &mut rest).is_err());
    rest
}

#[test]
fn a_hub_whose_disk_fills_up_before_the_first_backup_serves_logins_all_the_same() {
    let Some((disk, party)) = party_on_small_disk() else {
        return;
    };
    let broker = || {
        let mut all = descendants(party.hub.pid()).into_iter();
        all.find(|(_, name)| name == "tfd-hub")
    };
    let before = broker();
    let _rest = fill_up(&disk.path().join("filler"));
    for _ in 0..3 {
        // The first login in a second notes the time.
        std::thread::sleep(std::time::Duration::from_secs(1));
        party.anna.fine(&["hub", "status"]);
    }
    assert!(before.is_some());
    assert_eq!(broker(), before, "the same process");
}

#[test]
fn a_hub_whose_disk_is_full_gives_back_what_it_has_and_takes_more_once_there_is_room() {
    let Some((disk, party)) = party_on_small_disk() else {
        return;
    };
    party.anna.fine(&["backup", "source"]);
    let filler = disk.path().join("filler");
    let rest = fill_up(&filler);
    add(&party, "later", 2000, 4);
    // The first login in a second notes the time.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let (_, err) = party.anna.ends(1, &["backup", "source"]);
    assert!(err.contains("disk of the hub is full"), "{err}");
    fs::remove_dir_all(party.anna.path("source/later")).expect("remove");
    let machine = party.machine();
    assert_eq!(machine.fine(&["snapshots"]).lines().count(), 1);
    machine.fine(&["restore", "latest", "--target", "back"]);
    drop(rest);
    fs::remove_file(filler).expect("remove");
    add(&party, "later", 2000, 4);
    party.anna.fine(&["backup", "source"]);
    party.expect_restored();
}
