//! The client's side of the vault: password databases in KDBX files. It must never
//! drop an edit, nor show a secret that nobody asked for.

pub mod csv;
pub mod database;
pub mod export;
mod file;
pub mod generate;
pub mod import;
pub mod kdbx;
pub mod otp;
pub mod xml;

use std::io;
use std::path::{Path, PathBuf};

use crate::text::reason;

pub use file::{Saved, VaultFile};

/// Why something can't be done with a password database.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A local failure.
    #[error("{path}: {}", reason(.source), path = .path.display())]
    Local {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The password, or the key file, is wrong.
    #[error("{path}: wrong password or key file", path = .path.display())]
    Password {
        /// The file.
        path: PathBuf,
    },
    /// It was given another password while it was open.
    #[error("{path}: it has another password now: try again", path = .path.display())]
    OtherKey {
        /// The file.
        path: PathBuf,
    },
    /// It is a file of another kind, or damaged.
    #[error("{path}: {why}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Another program changes it again and again.
    #[error("{path}: another program keeps changing it: try again", path = .path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
}

impl VaultError {
    fn local(path: &Path, source: io::Error) -> VaultError {
        VaultError::Local {
            path: path.to_owned(),
            source,
        }
    }

    fn unreadable(path: &Path, why: String) -> VaultError {
        VaultError::Unreadable {
            path: path.to_owned(),
            why,
        }
    }
}
