//! Probes: the out-of-band byte, HOSTCHECK, PROCHECK and SOCKCHECK by UDP, and
//! TLB both ways.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::common::{
    Client, PATIENCE, Server, Setup, descendants, has_ipv6, own_address, pids, reply_for,
    wait_until,
};

/// Somebody who asks by UDP.
struct Prober {
    socket: UdpSocket,
    server: SocketAddr,
}

impl Prober {
    fn new(server: SocketAddr) -> Prober {
        let own = if server.is_ipv4() {
            "127.0.0.1:0"
        } else {
            "[::1]:0"
        };
        let socket = UdpSocket::bind(own).expect("socket");
        Prober { socket, server }
    }

    /// The answer.
    #[track_caller]
    fn ask(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        self.ask_for(datagram, PATIENCE)
    }

    /// The answer, or nothing when none comes in a moment.
    fn try_ask(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        self.ask_for(datagram, Duration::from_millis(500))
    }

    fn ask_for(&self, datagram: &[u8], limit: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(limit)).expect("timeout");
        self.socket.send_to(datagram, self.server).expect("send");
        let mut buffer = [0; 512];
        let (len, from) = self.socket.recv_from(&mut buffer).ok()?;
        assert_eq!(from, self.server);
        Some(buffer[..len].to_vec())
    }

    fn about(&self, what: u8, key: &str) -> Vec<u8> {
        self.ask(&[&[what], key.as_bytes()].concat())
            .expect("answer")
    }
}

fn key_of(client: &mut Client) -> String {
    client
        .ask("PROCKEY")
        .strip_prefix("OK ")
        .expect("key")
        .to_owned()
}

/// Sends urgent bytes in one burst.
fn urge(client: &mut Client, bytes: &[u8]) {
    for byte in bytes {
        send(client.wire.socket(), &[*byte], SendFlags::OOB).expect("send");
    }
}

/// The urgent byte that comes back.
fn echoed(client: &mut Client) -> u8 {
    let mut byte = [0];
    wait_until("the byte comes back", || {
        matches!(
            recv(client.wire.socket(), &mut byte, RecvFlags::OOB),
            Ok((1.., _))
        )
    });
    byte[0]
}

#[test]
fn an_urgent_byte_comes_back_at_once_and_is_counted() {
    let server = Server::start();
    let mut client = server.connect();
    let prober = Prober::new(server.address());
    let key = key_of(&mut client);
    assert_eq!(prober.about(2, &key), b"\x010\0");
    for (round, byte) in [0_u8, 7, 255, 7].into_iter().enumerate() {
        urge(&mut client, &[byte]);
        assert_eq!(echoed(&mut client), byte);
        assert_eq!(
            prober.about(2, &key),
            format!("\x01{}\0", round + 1).as_bytes()
        );
        client.expect_alive();
    }
}

#[test]
fn urgent_bytes_in_the_middle_of_a_transfer_do_not_harm_it() {
    let server = Server::start();
    let content: Vec<u8> = (0..6_000_000u32).map(|i| (i >> 3) as u8).collect();
    server.write("f", &content);
    let mut client = server.connect();
    client.hp_open("GET", "f", &[0, 65536]);
    let mut got = Vec::new();
    loop {
        let (header, payload) = client.receive_frame();
        if header == 0 {
            break;
        }
        got.extend_from_slice(&payload);
        if (2_000_000..2_065_536).contains(&got.len()) {
            urge(&mut client, b"x");
        }
    }
    client.wire.write_i64(-127).expect("fin");
    assert_eq!(client.wire.read_i64().expect("fin"), -127);
    assert!(got == content);
    client.hp_open("PUT", "up", &[0, 65536]);
    for (index, part) in content.chunks(60_000).enumerate() {
        client.send_frame(part);
        // A second one could overtake the data before the first.
        if index == 45 {
            urge(&mut client, b"y");
            assert_eq!(echoed(&mut client), b'y');
        }
    }
    client.wire.write_i64(0).expect("end");
    assert_eq!(client.wire.read_i64().expect("fin"), -127);
    client.wire.write_i64(-127).expect("fin");
    assert!(server.read("up") == content);
    client.expect_alive();
}

/// How often the thread for urgent bytes of the only session has slept; `None`
/// where there is none yet.
fn rests(server: &Server) -> Option<u64> {
    let session = *pids(server, "tfd-session").first()?;
    let tasks = fs::read_dir(format!("/proc/{session}/task")).expect("tasks");
    tasks.filter_map(Result::ok).find_map(|task| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let word = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        (word("Name:")?.trim() == "tfd-oob")
            .then(|| word("voluntary_ctxt_switches:")?.trim().parse().ok())?
    })
}

