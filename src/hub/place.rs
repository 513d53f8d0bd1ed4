//! Where a hub is on disk: the database, which its system user keeps, and the empty
//! directories that are the roots of sessions. Made at the first start.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::relay;
use super::wire::Role;
use crate::users::Identity;
use crate::users::directory::{self, ROOT};

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

    /// Beneath it sessions have their roots, one for each role and for the relay, which
    /// stay empty.
    pub fn roots(&self) -> PathBuf {
        self.data.join("lines")
    }

    /// Makes what is missing; `identity` is that of the hub's system user.
    ///
    /// # Errors
    /// One line that says what could not be made.
    pub fn make(&self, identity: &Identity) -> Result<(), String> {
        let make =
            |owner, path: &Path| directory::make(owner, path).map_err(|e| format!("hub.data: {e}"));
        make(ROOT, &self.data)?;
        make(identity.owner(), &self.store())?;
        make(ROOT, &self.roots())?;
        let roles = [Role::Owner, Role::Holder, Role::Both].map(Role::word);
        for home in roles.into_iter().chain([relay::HOME]) {
            make(ROOT, &self.roots().join(home))?;
        }
        Ok(())
    }

    /// A handle of the store.
    ///
    /// # Errors
    /// One line.
    pub fn open_store(&self) -> Result<OwnedFd, String> {
        directory::open(&self.store())
    }
}
