//! The proxy between plain sockets: out-of-band bytes, datagrams, half-closed
//! connections, and backends that are down, slow or odd.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::common::{Client, PATIENCE, Server, Setup, has_ipv6, own_address, wait_until};

/// A listener, and a proxy in front of it.
fn plain(lines: &str) -> (TcpListener, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let proxy = Server::proxy(listener.local_addr().expect("address"), lines);
    (listener, proxy)
}

/// Whom the proxy brings.
fn accept(listener: &TcpListener) -> TcpStream {
    let limit = Timespec {
        tv_sec: PATIENCE.as_secs() as i64,
        tv_nsec: 0,
    };
    let ready = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&limit)).expect("poll");
    assert_eq!(ready, 1, "nobody comes");
    listener.accept().expect("accept").0
}

/// A connection through the proxy: the client's end and the backend's.
fn pair(listener: &TcpListener, proxy: &Server) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(proxy.address()).expect("connect");
    let backend = accept(listener);
    for socket in [&client, &backend] {
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("timeout");
    }
    (client, backend)
}

fn send_urgent(socket: &TcpStream, byte: u8) {
    assert_eq!(send(socket, &[byte], SendFlags::OOB), Ok(1));
}

/// Waits for the out-of-band byte.
fn read_urgent(socket: &TcpStream) -> u8 {
    let limit = Timespec {
        tv_sec: PATIENCE.as_secs() as i64,
        tv_nsec: 0,
    };
    let ready = poll(&mut [PollFd::new(socket, PollFlags::PRI)], Some(&limit)).expect("poll");
    assert_eq!(ready, 1, "no out-of-band byte");
    let mut byte = [0];
    recv(socket.as_fd(), &mut byte, RecvFlags::OOB).expect("out-of-band byte");
    byte[0]
}

