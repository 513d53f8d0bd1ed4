//! What happens to friends at a hub: each party is a program of its own, the hub and the
//! keepers `tfd serve`, the owner `tf-backup`.

mod counted;
mod four;
mod full;
mod kept;
mod killed;
mod lines;
mod lossy;
mod lost;
mod machines;
mod many;
mod relay;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;

use crate::common::{Server, Setup, descendants, is_running};
use crate::desk::{Desk, expect, noise, seen, wait_until, walk};
use crate::hub::{fill, place, with};
use crate::peer::{self, Hub};

/// Who keeps the stores.
const KEEPS: &str = "mail";

/// What a keeper's log says once the hub knows it.
const ONLINE: &str = "line to the hub hub=";

/// A hub, keepers who are friends of anna's, and her machine.
struct Party {
    anna: Desk,
    keepers: Vec<Friend>,
    hub: Hub,
    factor: &'static str,
}

/// A keeper.
struct Friend {
    name: &'static str,
    server: Server,
    address: SocketAddr,
    store: PathBuf,
    desk: Desk,
}

/// How a keeper differs from others.
#[derive(Default)]
struct Different {
    /// The directory above its store.
    above: Option<PathBuf>,
    /// The port that owners are sent to.
    public_port: Option<u16>,
    /// Where it listens.
    host: Option<IpAddr>,
    port: Option<u16>,
    /// Its way to the hub.
    hub: Option<SocketAddr>,
}

/// A port that is free, beneath those that connections get.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = std::process::id() * 64 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 15_000 + (next % 15_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Kills a server with all of its processes.
fn kill(server: &mut Server) {
    let all = descendants(server.pid());
    server.signal(Signal::SIGKILL);
    server.wait_for_end();
    wait_until("its processes have ended", || {
        !all.iter().any(|(pid, _)| is_running(*pid))
    });
}

impl Party {
    /// One of these keepers, with so many copies of each file; `None` without root.
    fn of(factor: &'static str, keepers: &[&'static str]) -> Option<Party> {
        let different = keepers.iter().map(|name| (*name, Different::default()));
        Party::with(factor, different.collect())
    }

    fn with(factor: &'static str, keepers: Vec<(&'static str, Different)>) -> Option<Party> {
        Some(Party::at(hub("")?, factor, keepers))
    }

    /// One at this hub.
    fn at(hub: Hub, factor: &'static str, keepers: Vec<(&'static str, Different)>) -> Party {
        let keepers = keepers.into_iter();
        let keepers = keepers.map(|(name, different)| Friend::join(&hub, name, different));
        let keepers = keepers.collect();
        let anna = Desk::new();
        join(&hub, &anna, "anna", factor);
        fill(&anna.path("source"));
        Party {
            anna,
            keepers,
            hub,
            factor,
        }
    }

    /// One more machine of anna's, which has the phrase alone.
    fn machine(&self) -> Desk {
        self.machine_by(self.hub.tls_address())
    }

    /// The same with this way to the hub.
    fn machine_by(&self, way: SocketAddr) -> Desk {
        let desk = Desk::new();
        let mut words = place(&self.hub, self.factor);
        words.push(self.anna.text("phrase"));
        words[0] = way.to_string();
        desk.fine(&with(&["hub", "recover"], &words));
        desk
    }

    fn keeper(&mut self, name: &str) -> &mut Friend {
        let mut keepers = self.keepers.iter_mut();
        keepers.find(|it| it.name == name).expect("a keeper")
    }

    /// Her files come back on a machine that has none.
    #[track_caller]
    fn expect_restored(&self) {
        let machine = self.machine();
        machine.fine(&["restore", "latest", "--target", "back"]);
        self.expect_same(&machine);
    }

    /// What has been restored there is what she has.
    #[track_caller]
    fn expect_same(&self, machine: &Desk) {
        let source = self.anna.path("source");
        let inside = source.canonicalize().expect("path");
        let inside = inside.strip_prefix("/").expect("path").to_owned();
        assert!(seen(&machine.path("back").join(inside)) == seen(&source));
    }
}

/// A hub that is at the same address after a kill; `None` without root.
fn hub(lines: &str) -> Option<Hub> {
    Some(fixed(peer::server(lines)?))
}

