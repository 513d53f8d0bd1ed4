//! Puts that were cut continue: what has arrived is there for the same account and
//! the same file alone, and is used only if it is of the file that is sent.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tfd::bbftp::wire::extension::TransOkFrom;
use tfd::client::bbftp::{How, Options, Session, Target};

use crate::client::{Files, Heard, content};
use crate::common::{Server, pids, wait_until};
use crate::pair::{Watch, open, server, target, tls_target};
use crate::peer::*;
use crate::program::Caller;

const SIZE: usize = 10_000_000;

const STORE_FROM: u32 = 0x7466_0006;
const TRANS_OK_FROM: u32 = 0x7466_0007;
const TRANS_SIMUL_V3: u32 = 44;

fn how() -> How {
    How {
        streams: 3,
        resume: true,
        ..How::default()
    }
}

/// A session of this account.
fn session_of(target: &Target, user: &str) -> Session {
    let login = Some((user.as_bytes().to_vec(), b"pass word".to_vec().into()));
    open(&Target {
        login,
        ..target.clone()
    })
}

/// Puts a file; how many of its bytes were there before.
fn put_rest(session: &mut Session, file: &Path, name: &str) -> u64 {
    let heard = Heard::default();
    let put = session.put(file, name.as_bytes(), &how(), &heard);
    put.expect("put");
    let begun = heard.all()[0].clone();
    let from = begun.rsplit(' ').next().expect("from");
    from.parse().expect("number")
}

/// Asks for a transfer of the rest of a file to the server.
fn ask(peer: &mut Peer, name: &str, size: usize) -> TransOkFrom {
    let transfer = transfer(size as i64, 1, 256, 3);
    peer.send(STORE_FROM, &[&transfer, name.as_bytes()].concat());
    let (code, payload) = peer.receive();
    let text = String::from_utf8_lossy(&payload);
    assert_eq!(code, TRANS_OK_FROM, "{text}");
    TransOkFrom::decode(&payload).expect("consent")
}

/// Ann begins to put a file, and is gone after a third of each range.
fn cut(server: &Server, name: &str, content: &[u8]) {
    cut_by(server, "ann", name, content);
}

fn cut_by(server: &Server, user: &str, name: &str, content: &[u8]) {
    let others = sessions(server);
    let mut peer = Peer::logged_in(server, user, "pass word");
    peer.choose(3);
    let consent = ask(&mut peer, name, content.len());
    let streams = consent.streams.iter().map(|(port, missing)| {
        let socket = TcpStream::connect(("127.0.0.1", *port)).expect("connect");
        (socket, *missing)
    });
    let mut streams: Vec<_> = streams.collect();
    peer.send_bytes(&announcing(TRANS_START_V3, 12, b""));
    for (socket, missing) in &mut streams {
        let (begin, len) = (missing.begin as usize, missing.len as usize);
        let third = &content[begin..begin + len / 3];
        socket.write_all(third).expect("write");
    }
    await_bytes(server, content.len() / 4);
    drop((streams, peer));
    await_end(server, others);
}

/// Waits until the only part has so many bytes.
fn await_bytes(server: &Server, bytes: usize) {
    wait_until("a part of the file", || {
        let parts = parts(server);
        let part = parts.first().map(|name| server.path(name));
        let found = part.and_then(|path| fs::metadata(path).ok());
        found.is_some_and(|found| found.blocks() * 512 >= bytes as u64)
    });
}

fn sessions(server: &Server) -> usize {
    pids(server, "tfd-session").len()
}

/// Waits until no more sessions than these are left.
fn await_end(server: &Server, others: usize) {
    wait_until("the session to end", || sessions(server) <= others);
}

/// The parts that are left.
fn parts(server: &Server) -> Vec<String> {
    let names = server.names("");
    let is_part = |name: &String| name.starts_with(".tfd-kept-") && name.ends_with(".part");
    names.into_iter().filter(is_part).collect()
}

