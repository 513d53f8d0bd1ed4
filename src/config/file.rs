//! From the text of the file to a [`Config`]: every value checked, every
//! problem collected.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use super::proxy::Keys;
use super::{Config, Durability, Local, Mode, Problem, Server, Tf};
use crate::daemon::helpers::control::DEFAULT_CONTROL;
use crate::tf::pool::srv::is_name;
use crate::tf::settings::Dialect;
use crate::trusted;
use crate::users::size;
use crate::users::throttle::Limits;

/// The hash in the configuration that is shipped.
const EXAMPLE_HASH: &str = "change this";

/// The longest version and hash, in bytes (document, "Starting
/// communication").
const MAX_VERSION: usize = 31;
const MAX_HASH: usize = 255;

/// The shortest interval of notification mode, unless configured.
const NOTIFY_FLOOR: Duration = Duration::from_millis(1);

/// The largest buffer that clients may ask for, unless configured.
const BUFFER_LIMIT: u64 = 8 << 20;

/// Keys of `[server]` that stood in `[tf]` before.
const MOVED: &[&str] = &[
    "root",
    "mode",
    "users",
    "jail",
    "quota",
    "login_failures",
    "login_block",
    "handshake_timeout",
    "idle_timeout",
    "durability",
    "file_mode",
    "directory_mode",
    "tls_certificate",
    "tls_key",
    "tls_client_ca",
    "kernel_tls",
    "accept_proxy_from",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    server: RawServer,
    tf: RawTf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawServer {
    user: Option<Spanned<String>>,
    log: Option<Spanned<String>>,
    audit: Option<PathBuf>,
    #[serde(default)]
    allow_root_user: bool,
    sandbox: Option<bool>,
    stop_grace: Option<Spanned<f64>>,
    max_sessions: Option<Spanned<u32>>,
    max_sessions_per_address: Option<u32>,
    max_unauthenticated: Option<Spanned<u32>>,
    control: Option<PathBuf>,
    metrics: Option<Spanned<String>>,
    log_file: Option<PathBuf>,
    root: Option<PathBuf>,
    #[serde(default)]
    mode: Mode,
    users: Option<PathBuf>,
    #[serde(default)]
    jail: bool,
    quota: Option<Spanned<String>>,
    login_failures: Option<u32>,
    login_block: Option<Spanned<f64>>,
    handshake_timeout: Option<Spanned<f64>>,
    idle_timeout: Option<Spanned<f64>>,
    #[serde(default)]
    durability: Durability,
    file_mode: Option<Spanned<String>>,
    directory_mode: Option<Spanned<String>>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_client_ca: Option<PathBuf>,
    #[serde(default)]
    kernel_tls: Use,
    #[serde(default)]
    accept_proxy_from: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTf {
    listen: Spanned<Vec<Spanned<String>>>,
    tls_listen: Option<Spanned<Vec<Spanned<String>>>>,
    version: Option<Spanned<String>>,
    hash: Option<Spanned<String>>,
    private_key: Option<PathBuf>,
    #[serde(default)]
    dialect: Dialect,
    tlb_pool: Option<PathBuf>,
    tlb_dns: Option<Spanned<String>>,
    proxy_to: Option<Spanned<String>>,
    proxy_from: Option<Spanned<Vec<Spanned<String>>>>,
    proxy_protocol: Option<Spanned<bool>>,
    notify_interval_floor: Option<Spanned<f64>>,
    buffer_limit: Option<Spanned<u64>>,
    #[serde(default)]
    keystream_table: Use,
    keystream_memory: Option<Spanned<u64>>,
}

/// What is used where it helps, or never.
#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Use {
    #[default]
    Auto,
    Off,
}

/// Bytes for keystream tables where the configuration does not say: enough for
/// all of them, but no more than a quarter of the machine's memory.
fn default_keystream_memory() -> u64 {
    let system = rustix::system::sysinfo();
    let machine = system.totalram as u64 * u64::from(system.mem_unit);
    (512 << 20).min(machine / 4)
}

/// Collects problems while values are read.
pub(super) struct Reader<'a> {
    pub(super) path: &'a Path,
    text: &'a str,
    pub(super) problems: Vec<Problem>,
}

