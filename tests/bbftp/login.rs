//! The greeting, and who gets in.

use std::time::{Duration, Instant};

use crate::common::pam::{ANY, Service};
use crate::common::{Server, is_root, wait_until};
use crate::peer::*;

#[test]
fn a_name_and_a_password_open_a_session_that_says_what_it_offers() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::greeted(&server);
    let (code, text) = peer.log_in("ann", "pass word");
    assert_eq!(code, OK);
    let begin = format!("tfd {} : OK", env!("CARGO_PKG_VERSION"));
    assert!(
        text.starts_with(&begin) && text.contains("+sha256"),
        "{text}"
    );
    peer.expect_alive();
    let other = Peer::greeted(&server);
    assert_ne!(peer.modulus, other.modulus, "a key for each");
}

#[test]
fn pam_checks_the_password_where_the_server_says_so() {
    if !is_root() {
        println!("left out: taking identities needs root");
        return;
    }
    let service = Service::new(ANY);
    let Some(server) = server_with(&service.lines(), "") else {
        return;
    };
    let mut peer = Peer::greeted(&server);
    assert_eq!(peer.log_in("ann", "whatever modules take").0, OK);
    peer.expect_alive();
    let (text, _) = refused(&server, |peer| peer.log_in("nobody-here", "x"));
    assert_eq!(text, "Incorrect password");
    drop(service);
}

/// The answer to a login that must fail, and how long it took.
fn refused(server: &Server, log_in: impl FnOnce(&mut Peer) -> (u32, String)) -> (String, Duration) {
    let mut peer = Peer::greeted(server);
    let begin = Instant::now();
    let (code, text) = log_in(&mut peer);
    let took = begin.elapsed();
    assert_eq!(code, NO, "{text}");
    assert!(peer.expect_closed().is_empty());
    (text, took)
}

