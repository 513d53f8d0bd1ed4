//! The connection to the store: commands and their replies, each within a time limit. What
//! has failed on its way is over: a reply that comes late would be taken for another's.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use redis::{Cmd, Value};
use zeroize::Zeroizing;

use super::reply::{self, ReplyError};
use crate::config::SharedState;
use crate::net::tls::client::{Tls, Trust};
use crate::net::{Link, LinkError};
use crate::trusted;

/// How long a connection may take to come about, and a reply.
const CONNECT: Duration = Duration::from_secs(1);
pub(super) const REPLY: Duration = Duration::from_millis(200);

/// The longest password, in bytes.
const MAX_PASSWORD: usize = 1024;

/// Why the store has not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// The way to it.
    #[error("{0}")]
    Gone(String),
    /// It answers, and does not do what was asked for.
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

impl From<LinkError> for StoreError {
    fn from(e: LinkError) -> StoreError {
        StoreError::Gone(e.to_string())
    }
}

impl From<io::Error> for StoreError {
    fn from(e: io::Error) -> StoreError {
        StoreError::from(LinkError::from(e))
    }
}

impl StoreError {
    /// Whether the connection is of use all the same.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, StoreError::Reply(ReplyError::Refused(_)))
    }
}

/// How the store is reached. No other process has this.
pub(super) struct Access {
    settings: SharedState,
    password: Option<Zeroizing<Vec<u8>>>,
    tls: Option<Tls>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access({})", self.settings)
    }
}

impl Access {
    /// Reads what is needed for that.
    ///
    /// # Errors
    /// One line that says what is wrong with it.
    pub(super) fn read(settings: &SharedState) -> Result<Access, String> {
        Ok(Access {
            password: read_password(settings)?,
            tls: settings
                .tls
                .then(|| read_authorities(settings))
                .transpose()?,
            settings: settings.clone(),
        })
    }

    /// Connects and logs in.
    pub(super) fn connect(&self) -> Result<Store, StoreError> {
        let SharedState {
            host,
            port,
            database,
            ..
        } = &self.settings;
        let until = Instant::now() + CONNECT;
        let addresses = (host.as_str(), *port).to_socket_addrs();
        let addresses = addresses.map_err(|e| StoreError::Gone(format!("{host}: {e}")))?;
        let mut link = Link::new(dial(addresses, until)?)?;
        link.set_deadline(Some(until.max(Instant::now() + REPLY)))?;
        if let Some(tls) = &self.tls {
            tls.connect(&mut link, host, &[])
                .map_err(|e| StoreError::Gone(e.to_string()))?;
        }
        let mut store = Store { link };
        if let Some(password) = &self.password {
            let mut login = redis::cmd("AUTH");
            if let Some(user) = &self.settings.user {
                login.arg(user);
            }
            store.done(login.arg(password.as_slice()))?;
        }
        if *database > 0 {
            store.done(redis::cmd("SELECT").arg(*database))?;
        }
        Ok(store)
    }
}

/// The first of these addresses that answers.
fn dial(
    addresses: impl Iterator<Item = SocketAddr>,
    until: Instant,
) -> Result<TcpStream, StoreError> {
    let mut failed = StoreError::Gone("no address".to_owned());
    for address in addresses {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(socket) => return Ok(socket),
            Err(e) => failed = StoreError::Gone(e.to_string()),
        }
    }
    Err(failed)
}

fn read_password(settings: &SharedState) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    let Some(file) = &settings.password_file else {
        return Ok(None);
    };
    let remedy = "it has the password of server.shared_state, in one line";
    let mut secret = trusted::read_secret(file, remedy)
        .map_err(|e| format!("server.shared_state_password_file: {e}"))?;
    while secret.last().is_some_and(|end| b"\r\n".contains(end)) {
        secret.pop();
    }
    let is_line = !secret.iter().any(|byte| b"\r\n\0".contains(byte));
    if !is_line || !(1..=MAX_PASSWORD).contains(&secret.len()) {
        let shown = file.display();
        return Err(format!(
            "server.shared_state_password_file: {shown}: not one line: {remedy}"
        ));
    }
    Ok(Some(secret))
}

fn read_authorities(settings: &SharedState) -> Result<Tls, String> {
    let trust = match &settings.authorities {
        None => Trust::System,
        Some(path) => {
            let pem = std::fs::read(path);
            let named = |e| format!("server.shared_state_ca: {}: {e}", path.display());
            Trust::Authorities(pem.map_err(named)?)
        }
    };
    Tls::new(&trust, None).map_err(|e| format!("server.shared_state_ca: {e}"))
}

/// An open connection.
pub(super) struct Store {
    link: Link,
}

impl Store {
    /// Sends a command and waits for its reply.
    pub(super) fn ask(&mut self, command: &Cmd) -> Result<Value, StoreError> {
        let mut bytes = Zeroizing::new(command.get_packed_command());
        self.link.set_deadline(Some(Instant::now() + REPLY))?;
        self.link.write(&mut bytes)?;
        let reply = reply::read(Reading(&mut self.link)).map_err(|e| {
            if e.kind() == io::ErrorKind::InvalidData {
                StoreError::Gone(ReplyError::Garbage.to_string())
            } else {
                StoreError::from(e)
            }
        })?;
        Ok(reply::accepted(reply)?)
    }

    /// The same for a command that is to be answered by `OK`.
    pub(super) fn done(&mut self, command: &Cmd) -> Result<(), StoreError> {
        match reply::is_done(&self.ask(command)?) {
            true => Ok(()),
            false => Err(ReplyError::Garbage.into()),
        }
    }
}

/// The link as a stream, at the speed of its sender.
struct Reading<'a>(&'a mut Link);

impl io::Read for Reading<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        self.0.read(to).map_err(|e| match e {
            LinkError::TimedOut => io::ErrorKind::TimedOut.into(),
            LinkError::Closed => io::ErrorKind::UnexpectedEof.into(),
            LinkError::Io(e) => e,
            other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
        })
    }
}
