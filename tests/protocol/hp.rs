//! PUT, GET, PUTCAN, GETCAN: frames with 8-byte headers.

use std::fs;

use crate::common::{Client, Server, Setup, reply_for};

const END: i64 = 0;
const STOP: i64 = -1;
const CANCEL: i64 = -2;
const CONTINUE: i64 = -3;
const FIN: i64 = -127;

fn put(client: &mut Client, path: &str, offset: i64, parts: &[&[u8]], last: i64) {
    client.hp_open("PUT", path, &[offset, 65536]);
    for part in parts {
        client.send_frame(part);
    }
    client.wire.write_i64(last).expect("send");
    assert_eq!(client.wire.read_i64().expect("fin"), FIN);
    client.wire.write_i64(FIN).expect("send");
}

/// All data of GET up to its end, with the closing exchange.
fn get(client: &mut Client, path: &str, offset: i64, buffer: i64) -> Vec<u8> {
    client.hp_open("GET", path, &[offset, buffer]);
    let mut content = Vec::new();
    loop {
        let (header, payload) = client.receive_frame();
        if header == END {
            break;
        }
        assert!(header > 0 && header <= buffer, "header {header}");
        content.extend_from_slice(&payload);
    }
    client.wire.write_i64(FIN).expect("send");
    assert_eq!(client.wire.read_i64().expect("fin"), FIN);
    content
}

#[test]
fn put_writes_at_its_offset_and_keeps_the_rest() {
    let server = Server::start();
    let mut client = server.connect();
    put(&mut client, "f", 0, &[b"abc", b"def", b"ghi"], END);
    assert_eq!(server.read("f"), b"abcdefghi");
    put(&mut client, "f", 2, &[b"XY"], END);
    assert_eq!(server.read("f"), b"abXYefghi");
    put(&mut client, "with space", 5, &[b"x"], END);
    assert_eq!(server.read("with space"), b"\0\0\0\0\0x");
    put(&mut client, "empty", 0, &[], END);
    assert_eq!(server.read("empty"), b"");
    client.expect_alive();
}

#[test]
fn put_stopped_keeps_and_put_cancelled_deletes() {
    let server = Server::start();
    let mut client = server.connect();
    put(&mut client, "f", 0, &[b"part"], STOP);
    assert_eq!(server.read("f"), b"part");
    put(&mut client, "f", 4, &[b" two"], CANCEL);
    assert!(!server.exists("f"));
    client.expect_alive();
}

