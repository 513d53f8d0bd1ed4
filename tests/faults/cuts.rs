//! A connection cut at every step of every transfer.

use std::io::Write;

use crate::common::{Client, Server, wait_until};

/// Enciphered bytes of a message, of which only a part will be sent.
fn half_message(client: &mut Client, body: &[u8]) {
    client.wire.write_i32(body.len() as i32).expect("header");
    let half = body.len() / 2;
    client
        .wire
        .write_part(0, &mut body[..half].to_vec())
        .expect("half a body");
}

fn ended(server: &Server) -> usize {
    server
        .log()
        .iter()
        .filter(|line| line.contains("session end"))
        .count()
}

/// Runs the steps one more at a time, cutting the connection after each, and
/// lets `check` look at the disk when the session has ended.
fn cut_after_each(steps: &[fn(&mut Client)], prepare: fn(&Server), check: fn(&Server, usize)) {
    let server = Server::start();
    let mut observer = server.connect();
    for count in 1..=steps.len() {
        prepare(&server);
        let before = ended(&server);
        let mut client = server.connect();
        for step in &steps[..count] {
            step(&mut client);
        }
        drop(client);
        wait_until("the session ends", || ended(&server) > before);
        check(&server, count);
        observer.expect_alive();
    }
}

fn old_file(server: &Server) {
    server.write("f", "old");
    server.write("big", vec![7; 3_000_000]);
}

fn untouched(server: &Server, step: usize) {
    assert_eq!(server.names(""), ["big", "f"], "step {step}");
    assert_eq!(server.read("f"), b"old", "step {step}");
}

#[test]
fn sndfile_leaves_the_old_file() {
    cut_after_each(
        &[
            |client| client.send("SNDFILE 1 f"),
            |client| assert_eq!(client.reply(), "CONT"),
            |client| client.send("CONT part one"),
            |client| assert_eq!(client.reply(), "CONT"),
            |client| assert_eq!(client.ask("CONT part two"), "CONT"),
            |client| half_message(client, b"CONT a part that is cut"),
        ],
        old_file,
        untouched,
    );
}

#[test]
fn sup_leaves_the_old_file() {
    cut_after_each(
        &[
            |client| client.send("SUP f"),
            |client| client.wire.write_i32(1000).expect("header"),
            |client| client.wire.write_part(0, &mut [1; 500]).expect("half"),
            |client| client.wire.write_part(500, &mut [1; 500]).expect("half"),
            |client| client.wire.write_i32(5).expect("header"),
        ],
        old_file,
        untouched,
    );
}

#[test]
fn put_keeps_what_was_received() {
    cut_after_each(
        &[
            |client| assert_eq!(client.hp_open("PUT", "f", &[3, 100]), 100),
            |client| client.send_frame(&[b'a'; 100]),
            |client| client.send_frame(&[b'b'; 50]),
            |client| client.wire.write_i64(100).expect("header"),
            |client| client.wire.write_part(0, &mut [b'c'; 60]).expect("part"),
        ],
        old_file,
        |server, step| {
            let length = [3, 103, 153, 153, 153][step - 1];
            let content = server.read("f");
            assert_eq!(content.len(), length, "step {step}");
            assert!(content.starts_with(b"old"));
            assert_eq!(server.names(""), ["big", "f"]);
        },
    );
}

#[test]
fn putcan_keeps_what_was_received() {
    cut_after_each(
        &[
            |client| assert_eq!(client.hp_open("PUTCAN", "f", &[0, 100, 2]), 100),
            |client| client.send_frame(&[b'a'; 100]),
            |client| client.send_frame(&[b'b'; 100]),
            |client| assert_eq!(client.wire.read_i64().expect("window"), -3),
            |client| client.wire.write_i64(100).expect("header"),
        ],
        old_file,
        |server, step| {
            let length = [3, 100, 200, 200, 200][step - 1];
            assert_eq!(server.read("f").len(), length, "step {step}");
        },
    );
}

#[test]
fn downloads_end_without_a_trace() {
    cut_after_each(
        &[
            |client| client.send("RCVFILE 1 big"),
            |client| drop(client.receive()),
        ],
        old_file,
        untouched,
    );
    cut_after_each(
        &[
            |client| client.send("SDOWN big"),
            |client| drop(client.wire.read_i32()),
            |client| client.wire.read_raw(&mut [0; 1000]).expect("part"),
        ],
        old_file,
        untouched,
    );
    cut_after_each(
        &[
            |client| assert_eq!(client.hp_open("GET", "big", &[0, 1000]), 1000),
            |client| assert_eq!(client.receive_frame().0, 1000),
            |client| client.wire.write_i64(-2).expect("cancel"),
        ],
        old_file,
        untouched,
    );
    cut_after_each(
        &[
            |client| assert_eq!(client.hp_open("GETCAN", "big", &[0, 1000, 1]), 1000),
            |client| assert_eq!(client.receive_frame().0, 1000),
        ],
        old_file,
        untouched,
    );
    cut_after_each(
        &[
            |client| client.send("LSR "),
            |client| drop(client.receive()),
        ],
        old_file,
        untouched,
    );
}

#[test]
fn a_handshake_cut_anywhere_harms_nobody() {
    let server = Server::start();
    let mut observer = server.connect();
    for length in [0, 1, 3, 4, 5, 7, 8, 100] {
        let client = Client::knock(server.address());
        let mut bytes = b"\0\0\0\x030.0\0\0\x01\0".to_vec();
        bytes.resize(110, 1);
        client
            .wire
            .socket()
            .write_all(&bytes[..length])
            .expect("send");
        drop(client);
        observer.expect_alive();
    }
    let mut client = Client::knock(server.address());
    assert_eq!(client.ask(crate::common::VERSION), "OK");
    client.send_key(&[1; 16]);
    drop(client);
    observer.expect_alive();
}
