//! A full disk on this side, a small file system of its own, which needs root
//! to mount; and one on the server's.

use std::path::Path;
use std::process::Command;

use crate::common::{Server, Setup, is_root};
use crate::desk::{Desk, content, tree};

/// A file system of two MiB. Unmounted with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        if !is_root() {
            println!("left out: mounting a small file system needs root");
            return None;
        }
        let dir = tempfile::tempdir().expect("directory");
        let options = ["-t", "tmpfs", "-o", "size=2m,mode=755", "tfd-test"];
        let mounted = Command::new("mount").args(options).arg(dir.path()).status();
        assert!(mounted.expect("mount").success(), "mount failed");
        Some(SmallDisk(dir))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let path: &Path = self.0.path();
        let unmounted = Command::new("umount").arg("-l").arg(path).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "umount failed");
    }
}

#[test]
fn a_full_disk_here_is_told_and_the_old_file_stays() {
    let Some(disk) = SmallDisk::mount() else { return };
    let desk = Desk::new();
    std::fs::write(disk.path("f"), "old").expect("write");
    for (name, streams, len) in
        [("small", "1", 3_000_000), ("large", "1", 9_000_000), ("ranges", "2", 70_000_000)]
    {
        desk.server.write(name, content(len, 1));
        let run = desk.tf(&["get", "-j", streams, name, &disk.path("f")]);
        assert_eq!(run.code, Some(7), "{name}: {}", run.err);
        assert!(run.err.contains("No space left on device"), "{name}: {}", run.err);
        assert_eq!(tree(disk.0.path()), [("f".to_owned(), Some(b"old".to_vec()))], "{name}");
    }
    // What there is room for comes.
    desk.server.write("t/a", content(1_500_000, 1));
    desk.server.write("t/b", content(1_500_000, 2));
    desk.server.write("t/c", content(100_000, 3));
    let run = desk.tf(&["get", "-r", "t", &disk.path("t")]);
    assert_eq!(run.code, Some(7), "{}", run.err);
    assert!(run.err.contains("1 of 3 entries failed"), "{}", run.err);
    assert_eq!(tree(Path::new(&disk.path("t"))).len(), 2);
}

#[test]
fn a_full_disk_there_is_told_and_the_old_file_stays() {
    let Some(disk) = SmallDisk::mount() else { return };
    let root = disk.0.path().join("root");
    std::fs::create_dir(&root).expect("directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(disk.0.path(), open).expect("mode");
    let desk = Desk::at(Server::with(Setup { root: Some(root), ..Setup::default() }));
    desk.server.write("f", "old");
    for (len, streams) in [(3_000_000, "1"), (9_000_000, "1"), (70_000_000, "2")] {
        desk.write("source", content(len, 1));
        let run = desk.tf(&["put", "-j", streams, "source", "f"]);
        assert_eq!(run.code, Some(1), "{len}: {}", run.err);
        assert!(run.err.contains("its disk may be full"), "{len}: {}", run.err);
        assert_eq!(desk.server.names(""), ["f"], "{len}");
        assert_eq!(desk.server.read("f"), b"old", "{len}");
    }
}
