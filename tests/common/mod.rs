//! A tfd of its own for each test: real processes, real sockets, a real
//! directory. As root it serves as `nobody`, else as the user who runs the
//! tests.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod disk;
pub mod namespaces;
pub mod schema;
pub mod tf;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use openssl::pkey::{Private, Public};
use openssl::rsa::{Padding, Rsa};
use tempfile::TempDir;
use tfd::client::{Connection, PublicKey, Target, Tls, Trust};
use tfd::tf::status::Status;
use tfd::tf::wire::{Wire, WireError};

pub const HASH: &str = "testhash";
pub const VERSION: &str = "0.0";

/// How long anything in a test may take, on a slow machine, too.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The line for as long a handshake as anything may take.
pub const HANDSHAKE: &str = "handshake_timeout = 60";

/// What the tests make may be read by the users they serve, whatever the umask
/// of who runs them.
pub fn set_umask() {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// One key for all servers of a test binary.
pub fn key() -> &'static Rsa<Private> {
    static KEY: OnceLock<Rsa<Private>> = OnceLock::new();
    KEY.get_or_init(|| Rsa::generate(2048).expect("key"))
}

pub fn public_key() -> Rsa<Public> {
    Rsa::public_key_from_pem(&key().public_key_to_pem().expect("pem")).expect("key")
}

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
        let handshake = if setup.tf.contains("handshake_timeout") {
            ""
        } else {
            HANDSHAKE
        };
        let over_tls = std::env::var_os(OVER_TLS).is_some() && !setup.tf.contains("proxy_to =");
        let tls = if setup.tls || over_tls {
            write_certificate(dir.path(), setup.started_by)
        } else {
            ""
        };
        let config = format!(
            "[server]\n{user}\nlog = \"debug\"\n{control}\n{}\n[tf]\n{listen}\nversion = \"{VERSION}\"\n\
             hash = \"{HASH}\"\nroot = \"{}\"\nprivate_key = \"{}\"\n{handshake}\n{tls}\n{}\n",
            setup.server,
            root.display(),
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
        Target::tls(&self.tls_address().to_string(), self.tls(), HASH)
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

/// Writes a certificate and its key into a directory; the lines that name them.
pub fn write_certificate(dir: &Path, owner: Option<u32>) -> &'static str {
    let (certificate, key) =
        tfd::tls::certificate::self_signed(&["127.0.0.1".to_owned()]).expect("certificate");
    fs::write(dir.join("tls.pem"), certificate).expect("write certificate");
    let path = dir.join("tls-key.pem");
    fs::write(&path, &*key).expect("write key");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
    chown(&path, owner, None).expect("chown");
    "tls_listen = [\"127.0.0.1:0\"]\ntls_certificate = \"tls.pem\"\ntls_key = \"tls-key.pem\""
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
    let mut command = Command::new(program);
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

/// What a process and its helpers are called, by pid, as far as they run.
pub fn descendants(pid: u32) -> Vec<(u32, String)> {
    let mut parents = vec![pid];
    let mut found = Vec::new();
    let all: Vec<(u32, u32, String)> = fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
            let mut fields = rest.split_whitespace();
            let state = fields.next()?;
            let parent = fields.next()?.parse().ok()?;
            (state != "Z").then(|| (pid, parent, name.to_owned()))
        })
        .collect();
    while let Some(parent) = parents.pop() {
        for (pid, _, name) in all.iter().filter(|(_, p, _)| *p == parent) {
            parents.push(*pid);
            found.push((*pid, name.clone()));
        }
    }
    found
}

/// Whether a process runs; one that has ended and that nobody has waited for
/// does not.
pub fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| {
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| !rest.starts_with(" Z"))
    })
}

/// A loopback address at which nothing else of this machine listens or comes
/// from: a port that was free there stays free.
pub fn own_address() -> Ipv4Addr {
    static COUNT: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(
        127,
        100 + COUNT.fetch_add(1, Ordering::Relaxed) % 100,
        high,
        low.max(1),
    )
}

