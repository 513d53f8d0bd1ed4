//! Who is let in on a line without TLS, by what, and how a name keeps its version.

use std::process::Command;

use super::peer::*;
use crate::common::wait_until;
use crate::peer::{self, GIB, code};
use tfd::hub::wire::Value;

#[test]
fn a_first_login_sends_key_and_share_and_the_next_one_neither() {
    let Some(hub) = hub("") else { return };
    let anna = Person::new(&hub, "anna");
    let mut line = anna.line(&hub);
    line.send("LOG anna 1.0");
    assert_eq!(line.line().expect("line"), "206 Username OK");
    let challenge = line.challenged();
    let mac = response("anna", challenge, anna.secret());
    line.send(&format!("RSP {mac}"));
    let needed = "Verification client-hub succeeded, key is needed";
    assert_eq!(line.line().expect("line"), format!("302 {needed}"));
    assert_eq!(line.done("SHA 5"), format!("302 {needed}"));
    assert_eq!(
        line.done(&format!("KEY {}", anna.key())),
        "209 Key received"
    );
    let needed = "301 Verification client-hub succeeded, size of share needed";
    assert_eq!(line.done("REC anna"), needed);
    assert_eq!(line.done("SHA 1000000"), "208 Share OK");
    assert_eq!(line.notice("ACS"), format!("ACS {}", GIB + 1_000_000));
    // One line for both parts: the next one takes its place.
    let mut again = anna.line(&hub);
    let reply = again.log_in(&anna, anna.secret());
    assert_eq!(reply, "201 Verification client-hub succeeded");
    assert_eq!(again.notice("ACS"), format!("ACS {}", GIB + 1_000_000));
    assert_eq!(line.notice("OUT"), "OUT");
    assert!(line.end().is_empty());
    // The known key again, and another one.
    assert_eq!(
        again.done(&format!("KEY {}", anna.key())),
        "209 Key received"
    );
    let other = Person::new(&hub, "bob").key();
    assert_eq!(again.done(&format!("KEY {other}")), "504 Not allowed");
    assert_eq!(again.done("GIP anna"), format!("TIP anna {}", anna.ip));
    again.send("OUT");
    assert!(again.end().is_empty());
    let (list, _) = hub.operate(&["user", "list", "--json"]);
    assert!(list.contains("\"version\":\"1.0\""), "{list}");
    let (text, is_well) = hub.operate(&["user", "add", "anna"]);
    assert!(!is_well && text.contains("needs no code"), "{text}");
}

#[test]
fn a_plain_line_speaks_version_1_0_alone_and_a_tls_line_never() {
    let Some(hub) = hub("") else { return };
    let anna = Person::new(&hub, "anna");
    for other in [
        "LOG anna 1.1 role=owner id=1",
        "LOG anna 1.1",
        "LOG anna 2.0",
        "LOG anna 0.9",
    ] {
        let mut line = anna.line(&hub);
        line.send(other);
        let reply = line.line().expect("line");
        assert_eq!(reply, "508 Version not supported ; version=1.0", "{other}");
        assert_eq!(code(&line.done("LOG anna 1.0")), 206);
    }
    // What version 1.0 does not have.
    let mut line = anna.line(&hub);
    for wrong in ["LOG anna 1.0 role=both", "LOG anna 1.0 id=1", "LOG anna"] {
        assert_eq!(line.done(wrong), "500 Command not understood", "{wrong}");
    }
    let mut line = peer::Line::new(&hub);
    let reply = line.done("LOG anna 1.0");
    assert_eq!(reply, "508 Version not supported ; id=1 version=1.1");
    // Neither TLS on the one nor the relay's first line.
    let mut line = anna.line(&hub);
    line.send_bytes(b"\x16\x03\x01\x00\x05hello\r\n");
    assert_eq!(line.line().expect("line"), "500 Command not understood");
    let mut line = anna.line(&hub);
    line.send("RLY AAECAwQFBgcICQoLDA0ODw");
    assert_eq!(line.line().expect("line"), "500 Command not understood");
}

