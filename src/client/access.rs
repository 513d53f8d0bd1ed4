//! All that opens a session: the server, the account, the jail. Kept by who
//! may have to connect again.

use zeroize::Zeroizing;

use super::connect::{Connection, Target};
use super::error::{ClientError, Result};

/// A name with what only its owner knows.
pub type Secret = (String, Zeroizing<String>);

/// The way to a session.
#[derive(Clone, Debug)]
pub struct Access {
    /// The server.
    pub target: Target,
    /// Further addresses of it, `host:port`, for when the first can't be
    /// reached.
    pub others: Vec<String>,
    /// Whether its load balancer is asked which server to take (document,
    /// "TLB").
    pub balance: bool,
    /// The account and its password, where the server asks for one (document,
    /// "LOGIN").
    pub login: Option<Secret>,
    /// The directory to be jailed in and its token, where it asks for that
    /// (document, "INJAIL").
    pub jail: Option<Secret>,
    /// The lock name of the session (document, "LOCK").
    pub lock: Option<String>,
}

impl Access {
    /// A server that asks for no account and no jail.
    #[must_use]
    pub fn new(target: Target) -> Access {
        Access { target, others: Vec::new(), balance: false, login: None, jail: None, lock: None }
    }

    /// Opens a session, all doors passed.
    ///
    /// # Errors
    /// Which door stayed closed.
    pub fn open(&self) -> Result<Connection> {
        let mut connection = self.connect()?;
        if let Some((user, password)) = &self.login {
            connection.log_in(user, password)?;
        }
        if let Some((directory, token)) = &self.jail {
            connection.enter_jail(token, directory)?;
        }
        if let Some(name) = &self.lock {
            connection.lock(name)?;
        }
        Ok(connection)
    }

    /// A session with the first address that can be reached.
    fn connect(&self) -> Result<Connection> {
        let out_of_reach = |connected: &Result<Connection>| {
            matches!(connected, Err(ClientError::Resolve { .. } | ClientError::Connect { .. }))
        };
        let first = Connection::open(&self.target);
        if !out_of_reach(&first) {
            return first;
        }
        let others = self.others.iter().map(|server| {
            Connection::open(&Target { server: server.clone(), ..self.target.clone() })
        });
        others.into_iter().find(|connected| !out_of_reach(connected)).unwrap_or(first)
    }
}