#[test]
fn an_urgent_byte_comes_back_while_the_session_is_busy() {
    let server = Server::start();
    let file = fs::File::create(server.root().join("long")).expect("create");
    file.set_len(1 << 40).expect("length");
    let mut client = server.connect();
    client.send("SHA256 long");
    for byte in [1, 2] {
        urge(&mut client, &[byte]);
        assert_eq!(echoed(&mut client), byte);
    }
    assert!(!client.wire.has_input(), "the session was not busy");
    // It would be for an hour.
    server.signal(Signal::SIGKILL);
}

#[test]
fn the_thread_for_urgent_bytes_sleeps_while_data_arrives() {
    let server = Server::start();
    let mut client = server.connect();
    client.hp_open("PUT", "up", &[0, 65536]);
    wait_until("the thread is there", || {
        rests(&server).is_some_and(|rests| rests > 0)
    });
    let before = rests(&server).expect("a thread");
    for _ in 0..100 {
        client.send_frame(&[7; 60_000]);
    }
    client.wire.write_i64(0).expect("end");
    assert_eq!(client.wire.read_i64().expect("fin"), -127);
    let after = rests(&server).expect("a thread");
    assert!(
        after < before + 5,
        "it slept {before} times before and {after} after"
    );
    client.wire.write_i64(-127).expect("fin");
    client.expect_alive();
}

#[test]
fn a_burst_of_urgent_bytes_never_enters_the_data() {
    let server = Server::start();
    let mut client = server.connect();
    let prober = Prober::new(server.address());
    let key = key_of(&mut client);
    for round in 1..=10 {
        urge(&mut client, &[b'!'; 40]);
        client.expect_alive();
        client.send_file("f", true, format!("round {round}").as_bytes());
    }
    urge(&mut client, b"z");
    client.expect_alive();
    let reply = prober.about(2, &key);
    let count = String::from_utf8_lossy(&reply[1..reply.len() - 1]).parse::<u32>();
    assert!(
        (11..=401).contains(&count.expect("number")),
        "{}",
        reply.escape_ascii()
    );
}

#[test]
fn probes_tell_of_the_host_and_of_sessions_by_their_keys() {
    let server = Server::start();
    let prober = Prober::new(server.address());
    assert_eq!(prober.ask(b"\x00"), Some(vec![1]));
    assert_eq!(prober.ask(b"\x00whatever"), Some(vec![1]));
    assert_eq!(prober.ask(b""), Some(vec![1]));
    let mut client = server.connect();
    let key = key_of(&mut client);
    let bare = key.trim_start_matches('/');
    for spelled in [
        key.as_str(),
        bare,
        &format!("{key}\0"),
        &format!("{bare}\0"),
    ] {
        assert_eq!(prober.about(1, spelled), [1], "{spelled:?}");
    }
    let other = format!("{}0", "f".repeat(32));
    for wrong in [format!("0{}", &bare[1..]), format!("{bare}1"), other] {
        if wrong != bare {
            assert_eq!(prober.about(1, &wrong), [0], "{wrong}");
        }
    }
    for odd in [&b"\x01"[..], b"\x02", b"\x01/", b"\x0141\0", &[1; 34]] {
        assert_eq!(prober.try_ask(odd), None, "{odd:?}");
    }
    client.send("END");
    client.expect_closed();
    wait_until("the session is dead", || prober.about(1, &key) == [0]);
    assert_eq!(prober.about(2, &key), [0]);
}

