//! Message lengths, words, pipelining (tf-protocol(7), FRAMING and COMMANDS).

use std::io::Write;

use crate::common::{Client, Server, Setup, reply_for, wait_until};
use tfd::tf::wire::MAX_MESSAGE;

#[test]
fn an_empty_message_and_unknown_words_are_unknown() {
    let server = Server::start();
    let mut client = server.connect();
    let long = "A".repeat(32);
    for message in [
        "", " ", "\0", "FROB", "DATE\n", "ECHO\tx", " ECHO x", "XS1_A", "SETTZ x", &long,
    ] {
        assert_eq!(client.ask(message), "UNKNOWN", "{message:?}");
    }
    client.expect_alive();
}

/// The words of the section "Not served" of tf-protocol(7).
fn not_served() -> Vec<&'static str> {
    let page = include_str!("../../man/tf-protocol.7");
    let (_, rest) = page.split_once(".Ss Not served\n").expect("the section");
    let (section, _) = rest.split_once("\n.Sh ").expect("its end");
    let rows = section.lines().filter_map(|line| line.strip_prefix(".It "));
    rows.flat_map(|row| row.split(", ")).collect()
}

#[test]
fn commands_that_are_not_served_are_unknown_and_keep_step() {
    let words = not_served();
    assert_eq!(words.len(), 27, "{words:?}");
    let server = Server::start();
    server.write("f", "content");
    let mut client = server.connect();
    for word in words {
        for message in [
            word.to_owned(),
            format!("{word} f"),
            word.to_ascii_lowercase(),
        ] {
            assert_eq!(client.ask(&message), "UNKNOWN", "{message}");
        }
    }
    client.expect_alive();
    assert_eq!(server.names(""), ["f"]);
}

#[test]
fn words_are_read_without_case_and_one_space_ends_them() {
    let server = Server::start();
    let mut client = server.connect();
    assert_eq!(client.ask("echo a"), "a");
    assert_eq!(client.ask("EcHo  a b "), " a b ");
    assert_eq!(client.ask("ECHO"), "");
    assert_eq!(client.ask("ECHO a\0b"), "a");
    assert!(client.ask("DATE extra").starts_with("OK "));
}

#[test]
fn the_longest_message_is_read_and_a_longer_one_closes() {
    let mut server = Server::start();
    let mut client = server.connect();
    let text = "x".repeat(MAX_MESSAGE - 5);
    assert_eq!(client.ask(format!("ECHO {text}")), text);
    for announced in [MAX_MESSAGE as i32 + 1, i32::MAX, -1, i32::MIN] {
        let mut client = server.connect();
        client.wire.write_i32(announced).expect("send");
        client.expect_closed();
    }
    server.wait_for_log("message of 524289 bytes announced");
    client.expect_alive();
}

#[test]
fn a_length_out_of_bounds_before_the_key_closes_too() {
    let mut server = Server::start();
    for announced in [-1, MAX_MESSAGE as i32 + 1] {
        let mut client = Client::knock(server.address());
        client.wire.write_i32(announced).expect("send");
        client.expect_closed();
    }
    server.wait_for_log("message of -1 bytes announced");
}

#[test]
fn requests_in_one_piece_and_byte_by_byte_get_their_replies() {
    let server = Server::start();
    let mut client = server.connect();
    for n in 0..200 {
        client.send(format!("ECHO {n}"));
    }
    for n in 0..200 {
        assert_eq!(client.reply(), n.to_string());
    }
    let mut twin = tfd::tf::cipher::Cipher::new(&[7; 32]);
    let mut client = Client::connect_with_key(server.address(), &[7; 32]);
    twin.encrypt(&mut [0; 4]);
    twin.encrypt(&mut [0; 8]);
    for mut unit in [vec![0, 0, 0, 6], b"ECHO a".to_vec()] {
        twin.encrypt(&mut unit);
        for byte in unit {
            client.wire.socket().write_all(&[byte]).expect("send");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
    assert_eq!(client.reply(), "a");
}

#[test]
fn end_closes_without_a_reply() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("END");
    client.expect_closed();
}

#[test]
fn a_request_before_a_half_close_is_answered() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("ECHO last");
    client
        .wire
        .socket()
        .shutdown(std::net::Shutdown::Write)
        .expect("shutdown");
    assert_eq!(client.reply(), "last");
    client.expect_closed();
}

