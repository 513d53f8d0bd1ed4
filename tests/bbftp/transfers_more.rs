//! What tfd has beyond version 3: small files in one message, and transfers of
//! what is missing.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;

use crate::peer::*;
use crate::streams::*;

const SMALL_STORE: u32 = 0x7466_0001;
const SMALL_RETR: u32 = 0x7466_0002;
const SMALL_FILE: u32 = 0x7466_0003;
const RETR_FROM: u32 = 0x7466_0005;
const STORE_FROM: u32 = 0x7466_0006;
const TRANS_OK_FROM: u32 = 0x7466_0007;

fn small_store(name: &str, options: u32, content: &[u8]) -> Vec<u8> {
    let len = name.len() as u32;
    let transfer = transfer(content.len() as i64, options, 256, 1);
    [&transfer, &len.to_be_bytes()[..], name.as_bytes(), content].concat()
}

#[test]
fn small_files_go_and_come_in_one_message_each_many_at_once() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::ann(&server, 3);
    let file = |at: usize| (format!("d/f{at}"), content(at * 700));
    let options = 1 | TIMES | MODE | DIRECTORIES;
    let all: Vec<u8> = (0..300)
        .map(file)
        .flat_map(|(name, content)| message(SMALL_STORE, &small_store(&name, options, &content)))
        .collect();
    let mut sender = peer.socket.try_clone().expect("clone");
    let sent = std::thread::spawn(move || sender.write_all(&all).expect("write"));
    for at in 0..300 {
        assert_eq!(peer.answer(), (OK, "OK".to_owned()), "file {at}");
    }
    sent.join().expect("sent");
    let stat = fs::metadata(server.path("d/f9")).expect("stat");
    assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o640, 0x3a7b_8372));

    let all: Vec<u8> = (0..300)
        .flat_map(|at| message(SMALL_RETR, &with_options(0, &file(at).0)))
        .collect();
    peer.send_bytes(&all);
    for at in 0..300 {
        let (code, payload) = peer.receive();
        assert_eq!(code, SMALL_FILE);
        assert_eq!(payload[12..16], [0, 0, 1, 0xa0], "mode");
        assert!(payload[48..] == file(at).1, "file {at}");
    }
}

#[test]
fn small_files_are_refused_as_others_are() {
    let Some(server) = server("") else { return };
    server.write("large", content(262_145));
    server.mkdir("d");
    let mut peer = Peer::ann(&server, 3);
    let text = peer.expect_refused((SMALL_RETR, &with_options(0, "large")));
    assert!(text.contains("too large"), "{text}");
    for name in ["d", "none"] {
        peer.expect_refused((SMALL_RETR, &with_options(0, name)));
    }
    peer.expect_refused((SMALL_STORE, &small_store("d", 1, b"x")));
    peer.expect_refused((SMALL_STORE, &small_store("none/f", 1, b"x")));
    let mut adder = Peer::logged_in(&server, "app", "pass");
    adder.choose(3);
    adder.expect_refused((SMALL_STORE, &small_store("large", 1, b"x")));
    adder.expect((SMALL_STORE, &small_store("added", 1, b"x")), (OK, "OK"));
    let mut reader = Peer::logged_in(&server, "roy", "pass");
    reader.choose(3);
    reader.expect_refused((SMALL_STORE, &small_store("f", 1, b"x")));
    assert_eq!(server.names(""), ["added", "d", "home", "large"]);
}

/// The streams of TRANS_OK_FROM: ports and ranges.
fn streams(peer: &mut Peer) -> Vec<(TcpStream, std::ops::Range<usize>)> {
    let (code, payload) = peer.receive();
    let text = String::from_utf8_lossy(&payload);
    assert_eq!(code, TRANS_OK_FROM, "{text}");
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |all, byte| all << 8 | usize::from(*byte))
    };
    let streams: Vec<_> = payload[48..]
        .chunks(20)
        .map(|stream| {
            let begin = number(&stream[4..12]);
            let port = number(&stream[..4]) as u16;
            let socket = TcpStream::connect(("127.0.0.1", port)).expect("connect");
            (socket, begin..begin + number(&stream[12..]))
        })
        .collect();
    peer.send_bytes(&announcing(TRANS_START_V3, 4 * streams.len() as u32, b""));
    streams
}

#[test]
fn what_a_client_lacks_of_a_file_is_sent_if_the_file_is_the_same() {
    let Some(server) = server("") else { return };
    let content = content(500_000);
    let mut peer = Peer::ann(&server, 3);
    let options = 1 | TIMES;
    let plan = Plan {
        options,
        ..Plan::new(3, 1)
    };
    assert_eq!(put(&mut peer, plan, "f", &content).0, OK);
    let request = |size: i64| {
        let mut request = transfer(size, 1, 256, 3);
        request.extend_from_slice(&2_u32.to_be_bytes());
        for number in [100_000_u64, 50_000, 499_999, 1] {
            request.extend_from_slice(&number.to_be_bytes());
        }
        [&request, &b"f"[..]].concat()
    };
    peer.send(RETR_FROM, &request(500_000));
    let streams = streams(&mut peer);
    assert_eq!(streams.len(), 2);
    for (mut socket, range) in streams {
        let mut bytes = vec![0; range.len()];
        socket.read_exact(&mut bytes).expect("range");
        assert!(bytes == content[range]);
        socket.write_all(&ACK).expect("ack");
    }
    assert_eq!(peer.answer(), (OK, "OK".to_owned()));
    let text = peer.expect_refused((RETR_FROM, &request(500_001)));
    assert!(text.contains("has changed"), "{text}");
    peer.expect_alive();
}

#[test]
fn a_file_that_may_be_resumed_arrives_as_any_other() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::ann(&server, 3);
    for size in [500_000, 1, 0] {
        let content = content(size);
        let request = [&transfer(size as i64, 1 | TIMES, 256, 3), &b"f"[..]].concat();
        peer.send(STORE_FROM, &request);
        for (mut socket, range) in streams(&mut peer) {
            socket.write_all(&content[range]).expect("range");
            socket.read_exact(&mut [0; 8]).expect("ack");
        }
        assert_eq!(peer.answer(), (OK, "OK".to_owned()));
        assert!(server.read("f") == content);
    }
}
