//! The exchange of keys, and packets that are not what they should be.

use std::io::Write;

use crate::peer::*;

fn clear_error(number: u8, code: &str, text: &str) -> (char, String) {
    ('U', error(number, code, text))
}

#[test]
fn a_hello_is_answered_however_it_is_cut() {
    let Some(server) = server("") else { return };
    for bytes in [
        &b"\x01UINIPEM\x04"[..],
        b"junk\x04\x01UINIPEM\x04",
        b"junk\x01UINIPEM\x04",
        b"\x01\x01UINIPEM\x04\x01UINIPEM\x04",
    ] {
        let mut peer = Peer::raw(&server, Kind::G2);
        for byte in bytes {
            peer.socket.write_all(&[*byte]).expect("write");
        }
        let (letter, text) = peer.packet();
        assert_eq!(letter, 'U');
        assert!(text.starts_with("KEYPEMkey%eq!-----BEGIN PUBLIC KEY-----\n"));
        assert!(text.ends_with("\n-----END PUBLIC KEY-----!;"), "{text}");
    }
}

#[test]
fn what_is_not_a_handshake_is_sent_away_with_the_word_of_the_original() {
    let Some(server) = server("") else { return };
    let secure = "SECURITY_EXCEPTION_RECEIVED_SECURE_PACKET_OVER_UNSECURE_CONNECTION";
    for (bytes, word) in [
        ("\u{1}UMNGCKI\u{4}", secure),
        ("\u{1}UXYZ\u{4}", "GENERIC_EXCEPTION_INVALID_PACKET_ID"),
        ("\u{1}KXXX\u{4}", "GENERIC_EXCEPTION_INVALID_PACKET_ID"),
        ("\u{1}UINIFOO\u{4}", "INVALID_KEY_FORMAT"),
        (
            "\u{1}Zfoo\u{4}",
            "GENERIC_EXCEPTION_INVALID_PACKET_SPECIFIER",
        ),
        ("\u{1}EAAAA\u{4}", "UNKNOWN"),
        ("\u{4}", "UNKNOWN"),
    ] {
        let mut peer = Peer::raw(&server, Kind::G3);
        peer.send_bytes(bytes.as_bytes());
        peer.expect_sent_away(word);
    }
    let mut peer = Peer::raw(&server, Kind::G3);
    peer.send_bytes(b"\x01U\xff\x04");
    peer.expect_sent_away("UNKNOWN");
}

#[test]
fn a_key_exchange_that_lacks_something_is_told_what_before_the_end() {
    let Some(server) = server("") else { return };
    for (text, number, code, what, word) in [
        (
            "CKE",
            15,
            "ICMD",
            "TOO_FEW_ARGUMENTS",
            "GENERIC_EXCEPTION_TOO_FEW_ARGUMENTS",
        ),
        (
            "CKEkey%eq!x!;",
            15,
            "ICMD",
            "TOO_FEW_ARGUMENTS",
            "GENERIC_EXCEPTION_TOO_FEW_ARGUMENTS",
        ),
        (
            "CKEother%eq!x!;",
            15,
            "ICMD",
            "TOO_MANY_ARGUMENTS",
            "GENERIC_EXCEPTION_TOO_MANY_ARGUMENTS",
        ),
        (
            "CKEkey%eqx;",
            15,
            "ICMD",
            "INVALID_FORMATTING",
            "GENERIC_EXCEPTION_INVALID_FORMATTING",
        ),
        (
            "CKEkey%eq!x!;nonce%eq!key!;",
            2,
            "IRSA",
            "INVALID_RSA_KEY",
            "SECURITY_EXCEPTION_INVALID_RSA_KEY",
        ),
    ] {
        let mut peer = Peer::raw(&server, Kind::G3);
        peer.clear('U', "INIPEM");
        peer.packet();
        peer.clear('K', text);
        assert_eq!(peer.packet(), clear_error(number, code, what), "{text}");
        peer.expect_sent_away(word);
    }
}

