use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::path::Path;

use openssl::sha::sha256;
use tfd::bbftp::wire::extension::{Missing, RetrFrom, StoreFrom, TransOkFrom};
use tfd::bbftp::wire::{Code, Transfer};
use tfd::client::bbftp::{Fate, How, Moved, Options, Result, Session};

use super::{Files, Heard, content};
use crate::fake::{ACK, Peer, serve_version};

const TFD: &str = "tfd 0.1.0 : OK +small +sha256 +resume";

const SIZE: usize = 1 << 20;

const CHANGED: u32 = 0x1000_0000;

fn how() -> How {
    How {
        streams: 2,
        resume: true,
        ..How::default()
    }
}

fn get(
    to: &Path,
    text: &'static str,
    script: impl FnOnce(&mut Peer) + Send + 'static,
) -> Result<Moved> {
    let (target, server) = serve_version(3, text, script);
    let mut session = Session::open(&target, &()).expect("session");
    let got = session.get(b"/r", to, &how(), &());
    drop(session);
    server.join().expect("server");
    got
}

/// Sends a part of each range, and leaves.
fn cut(peer: &mut Peer) {
    let (request, _) = peer.request(Code::RetrV2);
    let transfer = Transfer {
        size: SIZE as u64,
        mode: 0o600,
        accessed: Some(CHANGED),
        modified: Some(CHANGED),
        ..request
    };
    let content = content(SIZE);
    let mut streams = peer.streams(3, &transfer);
    for (at, stream) in streams.iter_mut().enumerate() {
        let begin = at * SIZE / 2;
        stream
            .write_all(&content[begin..begin + 300_000])
            .expect("write");
    }
    for stream in &streams {
        // The end of one has the client close them all.
        let _ = stream.shutdown(Shutdown::Write);
    }
    // It has read at least one of them to its end then.
    for mut stream in streams {
        let _ = stream.read(&mut [0]);
    }
}

/// Answers a request for the rest; how many bytes it was.
fn continue_with(peer: &mut Peer) -> u64 {
    let payload = peer.expect(Code::RetrFrom);
    let request = RetrFrom::decode(&payload).expect("request");
    assert_eq!(request.name, b"/r");
    let Transfer { size, modified, .. } = request.transfer;
    assert_eq!((size, modified), (SIZE as u64, Some(CHANGED)));
    let transfer = Transfer {
        mode: 0o600,
        accessed: Some(CHANGED),
        ..request.transfer.clone()
    };
    let streams = offer(peer, &transfer, &request.missing, None);
    let content = content(SIZE);
    for (mut stream, Missing { begin, len }) in streams.into_iter().zip(&request.missing) {
        let range = *begin as usize..(begin + len) as usize;
        stream.write_all(&content[range]).expect("write");
        let mut ack = [0; 8];
        stream.read_exact(&mut ack).expect("ack");
        assert_eq!(ack, ACK);
    }
    peer.say(Code::Ok, b"OK");
    request.missing.iter().map(|missing| missing.len).sum()
}

/// Agrees to a transfer of what is missing, with the SHA-256 of the rest.
fn offer(
    peer: &mut Peer,
    transfer: &Transfer,
    missing: &[Missing],
    kept: Option<[u8; 32]>,
) -> Vec<std::net::TcpStream> {
    let listen = |_: &Missing| TcpListener::bind("127.0.0.1:0").expect("listen");
    let listeners: Vec<_> = missing.iter().map(listen).collect();
    let port = |l: &TcpListener| l.local_addr().expect("address").port();
    let streams = listeners.iter().map(port).zip(missing.iter().copied());
    let offer = TransOkFrom {
        transfer: transfer.clone(),
        streams: streams.collect(),
        kept,
    };
    peer.say(Code::TransOkFrom, &offer.encode());
    peer.accept(&listeners)
}

