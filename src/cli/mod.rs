//! What `tf` does with its arguments. It reaches servers through
//! [`crate::client`] alone.

mod commands;
mod exit;
mod names;
mod progress;

use std::path::PathBuf;
use std::time::Duration;

pub use commands::{cat, get, list, make_directories, put, remove, rename, show_sha256, show_stat};
pub use exit::Exit;

use crate::client::{ClientError, Connection, PublicKey, Target};

/// How to reach the server, and how much to say.
#[derive(Clone, Debug)]
pub struct Session {
    /// `host:port`.
    pub server: String,
    /// The file of the server's public key.
    pub key: PathBuf,
    /// The hash.
    pub hash: String,
    /// The version string.
    pub version: String,
    /// How long connecting may take.
    pub timeout: Duration,
    /// Whether to leave progress bars out.
    pub quiet: bool,
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// Which step failed.
    pub fn open(&self) -> Result<Connection, ClientError> {
        let mut target = Target::new(&self.server, PublicKey::from_file(&self.key)?, &self.hash);
        target.version.clone_from(&self.version);
        target.timeout = self.timeout;
        Connection::open(&target)
    }
}

/// Shows a failure and turns it into an exit status.
#[must_use]
pub fn report(result: Result<(), ClientError>) -> Exit {
    match result {
        Ok(()) => Exit::Ok,
        // The reader of our output has seen enough.
        Err(ClientError::Local { source, .. })
            if source.kind() == std::io::ErrorKind::BrokenPipe =>
        {
            Exit::Ok
        }
        Err(e) => {
            eprintln!("tf: {e}");
            Exit::of(&e)
        }
    }
}