/// Has a hub listen where it does now whenever it starts.
fn fixed(hub: Hub) -> Hub {
    let config = fs::read_to_string(hub.config_path()).expect("configuration");
    let address = hub.tls_address().to_string();
    let config = config.replace(
        "tls_listen = [\"127.0.0.1:0\"]",
        &format!("tls_listen = [\"{address}\"]"),
    );
    fs::write(hub.config_path(), config).expect("configuration");
    hub
}

/// Takes up an account; its phrase is in `phrase`.
fn join(hub: &Hub, desk: &Desk, user: &str, factor: &str) {
    let code = hub.add(user);
    let mut words = place(hub, factor);
    words[2] = user.to_owned();
    words.push(desk.text("phrase"));
    desk.fine(&with(&["hub", "join", "--code", &code], &words));
}

impl Friend {
    fn join(hub: &Hub, name: &'static str, different: Different) -> Friend {
        let desk = Desk::new();
        join(hub, &desk, name, "2");
        Friend::with_key(hub, name, desk, different)
    }

    /// One that has joined.
    fn with_key(hub: &Hub, name: &'static str, desk: Desk, different: Different) -> Friend {
        let key = desk.path("keeper.key");
        desk.fine(&["hub", "holder-key", &desk.text("keeper.key")]);
        if let Some(way) = different.hub {
            let text = fs::read_to_string(&key).expect("key");
            let text = text.replace(&hub.tls_address().to_string(), &way.to_string());
            fs::write(&key, text).expect("key");
        }
        Friend::serve(name, desk, different)
    }

    /// With the key `keeper.key`.
    fn serve(name: &'static str, desk: Desk, different: Different) -> Friend {
        let key = desk.text("keeper.key");
        fs::set_permissions(desk.path(""), fs::Permissions::from_mode(0o755)).expect("mode");
        let above = different.above.unwrap_or_else(|| desk.path(""));
        let store = above.join("kept");
        let host = different.host.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let port = different.port.unwrap_or_else(free_port);
        let public = different.public_port.unwrap_or(port);
        let mut server = Server::with(Setup {
            server: "control = \"control\"".to_owned(),
            tf: format!(
                "listen = []\n[holder]\nlisten = [\"{host}:{port}\"]\npublic_port = {public}\n\
                 key = \"{key}\"\nstore = \"{}\"\nuser = \"{KEEPS}\"\nshare = \"10G\"\n\
                 keep_free = \"1M\"\n",
                store.display()
            ),
            ..Setup::default()
        });
        server.wait_for_log(ONLINE);
        Friend {
            name,
            server,
            address: SocketAddr::new(host, port),
            store,
            desk,
        }
    }

    /// Starts again after a kill.
    fn start_again(&mut self) {
        self.server.start_again();
        self.server.wait_for_log(ONLINE);
    }

    fn kill(&mut self) {
        kill(&mut self.server);
    }

    /// How an owner names it whose hub is gone.
    fn at(&self) -> String {
        format!("{}@{}", self.name, self.address)
    }

    /// The files of a kind that it keeps, the largest first.
    fn files(&self, kind: &str) -> Vec<PathBuf> {
        self.on_shelf(false, kind)
    }

    /// Those in its trash.
    fn trash(&self, kind: &str) -> Vec<PathBuf> {
        self.on_shelf(true, kind)
    }

    fn on_shelf(&self, is_trash: bool, kind: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.store.join("store/files"), &mut found);
        let trash = self.store.join("store/files/trash");
        let is_of = |path: &PathBuf| {
            let name = path.file_name().expect("name");
            let above = path
                .parent()
                .and_then(Path::parent)
                .and_then(Path::file_name);
            let is_there = path.starts_with(&trash) == is_trash;
            is_there && name.len() == 64 && above.is_some_and(|it| it == kind)
        };
        found.retain(is_of);
        found.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).map_or(0, |it| it.len())));
        found
    }
}

/// Begins a command, whose words nobody hears.
fn begin(desk: &Desk, arguments: &[&str]) -> Child {
    let mut command = desk.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("tf-backup")
}
