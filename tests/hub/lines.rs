//! Lines that can't be read, or come in the wrong state: the tables of the protocol over
//! sockets.

use std::time::{Duration, Instant};

use crate::peer::*;
use tfd::hub::proofs::enrolment_key;
use tfd::hub::wire::Value;

/// One of each command that a peer sends to the hub, complete.
fn samples() -> Vec<String> {
    let name = file(7).text();
    let key = Person::new("x").key().text();
    let digits = "00".repeat(32);
    [
        "LOG anna 1.1 role=owner".to_owned(),
        format!("RSP {digits}"),
        format!("KEY {key}"),
        "SHA 1000000".to_owned(),
        "BCK 0 0 16".to_owned(),
        format!("PUT {name} 1"),
        format!("PIX {name} 1 1 kind=index"),
        format!("DFI {name} bob"),
        format!("NST bob name={name}"),
        "DBU".to_owned(),
        format!("DEL {name}"),
        "REC anna".to_owned(),
        "GIX anna".to_owned(),
        format!("GET {name} 1"),
        "GIP nobody".to_owned(),
        format!("MOV {name} anna bob"),
        "ABT".to_owned(),
        "RRC".to_owned(),
    ]
    .to_vec()
}

/// What each of them is answered, in their order; `_` for what is not asked here, since
/// it changes the state.
pub const FRESH: &str = "_ - - - - - - - - - - - - - - - - -";
pub const ASKED: &str = "- _ - - - - - - - - - - - - - - - -";
pub const KEYLESS: &str = "- - _ 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2";
pub const SHARELESS: &str = "- - 1 _ 1 1 1 1 1 1 1 1 1 1 401 1 216 214";
const READY_OWNER: &str = "- - 504 - 406 - - 505 - - 504 505 505 505 401 - 216 -";
const BACKUP: &str = "- - - - - 406 503 505 406 215 504 - - - 401 - 216 -";
const READY_HOLDER: &str = "- - 504 208 - - - 505 505 - - - - - 401 505 216 214";

/// The code of a word in these rows: `-` 504, `1` 301, `2` 302.
pub fn expected(word: &str) -> u16 {
    match word {
        "-" => 504,
        "1" => 301,
        "2" => 302,
        code => code.parse().expect("a code"),
    }
}

/// Asks one command after the other on lines that stand there, each for itself.
fn check(state: &str, row: &str, mut line: impl FnMut() -> Line) {
    for (text, word) in samples().iter().zip(row.split(' ')) {
        if word == "_" {
            continue;
        }
        let reply = line().done(text);
        assert_eq!(code(&reply), expected(word), "{state}: {text}: {reply}");
    }
    assert_eq!(row.split(' ').count(), samples().len());
}

#[test]
fn each_command_is_done_or_refused_in_each_state_before_the_login() {
    let Some(server) = server("") else { return };
    let carol = Person::new("carol");
    let invitation = server.add("carol");
    let secret = enrolment_key(&invitation, &hub_name(), &carol.user());
    let secret = secret.expect("key").expect("a code");
    check("FRESH", FRESH, || Line::new(&server));
    check("ASKED", ASKED, || {
        let mut line = Line::new(&server);
        line.challenge("anna", "owner");
        line
    });
    check("KEYLESS", KEYLESS, || {
        let mut line = Line::new(&server);
        let reply = line.log_in(&carol, "owner", &secret);
        assert_eq!(code(&reply), 302, "{reply}");
        line
    });
}

#[test]
fn each_command_is_done_or_refused_in_each_state_behind_the_login() {
    let Some(server) = server("") else { return };
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    drop(server.owner(&anna));
    drop(server.owner(&bob));
    let mut keyed = Line::new(&server);
    keyed.log_in(&bob, "keeper", &bob.login);
    assert_eq!(code(&keyed.send_holder_key(&bob)), 209);
    check("SHARELESS", SHARELESS, || {
        let mut line = Line::new(&server);
        let reply = line.log_in(&bob, "keeper", &bob.login);
        assert_eq!(code(&reply), 301, "{reply}");
        line
    });
    check("READY, owner", READY_OWNER, || server.log_in(&anna));
    assert_eq!(code(&keyed.done(&format!("SHA {GIB}"))), 208);
    check("READY, keeper", READY_HOLDER, || server.log_in_holder(&bob));
    // Nobody keeps anything for anna now, so a file has no place.
    let mut bob_line = server.log_in_holder(&bob);
    let mut first = server.log_in(&anna);
    first.begin(1, 1, 1);
    bob_line.send("OUT");
    assert!(bob_line.end().iter().all(|line| !line.starts_with("OUT")));
    check("BACKUP", BACKUP, || {
        let mut line = server.log_in(&anna);
        line.request(&format!("BCK 1 1 1 run={}", run_id(1)));
        let reply = line.any_answer();
        // It was ended in between.
        if code(&reply) != 202 {
            let mut bob_line = server.log_in_holder(&bob);
            line.begin(1, 1, 1);
            bob_line.send("OUT");
            bob_line.end();
        }
        line
    });
}

