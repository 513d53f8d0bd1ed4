//! Transfers that end early, and connections that are nobody's: the file is the
//! old one or the new one, and no part is left.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Server, pids, wait_until};
use crate::peer::*;
use crate::streams::*;

const SIZE: usize = 300_000;

/// Waits until what is there is what was there before.
fn expect_old(server: &Server) {
    wait_until("the old file alone", || server.names("") == ["f", "home"]);
    assert_eq!(server.read("f"), b"old");
}

/// A transfer under way: the client, and its streams.
fn under_way(server: &Server, version: u32, code: u32) -> (Peer, Vec<TcpStream>) {
    let mut peer = Peer::ann(server, version);
    let plan = Plan {
        buffer: 1,
        ..Plan::new(version, 3)
    };
    let sockets = if version == 1 {
        let listeners = listeners(3);
        let size = if code == STORE { SIZE } else { 0 };
        peer.send(code, &old_request("f", size, &ports(&listeners)));
        if code == RETR {
            assert_eq!(peer.receive().0, RETR_OK);
            peer.send(RETR_START, b"");
        }
        accept(&listeners)
    } else {
        let size = if code == STORE_V2 { SIZE } else { 0 };
        let agreed = agree(&mut peer, plan, code, "f", size);
        start(&mut peer, plan, &agreed, false)
    };
    (peer, sockets)
}

/// STORE or RETR of a version.
fn codes(version: u32) -> [u32; 2] {
    if version == 1 {
        [STORE, RETR]
    } else {
        [STORE_V2, RETR_V2]
    }
}

#[test]
fn a_stream_that_ends_early_ends_the_transfer_and_not_the_session() {
    let Some(server) = server("") else { return };
    put_there(&server, "f", b"old");
    for version in [1, 2, 3] {
        let (mut peer, mut sockets) = under_way(&server, version, codes(version)[0]);
        sockets[0].write_all(&[1; SIZE / 3]).expect("write");
        sockets[1].write_all(&[1; 1000]).expect("write");
        sockets[1].shutdown(Shutdown::Both).expect("end");
        let (code, text) = peer.answer();
        assert_eq!(code, BAD);
        let expected = match version {
            1 => "Connection reset by peer",
            _ => "Error on server: Connection reset by peer",
        };
        assert_eq!(text, expected);
        let mut end = Vec::new();
        let _ = sockets[2].read_to_end(&mut end);
        assert!(end.is_empty(), "no acknowledgement");
        expect_old(&server);
        peer.expect_alive();
        let plan = Plan::new(version, 2);
        assert_eq!(
            put(&mut peer, plan, "f", b"old").0,
            OK,
            "the session goes on"
        );
    }
}

#[test]
fn a_stream_that_is_not_acknowledged_fails() {
    let Some(server) = server("") else { return };
    put_there(&server, "f", &content(SIZE));
    for version in [1, 2, 3] {
        for answer in [&[0, 0, 0, 3, 0, 0, 0, 0][..], &ACK[..3]] {
            let (mut peer, mut sockets) = under_way(&server, version, codes(version)[1]);
            for socket in &mut sockets {
                socket.read_exact(&mut [0; SIZE / 3]).expect("range");
            }
            for socket in &mut sockets[..2] {
                socket.write_all(&ACK).expect("ack");
            }
            sockets[2].write_all(answer).expect("no ack");
            sockets[2].shutdown(Shutdown::Write).expect("end");
            let (code, text) = peer.answer();
            let why = if answer.len() == 8 {
                "Operation not permitted"
            } else {
                "Connection reset"
            };
            assert!(code == BAD && text.contains(why), "{text}");
            peer.expect_alive();
        }
    }
}

