//! The configuration file: its keys, their defaults, and errors that name
//! line and key. See tfd.toml(5).

mod file;
mod pool;
mod problem;
mod proxy;
mod tls;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::session::login::Steps;
use crate::tf::settings::Settings;
use crate::users::account::Network;
use crate::users::throttle::Limits;

pub use crate::admin::check::report;
pub use pool::{check_pool, read_pool};
pub use problem::Problem;
pub use proxy::{Backend, Host, Proxy};
pub use tls::Tls;
pub use world::{check_listen, check_world, read_key, read_secret, warnings};

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read from.
    pub path: PathBuf,
    /// `[server]`
    pub server: Server,
    /// `[tf]`
    pub tf: Tf,
}

/// What concerns the daemon and its processes.
#[derive(Clone, Debug)]
pub struct Server {
    /// The identity of clients in single-user mode and of every process that
    /// faces the network before login. Needed when root starts the daemon.
    pub user: Option<String>,
    /// Log filter: a level, or `module=level` parts, as `RUST_LOG`.
    pub log: String,
    /// How long transfers may go on after a request to stop.
    pub stop_grace: Duration,
    /// The most connections at once, in all.
    pub max_sessions: u32,
    /// The most connections at once from one address; 0 for no limit.
    pub max_sessions_per_address: u32,
    /// The most connections at once that have not passed their last door.
    pub max_unauthenticated: u32,
    /// Whether `user` may be root.
    pub allow_root_user: bool,
    /// The audit log.
    pub audit: Option<PathBuf>,
    /// Whether processes enter the sandbox.
    pub sandbox: bool,
    /// The control socket.
    pub control: Option<PathBuf>,
    /// Where metrics are had.
    pub metrics: Option<Local>,
    /// The file that the log goes to in place of standard error.
    pub log_file: Option<PathBuf>,
}

/// A place that only this machine reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// A Unix socket.
    Path(PathBuf),
    /// A loopback address.
    Address(SocketAddr),
}

/// How clients come by their Unix identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Every client acts as `[server].user`.
    #[default]
    SingleUser,
    /// Every client logs in.
    MultiUser,
}

/// What concerns TF Protocol.
#[derive(Clone, Debug)]
pub struct Tf {
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// Where to listen with TLS, and with which certificate.
    pub tls: Option<Tls>,
    /// The version string clients must send first.
    pub version: String,
    /// The hash string clients must send last.
    pub hash: String,
    /// The directory that clients see.
    pub root: PathBuf,
    /// The RSA private key, PEM.
    pub private_key: PathBuf,
    /// How clients come by their identity.
    pub mode: Mode,
    /// The users file of multi-user mode.
    pub users: Option<PathBuf>,
    /// When failed logins are blocked.
    pub login_limits: Limits,
    /// The most bytes that all files beneath the root may have.
    pub quota: Option<u64>,
    /// Whether clients must enter a jail.
    pub jail: bool,
    /// The pool file of the load balancer.
    pub tlb_pool: Option<PathBuf>,
    /// The DNS name whose SRV records are servers of the pool, too.
    pub tlb_dns: Option<String>,
    /// Where the transparent proxy relays to; then no file is served, and
    /// version, hash, root and key may be empty.
    pub proxy: Option<Proxy>,
    /// Whose connections begin with the client's address.
    pub accept_proxy_from: Vec<Network>,
    /// Bytes of memory for the keystream tables that all sessions share;
    /// `None` for no tables.
    pub keystream_memory: Option<u64>,
    /// How long a client may take from connecting to its last door.
    pub handshake_limit: Duration,
    /// What sessions follow.
    pub session: Settings,
}

impl Tf {
    /// All addresses to listen on, and whether with TLS.
    pub fn listeners(&self) -> impl Iterator<Item = (SocketAddr, bool)> {
        let with_tls = self.tls.iter().flat_map(|tls| &tls.listen);
        self.listen
            .iter()
            .map(|a| (*a, false))
            .chain(with_tls.map(|a| (*a, true)))
    }

    /// Whether an address is listened on with TLS, as it was before if it may
    /// be; `None` for one that is not listened on.
    #[must_use]
    pub fn tls_on(&self, address: SocketAddr, before: bool) -> Option<bool> {
        if self
            .listeners()
            .any(|listener| listener == (address, before))
        {
            return Some(before);
        }
        self.listeners()
            .find(|(listened, _)| *listened == address)
            .map(|(_, tls)| tls)
    }

    /// Whether there is a pool of servers to hand out.
    #[must_use]
    pub fn has_pool(&self) -> bool {
        self.tlb_pool.is_some() || self.tlb_dns.is_some()
    }

    /// The doors behind the hash.
    #[must_use]
    pub fn login_steps(&self) -> Steps {
        Steps {
            account: self.mode == Mode::MultiUser,
            jail: self.jail,
        }
    }
}
