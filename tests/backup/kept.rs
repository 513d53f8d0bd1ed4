//! Backups that earlier releases have written, in `kept/`: each release restores them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::desk::Desk;

pub const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/backup/kept");

/// A new machine with a copy of what is kept under a name.
fn with_kept(name: &str) -> Desk {
    let desk = Desk::new();
    let kept = Path::new(KEPT).join(name);
    copy(&kept.join("keeper"), &desk.path("keeper"));
    // Empty, and so not in a repository of sources.
    for directory in ["part", "trash"] {
        fs::create_dir(desk.path("keeper").join(directory)).expect("directory");
    }
    let (phrase, keeper) = (kept.join("phrase"), desk.text("keeper"));
    let phrase = phrase.to_str().expect("UTF-8");
    let recover = ["backup", "recover", "--no-passphrase", "--phrase-file"];
    desk.fine(&[&recover[..], &[phrase, "--keeper", &keeper]].concat());
    desk
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("directory");
    for entry in fs::read_dir(from).expect("directory") {
        let entry = entry.expect("entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("kind").is_dir() {
            true => copy(&entry.path(), &to),
            false => fs::copy(entry.path(), &to).map(drop).expect("file"),
        }
    }
}

/// What both snapshots have, beneath where they were restored.
#[track_caller]
fn expect_what_stayed(top: &Path) {
    let text = |name: &[u8]| fs::read(top.join(OsStr::from_bytes(name))).expect("file");
    let hard = "Dear all,\nthis was the first letter.\n";
    assert_eq!(text(b"photos/hard"), hard.as_bytes());
    assert_eq!(text(b"doc/empty"), b"");
    assert_eq!(text(b"photos/odd \\ \n name"), b"odd");
    assert_eq!(text(b"photos/\xff"), b"not utf-8");
    let lines = b"a line of a large file\n".repeat(130_435);
    assert_eq!(text(b"photos/large"), lines[..3_000_000]);
    let sparse = text(b"sparse");
    assert!(sparse.ends_with(b"\0end") && sparse.len() == 1_000_003);
    let seen = |name: &str| fs::symlink_metadata(top.join(name)).expect("metadata");
    assert_eq!(
        fs::read_link(top.join("link")).expect("link"),
        Path::new("doc/letter.txt")
    );
    assert!(seen("pipe").file_type().is_fifo());
    assert_eq!(seen("photos/hard").mode() & 0o7777, 0o640);
    assert_eq!(seen("doc").mode() & 0o7777, 0o750);
    for name in ["link", "photos/hard", "sparse"] {
        let time = (seen(name).mtime(), seen(name).mtime_nsec());
        assert_eq!(time, (1_582_979_696, 123_456_789), "{name}");
    }
}

#[test]
fn a_backup_of_the_first_release_is_restored_and_continued() {
    let desk = with_kept("1");
    let listed = desk.fine(&["snapshots"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(
        lines[0].starts_with("8e4b30ab") && lines[0].ends_with("first"),
        "{listed}"
    );
    assert!(
        lines[1].starts_with("c2483683") && lines[1].ends_with("second"),
        "{listed}"
    );
    for (snapshot, letter, links) in [
        ("8e4b30ab", "Dear all,\nthis was the first letter.\n", 2),
        ("c2483683", "Dear all,\nthis is the second letter.\n", 1),
    ] {
        desk.fine(&["restore", snapshot, "--target", snapshot]);
        let top = desk.path(snapshot).join("home/anna");
        expect_what_stayed(&top);
        let path = top.join("doc/letter.txt");
        assert_eq!(fs::read_to_string(&path).expect("file"), letter);
        assert_eq!(fs::metadata(&path).expect("metadata").nlink(), links);
    }
    desk.fine(&["check", "--read-data"]);
    desk.fine(&["backup", &desk.text("8e4b30ab")]);
    desk.fine(&["forget", "8e4b30ab", "--prune"]);
    desk.fine(&["check", "--read-data"]);
    assert_eq!(desk.fine(&["snapshots"]).lines().count(), 2);
}
