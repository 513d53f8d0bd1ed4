//! Kills at any moment, and what a session that was taken over could reach.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tfd::vault::own::message::*;

use super::peer::*;
use crate::common::disk::SmallDisk;
use crate::common::{is_running, pids, wait_until};
use crate::peer::Vault;
use crate::processes::handles;

/// Kills all sessions, and waits until they are gone.
fn kill_sessions(server: &Vault) {
    let sessions = pids(server, "tfd-session");
    for pid in &sessions {
        let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGKILL);
    }
    wait_until("the sessions have ended", || {
        !sessions.iter().any(|pid| is_running(*pid))
    });
}

#[test]
fn what_was_acknowledged_survives_kills_and_nothing_is_there_twice() {
    let Some(server) = server("") else { return };
    let ann = Account::new("ann");
    let mut client = Client::registered(&server, &ann);
    let mut acknowledged = 0;
    for turn in 0..12_u8 {
        let id = [turn; 16];
        let base = 0;
        let sealed = Some(Sealed(vec![turn; 300]));
        let push = Request::Push {
            changes: vec![Change { id, base, sealed }],
        };
        match turn % 3 {
            // Before it is sent, right behind it, behind the answer.
            0 => kill_sessions(&server),
            1 => {
                client.send(&push);
                kill_sessions(&server);
            }
            _ => {
                assert!(matches!(client.ask(&push), Reply::Pushed { .. }));
                acknowledged += 1;
                kill_sessions(&server);
            }
        }
        client = Client::logged_in(&server, &ann);
        let before = client.pull_all();
        assert!(before.len() >= acknowledged);
        let again = client.ask(&push);
        assert!(matches!(again, Reply::Pushed { .. }), "{again:?}");
        acknowledged = usize::from(turn) + 1;
        let all = client.pull_all();
        assert_eq!(all.len(), acknowledged);
    }
    let Reply::Versions { versions } = client.ask(&Request::Versions { id: [1; 16] }) else {
        panic!("no list");
    };
    assert_eq!(versions.len(), 1);
}

#[test]
fn a_client_that_is_killed_between_two_messages_leaves_nothing_half_done() {
    let Some(server) = server("") else { return };
    let ann = Account::new("ann");
    // In the middle of a registration.
    let mut client = Client::hello(&server, "ann");
    client.send(&Request::Register(ann.register()));
    drop(client);
    let mut client = Client::hello(&server, "ann");
    match client.ask(&Request::Register(ann.register())) {
        Reply::Welcome(_) => {}
        other => {
            assert_eq!(other, refused(Refusal::NameTaken));
            client.welcome(&Request::LogIn(ann.log_in()));
        }
    }
    // In the middle of a frame.
    let sealed = Some(Sealed(vec![3; 3000]));
    let changes = vec![Change {
        id: [3; 16],
        base: 0,
        sealed,
    }];
    let push = Request::Push { changes };
    let bytes = tfd::vault::own::frame::framed(&push);
    for cut in [1, 4, 20, 2000] {
        let mut client = Client::logged_in(&server, &ann);
        client.send_bytes(&bytes[..cut]);
        drop(client);
        assert_eq!(Client::logged_in(&server, &ann).pull_all(), []);
    }
    client.ask(&push);
    assert_eq!(client.pull_all().len(), 1);
}

#[test]
fn the_process_that_keeps_accounts_is_started_again_and_clients_come_back() {
    let Some(server) = server("") else { return };
    let ann = Account::new("ann");
    let mut client = Client::registered(&server, &ann);
    client.store([1; 16], 0, Some(b"a"));
    let [keeper] = pids(&server, "tfd-vault")[..] else {
        panic!("one process");
    };
    kill(Pid::from_raw(keeper as i32), Signal::SIGKILL).expect("kill");
    assert!(client.is_over());
    wait_until("another process", || {
        let now = pids(&server, "tfd-vault");
        now.len() == 1 && now != [keeper]
    });
    let mut client = Client::logged_in(&server, &ann);
    assert_eq!(client.pull_all().len(), 1);
}

