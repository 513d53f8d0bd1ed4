//! Clients that send header and body by two writes and leave Nagle's algorithm
//! on, as the public Java, Python and C clients do: the second write goes out
//! once the first is acknowledged, which a system does after some 40 ms unless
//! it is asked to at once.

use std::time::{Duration, Instant};

use rustix::net::{SendFlags, send};

use crate::common::{Client, HASH, Server, Setup, VERSION};

/// Far below the 40 ms of a delayed acknowledgement.
const AT_ONCE: Duration = Duration::from_millis(20);

/// How often something is tried that the machine may have been too busy for.
const TRIES: usize = 20;

/// The commands, each with the raw units that follow it at once.
const REQUESTS: &[(&str, &[&[u8]])] = &[
    ("END", &[]),
    ("ECHO text", &[]),
    ("DTOF 1600000000", &[]),
    ("FTOD 2020-09-13 12:26:40", &[]),
    ("KEEPALIVE 1 60 | 5 | 3", &[]),
    ("NIGMA 16", &[]),
    ("LOGIN user password", &[]),
    ("INJAIL token | d", &[]),
    ("RMSECDIR token | d", &[]),
    ("CHMOD f 644", &[]),
    ("CHOWN f nobody nogroup", &[]),
    ("COPY f | g", &[]),
    ("CPDIR d | e", &[]),
    ("RENAM f | g", &[]),
    ("XCOPY new f | d", &[]),
    ("XCPDIR new d | d", &[]),
    ("XDEL d f", &[]),
    ("XRMDIR d f", &[]),
    ("ADDNTFY token d", &[]),
    ("SNDFILE 1 f", &[]),
    ("RCVFILE 0 f", &[]),
    ("PUT f \0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0", &[]),
    ("GET f \0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0", &[]),
    (
        "PUTCAN f \0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\x01",
        &[],
    ),
    (
        "GETCAN f \0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\x01",
        &[],
    ),
    ("SUP f", &[&[0, 0, 0, 1], b"x", &[0; 4]]),
    ("INTWRITE f", &[&[b'0'; 66], &[0, 0, 0, 1], b"x"]),
    ("XS1_READV2", &[&[0; 12]]),
    ("XS1_WRITEV2", &[&[0; 12]]),
    ("LSV2 d@||@d/list", &[]),
    ("LSRV2 d@||@d/list", &[]),
    ("NETLOCK 9 f", &[]),
    ("NETLOCK_TRY 9 f", &[]),
    ("NETUNLOCK 0", &[]),
    ("NETMUTACQ_TRY f token", &[]),
    ("NETMUTREL f token", &[]),
];

/// The words of the table of commands, as they stand there.
fn words() -> Vec<&'static str> {
    let rows = include_str!("../../src/tf/command/mod.rs").lines();
    let words: Vec<&str> = rows
        .filter_map(|row| row.strip_prefix("    \"")?.split_once('"'))
        .map(|(word, _)| word)
        .collect();
    // Each row ends with what runs it.
    let rows = include_str!("../../src/tf/command/mod.rs").lines();
    let runs = rows.filter(|row| row.starts_with("        => ")).count();
    assert_eq!(words.len(), runs, "{words:?}");
    for word in ["END", "SDOWN", "XS1_WRITEV2"] {
        assert!(words.contains(&word), "{words:?}");
    }
    words
}

#[test]
fn each_request_here_is_one_of_the_table() {
    let words = words();
    for (request, _) in REQUESTS {
        let word = request.split(' ').next().unwrap_or_default();
        assert!(words.contains(&word), "{word} is no command");
    }
}

/// A client with Nagle's algorithm.
fn ordinary(client: Client) -> Client {
    client.wire.socket().set_nodelay(false).expect("nagle");
    client
}

fn connect(server: &Server) -> Client {
    ordinary(Client::connect_with_key(server.address(), &[7; 32]))
}

/// Sends units by a write each.
fn send_units(client: &mut Client, units: &[&[u8]]) {
    for unit in units {
        let sent = client.wire.write_part(0, &mut unit.to_vec());
        sent.expect("send");
    }
}

fn send_message(client: &mut Client, body: &[u8]) {
    send_units(client, &[&(body.len() as u32).to_be_bytes(), body]);
}

/// How long the first byte of the answer takes, or the end.
fn time(client: &mut Client, body: &[u8], units: &[&[u8]]) -> Duration {
    let begin = Instant::now();
    send_message(client, body);
    send_units(client, units);
    let _ = client.wire.link().wait_for_input(false);
    begin.elapsed()
}