/// Whether this machine has IPv6 on its loopback interface; says so if not.
pub fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        println!("left out: this machine has no IPv6");
    }
    has
}

/// Waits until a condition holds.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Makes the server's user the owner of a path, when root runs the tests.
pub fn give_to_server(path: &Path) {
    if is_root() {
        let nobody = nix::unistd::User::from_name("nobody")
            .expect("users")
            .expect("nobody");
        chown(path, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).expect("chown");
    }
}

/// A client that speaks the bare wire.
pub struct Client {
    pub wire: Wire,
}

impl Client {
    /// Connects and passes version, key and hash.
    pub fn connect(address: SocketAddr) -> Client {
        let pem = public_key().public_key_to_pem().expect("pem");
        let key = PublicKey::from_pem(&pem).expect("key");
        let target = Target::new(&address.to_string(), key, HASH);
        let wire = Connection::open(&target).expect("connection").into_wire();
        Client::with_patience(wire)
    }

    /// The same with a session key of the test's choice.
    pub fn connect_with_key(address: SocketAddr, session_key: &[u8]) -> Client {
        let mut client = Client::knock(address);
        assert_eq!(client.ask(VERSION), "OK");
        client.send_key(session_key);
        assert_eq!(client.reply(), "OK");
        client.wire.encipher(session_key);
        assert_eq!(client.ask(HASH), "OK");
        client
    }

    /// Connects and says nothing.
    pub fn knock(address: SocketAddr) -> Client {
        let socket = TcpStream::connect(address).expect("connect");
        Client::with_patience(Wire::new(socket).expect("wire"))
    }

    /// Passes the doors, unless the connection is refused.
    pub fn try_in(mut self) -> Option<Client> {
        let mut body = Vec::new();
        let mut ask = |wire: &mut Wire, message: &[u8]| {
            wire.write_message(message)
                .and_then(|()| wire.read_message(&mut body))
                .ok()
        };
        ask(&mut self.wire, VERSION.as_bytes())?;
        ask(&mut self.wire, &key_block(&[1; 16]))?;
        self.wire.encipher(&[1; 16]);
        ask(&mut self.wire, HASH.as_bytes())?;
        Some(self)
    }

    /// Sends these bytes and any others behind them, one at a time, until the
    /// connection is closed.
    #[track_caller]
    pub fn trickle(&self, begin: &[u8]) {
        let mut bytes = begin.iter().chain(std::iter::repeat(&b'x'));
        wait_until("the connection is closed", || {
            std::thread::sleep(Duration::from_millis(100));
            self.wire
                .socket()
                .write_all(&[*bytes.next().expect("endless")])
                .is_err()
        });
    }

    pub fn with_patience(wire: Wire) -> Client {
        wire.socket()
            .set_read_timeout(Some(PATIENCE))
            .expect("timeout");
        wire.socket()
            .set_write_timeout(Some(PATIENCE))
            .expect("timeout");
        Client { wire }
    }

    /// Sends a session key in an RSA block.
    pub fn send_key(&mut self, session_key: &[u8]) {
        self.send(key_block(session_key));
    }

    pub fn send(&mut self, message: impl AsRef<[u8]>) {
        self.wire.write_message(message.as_ref()).expect("send");
    }

    pub fn receive(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        self.wire.read_message(&mut body).expect("receive");
        body
    }

    pub fn reply(&mut self) -> String {
        String::from_utf8_lossy(&self.receive()).into_owned()
    }

    pub fn ask(&mut self, message: impl AsRef<[u8]>) -> String {
        self.send(message);
        self.reply()
    }

    /// Sends a request and expects a status code, or 0 for a plain `OK`.
    #[track_caller]
    pub fn expect(&mut self, request: impl AsRef<[u8]>, code: u32) {
        let request = request.as_ref();
        let reply = self.ask(request);
        assert_eq!(reply, reply_for(code), "{}", request.escape_ascii());
    }

