//! The choice of a version.

use crate::peer::*;

#[test]
fn version_1_is_chosen_by_its_first_request_and_the_others_by_a_question() {
    let Some(server) = server("") else { return };
    let mut old = Peer::ann(&server, 1);
    old.expect((CHDIR, b"home"), (OK, "/home"));
    let text = old.expect_refused((PROT, b""));
    assert_eq!(text, "Unknown message in logged state");
    old.expect_refused((CHDIR_V2, &with_options(0, "/")));
    old.expect_refused((CLOSE_CONN, b""));
    old.expect((CHDIR, b"/"), (OK, "/"));
    for version in [2, 3] {
        let mut peer = Peer::ann(&server, version);
        peer.expect((CHDIR_V2, &with_options(0, "home")), (OK, "/home"));
        peer.expect_refused((CHDIR, b"/"));
        peer.expect_refused((PROT, b""));
        peer.send(CLOSE_CONN, b"");
        assert!(peer.expect_closed().is_empty());
    }
    let mut asked = Peer::ann(&server, 3);
    let file = b"tfd.toml";
    asked.expect_refused((SHA256, file));
    let mut second = Peer::ann(&server, 2);
    let text = second.expect_refused((SHA256, file));
    assert_eq!(text, "Unknown message in logged state", "of version 3 only");
}

#[test]
fn version_1_may_be_chosen_by_the_question_too() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::logged_in(&server, "ann", "pass word");
    peer.send(PROT, b"");
    assert_eq!(peer.receive().0, PROT_ANS);
    peer.send(PROT_ANS, &1_u32.to_be_bytes());
    peer.expect((CHDIR, b"home"), (OK, "/home"));
}

#[test]
fn a_choice_of_what_is_not_offered_is_refused_and_another_may_follow() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::logged_in(&server, "ann", "pass word");
    for wrong in [
        &b"\0\0\0\x04"[..],
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"",
        b"\0\0\0\0\x03",
    ] {
        peer.send(PROT, b"");
        assert_eq!(peer.receive().0, PROT_ANS);
        let text = peer.expect_refused((PROT_ANS, wrong));
        assert!(text.contains("not supported"), "{text}");
    }
    peer.choose(3);
    peer.expect_alive();
    let mut leaving = Peer::logged_in(&server, "ann", "pass word");
    leaving.send(PROT, b"");
    assert_eq!(leaving.receive().0, PROT_ANS);
    leaving.send(NO, b"");
    assert!(leaving.expect_closed().is_empty());
}

#[test]
fn only_the_versions_of_the_configuration_are_spoken() {
    let Some(old) = server("versions = [1]") else {
        return;
    };
    let mut peer = Peer::greeted(&old);
    let (code, text) = peer.log_in("ann", "pass word");
    assert!(code == OK && !text.contains('+'), "{text}");
    for _ in 0..2 {
        let text = peer.expect_refused((PROT, b""));
        assert!(text.contains("version 1 only"), "{text}");
    }
    peer.expect((CHDIR, b"home"), (OK, "/home"));

    let Some(new) = server("versions = [2, 3]") else {
        return;
    };
    let mut peer = Peer::logged_in(&new, "ann", "pass word");
    for request in [
        (STORE, old_transfer(b"f", 3, 1, 5000)),
        (CHDIR, b"home".to_vec()),
        (77, b"?".to_vec()),
    ] {
        let text = peer.expect_refused((request.0, &request.1));
        assert_eq!(text, "Protocol version 1 is not supported");
    }
    peer.send(PROT, b"");
    assert_eq!(peer.receive(), (PROT_ANS, vec![0, 0, 0, 2, 0, 0, 0, 3]));
    peer.send(PROT_ANS, &2_u32.to_be_bytes());
    peer.expect((CHDIR_V2, &with_options(0, "home")), (OK, "/home"));
    let mut left = Peer::logged_in(&new, "ann", "pass word");
    left.send(CLOSE_CONN, b"");
    assert!(left.expect_closed().is_empty());
}
