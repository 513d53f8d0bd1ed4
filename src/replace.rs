//! Files of settings and secrets that are replaced in one step.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// Whose the new file is, and who may read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The caller's, and nobody else may read it.
    Secret,
    /// As the old one; without an old one a secret.
    Kept,
}

/// Puts bytes into the place of a file. After a failure the old one is there, and nothing
/// else; [`sync_above`] makes the new one last.
///
/// # Errors
/// The system's.
pub fn replace(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // An interrupted run may have left it.
    let _ = fs::remove_file(&new);
    let done = write(&new, path, bytes, access).and_then(|()| fs::rename(&new, path));
    if done.is_err() {
        let _ = fs::remove_file(&new);
    }
    done
}

fn write(new: &Path, old: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(new)?;
    if let (Access::Kept, Ok(old)) = (access, fs::metadata(old)) {
        fchown(&file, Some(old.uid()), Some(old.gid()))?;
        file.set_permissions(old.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

/// Has what was done in the directory of this file on disk.
///
/// # Errors
/// The system's.
pub fn sync_above(path: &Path) -> io::Result<()> {
    let directory = path.parent();
    let directory = directory.filter(|it| !it.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("file").permissions().mode() & 0o777
    }

    #[test]
    fn a_file_keeps_its_mode_or_becomes_a_secret() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("file");
        replace(&file, b"first", Access::Kept).expect("written");
        assert_eq!(mode(&file), 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("mode");
        // An interrupted run has left one.
        fs::write(directory.path().join("file.new"), "hal").expect("file");
        replace(&file, b"second", Access::Kept).expect("written");
        assert_eq!(mode(&file), 0o640);
        replace(&file, b"third", Access::Secret).expect("written");
        assert_eq!(mode(&file), 0o600);
        assert_eq!(fs::read(&file).expect("file"), b"third");
        assert_eq!(fs::read_dir(directory.path()).expect("list").count(), 1);
    }

    #[test]
    fn what_can_not_be_replaced_stays_and_nothing_is_left() {
        let directory = tempfile::tempdir().expect("directory");
        let place = directory.path().join("place");
        fs::create_dir(&place).expect("directory");
        assert!(replace(&place, b"text", Access::Kept).is_err());
        assert!(place.is_dir());
        assert_eq!(fs::read_dir(directory.path()).expect("list").count(), 1);
    }
}
