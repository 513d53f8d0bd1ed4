//! A full disk on this side, a small file system of its own, which needs root
//! to mount; and one on the server's.

use nix::sys::signal::Signal;

use crate::common::disk::SmallDisk;
use crate::common::{Server, Setup};
use crate::desk::{Desk, content, tree};

#[test]
fn a_full_disk_here_is_told_and_the_old_file_stays() {
    let Some(disk) = SmallDisk::mount(2) else {
        return;
    };
    let at = |name: &str| disk.path().join(name).display().to_string();
    let desk = Desk::new();
    std::fs::write(disk.path().join("f"), "old").expect("write");
    for (name, streams, len) in [
        ("small", "1", 3_000_000),
        ("large", "1", 9_000_000),
        ("ranges", "2", 70_000_000),
    ] {
        desk.server.write(name, content(len, 1));
        let run = desk.tf(&["get", "-j", streams, name, &at("f")]);
        assert_eq!(run.code, Some(7), "{name}: {}", run.err);
        assert!(
            run.err.contains("No space left on device"),
            "{name}: {}",
            run.err
        );
        assert_eq!(
            tree(disk.path()),
            [("f".to_owned(), Some(b"old".to_vec()))],
            "{name}"
        );
    }
    // What there is room for comes.
    desk.server.write("t/a", content(1_500_000, 1));
    desk.server.write("t/b", content(1_500_000, 2));
    desk.server.write("t/c", content(100_000, 3));
    let run = desk.tf(&["get", "-r", "t", &at("t")]);
    assert_eq!(run.code, Some(7), "{}", run.err);
    assert!(run.err.contains("1 of 3 entries failed"), "{}", run.err);
    assert_eq!(tree(&disk.path().join("t")).len(), 2);
}

#[test]
fn a_full_disk_there_is_told_and_the_old_file_stays() {
    let Some(disk) = SmallDisk::mount(2) else {
        return;
    };
    let root = disk.path().join("root");
    std::fs::create_dir(&root).expect("directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(disk.path(), open).expect("mode");
    let desk = Desk::at(Server::with(Setup {
        root: Some(root),
        ..Setup::default()
    }));
    desk.server.write("f", "old");
    for (len, streams) in [(3_000_000, "1"), (9_000_000, "1"), (70_000_000, "2")] {
        desk.write("source", content(len, 1));
        let run = desk.tf(&["put", "-j", streams, "source", "f"]);
        assert_eq!(run.code, Some(1), "{len}: {}", run.err);
        assert!(
            run.err.contains("f: disk full on the server"),
            "{len}: {}",
            run.err
        );
        assert_eq!(desk.server.names(""), ["f"], "{len}");
        assert_eq!(desk.server.read("f"), b"old", "{len}");
    }
}

#[test]
fn a_quota_that_is_used_up_is_told_with_its_size() {
    let mut desk = Desk::at(Server::with(Setup {
        server: "quota = \"1M\"".to_owned(),
        ..Setup::default()
    }));
    for (len, streams) in [(2_000_000, "1"), (9_000_000, "1"), (70_000_000, "2")] {
        desk.write("source", content(len, 1));
        let run = desk.tf(&["put", "-j", streams, "source", "f"]);
        assert_eq!(run.code, Some(1), "{len}: {}", run.err);
        assert!(
            run.err.contains("f: quota of 1 MiB reached"),
            "{len}: {}",
            run.err
        );
    }
    desk.server.write("big", content(900_000, 1));
    desk.server.signal(Signal::SIGHUP);
    desk.server.wait_for_lines("counted what is stored", 2);
    let run = desk.tf(&["cp", ":big", ":copy"]);
    assert_eq!(desk.server.names(""), ["big"]);
    assert!(run.err.contains("quota of 1 MiB reached"), "{}", run.err);
}
