//! NETLOCK and its kin, NETMUTACQ_TRY and NETMUTREL: what clients agree on.

use std::fs::{File, OpenOptions};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use crate::common::{Client, Server, Setup, wait_until};

#[test]
fn a_lock_is_one_sessions_until_it_is_released() {
    let server = Server::start();
    server.write("f", "");
    server.mkdir("d");
    std::os::unix::fs::symlink("f", server.path("link")).expect("link");
    let (mut one, mut two) = (server.connect(), server.connect());
    assert_eq!(one.ask("NETLOCK 60 f"), "OK 0");
    two.expect_all(&[("NETLOCK_TRY 60 f", 54), ("NETLOCK_TRY 60 link", 54)]);
    for request in ["SHA256 f", "FSTAT f"] {
        assert!(one.ask(request).starts_with("OK "));
    }
    assert_eq!(one.ask("NETLOCK_TRY 60 /f"), "OK 1");
    one.expect("NETUNLOCK 0", 0);
    two.expect("NETLOCK_TRY 60 f", 54);
    one.expect_all(&[("NETUNLOCK 1", 0), ("NETUNLOCK 1", 54)]);
    assert_eq!(two.ask("NETLOCK_TRY 60 f"), "OK 0");
    two.expect_all(&[("NETUNLOCK", 0), ("NETUNLOCK", 54)]);
    two.expect_all(&[("NETUNLOCK 8", 54), ("NETUNLOCK -1", 54)]);
    for word in ["NETLOCK", "NETLOCK_TRY"] {
        one.expect(format!("{word} 60"), 16);
        for (path, code) in [
            ("missing", 54),
            ("d", 54),
            ("", 54),
            ("../f", 1),
            ("jail.key", 1),
        ] {
            one.expect(format!("{word} 60 {path}"), code);
        }
    }
    for slot in 0..8 {
        server.write(&format!("f{slot}"), "");
        assert_eq!(one.ask(format!("NETLOCK 60 f{slot}")), format!("OK {slot}"));
    }
    one.expect_all(&[
        ("NETLOCK 60 f", 54),
        ("NETLOCK_TRY 60 f1", 54),
        ("NETUNLOCK 3", 0),
    ]);
    assert_eq!(one.ask("NETLOCK 60 f"), "OK 3");
    one.expect_alive();
}

#[test]
fn a_waiting_client_gets_the_lock_when_it_is_free() {
    let server = Server::start();
    server.write("f", "");
    let (mut one, mut two, mut three) = (server.connect(), server.connect(), server.connect());
    assert_eq!(one.ask("NETLOCK 60 f"), "OK 0");
    two.send("NETLOCK 60 f");
    two.send("ECHO meanwhile");
    std::thread::sleep(Duration::from_millis(300));
    assert!(!two.wire.has_input());
    one.send("END");
    one.expect_closed();
    assert_eq!(
        (two.reply(), two.reply()),
        ("OK 0".to_owned(), "meanwhile".to_owned())
    );
    three.send("NETLOCK 60 f");
    drop(two);
    assert_eq!(three.reply(), "OK 0");
}

#[test]
fn a_waiting_client_can_end_close_or_be_kicked() {
    let mut server = Server::with(Setup {
        server: "control = \"control\"".to_owned(),
        ..Setup::default()
    });
    server.write("f", "");
    let mut holder = server.connect();
    assert_eq!(holder.ask("NETLOCK 60 f"), "OK 0");
    let mut ends = server.connect();
    ends.send("NETLOCK 60 f");
    ends.send("END");
    ends.expect_closed();
    let mut closes = server.connect();
    closes.send("NETLOCK 60 f");
    drop(closes);
    server.wait_for_lines("session end", 2);
    let mut kicked = server.connect();
    kicked.send("NETLOCK 60 f");
    std::thread::sleep(Duration::from_millis(200));
    holder.expect_alive();
    let log = server.log();
    let slot = log.iter().rev().find_map(|line| line.split("slot=").nth(1));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
    command.args(["kick", "--slot", slot.expect("slot"), "--control"]);
    let status = command
        .arg(server.config_path().with_file_name("control"))
        .status();
    assert!(status.expect("tfd").success());
    kicked.expect_closed();
    holder.expect_alive();
}

