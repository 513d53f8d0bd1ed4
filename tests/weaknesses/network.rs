//! Attacks from the network that need no login: forged datagrams, crowds of
//! silent connections.

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, recv, sendto};
use rustix::net::{RecvFlags, SendFlags, ipproto, socket_with, sockopt};

use crate::common::{Client, Server, Setup, account, connections, own_address, wait_until};
use crate::without_root;

/// Longer than any answer takes to come back.
const MOMENT: Duration = Duration::from_millis(500);

fn at_own_address() -> Server {
    Server::with(Setup {
        server: "stop_grace = 600".into(),
        tf: format!("listen = [\"{}:0\"]", own_address()),
        ..Setup::default()
    })
}

fn v4(server: &Server) -> SocketAddrV4 {
    match server.addresses()[0] {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(address) => panic!("{address}"),
    }
}

fn raw_socket(protocol: rustix::net::Protocol) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    socket_with(AddressFamily::INET, SocketType::RAW, flags, Some(protocol)).expect("raw socket")
}

/// Sends a datagram in somebody else's name.
fn forge(from: SocketAddrV4, to: SocketAddrV4, content: &[u8]) {
    let len = 28 + content.len() as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    for number in [from.port(), to.port(), len - 20, 0] {
        packet.extend(number.to_be_bytes());
    }
    packet.extend(content);
    sendto(raw_socket(ipproto::RAW), &packet, SendFlags::empty(), &to).expect("send");
}

/// Sees the datagrams to an address.
struct Watch(OwnedFd);

impl Watch {
    fn on(address: SocketAddrV4) -> Watch {
        let socket = raw_socket(ipproto::UDP);
        bind(&socket, &SocketAddrV4::new(*address.ip(), 0)).expect("bind");
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(MOMENT)).expect("limit");
        Watch(socket)
    }

    /// How many come until there is silence, or more than `most`.
    fn count(&self, most: usize) -> usize {
        let next = || recv(&self.0, &mut [0; 64][..], RecvFlags::empty()).is_ok();
        (0..=most).take_while(|_| next()).count()
    }
}

/// One forged datagram to a server from another, and how many the first gets.
fn exchanged(servers: &[Server; 2], content: &[u8], most: usize) -> usize {
    let [a, b] = [v4(&servers[0]), v4(&servers[1])];
    let watch = Watch::on(a);
    forge(b, a, content);
    watch.count(most)
}

#[test]
fn two_servers_do_not_answer_each_other_without_end() {
    if without_root() {
        return;
    }
    let servers = [at_own_address(), at_own_address()];
    let key = "0123456789abcdef".repeat(2) + "0";
    let about = |what: u8| [&[what], key.as_bytes()].concat();
    for content in [&b"\0"[..], b"", b"\x01", b"\x03", &about(1), &about(2)] {
        let count = exchanged(&servers, content, 10);
        assert!(count <= 3, "{content:?}: {count} datagrams");
    }
    let own = v4(&servers[0]);
    let watch = Watch::on(own);
    forge(own, own, b"\0");
    assert!(watch.count(10) <= 3, "to itself");
}

#[test]
fn two_servers_that_are_about_to_end_fall_silent() {
    if without_root() {
        return;
    }
    let mut servers = [at_own_address(), at_own_address()];
    let _clients: Vec<Client> = servers.iter().map(busy).collect();
    for server in &mut servers {
        server.signal(Signal::SIGTERM);
        server.wait_for_log("stopping");
    }
    let count = exchanged(&servers, b"\0", 10_000);
    assert!((10..=250).contains(&count), "{count} datagrams");
    let own = UdpSocket::bind("127.0.0.1:0").expect("socket");
    own.set_read_timeout(Some(MOMENT)).expect("timeout");
    own.send_to(b"\0", servers[0].addresses()[0]).expect("send");
    let mut answer = [9; 2];
    assert_eq!(own.recv(&mut answer).expect("answer"), 1);
    assert_eq!(answer[0], 0, "others still hear that it ends");
}

/// A client in the middle of a download, for which a server waits.
fn busy(server: &Server) -> Client {
    server.write("f", vec![0; 3_000_000]);
    let mut client = server.connect();
    client.send("RCVFILE 0 f");
    client.receive();
    client
}

#[test]
fn no_answer_is_a_question_for_long() {
    let server = Server::with(Setup {
        tf: "tlb_pool = \"pool\"".into(),
        ..Setup::default()
    });
    let pool = server.config_path().with_file_name("pool");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
    let tuple = format!("4 127.0.0.1;{}", server.address().port());
    std::fs::write(pool, tuple).expect("write");
    let mut client = server.connect();
    wait_until("a server to hand out", || {
        client.ask("TLB").starts_with("OK ")
    });
    socket.set_read_timeout(Some(MOMENT)).expect("timeout");
    let ask = |datagram: &[u8]| {
        socket.send_to(datagram, server.address()).expect("send");
        let mut buffer = [0; 512];
        let len = socket.recv(&mut buffer).ok()?;
        Some(buffer[..len].to_vec())
    };
    let key = client.ask("PROCKEY")[3..].to_owned();
    let about = |what: u8, key: &str| [&[what], key.as_bytes()].concat();
    let mut load = b"\0TFDL01234567".to_vec();
    load.resize(32, 0);
    let gone = format!("{}0", "f".repeat(32));
    for question in [
        b"\0".to_vec(),
        load,
        about(1, &key),
        about(2, &key),
        about(1, &gone),
        about(2, &gone),
        b"\x03".to_vec(),
    ] {
        let mut answer = ask(&question);
        assert!(answer.is_some(), "{question:?}");
        let mut rounds = 0;
        while let Some(again) = answer.take() {
            rounds += 1;
            assert!(rounds <= 2, "{question:?} goes on with {again:?}");
            answer = ask(&again);
        }
    }
    client.expect_alive();
}