#[test]
fn a_put_whose_connection_is_lost_can_be_resumed() {
    let server = Server::start();
    let mut client = server.connect();
    client.hp_open("PUT", "f", &[0, 1000]);
    client.send_frame(&[b'a'; 1000]);
    client.send_frame(&[b'b'; 500]);
    client
        .wire
        .write_i64(800)
        .expect("header of a frame that never comes");
    drop(client);
    let mut client = server.connect();
    let begin = std::time::Instant::now();
    while fs::metadata(server.path("f")).map_or(0, |m| m.len()) < 1500 {
        assert!(
            begin.elapsed() < crate::common::PATIENCE,
            "what was sent is not there"
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let stored = server.read("f").len() as i64;
    put(&mut client, "f", stored, &[&[b'c'; 300]], END);
    assert_eq!(server.read("f").len(), 1800);
}

#[test]
fn the_agreed_buffer_is_never_above_the_request_nor_the_limit() {
    let tf = "buffer_limit = 100000".to_owned();
    let server = Server::with(Setup {
        tf,
        ..Setup::default()
    });
    server.write("f", "x");
    for word in ["PUT", "GET"] {
        for (asked, agreed) in [
            (1, 1),
            (99_999, 99_999),
            (100_000, 100_000),
            (1 << 40, 100_000),
        ] {
            let mut client = server.connect();
            assert_eq!(
                client.hp_open(word, "f", &[0, asked]),
                agreed,
                "{word} {asked}"
            );
        }
    }
}

#[test]
fn refusals() {
    let server = Server::start();
    server.write("f", "x");
    server.mkdir("d");
    nix::unistd::mkfifo(&server.path("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    let mut client = server.connect();
    for word in ["PUT", "GET", "PUTCAN", "GETCAN"] {
        let last: &[i64] = if word.ends_with("CAN") { &[0] } else { &[] };
        for (path, offset, buffer, code) in [
            ("../f", 0, 10, 1),
            ("d", 0, 10, 34),
            ("pipe", 0, 10, 34),
            ("missing/f", 0, 10, 34),
            ("f/x", 0, 10, 34),
            ("new", i64::MIN, 10, 35),
            ("new", -1, 10, 35),
            ("new", 0, 0, 36),
            ("new", 0, -5, 36),
        ] {
            let request = Client::hp(word, path, &[&[offset, buffer], last].concat());
            let reply = client.ask(request);
            let missing = word.starts_with("GET") && path == "new";
            let fine = reply == reply_for(code) || missing && reply == reply_for(34);
            assert!(fine, "{word} {path} {offset} {buffer}: {reply}");
        }
        client.expect(word, 16);
        client.expect(format!("{word} "), 16);
        client.expect(format!("{word} short"), 16);
    }
    assert_eq!(server.names(""), ["d", "f", "pipe"]);
    client.expect_alive();
}

#[test]
fn a_frame_over_the_agreed_buffer_cancels_and_the_session_lives() {
    let server = Server::start();
    let mut client = server.connect();
    assert_eq!(client.hp_open("PUT", "f", &[0, 100]), 100);
    client.send_frame(&[1; 100]);
    client.send_frame(&[2; 101]);
    assert_eq!(client.wire.read_i64().expect("cancel"), CANCEL);
    assert_eq!(client.wire.read_i64().expect("fin"), FIN);
    client.send_frame(&[3; 50]);
    client.wire.write_i64(END).expect("send");
    client.wire.write_i64(FIN).expect("send");
    client.expect_alive();
}

#[test]
fn unknown_codes_cancel_and_the_session_lives() {
    let server = Server::start();
    for code in [-3, -4, -126, i64::MIN] {
        let mut client = server.connect();
        client.hp_open("PUT", "f", &[0, 100]);
        client.wire.write_i64(code).expect("send");
        assert_eq!(client.wire.read_i64().expect("cancel"), CANCEL, "{code}");
        assert_eq!(client.wire.read_i64().expect("fin"), FIN);
        client.wire.write_i64(FIN).expect("send");
        client.expect_alive();
    }
}

#[test]
fn get_reads_from_its_offset_in_frames_of_the_agreed_size() {
    let server = Server::start();
    let content: Vec<u8> = (0..700_001u32).map(|i| (i >> 5) as u8).collect();
    server.write("f", &content);
    server.write("empty", "");
    let mut client = server.connect();
    for (offset, buffer) in [
        (0, 1 << 20),
        (0, 1000),
        (699_000, 512),
        (700_001, 10),
        (800_000, 10),
    ] {
        let expected = content.get(offset..).unwrap_or_default();
        assert!(
            get(&mut client, "f", offset as i64, buffer) == expected,
            "{offset} {buffer}"
        );
    }
    assert_eq!(get(&mut client, "empty", 0, 10), b"");
    client.expect_alive();
}

#[test]
fn get_can_be_cancelled_and_a_lone_fin_does_not_stop_it() {
    let server = Server::start();
    server.write("f", vec![5; 30_000_000]);
    let mut client = server.connect();
    client.hp_open("GET", "f", &[0, 10_000]);
    assert_eq!(client.receive_frame().0, 10_000);
    client.wire.write_i64(CANCEL).expect("send");
    client.wire.write_i64(FIN).expect("send");
    let mut frames = 0;
    loop {
        match client.receive_frame().0 {
            FIN => break,
            header => assert!(header > 0, "header {header}"),
        }
        frames += 1;
    }
    assert!(frames < 2999);
    client.expect_alive();

    client.hp_open("GET", "f", &[29_900_000, 10_000]);
    client.wire.write_i64(FIN).expect("send");
    for _ in 0..10 {
        assert_eq!(client.receive_frame().0, 10_000);
    }
    assert_eq!(client.receive_frame().0, END);
    assert_eq!(client.wire.read_i64().expect("fin"), FIN);
    client.expect_alive();
}

#[test]
fn a_client_that_leaves_a_get_ends_the_session() {
    let mut server = Server::start();
    server.write("f", vec![5; 10_000_000]);
    let mut client = server.connect();
    client.hp_open("GET", "f", &[0, 10_000]);
    client.receive_frame();
    drop(client);
    server.wait_for_log("session end");
}

#[test]
fn putcan_has_its_windows() {
    let server = Server::start();
    let mut client = server.connect();
    client.hp_open("PUTCAN", "f", &[0, 10, 2]);
    for (n, frame) in [b"aaaa", b"bbbb", b"cccc", b"dddd", b"eeee"]
        .iter()
        .enumerate()
    {
        client.send_frame(*frame);
        if n % 2 == 1 {
            assert_eq!(client.wire.read_i64().expect("window"), CONTINUE);
        }
    }
    client.wire.write_i64(END).expect("send");
    client.expect_alive();
    assert_eq!(server.read("f"), b"aaaabbbbccccddddeeee");

    client.hp_open("PUTCAN", "f", &[4, 10, 0]);
    client.send_frame(b"XX");
    client.wire.write_i64(STOP).expect("send");
    client.expect_alive();
    assert_eq!(server.read("f"), b"aaaaXXbbccccddddeeee");

    client.hp_open("PUTCAN", "f", &[0, 10, 1]);
    client.wire.write_i64(CANCEL).expect("send");
    client.expect_alive();
    assert!(!server.exists("f"));
}

#[test]
fn getcan_waits_at_its_windows() {
    let server = Server::start();
    server.write("f", "aaaabbbbcc");
    let mut client = server.connect();
    client.hp_open("GETCAN", "f", &[0, 4, 2]);
    assert_eq!(client.receive_frame(), (4, b"aaaa".to_vec()));
    assert_eq!(client.receive_frame(), (4, b"bbbb".to_vec()));
    client.wire.write_i64(CONTINUE).expect("send");
    assert_eq!(client.receive_frame(), (2, b"cc".to_vec()));
    assert_eq!(client.receive_frame().0, END);
    client.expect_alive();

    client.hp_open("GETCAN", "f", &[0, 4, 1]);
    assert_eq!(client.receive_frame().0, 4);
    client.wire.write_i64(CANCEL).expect("send");
    client.expect_alive();

    client.hp_open("GETCAN", "f", &[2, 100, 1]);
    assert_eq!(client.receive_frame(), (8, b"aabbbbcc".to_vec()));
    client.wire.write_i64(CONTINUE).expect("send");
    assert_eq!(client.receive_frame().0, END);
    client.expect_alive();
}

#[test]
fn a_long_stream_goes_over_to_the_shared_tables_without_a_seam() {
    const LEN: usize = 40 << 20;
    // With this key the chain is on a cycle after 5 million bytes.
    let mut key = 0x0f1a_50d5_9c0a_a21a_u64.to_le_bytes().to_vec();
    key.extend([9; 24]);
    for setting in ["auto", "off"] {
        let tf = format!("keystream_table = \"{setting}\"");
        let mut server = Server::with(Setup {
            tf,
            ..Setup::default()
        });
        let content: Vec<u8> = (0..LEN).map(|i| (i >> 9) as u8).collect();
        server.write("f", &content);
        let mut client = Client::connect_with_key(server.address(), &key);
        for _ in 0..2 {
            client.hp_open("GET", "f", &[0, 1 << 20]);
            let mut received = Vec::new();
            loop {
                match client.receive_frame() {
                    (END, _) => break,
                    (_, payload) => received.extend(payload),
                }
            }
            assert!(received == content);
            client.wire.write_i64(FIN).expect("send");
            assert_eq!(client.receive_frame().0, FIN);
            if setting == "auto" {
                server.wait_for_log("keystream tables made");
            }
        }
        client.expect_alive();
    }
}
