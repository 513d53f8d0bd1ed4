//! The lock name of a session (document, "LOCK"): while an entry of that name
//! is in a directory, this session does nothing there except delete it. It is a
//! convention between clients and does not synchronise.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::store::{Root, RootPath};
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Sets the session's lock name.
///
/// # Errors
/// 28 for a name that can't be one.
pub(crate) fn run(env: &mut Env, name: &[u8]) -> Result<Reply, Status> {
    env.lock = Lock::new(name).map_err(|_| Status::LockToken)?;
    Ok(Reply::Ok)
}

/// An invalid lock name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a lock name has no '.' and no '/'")]
pub struct BadLockName;

/// The lock name; empty when locking is off.
#[derive(Clone, Debug, Default)]
pub struct Lock {
    name: Vec<u8>,
}

impl Lock {
    /// Locking by entries of this name; off for an empty one.
    ///
    /// # Errors
    /// `BadLockName` when it contains a `.` or a `/`.
    pub fn new(name: &[u8]) -> Result<Lock, BadLockName> {
        if name.iter().any(|c| matches!(c, b'.' | b'/')) {
            return Err(BadLockName);
        }
        Ok(Lock {
            name: name.to_vec(),
        })
    }

    /// Whether the directory is locked for this session. A directory that
    /// can't be read is not locked.
    pub fn closes(&self, root: &Root, directory: &RootPath) -> bool {
        if self.name.is_empty() {
            return false;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        root.open_at(directory, flags, Mode::empty())
            .is_ok_and(|handle| self.closes_handle(&handle))
    }

    /// As [`Lock::closes`], for an open directory.
    pub fn closes_handle(&self, directory: impl std::os::fd::AsFd) -> bool {
        !self.name.is_empty()
            && rustix::fs::statat(
                directory,
                OsStr::from_bytes(&self.name),
                AtFlags::SYMLINK_NOFOLLOW,
            )
            .is_ok()
    }

    /// Whether the path is that of a lock file itself, which may be deleted.
    pub fn is_lock_file(&self, path: &RootPath) -> bool {
        !self.name.is_empty() && path.name() == Some(self.name.as_slice())
    }
}