#[test]
fn a_source_gets_few_answers_and_others_get_theirs() {
    let server = Server::start();
    let mut client = server.connect();
    let key = client.ask("PROCKEY")[3..].to_owned();
    let bound = |ip: &str| {
        let socket = UdpSocket::bind((ip, 0)).expect("socket");
        socket.set_read_timeout(Some(MOMENT)).expect("timeout");
        socket.connect(server.address()).expect("connect");
        socket
    };
    let flooding = bound("127.0.0.1");
    let answers = |question: &[u8], rounds: usize| {
        let ask = || {
            flooding.send(question).expect("send");
            flooding.recv(&mut [0; 16]).is_ok()
        };
        (0..rounds).take_while(|_| ask()).count()
    };
    let given = answers(b"\0", 5000);
    assert!((200..2000).contains(&given), "{given}");
    // Who knows a session's key is no stranger.
    assert_eq!(answers(&[&[1], key.as_bytes()].concat(), 1000), 1000);
    let other = bound("127.0.0.2");
    other.send(b"\0").expect("send");
    assert_eq!(other.recv(&mut [0; 16]).expect("answer"), 1);
}

/// So many silent connections from each of some addresses.
fn silent_crowd(server: &Server, addresses: &[String]) -> Vec<Client> {
    let each = |from: &String| -> Vec<Client> {
        let knock = || Client::knock_from(from, server.address());
        (0..256).map(|_| knock()).collect()
    };
    addresses.iter().flat_map(each).collect()
}

#[test]
fn a_silent_crowd_keeps_no_client_of_another_network_out() {
    let in_one: Vec<String> = (1..=12).map(|n| format!("127.20.0.{n}")).collect();
    let in_many: Vec<String> = (1..=12).map(|n| format!("127.21.{n}.1")).collect();
    for (addresses, most) in [(in_one, 64), (in_many, 12 * 32)] {
        let mut server = Server::start();
        let mut inside = Client::knock_from(&addresses[0], server.address())
            .try_in()
            .expect("the first one");
        let _crowd = silent_crowd(&server, &addresses);
        server.wait_for_log("before login from this");
        for _ in 0..30 {
            let client = Client::knock_from("127.22.0.1", server.address());
            client.try_in().expect("an honest client").expect_alive();
        }
        let held = connections(&server).len();
        assert!(held <= most + 31, "{held}, most {most}");
        inside.expect_alive();
        server.signal(Signal::SIGKILL);
    }
}

#[test]
fn those_who_are_in_do_not_count_as_a_crowd() {
    let server = Server::with(Setup {
        server: "max_unauthenticated_per_address = 2\nmax_unauthenticated_per_network = 3".into(),
        ..Setup::default()
    });
    let mut inside: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    let silent = [1, 1, 2].map(|n| Client::knock_from(&format!("127.23.0.{n}"), server.address()));
    for from in ["127.23.0.1", "127.23.0.3"] {
        Client::knock_from(from, server.address()).expect_closed();
    }
    drop(silent);
    wait_until("room again", || {
        let client = Client::knock_from("127.23.0.3", server.address());
        client.try_in().is_some()
    });
    inside.iter_mut().for_each(Client::expect_alive);
}

#[test]
fn who_is_in_may_come_again_at_once() {
    let server = Server::with(Setup {
        server: "max_unauthenticated_per_address = 1".into(),
        ..Setup::default()
    });
    let mut inside: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    inside.iter_mut().for_each(Client::expect_alive);
}

/// Whatever the password is, this login is blocked.
#[track_caller]
fn blocked(server: &Server, from: &str, login: &str) {
    let client = Client::knock_from(from, server.address());
    let mut client = client.try_in().expect("in");
    client.expect_reason(format!("LOGIN {login}"), "blocked until 2");
}

/// The status of a LOGIN from an address, 0 for `OK`.
#[track_caller]
fn log_in(server: &Server, from: &str, login: &str, code: u32) {
    let client = Client::knock_from(from, server.address());
    let request = format!("LOGIN {login}");
    client.try_in().expect("in").expect(request, code);
}

#[test]
fn nobody_locks_an_account_for_others() {
    if without_root() {
        return;
    }
    let limits = "mode = \"multi-user\"\nusers = \"users\"\nlogin_failures = 3\nlogin_block = 3600";
    let mut server = Server::with(Setup {
        server: limits.to_owned(),
        users: account("ann", "a", "games:::") + &account("bob", "b", "mail:::"),
        ..Setup::default()
    });
    let home = "127.30.0.1";
    log_in(&server, home, "ann a", 0);
    for n in 1..=10 {
        log_in(&server, &format!("127.31.{n}.1"), "ann wrong", 37);
    }
    log_in(&server, home, "ann a", 0);
    // Who is new waits, and gets in.
    let begin = Instant::now();
    log_in(&server, "127.32.0.1", "ann a", 0);
    assert!(begin.elapsed() >= Duration::from_millis(1900), "no delay");
    // Each address counts for itself, at each account.
    for _ in 0..3 {
        log_in(&server, "127.33.0.1", "ann wrong", 37);
        log_in(&server, home, "bob wrong", 37);
    }
    server.wait_for_log("login blocked peer=127.33.0.1 user=\"ann\" seconds=3600");
    blocked(&server, "127.33.0.1", "ann a");
    log_in(&server, "127.33.0.1", "bob b", 0);
    blocked(&server, home, "bob b");
    log_in(&server, home, "ann a", 0);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end(), Some(0));
    server.start_again();
    blocked(&server, "127.33.0.1", "ann a");
    log_in(&server, home, "ann a", 0);
}
