//! The load balancer against name servers and pool members on loopback: real
//! sockets, fake answers.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use simple_dns::rdata::{A, RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use tfd::tf::pool::file as pool;
use tfd::tf::pool::file::Server;
use tfd::tf::pool::health::State;
use tfd::tf::pool::probe;
use tfd::tf::pool::probe::Load;
use tfd::tf::pool::resolver;
use tfd::tf::pool::resolver::{Found, Lookup};
use tfd::tf::pool::{Balancer, Summary};

use crate::common::{PATIENCE, own_address};

const SERVICE: &str = "_tf._tcp.pool.example";

fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("random");
    u64::from_ne_bytes(bytes)
}

/// What a fake name server does with questions.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Answers SRV with all addresses.
    Along,
    /// Answers SRV without addresses, and those when asked.
    Apart,
    /// By UDP sends forged and cut answers; the whole one by TCP.
    Tcp,
    /// Knows of no such name.
    Nothing,
    Refusing,
}

/// A name server by UDP and TCP; ends with the test.
fn name_server(way: Way) -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("socket");
        // The same number may be taken for TCP.
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().expect("address")) {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().expect("address");
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            let question = &buffer[..length];
            if way == Way::Tcp {
                let mut forged = answer(question, Way::Nothing);
                forged[0] ^= 1;
                udp.send_to(&forged, from).expect("send");
                udp.send_to(b"rubbish", from).expect("send");
                let mut cut = answer(question, Way::Nothing);
                cut[2] |= 2;
                udp.send_to(&cut, from).expect("send");
            } else {
                udp.send_to(&answer(question, way), from).expect("send");
            }
        }
    });
    thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.expect("connection");
            let mut length = [0; 2];
            stream.read_exact(&mut length).expect("length");
            let mut question = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut question).expect("question");
            let answer = answer(&question, Way::Along);
            let length = u16::try_from(answer.len()).expect("short").to_be_bytes();
            // In two pieces, as networks do.
            stream
                .write_all(&[&length[..], &answer[..20]].concat())
                .expect("send");
            thread::sleep(Duration::from_millis(20));
            stream.write_all(&answer[20..]).expect("send");
        }
    });
    address
}

fn answer(question: &[u8], way: Way) -> Vec<u8> {
    let asked = Packet::parse(question).expect("a question");
    assert!(asked.has_flags(PacketFlag::RECURSION_DESIRED));
    let mut reply = Packet::new_reply(asked.id());
    let name = asked.questions[0].qname.clone();
    let address = |last| {
        RData::A(A {
            address: Ipv4Addr::new(192, 0, 2, last).into(),
        })
    };
    let record = |name: &str, data| {
        ResourceRecord::new(
            Name::new(name).expect("name").into_owned(),
            CLASS::IN,
            40,
            data,
        )
    };
    let srv = |priority, port, target: &'static str| {
        let target = Name::new(target).expect("name");
        record(
            SERVICE,
            RData::SRV(SRV {
                priority,
                weight: 3,
                port,
                target,
            }),
        )
    };
    match (way, name.to_string().as_str(), asked.questions[0].qtype) {
        (Way::Along | Way::Apart, SERVICE, QTYPE::TYPE(TYPE::SRV)) => {
            reply.answers = vec![srv(20, 2, "b.pool.example"), srv(10, 1, "a.pool.example")];
            if way == Way::Along {
                reply.additional_records = vec![
                    record("a.pool.example", address(1)),
                    record("b.pool.example", address(2)),
                ];
            }
        }
        (Way::Apart, host @ "a.pool.example", QTYPE::TYPE(TYPE::A)) => {
            reply.answers = vec![record(host, address(1))];
        }
        (Way::Apart, host @ "b.pool.example", QTYPE::TYPE(TYPE::A)) => {
            reply.answers = vec![record(host, address(2))];
        }
        (Way::Apart, _, QTYPE::TYPE(TYPE::AAAA)) => {}
        (Way::Refusing, ..) => *reply.rcode_mut() = RCODE::Refused,
        _ => *reply.rcode_mut() = RCODE::NameError,
    }
    reply.questions = asked.questions;
    reply.build_bytes_vec_compressed().expect("bytes")
}