impl Config {
    /// Reads and checks a configuration file. Relative paths in it are
    /// relative to its directory.
    ///
    /// # Errors
    /// Every problem found.
    pub fn load(path: &Path) -> Result<Config, Vec<Problem>> {
        let text =
            read(path).map_err(|e| vec![Problem::new(path, format!("can't be read: {e}"))])?;
        Config::parse(path, &text)
    }

    /// As [`Config::load`], from a text that was read from `path`.
    ///
    /// # Errors
    /// Every problem found.
    pub fn parse(path: &Path, text: &str) -> Result<Config, Vec<Problem>> {
        let mut reader = Reader {
            path,
            text,
            problems: Vec::new(),
        };
        reader.moved_keys();
        if !reader.problems.is_empty() {
            return Err(reader.problems);
        }
        let raw: RawConfig = match toml::from_str(text) {
            Ok(raw) => raw,
            Err(e) => {
                reader.syntax(&e);
                return Err(reader.problems);
            }
        };
        let serves = raw.tf.proxy_to.is_none();
        let with_tls = raw.tf.tls_listen.as_ref();
        let with_tls = with_tls.is_some_and(|listen| !listen.get_ref().is_empty());
        let config = Config {
            path: path.to_owned(),
            server: reader.server(raw.server, serves, with_tls),
            tf: reader.tf(raw.tf),
        };
        if config.tf.proxy.is_some() && config.server.audit.is_some() {
            reader.of_no_use("server.audit");
        }
        if reader.problems.is_empty() {
            Ok(config)
        } else {
            Err(reader.problems)
        }
    }
}

/// A complaint about a value without the value, which may be a secret.
fn without_value(text: String) -> String {
    let expected = ["invalid type: ", "invalid value: "]
        .iter()
        .find_map(|start| text.strip_prefix(start)?.rsplit_once(", expected "));
    match expected {
        Some((_, expected)) => format!("wrong kind of value: expected {expected}"),
        None => text,
    }
}

