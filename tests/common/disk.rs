//! A full disk: a small file system of its own, which needs root to mount.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::is_root;

/// A file system of a few MiB. Unmounted with the value.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// One of so many MiB, or none where that is not possible, which is told.
    pub fn mount(mib: u32) -> Option<SmallDisk> {
        if !is_root() {
            println!("left out: mounting a small file system needs root");
            return None;
        }
        let dir = tempfile::tempdir().expect("directory");
        let options = format!("size={mib}m,mode=755");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &options, "tfd-test"])
            .arg(dir.path());
        let output = mount.output().expect("mount");
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            println!("left out: no file system can be mounted here: {told}");
            return None;
        }
        Some(SmallDisk(dir))
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "umount failed"
        );
    }
}
