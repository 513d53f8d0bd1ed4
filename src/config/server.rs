//! `[server]`: what holds for every protocol. Nothing here knows one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::shared_state::{self, SharedState};
use super::values::Values;
use crate::text::parse_size;
use crate::users::account::Network;
use crate::users::throttle::Limits;

/// The control socket of a daemon that root starts, unless configured.
pub const DEFAULT_CONTROL: &str = "/run/tfd/control";

/// Where the jobs of `on_upload` are, unless configured.
const DEFAULT_QUEUE: &str = "/var/lib/tfd/uploads";

/// What concerns the daemon, its processes, and the clients of any protocol.
#[derive(Clone, Debug)]
pub struct Server {
    /// How long a data connection may take to come about.
    pub data_timeout: Duration,
    /// The identity of clients in single-user mode and of every process that
    /// faces the network before login. Needed when root starts the daemon.
    pub user: Option<String>,
    /// The identity of helper processes.
    pub helper_user: Option<String>,
    /// Log filter: a level, or `module=level` parts, as `RUST_LOG`.
    pub log: String,
    /// How long transfers may go on after a request to stop.
    pub stop_grace: Duration,
    /// The most connections at once, in all.
    pub max_sessions: u32,
    /// The most connections at once from one address; 0 for no limit.
    pub max_sessions_per_address: u32,
    /// The most connections at once that have not logged in.
    pub max_unauthenticated: u32,
    /// Of these, from one address; 0 for no limit.
    pub max_unauthenticated_per_address: u32,
    /// Of these, from one network; 0 for no limit.
    pub max_unauthenticated_per_network: u32,
    /// Whether `user` may be root.
    pub allow_root_user: bool,
    /// The audit log.
    pub audit: Option<PathBuf>,
    /// Whether processes enter the sandbox.
    pub sandbox: bool,
    /// The control socket.
    pub control: Option<PathBuf>,
    /// Where metrics are served.
    pub metrics: Option<Local>,
    /// What is run for each upload.
    pub on_upload: Option<OnUpload>,
    /// Where the jobs for that are kept.
    pub on_upload_queue: PathBuf,
    /// How many accounts have metrics of their own.
    pub metrics_accounts: usize,
    /// The file that the log goes to in place of standard error.
    pub log_file: Option<PathBuf>,
    /// The form of the log.
    pub log_format: LogFormat,
    /// The directory that clients see; empty for a proxy, which serves none.
    pub root: PathBuf,
    /// How clients get their identity.
    pub mode: Mode,
    /// The users file of multi-user mode.
    pub users: Option<PathBuf>,
    /// What checks passwords in place of the users file.
    pub pam: Option<Pam>,
    /// Whether clients must enter a jail.
    pub jail: bool,
    /// The most bytes that all files beneath the root may have.
    pub quota: Option<u64>,
    /// The store that several servers share.
    pub shared_state: Option<SharedState>,
    /// How long parts of uploads are kept that nobody resumes; `None` for ever.
    pub keep_parts: Option<Duration>,
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

/// A program that is run for each upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnUpload {
    /// The program and its arguments.
    pub program: Vec<String>,
    /// How many runs at once.
    pub parallel: usize,
    /// How long one may take.
    pub timeout: Duration,
}

/// PAM, which checks passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pam {
    /// Its service.
    pub service: String,
    /// How long a check may take.
    pub timeout: Duration,
    /// The digits of the one-time code behind each password; 0 for none.
    pub code_digits: usize,
}

/// A place that only this machine reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// A Unix socket.
    Path(PathBuf),
    /// A loopback address.
    Address(SocketAddr),
}

/// How clients get their Unix identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every client acts as `[server].user`.
    SingleUser,
    /// Every client logs in.
    MultiUser,
}

/// When an upload is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the system has the bytes; the system writes them when it likes.
    System,
    /// When the bytes and the name are on disk.
    File,
}

/// The files of the listeners with TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate and those between it and a root, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The authorities whose certificates log clients in, PEM.
    pub client_ca: Option<PathBuf>,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// An object a line.
    Json,
    /// The native protocol of systemd's journal.
    Journal,
}

/// Reports keys that contradict each other.
pub(super) fn check(values: &mut Values<'_>, has_tls: bool) {
    if values.has_elements("server", "on_upload") && !nix::unistd::geteuid().is_root() {
        values.need("server", "on_upload_queue", "name a directory for its jobs");
    }
    let logs_in = values.is("server", "mode", "multi-user");
    if logs_in {
        let remedy = "multi-user mode needs a users file (tfd user add)";
        values.need("server", "users", remedy);
    }
    let by_pam = values.is("server", "auth", "pam");
    if by_pam && !logs_in {
        let text = " = \"pam\" is of no use in single-user mode, where nobody logs in";
        values.problem("server", "auth", text);
    }
    for name in ["pam_service", "pam_timeout", "pam_code_digits"] {
        if values.is_set("server", name) && !by_pam {
            values.problem("server", name, " is of no use without auth = \"pam\"");
        }
    }
    if values.is("server", "log_format", "journal") && values.is_set("server", "log_file") {
        let text = " is of no use with log_format = \"journal\"";
        values.problem("server", "log_file", text);
    }
    if !has_tls {
        for name in ["tls_certificate", "tls_key", "tls_client_ca"] {
            if values.is_set("server", name) {
                values.problem("server", name, " is of no use without tls_listen");
            }
        }
        return;
    }
    for name in ["tls_certificate", "tls_key"] {
        values.need("server", name, "make both with tfd keygen --tls NAME");
    }
    if values.is_set("server", "tls_client_ca") && !logs_in {
        let text = " is of no use in single-user mode, where nobody logs in";
        values.problem("server", "tls_client_ca", text);
    }
}

