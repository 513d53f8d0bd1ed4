//! XS1: files by descriptor.

use crate::common::{Client, Server, Setup};

/// A failure of XS1 begins so.
#[track_caller]
fn expect_xs1(client: &mut Client, request: impl AsRef<[u8]>, number: u32) {
    let request = request.as_ref();
    let reply = client.ask(request);
    let begin = format!("FAILED XS1 {number} : ");
    assert!(
        reply.starts_with(&begin),
        "{}: {reply}",
        request.escape_ascii()
    );
}

#[track_caller]
fn expect_ok(client: &mut Client, request: impl AsRef<[u8]>, data: &str) {
    let request = request.as_ref();
    assert_eq!(
        client.ask(request),
        format!("OK {data}"),
        "{}",
        request.escape_ascii()
    );
}

fn server() -> Server {
    let server = Server::start();
    server.write("f", "0123456789");
    server.mkdir("d");
    server
}

#[test]
fn a_file_is_read_written_and_cut_anywhere() {
    let server = server();
    let mut client = server.connect();
    expect_ok(&mut client, "XS1_OPEN f", "0");
    expect_ok(&mut client, "XS1_READ 0 4", "0123");
    expect_ok(&mut client, "XS1_SEEK 0 -2 cur", "2");
    client.expect("XS1_WRITE 0 3 abc", 0);
    client.expect(b"xs1_write 0 2 \0\xff more", 0);
    assert_eq!(server.read("f"), b"01abc\0\xff789");
    expect_ok(&mut client, "XS1_READ 0 524285", "789");
    expect_ok(&mut client, "XS1_READ 0 5", "");
    expect_ok(&mut client, "XS1_SEEK 0 -1 END", "9");
    expect_ok(&mut client, "XS1_SEEK 0 12 Set", "12");
    client.expect("XS1_WRITE 0 1 x", 0);
    client.expect("XS1_WRITE 0 0 ", 0);
    assert_eq!(server.read("f"), b"01abc\0\xff789\0\0x");
    client.expect("XS1_TRUNC 0 2", 0);
    assert_eq!(server.read("f"), b"01");
    client.expect("XS1_TRUNC 0 4", 0);
    assert_eq!(server.read("f"), b"01\0\0");
    expect_ok(&mut client, "XS1_OPEN f", "1");
    client.expect("XS1_CLOSE 0", 0);
    expect_ok(&mut client, "XS1_OPEN f", "0");
    expect_xs1(&mut client, "XS1_CLOSE 2", 3);
    client.expect_all(&[("XS1_CLOSE 0", 0), ("XS1_CLOSE 1", 0)]);
}

