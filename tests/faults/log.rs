//! A log whose logger is killed or stands still, and one on a full disk.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::disk::SmallDisk;
use crate::common::{Client, Server, descendants, wait_until};

fn logger(server: &Server) -> Option<Pid> {
    let mut all = descendants(server.pid()).into_iter();
    let found = all.find(|(_, name)| name == "tfd-logger");
    found.map(|(pid, _)| Pid::from_raw(pid as i32))
}

fn running_logger(server: &Server) -> Pid {
    let mut found = None;
    wait_until("a logger", || {
        found = logger(server);
        found.is_some()
    });
    found.expect("a logger")
}

#[test]
fn a_killed_logger_is_replaced_and_no_line_is_lost() {
    let mut server = Server::start();
    for round in 1..=3 {
        let first = running_logger(&server);
        kill(first, Signal::SIGKILL).expect("kill");
        // What is said until another runs waits.
        for _ in 0..3 {
            server.connect().expect_alive();
        }
        server.wait_for_lines("logger ended unasked", round);
        server.wait_for_lines("session start", 3 * round);
        assert_ne!(running_logger(&server), first);
    }
    server.connect().expect_alive();
    server.wait_for_lines("session end", 10);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end(), Some(0));
    server.wait_for_log("ended");
}

#[test]
fn a_logger_that_stands_still_holds_nobody_up_and_what_it_missed_is_counted() {
    let server = Server::start();
    let pid = running_logger(&server);
    kill(pid, Signal::SIGSTOP).expect("stop");
    for _ in 0..2000 {
        drop(Client::knock(server.address()));
    }
    wait_until("a client gets in", || {
        Client::knock(server.address()).try_in().is_some()
    });
    kill(pid, Signal::SIGCONT).expect("continue");
    wait_until("the number of lines that were lost", || {
        server.connect().expect_alive();
        let said = server.log();
        said.iter()
            .any(|line| line.contains("log lines lost count="))
    });
}

#[test]
fn what_a_logger_has_not_written_at_the_end_is_written_by_the_daemon() {
    let mut server = Server::start();
    server.connect().expect_alive();
    let pid = running_logger(&server);
    kill(pid, Signal::SIGSTOP).expect("stop");
    server.signal(Signal::SIGTERM);
    kill(pid, Signal::SIGKILL).expect("kill");
    assert_eq!(server.wait_for_end(), Some(0));
    server.wait_for_log("] ended");
}

#[test]
fn a_log_on_a_full_disk_goes_on_when_there_is_room_and_counts_what_is_missing() {
    let Some(disk) = SmallDisk::mount(1) else {
        return;
    };
    let log = disk.path().join("tfd.log");
    let server = Server::start();
    let config = fs::read_to_string(server.config_path()).expect("read");
    let with_file = format!("log_file = \"{}\"\nlog = ", log.display());
    let config = config.replacen("log = ", &with_file, 1);
    fs::write(server.config_path(), config).expect("write");
    let read = || fs::read_to_string(&log).unwrap_or_default();
    server.signal(Signal::SIGHUP);
    wait_until("the log on the disk", || {
        read().contains("configuration read again")
    });
    let filler = disk.path().join("filler");
    let _ = fs::write(&filler, vec![0; 2 << 20]);
    // The last page of the log has room of its own.
    wait_until("a full disk", || {
        server.connect().expect_alive();
        let said = server.log();
        said.iter().any(|line| line.contains("log not written"))
    });
    fs::remove_file(&filler).expect("remove");
    server.connect().expect_alive();
    wait_until("the log again", || read().contains("log lines lost count="));
    assert!(read().lines().all(|line| line.starts_with("20")));
}