#[test]
fn each_kind_of_client_gets_its_nonce_back_as_it_was_sent() {
    let Some(server) = server("") else { return };
    for (kind, zeroes) in [(Kind::G2, 0), (Kind::Certificate, 64)] {
        let mut peer = Peer::raw(&server, kind);
        assert_eq!(peer.exchange().matches('\0').count(), zeroes);
    }
}

#[test]
fn a_packet_that_was_changed_or_sent_again_or_sent_back_ends_the_connection() {
    let Some(server) = server("") else { return };
    let mut changed = Peer::known(&server, Kind::G3);
    let body = changed.sealed("MNGCKI").replace('a', "b") + "=";
    changed.clear('E', &body);
    let text = "INVALID_MESSAGE_AUTHENTICATION_CODE";
    assert_eq!(changed.packet(), clear_error(31, "IMAC", text));
    changed.expect_sent_away("SECURITY_EXCEPTION_INVALID_HMAC_CHECKSUM");

    let mut again = Peer::known(&server, Kind::G3);
    again.ask("MNGCKI");
    let last = again.last.clone();
    again.send_bytes(&last);
    again.expect_sent_away("SECURITY_EXCEPTION_REPEATED_PACKET");

    let mut back = Peer::known(&server, Kind::G3);
    back.send("MNGCKI");
    let (_, answer) = back.packet();
    back.clear('E', &answer);
    back.expect_sent_away("SECURITY_EXCEPTION_REPEATED_PACKET");

    // Also over the border between the processes.
    let mut session = Peer::registered(&server, Kind::G3, "ann");
    session.ask("MNGCKI");
    let last = session.last.clone();
    assert!(session.log_in("ann", "pass").contains("LOGIN_SUCCESSFUL"));
    session.send_bytes(&last);
    session.expect_sent_away("SECURITY_EXCEPTION_REPEATED_PACKET");
}

#[test]
fn the_generation_without_a_mac_is_refused_unless_it_is_switched_on() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::raw(&server, Kind::G1);
    peer.exchange();
    peer.send("KEXACKnonce%eq!d4735e3a265e16ee!;");
    let text = "INVALID_MESSAGE_AUTHENTICATION_CODE";
    assert_eq!(peer.packet(), clear_error(31, "IMAC", text));
    peer.expect_sent_away("SECURITY_EXCEPTION_INVALID_HMAC_CHECKSUM");
}

#[test]
fn a_packet_without_end_is_not_read_for_ever() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::raw(&server, Kind::G3);
    let _ = peer.socket.write_all(&vec![b'x'; 200_000]);
    let ended = peer.try_packet();
    let word = "FINmessage%eq!PACKET_TOO_LONG!;".to_owned();
    assert!(ended.is_none() || ended == Some(('U', word)), "{ended:?}");
}

#[test]
fn unknown_ids_get_no_answer_and_unknown_sub_ids_end_the_connection() {
    let Some(server) = server("") else { return };
    for unknown in ["MNGXYZ", "REQXYZ", "KEXXYZ", "MNGACRXYZ"] {
        let mut peer = Peer::known(&server, Kind::G3);
        for ignored in ["FOOBAR", "INFACK", "XX", ""] {
            peer.send(ignored);
        }
        peer.expect_alive();
        peer.send(unknown);
        peer.expect_sent_away("GENERIC_EXCEPTION_INVALID_SUB_ID");
    }
}

#[test]
fn a_session_that_sends_its_client_away_ends_by_itself() {
    let Some(mut server) = server("") else { return };
    let mut peer = Peer::logged_in(&server, Kind::G3, "ann");
    peer.clear('U', "MNGCKI");
    let word = "SECURITY_EXCEPTION_RECEIVED_SECURE_PACKET_OVER_UNSECURE_CONNECTION";
    peer.expect_sent_away(word);
    server.wait_for_log(&format!("sent away: {word}"));
    assert!(!server.log().iter().any(|line| line.contains("killed")));
}
