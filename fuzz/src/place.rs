//! Where sessions are fuzzed, and who watches them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;
use tfd::session::audit::{Observer, Outcome, Subject};
use tfd::users::Rights;

/// Nobody watches.
pub struct Nobody;

impl Observer for Nobody {
    fn begins(&mut self, _: &Subject) {}

    fn ended(&mut self, _: &Subject, _: Outcome, _: u64) -> std::io::Result<()> {
        Ok(())
    }
}

/// Holds a file and, beside it, a root with a file, directories and links.
pub fn outside() -> TempDir {
    let outside = tempfile::tempdir().expect("directory");
    fs::write(outside.path().join("beside"), b"beside").expect("file");
    let root = outside.path().join("root");
    fs::create_dir_all(root.join("d/e")).expect("directory");
    fs::write(root.join("file"), b"content").expect("file");
    fs::write(root.join("d/e/f"), b"").expect("file");
    symlink("../beside", root.join("up")).expect("link");
    symlink("d", root.join("link")).expect("link");
    outside
}

/// Checks after a session that its client has changed nothing beside the root, and the file
/// only with all rights.
pub fn check(outside: &Path, rights: Rights) {
    assert_eq!(fs::read(outside.join("beside")).expect("file"), b"beside");
    let names = fs::read_dir(outside).expect("directory").flatten();
    assert!(
        names
            .map(|entry| entry.file_name())
            .all(|name| name == "root" || name == "beside")
    );
    if rights != Rights::Full {
        let file = outside.join("root/file");
        assert_eq!(fs::read(file).expect("file"), b"content");
    }
}
