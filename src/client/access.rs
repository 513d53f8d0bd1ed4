//! All that opens a session: the server, the account, the jail. Kept by who
//! may have to connect again.

use zeroize::Zeroizing;

use super::connect::{Connection, Target};
use super::error::Result;

/// A name with what only its owner knows.
pub type Secret = (String, Zeroizing<String>);

/// The way to a session.
#[derive(Clone, Debug)]
pub struct Access {
    /// The server.
    pub target: Target,
    /// The account and its password, where the server asks for one (document,
    /// "LOGIN").
    pub login: Option<Secret>,
    /// The directory to be jailed in and its token, where it asks for that
    /// (document, "INJAIL").
    pub jail: Option<Secret>,
}

impl Access {
    /// Opens a session, all doors passed.
    ///
    /// # Errors
    /// Which door stayed closed.
    pub fn open(&self) -> Result<Connection> {
        let mut connection = Connection::open(&self.target)?;
        if let Some((user, password)) = &self.login {
            connection.log_in(user, password)?;
        }
        if let Some((directory, token)) = &self.jail {
            connection.enter_jail(token, directory)?;
        }
        Ok(connection)
    }
}