fn look_up(name_servers: Vec<SocketAddr>) -> Result<Found, String> {
    resolver::resolve(Lookup::new(SERVICE, name_servers), random)
}

#[test]
fn servers_are_found_by_srv_records_however_the_addresses_come() {
    let server = |last: u8, priority| Server {
        address: ([192, 0, 2, last], last.into()).into(),
        weight: 3,
        priority,
    };
    for way in [Way::Along, Way::Apart, Way::Tcp] {
        let found = look_up(vec![name_server(way)]).expect("found");
        assert_eq!(found.servers, [server(1, 10), server(2, 20)]);
        assert_eq!((found.ttl, found.lost), (Duration::from_secs(40), vec![]));
    }
}

#[test]
fn a_name_server_that_is_gone_or_refuses_leaves_it_to_the_next() {
    let gone = SocketAddr::from((own_address(), 53));
    let refusing = name_server(Way::Refusing);
    let found = look_up(vec![gone, refusing, name_server(Way::Apart)]).expect("found");
    assert_eq!(found.servers.len(), 2);
    assert!(
        look_up(vec![gone, refusing])
            .expect_err("nobody")
            .contains(SERVICE)
    );
    let nothing = look_up(vec![refusing, name_server(Way::Nothing)]).expect("found");
    assert_eq!(nothing.servers, []);
}

#[test]
fn check_tells_the_wrong_lines_of_the_pool_file() {
    let server = crate::common::Server::start();
    let config = server.config_path();
    let check = |pool: &str| {
        fs::write(config.with_file_name("pool"), pool).expect("write");
        let text = fs::read_to_string(&config).expect("read");
        let other = config.with_file_name("balanced.toml");
        fs::write(&other, format!("{text}tlb_pool = \"pool\"\n")).expect("write");
        let tfd = Command::new(env!("CARGO_BIN_EXE_tfd"))
            .args(["check", "--config"])
            .arg(other)
            .output();
        let tfd = tfd.expect("run");
        (
            tfd.status.code(),
            String::from_utf8_lossy(&tfd.stderr).into_owned(),
        )
    };
    let (code, said) = check("# ours\n4 192.0.2.1;10345 weight=2\n");
    assert!(code == Some(0) && !said.contains("pool"), "{said}");
    let (code, said) = check("4 192.0.2.1;10345\n4 192.0.2.1\n6 192.0.2.1;1\n");
    assert_eq!(code, Some(1));
    assert!(
        said.contains("/pool:2: no \"4 ip;port\"") && said.contains("/pool:3: "),
        "{said}"
    );
    assert!(
        said.contains("2 problems, tfd would start without"),
        "{said}"
    );
}

/// A server of the pool that answers HOSTCHECK.
struct Member {
    address: SocketAddr,
    silent: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
    sessions: Arc<AtomicU32>,
}

/// Starts a member: a tfd, which reports its load, or a public server.
fn member(reports: bool) -> Member {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
    let member = Member {
        address: socket.local_addr().expect("address"),
        silent: Arc::default(),
        draining: Arc::default(),
        sessions: Arc::default(),
    };
    let (silent, draining) = (Arc::clone(&member.silent), Arc::clone(&member.draining));
    let sessions = Arc::clone(&member.sessions);
    thread::spawn(move || {
        let mut buffer = [0; 400];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let load = Load {
                sessions: sessions.load(Ordering::Relaxed),
                most: 1000,
            };
            let question = if reports {
                &buffer[..length]
            } else {
                &buffer[..1]
            };
            let answer = probe::answer(question, load, draining.load(Ordering::Relaxed));
            if !silent.load(Ordering::Relaxed) {
                socket.send_to(&answer, from).expect("send");
            }
        }
    });
    member
}

