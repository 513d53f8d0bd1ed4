//! Where a holder is on disk: the store, which its system user keeps, and an empty
//! directory that is the root of sessions. Made at the first start.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::users::{Identity, directory};

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
        let make = |owner, path: &Path| {
            directory::make(owner, path).map_err(|e| format!("holder.store: {e}"))
        };
        let own = Identity::own().owner();
        make(own, &self.top)?;
        make(identity.owner(), &self.store())?;
        make(own, &self.roots())?;
        make(own, &self.roots().join(HOME))
    }

    /// A handle of the store.
    ///
    /// # Errors
    /// One line.
    pub fn open_store(&self) -> Result<OwnedFd, String> {
        directory::open(&self.store())
    }
}