#[test]
fn a_put_that_was_cut_continues() {
    let Some(server) = server("") else { return };
    for target in [target(&server, 3), tls_target(&server, 3)] {
        let files = Files::new();
        let file = files.with("f", &content(SIZE));
        let mut session = session_of(&target, "slow");
        let watch = Watch(target.cancel.clone(), 3_000_000);
        let failed = session.put(&file, b"f", &how(), &watch);
        failed.expect_err("cancelled");
        drop(session);
        target.cancel.renew();
        await_end(&server, 0);
        assert_eq!(parts(&server).len(), 1);
        let mut session = session_of(&target, "slow");
        let listed = session.list(b".*", Options::USUAL).expect("list");
        assert_eq!(listed.len(), 2, "clients see . and .. alone");
        let from = put_rest(&mut session, &file, "f");
        assert!(from > 1_000_000, "{from}");
        assert!(server.read("f") == content(SIZE));
        assert_eq!(server.names(""), ["f"]);
        fs::remove_file(server.path("f")).expect("remove");
    }
}

#[test]
fn what_has_arrived_is_there_for_its_account_and_its_file_alone() {
    let Some(server) = server("") else { return };
    let files = Files::new();
    let file = files.with("f", &content(SIZE));
    cut(&server, "f", &content(SIZE));
    let target = target(&server, 3);
    let mut ann = open(&target);
    assert_eq!(put_rest(&mut ann, &file, "g"), 0, "another file");
    // Of the same system user.
    let mut slow = session_of(&target, "slow");
    assert_eq!(put_rest(&mut slow, &file, "f"), 0, "another account");
    assert_eq!(parts(&server).len(), 1);
    assert!(put_rest(&mut ann, &file, "f") > 1_000_000);
    assert_eq!(server.names(""), ["f", "g"]);
    assert!(server.read("f") == content(SIZE) && server.read("g") == content(SIZE));
}

#[test]
fn a_file_that_was_changed_is_never_mixed_with_what_has_arrived() {
    let Some(server) = server("") else { return };
    let files = Files::new();
    let mut session = open(&target(&server, 3));
    let mut changed = content(SIZE);
    changed[1000] ^= 1;
    let shorter = content(SIZE - 1);
    let mut later = content(SIZE);
    later[SIZE - 1] ^= 1;
    for (new, continues) in [(changed, false), (shorter, false), (later, true)] {
        cut(&server, "f", &content(SIZE));
        let file = files.with("f", &new);
        let from = put_rest(&mut session, &file, "f");
        assert_eq!(from > 0, continues, "{from}");
        assert!(server.read("f") == new);
        assert_eq!(server.names(""), ["f"]);
    }
}

#[test]
fn a_put_continues_after_its_session_or_its_client_was_killed() {
    let Some(server) = server("") else { return };
    let caller = Caller::new();
    caller.write("pw", "pass word");
    caller.write("f", content(SIZE));
    let file = caller.path("f");
    let target = target(&server, 3);
    let command = || {
        let port = target.port.to_string();
        let commands = "setbuffersize 64;setoption resume;put f";
        let mut command = caller.command(&["-r", "1", "-p", "3", "-e", commands, "-w", &port]);
        command.args(["--password-file", "pw", "-u", "slow", "127.0.0.1"]);
        command
    };
    for kills_client in [true, false] {
        let mut client = command().spawn().expect("client");
        await_bytes(&server, SIZE / 3);
        let killed = match kills_client {
            true => client.id(),
            false => pids(&server, "tfd-session")[0],
        };
        let killed = Pid::from_raw(killed as i32);
        kill(killed, Signal::SIGKILL).expect("kill");
        assert!(!client.wait().expect("end").success());
        await_end(&server, 0);
        assert!(!server.exists("f"));
        let from = put_rest(&mut session_of(&target, "slow"), &file, "f");
        assert!(from > 1_000_000, "{from}");
        assert!(server.read("f") == content(SIZE));
        assert_eq!(server.names(""), ["f"]);
        fs::remove_file(server.path("f")).expect("remove");
    }
}

