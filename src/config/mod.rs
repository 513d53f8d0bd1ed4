//! The configuration file: its keys, their defaults, and errors that name
//! line and key. See tfd.toml(5).

mod file;
mod listener;
mod pool;
mod problem;
mod proxy;
mod tls;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::session::login::Steps;
use crate::tf::settings::{Dialect, Settings};
use crate::users::account::Network;
use crate::users::throttle::Limits;

pub use crate::admin::check::report;
pub use listener::{Listener, Protocol};
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
    /// The directory that clients see; empty for a proxy, which serves none.
    pub root: PathBuf,
    /// How clients get their identity.
    pub mode: Mode,
    /// The users file of multi-user mode.
    pub users: Option<PathBuf>,
    /// Whether clients must enter a jail.
    pub jail: bool,
    /// The most bytes that all files beneath the root may have.
    pub quota: Option<u64>,
    /// When failed logins are blocked.
    pub login_limits: Limits,
    /// How long a client may take from connecting to the end of its login.
    pub handshake_limit: Duration,
    /// How long a client may stand still once it is in; `None` for ever.
    pub idle_limit: Option<Duration>,
    /// When an upload is acknowledged.
    pub durability: Durability,
    /// Mode of new files, before the umask.
    pub file_mode: u32,
    /// Mode of new directories, before the umask.
    pub directory_mode: u32,
    /// The certificate of the listeners with TLS; `None` if there are none.
    pub tls: Option<Tls>,
    /// Whether the kernel may make the records of TLS.
    pub kernel_tls: bool,
    /// The proxies whose connections begin with the client's address.
    pub accept_proxy_from: Vec<Network>,
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

/// When an upload is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When the system has the bytes; the system writes them when it likes.
    #[default]
    System,
    /// When the bytes and the name are on disk.
    File,
}

/// What concerns TF Protocol.
#[derive(Clone, Debug)]
pub struct Tf {
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// Where to listen with TLS.
    pub tls_listen: Vec<SocketAddr>,
    /// The version string clients must send first.
    pub version: String,
    /// The hash string clients must send last.
    pub hash: String,
    /// The RSA private key, PEM.
    pub private_key: PathBuf,
    /// Which of two readings of the protocol sessions follow.
    pub dialect: Dialect,
    /// The largest buffer PUT and GET agree on, in bytes.
    pub buffer_limit: u64,
    /// The shortest interval of notification mode.
    pub notify_floor: Duration,
    /// The pool file of the load balancer.
    pub tlb_pool: Option<PathBuf>,
    /// The DNS name whose SRV records are servers of the pool, too.
    pub tlb_dns: Option<String>,
    /// Where the transparent proxy relays to; then no file is served, and
    /// version, hash and key may be empty.
    pub proxy: Option<Proxy>,
    /// Bytes of memory for the keystream tables that all sessions share;
    /// `None` for no tables.
    pub keystream_memory: Option<u64>,
}

impl Server {
    /// What clients do before they are in, behind what the protocol asks.
    pub fn login_steps(&self) -> Steps {
        Steps {
            account: self.mode == Mode::MultiUser,
            jail: self.jail,
        }
    }
}

impl Config {
    /// What sessions of TF follow.
    pub fn settings(&self) -> Settings {
        Settings {
            dialect: self.tf.dialect,
            durability: self.server.durability,
            buffer_limit: self.tf.buffer_limit,
            idle_limit: self.server.idle_limit,
            notify_floor: self.tf.notify_floor,
            kernel_tls: self.server.kernel_tls,
            file_mode: self.server.file_mode,
            directory_mode: self.server.directory_mode,
        }
    }
}

impl Tf {
    /// Whether there is a pool of servers to hand out.
    #[must_use]
    pub fn has_pool(&self) -> bool {
        self.tlb_pool.is_some() || self.tlb_dns.is_some()
    }
}
