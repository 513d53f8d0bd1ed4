//! The lines of earlier shells, in a file of their user alone.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

/// The most lines that are kept.
pub(super) const MOST_LINES: usize = 10_000;

/// Where it is kept; `None` when neither XDG_STATE_HOME nor HOME is set.
fn path() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || Some(absolute("HOME")?.join(".local/state"));
    Some(absolute("XDG_STATE_HOME").or_else(home)?.join("tf/history"))
}

/// The file, made where there is none, for nobody else's eyes.
///
/// # Errors
/// The system's.
pub(super) fn open() -> io::Result<Option<PathBuf>> {
    let Some(path) = path() else { return Ok(None) };
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(Some(path))
}