/// Writes until neither the other end nor the proxy takes any more.
fn fill_up(mut socket: &TcpStream) {
    socket.set_nonblocking(true).expect("non-blocking");
    let mut refused = 0;
    while refused < 20 {
        match socket.write(&[0; 65536]) {
            Ok(1..) => refused = 0,
            _ => {
                refused += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn read_text(socket: &mut TcpStream, len: usize) -> String {
    let mut text = vec![0; len];
    socket.read_exact(&mut text).expect("read");
    String::from_utf8(text).expect("text")
}

#[test]
fn out_of_band_bytes_pass_both_ways_and_leave_the_stream_alone() {
    let (listener, proxy) = plain("");
    let (mut client, mut backend) = pair(&listener, &proxy);
    for round in 0..100u8 {
        let (there, back) = match round % 2 {
            0 => (&mut client, &mut backend),
            _ => (&mut backend, &mut client),
        };
        there.write_all(b"before").expect("write");
        send_urgent(there, round);
        assert_eq!(read_urgent(back), round);
        send_urgent(back, !round);
        assert_eq!(read_urgent(there), !round);
        there.write_all(b"behind").expect("write");
        assert_eq!(read_text(back, 12), "beforebehind");
        back.write_all(b"answer").expect("write");
        assert_eq!(read_text(there, 6), "answer");
    }
    send_urgent(&client, 1);
    client.shutdown(Shutdown::Write).expect("shutdown");
    assert_eq!(read_urgent(&backend), 1);
    assert_eq!(backend.read(&mut [0; 8]).expect("end"), 0);
}

#[test]
fn out_of_band_bytes_in_the_middle_of_a_big_transfer_stand_at_their_place() {
    let (listener, proxy) = plain("");
    for upwards in [true, false] {
        let (client, backend) = pair(&listener, &proxy);
        let (mut from, mut to) = if upwards {
            (client, backend)
        } else {
            (backend, client)
        };
        let content: Vec<u8> = (0..8_000_000u32).map(|i| (i ^ (i >> 9)) as u8).collect();
        let sent = content.clone();
        let writer = std::thread::spawn(move || {
            for (at, part) in sent.chunks(500_000).enumerate() {
                from.write_all(part).expect("write");
                if at < 15 {
                    send_urgent(&from, at as u8);
                    // One at a time: whoever reads it says so.
                    from.read_exact(&mut [0]).expect("read");
                }
            }
        });
        let (mut received, mut buffer) = (Vec::new(), vec![0; 65536]);
        for at in 0..15u8 {
            let end = Instant::now() + PATIENCE;
            let wanted = (usize::from(at) + 1) * 500_000;
            to.set_nonblocking(true).expect("non-blocking");
            loop {
                assert!(Instant::now() < end, "no out-of-band byte {at}");
                let mut byte = [0];
                if recv(to.as_fd(), &mut byte, RecvFlags::OOB).is_ok() {
                    assert_eq!(byte[0], at);
                    break;
                }
                // Reading at the mark would step over the byte.
                let left = buffer.len().min(wanted - received.len());
                match to.read(&mut buffer[..left]) {
                    Ok(n) => received.extend_from_slice(&buffer[..n]),
                    Err(_) => std::thread::yield_now(),
                }
            }
            to.set_nonblocking(false).expect("blocking");
            while received.len() < wanted {
                let n = to.read(&mut buffer).expect("read");
                assert!(n > 0, "ended early");
                received.extend_from_slice(&buffer[..n]);
            }
            assert_eq!(
                received.len(),
                wanted,
                "the system stops at the mark, which is there"
            );
            to.write_all(b"x").expect("write");
        }
        let mut rest = vec![0; content.len() - received.len()];
        to.read_exact(&mut rest).expect("read");
        received.extend(rest);
        assert!(received == content);
        writer.join().expect("writer");
    }
}

#[test]
fn the_end_of_one_direction_leaves_the_other_open() {
    let (listener, proxy) = plain("");
    for upwards in [true, false] {
        let (client, backend) = pair(&listener, &proxy);
        let (mut first, mut second) = if upwards {
            (client, backend)
        } else {
            (backend, client)
        };
        first.write_all(b"last words").expect("write");
        first.shutdown(Shutdown::Write).expect("shutdown");
        let mut all = String::new();
        second.read_to_string(&mut all).expect("read");
        assert_eq!(all, "last words");
        std::thread::sleep(Duration::from_millis(100));
        second.write_all(&[9; 300_000]).expect("write");
        drop(second);
        let mut back = Vec::new();
        first.read_to_end(&mut back).expect("read");
        assert!(back == [9; 300_000]);
    }
}

#[test]
fn a_connection_that_breaks_breaks_the_other() {
    let (listener, mut proxy) = plain("");
    let (client, mut backend) = pair(&listener, &proxy);
    let linger = rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO));
    linger.expect("linger");
    drop(client);
    assert!(matches!(backend.read(&mut [0; 8]), Ok(0) | Err(_)));
    proxy.wait_for_log("proxy end peer=127.0.0.1:");
}

#[test]
fn a_backend_that_is_down_ends_the_client_with_a_line_in_the_log() {
    let closed = TcpListener::bind((own_address(), 0)).and_then(|l| l.local_addr());
    let closed = closed.expect("address");
    let mut proxy = Server::proxy(closed, "");
    Client::knock(proxy.address()).expect_closed();
    proxy.wait_for_log(&format!("backend={closed} error=\"Connection refused"));
    assert!(
        proxy
            .log()
            .iter()
            .any(|line| line.contains("proxy failed peer=127.0.0.1:"))
    );
    let back = TcpListener::bind(closed).expect("listen");
    let (mut client, mut backend) = pair(&back, &proxy);
    client.write_all(b"back").expect("write");
    assert_eq!(read_text(&mut backend, 4), "back");
}

#[test]
fn a_backend_that_does_not_answer_is_waited_for_no_longer_than_said() {
    // A full queue of connections: the system answers no further one.
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    );
    let socket = socket.expect("socket");
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind");
    rustix::net::listen(&socket, 0).expect("listen");
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().expect("address");
    let _queued = TcpStream::connect(address).expect("connect");
    let mut proxy = Server::with(Setup {
        server: "handshake_timeout = 0.5".to_owned(),
        tf: format!("proxy_to = \"{address}\""),
        ..Setup::default()
    });
    let begin = Instant::now();
    Client::knock(proxy.address()).expect_closed();
    let waited = begin.elapsed();
    assert!(waited > Duration::from_millis(400), "{waited:?}");
    proxy.wait_for_log("error=\"timed out\"");
}

#[test]
fn nobody_notices_a_backend_that_accepts_and_says_nothing() {
    let (listener, mut proxy) = plain("");
    let (stuck, _silent) = pair(&listener, &proxy);
    fill_up(&stuck);
    let (mut client, mut backend) = pair(&listener, &proxy);
    client.write_all(b"hello").expect("write");
    assert_eq!(read_text(&mut backend, 5), "hello");
    let relays = || {
        crate::common::descendants(proxy.pid())
            .iter()
            .filter(|(_, n)| n == "tfd-relay")
            .count()
    };
    assert_eq!(relays(), 2);
    let linger = rustix::net::sockopt::set_socket_linger(&stuck, Some(Duration::ZERO));
    linger.expect("linger");
    drop(stuck);
    wait_until("the stuck relay has ended", || relays() == 1);
    proxy.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(proxy.wait_for_end(), Some(0));
}

#[test]
fn a_relay_that_waits_costs_no_time() {
    let (listener, proxy) = plain("");
    let (mut client, backend) = pair(&listener, &proxy);
    // Half closed one way, stuck the other.
    client.shutdown(Shutdown::Write).expect("shutdown");
    fill_up(&backend);
    let all = crate::common::descendants(proxy.pid());
    let (pid, _) = all
        .into_iter()
        .find(|(_, name)| name == "tfd-relay")
        .expect("relay");
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .expect("fields")
            .split(' ')
            .collect();
        fields[12].parse::<u64>().expect("utime") + fields[13].parse::<u64>().expect("stime")
    };
    let before = ticks();
    std::thread::sleep(Duration::from_millis(500));
    assert!(ticks() - before < 10, "it spins");
    drop(backend);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).expect("read");
    assert!(rest.len() > 65536);
}

