//! What was saved comes back the same.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::sys::stat::Mode;
use rustix::fs::XattrFlags;

use crate::desk::{Desk, expect, noise, seen};
use crate::is_root;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("mode");
}

/// Some of everything.
fn fill(top: &Path) {
    fs::create_dir_all(top.join("a/deep/er")).expect("directories");
    fs::write(top.join("a/text"), "some text\n").expect("file");
    fs::write(top.join("a/empty"), "").expect("file");
    fs::write(top.join("a/deep/er/noise"), noise(1, 3 << 20)).expect("file");
    for name in [
        &b"with a\nnewline"[..],
        b"not \xff utf-8",
        b"quote\"back\\slash",
        b" ",
    ] {
        fs::write(top.join(OsStr::from_bytes(name)), name).expect("file");
    }
    symlink("a/text", top.join("link")).expect("link");
    symlink(OsStr::from_bytes(b"nowhere \xfe"), top.join("broken")).expect("link");
    fs::hard_link(top.join("a/text"), top.join("a/deep/other name")).expect("link");
    fs::hard_link(top.join("a/text"), top.join("z third name")).expect("link");
    nix::unistd::mkfifo(&top.join("pipe"), Mode::from_bits_truncate(0o640)).expect("pipe");
    let sparse = File::create(top.join("sparse")).expect("file");
    sparse.write_all_at(b"begin", 0).expect("write");
    sparse.write_all_at(b"end", 64 << 20).expect("write");
    // Not every filesystem has them.
    let _ = rustix::fs::setxattr(
        top.join("a/text"),
        "user.note",
        b"\0\xff",
        XattrFlags::empty(),
    );
    set_mode(&top.join("a/empty"), 0o4751);
    set_mode(&top.join("a/deep"), 0o1770);
    set_mode(&top.join("a/deep/er"), 0o500);
    if is_root() {
        chown(top.join("a/deep/er/noise"), Some(1234), Some(4321)).expect("owner");
        std::os::unix::fs::lchown(top.join("link"), Some(7), Some(8)).expect("owner");
    }
    let then = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    File::open(top.join("a/text"))
        .and_then(|file| file.set_modified(then))
        .expect("time");
    File::open(top.join("a"))
        .and_then(|file| file.set_modified(then))
        .expect("time");
}

#[test]
fn what_was_saved_comes_back_the_same() {
    let desk = Desk::with_keepers(&["one", "two"]);
    let source = desk.path("source");
    fill(&source);
    let made = desk.json(&["backup", &desk.text("source")]);
    assert_eq!(made["type"], "backup");
    let restored = desk.json(&["restore", "latest", "--target", "back"]);
    assert_eq!(restored["lost"].as_array().expect("list").len(), 0);
    let back = desk.restored("back", "source");
    assert_eq!(seen(&back), seen(&source));
    let (first, other) = (back.join("a/text"), back.join("z third name"));
    let inode = |path: &Path| fs::metadata(path).expect("metadata").ino();
    assert_eq!(inode(&first), inode(&other), "one file with three names");
    let blocks = fs::metadata(back.join("sparse"))
        .expect("metadata")
        .blocks();
    assert!(blocks * 512 < 4 << 20, "holes are holes: {blocks} blocks");
}

#[test]
fn a_second_run_reads_what_changed_and_each_snapshot_has_its_own_state() {
    let desk = Desk::with_keepers(&["one"]);
    let source = desk.path("source");
    fs::create_dir(&source).expect("directory");
    for name in 0..50 {
        fs::write(source.join(name.to_string()), noise(name, 4000)).expect("file");
    }
    desk.fine(&["backup", &desk.text("source")]);
    fs::write(source.join("7"), "changed").expect("file");
    fs::remove_file(source.join("8")).expect("remove");
    let made = desk.json(&["backup", "--tag", "second", &desk.text("source")]);
    assert_eq!(made["new"], 0, "{made}");
    assert_eq!(made["changed"], 1, "{made}");
    assert_eq!(made["unchanged"], 48, "{made}");
    let listed = desk.fine(&["--json", "snapshots"]);
    let snapshots: Vec<serde_json::Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(snapshots.len(), 2);
    assert_eq!(snapshots[1]["tags"][0], "second");
    let first = snapshots[0]["id"].as_str().expect("id");
    desk.fine(&["restore", &first[..8], "--target", "first"]);
    let first = desk.restored("first", "source");
    assert_eq!(fs::read(first.join("7")).expect("file"), noise(7, 4000));
    assert!(first.join("8").exists());
    desk.fine(&["restore", "latest", "--target", "latest"]);
    assert_eq!(seen(&desk.restored("latest", "source")), seen(&source));
    let people = desk.fine(&["snapshots"]);
    assert_eq!(people.lines().count(), 2, "{people}");
}

#[test]
fn a_part_of_a_snapshot_is_restored_by_its_path() {
    let desk = Desk::with_keepers(&["one"]);
    let source = desk.path("source");
    fill(&source);
    desk.fine(&["backup", &desk.text("source")]);
    let whole = source.canonicalize().expect("path");
    let part = |inside: &str| format!("latest:{}", whole.join(inside).display());
    desk.fine(&["restore", &part("a/deep/er"), "--target", "part"]);
    let bytes = fs::read(desk.path("part/noise")).expect("file");
    assert_eq!(bytes, noise(1, 3 << 20));
    desk.fine(&["restore", &part("a/text"), "--target", "file"]);
    assert_eq!(
        fs::read_to_string(desk.path("file/text")).expect("file"),
        "some text\n"
    );
    let (_, err) = desk.ends(1, &["restore", &part("nothing"), "--target", "none"]);
    assert!(err.contains("nothing"), "{err}");
}

