//! Who is let in, by what, and what others learn of it.

use crate::common::wait_until;
use crate::peer::*;
use tfd::hub::proofs::enrolment_key;
use tfd::hub::wire::Value;

#[test]
fn a_code_lets_a_user_in_once_and_its_own_key_from_then_on() {
    let Some(server) = server("") else { return };
    let anna = Person::new("anna");
    let first = server.add("anna");
    let second = server.add("anna");
    assert_ne!(first, second);
    assert_eq!(second.len(), 19, "{second}");
    let secret = |code: &str| enrolment_key(code, &hub_name(), &anna.user());
    let secret = |code: &str| secret(code).expect("key").expect("a code");
    let old = Line::new(&server).log_in(&anna, "owner", &secret(&first));
    assert_eq!(code(&old), 402, "{old}");
    let mut line = Line::new(&server);
    line.enrol(&anna, &second);
    let again = Line::new(&server).log_in(&anna, "owner", &secret(&second));
    assert_eq!(code(&again), 402, "{again}");
    let mut line = server.log_in(&anna);
    let place = line.done("GIP anna");
    assert_eq!(place, "TIP anna 127.0.0.1:7171 id=3");
    let (text, is_well) = server.operate(&["user", "add", "anna"]);
    assert!(!is_well && text.contains("needs no code"), "{text}");
    let (list, _) = server.operate(&["user", "list"]);
    assert_eq!(
        list,
        "USER  KEY  KEEPS  USED  DELETES\nanna  yes  0      0     yes\n"
    );
}

#[test]
fn a_holder_sends_its_key_and_its_share_at_its_first_login() {
    let Some(server) = server("") else { return };
    let bob = Person::new("bob");
    let invitation = server.add("bob");
    let secret = enrolment_key(&invitation, &hub_name(), &bob.user());
    let secret = secret.expect("key").expect("a code");
    // Its owner's key comes first.
    let mut early = Line::new(&server);
    assert_eq!(code(&early.log_in(&bob, "keeper", &secret)), 302);
    assert_eq!(code(&early.send_holder_key(&bob)), 504);
    let mut owner = Line::new(&server);
    owner.enrol(&bob, &invitation);
    let mut line = Line::new(&server);
    assert_eq!(code(&line.log_in(&bob, "keeper", &bob.login)), 302);
    assert_eq!(code(&line.done("SHA 1000")), 302);
    assert_eq!(code(&line.done("GIP bob")), 302);
    assert_eq!(code(&line.send_holder_key(&bob)), 209);
    assert_eq!(code(&line.done("MOV a b c")), 500);
    assert_eq!(
        code(&line.done(&format!("DFI {} bob", file(1).text()))),
        301
    );
    assert_eq!(code(&line.done("SHA 1000000 port=7272 site=attic")), 208);
    line.notice("ACS");
    let mut again = server.log_in_holder(&bob);
    assert_eq!(code(&again.done("SHA 2000000")), 208);
    let before = line.notice("OUT");
    assert_eq!(before, "OUT after=60 reason=replaced");
    assert!(line.end().is_empty());
}

#[test]
fn wrong_responses_are_answered_alike_and_the_third_ends_the_line() {
    let Some(server) = server("") else { return };
    let anna = Person::new("anna");
    drop(server.owner(&anna));
    let nobody = Person::new("nobody");
    for (who, secret) in [(&anna, [1; 32]), (&nobody, [1; 32])] {
        let mut line = Line::new(&server);
        for _ in 0..3 {
            let reply = line.log_in(who, "owner", &secret);
            assert!(reply.starts_with("402 Verification client-hub did not succeed ;"));
        }
        assert!(line.end().is_empty());
    }
}

#[test]
fn a_response_is_for_one_challenge_of_one_connection_and_signed() {
    let Some(server) = server("") else { return };
    let anna = Person::new("anna");
    drop(server.owner(&anna));
    let mut line = Line::new(&server);
    let mut other = Line::new(&server);
    let challenge = line.challenge("anna", "owner");
    let (response, sig) = line.response(&anna, challenge, &anna.login, &anna.identity);
    // Without the signature, with another's, and on another connection.
    assert_eq!(code(&line.done(&format!("RSP {response}"))), 402);
    assert_eq!(code(&line.done(&format!("RSP {response} sig={sig}"))), 504);
    let challenge = line.challenge("anna", "owner");
    let (response, sig) = line.response(&anna, challenge, &anna.login, &anna.holder);
    assert_eq!(code(&line.done(&format!("RSP {response} sig={sig}"))), 402);
    let challenge = other.challenge("anna", "owner");
    let (response, sig) = line.response(&anna, challenge, &anna.login, &anna.identity);
    assert_eq!(code(&other.done(&format!("RSP {response} sig={sig}"))), 402);
    let reply = other.log_in(&anna, "owner", &anna.login);
    assert_eq!(code(&reply), 201, "{reply}");
}