#[test]
fn who_waits_uses_no_processor_time() {
    let server = Server::start();
    server.write("f", "");
    let mut holder = server.connect();
    assert_eq!(holder.ask("NETLOCK 60 f"), "OK 0");
    let mut waits = server.connect();
    waits.send("NETLOCK 60 f");
    std::thread::sleep(Duration::from_millis(500));
    let ticks = || -> u64 {
        crate::common::descendants(server.pid())
            .iter()
            .filter_map(|(pid, _)| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok())
            .map(|stat| {
                let fields: Vec<&str> =
                    stat.rsplit(") ").next().expect("stat").split(' ').collect();
                fields[11].parse::<u64>().expect("user")
                    + fields[12].parse::<u64>().expect("system")
            })
            .sum()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(2));
    let used = ticks() - before;
    assert!(used < 20, "{used} hundredths of a second in two");
}

#[test]
fn a_silent_holder_is_closed_after_its_seconds() {
    let server = Server::start();
    server.write("f", "");
    server.write("g", "");
    let mut holder = server.connect();
    assert_eq!(holder.ask("NETLOCK 2 f"), "OK 0");
    let mut other = server.connect();
    let begin = Instant::now();
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(700));
        holder.expect_alive();
        other.expect("NETLOCK_TRY 9 f", 54);
    }
    assert_eq!(other.ask("NETLOCK 9 f"), "OK 0");
    assert!(
        begin.elapsed() > Duration::from_millis(4500),
        "{:?}",
        begin.elapsed()
    );
    holder.expect_closed();
    let mut calm = server.connect();
    assert_eq!(calm.ask("NETLOCK 1 g"), "OK 0");
    calm.expect("NETUNLOCK 0", 0);
    std::thread::sleep(Duration::from_millis(1500));
    calm.expect_alive();
    assert_eq!(calm.ask("NETLOCK 1 g"), "OK 0");
    calm.send("NETLOCK 9 f");
    calm.expect_closed();
    let mut none = server.connect();
    assert_eq!(none.ask("NETLOCK 0 g"), "OK 0");
    none.expect_closed();
}

fn lock_elsewhere(path: std::path::PathBuf, how: FlockArg) -> Option<Flock<File>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("open");
    Flock::lock(file, how).ok()
}

#[test]
fn a_lock_holds_against_other_servers_of_the_directory() {
    let server = Server::start();
    server.write("f", "");
    let mut client = server.connect();
    let elsewhere = lock_elsewhere(server.path("f"), FlockArg::LockExclusiveNonblock);
    client.expect("NETLOCK_TRY 60 f", 54);
    drop(elsewhere.expect("free"));
    assert_eq!(client.ask("NETLOCK_TRY 60 f"), "OK 0");
    assert!(lock_elsewhere(server.path("f"), FlockArg::LockExclusiveNonblock).is_none());
    drop(client);
    wait_until("the end of the session", || {
        lock_elsewhere(server.path("f"), FlockArg::LockExclusiveNonblock).is_some()
    });
}

#[test]
fn a_lock_holds_between_two_servers_of_a_directory() {
    let one = Server::start();
    one.write("f", "");
    let two = Server::with(Setup {
        root: Some(one.root().to_owned()),
        ..Setup::default()
    });
    let (mut here, mut there) = (one.connect(), two.connect());
    assert_eq!(here.ask("NETLOCK 60 f"), "OK 0");
    there.expect("NETLOCK_TRY 60 f", 54);
    there.send("NETLOCK 60 f");
    drop(here);
    assert_eq!(there.reply(), "OK 0");
    one.connect().expect("NETLOCK_TRY 60 f", 54);
}

