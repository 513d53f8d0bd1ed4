//! Each descriptor that a process of tfd holds is a row of the table in
//! docs/decisions/descriptors.md, with these rights and at most so often; and each
//! row is a descriptor that some process holds.

mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags};

use crate::common::pam::Service;
use crate::common::{Client, PATIENCE, Server, Setup, account, pids, wait_until};
use crate::without_root;
use view::{Held, View};

/// The table: processes, descriptor, rights, how many, purpose.
const TABLE: &str = include_str!("../../../docs/decisions/descriptors.md");

/// A row.
struct Row {
    processes: Vec<&'static str>,
    descriptors: Vec<&'static str>,
    rights: &'static str,
    /// The most that a process holds; `None` for any number.
    most: Option<usize>,
}

impl Row {
    fn is_for(&self, process: &str, held: &Held) -> bool {
        (self.processes == ["all"] || self.processes.contains(&process))
            && self.descriptors.contains(&held.descriptor.as_str())
            && self.rights == held.rights
    }

    /// Each of its processes with each of its descriptors.
    fn cells(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let descriptors = |process| self.descriptors.iter().map(move |one| (process, *one));
        self.processes.iter().copied().flat_map(descriptors)
    }
}

fn table() -> Vec<Row> {
    let rows = TABLE.lines().filter(|line| line.starts_with("| "));
    let rows = rows
        .skip_while(|line| !line.starts_with("| Process "))
        .skip(1);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [processes, descriptors, rights, most, _] = cells[..] else {
            panic!("{row}");
        };
        Row {
            processes: processes.split(", ").collect(),
            descriptors: descriptors.split(", ").collect(),
            rights,
            most: (most != "any").then(|| most.parse().expect("a number")),
        }
    })
    .collect()
}

/// The rows that were seen: process, descriptor, rights.
type Seen = BTreeSet<(&'static str, String, &'static str)>;

/// What is wrong with the descriptors of a server now: one line each.
fn wrong(server: &Server, table: &[Row], seen: &mut Seen) -> Vec<String> {
    let view = View::of(server);
    let mut wrong = Vec::new();
    let mut served: BTreeMap<String, usize> = BTreeMap::new();
    for (pid, process) in &view.processes {
        let mut held = view.held(*pid);
        held.sort();
        held.dedup();
        for one in &held {
            let same = |of: &&Held| (&of.descriptor, of.rights) == (&one.descriptor, one.rights);
            let count = held.iter().filter(same).count();
            let row = table.iter().find(|row| row.is_for(process, one));
            if row.is_some_and(|row| row.most.is_none_or(|most| count <= most)) {
                seen.insert((process, one.descriptor.clone(), one.rights));
            } else {
                wrong.push(format!("{process} holds {one:?}, {count} such"));
            }
            let hands_on = ["supervisor", "zygote", "launcher"].contains(process);
            if one.descriptor == "client" && !hands_on {
                *served.entry(one.target.clone()).or_default() += 1;
            }
        }
    }
    let shared = served.into_iter().filter(|(_, holders)| *holders > 1);
    wrong.extend(shared.map(|(client, holders)| format!("{holders} processes hold {client}")));
    wrong
}

