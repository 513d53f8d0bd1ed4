//! Who serves the hub's peers as whom, and what a process that was taken over reaches.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::common::{pids, wait_until};
use crate::peer::*;

/// A line of the status of a process.
pub fn status(pid: u32, line: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    let mut words = found.expect("line").split_whitespace();
    words.next().expect("value").to_owned()
}

pub fn uid_of(name: &str) -> String {
    let user = nix::unistd::User::from_name(name).expect("users");
    user.expect("user").uid.to_string()
}

#[test]
fn the_broker_alone_has_the_book_and_sessions_have_nothing() {
    let Some(server) = server("") else { return };
    let _line = server.owner(&Person::new("anna"));
    let [broker] = pids(&server, "tfd-hub")[..] else {
        panic!("one broker");
    };
    let [session] = pids(&server, "tfd-session")[..] else {
        panic!("one session");
    };
    let (games, nobody) = (uid_of("games"), uid_of("nobody"));
    for (pid, uid, root) in [(broker, &games, "store"), (session, &nobody, "lines/owner")] {
        assert_eq!(status(pid, "Uid:"), *uid);
        for rights in ["CapEff:", "CapPrm:", "CapInh:"] {
            assert_eq!(status(pid, rights), "0000000000000000");
        }
        assert_eq!(status(pid, "NoNewPrivs:"), "1");
        assert_eq!(status(pid, "Seccomp:"), "2");
        let own = fs::metadata(format!("/proc/{pid}/root")).expect("root");
        let wanted = fs::metadata(server.data().join(root)).expect("directory");
        assert_eq!(
            (own.dev(), own.ino()),
            (wanted.dev(), wanted.ino()),
            "{root}"
        );
    }
    let opened = |pid: u32| {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors");
        let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links.map(|to| to.display().to_string()).collect::<Vec<_>>()
    };
    let has_book = |pid| opened(pid).iter().any(|to| to.contains("hub.db"));
    assert!(has_book(broker));
    assert!(!has_book(session));
    assert!(!opened(broker).iter().any(|to| to.contains("TCP")));
    // The roots of sessions stay empty, and are root's.
    for role in ["owner", "keeper"] {
        let root = server.data().join("lines").join(role);
        let metadata = fs::metadata(&root).expect("root");
        assert_eq!((metadata.uid(), metadata.mode() & 0o777), (0, 0o700));
        assert_eq!(fs::read_dir(&root).expect("root").count(), 0);
    }
    let store = fs::metadata(server.data().join("store")).expect("store");
    assert_eq!(
        (store.uid().to_string(), store.mode() & 0o777),
        (games, 0o700)
    );
}

/// What a line that waits may have of its own, in KiB.
const MOST_OWN: u64 = 150;

#[test]
fn a_waiting_line_takes_little_memory() {
    let Some(server) = server("") else { return };
    let anna = Person::new("anna");
    let mut line = server.owner(&anna);
    // Something to remember, and to forget.
    let all: String = (100..150)
        .map(|id| format!("GIP anna id={id}\r\n"))
        .collect();
    line.send_bytes(all.as_bytes());
    for id in 100..150 {
        line.answer(id);
    }
    let [session] = pids(&server, "tfd-session")[..] else {
        panic!("one session");
    };
    let own = || {
        let rollup = fs::read_to_string(format!("/proc/{session}/smaps_rollup")).expect("maps");
        let kib = |name: &str| {
            let found = rollup.lines().find_map(|line| line.strip_prefix(name));
            let mut words = found.expect("line").split_whitespace();
            words.next().expect("number").parse::<u64>().expect("KiB")
        };
        kib("Private_Dirty:")
    };
    wait_until("an idle line is small", || own() <= MOST_OWN);
    println!("an idle line has {} KiB of its own", own());
    // It takes memory again when something comes, and gives it back.
    line.send_bytes(b"GIP nobody id=200\r\n");
    assert_eq!(code(&line.answer(200)), 401);
    wait_until("an idle line is small again", || own() <= MOST_OWN);
}
