//! Backups: the owner's side of the backup hub, and of keepers that are directories of
//! his own. The files are a restic repository, read and written by
//! `rustic_core`, which no other module names; ours are the keys, the keepers, the
//! source and the restore. It never asks a person and never prints.

mod account;
mod browse;
mod directories;
mod export;
mod hub;
mod keeper;
mod keepers;
mod keyfile;
mod library;
mod maintain;
mod repository;
mod restore;
mod seed;
mod source;
mod target;

use std::io;
use std::path::Path;

use rustic_core::RusticError;

pub(crate) use self::account::{Account, Entrance};
pub(crate) use self::browse::{Change, Entry};
pub(crate) use self::export::export;
pub(crate) use self::hub::{
    KeeperAt, Standing, Undeleted, enrol, factor_of, is_known, keepers_of, standing, undelete,
    user_of,
};
pub(crate) use self::keepers::{Access, Keepers, Locks};
pub(crate) use self::keyfile::{KeyFile, write_secret};
pub(crate) use self::maintain::{Checked, Forgetting, Keep, Pruned, Rewriting, Rewritten, Stats};
pub(crate) use self::repository::{Made, Plan, Repository, Snapshot};
pub(crate) use self::restore::Restored;
pub(crate) use self::seed::Seed;
pub(crate) use self::source::{LeftOut, Meter};

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// For this reason.
    #[error("{0}")]
    Failed(String),
    /// The phrase or the passphrase is another one.
    #[error("{0}")]
    WrongKey(String),
    /// No line to the hub.
    #[error("{0}")]
    NoHub(String),
}

/// Shorthand.
pub(crate) type Result<T, E = BackupError> = std::result::Result<T, E>;

/// Something on this machine failed.
pub(crate) fn local(path: &Path) -> impl Fn(io::Error) -> BackupError {
    move |e| BackupError::Failed(format!("{}: {}", path.display(), crate::text::reason(&e)))
}

impl From<Box<RusticError>> for BackupError {
    fn from(error: Box<RusticError>) -> BackupError {
        BackupError::Failed(library::sentence(&error))
    }
}

impl From<openssl::error::ErrorStack> for BackupError {
    fn from(error: openssl::error::ErrorStack) -> BackupError {
        BackupError::Failed(format!("OpenSSL: {error}"))
    }
}
