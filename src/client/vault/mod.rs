//! The client's side of the vault: password databases in KDBX files. It must never
//! drop an edit, nor show a secret that nobody asked for.

pub mod csv;
mod custom;
pub mod database;
pub mod export;
mod file;
pub mod generate;
pub mod import;
pub mod kdbx;
pub mod legacy;
pub mod otp;
pub mod sync;
pub mod xml;

use std::io;
use std::path::{Path, PathBuf};

use crate::client::ClientError;
use crate::text::reason;
use crate::vault::own::message::{Failure, Over, Refusal};

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
    /// The way to the server.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server does not let this device in.
    #[error("login refused: {0}")]
    Refused(Refusal),
    /// The server has not done it.
    #[error("the server refused: {0}")]
    Failed(Failure),
    /// The server has ended the session.
    #[error("the server ended the session: {0}")]
    Over(Over),
    /// Something else than a vault listens there.
    #[error("{server}: not a vault: give the port of its tls_listen")]
    NoVault {
        /// `host:port`.
        server: String,
    },
    /// A server of the old protocol has refused something.
    #[error("the server answered: {0}")]
    Answered(String),
    /// A code is wanted, and nobody gave one.
    #[error("the server wants a code: give one")]
    NoCode,
    /// The server is wrong, or somebody has changed what it keeps.
    #[error("the server can't be trusted: {0}")]
    Forged(&'static str),
    /// Other devices change the same all the time.
    #[error("other devices keep changing the same: try again")]
    Contended,
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
