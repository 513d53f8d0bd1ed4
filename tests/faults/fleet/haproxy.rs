//! `conf/haproxy-tfd.cfg`, with other addresses and nothing else, in front of two
//! servers over one directory: what clients, servers and operators see of it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use openssl::x509::X509;
use tfd::client::{Connection, Target, Tls, Trust};
use tfd::net::tls::certificate::fingerprint;

use super::site::{Site, sessions, stop_amid_a_transfer};
use crate::common::tf::run;
use crate::common::{
    Client, HASH, Server, Setup, account, copy_program, is_root, own_address, patient, wait_until,
};

const PLAIN: u16 = 10345;
const TLS: u16 = 10346;

/// HAProxy, and the servers behind it.
pub struct Front {
    at: Ipv4Addr,
    pub servers: [Server; 2],
    haproxy: Child,
    // Behind the servers, whose log comes first.
    site: Site,
}

/// `None` without root, which HAProxy's own user takes.
pub fn front(server: &str, users: &str) -> Option<Front> {
    front_with(server, users, |_, text| text)
}

/// The same with changes of the file, which is in this directory.
fn front_with(
    server: &str,
    users: &str,
    change: impl FnOnce(&Path, String) -> String,
) -> Option<Front> {
    if !is_root() {
        println!("left out: HAProxy takes an identity of its own, which needs root");
        return None;
    }
    let site = Site::make();
    let machines = [own_address(), own_address()];
    let servers = machines.map(|machine| behind(&site, machine, server, users));
    let at = own_address();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/haproxy-tfd.cfg");
    let text = fs::read_to_string(file).expect("conf/haproxy-tfd.cfg");
    let text = change(site.path(), text)
        .replace("192.0.2.10:", &format!("{at}:"))
        .replace("192.0.2.11:", &format!("{}:", machines[0]))
        .replace("192.0.2.12:", &format!("{}:", machines[1]));
    let path = site.path().join("haproxy.cfg");
    fs::write(&path, text).expect("write");
    let haproxy = Command::new("/usr/sbin/haproxy")
        .args(["-db", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .stderr(site.log())
        .spawn()
        .expect("apt-get install haproxy");
    let front = Front {
        at,
        servers,
        haproxy,
        site,
    };
    wait_until("HAProxy listens", || {
        TcpStream::connect(front.plain()).is_ok()
    });
    Some(front)
}

/// A server at this address, with the root and the certificate in a directory.
fn behind(site: &Site, machine: Ipv4Addr, server: &str, users: &str) -> Server {
    let server = format!("accept_proxy_from = [\"127.0.0.1/32\"]\n{server}");
    let listen = format!("listen = [\"{machine}:{PLAIN}\"]\ntls_listen = [\"{machine}:{TLS}\"]");
    Server::with(Setup {
        users: users.to_owned(),
        ..site.setup(&server, listen)
    })
}

impl Front {
    fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.at.into(), port)
    }

    /// Where clients without TLS come to.
    pub fn plain(&self) -> SocketAddr {
        self.address(PLAIN)
    }

    /// A client of HAProxy from an address of this machine.
    fn client(&self, from: &str) -> Client {
        let client = Client::knock_from(from, self.plain());
        client.try_in().expect("in")
    }

    /// The number of the server that serves the client of this address.
    #[track_caller]
    fn server_of(&self, peer: &str) -> usize {
        let line = format!("session start peer={peer}");
        let has_line = |server: &Server| server.log().iter().any(|it| it.contains(&line));
        let mut found = None;
        wait_until(&line, || {
            found = self.servers.iter().position(has_line);
            found.is_some()
        });
        found.expect("a server")
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.haproxy.kill();
        let _ = self.haproxy.wait();
    }
}

#[test]
fn the_servers_log_the_addresses_of_the_clients_and_not_that_of_haproxy() {
    let Some(front) = front("", "") else { return };
    let mut plain = front.client("127.0.0.77");
    plain.expect_alive();
    front.server_of("127.0.0.77:");
    let pem = fs::read(front.site.path().join("tls.pem")).expect("certificate");
    let certificate = X509::from_pem(&pem).expect("certificate");
    let pin = fingerprint(&certificate.to_der().expect("DER")).expect("pin");
    let tls = Tls::new(&Trust::Pin(pin), None).expect("TLS");
    let address = front.address(TLS).to_string();
    let target = patient(Target::tls(&address, tls, HASH));
    let mut sealed = Connection::open(&target).expect("over TLS");
    assert!(sealed.is_over_tls() && sealed.wire().is_plain_in_tls());
    let own = sealed.socket().local_addr().expect("address");
    front.server_of(&own.to_string());
}

#[test]
fn a_server_that_is_down_gets_no_clients_and_gets_them_again_when_it_is_up() {
    let Some(mut front) = front("", "") else {
        return;
    };
    front.servers[0].signal(Signal::SIGKILL);
    front.servers[0].wait_for_end();
    for _ in 0..12 {
        front.client("127.0.0.81").expect_alive();
    }
    front.servers[1].wait_for_lines("session start peer=127.0.0.81:", 12);
    front.servers[0].start_again();
    wait_until("the one that is back", || {
        front.client("127.0.0.82").expect_alive();
        sessions(&front.servers[0], "127.0.0.82") > 0
    });
}

