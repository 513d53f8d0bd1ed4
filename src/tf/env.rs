//! What a command works on: the root, the session's lock name, its key and
//! the settings.

use super::settings::Settings;
use super::status::Status;
use crate::store::{Lock, Root, RootPath};

/// The surroundings of a command.
#[derive(Debug)]
pub struct Env {
    /// The root of this session.
    pub root: Root,
    /// Its lock name (LOCK).
    pub lock: Lock,
    /// Its unguessable key (PROCKEY).
    pub process_key: String,
    /// What the configuration says.
    pub settings: Settings,
}

impl Env {
    /// Refuses when the directory an entry lives in is locked.
    ///
    /// # Errors
    /// `DirectoryLocked`.
    pub fn check_lock_around(&self, path: &RootPath) -> Result<(), Status> {
        self.check_lock_in(&path.parent())
    }

    /// Refuses when the directory itself is locked.
    ///
    /// # Errors
    /// `DirectoryLocked`.
    pub fn check_lock_in(&self, directory: &RootPath) -> Result<(), Status> {
        if self.lock.closes(&self.root, directory) {
            return Err(Status::DirectoryLocked);
        }
        Ok(())
    }
}
