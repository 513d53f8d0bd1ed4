//! `[tf]`: what concerns TF Protocol, and the proxy in front of a server of it.

use std::path::PathBuf;
use std::time::Duration;

use super::proxy::{self, Backend, Proxy};
use super::values::Values;

/// Which of two readings a session follows where the document and the
/// deployed servers differ (tf-protocol(7), DIALECTS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// As the public C server and its clients do.
    #[default]
    Deployed,
    /// As the document says.
    Document,
}

/// What concerns TF Protocol.
#[derive(Clone, Debug)]
pub struct Tf {
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

impl Tf {
    /// Whether there is a pool of servers to hand out.
    pub fn has_pool(&self) -> bool {
        self.tlb_pool.is_some() || self.tlb_dns.is_some()
    }
}

/// Whether any listener speaks TLS.
pub(super) fn has_tls(values: &Values<'_>) -> bool {
    values.has_elements("tf", "tls_listen") && !values.is_set("tf", "proxy_to")
}

/// Reports keys that are missing or contradict each other.
pub(super) fn check(values: &mut Values<'_>) {
    if values.is_set("tf", "proxy_to") {
        return proxy::check(values);
    }
    for name in ["proxy_from", "proxy_protocol"] {
        if values.is_set("tf", name) {
            let text = ": of no use without proxy_to: remove it";
            values.problem("tf", name, text);
        }
    }
    values.need("server", "root", "add it");
    for name in ["version", "hash", "private_key"] {
        values.need("tf", name, "add it");
    }
}

/// The section, from checked values.
pub(super) fn build(values: &Values<'_>) -> Option<Tf> {
    let text = |name| values.text("tf", name).map(str::to_owned);
    let proxy = match values.text("tf", "proxy_to") {
        Some(to) => Some(Proxy {
            backend: Backend::parse(to)?,
            from: values.list("tf", "proxy_from"),
            announce: values.parsed("tf", "proxy_protocol")?,
        }),
        None => None,
    };
    let tables = proxy.is_none() && values.is("tf", "keystream_table", "auto");
    let memory = values
        .parsed("tf", "keystream_memory")
        .map(|mib: u64| mib << 20);
    Some(Tf {
        version: text("version").unwrap_or_default(),
        hash: text("hash").unwrap_or_default(),
        private_key: values.path("tf", "private_key").unwrap_or_default(),
        dialect: match values.text("tf", "dialect")? {
            "document" => Dialect::Document,
            _ => Dialect::Deployed,
        },
        buffer_limit: values.parsed("tf", "buffer_limit")?,
        notify_floor: values.seconds("tf", "notify_interval_floor")?,
        tlb_pool: values.path("tf", "tlb_pool"),
        tlb_dns: text("tlb_dns"),
        proxy,
        keystream_memory: tables.then(|| memory.unwrap_or_else(default_keystream_memory)),
    })
}

/// Bytes for keystream tables where the configuration does not say: enough for
/// all of them, but no more than a quarter of the machine's memory.
fn default_keystream_memory() -> u64 {
    let system = rustix::system::sysinfo();
    let machine = system.totalram * u64::from(system.mem_unit);
    (512 << 20).min(machine / 4)
}
