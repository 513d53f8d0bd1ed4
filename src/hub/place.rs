//! Where a hub is on disk: the database, which its system user keeps, and the empty
//! directories that are the roots of sessions. Made at the first start.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::wire::Role;
use crate::users::Identity;

/// The directories of a hub.
#[derive(Clone, Debug)]
pub struct Place {
    data: PathBuf,
}

impl Place {
    /// The one in this directory.
    pub fn at(data: &Path) -> Place {
        Place {
            data: data.to_owned(),
        }
    }

    /// What the system user keeps.
    pub fn store(&self) -> PathBuf {
        self.data.join("store")
    }

    /// Beneath it sessions have their roots, one for each role, which stay empty.
    pub fn roots(&self) -> PathBuf {
        self.data.join("lines")
    }

    /// Makes what is missing; `identity` is that of the hub's system user.
    ///
    /// # Errors
    /// One line that says what could not be made.
    pub fn make(&self, identity: &Identity) -> Result<(), String> {
        make_directory(&self.data, None)?;
        make_directory(&self.store(), Some(identity))?;
        make_directory(&self.roots(), None)?;
        for role in [Role::Owner, Role::Holder] {
            make_directory(&self.roots().join(role.word()), None)?;
        }
        Ok(())
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

/// Makes a directory of this owner, or of root, unless there is one.
fn make_directory(path: &Path, owner: Option<&Identity>) -> Result<(), String> {
    let in_path = |e: io::Error| format!("hub.data: {}: {e}", path.display());
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            if let Some(owner) = owner {
                let (uid, gid) = (owner.uid.as_raw(), owner.gid.as_raw());
                chown(path, Some(uid), Some(gid)).map_err(in_path)?;
            }
        }
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(in_path(e)),
        Err(_) => {}
    }
    let metadata = fs::symlink_metadata(path).map_err(in_path)?;
    let owner = owner.map_or(0, |owner| owner.uid.as_raw());
    if !metadata.is_dir() || metadata.uid() != owner {
        let shown = path.display();
        return Err(format!(
            "hub.data: {shown}: not a directory of uid {owner}: remove it, or chown it"
        ));
    }
    Ok(())
}