/// The median of how long some round trips take.
fn median(client: &mut Client, mut trip: impl FnMut(&mut Client)) -> Duration {
    let mut times: Vec<Duration> = (0..15)
        .map(|_| {
            let begin = Instant::now();
            trip(client);
            begin.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

fn echo(client: &mut Client) {
    send_message(client, b"ECHO text");
    assert_eq!(client.reply(), "text");
}

#[test]
fn no_command_waits_for_a_delayed_acknowledgement() {
    let server = Server::start();
    server.mkdir("d");
    let mut late = Vec::new();
    for word in words() {
        let begins = |(request, _): &&(&str, &[&[u8]])| request.split(' ').next() == Some(word);
        let plain = format!("{word} f");
        let (request, units) = REQUESTS
            .iter()
            .find(begins)
            .map_or((plain.as_str(), &[][..]), |r| *r);
        let mut took = Duration::MAX;
        for _ in 0..TRIES {
            server.write("f", "content");
            let mut client = connect(&server);
            (0..4).for_each(|_| echo(&mut client));
            took = took.min(time(&mut client, request.as_bytes(), units));
            if took < AT_ONCE {
                break;
            }
        }
        if took >= AT_ONCE {
            late.push((word, took));
        }
    }
    assert!(late.is_empty(), "{late:?}");
}

#[test]
fn nor_does_the_handshake() {
    let server = Server::start();
    let handshake = || {
        let begin = Instant::now();
        let mut client = ordinary(Client::knock(server.address()));
        send_message(&mut client, VERSION.as_bytes());
        assert_eq!(client.reply(), "OK");
        send_message(&mut client, &Client::key_block(&[7; 32]));
        assert_eq!(client.reply(), "OK");
        client.wire.encipher(&[7; 32]);
        send_message(&mut client, HASH.as_bytes());
        assert_eq!(client.reply(), "OK");
        echo(&mut client);
        begin.elapsed()
    };
    // Four messages, of which each would wait.
    let quickest = (0..TRIES).map(|_| handshake()).min();
    assert!(quickest < Some(4 * AT_ONCE), "{quickest:?}");
}

#[test]
fn nor_do_the_parts_of_a_file() {
    let server = Server::start();
    let mut client = connect(&server);
    send_message(&mut client, b"SNDFILE 0 sent");
    assert_eq!(client.reply(), "CONT");
    let part = [&b"CONT "[..], &[b'x'; 5000]].concat();
    let took = median(&mut client, |client| {
        send_message(client, &part);
        assert_eq!(client.reply(), "CONT");
    });
    assert!(took < AT_ONCE, "SNDFILE {took:?}");
    send_message(&mut client, b"OK");
    assert_eq!(client.reply(), "OK");

    // Nobody answers these, so that each takes as long as the one before it.
    for size in [1, 100, 4088, 5000, 9000] {
        for (word, header) in [("SUP", 4), ("PUT", 8), ("PUTCAN", 8)] {
            let mut took = Duration::MAX;
            for _ in 0..TRIES {
                took = took.min(send_frames(&server, word, header, size));
                if took < AT_ONCE {
                    break;
                }
            }
            assert!(took < AT_ONCE, "{word} {size} {took:?}");
        }
    }
}

/// Sends 16 frames; how long each takes.
fn send_frames(server: &Server, word: &str, header: usize, size: usize) -> Duration {
    const FRAMES: u32 = 16;
    let mut client = connect(server);
    match word {
        "SUP" => send_message(&mut client, b"SUP f"),
        "PUT" => drop(client.hp_open(word, "f", &[0, 65_536])),
        _ => drop(client.hp_open(word, "f", &[0, 65_536, i64::from(FRAMES)])),
    }
    let frame = vec![b'x'; size];
    let length = (size as u64).to_be_bytes();
    let begin = Instant::now();
    for _ in 0..FRAMES {
        send_units(&mut client, &[&length[8 - header..], &frame]);
    }
    if word == "PUTCAN" {
        assert_eq!(client.wire.read_i64().expect("window"), -3);
    }
    send_units(&mut client, &[&[0; 8][..header]]);
    match word {
        "SUP" => assert_eq!(client.wire.read_i32().expect("result"), 0),
        "PUT" => assert_eq!(client.wire.read_i64().expect("end"), -127),
        _ => echo(&mut client),
    }
    begin.elapsed() / FRAMES
}

#[test]
fn nor_do_answers_to_notifications() {
    let server = Server::start();
    server.mkdir("d");
    for n in 0..20 {
        server.write(&format!("d/n{n}"), "");
    }
    let mut client = connect(&server);
    send_message(&mut client, b"ADDNTFY n d");
    assert_eq!(client.reply(), "OK");
    send_message(&mut client, b"STARTNTFY 0.001");
    let took = median(&mut client, |client| {
        assert!(client.reply().starts_with("0 n"));
        send_message(client, b"DEL");
    });
    assert!(took < AT_ONCE, "{took:?}");
}

#[test]
fn nor_do_requests_with_urgent_bytes_between() {
    let server = Server::start();
    let mut client = connect(&server);
    let took = median(&mut client, |client| {
        let sent = send(client.wire.socket(), b"!", SendFlags::OOB);
        assert_eq!(sent, Ok(1));
        echo(client);
    });
    assert!(took < AT_ONCE, "{took:?}");
}

#[test]
fn nor_does_anything_over_tls_or_through_a_proxy() {
    let server = Server::with(Setup {
        tls: true,
        ..Setup::default()
    });
    let mut over_tls = ordinary(server.connect_tls());
    let took = median(&mut over_tls, echo);
    assert!(took < AT_ONCE, "over TLS {took:?}");
    let proxy = Server::proxy(server.address(), "");
    let mut through = connect(&proxy);
    let took = median(&mut through, echo);
    assert!(took < AT_ONCE, "through a proxy {took:?}");
}
