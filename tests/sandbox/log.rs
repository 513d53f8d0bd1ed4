//! A gate and a session that were taken over, at the log: they can neither empty
//! nor read it, nor speak for another process, nor drown what others say.
//! `attacks` has what they can't do to the channel itself.

use std::io::{self, IoSlice, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::RawFd;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tfd::sandbox::place::Place;

use crate::come_from;
use crate::common::{Server, Setup, wait_until};

/// The place of processes that attack the log, whatever theirs is.
pub const PLACE: &str = "Log";

/// The client whose gate is taken over, and the one whose session is.
const GATE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);
const SESSION: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// What has never happened.
const FORGED: &str = "[authenticator 1] login failed peer=203.0.113.9 user=\"admin\"";

const STANDARD_ERROR: RawFd = 2;

/// How many lines a flood has.
const FLOOD: usize = 50_000;

/// In a process of the attacked tfd.
pub fn attack(place: Place, peer: SocketAddr) {
    let is_meant = match place {
        Place::Gate => peer.ip() == GATE,
        Place::Session => peer.ip() == SESSION,
        _ => false,
    };
    if !is_meant {
        return;
    }
    let line = format!("2026-11-22T08:00:00.000Z WARN  {FORGED}");
    // As text, behind a line break, and as an event with one.
    let _ = io::stderr().write_all(format!("{line}\nagain\n{line}\n").as_bytes());
    let message = format!("event\n{line}");
    let _ = io::stderr().write_all(&event(&message, &[("pid", "1"), ("x\n[tfd 1]", "1")]));
    // As another process.
    let of_other = libc::ucred {
        pid: nix::unistd::getppid().as_raw(),
        uid: nix::unistd::getuid().as_raw(),
        gid: nix::unistd::getgid().as_raw(),
    };
    let of_other = of_other.into();
    let beside = [ControlMessage::ScmCredentials(&of_other)];
    let parts = [IoSlice::new(b"as another")];
    let flags = MsgFlags::MSG_NOSIGNAL;
    let sent = sendmsg::<()>(STANDARD_ERROR, &parts, &beside, flags, None);
    let _ = io::stderr().write_all(format!("as another: {}", sent.is_err()).as_bytes());
    for number in 0..FLOOD {
        let _ = io::stderr().write_all(format!("flood {number}").as_bytes());
    }
}

/// An event as processes send it.
fn event(message: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat();
    let mut bytes = vec![0, 3];
    bytes.extend(text(message));
    bytes.extend((fields.len() as u32).to_be_bytes());
    for (key, value) in fields {
        bytes.extend([text(key), vec![2], text(value)].concat());
    }
    bytes
}

/// Attacks, while honest clients come and go.
pub fn is_out_of_reach() -> usize {
    let environment = vec![("TFD_TEST_PLACE", PLACE.to_owned())];
    let mut server = Server::with(Setup {
        program: Some((std::env::current_exe().expect("this program"), environment)),
        ..Setup::default()
    });
    server.connect().expect_alive();
    let mut failures = 0;
    for (kind, address) in [("gate", GATE), ("session", SESSION)] {
        let before = server.log().len();
        let starts = |server: &Server| count(server, "session start", 0);
        let (old, honest) = (starts(&server), 10);
        let attacked = server.address();
        let attacker = std::thread::spawn(move || drop(come_from(address, attacked)));
        for _ in 0..honest {
            server.connect().expect_alive();
        }
        attacker.join().expect("the attacker");
        let mark = format!("[{kind} ");
        server.wait_for_log("log lines left out");
        wait_until("the last of it", || {
            count(&server, &mark, before) > 100 && count(&server, "log lines left out", before) > 0
        });
        wait_until("what honest sessions log", || {
            starts(&server) >= old + honest
        });
        let log = server.log();
        let lines = || log[before..].iter();
        let speaks = |line: &&String| {
            ["203.0.113.9", "again", "event", "as another", "flood "]
                .iter()
                .any(|word| line.contains(word))
        };
        let floods = lines().filter(|line| line.contains("flood ")).count();
        let of_others = lines().filter(speaks).filter(|line| !line.contains(&mark));
        let pids = lines().filter(speaks).map(|line| {
            let (_, rest) = line.split_once(&mark).unwrap_or_default();
            rest.split(']').next().unwrap_or_default()
        });
        let pids: std::collections::BTreeSet<&str> = pids.collect();
        let begins = lines().filter(|line| line.split(' ').nth(3) == Some("[authenticator"));
        for (name, fine) in [
            ("a flood is cut", (1..=250).contains(&floods)),
            ("no line is another kind's", of_others.count() == 0),
            ("all are of one process", pids.len() == 1),
            ("none is the authenticator's", begins.count() == 0),
            (
                "a line break is no new line",
                lines().any(|line| line.contains("event\\n2026-")),
            ),
            (
                "no credentials of others",
                lines().any(|line| line.contains("as another: true")),
            ),
        ] {
            let verdict = if fine { "ok" } else { "FAILED" };
            println!("{verdict:6} the log and a {kind}: {name}");
            failures += usize::from(!fine);
        }
    }
    failures
}

fn count(server: &Server, text: &str, from: usize) -> usize {
    let log = server.log();
    log[from..]
        .iter()
        .filter(|line| line.contains(text))
        .count()
}
