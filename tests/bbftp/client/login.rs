use std::io::Write;
use std::net::Shutdown;

use tfd::bbftp::wire::{Code, Header};
use tfd::client::bbftp::{Error, Fate, Options, Session, Target};

use crate::fake::{Peer, serve};

/// The failure to open a session with a server.
fn failure(change: impl FnOnce(&mut Target), script: fn(&mut Peer)) -> (u8, Fate, String) {
    let (mut target, server) = serve(script);
    change(&mut target);
    let Error { code, fate, text } = Session::open(&target, &()).expect_err("refused");
    server.join().expect("server");
    (code, fate, text)
}

fn refused(script: fn(&mut Peer)) -> (u8, Fate, String) {
    failure(|_| {}, script)
}

/// Leaves with all that the client sent read, so that it gets no reset.
fn leave(peer: &mut Peer) {
    let socket = peer.control.link().socket().try_clone().expect("socket");
    socket.shutdown(Shutdown::Write).expect("shutdown");
    while peer.control.read_header().is_ok() {}
}

#[test]
fn keys_of_both_public_servers_take_a_login() {
    for exponent in [3, 65537] {
        let (target, server) = serve(move |peer| {
            let key = peer.greet(1024, exponent);
            peer.read_login(&key);
            peer.say(Code::Ok, b"");
            peer.agree(1, 3);
        });
        let session = Session::open(&target, &()).expect("session");
        assert_eq!((session.version(), session.text()), (3, &b""[..]));
        assert!(!session.is_tfd() && !session.offer().small);
        server.join().expect("server");
    }
}

#[test]
fn only_tfd_in_version_3_offers_more() {
    const TFD: &str = "tfd 0.1.0 : OK +small +sha256 +resume";
    for version in [2, 3] {
        let (target, server) = crate::fake::serve_version(version, TFD, |_| {});
        let session = Session::open(&target, &()).expect("session");
        let offer = session.offer();
        assert!(session.is_tfd());
        assert_eq!([offer.small, offer.sha256, offer.resume], [version == 3; 3]);
        server.join().expect("server");
    }
}

#[test]
fn a_login_that_is_refused_says_why_and_whether_to_try_again() {
    let wrong = refused(|peer| {
        let key = peer.greet(1024, 65537);
        peer.read_login(&key);
        peer.say(Code::BadNoRetry, b"Incorrect password ");
    });
    assert_eq!(wrong, (100, Fate::End, "Incorrect password ".to_owned()));
    let unknown = refused(|peer| {
        let key = peer.greet(1024, 65537);
        peer.read_login(&key);
        peer.say(Code::Bad, b"busy\nnow");
    });
    assert_eq!((unknown.0, unknown.1), (100, Fate::Reconnect));
    let full = refused(|peer| peer.say(Code::Bad, b"full"));
    assert_eq!(full, (100, Fate::Reconnect, "full".to_owned()));
}

#[test]
fn a_greeting_that_is_none_is_told_by_its_number() {
    type Case = (fn(&mut Peer), u8, Fate);
    let cases: [Case; 8] = [
        (|_| {}, 54, Fate::Reconnect),
        (|peer| peer.say(Code::Prot, b""), 55, Fate::End),
        (|peer| drop(peer.greet(512, 65537)), 56, Fate::End),
        (|peer| drop(peer.greet(2048, 65537)), 56, Fate::End),
        (|peer| peer.say(Code::Crypt, &[0; 152]), 57, Fate::End),
        (|peer| peer.say(Code::Crypt, &[0, 0, 0, 2]), 56, Fate::End),
        (
            |peer| {
                let len = 1 << 30;
                let header = Header { code: 6, len }.encode();
                let mut socket = peer.control.link().socket();
                socket.write_all(&header).expect("write");
            },
            54,
            Fate::FinalReconnect,
        ),
        (
            |peer| {
                let key = peer.greet(1024, 65537);
                peer.read_login(&key);
            },
            59,
            Fate::Reconnect,
        ),
    ];
    for (at, (script, code, fate)) in cases.into_iter().enumerate() {
        let failed = refused(script);
        assert_eq!((failed.0, failed.1), (code, fate), "{at}: {}", failed.2);
    }
}

#[test]
fn a_name_or_password_that_no_block_can_hold_is_not_sent() {
    let long = failure(
        |target| target.login = Some((b"ann".to_vec(), vec![b'x'; 87].into())),
        |peer| {
            peer.greet(1024, 65537);
            assert!(peer.is_left());
        },
    );
    assert_eq!((long.0, long.1), (56, Fate::End));
}

