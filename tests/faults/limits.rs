//! The system runs out of something: descriptors, processes, memory. Who is
//! not concerned does not notice, and what is stored stays as it was.

use std::fs;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Client, Server, Setup, account, is_root, pids, wait_until};

/// Limits a resource of a running process, as a process of the same user may.
fn limit(pid: u32, resource: &str, current: &str) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let id = |field: &str| -> u32 {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .expect(field);
        line.split_whitespace()
            .next()
            .and_then(|id| id.parse().ok())
            .expect("number")
    };
    let mut prlimit = Command::new("prlimit");
    prlimit
        .arg("--pid")
        .arg(pid.to_string())
        .arg(format!("--{resource}={current}:"));
    let limited = prlimit
        .uid(id("Uid:"))
        .gid(id("Gid:"))
        .status()
        .expect("prlimit");
    assert!(limited.success(), "prlimit {resource} of {pid}");
}

#[test]
fn a_daemon_without_descriptors_keeps_its_sessions_and_recovers() {
    let server = Server::start();
    let mut inside = server.connect();
    // The limit up to which all numbers are taken.
    let is_taken = |fd: &u32| Path::new(&format!("/proc/{}/fd/{fd}", server.pid())).exists();
    let count = |text: &str| server.log().iter().filter(|l| l.contains(text)).count();
    let mut late = None;
    wait_until("no descriptor for a client", || {
        let served = count("can't serve");
        // Descriptors of a gate that ends are given back meanwhile.
        let taken = (0..1024).take_while(is_taken).count();
        limit(server.pid(), "nofile", &taken.to_string());
        late = Some(Client::knock(server.address()));
        wait_until("its line", || {
            count("can't accept") > 0 || count("can't serve") > served
        });
        count("can't accept") > 0
    });
    inside.send_file("f", true, b"stored meanwhile");
    limit(server.pid(), "nofile", "1024");
    let late = late.and_then(Client::try_in);
    assert!(late.is_some(), "the one who waited is served");
    server.connect().expect_alive();
    assert_eq!(server.read("f"), b"stored meanwhile");
}

#[test]
fn a_session_without_descriptors_says_so_and_lives() {
    let server = Server::start();
    let mut client = server.connect();
    client.send_file("f", true, b"old");
    let session = pids(&server, "tfd-session")[0];
    limit(session, "nofile", "1");
    for request in [
        "MKDIR d",
        "SNDFILE 1 f",
        "RCVFILE 0 f",
        "LS ",
        "COPY f | g",
        "DEL f",
    ] {
        let reply = client.ask(request);
        assert!(reply.starts_with("FAILED "), "{request}: {reply}");
    }
    limit(session, "nofile", "1024");
    assert_eq!(server.names(""), ["f"]);
    client.send_file("f", true, b"new");
    assert_eq!(server.read("f"), b"new");
}

/// A server, a client that is in, and the zygote, whose processes can be limited.
fn with_zygote() -> Option<(Server, Client, u32)> {
    if !is_root() {
        println!("left out: as the user of the tests the limit would count all its processes");
        return None;
    }
    let server = Server::start();
    let inside = server.connect();
    let zygote = pids(&server, "tfd-zygote")[0];
    Some((server, inside, zygote))
}

#[test]
fn a_zygote_that_can_never_fork_again_is_replaced_and_its_sessions_go_on() {
    let Some((mut server, mut inside, zygote)) = with_zygote() else {
        return;
    };
    limit(zygote, "nproc", "1");
    for _ in 0..8 {
        let _ = Client::knock(server.address()).try_in();
    }
    server.wait_for_log("zygote can't fork");
    wait_until("another zygote", || {
        pids(&server, "tfd-zygote").iter().any(|pid| *pid != zygote)
    });
    server.connect().expect_alive();
    inside.expect_alive();
}

#[test]
fn a_zygote_that_can_not_fork_refuses_and_recovers() {
    let Some((mut server, mut inside, zygote)) = with_zygote() else {
        return;
    };
    wait_until("a gate forked ahead", || {
        !pids(&server, "tfd-spare").is_empty()
    });
    limit(zygote, "nproc", "1");
    let mut before = server.connect();
    Client::knock(server.address()).expect_closed();
    server.wait_for_log("can't fork a gate");
    inside.expect_alive();
    before.expect_alive();
    limit(zygote, "nproc", "10000");
    server.connect().expect_alive();
}

#[test]
fn a_session_without_memory_takes_nobody_and_nothing_with_it() {
    let server = Server::start();
    server.write("f", "old");
    let mut other = server.connect();
    let mut client = server.connect();
    assert_eq!(client.ask("SNDFILE 1 f"), "CONT");
    let sessions = pids(&server, "tfd-session");
    for session in &sessions {
        let status = fs::read_to_string(format!("/proc/{session}/status")).expect("status");
        let size = status
            .lines()
            .find_map(|line| line.strip_prefix("VmSize:"))
            .expect("VmSize");
        let kib: u64 = size.trim().trim_end_matches(" kB").parse().expect("KiB");
        limit(*session, "as", &(kib << 10).to_string());
    }
    let message = [b"CONT ", vec![1; 400_000].as_slice()].concat();
    let answer = client
        .wire
        .write_message(&message)
        .and_then(|()| client.wire.read_message(&mut Vec::new()));
    // It may get by with what it has, or end; it may not lose anything.
    if answer.is_err() {
        wait_until("it is gone", || {
            pids(&server, "tfd-session").len() < sessions.len()
        });
    }
    assert_eq!(server.read("f"), b"old");
    other.expect_alive();
    drop(client);
    server.connect().send_file("f", true, b"new");
    assert_eq!(server.read("f"), b"new");
}

/// The authenticator is killed in the middle of writing its file: by SIGXFSZ, once
/// the file would become too long.
#[test]
fn an_authenticator_killed_while_it_saves_forgets_no_block() {
    if !is_root() {
        println!("left out: accounts need root");
        return;
    }
    let server = Server::with(Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"".to_owned(),
        users: account("ann", "a", "games:::"),
        ..Setup::default()
    });
    let tfd = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
        command.args(arguments).arg("--config");
        let output = command.arg(server.config_path()).output().expect("tfd");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for n in 0..40 {
        let address = format!("192.0.2.{n}");
        let kick = ["kick", "--address", &address, "--for", "1h"];
        assert!(tfd(&kick).contains("is kept out until"), "{address}");
    }
    let blocked = tfd(&["blocked", "--json"]);
    assert_eq!(blocked.matches("192.0.2.").count(), 40);
    let kept = server.config_path().with_file_name("users.blocked");
    for (n, tenths) in [3, 6, 11, 14, 17, 20].into_iter().enumerate() {
        wait_until("an authenticator", || pids(&server, "tfd-auth").len() == 1);
        let pid = pids(&server, "tfd-auth")[0];
        let size = fs::metadata(&kept).expect("stat").len();
        limit(pid, "fsize", &(size * tenths / 10).to_string());
        let mut client = server.connect();
        client.send(format!("LOGIN name{n} wrong"));
        // It has no answer if the authenticator is killed.
        let _ = client.wire.read_message(&mut Vec::new());
        // It may have ended.
        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        wait_until("its end", || !pids(&server, "tfd-auth").contains(&pid));
        assert_eq!(tfd(&["blocked", "--json"]), blocked, "{tenths} tenths");
    }
    server.connect().expect("LOGIN ann a", 0);
}
