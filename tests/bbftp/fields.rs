//! Messages with fields that are too long, negative, zero or out of order: each is
//! answered or ends its own connection, and no other.

use std::time::Duration;

use crate::peer::*;

#[test]
fn what_nobody_knows_is_read_whole_and_refused() {
    let Some(server) = server("") else { return };
    for version in [1, 2, 3] {
        let mut peer = Peer::ann(&server, version);
        for (code, payload) in [
            (50, vec![0; 5]),
            (99, vec![0; 100_000]),
            (u32::MAX, vec![]),
            (OK, vec![1; 3]),
            (LOG, vec![0; 276]),
            (LIST_REPL, vec![0; 9]),
        ] {
            let text = peer.expect_refused((code, &payload));
            assert_eq!(text, "Unknown message in logged state");
        }
        for code in [ABORT, ABR, CREATE_ZERO] {
            peer.send(code, b"");
        }
        peer.expect_alive();
        for (code, announced) in [(SERVER_STATUS, 276), (CRYPT, 276), (CERT_LOG, 12)] {
            peer.send_bytes(&announcing(code, announced, b""));
            assert_eq!(peer.answer().0, NO);
        }
        peer.expect_alive();
    }
}

#[test]
fn rfio_of_version_1_is_refused_once_the_whole_message_is_read() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::ann(&server, 1);
    for code in [RETR_RFIO, RETR_RFIO_C] {
        let text = peer.expect_refused((code, &old_transfer(b"f", 0, 1, 5000)));
        assert!(text.contains("RFIO not supported"), "{text}");
    }
    peer.expect_alive();
}

#[test]
fn a_length_that_no_message_has_ends_the_connection_with_a_word() {
    let Some(server) = server("") else { return };
    let mut other = Peer::ann(&server, 3);
    for version in [1, 2, 3] {
        for code in [LIST, LIST_V2, MKDIR_V2, STORE_V2, RM, 12345] {
            for len in [-1_i32, i32::MIN, -576, i32::MAX] {
                let mut peer = Peer::ann(&server, version);
                peer.send_bytes(&announcing(code, len as u32, &[0; 16]));
                let (answer, text) = peer.answer();
                assert!(answer == NO && text.contains("length"), "{answer} {text}");
                peer.expect_closed();
            }
        }
    }
    other.expect_alive();
}

#[test]
fn paths_that_are_none_are_refused_and_the_session_goes_on() {
    let Some(server) = server("") else { return };
    let mut old = Peer::ann(&server, 1);
    for code in [MKDIR, CHDIR, LIST] {
        for path in [&b""[..], b"\0", b"a\0b", &[b'x'; 5000], &[b'x'; 50_000]] {
            old.expect_refused((code, path));
        }
        old.expect_refused((code, &[b'x'; 4096])); // ENAMETOOLONG, at the latest
    }
    old.expect_alive();
    let mut new = Peer::ann(&server, 3);
    for code in [MKDIR_V2, CHDIR_V2, LIST_V2, RM, STAT, DF] {
        for payload in [
            &b""[..],
            b"\0\0\0",
            b"\0\0\0\0",
            b"\0\0\0\0\0",
            b"\0\0\0\0a\0b",
            &[b'x'; 9000],
        ] {
            new.expect_refused((code, payload));
        }
    }
    new.expect_alive();
    assert_eq!(
        server.names("").len(),
        1,
        "nothing was made: {:?}",
        server.names("")
    );
}