#[test]
fn all_that_is_wrong_of_a_login_gets_one_answer_after_the_same_time() {
    let Some(server) = server("") else { return };
    let block = |peer: &mut Peer, user: &[u8], password: &[u8]| {
        peer.send(LOG, &login(2, user, password));
        peer.answer()
    };
    let answers = [
        refused(&server, |peer| peer.log_in("ann", "wrong")),
        refused(&server, |peer| peer.log_in("nobody-here", "pass word")),
        refused(&server, |peer| peer.log_in("", "")),
        refused(&server, |peer| block(peer, &[1; 128], &[2; 128])),
        refused(&server, |peer| {
            let user = peer.block(b"ann");
            block(peer, &user, &[2; 128])
        }),
        refused(&server, |peer| {
            let password = peer.block(b"pass word");
            block(peer, &[0; 128], &password)
        }),
        refused(&server, |peer| block(peer, &[1; 5], &[])),
    ];
    for (text, took) in answers {
        assert_eq!(text, "Incorrect password");
        assert!(took >= Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn whoever_knows_the_password_hears_why_the_account_is_closed() {
    let Some(server) = server("") else { return };
    for (name, reason) in [
        ("old", "the account has expired"),
        ("far", "the account may not be used from this address"),
    ] {
        let (text, _) = refused(&server, |peer| peer.log_in(name, "pass"));
        assert_eq!(text, format!("Login refused: {reason}"));
        let (text, _) = refused(&server, |peer| peer.log_in(name, "wrong"));
        assert_eq!(text, "Incorrect password");
    }
}

#[test]
fn a_one_time_code_follows_the_password() {
    let Some(server) = server("") else { return };
    let secret: tfd::users::totp::Secret = SECRET.parse().expect("secret");
    let (text, _) = refused(&server, |peer| peer.log_in("two", "pass"));
    assert_eq!(
        text,
        "Login refused: a one-time code is needed behind the password"
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let step = tfd::users::totp::step_at(now.expect("time").as_secs());
    let password = format!("pass{}", secret.code(step));
    let _session = Peer::logged_in(&server, "two", &password);
    let (text, _) = refused(&server, |peer| peer.log_in("two", &password));
    assert_eq!(
        text,
        "Login refused: the one-time code is wrong or was used before"
    );
}

#[test]
fn a_block_is_told_whatever_the_password_is() {
    let Some(server) = server_with("login_failures = 1", "") else {
        return;
    };
    let (text, _) = refused(&server, |peer| peer.log_in("ann", "wrong"));
    assert_eq!(text, "Incorrect password");
    for password in ["wrong", "pass word"] {
        let (text, _) = refused(&server, |peer| peer.log_in("ann", password));
        assert!(text.starts_with("Login refused: blocked until 2"), "{text}");
    }
}

#[test]
fn a_login_that_is_none_is_told_why_and_the_connection_ends() {
    let Some(server) = server("") else { return };
    let clear = login(0, b"ann", b"pass word");
    let (mut long, mut negative, odd) = (clear.clone(), clear.clone(), login(7, b"", b""));
    long[..4].copy_from_slice(&[0, 0, 0, 2]);
    long[268..272].copy_from_slice(&129_u32.to_be_bytes());
    negative[..4].copy_from_slice(&[0, 0, 0, 2]);
    negative[272..].copy_from_slice(&(-1_i32).to_be_bytes());
    for (bytes, told) in [
        (message(LOG, &clear), "The server requires encrypted login"),
        (
            announcing(CRYPT, 276, b""),
            "The server requires encrypted login",
        ),
        (message(LOG, &odd), "Login not understood"),
        (message(LOG, &long), "Login not understood"),
        (message(LOG, &negative), "Login not understood"),
        (message(LOG, &[2; 275]), "Incorrect length"),
        (message(LOG, &[2; 277]), "Incorrect length"),
        (message(LOG, b""), "Incorrect length"),
        (
            message(PRIV_LOG, &[0; 152]),
            "logins by name and password only",
        ),
        (
            announcing(CERT_LOG, 12, b""),
            "logins by name and password only",
        ),
        (message(PROT, b""), "Unknown message in connected state"),
        (
            message(99, &[7; 5000]),
            "Unknown message in connected state",
        ),
    ] {
        let mut peer = Peer::greeted(&server);
        peer.send_bytes(&bytes);
        let (code, text) = peer.answer();
        assert!(code == NO && text.contains(told), "{code} {text}");
        peer.expect_closed();
    }
    for length in [-1_i32, i32::MIN, i32::MAX] {
        let mut peer = Peer::greeted(&server);
        peer.send_bytes(&announcing(LOG, length as u32, b""));
        peer.expect_closed();
    }
    Peer::ann(&server, 3).expect_alive();
}

#[test]
fn anybody_may_ask_for_the_status_of_the_server() {
    let Some(server) = server("versions = [2, 3]") else {
        return;
    };
    let mut peer = Peer::greeted(&server);
    peer.send_bytes(&announcing(SERVER_STATUS, 276, b""));
    let (code, text) = peer.answer();
    assert!(
        code == OK && text.contains("Protocol versions: 2 3\n"),
        "{text}"
    );
    peer.expect_closed();
}

#[test]
fn without_tls_no_password_is_taken_unless_configured() {
    let Some(server) = server_with("", "versions = [1]") else {
        return;
    };
    let text = std::fs::read_to_string(server.config_path()).expect("configuration");
    let text = text.replace("password_logins = \"rsa\"\n", "");
    std::fs::write(server.config_path(), text).expect("write");
    let mut server = server;
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_for_log("configuration read again");
    let (text, _) = refused(&server, |peer| peer.log_in("ann", "pass word"));
    assert!(text.contains("over TLS only"), "{text}");
}

#[test]
fn too_many_sessions_of_a_user_are_told_so_that_the_client_tries_again() {
    let Some(server) = server("") else { return };
    let _one = Peer::logged_in(&server, "bob", "pass");
    let mut two = Peer::greeted(&server);
    let (code, text) = two.log_in("bob", "pass");
    assert_eq!(
        (code, text.as_str()),
        (BAD, "Too many sessions of this user")
    );
}

#[test]
fn whoever_does_not_log_in_is_sent_away_in_time() {
    let Some(server) = server_with("handshake_timeout = 0.5", "") else {
        return;
    };
    let mut silent = Peer::greeted(&server);
    silent.expect_closed();
    let mut slow = Peer::greeted(&server);
    slow.send_bytes(&announcing(LOG, 276, &[0; 100]));
    slow.expect_closed();
}

#[test]
fn a_flood_of_connections_gets_a_greeting_each_and_waits_for_no_key() {
    let Some(server) = server_with(
        "max_unauthenticated_per_address = 0\nmax_unauthenticated_per_network = 0",
        "",
    ) else {
        return;
    };
    let address = address(&server);
    let mut peers: Vec<Peer> = (0..100).map(|_| Peer::greeted_at(address)).collect();
    let mut different: Vec<_> = peers.iter().map(|peer| peer.modulus.clone()).collect();
    different.sort();
    different.dedup();
    // Few are ready just after the start.
    assert!(different.len() > 1, "{}", different.len());
    let (code, text) = peers.pop().expect("a peer").log_in("ann", "pass word");
    assert_eq!(code, OK, "{text}");
}

#[test]
fn a_session_shows_in_status_metrics_and_audit_and_can_be_kicked() {
    let Some(server) = server("") else { return };
    let mut ann = Peer::ann(&server, 3);
    let mut bob = Peer::logged_in(&server, "bob", "pass");
    ann.expect(
        (MKDIR_V2, &with_options(0, "new")),
        (OK, "Directory new created"),
    );
    ann.expect_refused((MKDIR_V2, &with_options(0, "none/new")));
    let status = tfd(&server, &["status", "--json"]);
    for part in [
        "\"protocol\":\"bbftp\"",
        "\"user\":\"ann\"",
        "\"user\":\"bob\"",
    ] {
        assert!(status.contains(part), "{status}");
    }
    let by_protocol = "tfd_sessions_by_protocol{protocol=\"bbftp\"} 2";
    assert!(server.metrics().contains(by_protocol));
    let audit = server.config_path().with_file_name("audit.jsonl");
    wait_until("the records", || {
        let text = std::fs::read_to_string(&audit).unwrap_or_default();
        let mut made = text.lines().filter(|line| line.contains("\"MKDIR\""));
        let (first, second) = (made.next(), made.next());
        first.is_some_and(|line| line.contains("\"user\":\"ann\"") && line.contains("\"new\""))
            && second.is_some_and(|line| line.contains("14"))
    });
    tfd(&server, &["kick", "--user", "ann"]);
    ann.expect_closed();
    bob.expect_alive();
}

fn tfd(server: &Server, arguments: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tfd"))
        .args(arguments)
        .arg("--control")
        .arg(server.config_path().with_file_name("control"))
        .output()
        .expect("run");
    String::from_utf8(output.stdout).expect("UTF-8")
}
