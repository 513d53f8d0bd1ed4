//! `conf/keepalived-tfd.conf`, with another device and program and nothing else, in
//! front of two servers over one directory, each machine a namespace of its own.
//! `TFD_TEST_IPVS=1` says that the kernel has IPVS, as that of `scripts/vm` does.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::common::namespaces::{DEVICE, Segment};
use crate::common::{
    Client, Server, Setup, copy_program, give_to_server, set_umask, wait_until, write_certificate,
};

const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const DIRECTOR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 5);
const FRONT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const SERVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 11), Ipv4Addr::new(192, 0, 2, 12)];

const PLAIN: u16 = 10345;
const TLS: u16 = 10346;

/// keepalived, and the servers behind it.
struct Front {
    keepalived: Child,
    servers: [Server; 2],
    segment: Segment,
    dir: TempDir,
}

/// `None` where the kernel has no IPVS.
fn front(lines: &str) -> Option<Front> {
    if std::env::var_os("TFD_TEST_IPVS").is_none() {
        println!("left out: there is no IPVS here: scripts/fleet vm");
        return None;
    }
    set_umask();
    let segment = Segment::make(&[CLIENT, DIRECTOR, SERVERS[0], SERVERS[1]]).expect("segment");
    let dir = tempfile::tempdir().expect("directory");
    let anybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(dir.path(), anybody).expect("mode");
    let root = dir.path().join("root");
    fs::create_dir(&root).expect("root");
    give_to_server(&root);
    write_certificate(dir.path(), None);
    let servers = [0, 1].map(|number| serve(&segment, number, dir.path(), lines));
    let keepalived = balance(&segment, dir.path());
    let front = Front {
        keepalived,
        servers,
        segment,
        dir,
    };
    for number in [0, 1] {
        front.wait_for(number, true);
    }
    wait_until("the clients' address", || front.is_reached());
    Some(front)
}

/// A server that also listens at the clients' address.
fn serve(segment: &Segment, number: usize, dir: &Path, lines: &str) -> Server {
    let machine = &segment.machines[2 + number];
    machine.set("conf/all/arp_ignore", "1").expect("arp_ignore");
    machine
        .set("conf/all/arp_announce", "2")
        .expect("arp_announce");
    machine
        .ip(&format!("address add {FRONT}/32 dev lo"))
        .expect("address");
    let (own, here) = (SERVERS[number], dir.display());
    let setup = Setup {
        server: format!(
            "tls_certificate = \"{here}/tls.pem\"\ntls_key = \"{here}/tls-key.pem\"\n{lines}"
        ),
        tf: format!(
            "listen = [\"{own}:{PLAIN}\", \"{FRONT}:{PLAIN}\"]\n\
             tls_listen = [\"{own}:{TLS}\", \"{FRONT}:{TLS}\"]"
        ),
        root: Some(dir.join("root")),
        ..Setup::default()
    };
    machine.run(|| Server::with(setup))
}

fn balance(segment: &Segment, dir: &Path) -> Child {
    let program = dir.join("tfd");
    copy_program(env!("CARGO_BIN_EXE_tfd").as_ref(), &program);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/keepalived-tfd.conf");
    let text = fs::read_to_string(file).expect("conf/keepalived-tfd.conf");
    assert!(text.contains("interface eth0\n") && text.contains("\"/usr/bin/tfd probe"));
    let text = text
        .replace("interface eth0\n", &format!("interface {DEVICE}\n"))
        .replace("/usr/bin/tfd", &program.display().to_string());
    let path = dir.join("keepalived.conf");
    fs::write(&path, text).expect("write");
    let log = fs::File::create(dir.join("keepalived.log")).expect("log");
    segment.machines[1].run(|| {
        let mut command = Command::new("keepalived");
        for name in ["pid", "vrrp_pid", "checkers_pid"] {
            command.arg(format!("--{name}={}", dir.join(name).display()));
        }
        command
            .args(["--dont-fork", "--log-console", "--use-file"])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("apt-get install keepalived")
    })
}