#[test]
fn bad_chunks_are_refused() {
    let Some(server) = server("") else { return };
    put_there(&server, "f", b"old");
    for version in [1, 2, 3] {
        let mut peer = Peer::ann(&server, version);
        for bytes in [
            message(1, b"no zlib"),
            message(0, &[1; 2000]),
            message(7, b"x"),
            announcing(0, u32::MAX, b"x"),
        ] {
            let mut sockets = if version == 1 {
                let listeners = listeners(1);
                peer.send(STORE_C, &old_request("f", 1000, &ports(&listeners)));
                accept(&listeners)
            } else {
                let options = 1 | GZIP;
                let plan = Plan {
                    options,
                    ..Plan::new(version, 1)
                };
                let agreed = agree(&mut peer, plan, STORE_V2, "f", 1000);
                start(&mut peer, plan, &agreed, false)
            };
            sockets[0].write_all(&bytes).expect("write");
            let (code, text) = peer.answer();
            assert!(
                code == BAD && text.ends_with("Illegal byte sequence"),
                "{text}"
            );
        }
        expect_old(&server);
        peer.expect_alive();
    }
}

#[test]
fn a_client_that_leaves_at_any_step_leaves_nothing() {
    let Some(server) = server("") else { return };
    put_there(&server, "f", b"old");
    let steps: [fn(&Server, u32); 5] = [
        |server, version| {
            let mut peer = Peer::ann(server, version);
            match version {
                1 => peer.send(STORE, &old_request("f", SIZE, &ports(&listeners(1)))),
                _ => peer.send(STORE_V2, &transfer(SIZE as i64, 1, 256, 1)),
            }
        },
        |server, version| {
            let mut peer = Peer::ann(server, version.max(2));
            agree(&mut peer, Plan::new(version.max(2), 2), STORE_V2, "f", SIZE);
        },
        |server, version| {
            let (_peer, _sockets) = under_way(server, version, codes(version)[0]);
        },
        |server, version| {
            let (peer, mut sockets) = under_way(server, version, codes(version)[0]);
            sockets[0].write_all(&[1; SIZE / 3]).expect("write");
            sockets[0].read_exact(&mut [0; 8]).expect("ack");
            // The control connection alone ends: the streams do, too.
            drop(peer);
            for mut socket in sockets {
                assert!(matches!(socket.read(&mut [0]), Ok(0) | Err(_)));
            }
        },
        |server, version| {
            let (peer, mut sockets) = under_way(server, version, codes(version)[0]);
            peer.socket.shutdown(Shutdown::Write).expect("half");
            assert!(matches!(sockets[1].read(&mut [0]), Ok(0) | Err(_)));
        },
    ];
    for step in steps {
        for version in [1, 2, 3] {
            step(&server, version);
            expect_old(&server);
        }
    }
}

#[test]
fn a_message_during_a_transfer_ends_the_session() {
    let Some(server) = server("") else { return };
    put_there(&server, "f", b"old");
    for version in [1, 2, 3] {
        for code in [ABORT, ABR, LIST] {
            let (mut peer, mut sockets) = under_way(&server, version, codes(version)[0]);
            sockets[0].write_all(&[1; 1000]).expect("write");
            peer.send(code, b"");
            for socket in &mut sockets {
                assert!(matches!(socket.read(&mut [0]), Ok(0) | Err(_)));
            }
            peer.expect_closed();
            expect_old(&server);
        }
    }
}

#[test]
fn another_message_in_place_of_the_start_ends_the_session() {
    let Some(server) = server("") else { return };
    put_there(&server, "f", b"old");
    for version in [2, 3] {
        for code in [LIST, FILENAME, RETR_START] {
            let mut peer = Peer::ann(&server, version);
            agree(&mut peer, Plan::new(version, 2), STORE_V2, "f", SIZE);
            peer.send(code, b"");
            peer.expect_closed();
            expect_old(&server);
        }
        let mut peer = Peer::ann(&server, 2);
        agree(&mut peer, Plan::new(2, 2), STORE_V2, "f", SIZE);
        peer.expect_refused((TRANS_START_V2, &encoded(&[4000])));
        expect_old(&server);
        peer.expect_alive();
    }
}

