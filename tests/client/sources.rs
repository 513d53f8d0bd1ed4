//! Sources and targets that change, are in each other's way, or are none.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::common::wait_until;
use crate::desk::{Desk, Run, content};

/// `tf` under way with a slow transfer, when some of it has been moved.
fn begun(desk: &Desk, arguments: &[&str], what: impl Fn() -> bool) -> Child {
    let mut command = desk.command(arguments);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tf");
    wait_until("something is moved", what);
    child
}

fn end(child: Child) -> Run {
    child.wait_with_output().expect("wait").into()
}

#[test]
fn a_file_that_changes_while_it_is_sent_arrives_as_one_version() {
    let desk = Desk::new();
    for (len, streams) in [(3_000_000, "1"), (9_000_000, "1"), (70_000_000, "2")] {
        // It takes five seconds, which a test may be kept waiting for some of.
        let limit = format!("{}", len / 5);
        let path = desk.write("source", content(len, 1));
        let put = ["put", "-j", streams, "--limit", &limit, "source", "f"];
        let size = |name: &String| fs::metadata(desk.server.path(name)).map_or(0, |m| m.len());
        let child = begun(&desk, &put, || {
            desk.server.names("").iter().any(|part| size(part) > 0)
        });
        // At its beginning, which has gone, and at its end, which has not.
        let file = fs::File::options().write(true).open(&path).expect("open");
        file.write_all_at(b"changed", 0).expect("write");
        file.write_all_at(b"changed", len as u64 - 7)
            .expect("write");
        let run = end(child);
        assert_eq!(run.code, Some(0), "{len}: {}", run.err);
        assert!(desk.server.read("f") == desk.read("source"), "{len}");
        assert_eq!(desk.server.names(""), ["f"], "{len}");
        desk.fine(&["rm", "f"]);
    }
}

#[test]
fn a_file_that_keeps_changing_is_told_and_one_that_grows_is_not() {
    let desk = Desk::new();
    desk.server.write("f", "old");
    let path = desk.write("source", content(9_000_000, 1));
    let put = ["put", "--limit", "3M", "source", "f"];
    let mut child = begun(&desk, &put, || desk.server.names("").len() > 1);
    let file = fs::File::options().write(true).open(&path).expect("open");
    // Other bytes each time: what has been sent is of no use to the second try.
    let count = std::cell::Cell::new(0_u64);
    wait_until("it is given up", || {
        count.set(count.get() + 1);
        file.write_all_at(&count.get().to_be_bytes(), 0)
            .expect("write");
        std::thread::sleep(Duration::from_millis(50));
        child.try_wait().expect("wait").is_some()
    });
    let run = end(child);
    assert_eq!(run.code, Some(6), "{}", run.err);
    assert!(
        run.err.contains("changed during the transfer"),
        "{}",
        run.err
    );
    assert_eq!(desk.server.read("f"), b"old");
    assert_eq!(desk.server.names(""), ["f"], "a part is left");

    // A log that is written to is whole as far as it was there.
    let child = begun(&desk, &put, || desk.server.names("").len() > 1);
    let mut log = fs::File::options().append(true).open(&path).expect("open");
    let before = desk.read("source");
    log.write_all(b"one line more\n").expect("write");
    let run = end(child);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(desk.server.read("f") == before);
}

#[test]
fn a_file_that_shrinks_leaves_nothing_behind() {
    let desk = Desk::new();
    for (len, streams) in [(9_000_000, "1"), (70_000_000, "2")] {
        let path = desk.write("source", content(len, 1));
        let limit = format!("{}", len / 20);
        let put = ["put", "-j", streams, "--limit", &limit, "source", "f"];
        let child = begun(&desk, &put, || !desk.server.names("").is_empty());
        let file = fs::File::options().write(true).open(&path).expect("open");
        file.set_len(1000).expect("shrink");
        let run = end(child);
        assert_eq!(run.code, Some(0), "{}", run.err);
        assert_eq!(desk.server.read("f").len(), 1000);
        assert_eq!(desk.server.names(""), ["f"]);
        desk.fine(&["rm", "f"]);
    }
}

#[test]
fn two_at_the_same_file_both_succeed() {
    let desk = Desk::new();
    for len in [1000, 3_000_000, 20_000_000] {
        desk.write("source", content(len, 1));
        for _ in 0..5 {
            let start = || begun(&desk, &["put", "source", "f"], || true);
            let children: Vec<Child> = (0..2).map(|_| start()).collect();
            for run in children.into_iter().map(end) {
                assert_eq!(run.code, Some(0), "{len}: {}", run.err);
            }
            assert!(desk.server.read("f") == content(len, 1), "{len}");
            assert_eq!(desk.server.names(""), ["f"], "{len}");
        }
    }
}

#[test]
fn two_sources_of_one_name_do_not_replace_each_other() {
    let desk = Desk::new();
    for name in ["a/f", "b/f"] {
        desk.write(name, name);
        desk.server.write(name, name);
    }
    desk.server.mkdir("to");
    desk.write("here/other", "");
    for arguments in [["put", "a/f", "b/f", ":to"], ["get", "a/f", "b/f", "here"]] {
        let run = desk.tf(&arguments);
        assert_eq!(run.code, Some(7), "{arguments:?}: {}", run.err);
        assert!(
            run.err.contains("another source has this name"),
            "{}",
            run.err
        );
    }
    assert_eq!(desk.server.read("to/f"), b"a/f");
    assert_eq!(desk.read("here/f"), b"a/f");
}

#[test]
fn a_pipe_or_a_device_is_not_replaced_by_a_file() {
    let desk = Desk::new();
    for (name, len) in [("f", 10), ("large", 9_000_000)] {
        desk.server.write(name, content(len, 1));
        let pipe = desk.path("pipe");
        let _ = fs::remove_file(&pipe);
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("pipe");
        let run = desk.tf(&["get", name, "pipe"]);
        assert_eq!(run.code, Some(7), "{}", run.err);
        assert!(
            run.err.contains("write - for standard output"),
            "{}",
            run.err
        );
        assert!(pipe.metadata().expect("stat").file_type().is_fifo());
    }
    let parts = |entry: std::io::Result<fs::DirEntry>| {
        entry
            .expect("entry")
            .file_name()
            .to_string_lossy()
            .starts_with(".tf-")
    };
    assert!(!fs::read_dir(desk.path("")).expect("directory").any(parts));
}

#[test]
fn a_directory_that_a_file_is_in_the_way_of_is_told() {
    let desk = Desk::new();
    desk.server.write("f", "x");
    fs::create_dir(desk.path("empty")).expect("directory");
    let run = desk.tf(&["put", "-r", "empty", "f"]);
    assert_eq!(run.code, Some(7), "{}", run.err);
    assert!(
        run.err.contains("f: a file of this name is there"),
        "{}",
        run.err
    );
    // Nothing can be stored in a directory that is missing.
    desk.write("t/a", "x");
    desk.write("t/b", "x");
    let run = desk.tf(&["put", "-q", "t/a", "t/b", "missing/"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert_eq!(
        run.err.matches("no such directory: missing\n").count(),
        2,
        "{}",
        run.err
    );
}
