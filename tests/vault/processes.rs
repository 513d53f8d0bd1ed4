//! Who serves the vault's clients as whom, and what of it ends and starts again.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{pids, wait_until};
use crate::peer::*;

/// A line of the status of a process.
pub fn status(pid: u32, line: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    found
        .expect("line")
        .split_whitespace()
        .next()
        .expect("value")
        .to_owned()
}

/// What the descriptors of a process lead to; none of one that has ended.
pub fn handles(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"));
    let links = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.map(|to| to.to_string_lossy().into_owned()).collect()
}

#[test]
fn a_session_has_the_vaults_user_and_its_accounts_directory_and_no_more() {
    let Some(server) = server("") else { return };
    let _peer = Peer::logged_in(&server, Kind::G3, "ann");
    let games = nix::unistd::User::from_name("games")
        .expect("users")
        .expect("games");
    let session = pids(&server, "tfd-session");
    let session = *session
        .iter()
        .find(|pid| status(**pid, "Uid:") == games.uid.to_string())
        .expect("a session");
    let keeper = pids(&server, "tfd-vault");
    assert_eq!(keeper.len(), 1);
    for (pid, root) in [(session, "roots/store/users/1"), (keeper[0], "roots/store")] {
        assert_eq!(status(pid, "Uid:"), games.uid.to_string());
        assert_eq!(status(pid, "CapEff:"), "0000000000000000");
        assert_eq!(status(pid, "CapPrm:"), "0000000000000000");
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
}

#[test]
fn the_process_that_keeps_accounts_is_started_again() {
    let Some(mut server) = server("") else { return };
    let mut peer = Peer::logged_in(&server, Kind::G3, "ann");
    let [keeper] = pids(&server, "tfd-vault")[..] else {
        panic!("one process");
    };
    kill(Pid::from_raw(keeper as i32), Signal::SIGKILL).expect("kill");
    wait_until("another process", || {
        let now = pids(&server, "tfd-vault");
        now.len() == 1 && now != [keeper]
    });
    // A session goes on with its entries, and without its accounts.
    peer.insert("x", 1);
    let mut other = Peer::known(&server, Kind::G3);
    assert!(
        other
            .log_in("ann", "pass")
            .contains("SEND_VERIFICATION_NEW_DEVICE")
    );
    server.wait_for_log("session start");
}

#[test]
fn a_reload_leaves_sessions_and_logins_under_way_as_they_are() {
    let Some(mut server) = server("") else { return };
    let mut session = Peer::logged_in(&server, Kind::G3, "ann");
    let mut gate = Peer::registered(&server, Kind::G3, "bob");
    server.signal(Signal::SIGHUP);
    server.wait_for_log("configuration read again");
    session.insert("x", 1);
    assert!(session.ask("MNGDEV").contains("online"));
    assert!(gate.log_in("bob", "pass").contains("LOGIN_SUCCESSFUL"));
    assert_eq!(pids(&server, "tfd-vault").len(), 1);
}

#[test]
fn the_first_start_makes_a_key_that_root_alone_reads() {
    let Some(server) = server_with("", "", false) else {
        return;
    };
    for (name, mode, uid) in [("key.pem", 0o600, 0), ("certificate.pem", 0o644, 0)] {
        let metadata = fs::metadata(server.data().join(name)).expect(name);
        assert_eq!(
            (metadata.mode() & 0o777, metadata.uid()),
            (mode, uid),
            "{name}"
        );
    }
    let metadata = fs::metadata(server.data()).expect("data");
    assert_eq!(metadata.mode() & 0o777, 0o700);
    let mut peer = Peer::raw(&server, Kind::Certificate);
    peer.exchange();
    let key = fs::read(server.data().join("key.pem")).expect("key");
    let key = openssl::rsa::Rsa::private_key_from_pem(&key).expect("key");
    assert_eq!(key.size(), 512);
}

#[test]
fn a_vault_alone_needs_neither_a_user_for_its_gates_nor_a_root() {
    let Some(mut server) = server("") else { return };
    let cookie = Peer::logged_in(&server, Kind::G3, "ann").cookie;
    let path = server.config_path();
    let config = fs::read_to_string(&path).expect("configuration");
    let is_kept = |line: &&str| *line != "user = \"nobody\"" && !line.starts_with("root = ");
    let without: Vec<&str> = config.lines().filter(is_kept).collect();
    assert_eq!(without.len() + 2, config.lines().count());
    let without = without.join("\n");
    fs::write(&path, without).expect("write");
    server.signal(Signal::SIGTERM);
    server.wait_for_end();
    server.start_again();
    let mut peer = Peer::new(&server, Kind::G3);
    peer.cookie = cookie;
    let games = nix::unistd::User::from_name("games")
        .expect("users")
        .expect("games");
    wait_until("a gate", || !pids(&server, "tfd-gate").is_empty());
    let gate = pids(&server, "tfd-gate")[0];
    let uid = status(gate, "Uid:");
    let helper = status(pids(&server, "tfd-keeper")[0], "Uid:");
    for other in ["0", &games.uid.to_string(), &helper] {
        assert_ne!(uid, other);
    }
    peer.authorize();
    assert!(peer.log_in("ann", "pass").contains("LOGIN_SUCCESSFUL"));
}