#[test]
fn every_failure_has_its_number() {
    let server = server();
    let mut client = server.connect();
    server.write("locked/LCK", "");
    nix::unistd::mkfifo(&server.path("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    client.expect_all(&[
        ("LOCK LCK", 0),
        ("XS1_OPEN locked/f", 30),
        ("XS1_OPEN missing", 17),
        ("XS1_OPEN d", 8),
        ("XS1_OPEN ", 8),
        ("XS1_OPEN ../f", 1),
        ("XS1_OPEN jail.key", 1),
    ]);
    expect_xs1(&mut client, "XS1_OPEN pipe", 2);
    for word in ["CLOSE", "TRUNC", "SEEK", "LOCK", "READ", "WRITE"] {
        for bad in [
            "",
            " ",
            " 0",
            " 0 1 SET",
            " x 1",
            " -1 1",
            " 99999999999999999999 1",
        ] {
            expect_xs1(&mut client, format!("XS1_{word}{bad}"), 3);
        }
    }
    expect_ok(&mut client, "XS1_OPEN f", "0");
    client.expect_all(&[
        ("XS1_TRUNC 0", 16),
        ("XS1_SEEK 0", 16),
        ("XS1_SEEK 0 1", 16),
        ("XS1_LOCK 0", 16),
        ("XS1_READ 0", 16),
        ("XS1_WRITE 0", 16),
        ("XS1_WRITE 0 1", 16),
    ]);
    for (request, number) in [
        ("XS1_TRUNC 0 ", 4),
        ("XS1_TRUNC 0 -1", 4),
        ("XS1_TRUNC 0 9223372036854775808", 4),
        ("XS1_TRUNC 0 9223372036854775807", 5),
        ("XS1_SEEK 0 x SET", 6),
        ("XS1_SEEK 0  SET", 6),
        ("XS1_SEEK 0 1 here", 7),
        ("XS1_SEEK 0 -1 SET", 8),
        ("XS1_SEEK 0 -11 END", 8),
        ("XS1_LOCK 0 lock", 9),
        ("XS1_LOCK 0 ", 9),
        ("XS1_READ 0 524286", 12),
        ("XS1_READ 0 -1", 12),
        ("XS1_READ 0 ", 12),
        ("XS1_WRITE 0 4 abc", 15),
        ("XS1_WRITE 0 -1 abc", 15),
        ("XS1_WRITE 0 x abc", 15),
    ] {
        expect_xs1(&mut client, request, number);
    }
    for index in 1..32 {
        expect_ok(&mut client, "XS1_OPEN f", &index.to_string());
    }
    expect_xs1(&mut client, "XS1_OPEN f", 1);
    assert_eq!(client.ask("XS1_NOSUCH 0"), "UNKNOWN");
    assert_eq!(server.read("f"), b"0123456789");
}

fn raw_request(client: &mut Client, word: &str, index: i32, len: u64, data: &[u8]) {
    client.send(word);
    let mut bytes = [&index.to_be_bytes()[..], &len.to_be_bytes(), data].concat();
    client
        .wire
        .write_units(&mut bytes, &[12, data.len()])
        .expect("send");
}

/// The raw reply: a count, or the text of a failure.
fn raw_reply(client: &mut Client) -> Result<usize, String> {
    let count = client.wire.read_i64().expect("count");
    usize::try_from(count).map_err(|_| {
        assert_eq!(count, -1);
        let mut text = [1; 126];
        client.wire.read_raw(&mut text).expect("text");
        let end = text.iter().position(|c| *c == 0).expect("a NUL");
        assert!(text[end..].iter().all(|c| *c == 0));
        String::from_utf8_lossy(&text[..end]).into_owned()
    })
}

#[test]
fn the_raw_forms_keep_step_whatever_comes() {
    let server = server();
    let mut client = server.connect();
    let invalid = Err("XS1 3 : Invalid file descriptor.".to_owned());
    for index in [0, -1, 32, i32::MAX, i32::MIN] {
        raw_request(&mut client, "XS1_READV2", index, 5, b"");
        assert_eq!(raw_reply(&mut client), invalid);
        raw_request(
            &mut client,
            "XS1_WRITEV2",
            index,
            700_000,
            &vec![1; 700_000],
        );
        assert_eq!(raw_reply(&mut client), invalid);
    }
    expect_ok(&mut client, "XS1_OPEN f", "0");
    raw_request(&mut client, "XS1_READV2", 0, 4, b"");
    let mut content = vec![0; raw_reply(&mut client).expect("bytes")];
    client.wire.read_raw(&mut content).expect("content");
    assert_eq!(content, b"0123");
    let big: Vec<u8> = (0..700_000u32).map(|i| (i >> 3) as u8).collect();
    raw_request(&mut client, "XS1_WRITEV2", 0, big.len() as u64, &big);
    assert_eq!(raw_reply(&mut client), Ok(big.len()));
    assert!(server.read("f") == [b"0123", &big[..]].concat());
    raw_request(&mut client, "XS1_READV2", 0, u64::MAX, b"");
    assert_eq!(raw_reply(&mut client), Ok(0));
    raw_request(&mut client, "XS1_WRITEV2", 0, 0, b"");
    assert_eq!(raw_reply(&mut client), Ok(0));
    expect_ok(&mut client, "XS1_SEEK 0 4 SET", "4");
    raw_request(&mut client, "XS1_READV2", 0, u64::MAX, b"");
    let mut content = vec![0; raw_reply(&mut client).expect("bytes")];
    client.wire.read_raw(&mut content).expect("content");
    assert!(content == big);
    client.expect_alive();
}

