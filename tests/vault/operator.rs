//! `tfd vault` and `tfd check`.

use std::process::Command;

use crate::peer::*;

#[test]
fn the_operator_lists_bans_ends_and_exports() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::logged_in(&server, Kind::G3, "ann");
    let hid = peer.insert("cipher", 5);
    let (accounts, _) = operate(&server, &["accounts"]);
    let row: Vec<&str> = accounts
        .lines()
        .nth(1)
        .expect("row")
        .split_whitespace()
        .collect();
    assert_eq!(row, ["ann", "ann@example.org", "1", "active"]);
    let (export, is_well) = operate(&server, &["export", "ann"]);
    assert!(is_well, "{export}");
    let export: serde_json::Value = serde_json::from_str(&export).expect("JSON");
    assert_eq!(export["entries"][0]["hid"], hid.as_str());
    assert_eq!(export["entries"][0]["host"], "cipher");
    let (text, is_well) = operate(&server, &["export", "nobody"]);
    assert!(
        !is_well && text.contains("nobody: no such account"),
        "{text}"
    );

    let mut other = Peer::known(&server, Kind::G3);
    other.log_in("ann", "pass");
    let (codes, _) = operate(&server, &["codes"]);
    assert!(
        codes.starts_with("USER  KIND    CODE       EXPIRES\nann   device  PM-"),
        "{codes}"
    );
    let (text, is_well) = operate(&server, &["ban", "ann", "--for", "1h"]);
    assert!(is_well, "{text}");
    assert_eq!(peer.try_packet(), None, "its session ends");
    let banned = error(26, "ACCB", "ACCOUNT_BANNED");
    assert_eq!(other.log_in("ann", "pass"), banned);
    assert_eq!(
        other.log_in("ann", "wrong"),
        error(8, "CRED", "INVALID_CREDENTIALS")
    );
    operate(&server, &["ban", "ann", "--for", "0s"]);
    assert!(
        other
            .log_in("ann", "pass")
            .contains("SEND_VERIFICATION_NEW_DEVICE")
    );
    let (text, is_well) = operate(&server, &["ban", "nobody"]);
    assert!(!is_well && text.contains("not found"), "{text}");
}

#[test]
fn a_kick_ends_the_sessions_of_an_account() {
    let Some(server) = server("") else { return };
    let mut ann = Peer::logged_in(&server, Kind::G3, "ann");
    let mut bob = Peer::logged_in(&server, Kind::G3, "bob");
    let (text, is_well) = operate(&server, &["kick", "ann"]);
    assert!(is_well, "{text}");
    assert_eq!(ann.try_packet(), None);
    bob.expect_alive();
}

#[test]
fn a_check_says_what_each_dialect_is_worth() {
    let Some(server) = server("dialects = [\"G1\", \"G2\"]") else {
        return;
    };
    let output = Command::new(env!("CARGO_BIN_EXE_tfd"))
        .args(["check", "--config"])
        .arg(server.config_path())
        .output()
        .expect("tfd");
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(
        text.contains("vault.dialects: \"G1\": nothing protects"),
        "{text}"
    );
    assert!(
        text.contains("vault.dialects: \"G2\": packets can't be changed"),
        "{text}"
    );
}

#[test]
fn the_operator_reads_what_has_happened_to_accounts() {
    let Some(server) = server("") else { return };
    Peer::logged_in(&server, Kind::G3, "ann");
    Peer::logged_in(&server, Kind::G2, "bob");
    let (text, is_well) = operate(&server, &["logs", "--json"]);
    assert!(is_well, "{text}");
    let events: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let of = |user: &str| {
        let events = events.as_array().expect("list").iter();
        let own = events.filter(|event| event["user"] == user);
        own.map(|event| event["event"].as_str().expect("event").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("ann"), ["LOGIN_SUCCESSFUL"]);
    assert_eq!(of("bob"), ["LOGIN_SUCCESSFUL"]);
    let (text, _) = operate(&server, &["logs", "ann"]);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        text.ends_with("  ann   LOGIN_SUCCESSFUL  127.0.0.1\n"),
        "{text}"
    );
    let (text, is_well) = operate(&server, &["logs", "nobody"]);
    assert!(!is_well && text.contains("not found"), "{text}");
}
