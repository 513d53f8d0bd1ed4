//! Readers while a writer replaces the file again and again: each sees one
//! whole version.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{Client, Server};

const ROUNDS: u8 = 40;

/// A version is one letter, many times.
fn version(round: u8) -> Vec<u8> {
    vec![b'a' + round % 26; 200_000 + usize::from(round) * 1000]
}

fn whole(content: &[u8]) -> bool {
    (0..=ROUNDS).any(|round| content == version(round))
}

fn by_rcvfile(client: &mut Client) -> Vec<u8> {
    client.send("RCVFILE 0 f");
    client.receive_stream().expect("stream")
}

fn by_get(client: &mut Client) -> Vec<u8> {
    client.hp_open("GET", "f", &[0, 50_000]);
    let mut content = Vec::new();
    loop {
        let (header, payload) = client.receive_frame();
        if header == 0 {
            break;
        }
        content.extend_from_slice(&payload);
    }
    client.wire.write_i64(-127).expect("fin");
    assert_eq!(client.wire.read_i64().expect("fin"), -127);
    content
}

fn by_sdown(client: &mut Client) -> Vec<u8> {
    client.send("SDOWN f");
    let mut content = Vec::new();
    loop {
        let len = client.wire.read_i32().expect("header");
        if len == 0 {
            return content;
        }
        let mut part = vec![0; usize::try_from(len).expect("a length")];
        client.wire.read_raw(&mut part).expect("part");
        content.extend_from_slice(&part);
    }
}

#[test]
fn every_reader_sees_one_whole_version() {
    let server = Server::start();
    server.write("f", version(0));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for read in [by_rcvfile, by_get, by_sdown] {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                let mut client = server.connect();
                let mut reads = 0;
                while !done.load(Ordering::Relaxed) || reads == 0 {
                    let content = read(&mut client);
                    assert!(whole(&content), "{} bytes, mixed", content.len());
                    reads += 1;
                }
            });
        }
        let mut writer = server.connect();
        for round in 1..=ROUNDS {
            let content = version(round);
            if round % 2 == 0 {
                writer.send_file("f", true, &content);
            } else {
                writer.send("SUP f");
                let mut part = (content.len() as i32).to_be_bytes().to_vec();
                part.extend_from_slice(&content);
                writer
                    .wire
                    .write_units(&mut part, &[4, content.len()])
                    .expect("send");
                writer.wire.write_i32(0).expect("send");
                assert_eq!(writer.wire.read_i32().expect("result"), 0);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(server.names(""), ["f"]);
}