#[test]
fn transfers_with_numbers_out_of_range_are_refused() {
    let Some(server) = server("") else { return };
    let mut old = Peer::ann(&server, 1);
    for payload in [
        old_transfer(b"f", 3, 0, 5000),
        old_transfer(b"f", 3, 11, 5000),
        old_transfer(b"f", 3, u32::MAX, 5000),
        old_transfer(b"f", -1, 1, 5000),
        old_transfer(b"f", 3, 1, 0),
        old_transfer(b"f", 3, 1, 65536),
        old_transfer(b"", 3, 1, 5000),
        old_transfer(&[b'x'; 500], 3, 1, 5000),
        old_transfer(b"f", 3, 1, 5000)[..575].to_vec(),
        [old_transfer(b"f", 3, 1, 5000), vec![0; 10_000]].concat(),
        vec![],
    ] {
        for code in [STORE, RETR] {
            old.expect_refused((code, &payload));
        }
    }
    old.expect_alive();
    for version in [2, 3] {
        let mut peer = Peer::ann(&server, version);
        for payload in [
            transfer(-1, 0, 256, 1),
            transfer(i64::MIN, 0, 256, 1),
            transfer(3, 0, 0, 1),
            transfer(3, 0, -1, 1),
            transfer(3, 0, 256, 0),
            transfer(3, 0, 256, -1),
            transfer(3, 0, 256, 1)[..47].to_vec(),
            [transfer(3, 0, 256, 1), vec![0]].concat(),
            vec![],
            vec![0; 9000],
        ] {
            for code in [STORE_V2, RETR_V2] {
                // A client sends both at once, and reads one answer.
                let both = [message(code, &payload), message(FILENAME, b"f")].concat();
                peer.send_bytes(&both);
                assert_eq!(peer.answer().0, NO);
            }
        }
        peer.expect_alive();
        for name in [
            &b""[..],
            b"\0",
            b"a\0b",
            b"jail.key",
            &[b'x'; 4097],
            &[b'x'; 8000],
        ] {
            peer.send(STORE_V2, &transfer(3, 0, 256, 1));
            peer.expect_refused((FILENAME, name));
        }
        peer.send(STORE_V2, &transfer(3, 0x20, 256, 1));
        let text = peer.expect_refused((FILENAME, b"f"));
        assert!(text.contains("RFIO"), "{text}");
        peer.expect_alive();
    }
    assert_eq!(server.names("").len(), 1, "{:?}", server.names(""));
}

#[test]
fn messages_of_a_transfer_without_one_are_refused() {
    let Some(server) = server("") else { return };
    for version in [2, 3] {
        let mut peer = Peer::ann(&server, version);
        peer.expect_refused((FILENAME, b"f"));
        peer.expect_refused((TRANS_START_V2, &[0, 0, 0x13, 0x88]));
        peer.send_bytes(&announcing(TRANS_START_V3, 4, b""));
        assert_eq!(peer.answer().0, NO);
        peer.send(RETR_V2, &transfer(0, 0, 256, 1));
        peer.send(ABORT, b"");
        peer.expect_alive();
        peer.send(STORE_V2, &transfer(3, 0, 256, 1));
        let text = peer.expect_refused((CHDIR_V2, &with_options(0, "home")));
        assert!(text.contains("name of the file is missing"), "{text}");
        peer.expect_alive();
    }
    let mut old = Peer::ann(&server, 1);
    old.expect_refused((RETR_START, b""));
    old.expect_alive();
}

#[test]
fn a_message_may_come_in_pieces_and_several_at_once() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::ann(&server, 3);
    let request = message(CHDIR_V2, &with_options(0, "home"));
    for byte in &request {
        peer.send_bytes(&[*byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(peer.answer(), (OK, "/home".to_owned()));
    let up = message(CHDIR_V2, &with_options(0, ".."));
    peer.send_bytes(&[up.clone(), request.clone(), up].concat());
    for expected in ["/", "/home", "/"] {
        assert_eq!(peer.answer(), (OK, expected.to_owned()));
    }
}

#[test]
fn two_sessions_have_a_working_directory_and_a_umask_each() {
    let Some(server) = server("") else { return };
    let (mut one, mut two) = (Peer::ann(&server, 3), Peer::ann(&server, 2));
    one.expect((CHDIR_V2, &with_options(0, "home")), (OK, "/home"));
    one.expect(
        (CHUMASK, &[0, 0, 0, 0o77]),
        (OK, "umask changed from 0022 to 0077"),
    );
    two.expect(
        (CHUMASK, &[0, 0, 0, 0o22]),
        (OK, "umask changed from 0022 to 0022"),
    );
    two.expect((CHDIR_V2, &with_options(0, ".")), (OK, "/"));
    one.send_bytes(&announcing(RM, u32::MAX, b""));
    one.expect_closed();
    two.expect_alive();
}

#[test]
fn an_idle_session_ends_by_the_limit() {
    let Some(server) = server_with("idle_timeout = 1", "") else {
        return;
    };
    let mut peer = Peer::ann(&server, 3);
    peer.expect_closed();
}