/// Waits until a server has these processes, or descriptors of them, and each
/// descriptor is in the table: a process that begins holds others for a moment.
#[track_caller]
fn expect(server: &Server, expected: &[&str], seen: &mut Seen) {
    let table = table();
    let end = Instant::now() + PATIENCE;
    loop {
        let mut now = Seen::new();
        let wrong = wrong(server, &table, &mut now);
        let is_there = |wanted: &&&str| {
            let (process, held) = wanted.split_once(": ").unwrap_or((wanted, "log"));
            now.iter()
                .any(|(of, what, _)| *of == process && what == held)
        };
        let missing: Vec<_> = expected.iter().filter(|one| !is_there(one)).collect();
        if missing.is_empty() && wrong.is_empty() {
            seen.extend(now);
            return;
        }
        assert!(
            Instant::now() < end,
            "{missing:?} missing; not in docs/decisions/descriptors.md: {wrong:#?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).expect("signal");
}

/// Stops the next process of this name, which would end soon.
fn hold(server: &Server, name: &str) -> u32 {
    wait_until(name, || !pids(server, name).is_empty());
    let pid = pids(server, name)[0];
    signal(pid, Signal::SIGSTOP);
    pid
}

const ALL_OF_IT: &str = "audit = \"audit.log\"\nquota = \"1G\"\ncontrol = \"control\"\n\
                         metrics = \"./metrics\"";

/// A client that reads nothing of a large file it asked for.
fn downloading(server: &Server, login: &[&str]) -> Client {
    let mut client = server.connect();
    for step in login {
        client.expect(step, 0);
    }
    client.hp_open("GET", "large", &[0, 1 << 20]);
    client
}

/// A client in the middle of an upload.
fn uploading(server: &Server, login: &[&str]) -> Client {
    let mut client = server.connect();
    for step in login {
        client.expect(step, 0);
    }
    client.hp_open("PUT", "inside/new", &[0, 1 << 20]);
    client.send_frame(&[7; 1 << 16]);
    client
}

/// A client that is told of changes.
fn notified(server: &Server) -> Client {
    server.mkdir("watched");
    let mut client = server.connect();
    client.expect("ADDNTFY t watched", 0);
    client.send("STARTNTFY 60");
    client
}

/// A root with a large file, and everybody may write in it.
fn fill(server: &Server) {
    server.write("large", vec![1; 64 << 20]);
    server.mkdir("inside");
    for directory in [server.root(), &server.path("inside")] {
        let anybody = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
        fs::set_permissions(directory, anybody).expect("mode");
    }
}

fn single_user(seen: &mut Seen) {
    // A careless caller: no close-on-exec.
    let flags = OFlags::RDONLY;
    let _left_open = rustix::fs::open("/etc/passwd", flags, Mode::empty()).expect("a file");
    let systemd = tempfile::tempdir().expect("directory");
    let place = systemd.path().join("notify");
    let _systemd = UnixDatagram::bind(&place).expect("socket");
    let place = place.to_string_lossy().into_owned();
    let server = Server::with(Setup {
        server: ALL_OF_IT.to_owned(),
        tls: true,
        program: Some((
            env!("CARGO_BIN_EXE_tfd").into(),
            vec![("NOTIFY_SOCKET", place)],
        )),
        ..Setup::default()
    });
    fill(&server);
    let _silent = Client::knock(server.address());
    let _silent_tls = Client::knock(server.tls_address());
    let mut idle = server.connect();
    idle.expect_alive();
    let mut over_tls = server.connect_tls();
    over_tls.expect_alive();
    let mut busy = server.connect();
    busy.expect("SHA256 missing", 45);
    let _clients = [
        downloading(&server, &[]),
        uploading(&server, &[]),
        notified(&server),
    ];
    let of_all = [
        "keeper",
        "zygote",
        "launcher",
        "gate",
        "next gate",
        "session",
        "next session",
        "session: file of the client",
        "session: inotify",
        "auditor",
        "udp",
        "tables",
    ];
    expect(&server, &of_all, seen);
    for name in ["control", "metrics"] {
        let place = server.config_path().with_file_name(name);
        let _client = UnixStream::connect(place).expect("connect");
        let responder = hold(&server, "tfd-responder");
        expect(&server, &[&format!("responder: client of {name}")], seen);
        signal(responder, Signal::SIGKILL);
        wait_until("its end", || pids(&server, "tfd-responder").is_empty());
    }
}

fn multi_user(seen: &mut Seen) {
    let server = Server::with(Setup {
        server: format!("mode = \"multi-user\"\nusers = \"users\"\n{ALL_OF_IT}"),
        users: account("ann", "a", "games::rate=100M:"),
        ..Setup::default()
    });
    fill(&server);
    let _silent = Client::knock(server.address());
    let _before_login = server.connect();
    let login = ["LOGIN ann a"];
    let mut idle = server.connect();
    idle.expect(login[0], 0);
    idle.expect_alive();
    let _clients = [downloading(&server, &login), uploading(&server, &login)];
    expect(
        &server,
        &[
            "authenticator",
            "gate: channel to authenticator",
            "session",
            "next session",
        ],
        seen,
    );
}

/// A check by PAM that does not end, since nobody writes to a pipe with a name.
fn by_pam(seen: &mut Seen) {
    let dir = tempfile::tempdir().expect("directory");
    let rules = dir.path().join("rules");
    nix::unistd::mkfifo(&rules, nix::sys::stat::Mode::S_IRUSR).expect("pipe");
    let service = Service::new(&format!(
        "auth [success=done default=ignore] pam_succeed_if.so quiet user = mail\n\
         auth required pam_access.so accessfile={}\n\
         account required pam_permit.so\n",
        rules.display()
    ));
    let server = Server::with(Setup {
        server: format!(
            "mode = \"multi-user\"\nusers = \"users\"\n{}pam_timeout = 600\n\
             {ALL_OF_IT}",
            service.lines()
        ),
        users: "games:*:games:::\nmail:*:mail:::\n".to_owned(),
        ..Setup::default()
    });
    let mut session = server.connect();
    session.expect("LOGIN mail a", 0);
    session.expect_alive();
    let mut client = server.connect();
    client.send("LOGIN games a");
    expect(
        &server,
        &[
            "pam: pidfd",
            "pam check: channel to authenticator",
            "authenticator: channel to pam",
        ],
        seen,
    );
}

fn jail(seen: &mut Seen) {
    let server = Server::with(Setup {
        server: format!("mode = \"multi-user\"\nusers = \"users\"\njail = true\n{ALL_OF_IT}"),
        users: account("ann", "a", "games:::"),
        directories: &["home/cell"],
        ..Setup::default()
    });
    server.write("home/cell/jail.key", "token\n");
    let mut waiting = server.connect();
    waiting.expect("LOGIN ann a", 0);
    let mut inside = server.connect();
    inside.expect_all(&[("LOGIN ann a", 0), ("INJAIL token | home/cell", 0)]);
    inside.expect_alive();
    expect(
        &server,
        &[
            "session before INJAIL",
            "gate: channel to reader of tokens",
            "session",
        ],
        seen,
    );
}

/// The dialer, and the process that reads the list of the pool.
fn helpers_of_protocols(seen: &mut Seen) {
    let server = Server::with(Setup {
        server: format!("mode = \"multi-user\"\nusers = \"users\"\n{ALL_OF_IT}\ndata_timeout = 60"),
        tf: "listen = [\"127.0.0.1:0\"]\ntlb_pool = \"pool\"\n[echo]\nlisten = [\"127.0.0.1:0\"]"
            .into(),
        users: account("ann", "a", "nobody:::"),
        ..Setup::default()
    });
    let mut tf = server.connect();
    tf.expect("LOGIN ann a", 0);
    tf.expect_alive();
    let echo = server.listening("listening address=")[1];
    let mut echo = BufReader::new(TcpStream::connect(echo).expect("connect"));
    let mut answer = String::new();
    writeln!(echo.get_mut(), "LOGIN ann a").expect("write");
    echo.read_line(&mut answer).expect("answer");
    assert_eq!(answer, "OK\n");
    writeln!(echo.get_mut(), "ACCEPT").expect("write");
    let port = || {
        fs::read_to_string(server.path("port"))
            .ok()?
            .parse::<u16>()
            .ok()
    };
    wait_until("a port", || port().is_some());
    expect(&server, &["dialer: data listener", "pool", "session"], seen);
    let connect = || TcpStream::connect(("127.0.0.1", port().expect("port"))).expect("connect");
    let _data = [connect(), connect()];
    expect(
        &server,
        &["dialer: connection", "session: connection"],
        seen,
    );
}

/// The process that runs the program of `on_upload`, and that program.
fn uploads(seen: &mut Seen) {
    let server = Server::with(Setup {
        server: format!(
            "on_upload = [\"/bin/sleep\", \"1000\"]\non_upload_queue = \"queue\"\n{ALL_OF_IT}"
        ),
        ..Setup::default()
    });
    fill(&server);
    let mut client = server.connect();
    client.send_file("inside/new", false, b"content");
    let _other = server.connect();
    let all = [
        "uploads",
        "uploads: pidfd",
        "uploads: channel to session",
        "program of on_upload: pipe",
        "session: channel to uploads",
    ];
    expect(&server, &all, seen);
    client.expect_alive();
}

fn sweeper(seen: &mut Seen) {
    let server = Server::start();
    server.mkdir("many");
    for number in 0..10_000 {
        fs::create_dir(server.path(&format!("many/{number}"))).expect("directory");
    }
    let mut client = server.connect();
    client.expect_alive();
    signal(pids(&server, "tfd-session")[0], Signal::SIGKILL);
    let sweeper = hold(&server, "tfd-sweeper");
    // It goes on a little at a time, until it is in the middle of a listing.
    wait_until("a listing", || {
        let held = View::of(&server).held(sweeper);
        let lists = held
            .iter()
            .any(|one| one.descriptor == "file of the client");
        if !lists {
            signal(sweeper, Signal::SIGCONT);
            std::thread::sleep(Duration::from_micros(200));
            signal(sweeper, Signal::SIGSTOP);
        }
        lists
    });
    expect(&server, &["sweeper: file of the client"], seen);
    signal(sweeper, Signal::SIGKILL);
}

fn proxy(seen: &mut Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("address").port();
    let proxy = Server::proxy(format!("localhost:{port}"), "");
    let _client = Client::knock(proxy.address());
    let _backend = listener.accept().expect("accept");
    let all = [
        "resolver",
        "udp of a proxy",
        "zygote of a proxy",
        "relay",
        "next relay",
    ];
    expect(&proxy, &all, seen);
}

#[test]
fn processes_hold_the_descriptors_of_the_table_and_no_others() {
    if without_root() {
        return;
    }
    let mut seen = Seen::new();
    for scene in [
        single_user,
        multi_user,
        by_pam,
        jail,
        helpers_of_protocols,
        uploads,
        sweeper,
        proxy,
    ] {
        scene(&mut seen);
    }
    for row in table() {
        for (process, descriptor) in row.cells() {
            let is_it = |(of, what, rights): &(&str, String, &str)| {
                (*of == process || process == "all") && what == descriptor && *rights == row.rights
            };
            assert!(seen.iter().any(is_it), "no {process} holds: {descriptor}");
        }
    }
}
