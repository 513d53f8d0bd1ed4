//! SDOWN, SUP, FSIZE, FSIZELS: raw headers without messages.

use crate::common::{Client, Server};

fn sdown(client: &mut Client, path: &str) -> Option<Vec<u8>> {
    client.send(format!("SDOWN {path}"));
    let mut content = Vec::new();
    loop {
        match client.wire.read_i32().expect("header") {
            0 => return Some(content),
            -1 => return None,
            len => {
                let mut part = vec![0; usize::try_from(len).expect("a length")];
                client.wire.read_raw(&mut part).expect("payload");
                content.extend_from_slice(&part);
            }
        }
    }
}

fn send_part(client: &mut Client, part: &[u8]) {
    let mut bytes = (part.len() as i32).to_be_bytes().to_vec();
    bytes.extend_from_slice(part);
    client
        .wire
        .write_units(&mut bytes, &[4, part.len()])
        .expect("send");
}

fn sup(client: &mut Client, path: &str, content: &[u8]) -> i32 {
    client.send(format!("SUP {path}"));
    for part in content.chunks(300_000) {
        send_part(client, part);
    }
    client.wire.write_i32(0).expect("send");
    client.wire.read_i32().expect("result")
}

#[test]
fn files_go_up_and_come_down() {
    let server = Server::start();
    let mut client = server.connect();
    let content: Vec<u8> = (0..1_100_000u32).map(|i| (i >> 3) as u8).collect();
    assert_eq!(sup(&mut client, "f", &content), 0);
    assert!(server.read("f") == content);
    assert!(sdown(&mut client, "f").expect("content") == content);
    assert_eq!(sup(&mut client, "f", b"short"), 0);
    assert_eq!(server.read("f"), b"short");
    assert_eq!(sup(&mut client, "empty", b""), 0);
    assert_eq!(sdown(&mut client, "empty"), Some(Vec::new()));
    assert_eq!(server.names(""), ["empty", "f"]);
    client.expect_alive();
}

#[test]
fn a_file_as_long_as_a_message_comes_down_in_one_frame() {
    let server = Server::start();
    let mut client = server.connect();
    let content: Vec<u8> = (0..524_289u32).map(|i| (i >> 3) as u8).collect();
    for (size, frames) in [(400_000, 1), (524_288, 1), (524_289, 2)] {
        server.write("f", &content[..size]);
        client.send("SDOWN f");
        let mut got = Vec::new();
        for _ in 0..frames {
            let len = client.wire.read_i32().expect("header");
            let mut part = vec![0; usize::try_from(len).expect("a length")];
            client.wire.read_raw(&mut part).expect("payload");
            got.extend_from_slice(&part);
        }
        assert_eq!(client.wire.read_i32().expect("end"), 0, "{size}");
        assert!(got == content[..size]);
    }
    // The public clients' buffers for GET are no longer.
    let buffer = client.hp_open("GET", "f", &[0, 1_000_000]);
    assert_eq!(buffer, 1_000_000);
    let (len, _) = client.receive_frame();
    assert_eq!(len, 262_144);
}

#[test]
fn a_message_of_400_000_bytes_is_taken_and_given_whole() {
    let server = Server::start();
    let mut client = server.connect();
    let content: Vec<u8> = (0..400_000u32).map(|i| (i >> 3) as u8).collect();
    assert_eq!(client.ask("SNDFILE 0 f"), "CONT");
    assert_eq!(client.ask([b"CONT ", &content[..]].concat()), "CONT");
    assert_eq!(client.ask("OK"), "OK");
    assert!(server.read("f") == content);
    client.send("RCVFILE 0 f");
    assert!(client.receive().strip_prefix(b"CONT ") == Some(&content[..]));
    assert_eq!(client.ask("CONT"), "OK");
}

#[test]
fn sdown_of_what_is_no_file_is_minus_one() {
    let server = Server::start();
    server.mkdir("d");
    nix::unistd::mkfifo(&server.path("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    let mut client = server.connect();
    for path in ["", "d", "pipe", "missing", "../f", "jail.key"] {
        assert_eq!(sdown(&mut client, path), None, "{path}");
    }
    client.expect_alive();
}

#[test]
fn sup_to_where_no_file_can_be_is_minus_one_and_the_session_lives() {
    let server = Server::start();
    server.mkdir("d");
    let mut client = server.connect();
    for path in ["", "d", "missing/f", "../f", "jail.key"] {
        assert_eq!(sup(&mut client, path, b"some data"), -1, "{path}");
    }
    client.expect_alive();
    assert_eq!(server.names(""), ["d"]);
}

#[test]
fn sup_cancelled_leaves_the_old_file() {
    let server = Server::start();
    server.write("f", "old");
    let mut client = server.connect();
    for code in [-1, -2, i32::MIN] {
        for path in ["f", "new"] {
            client.send(format!("SUP {path}"));
            send_part(&mut client, b"some data");
            client.wire.write_i32(code).expect("send");
            client.expect_alive();
        }
    }
    assert_eq!(server.names(""), ["f"]);
    assert_eq!(server.read("f"), b"old");
}

#[test]
fn a_sup_that_is_not_done_is_not_seen() {
    let server = Server::start();
    server.write("f", "old");
    let mut client = server.connect();
    client.send("SUP f");
    send_part(&mut client, b"new");
    let mut reader = server.connect();
    assert_eq!(sdown(&mut reader, "f"), Some(b"old".to_vec()));
    client.wire.write_i32(0).expect("send");
    assert_eq!(client.wire.read_i32().expect("result"), 0);
    assert_eq!(sdown(&mut reader, "f"), Some(b"new".to_vec()));
}

#[test]
fn a_sup_part_longer_than_a_message_may_be_closes_the_connection() {
    let mut server = Server::start();
    server.write("f", "old");
    let mut client = server.connect();
    client.send("SUP f");
    client.wire.write_i32(512 * 1024 + 1).expect("send");
    client.expect_closed();
    server.wait_for_log("session end");
    assert_eq!(server.read("f"), b"old");
    assert_eq!(server.names(""), ["f"]);
}

#[test]
fn fsize() {
    let server = Server::start();
    server.write("f", "12345");
    server.mkdir("d");
    std::os::unix::fs::symlink("f", server.path("link")).expect("link");
    let mut client = server.connect();
    for (path, size) in [
        ("f", 5),
        ("link", 5),
        ("d", -2),
        ("", -2),
        ("missing", -1),
        ("../f", -1),
        ("f/x", -1),
    ] {
        client.send(format!("FSIZE {path}"));
        assert_eq!(client.wire.read_i64().expect("size"), size, "{path}");
    }
    client.expect_alive();
}

#[test]
fn fsizels() {
    let server = Server::start();
    server.write("f", "12345");
    server.mkdir("d");
    server.write("list", "f\nd\nmissing\n../f\n\nlist\n/f");
    server.write("empty", "");
    let mut client = server.connect();
    let mut sizes = |path: &str| {
        client.send(format!("FSIZELS {path}"));
        let mut sizes = Vec::new();
        while sizes.last() != Some(&-3) {
            sizes.push(client.wire.read_i64().expect("size"));
        }
        sizes
    };
    assert_eq!(sizes("list"), [5, -2, -1, -1, -2, 25, 5, -3]);
    for path in ["empty", "missing", "d", "../list", ""] {
        assert_eq!(sizes(path), [-3], "{path}");
    }
    client.expect_alive();
}
