//! Lines of version 1.0 that can't be read, or come in the wrong state: the tables of the
//! protocol over sockets, for the role that is both.

use std::time::Duration;

use super::peer::*;
use crate::lines::{ASKED, FRESH, KEYLESS, SHARELESS, expected};
use crate::peer::{GIB, Hub, MIB, code, file};
use tfd::hub::wire::Value;

/// One of each command that a peer sends to the hub, complete.
fn samples(key: &str) -> Vec<String> {
    let name = file(7).text();
    let digits = "00".repeat(32);
    [
        "LOG anna 1.0".to_owned(),
        format!("RSP {digits}"),
        format!("KEY {key}"),
        "SHA 2000000".to_owned(),
        "BCK 0 0 16".to_owned(),
        format!("PUT {name} 2"),
        format!("PIX {name} 2 1"),
        format!("DFI {name} nobody"),
        "NST nobody".to_owned(),
        "DBU".to_owned(),
        format!("DEL {}", file(8).text()),
        "REC nobody".to_owned(),
        "GIX anna".to_owned(),
        format!("GET {name} 2"),
        "GIP nobody".to_owned(),
        format!("MOV {name} anna bob"),
        "ABT".to_owned(),
        "RRC".to_owned(),
    ]
    .to_vec()
}

/// What each of them is answered, in their order; `_` for what is not asked here, since it
/// changes the state. Until the share is known it is the same as in version 1.1.
const READY: &str = "- - 504 208 406 - - 505 505 - 505 401 505 505 401 505 216 214";
const BACKUP: &str = "- - - 208 - 406 503 505 505 215 505 - - - 401 505 216 -";
const RECOVER: &str = "- - - 208 - - - 505 505 - 505 401 505 505 401 505 216 -";
const REVERSE: &str = "- - - 208 - - - 505 505 - - - - - 401 505 216 407";

/// Asks one command after the other on lines that stand there, each for itself.
fn check(hub: &Hub, state: &str, row: &str, mut line: impl FnMut() -> Line) {
    let other = Person::new(hub, &format!("key-of-{}", state.to_lowercase()));
    let samples = samples(&other.key());
    for (text, word) in samples.iter().zip(row.split(' ')) {
        if word == "_" {
            continue;
        }
        let mut line = line();
        // In a run `ACS` comes first, which is none of the answers.
        let reply = line.done(text);
        assert_eq!(code(&reply), expected(word), "{state}: {text}: {reply}");
    }
    assert_eq!(row.split(' ').count(), samples.len());
}

#[test]
fn each_command_is_done_or_refused_in_each_state_before_the_share_is_known() {
    let Some(hub) = hub("") else { return };
    let (anna, bob) = (Person::new(&hub, "anna"), Person::new(&hub, "bob"));
    check(&hub, "FRESH", FRESH, || anna.line(&hub));
    check(&hub, "ASKED", ASKED, || {
        let mut line = anna.line(&hub);
        assert_eq!(code(&line.done("LOG anna 1.0")), 206);
        line
    });
    check(&hub, "KEYLESS", KEYLESS, || {
        let mut line = anna.line(&hub);
        assert_eq!(code(&line.log_in(&anna, anna.secret())), 302);
        line
    });
    let mut line = bob.line(&hub);
    assert_eq!(code(&line.log_in(&bob, bob.secret())), 302);
    assert_eq!(code(&line.done(&format!("KEY {}", bob.key()))), 209);
    check(&hub, "SHARELESS", SHARELESS, || {
        let mut line = bob.line(&hub);
        assert_eq!(code(&line.log_in(&bob, bob.secret())), 301);
        line
    });
}

#[test]
fn each_command_is_done_or_refused_in_each_state_of_who_is_ready() {
    let Some(hub) = hub("") else { return };
    let anna = Person::new(&hub, "anna");
    check(&hub, "READY", READY, || anna.ready(&hub, MIB));
    // One keeper has room for files of a byte, so that a run begins and places nothing.
    let _bob = Person::new(&hub, "bob").ready(&hub, 1);
    check(&hub, "BACKUP", BACKUP, || {
        let mut line = anna.ready(&hub, MIB);
        line.begin(0, 1);
        line
    });
}