/// Reads the text; root does so through no link of an ordinary user.
fn read(path: &Path) -> std::io::Result<String> {
    if nix::unistd::geteuid().is_root() {
        return trusted::open_to_read(path).and_then(std::io::read_to_string);
    }
    std::fs::read_to_string(path)
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or(self.text);
        before.matches('\n').count() + 1
    }

    pub(super) fn problem(&mut self, span: std::ops::Range<usize>, text: impl Into<String>) {
        let line = self.line(span.start);
        self.problems.push(Problem::on_line(self.path, line, text));
    }

    /// What the TOML reader says, on one line, with the place.
    fn syntax(&mut self, error: &toml::de::Error) {
        let text = error.message().lines().collect::<Vec<_>>().join("; ");
        let text = match text.strip_prefix("missing field `") {
            Some(rest) => format!("the key {} is missing: add it", rest.trim_end_matches('`')),
            None => without_value(text),
        };
        match error.span() {
            Some(span) => self.problem(span, text),
            None => self.problems.push(Problem::new(self.path, text)),
        }
    }

    /// Reports keys of `[server]` that stand in `[tf]`, where they were once.
    fn moved_keys(&mut self) {
        let Ok(document) = DeTable::parse(self.text) else {
            return;
        };
        let table = document.get_ref().get("tf");
        let Some(table) = table.and_then(|table| table.get_ref().as_table()) else {
            return;
        };
        for (key, _) in table {
            let name = key.get_ref().as_ref();
            if MOVED.contains(&name) {
                self.problem(
                    key.span(),
                    format!("tf.{name}: moved to [server]: write {name} there"),
                );
            }
        }
    }

    fn server(&mut self, raw: RawServer, serves: bool, with_tls: bool) -> Server {
        if let Some(log) = &raw.log
            && !filter_is_valid(log.get_ref())
        {
            self.problem(
                log.span(),
                format!(
                    "server.log: \"{}\" is no log filter: use error, warn, info, debug or trace",
                    log.get_ref()
                ),
            );
        }
        if let Some(user) = raw.user.as_ref().filter(|user| user.get_ref().is_empty()) {
            self.problem(user.span(), "server.user: empty: name a system user");
        }
        let max_sessions = self.count("server.max_sessions", raw.max_sessions, 4096);
        let max_unauthenticated =
            self.count("server.max_unauthenticated", raw.max_unauthenticated, 3000);
        for (key, is_set) in [
            ("mode", raw.mode == Mode::MultiUser),
            ("users", raw.users.is_some()),
            ("jail", raw.jail),
            ("quota", raw.quota.is_some()),
        ] {
            if !serves && is_set {
                self.of_no_use(&format!("server.{key}"));
            }
        }
        if raw.mode == Mode::MultiUser && raw.users.is_none() {
            let text = "server.users is missing: multi-user mode needs a users file (tfd user add)";
            self.problems.push(Problem::new(self.path, text));
        }
        let keys = super::tls::Keys {
            certificate: raw.tls_certificate,
            key: raw.tls_key,
            client_ca: raw.tls_client_ca,
        };
        let tls = self.tls(keys, serves && with_tls, raw.mode == Mode::MultiUser);
        let handshake = self.seconds("server.handshake_timeout", raw.handshake_timeout, 10.0);
        if handshake.is_zero() {
            let text =
                "server.handshake_timeout: 0 would let clients in never: use seconds above 0";
            self.problems.push(Problem::new(self.path, text));
        }
        let idle = self.seconds("server.idle_timeout", raw.idle_timeout, 0.0);
        let quota = raw.quota.and_then(|quota| {
            let bytes = size::parse(quota.get_ref()).filter(|bytes| (1..=1 << 62).contains(bytes));
            if bytes.is_none() {
                self.problem(
                    quota.span(),
                    "server.quota: use bytes above 0, as \"500G\" or \"2T\"",
                );
            }
            bytes
        });
        let login_limits = Limits {
            failures: raw.login_failures.unwrap_or(10),
            block: self.seconds("server.login_block", raw.login_block, 60.0),
        };
        Server {
            user: raw.user.map(Spanned::into_inner),
            log: raw
                .log
                .map_or_else(|| "info".to_owned(), Spanned::into_inner),
            stop_grace: self.seconds("server.stop_grace", raw.stop_grace, 3.0),
            max_sessions,
            max_sessions_per_address: raw.max_sessions_per_address.unwrap_or(256),
            max_unauthenticated,
            audit: raw.audit.map(|audit| self.resolve(audit)),
            allow_root_user: raw.allow_root_user,
            sandbox: raw.sandbox.unwrap_or(true),
            control: match raw.control {
                Some(path) if path.as_os_str().is_empty() => None,
                Some(path) => Some(self.resolve(path)),
                None => nix::unistd::geteuid()
                    .is_root()
                    .then(|| DEFAULT_CONTROL.into()),
            },
            metrics: raw.metrics.and_then(|metrics| self.metrics(&metrics)),
            log_file: raw.log_file.map(|path| self.resolve(path)),
            root: self.served_path(serves, "root", raw.root),
            mode: raw.mode,
            users: raw.users.map(|users| self.resolve(users)),
            jail: raw.jail,
            quota,
            login_limits,
            handshake_limit: handshake,
            idle_limit: (!idle.is_zero()).then_some(idle),
            durability: raw.durability,
            file_mode: self.mode("server.file_mode", raw.file_mode, 0o644),
            directory_mode: self.mode("server.directory_mode", raw.directory_mode, 0o755),
            tls,
            kernel_tls: raw.kernel_tls == Use::Auto,
            accept_proxy_from: self.networks("server.accept_proxy_from", raw.accept_proxy_from),
        }
    }

    /// A path, or an address that only this machine reaches.
    fn metrics(&mut self, raw: &Spanned<String>) -> Option<Local> {
        match raw.get_ref().parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Some(Local::Address(address)),
            Err(_) if raw.get_ref().contains('/') => {
                Some(Local::Path(self.resolve(raw.get_ref().into())))
            }
            _ => {
                let text = "server.metrics: use a loopback address such as \"127.0.0.1:9345\", \
                            or the path of a socket: nobody else is to read it";
                self.problem(raw.span(), text);
                None
            }
        }
    }

    /// A number of connections.
    fn count(&mut self, key: &str, raw: Option<Spanned<u32>>, default: u32) -> u32 {
        match raw {
            Some(count) if (1..=1_000_000).contains(count.get_ref()) => count.into_inner(),
            Some(count) => {
                self.problem(
                    count.span(),
                    format!("{key}: use a number from 1 to 1000000"),
                );
                1
            }
            None => default,
        }
    }

    fn tf(&mut self, raw: RawTf) -> Tf {
        let listen = self.listen("tf.listen", &raw.listen, &[]);
        if listen.is_empty() && raw.listen.get_ref().is_empty() && raw.tls_listen.is_none() {
            let text = "tf.listen: empty: name at least one \"address:port\"";
            self.problem(raw.listen.span(), text);
        }
        let keys = Keys {
            to: raw.proxy_to,
            from: raw.proxy_from,
            announce: raw.proxy_protocol,
        };
        let proxy = self.proxy(keys, &listen);
        let serves = proxy.is_none();
        let tls_listen = self.tls_listen(raw.tls_listen, &listen, serves);
        let version = self.served(serves, "version", raw.version.as_ref());
        let version = version.map_or_else(String::new, |v| self.text("tf.version", v, MAX_VERSION));
        let hash = self.served(serves, "hash", raw.hash.as_ref());
        if let Some(hash) = hash.filter(|hash| hash.get_ref() == EXAMPLE_HASH) {
            let text = "tf.hash: everybody knows this one: put in what openssl rand -hex 16 prints";
            self.problem(hash.span(), text);
        }
        let hash = hash.map_or_else(String::new, |hash| self.text("tf.hash", hash, MAX_HASH));
        if let Some(name) = raw.tlb_dns.as_ref().filter(|name| !is_name(name.get_ref())) {
            self.problem(
                name.span(),
                "tf.tlb_dns: no DNS name of a service, such as \"_tf._tcp.example.org\"",
            );
        }
        for (key, is_set) in [
            ("tlb_pool", raw.tlb_pool.is_some()),
            ("tlb_dns", raw.tlb_dns.is_some()),
        ] {
            if !serves && is_set {
                self.of_no_use(&format!("tf.{key}"));
            }
        }
        let notify_floor = match &raw.notify_interval_floor {
            Some(floor) if !(1e-6..=1e9).contains(floor.get_ref()) => {
                self.problem(
                    floor.span(),
                    "tf.notify_interval_floor: use seconds, 0.000001 or more",
                );
                NOTIFY_FLOOR
            }
            Some(floor) => Duration::from_secs_f64(*floor.get_ref()),
            None => NOTIFY_FLOOR,
        };
        let buffer_limit = match raw.buffer_limit {
            Some(limit) if (1..=1 << 30).contains(limit.get_ref()) => limit.into_inner(),
            Some(limit) => {
                self.problem(limit.span(), "tf.buffer_limit: use 1 to 1073741824 bytes");
                1
            }
            None => BUFFER_LIMIT,
        };
        let keystream_memory = match raw.keystream_memory {
            Some(mib) if *mib.get_ref() <= 1 << 20 => mib.into_inner() << 20,
            Some(mib) => {
                self.problem(mib.span(), "tf.keystream_memory: use 0 to 1048576 MiB");
                0
            }
            None => default_keystream_memory(),
        };
        let private_key = self.served_path(serves, "private_key", raw.private_key);
        let tables = serves && raw.keystream_table == Use::Auto;
        Tf {
            listen,
            tls_listen,
            version,
            hash,
            private_key,
            dialect: raw.dialect,
            buffer_limit,
            notify_floor,
            tlb_pool: raw.tlb_pool.map(|pool| self.resolve(pool)),
            tlb_dns: raw.tlb_dns.map(Spanned::into_inner),
            proxy,
            keystream_memory: tables.then_some(keystream_memory),
        }
    }

    /// The addresses of a key that are not `taken`.
    pub(super) fn listen(
        &mut self,
        key: &str,
        raw: &Spanned<Vec<Spanned<String>>>,
        taken: &[SocketAddr],
    ) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for text in raw.get_ref() {
            match text.get_ref().parse::<SocketAddr>() {
                Ok(address)
                    if address.port() != 0
                        && (addresses.contains(&address) || taken.contains(&address)) =>
                {
                    self.problem(text.span(), format!("{key}: {address} stands twice"));
                }
                Ok(address) => addresses.push(address),
                Err(_) => self.problem(
                    text.span(),
                    format!(
                        "{key}: \"{}\" is no address:port, such as \"0.0.0.0:10345\" \
                         or \"[::]:10345\"",
                        text.get_ref()
                    ),
                ),
            }
        }
        addresses
    }

    /// A key that only a server with files of its own needs.
    fn served<T>(&mut self, serves: bool, key: &str, value: Option<T>) -> Option<T> {
        if serves && value.is_none() {
            let text = format!("the key {key} is missing: add it");
            self.problems.push(Problem::new(self.path, text));
        }
        value
    }

    fn served_path(&mut self, serves: bool, key: &str, value: Option<PathBuf>) -> PathBuf {
        let path = self.served(serves, key, value);
        path.map_or_else(PathBuf::new, |path| self.resolve(path))
    }

    fn text(&mut self, key: &str, raw: &Spanned<String>, max: usize) -> String {
        let text = raw.get_ref();
        if text.is_empty() || text.len() > max || text.contains('\0') {
            self.problem(
                raw.span(),
                format!("{key}: use 1 to {max} bytes without NUL"),
            );
        }
        text.clone()
    }

    fn seconds(&mut self, key: &str, raw: Option<Spanned<f64>>, default: f64) -> Duration {
        let value = raw.as_ref().map_or(default, |raw| *raw.get_ref());
        if let Ok(duration) = Duration::try_from_secs_f64(value)
            && value <= 1e9
        {
            return duration;
        }
        if let Some(raw) = raw {
            self.problem(raw.span(), format!("{key}: use seconds, 0 or more"));
        }
        Duration::ZERO
    }

    fn mode(&mut self, key: &str, raw: Option<Spanned<String>>, default: u32) -> u32 {
        let Some(raw) = raw else { return default };
        match u32::from_str_radix(raw.get_ref(), 8) {
            Ok(mode) if mode <= 0o7777 => mode,
            _ => {
                self.problem(
                    raw.span(),
                    format!("{key}: use an octal mode such as \"0644\""),
                );
                default
            }
        }
    }

    /// A path as seen from the file's directory.
    pub(super) fn resolve(&self, path: PathBuf) -> PathBuf {
        match self.path.parent() {
            Some(directory) => directory.join(path),
            None => path,
        }
    }
}

fn filter_is_valid(filter: &str) -> bool {
    filter.split(',').all(|part| {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        level.trim().parse::<log::LevelFilter>().is_ok()
    })
}

#[cfg(test)]
mod tests;