impl Front {
    /// The weights of a server in both services, as IPVS has them.
    fn weights(&self, number: usize) -> Vec<String> {
        // It is there once keepalived has begun.
        let table = || fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap_or_default();
        let table = self.segment.machines[1].run(table);
        let own = format!("-> {:08X}:", u32::from(SERVERS[number]));
        let lines = table.lines().filter(|line| line.contains(&own));
        let weight = |line: &str| line.split_whitespace().nth(3).map(str::to_owned);
        lines.filter_map(weight).collect()
    }

    /// Waits until IPVS gives a server new clients, or none.
    fn wait_for(&self, number: usize, is_given: bool) {
        let weight = if is_given { "1" } else { "0" };
        wait_until("the weight", || self.weights(number) == [weight, weight]);
    }

    fn is_reached(&self) -> bool {
        let address = SocketAddr::new(FRONT.into(), PLAIN);
        self.segment.machines[0].run(|| TcpStream::connect(address).is_ok())
    }

    /// Clients one after the other, all of them still there.
    fn clients(&self, count: usize) -> Vec<Client> {
        let address = SocketAddr::new(FRONT.into(), PLAIN);
        self.segment.machines[0].run(|| (0..count).map(|_| Client::connect(address)).collect())
    }

    /// How many sessions of clients a server has had.
    fn sessions(&self, number: usize) -> usize {
        let line = format!("session start peer={CLIENT}:");
        let log = self.servers[number].log();
        log.iter().filter(|it| it.contains(&line)).count()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.keepalived.id().try_into().expect("pid"));
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.keepalived.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.path().join("keepalived.log"));
            eprintln!("log of keepalived:\n{}", log.unwrap_or_default());
        }
    }
}

#[test]
fn clients_of_one_address_are_spread_and_logged_by_their_own() {
    let Some(mut front) = front("") else { return };
    let mut clients = front.clients(4);
    for server in &mut front.servers {
        server.wait_for_lines(&format!("session start peer={CLIENT}:"), 2);
    }
    clients[0].send_file("f", false, b"by one of them");
    clients[3].expect_alive();
    assert_eq!(front.servers[1].read("f"), b"by one of them");
}

#[test]
fn a_server_behind_ipvs_that_is_down_gets_no_clients_and_gets_them_again() {
    let Some(mut front) = front("") else { return };
    front.servers[0].signal(Signal::SIGKILL);
    front.servers[0].wait_for_end();
    front.wait_for(0, false);
    let clients = front.clients(4);
    front.servers[1].wait_for_lines(&format!("session start peer={CLIENT}:"), 4);
    drop(clients);
    let machine = &front.segment.machines[2];
    let server = &mut front.servers[0];
    machine.run(|| server.start_again());
    front.wait_for(0, true);
    wait_until("the one that is back", || {
        drop(front.clients(2));
        front.sessions(0) > 0
    });
}

#[test]
fn a_server_behind_ipvs_that_stops_ends_its_transfer_and_gets_no_new_clients() {
    let Some(mut front) = front("stop_grace = 60") else {
        return;
    };
    let mut sender = front.clients(1).remove(0);
    let mut found = None;
    wait_until("its session", || {
        found = [0, 1].into_iter().find(|it| front.sessions(*it) > 0);
        found.is_some()
    });
    let stopped = found.expect("a server");
    assert_eq!(sender.ask("SNDFILE 0 f"), "CONT");
    assert_eq!(sender.ask("CONT begun, "), "CONT");
    front.servers[stopped].signal(Signal::SIGTERM);
    front.servers[stopped].wait_for_log("stopping");
    front.wait_for(stopped, false);
    let clients = front.clients(3);
    front.servers[1 - stopped].wait_for_lines(&format!("session start peer={CLIENT}:"), 3);
    assert_eq!(sender.ask("CONT ended"), "CONT");
    assert_eq!(sender.ask("OK"), "OK");
    assert_eq!(front.servers[1 - stopped].read("f"), b"begun, ended");
    drop((sender, clients));
    assert_eq!(front.servers[stopped].wait_for_end(), Some(0));
}