#[test]
fn lines_that_are_none_are_answered_by_500_and_the_eleventh_ends_the_line() {
    let Some(server) = server("") else { return };
    let anna = Person::new("anna");
    drop(server.owner(&anna));
    let long = format!("GIP {} id=100", "a".repeat(4096));
    let wrong: [&[u8]; 10] = [
        b"XYZ id=90",
        b"gip anna id=91",
        b"GIP id=92",
        b"GIP anna  id=93",
        b"GIP anna id=94 id=95",
        b"GIP anna",
        b"GIP an\0na id=96",
        b"GIP \xc3\xa4 id=97",
        long.as_bytes(),
        b"GIP anna\rx id=98",
    ];
    for before in [true, false] {
        let mut line = match before {
            true => Line::new(&server),
            false => server.log_in(&anna),
        };
        for text in wrong {
            line.send_bytes(&[text, b"\r\n"].concat());
            let reply = line.any_answer();
            assert_eq!(
                code(&reply),
                500,
                "{}: {reply}",
                String::from_utf8_lossy(text)
            );
        }
        line.send("XYZ");
        assert!(line.end().is_empty());
    }
    let mut line = server.log_in(&anna);
    let refused = line.done("GET a 1");
    assert_eq!(refused, "500 Command not understood ; id=3");
    // Numbers rise.
    line.send("GIP anna id=50");
    assert_eq!(line.any_answer(), "TIP anna 127.0.0.1:7171 id=50");
    for again in ["GIP anna id=50", "GIP anna id=49", "GIP anna id=0"] {
        line.send(again);
        assert_eq!(code(&line.any_answer()), 500, "{again}");
    }
    // An answer to nothing ends the line.
    line.send("211 OK to send file ; id=1");
    assert!(line.end().is_empty());
}

#[test]
fn lines_arrive_in_pieces_and_many_at_once_and_are_answered_in_their_order() {
    let Some(server) = server("") else { return };
    let anna = Person::new("anna");
    drop(server.owner(&anna));
    let mut line = server.log_in(&anna);
    for byte in b"GIP anna id=10\n" {
        line.send_bytes(&[*byte]);
    }
    assert_eq!(line.any_answer(), "TIP anna 127.0.0.1:7171 id=10");
    let all: String = (11..71).map(|id| format!("GIP anna id={id}\r\n")).collect();
    line.send_bytes(all.as_bytes());
    for id in 11..71 {
        assert_eq!(
            line.any_answer(),
            format!("TIP anna 127.0.0.1:7171 id={id}")
        );
    }
    line.send_bytes(b"GIP anna id=71\r\nOUT\r\nGIP anna id=72\r\n");
    let last = line.end();
    assert_eq!(last, ["TIP anna 127.0.0.1:7171 id=71"]);
}

#[test]
fn a_login_and_what_follows_may_come_in_one_piece() {
    let Some(server) = server("") else { return };
    let anna = Person::new("anna");
    drop(server.owner(&anna));
    let mut line = Line::new(&server);
    let challenge = line.challenge("anna", "owner");
    let (response, sig) = line.response(&anna, challenge, &anna.login, &anna.identity);
    let text = format!("RSP {response} sig={sig} id=2\r\nGIP anna id=3\r\nREC anna id=4\r\nGI");
    line.send_bytes(text.as_bytes());
    assert_eq!(code(&line.answer(2)), 201);
    assert!(line.answer(3).starts_with("TIP anna"));
    assert_eq!(code(&line.answer(4)), 505);
    line.send_bytes(b"P nobody id=5\r\n");
    assert_eq!(code(&line.answer(5)), 401);
}

#[test]
fn a_flood_of_requests_is_slowed_down() {
    let Some(server) = server("") else { return };
    let anna = Person::new("anna");
    drop(server.owner(&anna));
    let mut line = server.log_in(&anna);
    let begin = Instant::now();
    for group in 0..28 {
        let first = 10 + group * 50;
        let ids = first..first + 50;
        let all: String = ids
            .clone()
            .map(|id| format!("GIP anna id={id}\r\n"))
            .collect();
        line.send_bytes(all.as_bytes());
        for id in ids {
            assert!(line.answer(id).starts_with("TIP"));
        }
    }
    // A thousand at once, and 400 more in two seconds.
    assert!(begin.elapsed() > Duration::from_secs(1));
}