#[test]
fn a_server_that_stops_ends_its_transfer_and_gets_no_new_clients() {
    let Some(mut front) = front("stop_grace = 60", "") else {
        return;
    };
    let sender = front.client("127.0.0.83");
    let stopped = front.server_of("127.0.0.83:");
    stop_amid_a_transfer(
        &mut front,
        |it| &mut it.servers,
        stopped,
        sender,
        |front| {
            wait_until("no listener", || {
                TcpStream::connect(front.servers[stopped].addresses()[0]).is_err()
            });
            for _ in 0..8 {
                front.client("127.0.0.84").expect_alive();
            }
            front.servers[1 - stopped].wait_for_lines("session start peer=127.0.0.84:", 8);
            // HAProxy has found it down by now.
            std::thread::sleep(Duration::from_millis(1500));
        },
    );
}

/// Waits until so many further checks have come and left.
fn wait_for_checks(server: &mut Server, count: usize) {
    let so_far = server.log();
    let so_far = so_far.iter().filter(|it| it.contains(" left ")).count();
    server.wait_for_lines(" left ", so_far + count);
}

/// What operators read at the default level.
fn noise(server: &Server) -> Vec<String> {
    let mut log = server.log();
    log.retain(|line| !line.contains(" DEBUG "));
    log
}

#[test]
fn a_transfer_that_pauses_is_not_cut_and_the_checks_log_nothing() {
    let Some(mut front) = front("", "") else {
        return;
    };
    let mut sender = front.client("127.0.0.85");
    assert_eq!(sender.ask("SNDFILE 0 f"), "CONT");
    assert_eq!(sender.ask("CONT begun, "), "CONT");
    front.server_of("127.0.0.85:");
    let before = [0, 1].map(|number| noise(&front.servers[number]));
    // Several checks of each port.
    for server in &mut front.servers {
        wait_for_checks(server, 6);
    }
    assert_eq!([0, 1].map(|number| noise(&front.servers[number])), before);
    assert_eq!(sender.ask("CONT ended"), "CONT");
    assert_eq!(sender.ask("OK"), "OK");
    assert_eq!(front.servers[0].read("f"), b"begun, ended");
}

#[test]
fn a_block_after_failed_logins_hits_the_client_and_not_haproxy() {
    let users = account("ann", "secret", "nobody:::");
    let lines = "mode = \"multi-user\"\nusers = \"users\"\nlogin_failures = 1\n\
                 login_block = 3600";
    let Some(front) = front(lines, &users) else {
        return;
    };
    let log_in = |from: &str, password: &str| {
        let mut client = front.client(from);
        client.ask(format!("LOGIN ann {password}"))
    };
    // Each server blocks by itself.
    for number in [0, 1] {
        wait_until("a block at each", || {
            log_in("127.0.0.86", "wrong");
            let log = front.servers[number].log();
            log.iter()
                .any(|it| it.contains("login blocked peer=127.0.0.86 "))
        });
    }
    let refused = log_in("127.0.0.86", "secret");
    assert!(refused.starts_with("FAILED 37"), "{refused}");
    for _ in 0..4 {
        assert_eq!(log_in("127.0.0.87", "secret"), "OK");
    }
}

/// A program where the user of HAProxy may start it.
fn program(dir: &Path, name: &str, from: &Path) {
    let to = dir.join("bin").join(name);
    fs::create_dir_all(dir.join("bin")).expect("directory");
    copy_program(from, &to);
}

/// What the file says to write for checks by `tfd probe`.
const IN_GLOBAL: [&str; 2] = ["external-check", "insecure-fork-wanted"];
const IN_BACKENDS: [&str; 3] = [
    "option external-check",
    "external-check path \"/usr/local/bin:/usr/bin:/bin\"",
    "external-check command /usr/share/doc/tfd/examples/haproxy-tfd-check",
];

/// The file with that, the programs in this directory.
fn with_probe(dir: &Path, text: &str) -> String {
    program(dir, "tfd", env!("CARGO_BIN_EXE_tfd").as_ref());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/haproxy-tfd-check");
    program(dir, "haproxy-tfd-check", &script);
    for line in IN_GLOBAL.iter().chain(&IN_BACKENDS) {
        assert!(text.contains(&format!("#   {line}\n")), "{line}");
    }
    let here = format!("{}/bin", dir.display());
    let backends = IN_BACKENDS.join("\n");
    let backends = backends
        .replace("/usr/local/bin", &here)
        .replace("/usr/share/doc/tfd/examples", &here);
    let mut lines = Vec::new();
    for line in text.lines() {
        let word = line.trim_start();
        if word.starts_with("chroot ") {
            lines.extend(IN_GLOBAL.map(str::to_owned));
        } else if word == "option tcp-check" {
            lines.push(backends.clone());
        } else if !word.starts_with("tcp-check ") && !word.starts_with("default-server check-ssl") {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn haproxy_may_check_by_tfd_probe() {
    let changed = |dir: &Path, text: String| with_probe(dir, &text);
    let Some(mut front) = front_with("", "", changed) else {
        return;
    };
    for server in &mut front.servers {
        wait_for_checks(server, 4);
        assert!(!noise(server).iter().any(|line| line.contains(" WARN ")));
    }
    front.client("127.0.0.88").expect_alive();
    front.servers[1].signal(Signal::SIGSTOP);
    let log = front.site.log_path();
    wait_until("down", || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        log.contains("Server tf/two is DOWN") && log.contains("Server tf-tls/two is DOWN")
    });
    front.servers[1].signal(Signal::SIGCONT);
    front.client("127.0.0.88").expect_alive();
}

#[test]
fn haproxy_accepts_the_file_as_it_is() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/haproxy-tfd.cfg");
    let run = run(
        Command::new("/usr/sbin/haproxy")
            .args(["-c", "-f"])
            .arg(file),
        b"",
    );
    assert_eq!(
        run.code,
        Some(0),
        "apt-get install haproxy: {}{}",
        run.out,
        run.err
    );
    assert!(!run.err.contains("WARNING"), "{}", run.err);
}
