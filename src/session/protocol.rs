//! What a protocol has to bring to be served: a gate, which faces a client until
//! its login is complete, and a session, which works beneath a root. The
//! daemon runs both, and knows nothing else of a protocol.

use std::any::Any;
use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use nix::unistd::Pid;
use openssl::pkey::Private;
use openssl::rsa::Rsa;
use zeroize::Zeroizing;

use crate::config::{self, Config};
use crate::ipc::codec::codec;
use crate::ipc::figures::Figures;
use crate::ipc::orders::Tag;
use crate::net::link::Meter;
use crate::net::listen::Listener;
use crate::net::tls::server::Door;
use crate::sandbox::Sandbox;
use crate::session::context::{Context, End};
use crate::session::failure::Failure;
use crate::session::keeper::Keeper;
use crate::session::login::{AskingGate, GatePipe, Steps};
use crate::users::{Identity, Login};

/// A protocol as the daemon serves it.
pub trait Protocol: Debug {
    /// Its name in the configuration, the log and `tfd status`.
    fn name(&self) -> &'static str;

    /// Whether everybody has to know something before the login, which the
    /// keeper compares. Else a gate asks it for the login at once.
    fn has_shared_secret(&self) -> bool {
        false
    }

    /// Whether each of its gates gets a key of RSA from the keeper, for the
    /// client's name and password.
    fn has_login_keys(&self) -> bool {
        false
    }

    /// Whether it has accounts of its own: then its helper decides about a login,
    /// see [`Helpers::admit`], and clients always log in.
    fn has_own_accounts(&self) -> bool {
        false
    }

    /// The directory beneath which its sessions have their roots, if that is not
    /// the configuration's root.
    fn root(&self) -> Option<&Path> {
        None
    }

    /// What the keeper has to hold for it. Called in the keeper alone.
    ///
    /// # Errors
    /// One line that says what can't be read.
    fn secrets(&self, _config: &Config) -> Result<Option<Secrets>, String> {
        Ok(None)
    }

    /// Starts its helper processes, if it has any; `before` are those that run.
    ///
    /// # Errors
    /// One line that says what could not be started.
    fn start_helpers(
        &self,
        _context: &HelperContext<'_>,
        _before: Option<&dyn Helpers>,
    ) -> Result<Option<Box<dyn Helpers>>, String> {
        Ok(None)
    }

    /// The ports of this machine for data connections of its sessions, by the
    /// dialer, 0 alone for any; `None` for a protocol without such connections.
    fn data_ports(&self) -> Option<RangeInclusive<u16>> {
        None
    }

    /// Descriptors of its own that gates and sessions keep.
    fn handles(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// Faces a client until its login is complete, and hands it over to the
    /// process of its session then. Runs without privileges, files and secrets,
    /// and logs why a client may not go on.
    ///
    /// # Errors
    /// When the system or a process of ours fails.
    fn gate(&self, gate: Gate<'_>) -> io::Result<()>;

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
    /// Its listener: the number of its entry in the configuration.
    pub listener: u16,
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
    /// The connection's unguessable key, as text.
    pub process_key: &'a str,
}

/// What the keeper holds for a protocol.
pub struct Secrets {
    /// The RSA private key.
    pub key: Rsa<Private>,
    /// The lengths that a decrypted session key may have, in bytes.
    pub key_lengths: RangeInclusive<usize>,
    /// What everybody has to know.
    pub shared: Zeroizing<Vec<u8>>,
}

/// The helper processes that a protocol has for all its sessions. They end with
/// the value.
pub trait Helpers: Debug {
    /// Descriptors that zygote and launcher keep, for [`Helpers::adopt`].
    fn handles(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// Makes them of use to the gates and sessions that a process will fork.
    fn adopt(&self) -> io::Result<()> {
        Ok(())
    }

    /// A channel for a new session of this login, on which it asks one of them.
    ///
    /// # Errors
    /// When that one does not run.
    fn open(&self, _login: &Login, _peer: IpAddr) -> io::Result<Option<OwnedFd>> {
        Ok(None)
    }

    /// Has one of them decide about the login of a gate's client.
    ///
    /// # Errors
    /// When that one does not run, or there is none for this.
    fn admit(&self, _gate: AskingGate) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The next gate whose client one of them has let in, or why a login has failed.
    fn admitted(&mut self) -> Option<Result<OwnLogin, Failure>> {
        None
    }

    /// The channel on which one of them asks for the page of a slot, to read it, or
    /// says who is let in.
    fn channel(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Has one of them connect to a client that waits at this address, by order of the
    /// operator.
    fn call(&mut self, _address: SocketAddr) {}

    /// Channels on which connections come that one of them has made for a gate.
    fn calls(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// The next of these connections.
    fn called(&mut self) -> Option<Called> {
        None
    }

    /// Answers what has come on it; `page` finds a page.
    fn hear(&mut self, _page: &dyn Fn(u32) -> Option<OwnedFd>) {}

    /// What they publish for metrics and status.
    fn figures(&self) -> Option<&Figures> {
        None
    }

    /// Takes note that a process has ended; whether it was one that must be
    /// started again.
    fn reaped(&mut self, pid: Pid) -> bool;

    /// When [`Helpers::restart_if_due`] has something to do.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Starts again what has ended, once that is due.
    fn restart_if_due(&mut self, _context: &HelperContext<'_>) {}

    /// For a protocol to recognize its own.
    fn as_any(&self) -> &dyn Any;
}

/// A gate whose client is in, by an account of its protocol.
#[derive(Debug)]
pub struct OwnLogin {
    /// Its connection.
    pub tag: Tag,
    /// Whom the session is for.
    pub login: Login,
    /// The channel to it.
    pub gate: GatePipe,
}

/// A connection that a helper process has made for a gate: its client is at the other
/// end, or behind a relay there.
#[derive(Debug)]
pub struct Called {
    /// The connection.
    pub socket: OwnedFd,
    /// The other end.
    pub peer: SocketAddr,
}

codec!(struct Called { socket, peer });

/// What helper processes are started with.
#[derive(Clone, Copy)]
pub struct HelperContext<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// What is listened on.
    pub listeners: &'a [&'a Listener],
    /// The UDP sockets next to the listeners.
    pub udp: &'a [BorrowedFd<'a>],
    /// The memory with the keys of connections.
    pub keys: BorrowedFd<'a>,
    /// Whom they become.
    pub identity: Option<&'a Identity>,
    /// What they enter.
    pub sandbox: &'a Sandbox,
    /// The channel to the auditor, if there is one.
    pub records: Option<BorrowedFd<'a>>,
}

impl HelperContext<'_> {
    /// The port of the first address that this key lists for a protocol.
    pub fn port(&self, protocol: config::Protocol, key: &str) -> Option<u16> {
        let mut wanted = self.config.listeners().into_iter();
        let wanted = wanted.find(|it| it.protocol == protocol && it.key == key)?;
        let mut listeners = self.listeners.iter();
        let bound = listeners.find(|it| {
            it.protocol == protocol as u8 && it.address == wanted.address && it.key == key
        })?;
        Some(bound.local_address().port())
    }

    /// Whom sessions are served as that need no file: who faces the network.
    ///
    /// # Errors
    /// One line.
    pub fn session_identity(&self) -> Result<Identity, String> {
        let named = match (&self.config.server.user, self.identity) {
            (_, None) => Ok(Identity::own()),
            (Some(name), _) => Identity::of(name),
            (None, helpers) => Identity::unused(helpers),
        };
        named.map_err(|e| format!("server.user: {e}"))
    }
}
