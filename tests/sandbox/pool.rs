//! Sessions that were taken over flood the process that hands out servers of the
//! pool (TLB) with questions: others get their answers all the same, and nobody
//! else does.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::attacks::channels;
use crate::come_from;
use crate::common::{Server, Setup, wait_until};

/// Set for a tfd whose sessions flood.
pub const FLOOD: &str = "TFD_TEST_FLOOD";

/// The client whose session only asks, and the one whose session reads, too.
const GREEDY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
const POLITE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);

/// Questions without an answer of the one that reads.
const OUTSTANDING: u32 = 100;

/// The number of all its questions, which an honest session never gets to.
const NUMBER: [u8; 4] = [0xfe; 4];

/// How long another session may wait for an answer.
const BOUND: Duration = Duration::from_secs(1);

/// In a session: floods, beside what it does.
pub fn flood(peer: SocketAddr) {
    let run: fn(BorrowedFd<'_>) = match peer.ip() {
        ip if ip == GREEDY => ask_only,
        ip if ip == POLITE => ask_and_read,
        _ => return,
    };
    for channel in channels() {
        let thread = std::thread::Builder::new().spawn(move || run(channel));
        thread.expect("a thread");
    }
    eprintln!("flooding");
}

fn ask_only(channel: BorrowedFd<'_>) {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    loop {
        let _ = send(channel, &NUMBER, flags);
    }
}

/// Says so when it reads the answer to a question of another.
fn ask_and_read(channel: BorrowedFd<'_>) {
    let (mut open, mut answer) = (0, [0; 256]);
    let mut answers = 0_u64;
    loop {
        if open < OUTSTANDING && send(channel, &NUMBER, SendFlags::NOSIGNAL).is_ok() {
            open += 1;
            continue;
        }
        let Ok((len, _)) = recv(channel, &mut answer, RecvFlags::empty()) else {
            eprintln!("the flood is over");
            return;
        };
        open -= 1;
        answers += 1;
        if answers == 10_000 {
            eprintln!("the flood is answered");
        }
        if !answer[..len].starts_with(&NUMBER) {
            eprintln!("attack succeeded");
        }
    }
}

/// A server of the pool that says that it is alive.
fn member() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
    let address = socket.local_addr().expect("address");
    std::thread::spawn(move || {
        while let Ok((_, from)) = socket.recv_from(&mut [0; 512]) {
            let _ = socket.send_to(&[1], from);
        }
    });
    address
}

pub fn a_flood_of_questions_keeps_no_other_session_waiting() {
    let environment = vec![
        ("TFD_TEST_PLACE", "Session".to_owned()),
        (FLOOD, "yes".to_owned()),
    ];
    let mut server = Server::with(Setup {
        tf: "tlb_pool = \"pool\"".to_owned(),
        program: Some((std::env::current_exe().expect("this program"), environment)),
        ..Setup::default()
    });
    let member = member();
    let line = format!("4 {};{}", member.ip(), member.port());
    fs::write(server.config_path().with_file_name("pool"), &line).expect("write");
    let mut honest = server.connect();
    wait_until("a server", || honest.ask("TLB") == format!("OK {line}"));

    let _greedy = come_from(GREEDY, server.address()).expect("a session");
    let _polite = come_from(POLITE, server.address()).expect("a session");
    server.wait_for_lines("flooding", 2);
    for _ in 0..50 {
        let begun = Instant::now();
        assert_eq!(honest.ask("TLB"), format!("OK {line}"));
        assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    }
    // One that asks for no more than it reads is served on, and hears nothing else.
    server.wait_for_log("the flood is answered");
    let log = server.log();
    for bad in ["attack succeeded", "the flood is over", "ended unasked"] {
        assert!(!log.iter().any(|line| line.contains(bad)), "{bad}: {log:?}");
    }
}