#[test]
fn what_is_excluded_and_the_disks_themselves_are_not_saved() {
    let desk = Desk::with_keepers(&["source/disk"]);
    let source = desk.path("source");
    for name in [
        "keep/a.txt",
        "keep/a.tmp",
        "keep/cache/x",
        "whole/y",
        "other/whole/z",
        "gone/g",
    ] {
        let path = source.join(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, name).expect("file");
    }
    let whole = source.canonicalize().expect("path").join("whole");
    let gone = whole.with_file_name("gone");
    let patterns = desk.path("patterns");
    let text = format!("# left out\n\n{}\n", whole.display());
    fs::write(&patterns, text).expect("file");
    desk.fine(&[
        "backup",
        &desk.text("source"),
        "--exclude",
        "*.tmp",
        "--exclude",
        "cache/",
        "--exclude-file",
        patterns.to_str().expect("UTF-8"),
        "--exclude",
        &format!("{}/", gone.display()),
    ]);
    desk.fine(&["restore", "latest", "--target", "back"]);
    let names: Vec<String> = seen(&desk.restored("back", "source")).into_keys().collect();
    assert_eq!(
        names,
        [
            "",
            "keep",
            "keep/a.txt",
            "other",
            "other/whole",
            "other/whole/z"
        ]
    );
    for nothing in ["", "/", "//"] {
        let (_, said) = desk.ends(1, &["backup", "source", "--exclude", nothing]);
        let expected = format!("--exclude '{nothing}': it names nothing");
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn entries_that_cannot_be_read_are_named_and_the_others_saved() {
    let desk = Desk::new();
    let source = desk.path("source");
    fs::create_dir_all(source.join("closed")).expect("directory");
    for name in ["fine", "secret", "closed/inside"] {
        fs::write(source.join(name), name).expect("file");
    }
    set_mode(&source.join("secret"), 0);
    set_mode(&source.join("closed"), 0);
    let top = source.parent().expect("parent").to_owned();
    let run = |arguments: &[&str], status| {
        // Root reads everything.
        let mut command = desk.command(arguments);
        if is_root() {
            std::os::unix::process::CommandExt::gid(&mut command, 65534);
            std::os::unix::process::CommandExt::uid(&mut command, 65534);
        }
        expect(&command.output().expect("tf-backup"), status)
    };
    if is_root() {
        set_mode(&top, 0o755);
        for path in [&top, &desk.path("home")] {
            chown(path, Some(65534), Some(65534)).expect("owner");
        }
    }
    let disk = desk.text("disk");
    let phrase = desk.text("phrase");
    let init = ["backup", "init", "--no-passphrase", "--phrase-file"];
    run(&[&init[..], &[&phrase, "--keeper", &disk]].concat(), 0);
    let (out, err) = run(&["--json", "backup", &desk.text("source")], 3);
    assert!(err.contains("secret") && err.contains("closed"), "{err}");
    let made: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(made["left_out"].as_array().expect("list").len(), 2, "{out}");
    run(&["restore", "latest", "--target", "back"], 0);
    let names: Vec<String> = seen(&desk.restored("back", "source")).into_keys().collect();
    assert_eq!(names, ["", "closed", "fine"]);
    set_mode(&source.join("closed"), 0o755);
}

#[test]
fn links_in_the_target_are_not_followed() {
    let desk = Desk::with_keepers(&["one"]);
    let source = desk.path("source");
    fs::create_dir_all(source.join("inner")).expect("directory");
    fs::write(source.join("inner/file"), "mine").expect("file");
    fs::write(source.join("other"), "mine").expect("file");
    desk.fine(&["backup", &desk.text("source")]);
    fs::create_dir(desk.path("elsewhere")).expect("directory");
    fs::write(desk.path("victim"), "theirs").expect("file");
    let back = desk.path("back").join(
        source
            .canonicalize()
            .expect("path")
            .strip_prefix("/")
            .expect("path"),
    );
    fs::create_dir_all(&back).expect("directory");
    symlink(desk.path("elsewhere"), back.join("inner")).expect("link");
    symlink(desk.path("victim"), back.join("other")).expect("link");
    let (_, err) = desk.ends(3, &["restore", "latest", "--target", "back"]);
    assert!(err.contains("inner"), "{err}");
    assert_eq!(
        fs::read_dir(desk.path("elsewhere")).expect("list").count(),
        0
    );
    assert_eq!(
        fs::read_to_string(desk.path("victim")).expect("file"),
        "theirs"
    );
    assert_eq!(
        fs::read_to_string(back.join("other")).expect("file"),
        "mine"
    );
    assert!(
        fs::symlink_metadata(back.join("other"))
            .expect("metadata")
            .is_file()
    );
}

#[test]
fn many_files_come_back() {
    let count = match std::env::var_os("TFD_TEST_FULL") {
        Some(_) => 200_000,
        None => 10_000,
    };
    let desk = Desk::with_keepers(&["one", "two"]);
    let source = desk.path("source");
    for number in 0..count {
        let directory = source.join((number / 500).to_string());
        if number % 500 == 0 {
            fs::create_dir_all(&directory).expect("directory");
        }
        fs::write(directory.join(number.to_string()), number.to_string()).expect("file");
    }
    let made = desk.json(&["backup", &desk.text("source")]);
    assert_eq!(made["new"], count);
    let made = desk.json(&["backup", &desk.text("source")]);
    assert_eq!(made["unchanged"], count);
    desk.fine(&["restore", "latest", "--target", "back"]);
    let compared = Command::new("diff")
        .arg("-r")
        .args([&source, &desk.restored("back", "source")])
        .output()
        .expect("diff");
    assert!(compared.status.success(), "{compared:?}");
}