/// A UDP backend: what it is asked comes back with what `answer` makes of it.
fn udp_backend(at: &str, answer: fn(&UdpSocket, &[u8], SocketAddr)) -> u16 {
    let socket = UdpSocket::bind(format!("{at}:0")).expect("bind");
    let port = socket.local_addr().expect("address").port();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((len, asker)) = socket.recv_from(&mut buffer) {
            answer(&socket, &buffer[..len], asker);
        }
    });
    port
}

/// An asker of the proxy.
fn asker(proxy: &Server) -> UdpSocket {
    let local: IpAddr = if proxy.address().is_ipv4() {
        [127, 0, 0, 1].into()
    } else {
        [0, 0, 0, 0, 0, 0, 0, 1].into()
    };
    let socket = UdpSocket::bind((local, 0)).expect("bind");
    socket.connect(proxy.address()).expect("connect");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    socket
}

fn echo(socket: &UdpSocket, text: &[u8], asker: SocketAddr) {
    match text {
        b"never" => {}
        b"twice" => {
            socket.send_to(b"1", asker).expect("send");
            socket.send_to(b"2", asker).expect("send");
        }
        b"long" => drop(socket.send_to(&[1; 513], asker).expect("send")),
        b"late" => {
            std::thread::sleep(Duration::from_millis(300));
            socket.send_to(b"late", asker).expect("send");
        }
        text => drop(
            socket
                .send_to(&[b"re: ", text].concat(), asker)
                .expect("send"),
        ),
    }
}

#[test]
fn a_reload_loses_no_question_by_udp_and_no_answer() {
    let port = udp_backend("127.0.0.1", echo);
    let mut proxy = Server::proxy(format!("127.0.0.1:{port}"), "listen = [\"0.0.0.0:0\"]");
    let to = format!("127.0.0.5:{}", proxy.address().port());
    let asker = UdpSocket::bind("127.0.0.1:0").expect("bind");
    asker.connect(to).expect("connect");
    asker.set_read_timeout(Some(PATIENCE)).expect("timeout");
    asker.send(b"late").expect("send");
    std::thread::sleep(Duration::from_millis(100));
    for _ in 0..3 {
        proxy.signal(nix::sys::signal::Signal::SIGHUP);
        for _ in 0..20 {
            asker.send(b"q").expect("send");
            std::thread::sleep(Duration::from_millis(2));
        }
        proxy.wait_for_log("configuration read again");
    }
    let mut answer = [0; 600];
    let mut answers: Vec<Vec<u8>> = Vec::new();
    while answers.len() < 61 {
        let len = asker.recv(&mut answer).expect("an answer");
        answers.push(answer[..len].to_vec());
    }
    assert_eq!(
        answers.iter().filter(|answer| *answer == b"late").count(),
        1,
        "{answers:?}"
    );
}

