//! `conf/keepalived-tfd.conf`, with another device and program and nothing else, in
//! front of two servers over one directory, each machine a namespace of its own.
//! `TFD_TEST_IPVS=1` says that the kernel has IPVS, as that of `scripts/vm` does.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::site::{Site, sessions, stop_amid_a_transfer};
use crate::common::namespaces::{DEVICE, Segment};
use crate::common::{Client, Server, copy_program, wait_until};

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
    // Behind the servers, whose log comes first.
    _site: Site,
}

/// `None` where the kernel has no IPVS.
fn front(lines: &str) -> Option<Front> {
    if std::env::var_os("TFD_TEST_IPVS").is_none() {
        println!("left out: there is no IPVS here: scripts/fleet vm");
        return None;
    }
    let site = Site::make();
    let segment = Segment::make(&[CLIENT, DIRECTOR, SERVERS[0], SERVERS[1]]).expect("segment");
    let servers = [0, 1].map(|number| serve(&segment, number, &site, lines));
    let keepalived = balance(&segment, &site);
    let front = Front {
        keepalived,
        servers,
        segment,
        _site: site,
    };
    for number in [0, 1] {
        front.wait_for(number, true);
    }
    wait_until("the clients' address", || front.is_reached());
    Some(front)
}

/// A server that also listens at the clients' address.
fn serve(segment: &Segment, number: usize, site: &Site, lines: &str) -> Server {
    let machine = &segment.machines[2 + number];
    machine.set("conf/all/arp_ignore", "1").expect("arp_ignore");
    machine
        .set("conf/all/arp_announce", "2")
        .expect("arp_announce");
    machine
        .ip(&format!("address add {FRONT}/32 dev lo"))
        .expect("address");
    let own = SERVERS[number];
    let listen = format!(
        "listen = [\"{own}:{PLAIN}\", \"{FRONT}:{PLAIN}\"]\n\
         tls_listen = [\"{own}:{TLS}\", \"{FRONT}:{TLS}\"]"
    );
    let setup = site.setup(lines, listen);
    machine.run(|| Server::with(setup))
}

fn balance(segment: &Segment, site: &Site) -> Child {
    let dir = site.path();
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
    let log = site.log();
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
        sessions(&self.servers[number], &CLIENT.to_string())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.keepalived.id().try_into().expect("pid"));
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.keepalived.wait();
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
    let sender = front.clients(1).remove(0);
    let mut found = None;
    wait_until("its session", || {
        found = [0, 1].into_iter().find(|it| front.sessions(*it) > 0);
        found.is_some()
    });
    let stopped = found.expect("a server");
    stop_amid_a_transfer(
        &mut front,
        |it| &mut it.servers,
        stopped,
        sender,
        |front| {
            front.wait_for(stopped, false);
            drop(front.clients(3));
            let line = format!("session start peer={CLIENT}:");
            front.servers[1 - stopped].wait_for_lines(&line, 3);
        },
    );
}
