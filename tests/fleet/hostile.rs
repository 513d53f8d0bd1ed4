//! A store that says what none of ours could: values that somebody has put there, and
//! replies of a program that is no store.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use crate::common::pids;
use crate::store::{
    BLOCKED, FULL, Store, decides_alone, fail, left_out, log_in, pair, refusal, server,
};

#[test]
fn values_of_others_cost_nothing_but_those_values() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [a, b] = pair(&store);
    let key = |name: &str| format!("tfd:tfd:1:{name}");
    for (name, garbage) in [
        ("failed-at:bob:127.0.0.1", &["SET", "x"][..]),
        (
            "failed:127.0.0.1",
            &[
                "HSET",
                "count",
                "1e308",
                "ends",
                "99999999999",
                "last",
                "nan",
            ],
        ),
        ("freed:127.0.0.1", &["LPUSH", "x"]),
        ("freed-account:bob", &["SET", "99999999999"]),
        ("sessions:ann", &["ZADD", "99999999999999999", "somebody"]),
        ("sessions:bob", &["SET", "x"]),
        ("kicks", &["ZADD", "1", "\u{ff}"]),
        ("usage", &["SET", "x"]),
    ] {
        let key = key(name);
        let words = [&[garbage[0], &key], &garbage[1..]].concat();
        store.ask(&words);
    }
    assert_eq!(refusal(&b, "bob b"), None);
    let _client = log_in(&a, "ann a");
    b.connect().expect_reason("LOGIN ann a", FULL);
    fail(&a, "bob", 3);
    b.connect().expect_reason("LOGIN bob b", BLOCKED);
    for server in [&a, &b] {
        let log = server.log();
        assert!(
            !log.iter().any(|line| line.contains("shared state lost")),
            "{log:#?}"
        );
    }
}

/// Something that answers each request with these bytes.
fn answering(reply: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let port = listener.local_addr().expect("address").port();
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut request = [0; 4096];
                while socket.read(&mut request).is_ok_and(|n| n > 0) {
                    if socket.write_all(reply).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[test]
fn replies_of_a_program_that_is_no_store_end_the_connection_and_nothing_else() {
    if left_out() {
        return;
    }
    let store = Store::stopped("");
    for reply in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"+OK\r\n",
        b":1\r\n",
        b"*-1\r\n",
        b"$2147483647\r\n",
        b"*2147483647\r\n",
        b"*1\r\n*1\r\n*1\r\n",
        b"*8\r\n:1\r\n:99999999\r\n:1\r\n:99999999\r\n:0\r\n:1\r\n:-1\r\n:-1\r\n",
        b"\xff\x00\xff",
    ] {
        let port = answering(reply);
        let mut server = server(&store.shared_at(&format!("redis://127.0.0.1:{port}")));
        server.wait_for_log("shared state lost");
        decides_alone(&server);
        assert_eq!(pids(&server, "tfd-state").len(), 1);
        assert!(
            !server
                .log()
                .iter()
                .any(|line| line.contains("ended unasked"))
        );
    }
}