#[test]
fn each_command_is_done_or_refused_in_a_recovery() {
    let Some(mut it) = stored("") else { return };
    let (hub, owner, keeper) = (&it.hub, &it.owner, &mut it.lines[0]);
    check(hub, "RECOVER", RECOVER, || {
        let mut line = owner.ready(hub, MIB);
        line.send("REC bob");
        keeper.obey("LET", "211 OK to send file");
        assert!(line.answer().starts_with("SRC"));
        line
    });
}

#[test]
fn each_command_is_done_or_refused_in_a_reverse_recovery() {
    let Some(mut it) = stored("") else { return };
    std::thread::sleep(Duration::from_millis(1100));
    let (hub, bob, carol) = (&it.hub, &it.keepers[0], &mut it.lines[1]);
    check(hub, "REVERSE", REVERSE, || {
        let mut line = bob.ready(hub, GIB);
        line.send("RRC");
        carol.obey("LET", "211 OK to send file");
        line.notice("SRR");
        line
    });
}

#[test]
fn lines_that_are_none_are_answered_by_500_and_the_eleventh_ends_the_line() {
    let Some(hub) = hub("") else { return };
    let anna = Person::new(&hub, "anna");
    drop(anna.ready(&hub, GIB));
    let long = format!("GIP {}", "a".repeat(4096));
    let wrong: [&[u8]; 10] = [
        b"XYZ",
        b"gip anna",
        b"GIP",
        b"GIP  anna",
        b"GIP anna id=1",
        b"GIP anna anna",
        b"GIP an\0na",
        b"GIP \xc3\xa4",
        long.as_bytes(),
        b"GIP anna\rx",
    ];
    for before in [true, false] {
        let mut line = match before {
            true => anna.line(&hub),
            false => anna.ready(&hub, GIB),
        };
        for text in wrong {
            line.send_bytes(&[text, b"\r\n"].concat());
            let reply = line.answer();
            let text = String::from_utf8_lossy(text);
            assert_eq!(reply, "500 Command not understood", "{text}");
        }
        line.send("XYZ");
        assert!(line.end().is_empty());
    }
    // An answer to nothing, or one that can't be read, ends the line.
    for answer in ["211 OK to send file", "CRC x", "IDX", "999 x", "OFF bob"] {
        let mut line = anna.ready(&hub, GIB);
        line.send(answer);
        assert!(line.end().is_empty(), "{answer}");
    }
}

#[test]
fn lines_arrive_in_pieces_and_many_at_once_and_are_answered_in_their_order() {
    let Some(hub) = hub("") else { return };
    let anna = Person::new(&hub, "anna");
    drop(anna.ready(&hub, GIB));
    let mut line = anna.line(&hub);
    assert_eq!(code(&line.done("LOG anna 1.0")), 206);
    let mac = response("anna", line.challenged(), anna.secret());
    line.send_bytes(format!("RSP {mac}\nGIP anna\nXYZ\r\nREC anna\nGI").as_bytes());
    for expected in [201, 0, 500, 505] {
        let reply = line.answer();
        assert_eq!(code(&reply), expected, "{reply}");
    }
    for byte in b"P nobody\r\n" {
        line.send_bytes(&[*byte]);
    }
    assert_eq!(code(&line.answer()), 401);
    line.send_bytes(b"GIP anna\r\nGIP nobody\r\nDBU\r\nOUT\r\nGIP anna\r\n");
    let place = format!("TIP anna {}", anna.ip);
    let last = ["401 User does not exist", "504 Not allowed"];
    let end = line.end();
    let answers: Vec<&String> = end.iter().filter(|it| !it.starts_with("ACS")).collect();
    assert_eq!(answers, [&place, last[0], last[1]]);
}