#[test]
fn two_at_once_for_one_target_mix_nothing() {
    let Some(server) = server("") else { return };
    let files = Files::new();
    let contents = [content(SIZE), content(SIZE).into_iter().rev().collect()];
    let both = ["a", "b"].map(|name| files.path(name));
    for (path, content) in both.iter().zip(&contents) {
        fs::write(path, content).expect("write");
    }
    let target = target(&server, 3);
    for was_cut in [false, true] {
        if was_cut {
            cut_by(&server, "slow", "f", &contents[0]);
        }
        std::thread::scope(|scope| {
            for path in &both {
                let mut session = session_of(&target, "slow");
                scope.spawn(move || put_rest(&mut session, path, "f"));
            }
        });
        assert!(contents.contains(&server.read("f")));
        await_end(&server, 0);
        assert_eq!(server.names(""), ["f"]);
        fs::remove_file(server.path("f")).expect("remove");
    }
}

#[test]
fn a_client_that_thinks_better_of_it_leaves_what_has_arrived() {
    let Some(server) = server("") else { return };
    let files = Files::new();
    let file = files.with("f", &content(SIZE));
    cut(&server, "f", &content(SIZE));
    let mut peer = Peer::ann(&server, 3);
    let consent = ask(&mut peer, "f", SIZE);
    assert!(consent.kept.is_some());
    peer.send(ABORT, b"");
    let consent = ask(&mut peer, "f", SIZE);
    let ports = consent.streams.iter().map(|(port, _)| *port);
    let _streams: Vec<_> = ports
        .map(|port| TcpStream::connect(("127.0.0.1", port)).expect("connect"))
        .collect();
    peer.send_bytes(&announcing(TRANS_SIMUL_V3, 12, b""));
    assert_eq!(peer.answer(), (OK, "OK".to_owned()));
    drop(peer);
    assert!(put_rest(&mut open(&target(&server, 3)), &file, "f") > 1_000_000);
    // Nothing stays of one of which nothing has arrived.
    let mut peer = Peer::ann(&server, 3);
    assert!(ask(&mut peer, "g", SIZE).kept.is_none());
    peer.send(ABORT, b"");
    peer.expect_alive();
    assert_eq!(server.names(""), ["f"]);
}

#[test]
fn what_has_arrived_counts_for_the_quota() {
    let Some(server) = server_with("quota = \"12M\"", "") else {
        return;
    };
    let files = Files::new();
    let file = files.with("f", &content(SIZE));
    let left = |peer: &mut Peer| {
        let (code, text) = peer.ask(DF, &with_options(0, "."));
        assert_eq!(code, OK, "{text}");
        let words: Vec<u64> = text
            .split(' ')
            .map(|word| word.parse().expect("number"))
            .collect();
        words[1] * words[2]
    };
    let mut peer = Peer::ann(&server, 3);
    let before = left(&mut peer);
    drop(peer);
    cut(&server, "f", &content(SIZE));
    let mut peer = Peer::ann(&server, 3);
    assert!(left(&mut peer) < before - SIZE as u64 + 10_000);
    let transfer = transfer(SIZE as i64, 1, 256, 3);
    peer.expect_refused((STORE_FROM, &[&transfer[..], b"g"].concat()));
    drop(peer);
    await_end(&server, 0);
    let target = Target {
        port: address(&server).port(),
        ..crate::pair::target(&server, 3)
    };
    assert!(put_rest(&mut open(&target), &file, "f") > 1_000_000);
    let mut peer = Peer::ann(&server, 3);
    assert!(left(&mut peer) > before - SIZE as u64 - 10_000);
    peer.expect((RM, &with_options(0, "f")), (OK, "f has been deleted"));
    assert_eq!(left(&mut peer), before);
}