#[test]
fn a_session_is_dead_within_a_second_however_it_ended() {
    let server = Server::start();
    let prober = Prober::new(server.address());
    // A machine may be busy with something else once or twice.
    let mut times: Vec<Duration> = (0..5)
        .map(|_| {
            let mut killed = server.connect();
            let mut dropped = server.connect();
            let keys = [key_of(&mut killed), key_of(&mut dropped)];
            for pid in pids(&server, "tfd-session") {
                kill(Pid::from_raw(pid as i32), Signal::SIGKILL).expect("kill");
            }
            let begin = Instant::now();
            wait_until("both dead", || {
                keys.iter().all(|key| prober.about(1, key) == [0])
            });
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    assert!(times[2] < Duration::from_secs(1), "{times:?}");
}

#[test]
fn datagrams_that_make_no_sense_get_no_answer_and_harm_nobody() {
    let server = Server::start();
    let mut client = server.connect();
    let prober = Prober::new(server.address());
    let quick = |datagram: &[u8]| {
        prober
            .socket
            .send_to(datagram, server.address())
            .expect("send");
    };
    for first in [4_u8, 5, 77, 255] {
        quick(&[first]);
        quick(&[&[first], &[b'x'; 399][..]].concat());
    }
    quick(&[0; 401]);
    quick(&[1; 60_000]);
    for len in 0..200 {
        quick(&vec![9; len + 1]);
    }
    // Some of the questions may be lost in the flood, but no other is answered.
    wait_until("an answer", || prober.try_ask(b"\x00") == Some(vec![1]));
    assert_eq!(Prober::new(server.address()).try_ask(b"\x04"), None);
    client.expect_alive();
}

#[test]
fn a_flood_of_questions_gets_no_more_than_was_sent() {
    let server = Server::with(Setup {
        tf: "tlb_pool = \"pool\"".into(),
        ..Setup::default()
    });
    let prober = Prober::new(server.address());
    for _ in 0..2000 {
        prober
            .socket
            .send_to(b"\x03", server.address())
            .expect("send");
    }
    let (mut answers, mut bytes) = (0, 0);
    let mut buffer = [0; 512];
    prober
        .socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("timeout");
    while let Ok((len, _)) = prober.socket.recv_from(&mut buffer) {
        answers += 1;
        bytes += len;
    }
    assert!(bytes <= 2 * 2000, "{answers} answers of {bytes} bytes");
    let mut client = server.connect();
    client.expect_alive();
    let another = Prober::new(server.address());
    wait_until("an answer", || another.try_ask(b"\x00") == Some(vec![1]));
}

#[test]
fn probes_are_answered_on_every_listener_from_the_address_they_came_to() {
    let more = if has_ipv6() { ", \"[::1]:0\"" } else { "" };
    let listen = format!("listen = [\"0.0.0.0:0\"{more}]");
    let server = Server::with(Setup {
        tf: listen,
        ..Setup::default()
    });
    let any = server.addresses()[0];
    for address in ["127.0.0.1", "127.0.0.9"] {
        let address = format!("{address}:{}", any.port())
            .parse()
            .expect("address");
        assert_eq!(
            Prober::new(address).ask(b"\x00"),
            Some(vec![1]),
            "{address}"
        );
    }
    for v6 in &server.addresses()[1..] {
        assert_eq!(Prober::new(*v6).ask(b"\x00"), Some(vec![1]));
    }
}

#[test]
fn one_dialect_spells_a_count_with_a_space_the_other_with_a_nul() {
    let server = Server::with(Setup {
        tf: "dialect = \"document\"".into(),
        ..Setup::default()
    });
    let mut client = server.connect();
    let key = key_of(&mut client);
    assert_eq!(Prober::new(server.address()).about(2, &key), b"\x01 0");
}

#[test]
fn a_server_that_is_about_to_end_says_that_it_is_not_ready() {
    let server = Server::with(Setup {
        server: "stop_grace = 600".into(),
        ..Setup::default()
    });
    server.write("f", vec![0; 3_000_000]);
    let mut client = server.connect();
    client.send("RCVFILE 0 f");
    client.receive();
    let prober = Prober::new(server.address());
    server.signal(Signal::SIGTERM);
    wait_until("not ready", || prober.ask(b"\x00") == Some(vec![0]));
}

/// A server with a pool of this text.
fn balancing(pool: &str) -> Server {
    let server = Server::with(Setup {
        tf: "tlb_pool = \"pool\"".into(),
        ..Setup::default()
    });
    set_pool(&server, pool);
    server
}

fn set_pool(server: &Server, pool: &str) {
    let path = server.config_path().with_file_name("pool");
    fs::write(path.with_extension("new"), pool).expect("write");
    fs::rename(path.with_extension("new"), path).expect("rename");
}

#[test]
fn a_server_whose_answers_by_udp_are_lost_is_named_while_it_accepts_connections() {
    let listener = std::net::TcpListener::bind((own_address(), 0)).expect("listen");
    let address = listener.local_addr().expect("address");
    let dead = "4 127.0.0.1;1";
    let tuple = format!("4 {};{}", address.ip(), address.port());
    let server = balancing(&format!("{dead}\n{tuple}\n"));
    let mut client = server.connect();
    // Before their first question is overdue both may be named.
    wait_until("it alone is named", || {
        (0..4).all(|_| client.ask("TLB") == format!("OK {tuple}"))
    });
    drop(listener);
    wait_until("none is named", || client.ask("TLB") == reply_for(52));
}

#[test]
fn clients_are_sent_to_servers_that_are_alive_and_to_others_when_one_dies() {
    let mut backends: Vec<Server> = (0..2).map(|_| Server::start()).collect();
    let ports: Vec<u16> = backends
        .iter()
        .map(|backend| backend.address().port())
        .collect();
    let tuple = |port: u16| format!("4 127.0.0.1;{port}");
    let dead = "4 127.0.0.1;1\nrubbish\n6 ::1;1\n";
    let server = balancing(&format!("{}\n{dead}{}", tuple(ports[0]), tuple(ports[1])));
    let mut client = server.connect();
    let prober = Prober::new(server.address());
    let mut told = Vec::new();
    wait_until("both are handed out, and no other", || {
        told = (0..8).map(|_| client.ask("TLB")).collect();
        let replies = [ports[0], ports[1]].map(|port| format!("OK {}", tuple(port)));
        replies
            .iter()
            .all(|reply| told.iter().filter(|told| *told == reply).count() == 4)
    });
    let spelled = |port: &u16| format!("\x01{}\0", tuple(*port)).into_bytes();
    let either: Vec<Vec<u8>> = ports.iter().map(spelled).collect();
    // One that is slow to answer may be thought dead for a moment.
    wait_until("one of them by UDP", || {
        either.contains(&prober.ask(b"\x03").expect("answer"))
    });
    let last = backends.pop().expect("backend");
    drop(last);
    wait_until("the dead one is not handed out", || {
        (0..6).all(|_| client.ask("TLB") == format!("OK {}", tuple(ports[0])))
    });
    backends.clear();
    wait_until("none is left", || client.ask("TLB") == reply_for(52));
    assert_eq!(prober.ask(b"\x03"), Some(vec![0]));
    client.expect_alive();
}

#[test]
fn a_pool_file_that_changes_is_read_again() {
    let backend = Server::start();
    let server = balancing("");
    let mut client = server.connect();
    client.expect("TLB", 52);
    let tuple = format!("4 127.0.0.1;{}", backend.address().port());
    set_pool(&server, &tuple);
    wait_until("the new server", || {
        client.ask("TLB") == format!("OK {tuple}")
    });
    fs::remove_file(server.config_path().with_file_name("pool")).expect("remove");
    wait_until("no server", || client.ask("TLB") == reply_for(52));
}

#[test]
fn a_session_is_still_sent_to_servers_after_a_reload_and_a_new_one_after_a_loss() {
    let backend = Server::start();
    let tuple = format!("4 127.0.0.1;{}", backend.address().port());
    let mut server = balancing(&tuple);
    let reply = format!("OK {tuple}");
    let mut client = server.connect();
    wait_until("a server", || client.ask("TLB") == reply);
    let udp = |server: &Server| {
        let all = descendants(server.pid()).into_iter();
        let udp = all.filter(|(_, name)| name == "tfd-udp");
        udp.map(|(pid, _)| pid).collect::<Vec<_>>()
    };
    let first = udp(&server);
    server.signal(Signal::SIGHUP);
    server.wait_for_log("configuration read again");
    wait_until("the same server", || client.ask("TLB") == reply);
    assert_eq!(udp(&server).len(), 2, "the old one has a session left");
    drop(client);
    wait_until("its end", || {
        udp(&server).iter().all(|pid| !first.contains(pid))
    });

    for helper in ["tfd-udp", "tfd-pool"] {
        let all = descendants(server.pid());
        let found = all.into_iter().find(|(_, name)| name == helper);
        let pid = Pid::from_raw(found.expect(helper).0 as i32);
        // One of a process that was replaced may have ended by itself.
        let _ = kill(pid, Signal::SIGKILL);
        wait_until("a session with a pool", || {
            server.connect().ask("TLB") == reply
        });
    }
}

#[test]
fn without_a_pool_there_is_nobody_to_hand_out() {
    let server = Server::start();
    server.connect().expect("TLB", 52);
    assert_eq!(Prober::new(server.address()).ask(b"\x03"), Some(vec![0]));
}

#[test]
fn the_udp_process_comes_back_when_it_was_killed() {
    let mut server = Server::start();
    std::thread::sleep(Duration::from_millis(1100));
    let udp = descendants(server.pid())
        .into_iter()
        .find(|(_, name)| name == "tfd-udp");
    kill(Pid::from_raw(udp.expect("udp").0 as i32), Signal::SIGKILL).expect("kill");
    server.wait_for_log("ended unasked");
    let prober = Prober::new(server.address());
    let end = Instant::now() + PATIENCE;
    while prober.try_ask(b"\x00").is_none() {
        assert!(Instant::now() < end, "no answer any more");
    }
    server.connect().expect_alive();
}
