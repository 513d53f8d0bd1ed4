//! What a protocol has to bring to be served: a gate, which faces a client until
//! its login is complete, and a session, which works beneath a root. The
//! daemon runs both, and knows nothing else of a protocol.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use crate::net::tls::server::Door;
use crate::session::context::{Context, End};
use crate::session::keeper::Keeper;
use crate::session::login::{Login, Steps};
use crate::tf::wire::Meter;

/// A protocol as the daemon serves it.
pub trait Protocol {
    /// Its name in the configuration, the log and `tfd status`.
    fn name(&self) -> &'static str;

    /// Descriptors of its own that gates and sessions keep.
    fn handles(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// Faces a client that nobody has let in. Runs without privileges, files and
    /// secrets, and logs why a client may not go on.
    ///
    /// # Errors
    /// When the system or a process of ours fails.
    fn gate(&self, gate: Gate<'_>) -> io::Result<Gated<'_>>;

    /// Takes over the session of a client that a gate let in. Runs in the
    /// session's process, with all it may ever have.
    ///
    /// # Errors
    /// When the bytes are not a state of this protocol, or the connection is
    /// lost.
    fn resume(&self, socket: TcpStream, state: &[u8], meter: Meter) -> io::Result<Serve<'_>>;
}

/// Serves a session to its end.
pub type Serve<'p> = Box<dyn FnOnce(Context) -> End + 'p>;

/// A connection in front of a gate.
pub struct Gate<'a> {
    /// The client's socket.
    pub socket: TcpStream,
    /// The client.
    pub peer: SocketAddr,
    /// Where its listener speaks TLS, with which certificate.
    pub tls: Option<&'a Door>,
    /// When the login must be complete.
    pub deadline: Instant,
    /// Counts what it sends and receives.
    pub meter: Meter,
    /// The process with the private keys.
    pub keeper: Keeper,
    /// The login steps behind what the protocol asks of everybody.
    pub steps: Steps,
    /// The login, for a protocol that asks nothing of everybody.
    pub login: Option<Login>,
    /// The connection's unguessable key, as text.
    pub process_key: &'a str,
}

/// What came of a gate.
pub enum Gated<'p> {
    /// The client may begin in this very process.
    Granted(Grant, Serve<'p>),
    /// Another process has the client now, or the client is gone.
    Done,
}

/// What the keeper hands to a gate that has shown what the protocol asks of
/// everybody, where there are no login steps.
#[derive(Debug)]
pub struct Grant {
    /// The root of the session.
    pub root: OwnedFd,
    /// The counters that quotas are held to.
    pub usage: Option<OwnedFd>,
    /// The channel to the auditor.
    pub records: Option<OwnedFd>,
    /// The channel to the protocol's service.
    pub service: Option<OwnedFd>,
}