#[test]
fn what_is_written_counts_for_the_quota() {
    let server = Server::with(Setup {
        server: "quota = \"1000\"".to_owned(),
        ..Setup::default()
    });
    let mut client = server.connect();
    client.expect("TOUCH f", 0);
    expect_ok(&mut client, "XS1_OPEN f", "0");
    let write = |len: usize| format!("XS1_WRITE 0 {len} {}", "x".repeat(len));
    client.expect(write(900), 0);
    client.expect(write(101), 13);
    assert_eq!(client.ask("FREESP"), "OK 100");
    expect_xs1(&mut client, "XS1_TRUNC 0 1001", 5);
    client.expect("XS1_TRUNC 0 200", 0);
    assert_eq!(client.ask("FREESP"), "OK 800");
    expect_ok(&mut client, "XS1_SEEK 0 1000 SET", "1000");
    client.expect(write(1), 13);
    raw_request(&mut client, "XS1_WRITEV2", 0, 1, b"x");
    assert_eq!(
        raw_reply(&mut client),
        Err("XS1 16 : Error while writing the file.".to_owned())
    );
    assert_eq!(server.read("f").len(), 200);
    client.expect("DEL f", 0);
    assert_eq!(client.ask("FREESP"), "OK 1000");
}

#[test]
fn a_file_that_has_lost_its_name_neither_grows_nor_gives_space_back() {
    let server = Server::with(Setup {
        server: "quota = \"1000\"".to_owned(),
        ..Setup::default()
    });
    let mut client = server.connect();
    client.send_file("f", false, &[1; 1000]);
    expect_ok(&mut client, "XS1_OPEN f", "0");
    client.expect("DEL f", 0);
    client.expect("XS1_TRUNC 0 100", 0);
    expect_xs1(&mut client, "XS1_TRUNC 0 101", 5);
    expect_ok(&mut client, "XS1_SEEK 0 0 END", "100");
    expect_xs1(&mut client, "XS1_WRITE 0 1 x", 16);
    client.send_file("f", false, &[1; 1000]);
    assert_eq!(client.ask("FREESP"), "OK 0");
    assert_eq!(client.ask("SNDFILE 1 g"), "CONT");
    client.expect("CONT x", 13);
    client.expect("XS1_CLOSE 0", 0);
    client.expect("DEL f", 0);
    assert_eq!(client.ask("FREESP"), "OK 1000");
}

#[test]
fn a_lock_by_descriptor_is_the_same_as_by_netlock() {
    let server = server();
    let (mut one, mut two) = (server.connect(), server.connect());
    for client in [&mut one, &mut two] {
        expect_ok(client, "XS1_OPEN f", "0");
    }
    one.expect_all(&[("XS1_LOCK 0 LOCK", 0), ("XS1_LOCK 0 LOCK", 0)]);
    expect_xs1(&mut two, "XS1_LOCK 0 LOCK", 11);
    two.expect("NETLOCK_TRY 60 f", 54);
    expect_ok(&mut one, "NETLOCK_TRY 60 f", "0");
    one.expect("XS1_LOCK 0 UNLOCK", 0);
    expect_xs1(&mut two, "XS1_LOCK 0 LOCK", 11);
    one.expect("NETUNLOCK 0", 0);
    two.expect("XS1_LOCK 0 LOCKW", 0);
    one.send("XS1_LOCK 0 LOCKW");
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(!one.wire.has_input());
    two.expect("XS1_CLOSE 0", 0);
    assert_eq!(one.reply(), "OK");
    one.expect("XS1_LOCK 0 UNLOCK", 0);
    two.expect_alive();
    assert_eq!(two.ask("NETLOCK_TRY 60 f"), "OK 0");
    one.send("XS1_LOCK 0 LOCKW");
    one.send("END");
    one.expect_closed();
}
