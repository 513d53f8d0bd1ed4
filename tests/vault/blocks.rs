//! Addresses that have failed too often, at the vault or elsewhere.

use std::process::Command;

use crate::common::{Server, Setup, account, is_root, wait_until};
use crate::peer::*;

fn tfd(server: &Server, words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tfd"))
        .args(words)
        .arg("--config")
        .arg(server.config_path())
        .output()
        .expect("tfd");
    String::from_utf8([output.stdout, output.stderr].concat()).expect("text")
}

/// Fails with so many names, twice with each.
fn fail_at_vault(peer: &mut Peer, names: usize) {
    for name in 0..names {
        for _ in 0..2 {
            let password = online("wrong");
            let ask = format!("MNGCCRusername%eq!n{name}!;password%eq!{password}!;");
            assert!(peer.ask(&ask).contains("CREDENTIAL_CHECK_FAILED"));
        }
    }
}

#[test]
fn an_address_that_guesses_at_the_vault_is_blocked_elsewhere_and_the_other_way_round() {
    if !is_root() {
        println!("left out: a vault needs root");
        return;
    }
    let above = tempfile::tempdir().expect("directory");
    let data = above.path().join("vault");
    prepare(&data);
    let server = Server::with(Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"\nlogin_failures = 2".to_owned(),
        users: account("ann", "pass", "games:::"),
        tf: format!(
            "listen = [\"127.0.0.1:0\"]\n[vault]\nlisten = [\"127.0.0.1:0\"]\ndata = \"{}\"\n\
             user = \"man\"\nregistration = \"open\"\n",
            data.display()
        ),
        ..Setup::default()
    });
    let mut owner = Peer::registered(&server, Kind::G3, "ann");
    let log_in = |password: &str| server.connect().ask(format!("LOGIN ann {password}"));
    let mut thief = Peer::known(&server, Kind::G3);
    fail_at_vault(&mut thief, 5);
    assert!(!log_in("pass").starts_with("OK"));
    let blocked = tfd(&server, &["blocked"]);
    assert!(blocked.contains("\nall "), "{blocked}");
    assert!(blocked.contains("\nn0@vault "), "{blocked}");
    let text = tfd(&server, &["unblock", "127.0.0.1"]);
    assert!(text.contains("127.0.0.1 unblocked"), "{text}");
    assert!(log_in("pass").starts_with("OK"));

    for name in 0..5 {
        for _ in 0..2 {
            let answer = server.connect().ask(format!("LOGIN m{name} wrong"));
            assert!(!answer.starts_with("OK"), "{answer}");
        }
    }
    let answer = owner.log_in("ann", "pass");
    assert_eq!(answer, error(8, "CRED", "INVALID_CREDENTIALS"));
    tfd(&server, &["unblock", "127.0.0.1"]);
    assert!(owner.log_in("ann", "pass").contains("LOGIN_SUCCESSFUL"));
}

#[test]
fn a_restart_frees_nobody() {
    let Some(mut server) = server("") else { return };
    let mut owner = Peer::registered(&server, Kind::G3, "ann");
    for _ in 0..10 {
        assert!(owner.log_in("ann", "wrong").contains("CRED"));
    }
    assert!(owner.log_in("ann", "pass").contains("CRED"));
    let cookie = owner.cookie.clone();
    server.signal(nix::sys::signal::Signal::SIGTERM);
    server.wait_for_end();
    server.start_again();
    let mut owner = Peer::new(&server, Kind::G3);
    owner.cookie = cookie;
    owner.authorize();
    assert!(owner.log_in("ann", "pass").contains("CRED"));
    let blocked = tfd(&server, &["blocked"]);
    assert!(blocked.contains("ann@vault  127.0.0.1"), "{blocked}");
    tfd(&server, &["unblock", "ann@vault"]);
    assert!(owner.log_in("ann", "pass").contains("LOGIN_SUCCESSFUL"));
}

/// How many logins have failed for this reason, by the metrics.
pub fn failed(server: &Server, reason: &str) -> u64 {
    server.metric(&format!("tfd_logins_failed_total{{reason=\"{reason}\"}}"))
}

#[test]
fn failed_logins_are_counted() {
    let lines = "control = \"control\"\nmetrics = \"./metrics\"\nlogin_failures = 2";
    let Some(server) = server_with(lines, "", true) else {
        return;
    };
    let mut peer = Peer::registered(&server, Kind::G3, "ann");
    assert!(peer.log_in("ann", "wrong").contains("CRED"));
    assert!(peer.log_in("nobody", "pass").contains("CRED"));
    for reason in ["wrong_password", "unknown_user"] {
        wait_until("a count", || failed(&server, reason) == 1);
    }
    for _ in 0..2 {
        peer.log_in("ann", "wrong");
    }
    wait_until("a block", || failed(&server, "blocked_user") == 1);
}
