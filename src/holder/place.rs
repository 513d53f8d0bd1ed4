//! Where a holder is on disk: the store, which its system user keeps, and an empty
//! directory that is the root of sessions. Made at the first start.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::users::Identity;

/// The name of the root of sessions, beneath [`Place::roots`].
pub const HOME: &str = "peer";

/// The directories of a holder.
#[derive(Clone, Debug)]
pub struct Place {
    top: PathBuf,
}

impl Place {
    /// The one in this directory.
    pub fn at(top: &Path) -> Place {
        Place {
            top: top.to_owned(),
        }
    }

    /// What the system user keeps.
    pub fn store(&self) -> PathBuf {
        self.top.join("store")
    }

    /// Beneath it sessions have their root, which stays empty.
    pub fn roots(&self) -> PathBuf {
        self.top.join("lines")
    }

    /// Makes what is missing. The store is that of `identity`, the rest of who starts
    /// tfd.
    ///
    /// # Errors
    /// One line that says what could not be made.
    pub fn make(&self, identity: &Identity) -> Result<(), String> {
        let own = Identity::own();
        make_directory(&self.top, &own)?;
        make_directory(&self.store(), identity)?;
        make_directory(&self.roots(), &own)?;
        make_directory(&self.roots().join(HOME), &own)
    }

    /// A handle of the store.
    ///
    /// # Errors
    /// One line.
    pub fn open_store(&self) -> Result<OwnedFd, String> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = self.store();
        rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|e| format!("{}: {e}", path.display()))
    }
}

/// Makes a directory of this owner, unless there is one.
fn make_directory(path: &Path, owner: &Identity) -> Result<(), String> {
    let in_path = |e: io::Error| format!("holder.store: {}: {e}", path.display());
    let (uid, gid) = (owner.uid.as_raw(), owner.gid.as_raw());
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) if nix::unistd::geteuid() != owner.uid => {
            chown(path, Some(uid), Some(gid)).map_err(in_path)?;
        }
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(in_path(e)),
        _ => {}
    }
    let metadata = fs::symlink_metadata(path).map_err(in_path)?;
    if !metadata.is_dir() || metadata.uid() != uid {
        let shown = path.display();
        return Err(format!(
            "holder.store: {shown}: not a directory of uid {uid}: remove it, or chown it"
        ));
    }
    Ok(())
}
