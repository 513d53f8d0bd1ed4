use std::fs;
use std::path::PathBuf;

use tfd::bbftp::wire::extension::{MAX_SMALL_FILE, SmallFile, SmallStore};
use tfd::bbftp::wire::{Code, Transfer, decode_with_options};
use tfd::client::bbftp::{Error, Fate, How, Moved, Options, Result, Session};

use super::{Files, content};
use crate::fake::{Peer, receive, send, serve_version};

const TFD: &str = "tfd 0.1.0 : OK +small +sha256";

const FILES: usize = 200;

/// Digits of the SHA-256 of `abc`.
const ABC: &[u8] = b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn name(at: usize) -> Vec<u8> {
    format!("/d/{at}").into_bytes()
}

type Outcomes = Vec<(usize, Result<Moved>)>;

#[test]
fn small_files_go_to_tfd_one_behind_the_other() {
    let (target, server) = serve_version(3, TFD, |peer| {
        // So many are under way before the first answer.
        let mut heard = Vec::new();
        for _ in 0..60 {
            heard.push(peer.expect(Code::SmallStore));
        }
        let refused = |at| at % 7 == 3;
        for at in 0..FILES {
            if at >= heard.len() {
                heard.push(peer.expect(Code::SmallStore));
            }
            let store = SmallStore::decode(&heard[at]).expect("request");
            assert_eq!(
                (store.name, store.content),
                (&name(at)[..], &content(at)[..])
            );
            assert!(store.transfer.modified.is_some());
            match refused(at) {
                true => peer.say(Code::BadNoRetry, b"no"),
                false => peer.say(Code::Ok, b"OK"),
            }
        }
    });
    let files = Files::new();
    let list: Vec<(PathBuf, Vec<u8>)> = (0..FILES)
        .map(|at| (files.with(&at.to_string(), &content(at)), name(at)))
        .collect();
    let mut session = Session::open(&target, &()).expect("session");
    let mut outcomes = Outcomes::new();
    let mut done = |at, outcome| outcomes.push((at, outcome));
    session
        .put_small(&list, &How::default(), &mut done)
        .expect("put");
    server.join().expect("server");
    assert_eq!(outcomes.len(), FILES);
    for (expected, (at, outcome)) in outcomes.into_iter().enumerate() {
        assert_eq!(at, expected);
        match outcome {
            Ok(moved) => assert!(moved.bytes == at as u64 && at % 7 != 3),
            Err(e) => assert!(at % 7 == 3 && (e.code, e.fate) == (100, Fate::Final)),
        }
    }
}

#[test]
fn small_files_come_from_tfd_one_behind_the_other() {
    let (target, server) = serve_version(3, TFD, |peer| {
        let mut heard = Vec::new();
        for _ in 0..60 {
            heard.push(peer.expect(Code::SmallRetr));
        }
        for at in 0..FILES {
            if at >= heard.len() {
                heard.push(peer.expect(Code::SmallRetr));
            }
            let (_, path) = decode_with_options(&heard[at]).expect("request");
            assert_eq!(path, name(at));
            let transfer = Transfer {
                size: at as u64,
                mode: 0o600,
                modified: Some(1_000_000),
                accessed: Some(1_000_000),
                buffer: 1,
                streams: 1,
                ..Transfer::default()
            };
            let content = content(at);
            let content = &content[..];
            peer.say(Code::SmallFile, &SmallFile { transfer, content }.encode());
        }
    });
    let files = Files::new();
    let list: Vec<(Vec<u8>, PathBuf)> = (0..FILES)
        .map(|at| (name(at), files.path(&at.to_string())))
        .collect();
    let mut session = Session::open(&target, &()).expect("session");
    let mut outcomes = Outcomes::new();
    let mut done = |at, outcome| outcomes.push((at, outcome));
    session
        .get_small(&list, &How::default(), &mut done)
        .expect("get");
    server.join().expect("server");
    assert_eq!(outcomes.len(), FILES);
    for (at, (_, path)) in list.iter().enumerate() {
        assert!(fs::read(path).expect("read") == content(at));
    }
    assert_eq!(files.names().len(), FILES);
}