#[test]
fn the_highest_common_version_is_spoken() {
    for (theirs, ours, chosen) in [
        ((1, 3), 1..=3, 3),
        ((1, 4), 1..=3, 3),
        ((1, 2), 1..=3, 2),
        ((1, 1), 1..=3, 1),
        ((1, 3), 2..=2, 2),
        ((2, 2), 1..=3, 2),
    ] {
        let (mut target, server) = serve(move |peer| {
            peer.let_in("x");
            assert_eq!(peer.agree(theirs.0, theirs.1), chosen);
        });
        target.versions = ours;
        let session = Session::open(&target, &()).expect("session");
        assert_eq!(session.version(), chosen);
        server.join().expect("server");
    }
}

#[test]
fn a_server_that_does_not_know_the_question_speaks_version_1_on_the_same_connection() {
    for code in [Code::Bad, Code::BadNoRetry] {
        let (target, server) = serve(move |peer| {
            peer.let_in("x");
            peer.expect(Code::Prot);
            peer.say(code, b"Unkown message in logged state");
            assert_eq!(peer.expect(Code::ChDir), b"/a");
            peer.say(Code::Ok, b"/a");
        });
        let mut session = Session::open(&target, &()).expect("session");
        assert_eq!(session.version(), 1);
        let text = session.change_directory(b"/a", Options::USUAL);
        assert_eq!(text.expect("cd"), b"/a");
        server.join().expect("server");
    }
}

#[test]
fn servers_without_a_common_version_are_told_so_and_not_tried_again() {
    let ranges = failure(
        |target| target.versions = 2..=3,
        |peer| {
            peer.let_in("x");
            peer.expect(Code::Prot);
            peer.say(Code::ProtAns, &[0, 0, 0, 4, 0, 0, 0, 4]);
            assert_eq!(peer.expect(Code::BadNoRetry), b"");
            assert!(peer.is_left());
        },
    );
    assert_eq!((ranges.0, ranges.1), (101, Fate::End));
    assert!(ranges.2.contains("(4,4)") && ranges.2.contains("(2,3)"));
    let old = failure(
        |target| target.versions = 2..=3,
        |peer| {
            peer.let_in("x");
            peer.expect(Code::Prot);
            peer.say(Code::BadNoRetry, b"what?");
        },
    );
    assert_eq!((old.0, old.1), (101, Fate::End));
    assert!(old.2.contains("(1,1)"));
}

#[test]
fn a_server_that_leaves_at_the_question_may_be_tried_again_and_an_odd_one_not() {
    let left = refused(|peer| {
        peer.let_in("x");
        peer.expect(Code::Prot);
        leave(peer);
    });
    assert_eq!((left.0, left.1), (67, Fate::Reconnect));
    let odd = refused(|peer| {
        peer.let_in("x");
        peer.expect(Code::Prot);
        peer.say(Code::ProtAns, &[0, 0, 0, 3, 0, 0, 0, 1]);
    });
    assert_eq!((odd.0, odd.1), (62, Fate::FinalReconnect));
}

#[test]
fn version_1_alone_is_spoken_without_a_question_and_a_server_may_not_have_it() {
    let (mut target, server) = serve(|peer| {
        peer.let_in("x");
        peer.expect(Code::ChDir);
        leave(peer);
    });
    target.versions = 1..=1;
    let mut session = Session::open(&target, &()).expect("session");
    let failed = session.change_directory(b"/", Options::USUAL);
    let failed = failed.expect_err("no version 1");
    assert_eq!((failed.code, failed.fate), (101, Fate::End));
    drop(session);
    server.join().expect("server");
}

#[test]
fn a_host_that_is_not_there_is_told_from_one_that_does_not_answer() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = closed.local_addr().expect("address").port();
    drop(closed);
    let mut target = Target::new("127.0.0.1", port);
    target.login = Some((vec![], vec![].into()));
    let failed = Session::open(&target, &()).expect_err("nobody");
    assert_eq!((failed.code, failed.fate), (52, Fate::Reconnect));
    target.host = "no.such.host.invalid".to_owned();
    let failed = Session::open(&target, &()).expect_err("nobody");
    assert_eq!((failed.code, failed.fate), (17, Fate::End));
}