#[test]
fn long_work_before_a_half_close_is_done_and_answered() {
    let server = Server::start();
    server.write("large", "");
    let file = std::fs::File::options()
        .write(true)
        .open(server.path("large"));
    // The server looks at the client several times meanwhile.
    file.expect("open").set_len(600 << 20).expect("length");
    for n in 0..9000 {
        std::fs::hard_link(server.path("large"), server.path(&format!("d{n}"))).expect("link");
    }
    let mut client = server.connect();
    client.send("SHA256 large");
    client.send("LSV2 @||@list");
    client
        .wire
        .socket()
        .shutdown(std::net::Shutdown::Write)
        .expect("shutdown");
    let reply = client.reply();
    assert!(reply.starts_with("OK 0x"), "{reply}");
    assert_eq!(client.reply(), "OK");
    client.expect_closed();
    let list = server.read("list");
    assert_eq!(list.iter().filter(|c| **c == b'\n').count(), 9002);
}

#[test]
fn an_idle_limit_closes_only_who_is_idle() {
    let server = "idle_timeout = 3".to_owned();
    let server = Server::with(Setup {
        server,
        ..Setup::default()
    });
    let mut busy = server.connect();
    let mut idle = server.connect();
    let closed = || {
        server
            .log()
            .iter()
            .any(|line| line.contains("reason=\"time limit passed\""))
    };
    wait_until("the idle one is closed", || {
        busy.expect_alive();
        closed()
    });
    idle.expect_closed();
    busy.expect_alive();
}

#[test]
fn doors_that_are_open_say_so() {
    let server = Server::start();
    let mut client = server.connect();
    assert_eq!(client.ask("LOGIN a b"), reply_for(39));
    assert_eq!(client.ask("LOGIN a"), reply_for(39));
    assert_eq!(client.ask("INJAIL token | dir"), reply_for(51));
    assert_eq!(client.ask("INJAIL token"), reply_for(51));
    assert_eq!(client.ask("TLB"), reply_for(52));
}

#[test]
fn each_session_has_an_unguessable_key() {
    let server = Server::start();
    let mut keys: Vec<String> = (0..4).map(|_| server.connect().ask("PROCKEY")).collect();
    for key in &keys {
        let text = key.strip_prefix("OK /").expect("OK and a key");
        assert!((22..=36).contains(&text.len()), "{key}");
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 4);
    let mut client = server.connect();
    assert_eq!(client.ask("PROCKEY"), client.ask("PROCKEY"));
}

#[test]
fn keepalive_is_set_or_refused_by_what_the_system_takes() {
    let server = Server::start();
    let mut client = server.connect();
    client.expect_all(&[
        ("KEEPALIVE 1 60 | 5 | 3", 0),
        ("KEEPALIVE 0 60 | 5 | 3", 0),
        ("KEEPALIVE 1 32767 | 32767 | 127", 0),
        ("KEEPALIVE", 16),
        ("KEEPALIVE 1", 16),
        ("KEEPALIVE 1 60", 16),
        ("KEEPALIVE 1 60 | 5", 16),
        ("KEEPALIVE 1 99999 | 5 | 3", 32),
        ("KEEPALIVE 1 60 | 5 | 200", 32),
        ("KEEPALIVE 1 0 | 5 | 3", 32),
        ("KEEPALIVE 1 60 | -5 | 3", 32),
        ("KEEPALIVE 1 99999999999999999999 | 5 | 3", 32),
    ]);
    client.expect_alive();
}