/// The loop that a daemon has around a pool.
struct Loop {
    balancer: Balancer,
    socket: UdpSocket,
    start: Instant,
}

impl Loop {
    fn new(members: &[&Member]) -> Loop {
        let lines: String = members
            .iter()
            .map(|member| format!("4 {};{}\n", member.address.ip(), member.address.port()))
            .collect();
        let pool = pool::parse(format!("rubbish\n{lines}").as_bytes());
        assert_eq!(
            (pool.servers.len(), pool.problems.len()),
            (members.len(), 1)
        );
        let mut balancer = Balancer::default();
        balancer.replace(pool.servers, Duration::ZERO);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
        Loop {
            balancer,
            socket,
            start: Instant::now(),
        }
    }

    /// Asks and listens until it is as wanted.
    #[track_caller]
    fn until(&mut self, what: &str, wanted: impl Fn(&[Summary]) -> bool) {
        let end = Instant::now() + PATIENCE;
        let mut buffer = [0; 400];
        while !wanted(&self.balancer.summary()) {
            assert!(
                Instant::now() < end,
                "{what}: {:?}",
                self.balancer.summary()
            );
            for probe in self.balancer.due(self.start.elapsed(), random) {
                self.socket
                    .send_to(&probe.question, probe.address)
                    .expect("send");
            }
            let wait = self.balancer.wait(self.start.elapsed()).expect("a pool");
            let wait = wait.clamp(Duration::from_millis(1), Duration::from_millis(50));
            self.socket.set_read_timeout(Some(wait)).expect("option");
            if let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
                self.balancer
                    .answered(from, &buffer[..length], self.start.elapsed());
            }
        }
    }

    fn choose(&mut self, count: usize) -> Vec<SocketAddr> {
        let now = self.start.elapsed();
        (0..count)
            .filter_map(|_| self.balancer.choose(now).map(|server| server.address))
            .collect()
    }
}

fn states(summary: &[Summary]) -> Vec<State> {
    summary.iter().map(|server| server.state).collect()
}

#[test]
fn the_dead_are_not_handed_out_and_come_back() {
    let (one, two) = (member(false), member(false));
    two.silent.store(true, Ordering::Relaxed);
    let mut pool = Loop::new(&[&one, &two]);
    pool.until("death", |now| states(now) == [State::Alive, State::Dead]);
    assert_eq!(pool.choose(4), [one.address; 4]);
    one.silent.store(true, Ordering::Relaxed);
    pool.until("death of all", |now| states(now) == [State::Dead; 2]);
    assert_eq!(pool.choose(1), []);
    one.silent.store(false, Ordering::Relaxed);
    two.silent.store(false, Ordering::Relaxed);
    pool.until("return", |now| states(now) == [State::Alive; 2]);
    let turns = pool.choose(4);
    assert!(
        turns[0] != turns[1] && turns[..2] == turns[2..],
        "{turns:?}"
    );
}

#[test]
fn the_least_loaded_is_handed_out_and_the_draining_is_not() {
    let (one, two, public) = (member(true), member(true), member(false));
    one.sessions.store(30, Ordering::Relaxed);
    two.sessions.store(10, Ordering::Relaxed);
    let mut pool = Loop::new(&[&one, &two, &public]);
    pool.until("life", |now| states(now) == [State::Alive; 3]);
    assert_eq!(pool.choose(5), [two.address; 5]);
    two.sessions.store(40, Ordering::Relaxed);
    let full = |now: &Summary| now.load.is_some_and(|load| load.sessions == 40);
    pool.until("report", |now| {
        states(now) == [State::Alive; 3] && full(&now[1])
    });
    assert_eq!(pool.choose(1), [one.address]);
    one.draining.store(true, Ordering::Relaxed);
    pool.until("draining", |now| now[0].state == State::Draining);
    assert!(!pool.choose(100).contains(&one.address));
}