#[test]
fn a_key_is_proved_and_never_exchanged() {
    let Some(server) = server("") else { return };
    let (anna, eve) = (Person::new("anna"), Person::new("anna"));
    let invitation = server.add("anna");
    let secret = enrolment_key(&invitation, &hub_name(), &anna.user());
    let secret = secret.expect("key").expect("a code");
    let mut line = Line::new(&server);
    assert_eq!(code(&line.log_in(&anna, "owner", &secret)), 302);
    let key = anna.key().text();
    assert_eq!(code(&line.done(&format!("KEY {key}"))), 506);
    let elsewhere = Line::new(&server).exporter;
    let own = std::mem::replace(&mut line.exporter, elsewhere);
    assert_eq!(code(&line.send_key(&anna)), 506, "bound to the connection");
    line.exporter = own;
    assert_eq!(code(&line.send_key(&anna)), 209);
    assert_eq!(code(&line.done(&format!("KEY {key}"))), 209);
    let other = eve.key().text();
    assert_eq!(code(&line.done(&format!("KEY {other}"))), 504);
    assert_eq!(code(&server.log_in(&anna).done(&format!("KEY {key}"))), 209);
}

#[test]
fn other_versions_roles_and_protocols_are_refused() {
    let Some(server) = server("") else { return };
    let mut line = Line::new(&server);
    for (log, expected) in [
        ("LOG anna 1.0 role=owner", 508),
        ("LOG anna 2.0 role=owner", 508),
        ("LOG anna 1.1", 500),
        ("LOG anna 1.1 role=both", 500),
        ("LOG Anna 1.1 role=owner", 500),
        ("LOG anna", 500),
        ("LOG ../anna 1.1 role=owner", 500),
    ] {
        let reply = line.done(log);
        assert_eq!(code(&reply), expected, "{log}: {reply}");
    }
    // A later minor version speaks this one.
    assert_eq!(code(&line.done("LOG anna 1.7 role=owner new=1")), 206);
    line.send("OUT");
    assert!(line.end().iter().all(|line| line.starts_with("CHA")));
    let mut unnamed = Line::with_alpn(&server, b"").expect("handshake");
    assert!(unnamed.end().is_empty());
    assert!(Line::with_alpn(&server, b"\x02h2").is_none());
}

#[test]
fn an_address_that_fails_too_often_waits_and_a_known_one_does_not() {
    let Some(server) = server_with("login_failures = 2", "") else {
        return;
    };
    let anna = Person::new("anna");
    drop(server.owner(&anna));
    let blocked = (0..200).find_map(|number| {
        let guess = Person::new(&format!("guess{number}"));
        let mut line = Line::new(&server);
        let reply = line.done(&format!("LOG {} 1.1 role=owner", guess.name));
        if code(&reply) == 206 {
            let challenge = line.challenged();
            let (response, _) = line.response(&guess, challenge, &[2; 32], &guess.identity);
            assert_eq!(code(&line.done(&format!("RSP {response}"))), 402);
            return None;
        }
        Some(reply)
    });
    let blocked = blocked.expect("a block");
    assert_eq!(code(&blocked), 501, "{blocked}");
    assert!(named(&blocked, "after").parse::<u64>().expect("seconds") > 0);
    // Who has logged in from there is let in.
    let mut line = server.log_in(&anna);
    assert_eq!(code(&line.done("ABT")), 216);
}

#[test]
fn a_login_that_stops_half_way_leaves_nothing_behind() {
    let Some(server) = server("") else { return };
    for text in ["", "LOG anna 1.1 ro", "LOG anna 1.1 role=owner id=1\r\n"] {
        let mut line = Line::new(&server);
        line.send_bytes(text.as_bytes());
    }
    wait_until("no gate is left", || {
        crate::common::pids(&server, "tfd-gate").is_empty()
    });
    drop(server.owner(&Person::new("anna")));
}
