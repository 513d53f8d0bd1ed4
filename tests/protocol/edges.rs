//! The edges of transfers: all of a client in one write, files without a byte,
//! files that end where a frame does, words that end with a NUL.

use crate::common::{Client, Server, reply_for};
use tfd::tf::wire::MAX_MESSAGE;

const END: i64 = 0;
const STOP: i64 = -1;
const CANCEL: i64 = -2;
const CONTINUE: i64 = -3;
const FIN: i64 = -127;

/// What is behind `CONT ` in the longest message.
const PART: usize = MAX_MESSAGE - 5;

/// What a client sends in one write.
enum Sent<'a> {
    Message(&'a [u8]),
    Code(i64),
    Frame(&'a [u8]),
    ShortCode(i32),
    ShortFrame(&'a [u8]),
}

use Sent::{Code, Frame, Message, ShortCode, ShortFrame};

/// Sends all of it, and a request behind it, at once.
fn send_at_once(client: &mut Client, all: &[Sent<'_>]) {
    let wire = &mut client.wire;
    for sent in all {
        match sent {
            Message(body) => wire.write_message_later(body),
            Code(code) => wire.hold_unit(&code.to_be_bytes()),
            Frame(data) => {
                wire.hold_unit(&(data.len() as i64).to_be_bytes());
                wire.hold_unit(data);
            }
            ShortCode(code) => wire.hold_unit(&code.to_be_bytes()),
            ShortFrame(data) => {
                wire.hold_unit(&(data.len() as i32).to_be_bytes());
                wire.hold_unit(data);
            }
        }
    }
    wire.write_message_later(b"ECHO next");
    wire.flush().expect("send");
}

#[track_caller]
fn expect_codes(client: &mut Client, codes: &[i64]) {
    for code in codes {
        assert_eq!(client.wire.read_i64().expect("code"), *code);
    }
}

#[track_caller]
fn expect_next(client: &mut Client) {
    assert_eq!(client.reply(), "next");
    client.expect_alive();
}

#[track_caller]
fn expect_agreed(client: &mut Client, buffer: i64) {
    assert_eq!(
        client.receive(),
        [b"OK ", &buffer.to_be_bytes()[..]].concat()
    );
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i >> 4) as u8 ^ i as u8).collect()
}

#[test]
fn a_get_and_the_next_request_may_come_together() {
    let server = Server::start();
    server.write("f", content(100_000));
    server.write("empty", "");
    let mut client = server.connect();
    for (path, len) in [("f", 100_000), ("empty", 0)] {
        let request = Client::hp("GET", path, &[0, 1000]);
        send_at_once(&mut client, &[Message(&request), Code(FIN)]);
        expect_agreed(&mut client, 1000);
        let mut got = Vec::new();
        loop {
            match client.receive_frame() {
                (END, _) => break,
                (_, part) => got.extend(part),
            }
        }
        assert!(got == content(len));
        expect_codes(&mut client, &[FIN]);
        expect_next(&mut client);
    }
}

#[test]
fn a_get_cancelled_in_the_same_write_sends_no_data_and_no_end() {
    let server = Server::start();
    server.write("f", content(100_000));
    let mut client = server.connect();
    let request = Client::hp("GET", "f", &[0, 1000]);
    send_at_once(
        &mut client,
        &[Message(&request), Code(STOP), Code(CANCEL), Code(FIN)],
    );
    expect_agreed(&mut client, 1000);
    loop {
        match client.receive_frame().0 {
            FIN => break,
            len => assert_eq!(len, 1000),
        }
    }
    expect_next(&mut client);
}

#[test]
fn a_put_and_the_next_request_may_come_together() {
    let server = Server::start();
    let mut client = server.connect();
    for (last, left) in [
        (END, Some(&b"abcd"[..])),
        (STOP, Some(b"abcd")),
        (CANCEL, None),
    ] {
        let request = Client::hp("PUT", "f", &[0, 1000]);
        let all = [
            Message(&request),
            Frame(b"ab"),
            Frame(b"cd"),
            Code(last),
            Code(FIN),
        ];
        send_at_once(&mut client, &all);
        expect_agreed(&mut client, 1000);
        expect_codes(&mut client, &[FIN]);
        expect_next(&mut client);
        assert_eq!(
            server.exists("f").then(|| server.read("f")).as_deref(),
            left,
            "{last}"
        );
    }
}

#[test]
fn a_put_that_fails_takes_in_all_that_comes_up_to_the_last_word() {
    let server = Server::start();
    server.write("old", "old");
    let mut client = server.connect();
    for path in ["old", "new"] {
        let request = Client::hp("PUT", path, &[100, 10]);
        let all = [
            Message(&request),
            Frame(&[1; 10]),
            Frame(&[2; 11]),
            Frame(&[3; 5000]),
            Code(-5),
            Code(CANCEL),
            Code(END),
            Code(FIN),
        ];
        send_at_once(&mut client, &all);
        expect_agreed(&mut client, 10);
        expect_codes(&mut client, &[CANCEL, FIN]);
        expect_next(&mut client);
    }
    assert!(server.exists("old") && !server.exists("new"));
}

#[test]
fn putcan_and_getcan_need_not_wait_for_their_windows() {
    let server = Server::start();
    let mut client = server.connect();
    for (last, left) in [(END, true), (STOP, true), (CANCEL, false)] {
        let request = Client::hp("PUTCAN", "f", &[0, 10, 1]);
        send_at_once(
            &mut client,
            &[Message(&request), Frame(b"ab"), Frame(b"cd"), Code(last)],
        );
        expect_agreed(&mut client, 10);
        expect_codes(&mut client, &[CONTINUE, CONTINUE]);
        expect_next(&mut client);
        assert_eq!(server.exists("f"), left, "{last}");
    }
    server.write("f", "aabbc");
    let request = Client::hp("GETCAN", "f", &[0, 2, 1]);
    let all = [
        Message(&request),
        Code(CONTINUE),
        Code(CONTINUE),
        Code(CONTINUE),
    ];
    send_at_once(&mut client, &all);
    expect_agreed(&mut client, 2);
    for part in [b"aa".to_vec(), b"bb".to_vec(), b"c".to_vec()] {
        assert_eq!(client.receive_frame(), (part.len() as i64, part));
    }
    expect_codes(&mut client, &[END]);
    expect_next(&mut client);
    for word in [CANCEL, STOP, END, FIN, 7] {
        send_at_once(
            &mut client,
            &[Message(&request), Code(CONTINUE), Code(word)],
        );
        expect_agreed(&mut client, 2);
        assert_eq!(client.receive_frame().1, b"aa");
        assert_eq!(client.receive_frame().1, b"bb");
        expect_next(&mut client);
    }
}

#[test]
fn a_putcan_of_what_can_not_be_stored_is_told_at_the_window_and_the_session_goes_on() {
    let server = Server::start();
    let mut client = server.connect();
    let request = Client::hp("PUTCAN", "f", &[0, 10, 2]);
    send_at_once(
        &mut client,
        &[Message(&request), Frame(&[1; 11]), Frame(&[2; 10])],
    );
    expect_agreed(&mut client, 10);
    expect_codes(&mut client, &[CANCEL]);
    expect_next(&mut client);
    assert!(!server.exists("f"));
    // With no window left there is no word for it.
    client.hp_open("PUTCAN", "f", &[0, 10, 0]);
    client.send_frame(&[1; 11]);
    client.wire.write_i64(END).expect("send");
    client.expect_closed();
    assert!(!server.exists("f"));
}

#[test]
fn streams_of_messages_take_what_was_sent_ahead() {
    let server = Server::start();
    let whole = content(2 * PART + 1);
    server.write("f", &whole);
    let mut client = server.connect();
    let acknowledged = [
        Message(b"RCVFILE 0 f"),
        Message(b"CONT"),
        Message(b""),
        Message(b"x"),
    ];
    send_at_once(&mut client, &acknowledged);
    let mut got = Vec::new();
    for _ in 0..3 {
        got.extend_from_slice(client.receive().strip_prefix(b"CONT ").expect("a part"));
    }
    assert!(got == whole);
    assert_eq!(client.reply(), "OK");
    expect_next(&mut client);

    let broken_off = [Message(b"RCVFILE 1 f"), Message(b"CONT"), Message(b"BREAK")];
    send_at_once(&mut client, &broken_off);
    assert_eq!(
        (client.receive().len(), client.receive().len()),
        (MAX_MESSAGE, MAX_MESSAGE)
    );
    assert_eq!(client.reply(), "OK");
    expect_next(&mut client);
    assert!(server.exists("f"), "it was not taken whole");

    send_at_once(&mut client, &[Message(b"LS"), Message(b"BREAK")]);
    assert_eq!(
        (client.reply(), client.reply()),
        ("CONT F: f\n".to_owned(), "OK".to_owned())
    );
    expect_next(&mut client);

    let sent = [
        Message(b"SNDFILE 0 g"),
        Message(b"CONT a"),
        Message(b"CONT b"),
        Message(b"OK"),
    ];
    send_at_once(&mut client, &sent);
    for word in ["CONT", "CONT", "CONT", "OK"] {
        assert_eq!(client.reply(), word);
    }
    expect_next(&mut client);
    assert_eq!(server.read("g"), b"ab");
}

#[test]
fn raw_transfers_and_the_next_request_may_come_together() {
    let server = Server::start();
    let mut client = server.connect();
    send_at_once(
        &mut client,
        &[Message(b"SUP f"), ShortFrame(b"abc"), ShortCode(0)],
    );
    assert_eq!(client.wire.read_i32().expect("result"), 0);
    expect_next(&mut client);
    send_at_once(
        &mut client,
        &[Message(b"SUP f"), ShortFrame(b"other"), ShortCode(-1)],
    );
    expect_next(&mut client);
    send_at_once(
        &mut client,
        &[Message(b"SUP ../f"), ShortFrame(b"other"), ShortCode(0)],
    );
    assert_eq!(client.wire.read_i32().expect("result"), -1);
    expect_next(&mut client);
    send_at_once(&mut client, &[Message(b"SDOWN f")]);
    assert_eq!(client.wire.read_i32().expect("length"), 3);
    let mut part = [0; 3];
    client.wire.read_raw(&mut part).expect("payload");
    assert_eq!((&part, client.wire.read_i32().expect("end")), (b"abc", 0));
    expect_next(&mut client);
    send_at_once(&mut client, &[Message(b"SDOWN none"), Message(b"FSIZE f")]);
    assert_eq!(client.wire.read_i32().expect("failure"), -1);
    expect_codes(&mut client, &[3]);
    expect_next(&mut client);
}

#[test]
fn files_without_a_byte_go_every_way() {
    let server = Server::start();
    let mut client = server.connect();
    client.hp_open("PUTCAN", "a", &[0, 10, 1]);
    client.wire.write_i64(END).expect("send");
    client.expect_alive();
    assert_eq!(client.ask("SNDFILE 0 b"), "CONT");
    assert_eq!(client.ask("OK"), "OK");
    for path in ["a", "b"] {
        assert_eq!(server.read(path), b"");
        client.hp_open("GETCAN", path, &[0, 10, 1]);
        expect_codes(&mut client, &[END]);
        client.send(format!("SDOWN {path}"));
        assert_eq!(client.wire.read_i32().expect("end"), 0);
        client.expect(format!("RCVFILE 0 {path}"), 0);
        client.expect(format!("RCVFILE 1 {path}"), 0);
        assert!(!server.exists(path));
    }
    client.expect_alive();
}

#[test]
fn files_that_end_where_a_frame_does_are_whole() {
    let server = Server::start();
    let mut client = server.connect();
    for len in [
        1,
        4095,
        4096,
        4097,
        PART - 1,
        PART,
        PART + 1,
        MAX_MESSAGE,
        2 * PART,
    ] {
        let whole = content(len);
        let path = format!("f{len}");
        assert_eq!(client.ask(format!("SNDFILE 0 {path}")), "CONT");
        for part in whole.chunks(PART) {
            assert_eq!(client.ask([b"CONT ", part].concat()), "CONT");
        }
        assert_eq!(client.ask("OK"), "OK");
        assert!(server.read(&path) == whole, "SNDFILE {len}");
        client.send(format!("RCVFILE 0 {path}"));
        assert!(
            client.receive_stream().expect("stream") == whole,
            "RCVFILE {len}"
        );
        client.send(format!("SDOWN {path}"));
        let mut got = Vec::new();
        loop {
            let n = usize::try_from(client.wire.read_i32().expect("length")).expect("length");
            if n == 0 {
                break;
            }
            let from = got.len();
            got.resize(from + n, 0);
            client.wire.read_raw(&mut got[from..]).expect("payload");
        }
        assert!(got == whole, "SDOWN {len}");
        client.hp_open("GETCAN", &path, &[0, len as i64, 1]);
        let mut got = Vec::new();
        while got.len() < len {
            got.extend(client.receive_frame().1);
            client.wire.write_i64(CONTINUE).expect("send");
        }
        expect_codes(&mut client, &[END]);
        assert!(got == whole, "GETCAN {len}");
        client.expect_alive();
    }
}

#[test]
fn a_word_of_the_flow_may_end_with_a_nul() {
    let server = Server::start();
    server.write("old", "old");
    let mut client = server.connect();
    assert_eq!(client.ask("SNDFILE 0 f"), "CONT");
    assert_eq!(client.ask("CONT a\0b\0"), "CONT");
    assert_eq!(client.ask("OK\0"), "OK");
    assert_eq!(server.read("f"), b"a\0b\0");
    assert_eq!(client.ask("SNDFILE 1 old"), "CONT");
    assert_eq!(client.ask("BREAK\0"), "OK");
    assert_eq!(server.read("old"), b"old");
    for word in ["ok", "break", "OKAY", "BREAKS"] {
        assert_eq!(client.ask(format!("SNDFILE 0 {word}")), "CONT");
        assert_eq!(client.ask(format!("{word} data")), "CONT");
        assert_eq!(client.ask("OK "), "OK");
        assert_eq!(server.read(word), b"data");
    }
    server.write("two", content(PART + 1));
    client.send("RCVFILE 0 two");
    assert_eq!(client.receive().len(), MAX_MESSAGE);
    assert_eq!(client.ask("BREAK\0"), "OK");
    for word in ["break", "BREAK ", "BREAKS"] {
        client.send("RCVFILE 0 two");
        assert_eq!(client.receive().len(), MAX_MESSAGE);
        client.send(word);
        assert_eq!(client.receive().len(), 6, "{word:?} is no BREAK");
        assert_eq!(client.ask("CONT"), "OK");
    }
    client.expect_alive();
}

#[test]
fn a_transfer_refused_leaves_the_session_as_it_was() {
    let server = Server::start();
    server.mkdir("d");
    let mut client = server.connect();
    for request in ["SNDFILE 1 d", "RCVFILE 0 d", "LS missing", "LSR missing"] {
        assert!(client.ask(request).starts_with("FAILED "), "{request}");
        client.expect_alive();
    }
    for word in ["PUT", "GET", "PUTCAN", "GETCAN"] {
        let last: &[i64] = if word.ends_with("CAN") { &[1] } else { &[] };
        let request = Client::hp(word, "d", &[&[0, 10], last].concat());
        assert_eq!(client.ask(request), reply_for(34), "{word}");
        client.expect_alive();
    }
    client.expect("NIGMA 7", 46);
    client.expect("STARTNTFY", 6);
    client.expect_alive();
}
