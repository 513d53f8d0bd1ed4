//! `tf mirror`: what it moves, deletes and leaves alone.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::desk::{Desk, tree};

fn age(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    let file = fs::File::options().write(true).open(path).expect("open");
    file.set_modified(then).expect("time");
}

#[test]
fn either_side_becomes_like_the_other_and_a_second_run_does_nothing() {
    let desk = Desk::new();
    for name in ["l/a", "l/d/b", "l/d/e/c"] {
        age(&desk.write(name, name), 100);
    }
    fs::create_dir(desk.path("l/empty")).expect("directory");
    let run = desk.fine(&["mirror", "l", ":deep/down/r"]);
    let mut lines: Vec<&str> = run.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["+ a", "+ d", "+ d/b", "+ d/e", "+ d/e/c", "+ empty"]
    );
    assert!(tree(&desk.server.path("deep/down/r")) == tree(&desk.path("l")));
    assert_eq!(desk.fine(&["mirror", "l", ":deep/down/r"]).out, "");

    desk.fine(&["mirror", ":deep/down/r", "back/here"]);
    assert!(tree(&desk.path("back/here")) == tree(&desk.path("l")));
    assert_eq!(desk.fine(&["mirror", ":deep/down/r", "back/here"]).out, "");
    assert_eq!(
        desk.fine(&["mirror", "-c", "back/here", ":deep/down/r"])
            .out,
        ""
    );

    // What differs goes, and that alone.
    desk.write("l/a", "A");
    let run = desk.fine(&["mirror", "l", ":deep/down/r"]);
    assert_eq!(run.out, "~ a\n");
    assert_eq!(desk.server.read("deep/down/r/a"), b"A");
    desk.server.write("deep/down/r/d/b", "l/d/B");
    age(&desk.server.path("deep/down/r/d/b"), 50);
    let run = desk.fine(&["mirror", ":deep/down/r", "back/here"]);
    assert_eq!(run.out.lines().count(), 2, "{}", run.out);
    assert_eq!(desk.read("back/here/d/b"), b"l/d/B");
}

#[test]
fn same_size_and_time_can_deceive_and_digests_can_not() {
    let desk = Desk::new();
    age(&desk.write("l/a", "one"), 100);
    desk.server.write("r/a", "two");
    same_time(&desk, "l/a", "r/a");
    assert_eq!(desk.fine(&["mirror", "l", ":r"]).out, "");
    assert_eq!(desk.fine(&["mirror", "--checksum", "l", ":r"]).out, "~ a\n");
    assert_eq!(desk.server.read("r/a"), b"one");
}

/// Gives a file of the server the time of a local one.
fn same_time(desk: &Desk, here: &str, there: &str) {
    let modified = fs::metadata(desk.path(here)).and_then(|found| found.modified());
    let file = fs::File::options()
        .write(true)
        .open(desk.server.path(there));
    let set = file.and_then(|file| file.set_modified(modified?));
    set.expect("time");
}