#[test]
fn the_relay_has_a_listener_of_its_own_beside_it() {
    let Some(mut hub) = hub("relay_listen = [\"127.0.0.1:0\"]") else {
        return;
    };
    let anna = Person::new(&hub, "anna");
    let [base, relay] = [0, 1].map(|at| hub.addresses()[at]);
    let mut line = Line::over(anna.connect(base));
    assert_eq!(code(&line.done("LOG anna 1.0")), 206);
    let mut line = Line::over(anna.connect(relay));
    line.send("LOG anna 1.0                ");
    assert!(line.end().is_empty(), "the relay answers nobody");
    // Each stays what it is when the configuration is read again.
    hub.signal(nix::sys::signal::Signal::SIGHUP);
    hub.wait_for_log("configuration read again");
    let mut line = Line::over(anna.connect(base));
    assert_eq!(code(&line.done("LOG anna 1.0")), 206);
    let mut line = Line::over(anna.connect(relay));
    line.send("LOG anna 1.0                ");
    assert!(line.end().is_empty());
}

#[test]
fn a_name_keeps_the_version_of_its_first_key() {
    let Some(hub) = hub("") else { return };
    let old = Person::new(&hub, "old");
    drop(old.ready(&hub, GIB));
    // As a user of version 1.1, with the same secret: nothing changes.
    let mut line = peer::Line::new(&hub);
    let mut new = peer::Person::new("old");
    for role in ["owner", "keeper"] {
        let reply = line.log_in(&new, role, old.secret());
        let expected = "508 Version not supported ; id=";
        assert!(reply.starts_with(expected), "{reply}");
        assert!(reply.ends_with(" version=1.0"), "{reply}");
    }
    let wrong = line.log_in(&new, "owner", &[1; 32]);
    assert_eq!(code(&wrong), 402, "{wrong}");
    drop(old.ready(&hub, GIB));
    // The reverse.
    new.name = "new".to_owned();
    drop(hub.owner(&new));
    let thief = Person::new(&hub, "thief").called("new");
    let mut line = thief.line(&hub);
    let reply = line.log_in(&thief, &new.login);
    assert_eq!(reply, "508 Version not supported ; version=1.1");
    assert_eq!(code(&line.done(&format!("KEY {}", thief.key()))), 504);
    let reply = line.log_in(&thief, &[1; 32]);
    assert_eq!(reply, "402 Verification client-hub did not succeed");
    let mut line = hub.log_in(&new);
    assert_eq!(code(&line.done("ABT")), 216);
}

#[test]
fn of_two_first_keys_of_a_name_in_two_versions_the_first_one_counts() {
    let Some(hub) = hub("") else { return };
    let old = Person::new(&hub, "anna");
    let new = peer::Person::new("anna");
    let mut base = old.line(&hub);
    assert_eq!(code(&base.log_in(&old, old.secret())), 302);
    let mut tls = peer::Line::new(&hub);
    assert_eq!(code(&tls.log_in(&new, "owner", old.secret())), 302);
    assert_eq!(code(&base.done(&format!("KEY {}", old.key()))), 209);
    assert_eq!(code(&tls.send_key(&new)), 504);
    // And the other way round.
    let old = Person::new(&hub, "bob");
    let new = peer::Person::new("bob");
    let mut base = old.line(&hub);
    assert_eq!(code(&base.log_in(&old, old.secret())), 302);
    let mut tls = peer::Line::new(&hub);
    assert_eq!(code(&tls.log_in(&new, "owner", old.secret())), 302);
    assert_eq!(code(&tls.send_key(&new)), 209);
    for key in [old.key(), new.key().text()] {
        assert_eq!(code(&base.done(&format!("KEY {key}"))), 504);
    }
    assert_eq!(code(&hub.log_in(&new).done("ABT")), 216);
}