#[test]
fn a_session_has_its_accounts_directory_alone_and_no_secret_stays_in_it() {
    let Some(server) = server("") else { return };
    let (ann, bob) = (Account::new("ann"), Account::new("bob"));
    let mut client = Client::registered(&server, &ann);
    let mut other = Client::registered(&server, &bob);
    client.store([1; 16], 0, Some(b"a"));
    other.store([1; 16], 0, Some(b"b"));
    let sessions = pids(&server, "tfd-session");
    let roots: Vec<_> = ["roots/store/users/1", "roots/store/users/2"]
        .iter()
        .map(|root| fs::metadata(server.data().join(root)).expect("directory"))
        .collect();
    let mut found = Vec::new();
    for pid in sessions {
        let root = fs::metadata(format!("/proc/{pid}/root")).expect("root");
        let same = |known: &fs::Metadata| (known.dev(), known.ino()) == (root.dev(), root.ino());
        let Some(number) = roots.iter().position(same) else {
            continue;
        };
        found.push(number);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
        for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(status.contains(line), "{line}: {status}");
        }
        let names = fs::read_dir(format!("/proc/{pid}/root")).expect("root");
        for name in names.map(|entry| entry.expect("entry").file_name()) {
            let name = name.to_string_lossy().into_owned();
            assert!(name.starts_with("items.db"), "{name}");
        }
        let own = format!("/users/{}", number + 1);
        for to in handles(pid) {
            let is_database = to.contains("/roots/");
            assert!(!is_database || to.contains(&own), "{to}");
        }
        // The proof went to the process that keeps the accounts, and no further.
        for account in [&ann, &bob] {
            assert!(!holds(pid, &account.auth), "{number}");
            assert!(!holds(pid, account.device.token.bytes()), "{number}");
        }
    }
    found.sort_unstable();
    assert_eq!(found, [0, 1]);
    for pid in [server.pid(), pids(&server, "tfd-launcher")[0]] {
        assert!(!holds(pid, &ann.auth));
    }
    for pid in pids(&server, "tfd-vault") {
        assert!(!holds(pid, &ann.auth), "wiped after the check");
    }
    // Nor is it on disk, nor in the log.
    let accounts = fs::read(server.data().join("roots/store/accounts.db")).expect("accounts");
    let journal = fs::read(server.data().join("roots/store/accounts.db-wal")).unwrap_or_default();
    for file in [accounts, journal] {
        for secret in [&ann.auth[..], &ann.recovery, ann.device.token.bytes()] {
            assert!(!file.windows(32).any(|bytes| bytes == secret));
        }
    }
}

/// Whether a process has bytes in its memory.
fn holds(pid: u32, bytes: &[u8]) -> bool {
    use std::os::unix::fs::FileExt;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    let memory = fs::File::open(format!("/proc/{pid}/mem")).expect("memory");
    maps.lines().any(|line| {
        let mut fields = line.split_whitespace();
        let range = fields.next().and_then(|range| range.split_once('-'));
        let (from, to) = range.expect("range");
        let is_writable = fields.next().is_some_and(|rights| rights.starts_with("rw"));
        let number = |text| u64::from_str_radix(text, 16).expect("number");
        let (from, to) = (number(from), number(to));
        let mut content = vec![0; (to - from) as usize];
        let read = is_writable && memory.read_exact_at(&mut content, from).is_ok();
        read && content.windows(bytes.len()).any(|found| found == bytes)
    })
}

#[test]
fn a_full_disk_refuses_a_push_and_keeps_what_there_is() {
    let Some(disk) = SmallDisk::mount(4) else {
        return;
    };
    let Some(server) = server_at(disk.path(), "", "", "") else {
        return;
    };
    let ann = Account::new("ann");
    let mut client = Client::registered(&server, &ann);
    let push = |number: u8| {
        let sealed = Some(Sealed(vec![number; 300_000]));
        let id = [number; 16];
        let base = 0;
        let changes = vec![Change { id, base, sealed }];
        Request::Push { changes }
    };
    let full = (0..40).find(|number| match client.ask(&push(*number)) {
        Reply::Pushed { .. } => false,
        other => {
            assert_eq!(other, Reply::Failed { why: Failure::Full });
            true
        }
    });
    let full = usize::from(full.expect("full"));
    assert!(full > 1, "{full}");
    assert_eq!(client.pull_all().len(), full);
    let mut again = Client::logged_in(&server, &ann);
    assert_eq!(again.pull_all().len(), full);
}