fn sorted(lines: &str) -> Vec<&str> {
    let mut lines: Vec<_> = lines.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_dry_run_tells_what_the_run_then_does() {
    for delete in [false, true] {
        let desk = Desk::new();
        for name in ["l/new/a", "l/turned/b", "l/file", "l/held", "l/same"] {
            age(&desk.write(name, "x"), 100);
        }
        for name in [
            "r/turned",
            "r/file/c",
            "r/held/kept.tmp",
            "r/held/d",
            "r/same",
            "r/gone/e/kept.tmp",
        ] {
            desk.server.write(name, "x");
        }
        let options: &[&str] = if delete { &["--delete"] } else { &[] };
        let arguments = [&["mirror", "--exclude", "*.tmp"], options, &["l", ":r"]].concat();
        let before = tree(&desk.server.path("r"));
        let dry = desk.tf(&[&arguments[..], &["-n"]].concat());
        assert!(tree(&desk.server.path("r")) == before);
        let run = desk.tf(&arguments);
        assert_eq!(sorted(&dry.out), sorted(&run.out), "{}{}", dry.err, run.err);
        assert_eq!((dry.code, run.code), (Some(7), Some(7)));
        for name in ["held/kept.tmp", "held/d", "gone/e/kept.tmp"] {
            assert!(desk.server.exists(&format!("r/{name}")), "{name}");
        }
        assert!(
            run.err.contains("held: a directory of this name is there"),
            "{}",
            run.err
        );
        assert_eq!(run.err.contains("gone/e: stays"), delete, "{}", run.err);
    }
}

#[test]
fn what_is_not_in_the_source_goes_only_when_asked() {
    let desk = Desk::new();
    age(&desk.write("l/kept", "x"), 100);
    for name in [
        "r/kept",
        "r/extra",
        "r/d/e/extra",
        "r/d/other",
        "r/cache/x.tmp",
    ] {
        desk.server.write(name, "x");
    }
    desk.server.mkdir("r/dir-only");
    same_time(&desk, "l/kept", "r/kept");
    assert_eq!(desk.fine(&["mirror", "l", ":r"]).out, "");
    let dry = desk.fine(&["mirror", "-n", "--delete", "--exclude", "*.tmp", "l", ":r"]);
    assert_eq!(
        dry.out
            .lines()
            .filter(|line| line.starts_with("- "))
            .count(),
        6,
        "{}",
        dry.out
    );
    assert!(
        dry.err
            .contains("cache: stays: it contains skipped entries"),
        "{}",
        dry.err
    );
    assert!(desk.server.exists("r/extra"));
    let many = desk.tf(&["mirror", "--delete", "--max-delete", "3", "l", ":r"]);
    assert_eq!(many.code, Some(7), "{}", many.err);
    assert!(many.err.contains("--max-delete allows 3"), "{}", many.err);
    assert!(desk.server.exists("r/extra"));
    // A directory with an excluded file in it stays, and says so.
    let run = desk.fine(&["mirror", "--delete", "--exclude", "*.tmp", "l", ":r"]);
    assert!(run.err.contains("cache: stays"), "{}", run.err);
    assert_eq!(sorted(&run.out), sorted(&dry.out));
    assert_eq!(desk.server.names("r"), ["cache", "kept"]);
    assert_eq!(desk.server.names("r/cache"), ["x.tmp"]);
    desk.fine(&["mirror", "--delete", "l", ":r"]);
    assert_eq!(desk.server.names("r"), ["kept"]);

    // The other way round.
    for name in ["l/extra", "l/d/e/extra"] {
        desk.write(name, "x");
    }
    let run = desk.fine(&["mirror", "--delete", ":r", "l"]);
    assert_eq!(
        run.out
            .lines()
            .filter(|line| line.starts_with("- "))
            .count(),
        4,
        "{}",
        run.out
    );
    assert_eq!(tree(&desk.path("l")).len(), 1);
}

#[test]
fn a_file_in_the_place_of_a_directory_goes_only_when_asked() {
    let desk = Desk::new();
    age(&desk.write("l/x", "a file"), 100);
    desk.write("l/y/within", "in a directory");
    desk.server.write("r/x/within", "in a directory");
    desk.server.write("r/y", "a file");
    let run = desk.tf(&["mirror", "l", ":r"]);
    assert_eq!(run.code, Some(7), "{}", run.err);
    assert_eq!(
        run.err.matches("--delete would remove").count(),
        2,
        "{}",
        run.err
    );
    assert_eq!(desk.server.read("r/y"), b"a file");
    desk.fine(&["mirror", "--delete", "l", ":r"]);
    assert!(tree(&desk.server.path("r")) == tree(&desk.path("l")));
    desk.write("d/x/within", "in a directory");
    desk.write("d/y", "a file");
    desk.fine(&["mirror", "--delete", ":r", "d"]);
    assert!(tree(&desk.path("d")) == tree(&desk.path("l")));
}

#[test]
fn nothing_is_deleted_when_the_source_could_not_be_read_in_whole() {
    let desk = Desk::new();
    for name in ["r/kept", "r/d/file", "r/gone"] {
        desk.server.write(name, "x");
    }
    desk.write("l/kept", "x");
    desk.write("l/d/file", "x");
    // It is listed, and can't be looked at.
    fs::create_dir(desk.path("l/deep")).expect("directory");
    std::os::unix::fs::symlink("nowhere", desk.path("l/deep/dangling")).expect("link");
    let run = desk.tf(&["mirror", "-L", "--delete", "l", ":r"]);
    assert_eq!(run.code, Some(7), "{}{}", run.out, run.err);
    assert!(desk.server.exists("r/gone"));
    fs::remove_dir_all(desk.path("l/deep")).expect("remove");
    desk.fine(&["mirror", "-L", "--delete", "l", ":r"]);
    assert!(!desk.server.exists("r/gone"));
}

#[test]
fn both_sides_have_to_be_named() {
    let desk = Desk::new();
    for arguments in [["mirror", "a", "b"], ["mirror", ":a", ":b"]] {
        assert_eq!(desk.tf(&arguments).code, Some(2));
    }
    let run = desk.tf(&["mirror", "none", ":r"]);
    assert_eq!(run.code, Some(7), "{}", run.err);
    let run = desk.tf(&["mirror", ":none", "l"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(!desk.path("l").exists());
}