#[test]
fn wrong_responses_are_answered_alike_and_the_third_ends_the_line() {
    let Some(hub) = hub("") else { return };
    let anna = Person::new(&hub, "anna");
    let nobody = Person::new(&hub, "somebody").called("nobody");
    for who in [&anna, &nobody] {
        let mut line = who.line(&hub);
        for _ in 0..3 {
            let reply = line.log_in(who, &[1; 32]);
            assert_eq!(reply, "402 Verification client-hub did not succeed");
        }
        assert!(line.end().is_empty());
    }
    // A response fits its challenge once, and that of its own line.
    let mut line = anna.line(&hub);
    let mut other = anna.line(&hub);
    assert_eq!(code(&line.done("LOG anna 1.0")), 206);
    assert_eq!(code(&other.done("LOG anna 1.0")), 206);
    let theirs = response("anna", other.challenged(), anna.secret());
    assert_eq!(code(&line.done(&format!("RSP {theirs}"))), 402);
    assert_eq!(code(&line.done(&format!("RSP {theirs}"))), 504);
}

#[test]
fn failed_logins_count_as_those_of_version_1_1_do() {
    let server = "login_failures = 2";
    let lines = "listen = [\"127.0.0.1:0\"]";
    let Some(hub) = peer::server_with(server, lines) else {
        return;
    };
    let anna = Person::new(&hub, "anna");
    let blocked = (0..200).find_map(|_| {
        let reply = anna.line(&hub).log_in(&anna, &[2; 32]);
        (code(&reply) != 402).then_some(reply)
    });
    let blocked = blocked.expect("a block");
    assert!(
        [
            "501 IP-address blocked after failed login attempt",
            "502 User account blocked after failed login attempt"
        ]
        .contains(&blocked.as_str()),
        "{blocked}"
    );
}

#[test]
fn a_code_stays_the_login_of_a_user_of_version_1_0() {
    let Some(hub) = hub("") else { return };
    let anna = Person::new(&hub, "anna");
    drop(anna.ready(&hub, GIB));
    wait_until("no session", || {
        crate::common::pids(&hub, "tfd-session").is_empty()
    });
    let reply = anna.line(&hub).log_in(&anna, anna.secret());
    assert_eq!(code(&reply), 201, "{reply}");
    let (list, _) = hub.operate(&["user", "list"]);
    assert!(
        list.lines().any(|line| line.starts_with("anna  1.0  ")),
        "{list}"
    );
}

#[test]
fn a_hub_of_version_1_0_alone_has_no_tls() {
    let Some(hub) = hub("tls_listen = []") else {
        return;
    };
    let mut line = Person::new(&hub, "anna").ready(&hub, GIB);
    assert_eq!(line.done("ABT"), "216 Backup/recovery aborted");
}

#[test]
fn a_listener_that_other_machines_reach_is_refused_or_warned_of() {
    let Some(hub) = hub("") else { return };
    let config = std::fs::read_to_string(hub.config_path()).expect("configuration");
    let other = hub.config_path().with_file_name("other.toml");
    let check = |lines: &str| {
        let text = config.replace("\nlisten = [\"127.0.0.1:0\"]\n", &format!("\n{lines}\n"));
        std::fs::write(&other, text).expect("write");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
        let command = command.args(["check", "--config"]).arg(&other);
        let output = command.output().expect("tfd");
        let text = [output.stdout, output.stderr].concat();
        (
            String::from_utf8(text).expect("text"),
            output.status.success(),
        )
    };
    let open = "listen = [\"0.0.0.0:0\"]";
    let (text, is_well) = check(open);
    assert!(
        !is_well && text.contains("hub.listen: 0.0.0.0:0: version 1.0 has no TLS"),
        "{text}"
    );
    assert!(text.contains("or set accept_base = true"), "{text}");
    let (text, is_well) = check(&format!("{open}\naccept_base = true"));
    assert!(
        is_well && text.contains("reads and changes what they say"),
        "{text}"
    );
    let (text, _) = check("listen = [\"127.0.0.1:0\"]");
    assert!(!text.contains("version 1.0"), "{text}");
}

#[test]
fn a_login_that_stops_half_way_leaves_nothing_behind() {
    let Some(hub) = hub("") else { return };
    let anna = Person::new(&hub, "anna");
    for text in ["", "LOG anna 1.", "LOG anna 1.0\r\n"] {
        let mut line = anna.line(&hub);
        line.send_bytes(text.as_bytes());
    }
    wait_until("no gate is left", || {
        crate::common::pids(&hub, "tfd-gate").is_empty()
    });
    drop(anna.ready(&hub, GIB));
}
