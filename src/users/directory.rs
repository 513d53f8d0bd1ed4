//! Directories of one user alone, in which services keep their state.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::Path;

use nix::unistd::{Gid, Uid, geteuid};
use rustix::fs::{Mode, OFlags};

/// A user and a group.
pub type Owner = (Uid, Gid);

/// Root.
pub const ROOT: Owner = (Uid::from_raw(0), Gid::from_raw(0));

/// Makes a directory that this user alone may enter, unless there is one.
///
/// # Errors
/// One line that says what could not be made, or whose directory is there.
pub fn make((uid, gid): Owner, path: &Path) -> Result<(), String> {
    let shown = path.display();
    let in_path = |e: io::Error| format!("{shown}: {e}");
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) if geteuid() != uid => {
            chown(path, Some(uid.as_raw()), Some(gid.as_raw())).map_err(in_path)?;
        }
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(in_path(e)),
        _ => {}
    }
    check((uid, gid), path)
}

/// Whether an existing directory is one of this user.
///
/// # Errors
/// One line.
pub fn check((uid, _): Owner, path: &Path) -> Result<(), String> {
    let shown = path.display();
    let metadata = fs::symlink_metadata(path).map_err(|e| format!("{shown}: {e}"))?;
    if !metadata.is_dir() || metadata.uid() != uid.as_raw() {
        return Err(format!(
            "{shown}: not a directory of uid {uid}: remove it, or chown it"
        ));
    }
    Ok(())
}

/// A handle of one that exists.
///
/// # Errors
/// One line.
pub fn open(path: &Path) -> Result<OwnedFd, String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|e| format!("{}: {e}", path.display()))
}
