//! What `tf` does with its arguments. It reaches servers through
//! [`crate::client`] alone.

mod commands;
mod exit;
pub(crate) mod names;
mod progress;

use std::path::PathBuf;
use std::time::Duration;

pub use commands::{cat, get, list, make_directories, put, remove, rename, show_sha256, show_stat};
pub use exit::Exit;

use zeroize::Zeroizing;

use crate::client::{ClientError, Connection, PublicKey, Target, Tls, Transport};
use crate::tf::status::Status;

/// How to reach the server, and how much to say.
#[derive(Clone, Debug)]
pub struct Session {
    /// `host:port`.
    pub server: String,
    /// The file of the server's public key; over TLS it may do without.
    pub key: Option<PathBuf>,
    /// How to speak TLS, if that is asked for.
    pub tls: Option<Tls>,
    /// The hash.
    pub hash: String,
    /// The version string.
    pub version: String,
    /// How long connecting may take.
    pub timeout: Duration,
    /// Whether to leave progress bars out.
    pub quiet: bool,
    /// The account and its password, where the server asks for one.
    pub login: Option<(String, Zeroizing<String>)>,
    /// The directory to be jailed in and its token, where it asks for that.
    pub jail: Option<(String, Zeroizing<String>)>,
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// Which step failed.
    pub fn open(&self) -> Result<Connection, ClientError> {
        let key = self.key.as_deref().map(PublicKey::from_file).transpose()?;
        let mut target = match (&self.tls, key) {
            (None, None) => return Err(ClientError::NoKey),
            (None, Some(key)) => Target::new(&self.server, key, &self.hash),
            (Some(tls), key) => {
                let mut target = Target::tls(&self.server, tls.clone(), &self.hash);
                target.transport = Transport::Tls(tls.clone(), key);
                target
            }
        };
        target.version.clone_from(&self.version);
        target.timeout = self.timeout;
        let mut connection = Connection::open(&target)?;
        if let Some((user, password)) = &self.login {
            connection.log_in(user, password)?;
        }
        if let Some((directory, token)) = &self.jail {
            connection.enter_jail(token, directory)?;
        }
        Ok(connection)
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
            match e.status() {
                Some(Status::BeforeLogin) => eprintln!("tf: the server asks who you are: --user"),
                Some(Status::BeforeJail) => eprintln!("tf: the server asks for a jail: --jail"),
                _ => {}
            }
            Exit::of(&e)
        }
    }
}