/// The section, from checked values.
pub(super) fn build(values: &Values<'_>, has_tls: bool) -> Option<Server> {
    let path = |name| values.path("server", name);
    let flag = |name| values.parsed("server", name);
    let number = |name| values.parsed("server", name);
    let seconds = |name| values.seconds("server", name);
    let text = |name| values.text("server", name);
    let octal = |name| u32::from_str_radix(text(name)?, 8).ok();
    let tls = || {
        Some(Tls {
            certificate: path("tls_certificate")?,
            key: path("tls_key")?,
            client_ca: path("tls_client_ca"),
        })
    };
    Some(Server {
        data_timeout: seconds("data_timeout")?,
        user: text("user").map(str::to_owned),
        helper_user: text("helper_user").map(str::to_owned),
        log: text("log")?.to_owned(),
        stop_grace: seconds("stop_grace")?,
        max_sessions: number("max_sessions")?,
        max_sessions_per_address: number("max_sessions_per_address")?,
        max_unauthenticated: number("max_unauthenticated")?,
        max_unauthenticated_per_address: number("max_unauthenticated_per_address")?,
        max_unauthenticated_per_network: number("max_unauthenticated_per_network")?,
        allow_root_user: flag("allow_root_user")?,
        audit: path("audit"),
        sandbox: flag("sandbox")?,
        control: control(values),
        metrics: text("metrics").map(|text| local(values, text)),
        metrics_accounts: values.parsed("server", "metrics_accounts")?,
        on_upload: on_upload(values)?,
        on_upload_queue: path("on_upload_queue").unwrap_or_else(|| DEFAULT_QUEUE.into()),
        log_file: path("log_file"),
        log_format: log_format(text("log_format")?),
        root: path("root").unwrap_or_default(),
        mode: match text("mode")? {
            "multi-user" => Mode::MultiUser,
            _ => Mode::SingleUser,
        },
        users: path("users"),
        pam: pam(values)?,
        jail: flag("jail")?,
        quota: text("quota").and_then(parse_size),
        shared_state: shared_state::build(values)?,
        keep_parts: Some(seconds("keep_parts")?).filter(|time| !time.is_zero()),
        login_limits: Limits {
            failures: values.parsed("server", "login_failures")?,
            block: seconds("login_block")?,
        },
        handshake_limit: seconds("handshake_timeout")?,
        idle_limit: Some(seconds("idle_timeout")?).filter(|time| !time.is_zero()),
        durability: match text("durability")? {
            "file" => Durability::File,
            _ => Durability::System,
        },
        file_mode: octal("file_mode")?,
        directory_mode: octal("directory_mode")?,
        tls: if has_tls { Some(tls()?) } else { None },
        kernel_tls: values.is("server", "kernel_tls", "auto"),
        accept_proxy_from: values.list("server", "accept_proxy_from"),
    })
}

/// The program for uploads, if there is one; `None` for a wrong value.
fn on_upload(values: &Values<'_>) -> Option<Option<OnUpload>> {
    let program: Vec<String> = values.list("server", "on_upload");
    let on_upload = OnUpload {
        program,
        parallel: values.parsed("server", "on_upload_parallel")?,
        timeout: values.seconds("server", "on_upload_timeout")?,
    };
    Some((!on_upload.program.is_empty()).then_some(on_upload))
}

/// PAM, if it checks passwords; `None` for a wrong value.
fn pam(values: &Values<'_>) -> Option<Option<Pam>> {
    let pam = Pam {
        service: values.text("server", "pam_service")?.to_owned(),
        timeout: values.seconds("server", "pam_timeout")?,
        code_digits: values.parsed("server", "pam_code_digits")?,
    };
    Some(values.is("server", "auth", "pam").then_some(pam))
}

fn log_format(name: &str) -> LogFormat {
    match name {
        "json" => LogFormat::Json,
        "journal" => LogFormat::Journal,
        _ => LogFormat::Text,
    }
}

fn control(values: &Values<'_>) -> Option<PathBuf> {
    match values.text("server", "control") {
        Some("") => None,
        Some(path) => Some(values.resolve(path)),
        None => nix::unistd::geteuid()
            .is_root()
            .then(|| DEFAULT_CONTROL.into()),
    }
}

fn local(values: &Values<'_>, text: &str) -> Local {
    match text.parse() {
        Ok(address) => Local::Address(address),
        Err(_) => Local::Path(values.resolve(text)),
    }
}
