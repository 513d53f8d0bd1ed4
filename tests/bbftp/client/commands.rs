use std::io::Write;

use tfd::bbftp::wire::{Code, Header};
use tfd::client::bbftp::{Fate, Kind, Listed, Options, Session};

use crate::fake::{Peer, serve_version};

/// A session of a version, and a server that hears one message and answers it.
fn asked<T>(
    version: u32,
    (code, payload): (Code, &'static [u8]),
    (answer, text): (Code, &'static [u8]),
    ask: impl FnOnce(&mut Session) -> T,
) -> T {
    let (target, server) = serve_version(version, "x", move |peer| {
        assert_eq!(peer.expect(code), payload, "{code:?}");
        peer.say(answer, text);
    });
    let mut session = Session::open(&target, &()).expect("session");
    let answered = ask(&mut session);
    drop(session);
    server.join().expect("server");
    answered
}

const OPTIONS: Options = Options::USUAL;

#[test]
fn each_command_is_one_message_and_its_answer_a_text() {
    type Ask = fn(&mut Session) -> tfd::client::bbftp::Result<Vec<u8>>;
    let cd: Ask = |s| s.change_directory(b"/a b", OPTIONS);
    let mkdir: Ask = |s| s.make_directory(b"d", OPTIONS);
    let cases: [(u32, Code, &[u8], Ask); 9] = [
        (1, Code::ChDir, b"/a b", cd),
        (1, Code::MkDir, b"d", mkdir),
        (2, Code::ChDirV2, b"\0\0\0\x0f/a b", cd),
        (3, Code::MkDirV2, b"\0\0\0\x0fd", mkdir),
        (3, Code::Rm, b"\0\0\0\x0ff", |s| s.remove(b"f", OPTIONS)),
        (3, Code::Stat, b"\0\0\0\x0ff", |s| s.stat(b"f", OPTIONS)),
        (2, Code::Df, b"\0\0\0\x0f.", |s| s.space(b".", OPTIONS)),
        (2, Code::ChUmask, b"\0\0\0\x3f", |s| s.set_umask(0o77)),
        (3, Code::ChCos, b"\xff\xff\xff\xff", |s| s.set_class(-1)),
    ];
    for (version, code, payload, ask) in cases {
        for text in [&b""[..], b"done \n"] {
            let said = asked(version, (code, payload), (Code::Ok, text), ask);
            assert_eq!(said.expect("answer"), text);
        }
        let bad = asked(version, (code, payload), (Code::Bad, b"no \n"), ask);
        let bad = bad.expect_err("refused");
        assert_eq!(
            (bad.code, bad.fate, &bad.text[..]),
            (100, Fate::Again, "no ")
        );
        let bad = asked(version, (code, payload), (Code::BadNoRetry, b"\xff"), ask);
        assert_eq!(bad.expect_err("refused").fate, Fate::Final);
        let odd = asked(version, (code, payload), (Code::RetrOk, b""), ask);
        let odd = odd.expect_err("refused");
        assert_eq!((odd.code, odd.fate), (62, Fate::FinalReconnect));
    }
}

#[test]
fn version_1_has_no_other_commands() {
    let (target, server) = serve_version(1, "x", |peer| assert!(peer.is_left()));
    let mut session = Session::open(&target, &()).expect("session");
    for failed in [
        session.remove(b"f", OPTIONS),
        session.stat(b"f", OPTIONS),
        session.space(b"f", OPTIONS),
        session.set_umask(0),
        session.set_class(0),
    ] {
        let failed = failed.expect_err("no such command");
        assert_eq!((failed.code, failed.fate), (101, Fate::Final));
    }
    session.close();
    server.join().expect("server");
}

#[test]
fn listings_are_read_in_all_versions() {
    let entry = |path: &[u8], is_link, kind| Listed {
        path: path.to_vec(),
        is_link,
        kind,
    };
    let list = |s: &mut Session| s.list(b"d/*", OPTIONS);
    let names = (Code::ListRepl, &b"d/a\0d/b\0"[..]);
    let listed = asked(1, (Code::List, b"d/*"), names, list).expect("list");
    assert_eq!(
        listed,
        [entry(b"d/a", false, None), entry(b"d/b", false, None)]
    );
    let request = (Code::ListV2, &b"\0\0\0\x0fd/*"[..]);
    let entries = (Code::ListReplV2, &b"d/.\0 d\0d/l\0lu\0"[..]);
    let listed = asked(3, request, entries, list).expect("list");
    let expected = [
        entry(b"d/.", false, Some(Kind::Directory)),
        entry(b"d/l", true, Some(Kind::Nothing)),
    ];
    assert_eq!(listed, expected);
    let nothing = asked(1, (Code::List, b"d/*"), (Code::ListRepl, b""), list);
    assert_eq!(nothing.expect("list"), []);
    let damaged = asked(2, request, (Code::ListReplV2, b"d/.\0"), list);
    assert_eq!(damaged.expect_err("damaged").code, 62);
}

#[test]
fn a_message_may_come_in_pieces_and_warnings_before_it() {
    let (target, server) = serve_version(3, "x", |peer| {
        peer.expect(Code::ChDirV2);
        peer.say(Code::Info, b"a warning");
        let message = [&Header { code: 0, len: 2 }.encode()[..], b"/a"].concat();
        for byte in message {
            let mut socket = peer.control.link().socket();
            socket.write_all(&[byte]).expect("write");
        }
    });
    let mut session = Session::open(&target, &()).expect("session");
    let text = session.change_directory(b"/a", OPTIONS).expect("cd");
    assert_eq!(text, b"/a");
    server.join().expect("server");
}

#[test]
fn a_length_that_no_answer_has_ends_the_connection_before_it_is_read() {
    for len in [u32::MAX, 1 << 31, 1 << 30, 70_000] {
        let (target, server) = serve_version(3, "x", move |peer| {
            peer.expect(Code::ChDirV2);
            let header = Header { code: 0, len }.encode();
            let mut socket = peer.control.link().socket();
            socket.write_all(&header).expect("write");
        });
        let mut session = Session::open(&target, &()).expect("session");
        let failed = session
            .change_directory(b"/a", OPTIONS)
            .expect_err("length");
        assert_eq!((failed.code, failed.fate), (63, Fate::FinalReconnect));
        server.join().expect("server");
    }
}

#[test]
fn after_a_failed_command_server_3_3_0_is_left() {
    const TEXT: &str = "bbftpd version 3.3.0 : OK";
    let fail: fn(&mut Peer) = |peer| {
        peer.hear();
        peer.say(Code::BadNoRetry, b"no");
        peer.say(Code::Ok, b"stale");
    };
    let (target, server) = serve_version(3, TEXT, fail);
    let mut session = Session::open(&target, &()).expect("session");
    assert!(!session.is_lost());
    let failed = session.make_directory(b"d", OPTIONS).expect_err("refused");
    assert_eq!((failed.code, failed.fate), (100, Fate::FinalReconnect));
    assert!(session.is_lost());
    server.join().expect("server");
    let (target, server) = serve_version(3, TEXT, |peer| {
        peer.hear();
        peer.say(Code::ListReplV2, b"");
    });
    let mut session = Session::open(&target, &()).expect("session");
    assert_eq!(session.list(b"*", OPTIONS).expect("list"), []);
    assert!(session.is_lost());
    server.join().expect("server");
}

#[test]
fn a_client_says_goodbye_where_the_version_has_a_word_for_it() {
    for version in [1, 2, 3] {
        let (target, server) = serve_version(version, "x", move |peer| {
            if version > 1 {
                assert_eq!(peer.expect(Code::CloseConn), b"");
            }
            assert!(peer.is_left());
        });
        Session::open(&target, &()).expect("session").close();
        server.join().expect("server");
    }
}

#[test]
fn what_waits_for_a_server_ends_when_it_is_cancelled() {
    let (target, server) = serve_version(3, "x", |peer| {
        peer.expect(Code::ChDirV2);
        assert!(peer.is_left());
    });
    let cancel = target.cancel.clone();
    let mut session = Session::open(&target, &()).expect("session");
    let waiting = std::thread::spawn(move || session.change_directory(b"/a", OPTIONS));
    cancel.cancel();
    let failed = waiting.join().expect("thread").expect_err("cancelled");
    assert_eq!((failed.code, failed.fate), (33, Fate::End));
    drop(server);
}
