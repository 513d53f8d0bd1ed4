//! `[tf]`: what concerns TF Protocol, and the proxy in front of a server of it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::listener::Protocol;
use super::proxy::{Backend, Host, Proxy};
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
    /// Whether the words of tfd's extension are answered.
    pub extension: bool,
    /// The largest buffer PUT and GET agree on, in bytes.
    pub buffer_limit: u64,
    /// The largest file of INTREAD and INTWRITE, in bytes.
    pub integrity_limit: u64,
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

/// Reports keys that are missing or contradict each other.
pub(super) fn check(values: &mut Values<'_>) {
    if values.is_set("tf", "proxy_to") {
        return check_proxy(values);
    }
    for name in ["proxy_from", "proxy_protocol"] {
        if values.is_set("tf", name) {
            let text = ": of no use without proxy_to: remove it";
            values.problem("tf", name, text);
        }
    }
    for name in ["version", "hash", "private_key"] {
        values.need("tf", name, "add it");
    }
}

/// Keys that only a server with files of its own has a use for, beyond those
/// that its protocol requires.
const SERVING: &[(&str, &str)] = &[
    ("server", "users"),
    ("server", "quota"),
    ("server", "audit"),
    ("tf", "tlb_pool"),
    ("tf", "tlb_dns"),
];

/// Reports keys that contradict `tf.proxy_to`.
fn check_proxy(values: &mut Values<'_>) {
    let mut useless = SERVING.to_vec();
    useless.retain(|(section, name)| values.is_set(section, name));
    if values.is("server", "mode", "multi-user") {
        useless.push(("server", "mode"));
    }
    if values.is("server", "jail", "true") {
        useless.push(("server", "jail"));
    }
    let mut others = Protocol::ALL.to_vec();
    others.retain(|other| *other != Protocol::Tf && other.is_listed(values));
    useless.extend(others.into_iter().map(|other| (other.section(), "listen")));
    for (section, name) in useless {
        let text = ": a proxy serves no file: remove this key or tf.proxy_to";
        values.problem(section, name, text);
    }
    if values.is_set("tf", "tls_listen") {
        let text = ": a proxy relays TLS as it comes: list the address in tf.listen, and let \
                    the server behind it speak TLS";
        values.problem("tf", "tls_listen", text);
    }
    let backend = values.text("tf", "proxy_to").and_then(Backend::parse);
    let Some(Backend {
        host: Host::Address(to),
        port,
    }) = backend
    else {
        return;
    };
    if leads_back((to, port), &values.list("tf", "listen")) {
        let text = ": this server itself: name the one behind it";
        values.problem("tf", "proxy_to", text);
    }
    let from: Vec<IpAddr> = values.list("tf", "proxy_from");
    if !from.is_empty() && from.iter().all(|source| source.is_ipv4() != to.is_ipv4()) {
        let text = ": no address of the family of proxy_to: add one";
        values.problem("tf", "proxy_from", text);
    }
}

/// Whether an address is one listened on here.
fn leads_back((to, port): (IpAddr, u16), listen: &[SocketAddr]) -> bool {
    listen.iter().any(|address| {
        let everywhere = address.ip().is_unspecified() && to.is_loopback();
        let same_family = address.is_ipv4() == to.is_ipv4();
        address.port() == port && same_family && (address.ip() == to || everywhere)
    })
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
        extension: values.parsed("tf", "extension")?,
        buffer_limit: values.parsed("tf", "buffer_limit")?,
        integrity_limit: values.parsed("tf", "integrity_limit")?,
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