fn digits(content: &[u8]) -> String {
    sha256(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn state(peer: &mut Peer, content: &[u8]) {
    assert_eq!(peer.expect(Code::Sha256), b"/r");
    peer.say(Code::Ok, digits(content).as_bytes());
}

const PART: &str = "f.bbftp.part.1048576.10000000";

#[test]
fn a_get_that_was_cut_continues_with_what_is_missing_and_is_compared() {
    let files = Files::new();
    let file = files.path("f");
    let lost = get(&file, TFD, cut).expect_err("lost");
    assert_eq!(lost.fate, Fate::Reconnect);
    assert_eq!(files.names(), [PART]);
    let got = get(&file, TFD, |peer| {
        let missing = continue_with(peer);
        assert!(missing < SIZE as u64 - 100_000, "{missing}");
        state(peer, &content(SIZE));
    });
    assert_eq!(got.expect("get").bytes, SIZE as u64);
    assert_eq!(files.names(), ["f"]);
    assert!(fs::read(&file).expect("read") == content(SIZE));
}

#[test]
fn a_file_that_the_server_has_changed_is_fetched_anew() {
    let files = Files::new();
    let file = files.path("f");
    get(&file, TFD, cut).expect_err("lost");
    let got = get(&file, TFD, |peer| {
        peer.expect(Code::RetrFrom);
        peer.say(Code::BadNoRetry, b"File /r has changed");
        let (request, _) = peer.request(Code::RetrV2);
        let transfer = Transfer {
            size: 3,
            streams: 1,
            modified: Some(1),
            ..request
        };
        crate::fake::send(peer.streams(3, &transfer), b"new");
        peer.say(Code::Ok, b"OK");
    });
    got.expect("get");
    assert_eq!(files.names(), ["f"]);
    assert_eq!(fs::read(&file).expect("read"), b"new");
}

#[test]
fn what_does_not_fit_what_was_here_is_thrown_away() {
    let files = Files::new();
    let file = files.path("f");
    get(&file, TFD, cut).expect_err("lost");
    let got = get(&file, TFD, |peer| {
        continue_with(peer);
        state(peer, b"another file");
    });
    let differs = got.expect_err("another file");
    assert_eq!((differs.code, differs.fate), (100, Fate::Again));
    assert_eq!(files.names(), Vec::<String>::new());
}

#[test]
fn nothing_stays_of_a_get_that_no_server_can_continue() {
    let files = Files::new();
    get(&files.path("f"), "tfd 0.1.0 : OK +sha256", cut).expect_err("lost");
    assert_eq!(files.names(), Vec::<String>::new());
}

#[test]
fn a_put_sends_what_the_server_lacks() {
    for (begin, len) in [(0, SIZE as u64), (700_000, 48_576), (0, 0)] {
        let (target, server) = serve_version(3, TFD, move |peer| {
            let payload = peer.expect(Code::StoreFrom);
            let request = StoreFrom::decode(&payload).expect("request");
            assert_eq!(
                (request.name, request.transfer.size),
                (&b"/r"[..], SIZE as u64)
            );
            let missing: Vec<Missing> = match len {
                0 => vec![],
                len => vec![Missing { begin, len }],
            };
            let mut rest = content(SIZE);
            rest.drain(begin as usize..(begin + len) as usize);
            let kept = (len < SIZE as u64).then(|| sha256(&rest));
            let streams = offer(peer, &request.transfer, &missing, kept);
            for mut stream in streams {
                let mut part = vec![0; len as usize];
                stream.read_exact(&mut part).expect("read");
                let begin = begin as usize;
                assert!(part == content(SIZE)[begin..begin + len as usize]);
                stream.write_all(&ACK).expect("write");
            }
            peer.say(Code::Ok, b"OK");
        });
        let files = Files::new();
        let file = files.with("f", &content(SIZE));
        let heard = Heard::default();
        let mut session = Session::open(&target, &()).expect("session");
        let moved = session.put(&file, b"/r", &how(), &heard).expect("put");
        assert_eq!(moved.bytes, SIZE as u64);
        server.join().expect("server");
        let streams = u32::from(len > 0);
        let begun = format!("{SIZE} on {streams} from {}", SIZE as u64 - len);
        assert_eq!(heard.all()[0], begun);
    }
}

/// Refuses what a server says to have, and asks it to begin afresh.
#[test]
fn a_put_continues_nothing_but_the_same_file() {
    let begun = Missing {
        begin: 700_000,
        len: SIZE as u64 - 700_000,
    };
    let whole = Missing {
        begin: 0,
        len: SIZE as u64,
    };
    for (missing, kept) in [
        (begun, Some([7; 32])),
        (begun, None),
        (whole, Some([7; 32])),
    ] {
        for obeys in [true, false] {
            let (target, server) = serve_version(3, TFD, move |peer| {
                let ask = |peer: &mut Peer| {
                    let payload = peer.expect(Code::StoreFrom);
                    let request = StoreFrom::decode(&payload).expect("request");
                    (request.transfer.options, request.transfer)
                };
                let say = |peer: &mut Peer, transfer, missing, kept| {
                    let answer = TransOkFrom {
                        transfer,
                        streams: vec![(1, missing)],
                        kept,
                    };
                    peer.say(Code::TransOkFrom, &answer.encode());
                };
                let (options, transfer) = ask(peer);
                assert!(!options.has(Options::AFRESH));
                say(peer, transfer, missing, kept);
                peer.expect(Code::Abort);
                let (options, transfer) = ask(peer);
                assert!(options.has(Options::AFRESH));
                if !obeys {
                    say(peer, transfer, missing, kept);
                    peer.expect(Code::Abort);
                    return;
                }
                for mut stream in offer(peer, &transfer, &[whole], None) {
                    let mut all = vec![0; SIZE];
                    stream.read_exact(&mut all).expect("read");
                    assert!(all == content(SIZE));
                    stream.write_all(&ACK).expect("write");
                }
                peer.say(Code::Ok, b"OK");
            });
            let files = Files::new();
            let file = files.with("f", &content(SIZE));
            let mut session = Session::open(&target, &()).expect("session");
            let put = session.put(&file, b"/r", &how(), &());
            drop(session);
            server.join().expect("server");
            assert_eq!(put.is_ok(), obeys);
        }
    }
}