#[test]
fn a_killed_session_leaves_the_old_file() {
    let Some(server) = server("") else { return };
    put_there(&server, "f", b"old");
    for version in [1, 2, 3] {
        let (mut peer, mut sockets) = under_way(&server, version, codes(version)[0]);
        sockets[0].write_all(&[1; 1000]).expect("write");
        let sessions = pids(&server, "tfd-session");
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        let session = Pid::from_raw(sessions[0] as i32);
        kill(session, Signal::SIGKILL).expect("kill");
        peer.expect_closed();
        assert_eq!(server.read("f"), b"old");
        wait_until("its end", || pids(&server, "tfd-session").is_empty());
        expect_old(&server);
    }
    let mut other = Peer::ann(&server, 3);
    other.expect_alive();
}

/// A connection to a port of the server from another address than the client's.
fn stranger(port: u16) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket: OwnedFd = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
    bind(&socket, &SocketAddr::from(([127, 0, 0, 2], 0))).expect("bind");
    connect(&socket, &SocketAddr::from(([127, 0, 0, 1], port))).expect("connect");
    socket.into()
}

#[test]
fn connections_of_others_and_second_ones_are_closed() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::ann(&server, 3);
    let plan = Plan {
        buffer: 1,
        ..Plan::new(3, 2)
    };
    let agreed = agree(&mut peer, plan, STORE_V2, "f", 4000);
    let mut strangers: Vec<_> = agreed.ports.iter().map(|port| stranger(*port)).collect();
    for socket in &mut strangers {
        let _ = socket.write_all(&[6; 2000]);
    }
    let mut sockets = start(&mut peer, plan, &agreed, false);
    let late: Vec<_> = agreed
        .ports
        .iter()
        .map(|port| TcpStream::connect(("127.0.0.1", *port)))
        .collect();
    for socket in &mut sockets {
        socket.write_all(&[7; 2000]).expect("write");
        socket.read_exact(&mut [0; 8]).expect("ack");
    }
    assert_eq!(peer.answer().0, OK);
    assert_eq!(server.read("f"), [7; 4000]);
    for mut socket in strangers.into_iter().chain(late.into_iter().flatten()) {
        assert!(matches!(socket.read(&mut [0]), Ok(0) | Err(_)), "closed");
    }
    for port in agreed.ports {
        assert!(
            TcpStream::connect(("127.0.0.1", port)).is_err(),
            "no longer there"
        );
    }
}

#[test]
fn connections_that_do_not_come_about_fail_the_transfer_alone() {
    let Some(server) = server_with("data_timeout = 1", "") else {
        return;
    };
    put_there(&server, "f", b"old");
    for version in [1, 2] {
        let mut peer = Peer::ann(&server, version);
        let listeners = listeners(2);
        let open = ports(&listeners);
        drop(listeners);
        match version {
            1 => peer.send(STORE, &old_request("f", SIZE, &open)),
            _ => {
                let agreed = agree(&mut peer, Plan::new(2, 2), STORE_V2, "f", SIZE);
                assert_eq!(agreed.streams, 2);
                peer.send(TRANS_START_V2, &encoded(&open));
            }
        }
        let (code, text) = peer.answer();
        assert!(
            code == BAD && text.starts_with("Cannot connect receive socket "),
            "{text}"
        );
        assert!(text.ends_with(" : Connection refused"), "{text}");
        expect_old(&server);
        peer.expect_alive();
    }
    let mut peer = Peer::ann(&server, 3);
    agree(&mut peer, Plan::new(3, 2), STORE_V2, "f", SIZE);
    peer.send_bytes(&announcing(TRANS_START_V3, 8, b""));
    let (code, text) = peer.answer();
    assert_eq!(
        (code, text.as_str()),
        (
            BAD,
            "Cannot accept on receive socket 1 : Connection timed out"
        )
    );
    expect_old(&server);
    peer.expect_alive();
    // A client that leaves is not waited for.
    agree(&mut peer, Plan::new(3, 2), STORE_V2, "f", SIZE);
    peer.send_bytes(&announcing(TRANS_START_V3, 8, b""));
    drop(peer);
    expect_old(&server);
}