#[test]
fn a_lock_goes_over_to_the_file_that_its_holder_sends() {
    let server = Server::with(Setup {
        server: "quota = \"10000\"".to_owned(),
        ..Setup::default()
    });
    let (mut one, mut two) = (server.connect(), server.connect());
    one.send_file("f", false, b"old");
    assert_eq!(one.ask("NETLOCK 60 f"), "OK 0");
    for content in ["new", "newer"] {
        one.send_file("f", true, content.as_bytes());
        two.expect("NETLOCK_TRY 60 f", 54);
    }
    let begin = Instant::now();
    for offset in 0..20 {
        one.hp_open("PUT", "f", &[offset * 100, 100]);
        one.send_frame(&[1; 100]);
        one.wire.write_i64(0).expect("end");
        assert_eq!(one.wire.read_i64().expect("fin"), -127);
        one.wire.write_i64(-127).expect("fin");
    }
    assert!(
        begin.elapsed() < Duration::from_millis(1500),
        "{:?}",
        begin.elapsed()
    );
    two.expect("NETLOCK_TRY 60 f", 54);
    one.expect("NETUNLOCK 0", 0);
    assert_eq!(two.ask("NETLOCK_TRY 60 f"), "OK 0");
    one.send_file("f", true, b"by another");
    assert_eq!(one.ask("NETLOCK_TRY 60 f"), "OK 0");
}

#[test]
fn a_token_is_in_a_file_until_it_is_released() {
    let server = Server::with(Setup {
        server: "quota = \"1000\"".to_owned(),
        ..Setup::default()
    });
    server.mkdir("d");
    let (mut one, mut two) = (server.connect(), server.connect());
    one.expect("TOUCH f", 0);
    one.expect_all(&[
        ("NETMUTACQ_TRY f my token", 0),
        ("NETMUTACQ_TRY f my token", 0),
        ("NETMUTACQ_TRY f other", 55),
    ]);
    assert_eq!(server.read("f"), b"my token");
    assert_eq!(one.ask("FREESP"), "OK 992");
    two.expect_all(&[
        ("NETMUTACQ_TRY f my", 55),
        ("NETMUTREL f other", 55),
        ("NETMUTREL f ", 55),
    ]);
    drop(one);
    two.expect_all(&[("NETMUTREL f my token", 0), ("NETMUTREL f any", 0)]);
    assert_eq!(
        (server.read("f"), two.ask("FREESP")),
        (vec![], "OK 1000".to_owned())
    );
    two.expect("NETMUTACQ_TRY f ", 0);
    two.expect(format!("NETMUTACQ_TRY f {}", "t".repeat(254)), 0);
    two.expect(format!("NETMUTACQ_TRY f {}", "t".repeat(255)), 55);
    two.expect(format!("NETMUTREL f {}", "t".repeat(255)), 55);
    for word in ["NETMUTACQ_TRY", "NETMUTREL"] {
        for (rest, code) in [
            ("", 16),
            (" f", 16),
            (" missing t", 55),
            (" d t", 55),
            (" ../f t", 1),
        ] {
            two.expect(format!("{word}{rest}"), code);
        }
    }
    assert_eq!(server.read("f").len(), 254);
    assert_eq!(server.names(""), ["d", "f"]);
}

#[test]
fn of_many_clients_one_gets_the_token() {
    let server = Server::start();
    server.write("f", "");
    let won: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|index| {
                let server = &server;
                scope.spawn(move || {
                    let mut client: Client = server.connect();
                    let mut won = 0;
                    while won < 20 {
                        if client.ask(format!("NETMUTACQ_TRY f {index}")) == "OK" {
                            assert_eq!(server.read("f"), index.to_string().as_bytes());
                            client.expect(format!("NETMUTREL f {index}"), 0);
                            won += 1;
                        }
                    }
                    won
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("thread"))
            .sum()
    });
    assert_eq!((won, server.read("f")), (80, Vec::new()));
}