#[test]
fn a_file_too_large_for_a_message_goes_the_usual_way() {
    const LARGE: usize = MAX_SMALL_FILE + 1;
    let (target, server) = serve_version(3, TFD, |peer| {
        peer.expect(Code::SmallStore);
        peer.say(Code::Ok, b"OK");
        let (request, _) = peer.request(Code::StoreV2);
        let streams = peer.streams(3, &request);
        assert!(receive(streams, LARGE) == content(LARGE));
        peer.say(Code::Ok, b"OK");
        peer.expect(Code::SmallStore);
        peer.say(Code::Ok, b"OK");
    });
    let files = Files::new();
    let large = files.with("large", &content(LARGE));
    let small = files.with("small", &content(MAX_SMALL_FILE));
    let list = [(small.clone(), name(0)), (large, name(1)), (small, name(2))];
    let mut session = Session::open(&target, &()).expect("session");
    let mut outcomes = Outcomes::new();
    let mut done = |at, outcome| outcomes.push((at, outcome));
    session
        .put_small(&list, &How::default(), &mut done)
        .expect("put");
    server.join().expect("server");
    assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()));
    let (target, server) = serve_version(3, TFD, |peer| {
        peer.expect(Code::SmallRetr);
        peer.say(Code::BadNoRetry, b"too large");
        let (request, _) = peer.request(Code::RetrV2);
        let transfer = Transfer {
            size: LARGE as u64,
            ..request
        };
        send(peer.streams(3, &transfer), &content(LARGE));
        peer.say(Code::Ok, b"OK");
    });
    let got = files.path("got");
    let mut session = Session::open(&target, &()).expect("session");
    let list = [(name(0), got.clone())];
    let rest = session.get_small(&list, &How::default(), &mut |_, _| {});
    assert_eq!(rest.expect("get"), [0]);
    let moved = session.get(&name(0), &got, &How::default(), &());
    moved.expect("get");
    server.join().expect("server");
    assert!(fs::read(got).expect("read") == content(LARGE));
}

#[test]
fn files_without_an_answer_are_not_reported_when_the_connection_is_lost() {
    let (target, server) = serve_version(3, TFD, |peer| {
        peer.expect(Code::SmallStore);
        peer.say(Code::Ok, b"OK");
    });
    let files = Files::new();
    let file = files.with("f", b"abc");
    let list: Vec<_> = (0..10).map(|at| (file.clone(), name(at))).collect();
    let mut session = Session::open(&target, &()).expect("session");
    let mut outcomes = Outcomes::new();
    let mut done = |at, outcome| outcomes.push((at, outcome));
    let lost = session.put_small(&list, &How::default(), &mut done);
    let lost = lost.expect_err("lost");
    assert!(matches!(lost.fate, Fate::Reconnect), "{lost:?}");
    assert!(outcomes.len() <= 1, "{outcomes:?}");
    server.join().expect("server");
}

/// Puts and gets a file of three bytes whose SHA-256 is compared.
fn compared(digits: &'static [u8]) -> [Result<Moved>; 2] {
    let sha256 = move |peer: &mut Peer| {
        assert_eq!(peer.expect(Code::Sha256), b"/r");
        peer.say(Code::Ok, digits);
    };
    let (target, server) = serve_version(3, TFD, move |peer| {
        let (request, _) = peer.request(Code::StoreV2);
        let streams = peer.streams(3, &request);
        receive(streams, 3);
        peer.say(Code::Ok, b"OK");
        sha256(peer);
        if digits.len() < 64 {
            return;
        }
        let (request, _) = peer.request(Code::RetrV2);
        let transfer = Transfer { size: 3, ..request };
        send(peer.streams(3, &transfer), b"abc");
        peer.say(Code::Ok, b"OK");
        sha256(peer);
    });
    let files = Files::new();
    let file = files.with("f", b"abc");
    let how = How {
        sha256: true,
        ..How::default()
    };
    let mut session = Session::open(&target, &()).expect("session");
    let put = session.put(&file, b"/r", &how, &());
    let got = match digits.len() {
        64 => session.get(b"/r", &files.path("got"), &how, &()),
        _ => put.clone(),
    };
    server.join().expect("server");
    assert_eq!(files.path("got").exists(), got.is_ok());
    assert!(files.names().len() <= 2);
    [put, got]
}

#[test]
fn what_tfd_has_is_compared_with_what_is_here() {
    for moved in compared(ABC) {
        assert_eq!(moved.expect("the same").bytes, 3);
    }
    let other = b"0000000000000000000000000000000000000000000000000000000000000000";
    for moved in compared(other) {
        let Error { code, fate, .. } = moved.expect_err("another");
        assert_eq!((code, fate), (100, Fate::Again));
    }
    assert!(compared(b"abc")[0].is_err());
}

#[test]
fn other_servers_are_not_asked_for_an_sha256() {
    let (target, server) = serve_version(3, "bbftpd version 3.3.0 : OK", |peer| {
        let (request, _) = peer.request(Code::StoreV2);
        assert!(!request.options.has(Options::GZIP));
        let streams = peer.streams(3, &request);
        receive(streams, 3);
        peer.say(Code::Ok, b"OK");
        assert!(peer.is_left());
    });
    let files = Files::new();
    let file = files.with("f", b"abc");
    let how = How {
        sha256: true,
        ..How::default()
    };
    let mut session = Session::open(&target, &()).expect("session");
    session.put(&file, b"/r", &how, &()).expect("put");
    drop(session);
    server.join().expect("server");
}