#[test]
fn questions_by_udp_are_answered_once_and_to_who_asked() {
    let v6 = has_ipv6().then_some("[::1]:0");
    for listen in ["127.0.0.1:0"].into_iter().chain(v6) {
        let port = udp_backend("127.0.0.1", echo);
        let proxy = Server::proxy(
            format!("127.0.0.1:{port}"),
            &format!("listen = [\"{listen}\"]\nproxy_from = [\"127.0.0.2\"]"),
        );
        let (one, other) = (asker(&proxy), asker(&proxy));
        let mut answer = [0; 600];
        one.send(b"a").expect("send");
        other.send(b"b").expect("send");
        let len = other.recv(&mut answer).expect("answer");
        assert_eq!(&answer[..len], b"re: b");
        let len = one.recv(&mut answer).expect("answer");
        assert_eq!(&answer[..len], b"re: a");
        for text in [&b"never"[..], b"long", b"twice", &[7; 513], b""] {
            one.send(text).expect("send");
        }
        let mut answers: Vec<Vec<u8>> = (0..2)
            .map(|_| {
                one.recv(&mut answer)
                    .map(|len| answer[..len].to_vec())
                    .expect("answer")
            })
            .collect();
        answers.sort();
        assert_eq!(answers, [&b"1"[..], b"re: "]);
        one.set_read_timeout(Some(Duration::from_millis(200)))
            .expect("timeout");
        assert!(one.recv(&mut answer).is_err(), "nothing else comes");
    }
}

#[test]
fn a_flood_of_questions_without_answer_stops_nobody() {
    let port = udp_backend("127.0.0.1", echo);
    let proxy = Server::proxy(format!("127.0.0.1:{port}"), "");
    let flooder = asker(&proxy);
    for _ in 0..5000 {
        let _ = flooder.send(b"never");
    }
    let one = asker(&proxy);
    one.set_read_timeout(Some(Duration::from_millis(200)))
        .expect("timeout");
    let mut answer = [0; 16];
    wait_until("an answer", || {
        one.send(b"a").expect("send");
        one.recv(&mut answer).is_ok()
    });
    assert_eq!(&answer[..5], b"re: a");
    proxy.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("an answer after the reload", || {
        one.send(b"b").expect("send");
        one.recv(&mut answer)
            .is_ok_and(|len| &answer[..len] == b"re: b")
    });
}

#[test]
fn a_backend_by_name_and_by_ipv6_is_found() {
    let v6 = has_ipv6();
    let more = if v6 { ", \"[::1]:0\"" } else { "" };
    let backends = [("127.0.0.1", "localhost")].into_iter();
    for (at, to) in backends.chain(v6.then_some(("[::1]", "[::1]"))) {
        let listener = TcpListener::bind(format!("{at}:0")).expect("listen");
        let port = listener.local_addr().expect("address").port();
        let proxy = Server::with(Setup {
            tf: format!("listen = [\"127.0.0.1:0\"{more}]\nproxy_to = \"{to}:{port}\""),
            ..Setup::default()
        });
        for address in proxy.addresses() {
            let mut client = TcpStream::connect(address).expect("connect");
            let mut backend = accept(&listener);
            client.write_all(b"hello").expect("write");
            backend.set_read_timeout(Some(PATIENCE)).expect("timeout");
            assert_eq!(read_text(&mut backend, 5), "hello", "{to}");
        }
    }
}

#[test]
fn a_name_without_address_is_told_and_its_clients_are_refused() {
    let mut proxy = Server::with(Setup {
        server: "handshake_timeout = 0.3".to_owned(),
        tf: "proxy_to = \"no-such-host.invalid:1\"".to_owned(),
        ..Setup::default()
    });
    proxy.wait_for_log("can't look up proxy_to name=no-such-host.invalid");
    Client::knock(proxy.address()).expect_closed();
    proxy.wait_for_log("error=\"its name has no address\"");
}
