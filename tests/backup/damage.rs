//! Disks that are lost, away, full or wrong.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::desk::{Desk, noise, seen};

/// A backup of some files.
fn saved(keepers: &[&str]) -> Desk {
    saved_of(keepers, 1 << 20)
}

fn saved_of(keepers: &[&str], size: usize) -> Desk {
    let desk = Desk::with_keepers(keepers);
    let source = desk.path("source");
    fs::create_dir(&source).expect("directory");
    for number in 0..4 {
        let bytes = noise(number, size);
        fs::write(source.join(number.to_string()), bytes).expect("file");
    }
    desk.fine(&["backup", &desk.text("source")]);
    desk
}

fn flip(path: &Path, offset: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path);
    let file = file.expect("file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read");
    file.write_all_at(&[byte[0] ^ 1], offset).expect("write");
}

#[track_caller]
fn expect_all_back(desk: &Desk, target: &str) {
    let source = seen(&desk.path("source"));
    assert_eq!(seen(&desk.restored(target, "source")), source);
}

#[test]
fn a_wiped_disk_takes_nothing_away_and_is_filled_again() {
    let desk = saved(&["one", "two"]);
    fs::remove_dir_all(desk.path("one")).expect("remove");
    fs::create_dir(desk.path("one")).expect("directory");
    desk.fine(&["restore", "latest", "--target", "back"]);
    expect_all_back(&desk, "back");
    let (_, err) = desk.ends(4, &["backup", &desk.text("source")]);
    assert!(err.contains("one: has nothing"), "{err}");
    let left = fs::read_dir(desk.path("one")).expect("list").count();
    assert_eq!(left, 0, "a disk that is not mounted is not written to");
    desk.fine(&["backup", "add-keeper", &desk.text("one")]);
    desk.fine(&["backup", &desk.text("source")]);
    fs::remove_dir_all(desk.path("two")).expect("remove");
    desk.fine(&["restore", "latest", "--target", "again"]);
    expect_all_back(&desk, "again");
}

#[test]
fn a_disk_that_was_away_gets_what_it_missed() {
    let desk = saved(&["one", "two"]);
    fs::rename(desk.path("two"), desk.path("away")).expect("rename");
    fs::write(desk.path("source/new"), noise(9, 1 << 20)).expect("file");
    desk.ends(4, &["backup", &desk.text("source")]);
    fs::rename(desk.path("away"), desk.path("two")).expect("rename");
    desk.fine(&["backup", &desk.text("source")]);
    fs::remove_dir_all(desk.path("one")).expect("remove");
    desk.fine(&["restore", "latest", "--target", "back"]);
    expect_all_back(&desk, "back");
}

#[test]
fn a_damaged_copy_is_replaced_from_the_other_disk() {
    for kind in ["d", "i", "s", "c"] {
        for damage in ["flipped", "shorter", "gone"] {
            let desk = saved(&["one", "two"]);
            for file in desk.files("one", kind) {
                match damage {
                    "flipped" => flip(&file, 40),
                    "shorter" => {
                        let file = fs::OpenOptions::new().write(true).open(&file);
                        file.and_then(|file| file.set_len(90)).expect("shorter");
                    }
                    _ => fs::remove_file(&file).expect("remove"),
                }
            }
            let (_, err) = desk.ends(0, &["restore", "latest", "--target", "back"]);
            let is_said = damage == "gone" || err.contains("replaced by a good copy");
            assert!(is_said, "{kind} {damage}: {err}");
            expect_all_back(&desk, "back");
            desk.fine(&["backup", &desk.text("source")]);
            fs::remove_dir_all(desk.path("two")).expect("remove");
            desk.fine(&["restore", "latest", "--target", "again"]);
            expect_all_back(&desk, "again");
        }
    }
}

#[test]
fn without_a_good_copy_the_lost_files_are_named_and_the_others_restored() {
    let desk = saved_of(&["one"], 10 << 20);
    let packs = desk.files("one", "d");
    let large = packs
        .iter()
        .max_by_key(|path| fs::metadata(path).expect("metadata").len());
    flip(large.expect("a pack"), 5 << 20);
    let (_, err) = desk.ends(3, &["restore", "latest", "--target", "back"]);
    assert!(err.contains("lost: "), "{err}");
    let (back, source) = (
        seen(&desk.restored("back", "source")),
        seen(&desk.path("source")),
    );
    let missing: Vec<_> = source
        .keys()
        .filter(|name| !back.contains_key(*name))
        .collect();
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(err.contains(&format!("/source/{}: ", missing[0])), "{err}");
    for (name, entry) in &back {
        assert_eq!(entry, &source[name], "{name}");
    }
}

#[test]
fn a_disk_that_fails_is_named_and_the_others_are_used() {
    let desk = saved(&["one", "two"]);
    // Root reads what has no mode, but not a directory that is none.
    let indexes = desk.files("two", "i");
    let broken = indexes[0].ancestors().nth(2).expect("directory");
    fs::remove_dir_all(broken).expect("remove");
    fs::write(broken, "").expect("file");
    fs::write(desk.path("source/new"), "new").expect("file");
    let (_, err) = desk.ends(4, &["backup", &desk.text("source")]);
    let two = desk.text("two");
    assert!(
        err.contains(&format!("{two}: takes no more: Not a directory")),
        "{err}"
    );
    desk.fine(&["restore", "latest", "--target", "back"]);
    expect_all_back(&desk, "back");
    fs::remove_dir_all(&two).expect("remove");
    fs::write(&two, "").expect("file");
    let (_, err) = desk.ends(4, &["backup", &desk.text("source")]);
    assert!(err.contains(&format!("{two}: Not a directory")), "{err}");
}

#[test]
fn a_repository_that_is_gone_is_no_new_one() {
    let desk = saved(&["one"]);
    fs::remove_dir_all(desk.path("one")).expect("remove");
    fs::create_dir(desk.path("one")).expect("directory");
    for command in [&["backup", "source"][..], &["snapshots"]] {
        let (_, err) = desk.ends(12, command);
        assert!(err.contains("mounted"), "{err}");
    }
}
