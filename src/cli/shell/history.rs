//! The lines of earlier shells, in a file of their user alone.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::cli::settings::directory;
use crate::trusted;

/// The most lines that are kept.
pub(super) const MOST_LINES: usize = 10_000;

/// Where it is kept: a directory of the user, and the file's path in it; `None`
/// when neither XDG_STATE_HOME nor HOME is set.
fn path() -> Option<(PathBuf, PathBuf)> {
    if let Some(state) = directory("XDG_STATE_HOME") {
        return Some((state.clone(), state.join("tf/history")));
    }
    let home = directory("HOME")?;
    Some((home.clone(), home.join(".local/state/tf/history")))
}

/// The file. If it is missing it is made, readable by its user alone.
pub(super) fn open() -> io::Result<Option<PathBuf>> {
    let Some((base, path)) = path() else {
        return Ok(None);
    };
    // With sudo(8) the home may be another user's, who can put links there.
    match fs::metadata(&base) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        metadata => check(&base, &metadata?)?,
    }
    if let Some(directory) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
    }
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK;
    let file = trusted::open(&path, flags, Mode::RUSR | Mode::WUSR)?;
    let metadata = file.metadata()?;
    check(&path, &metadata)?;
    if !metadata.is_file() || metadata.nlink() != 1 {
        return Err(io::Error::other(format!(
            "{} is not a regular file with one link",
            path.display()
        )));
    }
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(Some(path))
}

fn check(path: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    if trusted::is_our_uid(metadata.uid()) && metadata.mode() & 0o002 == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} belongs to another user, or others can write to it",
        path.display()
    )))
}
