//! Everything needed to open a session: the server, the account, the jail. Kept
//! by callers that may have to reconnect.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::connect::{Connection, Target, Transport};
use super::error::{Class, ClientError, Result};
use super::probe::balance_by_udp;

/// How long to wait after a handshake that was cut.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Gives the one-time code that a server asks for; `None` if it has none.
#[derive(Clone)]
pub struct CodeSource(pub Arc<dyn Fn() -> Option<Zeroizing<String>> + Send + Sync>);

impl fmt::Debug for CodeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeSource")
    }
}

/// A name and its secret.
pub type Secret = (String, Zeroizing<String>);

/// How to open a session.
#[derive(Clone, Debug)]
pub struct Access {
    /// The server.
    pub target: Target,
    /// Further addresses of it, `host:port`, for when the first can't be
    /// reached.
    pub others: Vec<String>,
    /// Whether to ask its load balancer for a server (document, "TLB").
    pub balance: bool,
    /// The account and its password, if the server asks for one (document,
    /// "LOGIN").
    pub login: Option<Secret>,
    /// Where the one-time code comes from that the server may ask for behind the
    /// password. Each session needs another.
    pub code: Option<CodeSource>,
    /// The directory to be jailed in and its token, if the server asks for them
    /// (document, "INJAIL").
    pub jail: Option<Secret>,
    /// The lock name of the session (document, "LOCK").
    pub lock: Option<String>,
}

impl Access {
    /// A server without accounts and jails.
    #[must_use]
    pub fn new(target: Target) -> Access {
        Access {
            target,
            others: Vec::new(),
            balance: false,
            login: None,
            code: None,
            jail: None,
            lock: None,
        }
    }

    /// Opens a session, with all login steps. A handshake that is cut is tried once
    /// more: a server that stops cuts it, and another one, or it itself, serves then.
    ///
    /// # Errors
    /// Which login step failed.
    pub fn open(&self) -> Result<Connection> {
        match self.open_once() {
            Err(e) if e.is_cut_handshake() => {
                self.target.cancel.sleep(RETRY_PAUSE)?;
                self.open_once()
            }
            other => other,
        }
    }

    fn open_once(&self) -> Result<Connection> {
        if !self.balance {
            return self.enter(self.connect()?);
        }
        let named = match self.target.transport {
            Transport::Tcp(_) if self.target.via.is_none() => self.ask_by_udp(),
            // Anybody can send a datagram that names an address for which some
            // authority has vouched. Nor does ssh carry datagrams.
            Transport::Tcp(_) | Transport::Tls(..) => None,
        };
        if let Some(address) = named {
            match self.open_at(address) {
                Err(e) if is_out_of_reach(&e) => {}
                other => return other,
            }
        }
        let mut connection = self.enter(self.connect()?)?;
        if named.is_some() {
            return Ok(connection);
        }
        // UDP may not pass where TCP does.
        let here = connection.peer().ok();
        match connection.balance() {
            Ok(address) if Some(address) != here => match self.open_at(address) {
                Ok(better) => {
                    connection.end()?;
                    Ok(better)
                }
                Err(_) => Ok(connection),
            },
            Ok(_) => Ok(connection),
            Err(e) if e.status().is_some() => Ok(connection),
            Err(e) => Err(e),
        }
    }

    /// The server that the load balancer names by UDP.
    fn ask_by_udp(&self) -> Option<SocketAddr> {
        self.servers()
            .find_map(|server| balance_by_udp(server).ok().flatten())
    }

    /// All its addresses.
    fn servers(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.target.server).chain(&self.others)
    }

    /// A session with a server of its pool.
    fn open_at(&self, address: SocketAddr) -> Result<Connection> {
        self.enter(Connection::open(&self.target_at(&address.to_string()))?)
    }

    fn target_at(&self, server: &str) -> Target {
        Target {
            server: server.to_owned(),
            ..self.target.clone()
        }
    }

    /// A connection to the first address that can be reached.
    fn connect(&self) -> Result<Connection> {
        let first = Connection::open(&self.target);
        match &first {
            Err(e) if is_out_of_reach(e) => {}
            _ => return first,
        }
        let mut others = self
            .others
            .iter()
            .map(|server| Connection::open(&self.target_at(server)));
        let reached = |other: &Result<Connection>| !matches!(other, Err(e) if is_out_of_reach(e));
        others.find(reached).unwrap_or(first)
    }

    /// Does the login steps after the handshake.
    fn enter(&self, mut connection: Connection) -> Result<Connection> {
        if let Some((user, password)) = &self.login {
            self.log_in(&mut connection, user, password)?;
        }
        if let Some((directory, token)) = &self.jail {
            connection.enter_jail(token, directory)?;
        }
        if let Some(name) = &self.lock {
            connection.lock(name)?;
        }
        Ok(connection)
    }
}

impl Access {
    /// The same without asking anybody for anything.
    #[must_use]
    pub(super) fn unattended(&self) -> Access {
        Access {
            code: None,
            ..self.clone()
        }
    }

    /// Logs in, with a one-time code if the server wants one.
    fn log_in(&self, connection: &mut Connection, user: &str, password: &str) -> Result<()> {
        let refused = match connection.log_in(user, password) {
            Err(e) if e.wants_code() => e,
            other => return other,
        };
        let code = self.code.as_ref().and_then(|CodeSource(ask)| ask());
        let code = code.ok_or(refused)?;
        let with_code = Zeroizing::new(format!("{password}{}", code.trim()));
        connection.log_in(user, &with_code)
    }
}

fn is_out_of_reach(error: &ClientError) -> bool {
    error.class() == Class::Unreachable
}
