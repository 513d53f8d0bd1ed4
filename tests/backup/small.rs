//! Keeping a backup small and whole.

use std::fs;

use crate::desk::{Desk, noise, seen};

/// Some snapshots, each with a file of its own.
fn with_snapshots(count: u64) -> Desk {
    let desk = Desk::with_keepers(&["one", "two"]);
    let source = desk.path("source");
    fs::create_dir(&source).expect("directory");
    for number in 0..count {
        fs::write(source.join("file"), noise(number, 2 << 20)).expect("file");
        desk.fine(&["backup", &desk.text("source")]);
    }
    desk
}

fn snapshots(desk: &Desk) -> Vec<String> {
    let people = desk.fine(&["snapshots"]);
    people.lines().map(|line| line[..8].to_owned()).collect()
}

fn bytes(desk: &Desk, keeper: &str) -> u64 {
    let packs = desk.files(keeper, "d");
    packs
        .iter()
        .filter(|path| !path.to_string_lossy().contains("/trash/"))
        .map(|path| fs::metadata(path).expect("metadata").len())
        .sum()
}

#[test]
fn what_is_forgotten_is_removed_and_the_rest_comes_back() {
    let desk = with_snapshots(4);
    let before = bytes(&desk, "one");
    let all = snapshots(&desk);
    let (_, err) = desk.ends(1, &["forget", "--keep-last", "1"]);
    assert!(err.contains("3 of 4") && err.contains("--yes"), "{err}");
    assert_eq!(snapshots(&desk), all, "nothing was forgotten yet");
    desk.fine(&["forget", "--keep-last", "1", "-n"]);
    assert_eq!(snapshots(&desk), all);
    let said = desk.fine(&["forget", "--keep-last", "1", "--yes", "--prune"]);
    assert!(said.contains("3 snapshots forgotten, 1 kept"), "{said}");
    assert_eq!(snapshots(&desk), all[3..]);
    for keeper in ["one", "two"] {
        assert!(bytes(&desk, keeper) < before / 2, "{keeper}");
    }
    desk.fine(&["check", "--read-data"]);
    desk.fine(&["restore", "latest", "--target", "back"]);
    assert_eq!(
        seen(&desk.restored("back", "source")),
        seen(&desk.path("source"))
    );
}

#[test]
fn a_snapshot_is_forgotten_by_its_name() {
    let desk = with_snapshots(3);
    let all = snapshots(&desk);
    desk.fine(&["forget", &all[1]]);
    assert_eq!(snapshots(&desk), [all[0].clone(), all[2].clone()]);
    let (_, err) = desk.ends(1, &["forget", "00000000"]);
    assert!(err.contains("tf snapshots lists"), "{err}");
    let (_, err) = desk.ends(1, &["forget"]);
    assert!(err.contains("--keep-daily"), "{err}");
}

#[test]
fn nothing_is_removed_while_a_disk_is_away() {
    let desk = with_snapshots(2);
    let all = snapshots(&desk);
    fs::rename(desk.path("two"), desk.path("away")).expect("rename");
    for command in [&["forget", &all[0]][..], &["prune"]] {
        let (_, err) = desk.ends(1, command);
        assert!(err.contains("come back"), "{err}");
        assert!(err.contains("remove-keeper"), "{err}");
    }
    fs::rename(desk.path("away"), desk.path("two")).expect("rename");
    assert_eq!(snapshots(&desk), all);
}

#[test]
fn a_disk_that_is_lost_for_good_is_left_behind() {
    let desk = with_snapshots(2);
    let (one, two) = (desk.text("one"), desk.text("two"));
    let (_, err) = desk.ends(1, &["backup", "remove-keeper", "elsewhere"]);
    assert!(err.contains("not a keeper") && err.contains(&two), "{err}");
    fs::remove_dir_all(&two).expect("remove");
    desk.fine(&["backup", "remove-keeper", &two]);
    desk.fine(&["forget", "latest~1", "--prune"]);
    desk.fine(&["backup", &desk.text("source")]);
    let (_, err) = desk.ends(1, &["backup", "remove-keeper", &one]);
    assert!(err.contains("add-keeper first"), "{err}");
}

#[test]
fn a_prune_removes_what_it_is_to_remove_and_no_more() {
    let desk = Desk::with_keepers(&["one"]);
    let source = desk.path("source");
    fs::create_dir(&source).expect("directory");
    for number in 0..4 {
        fs::write(source.join(number.to_string()), noise(number, 1 << 20)).expect("file");
    }
    desk.fine(&["backup", &desk.text("source")]);
    for number in 0..3 {
        fs::remove_file(source.join(number.to_string())).expect("remove");
    }
    desk.fine(&["backup", &desk.text("source")]);
    desk.fine(&["forget", "latest~1"]);
    desk.fine(&["prune", "--max-unused", "unlimited"]);
    assert!(bytes(&desk, "one") > 4 << 20, "nothing was rewritten");
    desk.fine(&["prune"]);
    assert!(bytes(&desk, "one") < 2 << 20, "{}", bytes(&desk, "one"));
}

#[test]
fn a_check_names_what_is_lost_and_a_repair_leaves_the_rest_whole() {
    let desk = with_snapshots(1);
    fs::write(desk.path("source/fine"), "fine").expect("file");
    desk.fine(&["backup", &desk.text("source")]);
    let mut packs = desk.files("one", "d");
    packs.sort_by_key(|path| fs::metadata(path).expect("metadata").len());
    let largest = packs.pop().expect("a pack");
    let name = largest.file_name().expect("name").to_owned();
    for keeper in ["one", "two"] {
        let copy = desk.files(keeper, "d").into_iter();
        let copy = copy.filter(|path| path.file_name() == Some(&name));
        copy.for_each(|path| fs::remove_file(path).expect("remove"));
    }
    let (_, err) = desk.ends(1, &["check"]);
    assert!(err.contains(&name.to_string_lossy()[..8]), "{err}");
    desk.ends(3, &["restore", "latest", "--target", "back"]);
    desk.fine(&["repair", "snapshots"]);
    desk.fine(&["check"]);
    desk.fine(&["restore", "latest", "--target", "repaired"]);
    let back = desk.restored("repaired", "source");
    assert_eq!(fs::read_to_string(back.join("fine")).expect("file"), "fine");
}
