//! Version, key, hash (tf-protocol(7), HANDSHAKE).

use crate::common::{Client, HASH, Server, Setup, VERSION, has_ipv6, reply_for, wait_until};

#[test]
fn a_trailing_nul_of_the_c_client_is_accepted() {
    let server = Server::start();
    let mut client = Client::knock(server.address());
    assert_eq!(client.ask(format!("{VERSION}\0")), "OK");
    client.send_key(&[3; 16]);
    assert_eq!(client.reply(), "OK");
    client.wire.encipher(&[3; 16]);
    assert_eq!(client.ask(format!("{HASH}\0")), "OK");
    client.expect_alive();
}

#[test]
fn a_wrong_version_is_told_and_closed() {
    let server = Server::start();
    for version in ["", "0.1", "0.0 ", "0.0\0\0", "0.0\0x", &"9".repeat(100_000)] {
        let mut client = Client::knock(server.address());
        assert_eq!(client.ask(version), reply_for(2), "{version:.10}");
        client.expect_closed();
    }
}

#[test]
fn a_bad_key_block_is_told_and_closed() {
    let server = Server::start();
    for block in [
        vec![],
        vec![1; 255],
        vec![1; 256],
        vec![0; 257],
        vec![1; 400_000],
    ] {
        let mut client = Client::knock(server.address());
        assert_eq!(client.ask(VERSION), "OK");
        assert_eq!(client.ask(&block), reply_for(25), "{} bytes", block.len());
        client.expect_closed();
    }
}

#[test]
fn session_keys_have_16_to_214_bytes() {
    let server = Server::start();
    for (len, fine) in [(0, false), (1, false), (15, false), (16, true), (214, true)] {
        let mut client = Client::knock(server.address());
        assert_eq!(client.ask(VERSION), "OK");
        client.send_key(&vec![5; len]);
        assert_eq!(
            client.reply(),
            reply_for(if fine { 0 } else { 25 }),
            "{len} bytes"
        );
    }
}

#[test]
fn a_wrong_hash_is_told_enciphered_and_closed() {
    let server = Server::start();
    for hash in [
        "",
        "x",
        "testhas",
        "testhash2",
        "testhash\0\0",
        &"h".repeat(300_000),
    ] {
        let mut client = Client::knock(server.address());
        assert_eq!(client.ask(VERSION), "OK");
        client.send_key(&[7; 32]);
        assert_eq!(client.reply(), "OK");
        client.wire.encipher(&[7; 32]);
        assert_eq!(client.ask(hash), reply_for(3), "{hash:.10}");
        client.expect_closed();
    }
}

#[test]
fn a_client_that_says_nothing_is_closed_when_the_time_is_over() {
    let server = "handshake_timeout = 1".to_owned();
    let mut server = Server::with(Setup {
        server,
        ..Setup::default()
    });
    let mut silent = Client::knock(server.address());
    let mut slow = Client::knock(server.address());
    // The length of a message that is never whole.
    slow.trickle(&[0, 0, 0, 30]);
    silent.expect_closed();
    slow.expect_closed();
    server.wait_for_lines("time limit passed", 2);
    wait_until("a client in time", || {
        Client::knock(server.address()).try_in().is_some()
    });
}

#[test]
fn the_whole_handshake_may_come_in_one_piece() {
    use openssl::rsa::Padding;
    use std::io::{Read, Write};
    use tfd::tf::cipher::Cipher;
    let server = Server::start();
    let session_key = [9; 20];
    let mut block = vec![0; 256];
    crate::common::public_key()
        .public_encrypt(&session_key, &mut block, Padding::PKCS1_OAEP)
        .expect("encrypt");
    let mut tx = Cipher::new(&session_key);
    let mut bytes = Vec::new();
    for body in [VERSION.as_bytes(), &block] {
        bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
        bytes.extend_from_slice(body);
    }
    for body in [HASH.as_bytes(), b"ECHO early", b"END"] {
        for mut unit in [(body.len() as u32).to_be_bytes().to_vec(), body.to_vec()] {
            tx.encrypt(&mut unit);
            bytes.extend_from_slice(&unit);
        }
    }
    let client = Client::knock(server.address());
    client.wire.socket().write_all(&bytes).expect("send");
    let mut replies = Vec::new();
    client
        .wire
        .socket()
        .read_to_end(&mut replies)
        .expect("receive");
    let mut rx = Cipher::new(&session_key);
    let mut expected = b"\0\0\0\x02OK\0\0\0\x02OK".to_vec();
    for body in [&b"OK"[..], b"early"] {
        for mut unit in [(body.len() as u32).to_be_bytes().to_vec(), body.to_vec()] {
            rx.encrypt(&mut unit);
            expected.extend_from_slice(&unit);
        }
    }
    assert_eq!(replies, expected);
}

#[test]
fn both_families_are_served() {
    if !has_ipv6() {
        return;
    }
    let tf = "listen = [\"127.0.0.1:0\", \"[::1]:0\"]".to_owned();
    let server = Server::with(Setup {
        tf,
        ..Setup::default()
    });
    assert_eq!(server.addresses().len(), 2);
    for address in server.addresses() {
        Client::connect(*address).expect_alive();
    }
}