    /// Runs a table of requests and the codes of their replies, 0 for `OK`.
    #[track_caller]
    pub fn expect_all(&mut self, table: &[(&str, u32)]) {
        for (request, code) in table {
            self.expect(request, *code);
        }
    }

    /// Asserts that the server closes the connection without another word.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let mut body = Vec::new();
        let end = self.wire.read_message(&mut body);
        assert!(
            matches!(end, Err(WireError::Closed | WireError::Cut)),
            "{end:?} with {}",
            body.escape_ascii()
        );
    }

    /// Asserts that the session still answers.
    #[track_caller]
    pub fn expect_alive(&mut self) {
        assert_eq!(self.ask("ECHO still here"), "still here");
    }

    /// The body of `PUT`, `GET`, `PUTCAN` or `GETCAN`.
    pub fn hp(word: &str, path: &str, numbers: &[i64]) -> Vec<u8> {
        let mut body = format!("{word} {path} ").into_bytes();
        for number in numbers {
            body.extend_from_slice(&number.to_be_bytes());
        }
        body
    }

    /// Sends such a request and returns the agreed buffer.
    #[track_caller]
    pub fn hp_open(&mut self, word: &str, path: &str, numbers: &[i64]) -> i64 {
        self.send(Client::hp(word, path, numbers));
        let reply = self.receive();
        let agreed = reply.strip_prefix(b"OK ").and_then(|n| n.try_into().ok());
        match agreed {
            Some(bytes) => i64::from_be_bytes(bytes),
            None => panic!("{word} {path}: {}", reply.escape_ascii()),
        }
    }

    /// A raw frame with an 8-byte header.
    pub fn send_frame(&mut self, payload: &[u8]) {
        let mut bytes = (payload.len() as i64).to_be_bytes().to_vec();
        bytes.extend_from_slice(payload);
        self.wire
            .write_units(&mut bytes, &[8, payload.len()])
            .expect("send frame");
    }

    /// The 8-byte header and, where it is a length, the payload behind it.
    pub fn receive_frame(&mut self) -> (i64, Vec<u8>) {
        let header = self.wire.read_i64().expect("frame header");
        let mut payload = vec![0; usize::try_from(header).unwrap_or(0)];
        self.wire.read_raw(&mut payload).expect("frame payload");
        (header, payload)
    }

    /// A whole file by SNDFILE.
    #[track_caller]
    pub fn send_file(&mut self, path: &str, overwrite: bool, content: &[u8]) {
        assert_eq!(
            self.ask(format!("SNDFILE {} {path}", u8::from(overwrite))),
            "CONT"
        );
        for chunk in content.chunks(100_000) {
            assert_eq!(self.ask([b"CONT ", chunk].concat()), "CONT");
        }
        assert_eq!(self.ask("OK"), "OK");
    }

    /// The stream of RCVFILE, LS and LSR after its request was sent.
    pub fn receive_stream(&mut self) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        loop {
            let message = self.receive();
            match message.strip_prefix(b"CONT ") {
                Some(part) => content.extend_from_slice(part),
                None if message == b"OK" => return Ok(content),
                None => return Err(String::from_utf8_lossy(&message).into_owned()),
            }
            self.send("CONT");
        }
    }

    /// The lines of LS or LSR, sorted.
    #[track_caller]
    pub fn list(&mut self, request: &str) -> Vec<String> {
        self.send(request);
        let content = self
            .receive_stream()
            .unwrap_or_else(|e| panic!("{request}: {e}"));
        let text = String::from_utf8_lossy(&content).into_owned();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

/// A session key in an RSA block.
fn key_block(session_key: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 256];
    public_key()
        .public_encrypt(session_key, &mut block, Padding::PKCS1_OAEP)
        .expect("encrypt");
    block
}

/// The reply with this code; `OK` for 0.
pub fn reply_for(code: u32) -> String {
    match code {
        0 => "OK".to_owned(),
        code => Status::from_code(code)
            .expect("a code of the protocol")
            .to_string(),
    }
}
