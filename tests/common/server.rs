//! A running tfd, its configuration and its log.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tfd::client::{Connection, Target, Tls, Trust};

use super::{
    Client, HASH, PATIENCE, VERSION, give_to_server, is_root, key, own_address, patient, set_umask,
    write_certificate,
};

/// The line for as long a handshake as anything may take.
pub const HANDSHAKE: &str = "handshake_timeout = 60";

/// Set to have a proxy in front of every server, so that a test of a server is
/// one of the proxy, too.
pub const THROUGH_PROXY: &str = "TFD_TEST_THROUGH_PROXY";

/// Set to have every client of [`Server::connect`] come over TLS, with no cipher
/// inside.
pub const OVER_TLS: &str = "TFD_TEST_OVER_TLS";

/// A running tfd. It ends with the value.
pub struct Server {
    /// What clients connect to in its place, see [`THROUGH_PROXY`].
    proxy: Option<Box<Server>>,
    dir: TempDir,
    root: PathBuf,
    child: Child,
    addresses: Vec<SocketAddr>,
    tls_addresses: Vec<SocketAddr>,
    log: Arc<Mutex<Vec<String>>>,
}

/// What is different from the plain configuration.
#[derive(Default)]
pub struct Setup {
    /// Lines added under `[server]`.
    pub server: String,
    /// Lines added under `[tf]`.
    pub tf: String,
    /// Directories made beneath the root before the start.
    pub directories: &'static [&'static str],
    /// Whether to listen with TLS, too.
    pub tls: bool,
    /// The users file, named `users`.
    pub users: String,
    /// A root made elsewhere, such as on a file system of its own.
    pub root: Option<PathBuf>,
    /// What is started in place of tfd, and its environment.
    pub program: Option<(PathBuf, Vec<(&'static str, String)>)>,
    /// The user who starts tfd, when it is not the one who runs the tests.
    pub started_by: Option<u32>,
}

impl Server {
    pub fn start() -> Server {
        Server::with(Setup::default())
    }

    pub fn with(setup: Setup) -> Server {
        set_umask();
        let dir = tempfile::tempdir().expect("scratch directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        let root = setup.root.unwrap_or_else(|| dir.path().join("root"));
        fs::create_dir_all(&root).expect("root");
        give_to_server(&root);
        for name in setup.directories {
            fs::create_dir_all(root.join(name)).expect("directory");
        }
        write_users(dir.path(), &setup.users);
        let key_path = dir.path().join("private.pem");
        fs::write(&key_path, key().private_key_to_pem().expect("pem")).expect("write key");
        fs::set_permissions(&key_path, fs::Permissions::from_mode(0o600)).expect("mode");
        let user = if is_root() { "user = \"nobody\"" } else { "" };
        // The default place is one for all.
        let control = if setup.server.contains("control =") {
            ""
        } else {
            "control = \"\""
        };
        let listen = if setup.tf.contains("listen =") {
            ""
        } else {
            "listen = [\"127.0.0.1:0\"]"
        };
        // A gate may wait for a slow machine; who is to be sent away says so.
        let handshake = if setup.server.contains("handshake_timeout") {
            ""
        } else {
            HANDSHAKE
        };
        let over_tls = std::env::var_os(OVER_TLS).is_some() && !setup.tf.contains("proxy_to =");
        let (tls, tls_listen) = if setup.tls || over_tls {
            let files = write_certificate(dir.path(), setup.started_by);
            (files, "tls_listen = [\"127.0.0.1:0\"]")
        } else {
            ("", "")
        };
        let config = format!(
            "[server]\n{user}\nlog = \"debug\"\n{control}\nroot = \"{}\"\n{handshake}\n{tls}\n{}\n\
             [tf]\n{listen}\nversion = \"{VERSION}\"\nhash = \"{HASH}\"\nprivate_key = \"{}\"\n\
             {tls_listen}\n{}\n",
            root.display(),
            setup.server,
            key_path.display(),
            setup.tf,
        );
        fs::write(dir.path().join("tfd.toml"), config).expect("write configuration");
        if let Some(uid) = setup.started_by {
            chown(&key_path, Some(uid), None).expect("chown");
        }
        let (child, log) = spawn(dir.path(), setup.program, setup.started_by);
        let mut server = Server {
            proxy: None,
            dir,
            root,
            child,
            addresses: Vec::new(),
            tls_addresses: Vec::new(),
            log,
        };
        server.wait_until_ready();
        let in_front = std::env::var_os(THROUGH_PROXY).is_some();
        if in_front && !setup.tf.contains("proxy_to =") {
            server.proxy = Some(Box::new(Server::proxy(server.addresses[0], "")));
        }
        server
    }

    /// One that listens at an address of its own, and there again after
    /// [`Server::start_again`].
    pub fn at_own_address() -> Server {
        let tf = format!("listen = [\"{}:0\"]", own_address());
        let server = Server::with(Setup {
            tf,
            ..Setup::default()
        });
        let address = server.addresses[0];
        let text = fs::read_to_string(server.config_path()).expect("read configuration");
        let text = text.replace(&format!("{}:0", address.ip()), &address.to_string());
        fs::write(server.config_path(), text).expect("write configuration");
        server
    }

    /// A proxy in front of a server, with further lines under `[tf]`.
    pub fn proxy(backend: impl std::fmt::Display, lines: &str) -> Server {
        let tf = format!("proxy_to = \"{backend}\"\n{lines}");
        Server::with(Setup {
            tf,
            ..Setup::default()
        })
    }

    /// Starts tfd again on the same configuration and root, after its end.
    pub fn start_again(&mut self) {
        (self.child, self.log) = spawn(self.dir.path(), None, None);
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let server = self;
        server.wait_for_log(" ready ");
        server.addresses = server.listening("listening address=");
        server.tls_addresses = server.listening("listening with TLS address=");
    }

    /// The addresses that the log tells behind this.
    pub fn listening(&self, begin: &str) -> Vec<SocketAddr> {
        let log = self.log();
        let told = log.iter().filter_map(|line| line.split_once(begin));
        told.map(|(_, address)| address.trim().parse().expect("address"))
            .collect()
    }

    pub fn tls_address(&self) -> SocketAddr {
        self.tls_addresses[0]
    }

    /// A client of TLS that trusts this server's certificate and no other.
    pub fn tls(&self) -> Tls {
        self.tls_as(None)
    }

    /// The same, which shows a certificate of its own.
    pub fn tls_as(&self, own: Option<(&[u8], &[u8])>) -> Tls {
        let pem = fs::read(self.dir.path().join("tls.pem")).expect("certificate");
        Tls::new(&Trust::Authorities(pem), own).expect("TLS")
    }

    /// The way to this server over TLS.
    pub fn tls_target(&self) -> Target {
        patient(Target::tls(
            &self.tls_address().to_string(),
            self.tls(),
            HASH,
        ))
    }

    /// A client that has passed the hash, protected by TLS alone.
    pub fn connect_tls(&self) -> Client {
        let wire = Connection::open(&self.tls_target())
            .expect("connection")
            .into_wire();
        Client::with_patience(wire)
    }

    /// Puts another users file in place.
    pub fn set_users(&self, text: &str) {
        write_users(self.dir.path(), text);
    }

    /// The metrics, on the socket of that name next to the configuration.
    pub fn metrics(&self) -> String {
        let path = self.config_path().with_file_name("metrics");
        let mut socket = UnixStream::connect(path).expect("connect");
        let request = b"GET /metrics HTTP/1.1\r\nHost: tfd\r\n\r\n";
        socket.write_all(request).expect("ask");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("answer");
        text
    }

    /// The value of one of them.
    #[track_caller]
    pub fn metric(&self, series: &str) -> u64 {
        let text = self.metrics();
        let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        let found = text.lines().find_map(value);
        found.unwrap_or_else(|| panic!("no {series} in {text}"))
    }

    /// The root on disk.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path beneath the root on disk.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("tfd.toml")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn address(&self) -> SocketAddr {
        self.proxy
            .as_ref()
            .map_or(self.addresses[0], |proxy| proxy.address())
    }

    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A file beneath the root, made by the server's user.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("directories");
        fs::write(&path, content).expect("write");
        let mut at = path.as_path();
        while at != self.root {
            give_to_server(at);
            at = at.parent().expect("parent");
        }
    }

    pub fn mkdir(&self, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("directories");
        let mut at = path.as_path();
        while at != self.root {
            give_to_server(at);
            at = at.parent().expect("parent");
        }
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn exists(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// The names in a directory, sorted, hidden ones included.
    pub fn names(&self, directory: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(directory))
            .expect("read directory")
            .map(|entry| {
                entry
                    .expect("entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    /// The log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("log").clone()
    }

    /// Waits until a line of the log holds the text.
    #[track_caller]
    pub fn wait_for_log(&mut self, text: &str) {
        self.wait_for_lines(text, 1);
    }

    /// Waits until at least so many lines of the log hold the text.
    #[track_caller]
    pub fn wait_for_lines(&mut self, text: &str, count: usize) {
        let end = Instant::now() + PATIENCE;
        loop {
            // Whoever has read the log to its end has let go of it.
            let is_whole = Arc::strong_count(&self.log) == 1;
            if self.log().iter().filter(|line| line.contains(text)).count() >= count {
                return;
            }
            let ended = self.child.try_wait().expect("wait").filter(|_| is_whole);
            assert!(
                ended.is_none(),
                "tfd ended, no \"{text}\": {ended:?} {:#?}",
                self.log()
            );
            assert!(Instant::now() < end, "no \"{text}\" in {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A client that has passed the hash.
    pub fn connect(&self) -> Client {
        if std::env::var_os(OVER_TLS).is_some() {
            return self.connect_tls();
        }
        Client::connect(self.address())
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, signal).expect("signal");
    }

    /// Waits for the end and tells the exit code.
    pub fn wait_for_end(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status.code();
            }
            assert!(Instant::now() < end, "tfd does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(nix::sys::signal::Signal::SIGTERM);
            let end = Instant::now() + Duration::from_secs(6);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("log of tfd:\n{}", self.log().join("\n"));
        }
    }
}

fn write_users(dir: &Path, text: &str) {
    let new = dir.join("users.new");
    fs::write(&new, text).expect("write users");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("mode");
    fs::rename(&new, dir.join("users")).expect("rename");
}

/// A line of the users file.
pub fn account(name: &str, password: &str, rest: &str) -> String {
    let hash = tfd::users::hash::make(password.as_bytes()).expect("hash");
    format!("{name}:{hash}:{rest}\n")
}

/// Starts tfd on the configuration in a directory and collects its log.
fn spawn(
    dir: &Path,
    program: Option<(PathBuf, Vec<(&'static str, String)>)>,
    started_by: Option<u32>,
) -> (Child, Arc<Mutex<Vec<String>>>) {
    let (program, environment) =
        program.unwrap_or_else(|| (env!("CARGO_BIN_EXE_tfd").into(), Vec::new()));
    // A program that confines tfd further, see scripts/as-unit.
    let under = std::env::var_os("TFD_TEST_UNDER");
    let mut command = Command::new(under.as_deref().unwrap_or(program.as_os_str()));
    if under.is_some() {
        command.arg(&program);
    }
    command
        .envs(environment)
        .args(["serve", "--config"])
        .arg(dir.join("tfd.toml"))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    if let Some(uid) = started_by {
        use std::os::unix::process::CommandExt;
        command.uid(uid).gid(uid);
    }
    let mut child = command.spawn().expect("start tfd");
    let stderr = child.stderr.take().expect("standard error");
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            lines.lock().expect("log").push(line);
        }
    });
    (child, log)
}
