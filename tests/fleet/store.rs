//! A store of a test's own, and servers that share it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::Value;
use tempfile::TempDir;

use crate::common::{Client, Server, Setup, account, is_root, pids, reply_for, wait_until};

pub const PASSWORD: &str = "of the store";

/// How a blocked client is refused, whatever its password is.
pub const BLOCKED: &str = "blocked until 2";

/// How one is refused whose account has all sessions.
pub const FULL: &str = "the account has all the sessions it may have";

/// Whether a test is left out, for lack of root or of redis-server.
pub fn left_out() -> bool {
    let has_store = Command::new("redis-server")
        .arg("--version")
        .output()
        .is_ok();
    if !has_store || !is_root() {
        eprintln!("left out: it needs root and redis-server");
    }
    !has_store || !is_root()
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("port");
    listener.local_addr().expect("address").port()
}

/// A running redis-server. It ends with the value.
pub struct Store {
    pub dir: TempDir,
    pub port: u16,
    lines: String,
    child: Option<Child>,
}

impl Store {
    pub fn start() -> Store {
        Store::with("")
    }

    /// With further lines of configuration.
    pub fn with(lines: &str) -> Store {
        let mut store = Store::stopped(lines);
        store.run();
        store
    }

    /// One that does not run yet.
    pub fn stopped(lines: &str) -> Store {
        let dir = tempfile::tempdir().expect("directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        let path = dir.path().join("password");
        fs::write(&path, format!("{PASSWORD}\n")).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
        let (port, lines, child) = (free_port(), lines.to_owned(), None);
        Store {
            dir,
            port,
            lines,
            child,
        }
    }

    /// Sets further lines of configuration.
    pub fn set_lines(&mut self, lines: String) {
        self.lines = lines;
    }

    pub fn run(&mut self) {
        let Store {
            dir, port, lines, ..
        } = self;
        let port = match lines.contains("tls-port") {
            true => String::new(),
            false => format!("port {port}\n"),
        };
        let config = format!(
            "{port}bind 127.0.0.1\nsave \"\"\nappendonly no\nrequirepass \"{PASSWORD}\"\n{lines}\n"
        );
        fs::write(dir.path().join("redis.conf"), config).expect("write");
        let child = Command::new("redis-server")
            .arg(dir.path().join("redis.conf"))
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn();
        self.child = Some(child.expect("redis-server"));
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        wait_until("redis-server", || {
            std::net::TcpStream::connect(address).is_ok()
        });
    }

    /// Ends it without a word. Nothing that it knew is left.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("kill");
            child.wait().expect("wait");
        }
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, signal).expect("signal");
    }

    /// The reply to a command.
    pub fn ask(&self, words: &[&str]) -> Value {
        let url = format!(
            "redis://:{}@127.0.0.1:{}",
            PASSWORD.replace(' ', "%20"),
            self.port
        );
        let client = redis::Client::open(url).expect("url");
        let mut connection = client.get_connection().expect("connection");
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(word);
        });
        command.query(&mut connection).expect("reply")
    }

    /// The names of all values.
    pub fn keys(&self) -> Vec<String> {
        redis::from_redis_value(self.ask(&["KEYS", "*"])).expect("names")
    }

    /// The lines of a server that shares it.
    pub fn shared(&self) -> String {
        self.shared_at(&format!("redis://127.0.0.1:{}", self.port))
    }

    pub fn shared_at(&self, url: &str) -> String {
        let password = self.dir.path().join("password");
        format!(
            "shared_state = \"{url}\"\nshared_state_password_file = \"{}\"\n",
            password.display()
        )
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The seconds since the epoch by the clock of a store.
pub fn time(store: &Store) -> u64 {
    let time: Vec<u64> = redis::from_redis_value(store.ask(&["TIME"])).expect("time");
    time[0]
}

/// Two accounts: ann with a session at a time, bob.
pub fn accounts() -> String {
    account("ann", "a", "games::max=1:") + &account("bob", "b", "mail:::")
}

/// A server of several: three failures block for an hour.
pub fn server(lines: &str) -> Server {
    serve(lines, None)
}

pub fn serve(lines: &str, root: Option<PathBuf>) -> Server {
    let server = Server::with(Setup {
        server: format!(
            "mode = \"multi-user\"\nusers = \"users\"\nlogin_failures = 3\nlogin_block = 3600\n\
             control = \"control\"\nmetrics = \"./metrics\"\n{lines}"
        ),
        users: accounts(),
        root,
        ..Setup::default()
    });
    fs::set_permissions(server.root(), fs::Permissions::from_mode(0o1777)).expect("mode");
    server
}

/// Two servers with a store, both of which have reached it.
pub fn pair(store: &Store) -> [Server; 2] {
    let mut servers = [(); 2].map(|()| server(&store.shared()));
    for server in &mut servers {
        server.wait_for_log("shared state reached");
    }
    servers
}

/// A client that is logged in.
pub fn log_in(server: &Server, line: &str) -> Client {
    let mut client = server.connect();
    client.expect(format!("LOGIN {line}"), 0);
    client
}

/// Fails to log in so often.
pub fn fail(server: &Server, name: &str, times: usize) {
    let mut client = server.connect();
    for _ in 0..times {
        client.expect(format!("LOGIN {name} wrong"), 37);
    }
}

/// What a server does by its own rules: nobody who should not gets in, others do.
pub fn decides_alone(server: &Server) {
    let _client = log_in(server, "ann a");
    server.connect().expect_reason("LOGIN ann a", FULL);
    fail(server, "bob", 3);
    server.connect().expect_reason("LOGIN bob b", BLOCKED);
}

/// Kills the process at the store and waits until the next one has reached it.
pub fn replace_process(server: &mut Server) {
    let [pid] = pids(server, "tfd-state")[..] else {
        panic!("one process");
    };
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).expect("kill");
    server.wait_for_log("process at the shared state ended unasked");
    server.wait_for_lines("shared state reached", 2);
}

/// What a login comes to: nothing, or the refusal.
pub fn refusal(server: &Server, line: &str) -> Option<String> {
    let reply = server.connect().ask(format!("LOGIN {line}"));
    (reply != reply_for(0)).then_some(reply)
}

/// Runs tfd: whether it succeeded, and what it said.
pub fn tfd(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tfd"))
        .args(arguments)
        .output()
        .expect("run");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

/// The path of something next to a server's configuration.
pub fn beside(server: &Server, name: &str) -> String {
    let path: &Path = &server.config_path().with_file_name(name);
    path.display().to_string()
}
