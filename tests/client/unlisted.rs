//! What no listing can tell: names with a newline, directories that the
//! server may not read, secure directories. None of it is lost in silence.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::desk::Desk;

fn age(path: &Path) {
    let file = fs::File::options().write(true).open(path).expect("open");
    file.set_modified(SystemTime::now() - Duration::from_secs(100))
        .expect("time");
}

/// A directory of the server that it may not read, with a file in it.
struct Closed(PathBuf);

impl Closed {
    fn at(desk: &Desk, name: &str) -> Closed {
        desk.server.write(&format!("{name}/f"), "x");
        let path = desk.server.path(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("mode");
        // The server of a test that root runs is another user.
        Closed(path)
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700)).expect("mode");
    }
}

#[test]
fn what_could_not_be_listed_is_told_and_deleted_nowhere() {
    let desk = Desk::new();
    for name in ["t/a", "t/d/b"] {
        desk.server.write(name, "x");
    }
    let _closed = Closed::at(&desk, "t/closed");
    desk.write("back/closed/f", "x");
    desk.write("back/extra", "x");
    for arguments in [
        &["get", "-r", "t", "there"][..],
        &["mirror", "--delete", ":t", "back"],
    ] {
        let run = desk.tf(arguments);
        assert_eq!(run.code, Some(1), "{arguments:?}: {}", run.err);
        assert!(
            run.err.contains("closed: the server may not read"),
            "{}",
            run.err
        );
    }
    assert_eq!(desk.read("there/d/b"), b"x");
    assert_eq!(desk.read("back/d/b"), b"x");
    assert_eq!(desk.read("back/closed/f"), b"x");
    assert_eq!(desk.read("back/extra"), b"x");
    for arguments in [&["find", "t"][..], &["ls", "-R", "t"]] {
        let run = desk.tf(arguments);
        assert_eq!(run.code, Some(1), "{arguments:?}");
        assert!(
            run.out.contains("d/b") && !run.out.contains("//"),
            "{}",
            run.out
        );
        assert!(
            run.err.contains("closed: the server may not read"),
            "{}",
            run.err
        );
    }
    // A copy of it would not be whole.
    let run = desk.tf(&["cp", "-r", "t", "copy"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(!desk.server.exists("copy"));
}

#[test]
fn names_with_a_newline_are_told_of_and_kept_on_either_side() {
    let desk = Desk::without_extension();
    let name = "new\nline";
    age(&desk.write(&format!("t/{name}"), "x"));
    let run = desk.fine(&["put", "-r", "t"]);
    assert!(
        run.err.contains("t/new\\nline: sent, but not listed"),
        "{}",
        run.err
    );
    assert_eq!(desk.server.read(&format!("t/{name}")), b"x");
    let run = desk.tf(&["get", "-r", "t", "there"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(
        run.err.contains("new/./line: a name with a newline"),
        "{}",
        run.err
    );
    let run = desk.tf(&["ls", "-R", "t"]);
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
    assert_eq!(desk.fine(&["ls", "t"]).out, "new\\nline\n");
    desk.fine(&["get", &format!("t/{name}"), "by-name"]);
    assert_eq!(desk.read("by-name"), b"x");

    // It is no empty directory that it stands in.
    let run = desk.tf(&["rmdir", "t"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert_eq!(desk.server.read(&format!("t/{name}")), b"x");
    // Mirrors compare it with what has its name.
    let run = desk.tf(&["mirror", "t", ":t"]);
    assert_eq!((run.code, run.out.as_str()), (Some(0), ""), "{}", run.err);
    desk.fine(&["mirror", "--delete", ":t", "t"]);
    assert_eq!(desk.read(&format!("t/{name}")), b"x");
    desk.server.mkdir("ends\n");
    assert_eq!(desk.fine(&["ls"]).out, "ends\\n/\nt/\n");
    let run = desk.tf(&["find"]);
    assert!(
        run.err.contains("ends/./: a name with a newline"),
        "{}",
        run.err
    );
    let run = desk.tf(&["mirror", "--delete", ":t", "elsewhere"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
}

#[test]
fn a_pattern_passes_over_no_name_in_silence() {
    use std::os::unix::ffi::OsStrExt;
    let desk = Desk::new();
    desk.server.write("t/a", "x");
    let odd = desk
        .server
        .path("t")
        .join(std::ffi::OsStr::from_bytes(b"odd\xff"));
    fs::write(&odd, "x").expect("write");
    fs::create_dir(desk.path("here")).expect("directory");
    let run = desk.tf(&["get", "t/*", "here"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(
        run.err.contains("t/odd\u{fffd}: ") && run.err.contains("no such file"),
        "{}",
        run.err
    );
    assert_eq!(desk.read("here/a"), b"x");
    let run = desk.tf(&["rm", "t/*"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(odd.exists() && !desk.server.exists("t/a"));
    // With all in a directory it goes, and comes.
    desk.fine(&["get", "-r", "t", "there"]);
    assert!(
        desk.path("there")
            .join(odd.file_name().expect("name"))
            .exists()
    );
}

#[test]
fn directories_that_the_server_hides_are_mirrored_once_and_not_deleted() {
    let desk = Desk::new();
    age(&desk.write("t/photos.sd/a", "x"));
    let run = desk.fine(&["mirror", "--include-secure", "t", ":t"]);
    assert!(
        run.err.contains("photos.sd: sent, but not listed"),
        "{}",
        run.err
    );
    assert_eq!(
        desk.fine(&["mirror", "--include-secure", "t", ":t"]).out,
        ""
    );
    desk.write("t/extra", "x");
    assert_eq!(
        desk.fine(&["mirror", "--include-secure", "--delete", ":t", "t"])
            .out,
        "- extra\n"
    );
    assert_eq!(
        desk.fine(&["mirror", "--include-secure", "--delete", ":t", "t"])
            .out,
        ""
    );
    assert_eq!(desk.read("t/photos.sd/a"), b"x");
}
