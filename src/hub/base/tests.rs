//! Version 1.0 by its lines: their form, whose turn it is, and which file is meant.

use super::*;
use crate::hub::dialogue::{Dialogue, Next};
use crate::hub::wire::{Id, Line, Message, Request, Role};

const NAME: &str = "b0fb05b3723e2db06fbcfe30eacb1366e3efb05c45dc2c35c9f34bea514ab7d8";
const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const KEY: &str = "N78UC4ahUtSig_Eg5NZKmo8V7MCCDmlJJdRJTzZ5cHU";

fn line(text: &str) -> Line {
    Line::parse(text.as_bytes()).expect(text)
}

/// A line that is ready.
fn ready() -> Base {
    Base::new(Dialogue::new(Role::Both, false, Some(Id::FIRST)), Id::FIRST)
}

/// What is done with a line of the peer: `+` and a line that the broker gets, `>` and one
/// that the peer gets, `!` at the end.
fn words(all: Vec<Next>) -> Vec<String> {
    let word = |next| match next {
        Next::Pass(line) => format!("+{}", line.print().trim_end()),
        Next::Answer(line) => format!(">{}", print(&line).trim_end()),
        Next::End(_) => "!".to_owned(),
    };
    all.into_iter().map(word).collect()
}

fn hear(base: &mut Base, text: &str) -> Vec<String> {
    words(base.hear(read(text.as_bytes())))
}

fn answer(base: &mut Base, texts: &[&str], is_last: bool) -> Vec<String> {
    let lines = texts.iter().map(|text| line(text)).collect();
    words(base.answer(lines, is_last).expect("asked for"))
}

fn push(base: &mut Base, text: &str) -> Vec<String> {
    words(base.push(line(text)).expect("may be sent"))
}

/// A line in a run, whose next request has the number 3.
fn in_a_run() -> Base {
    let mut base = ready();
    assert_eq!(hear(&mut base, "BCK 1 1 2"), ["+BCK 1 1 2 id=2"]);
    let begun = answer(&mut base, &["202 x ; id=2 window=8 runs=0"], true);
    assert_eq!(begun, [">202 OK to begin backup"]);
    base
}

#[test]
fn lines_have_neither_numbers_nor_named_parameters() {
    for (full, bare) in [
        (
            format!("DST {NAME} 192.0.2.1:7171 bob {KEY} 1/2 id=5 lan=192.168.1.5:7171"),
            format!("DST {NAME} 192.0.2.1 bob {KEY} 2"),
        ),
        (
            format!("RCV [2001:db8::7]:7171 anna {KEY} name={NAME} size=1 kind=data id=5"),
            format!("RCV 2001:db8::7 anna {KEY}"),
        ),
        (
            format!("LET 192.0.2.1:7171 anna {KEY} purpose=recover id=5"),
            format!("LET 192.0.2.1 anna {KEY}"),
        ),
        (
            format!("SRC 192.0.2.1:7171 bob {KEY} name={NAME} size=1 id=5"),
            format!("SRC 192.0.2.1 bob {KEY}"),
        ),
        (
            format!("TRA {NAME} 192.0.2.1:7171 bob {KEY} size=1 owner=anna old=carol id=5"),
            format!("TRA {NAME} 192.0.2.1 bob {KEY}"),
        ),
        (
            format!("SRR {NAME} 192.0.2.1:7171 bob {KEY} size=1 owner=anna kind=data"),
            format!("SRR {NAME} 192.0.2.1 bob {KEY}"),
        ),
        (
            format!("TIP bob 192.0.2.1:7171 key={KEY} id=5"),
            "TIP bob 192.0.2.1".to_owned(),
        ),
        (
            format!("IDX 1 {NAME} size=1 time=2 kind=index id=5"),
            format!("IDX 1 {NAME}"),
        ),
        (
            format!("REM anna {NAME} 1 reason=moved id=5"),
            format!("REM anna {NAME} 1"),
        ),
        (format!("ACC anna key={KEY} id=5"), "ACC anna".to_owned()),
        (
            "ACS 1 used=0 reserved=0 share=0 proved=0".to_owned(),
            "ACS 1".to_owned(),
        ),
        (
            "WRN bob reason=gone files=1".to_owned(),
            "WRN bob".to_owned(),
        ),
        ("OUT after=60 reason=replaced".to_owned(), "OUT".to_owned()),
        (
            "207 One or more index files exists ; id=5 number=1".to_owned(),
            "207 One or more index files exists".to_owned(),
        ),
        (
            "406 No client online with enough space ; id=5 missing=1".to_owned(),
            "406 No client online with enough space".to_owned(),
        ),
    ] {
        assert_eq!(print(&line(&full)), format!("{bare}\r\n"));
    }
    for (text, heard) in [
        ("GIP bob", Heard::Request(request("GIP bob"))),
        ("RSP x", Heard::Bad),
        ("GIP bob id=1", Heard::Bad),
        ("GIP bob x", Heard::Bad),
        ("GIP", Heard::Bad),
        ("gip bob", Heard::Bad),
        ("", Heard::Bad),
        ("211 OK to send file", Heard::Answer(line("211 x").message)),
        ("211 OK to send file ; from=0", Heard::BadAnswer),
        ("211", Heard::BadAnswer),
        ("999 x", Heard::BadAnswer),
        ("OFF bob", Heard::Answer(line("OFF bob").message)),
        ("CRC x", Heard::BadAnswer),
    ] {
        assert_eq!(read(text.as_bytes()), heard, "{text}");
    }
}

fn request(text: &str) -> Request {
    match line(text).message {
        Message::Request(request) => request,
        Message::Reply(_) => panic!("{text}"),
    }
}

#[test]
fn one_request_of_a_peer_is_open_and_the_next_ones_wait_in_their_order() {
    let mut base = ready();
    assert_eq!(hear(&mut base, "GIP bob"), ["+GIP bob id=2"]);
    for later in ["GIP carol", "nonsense", "STP bob", "GIP dave"] {
        assert!(hear(&mut base, later).is_empty(), "{later}");
    }
    // The answer, then the one to the line that is none, then the next one's turn.
    assert_eq!(
        answer(&mut base, &["OFF bob id=2"], true),
        [">OFF bob", "+GIP carol id=3"]
    );
    assert_eq!(
        answer(&mut base, &["401 x ; id=3"], true),
        [
            ">401 User does not exist",
            ">500 Command not understood",
            "+STP bob",
            "+GIP dave id=4"
        ]
    );
    assert!(base.answer(vec![line("OFF bob id=3")], true).is_none());
    // What is refused at once leaves the turn to the next.
    assert!(hear(&mut base, "DBU").is_empty());
    assert!(hear(&mut base, "GIP bob").is_empty());
    assert_eq!(
        answer(&mut base, &["OFF dave id=4"], true),
        [">OFF dave", ">504 Not allowed", "+GIP bob id=6"]
    );
}

#[test]
fn sixty_four_requests_wait_and_the_next_one_ends_the_line() {
    let mut base = ready();
    assert_eq!(hear(&mut base, "GIP bob"), ["+GIP bob id=2"]);
    for _ in 1..64 {
        assert!(hear(&mut base, "GIP bob").is_empty());
    }
    assert_eq!(hear(&mut base, "GIP bob"), ["!"]);
}

#[test]
fn one_request_of_the_hub_is_open_and_answers_need_no_turn() {
    let mut base = ready();
    assert_eq!(hear(&mut base, "GIP bob"), ["+GIP bob id=2"]);
    let receive = format!("RCV 192.0.2.1:7171 anna {KEY} id=1");
    assert_eq!(
        push(&mut base, &receive),
        [format!(">RCV 192.0.2.1 anna {KEY}")]
    );
    assert!(push(&mut base, &format!("REM anna {NAME} 1 id=2")).is_empty());
    assert!(push(&mut base, "ACC anna id=3").is_empty());
    // Notices wait for nobody.
    assert_eq!(push(&mut base, "ACS 1"), [">ACS 1"]);
    assert_eq!(
        hear(&mut base, "211 OK to send file"),
        [
            "+211 OK to send file ; id=1".to_owned(),
            format!(">REM anna {NAME} 1")
        ]
    );
    assert_eq!(
        hear(&mut base, "203 deleted"),
        ["+203 File is deleted ; id=2", ">ACC anna"]
    );
    assert_eq!(hear(&mut base, "206 fine"), ["+206 Username OK ; id=3"]);
    assert_eq!(hear(&mut base, "206 fine"), ["!"], "an answer to nothing");
    let mut base = ready();
    push(&mut base, "ACC anna id=1");
    assert_eq!(hear(&mut base, "203 deleted"), ["!"], "another's answer");
    let mut base = ready();
    push(&mut base, "ACC anna id=1");
    assert_eq!(
        hear(&mut base, "206 fine ; id=1"),
        ["!"],
        "not of this version"
    );
}

#[test]
fn a_keeper_that_has_some_file_refuses_one_that_it_can_not_know() {
    let mut base = ready();
    let receive = format!("RCV 192.0.2.1:7171 anna {KEY} name={NAME} size=1 id=1");
    push(&mut base, &receive);
    assert_eq!(hear(&mut base, "212 x"), ["+407 Try again later ; id=1"]);
}

#[test]
fn the_next_file_comes_once_no_copy_of_the_one_before_is_asked_for() {
    let mut base = in_a_run();
    let put = format!("PUT {NAME} 1");
    assert_eq!(hear(&mut base, &put), [format!("+{put} id=3")]);
    let to =
        |user: &str, n: u8, id: u8| format!("DST {NAME} 192.0.2.1:7171 {user} {KEY} {n}/2 id={id}");
    assert_eq!(
        answer(&mut base, &[&to("bob", 1, 3)], false),
        [format!(">DST {NAME} 192.0.2.1 bob {KEY} 2")]
    );
    answer(&mut base, &[&to("carol", 2, 3)], true);
    // Not yet, but the same again.
    let next = format!("PUT {OTHER} 1");
    assert_eq!(hear(&mut base, &next), [">407 Try again later"]);
    assert_eq!(hear(&mut base, &put), [format!("+{put} id=5")]);
    answer(&mut base, &[&to("bob", 1, 5), &to("carol", 2, 5)], true);
    assert_eq!(
        hear(&mut base, &format!("DFI {NAME} bob")),
        [format!("+DFI {NAME} bob id=6")]
    );
    // What the broker thinks of it is another version's.
    assert!(push(&mut base, "NFI").is_empty());
    assert_eq!(
        answer(&mut base, &["212 x ; id=6"], true),
        [">212 Transfer completed"]
    );
    // The other one fails, and goes elsewhere; that fails, too.
    assert_eq!(
        hear(&mut base, "NST carol"),
        [format!("+NST carol name={NAME} id=7")]
    );
    assert_eq!(
        answer(&mut base, &[&to("dave", 2, 7)], true),
        [format!(">DST {NAME} 192.0.2.1 dave {KEY} 2")]
    );
    hear(&mut base, "NST dave");
    assert_eq!(
        answer(&mut base, &["406 x ; id=8 missing=1"], true),
        [">406 No client online with enough space", ">NFI"]
    );
    assert_eq!(hear(&mut base, &next), [format!("+{next} id=9")]);
    // One that has no place at all is over at once, one that is refused never began.
    assert_eq!(
        answer(&mut base, &["406 x ; id=9", "406 x ; id=9"], true)[2],
        ">NFI"
    );
    hear(&mut base, &put);
    assert_eq!(
        answer(&mut base, &["403 x ; id=10"], true),
        [">403 Accessible space not sufficient"]
    );
    assert_eq!(hear(&mut base, &next), [format!("+{next} id=11")]);
}

#[test]
fn a_run_that_ends_leaves_no_file_behind() {
    for (end, done) in [("DBU", "215 x ; id=4"), ("ABT", "216 x ; id=4")] {
        let mut base = in_a_run();
        hear(&mut base, &format!("PUT {NAME} 1"));
        let goes = format!("DST {NAME} 192.0.2.1:7171 bob {KEY} 1/1 id=3");
        answer(&mut base, &[&goes], true);
        hear(&mut base, end);
        answer(&mut base, &[done], true);
        hear(&mut base, "BCK 1 1 1");
        answer(&mut base, &["202 x ; id=5"], true);
        assert_eq!(
            hear(&mut base, "NST bob"),
            [">505 Requested file does not exist"]
        );
        let next = format!("PUT {OTHER} 1");
        assert_eq!(hear(&mut base, &next), [format!("+{next} id=7")]);
    }
}

#[test]
fn what_is_not_stored_is_the_file_that_the_keeper_was_named_for_last() {
    let mut base = ready();
    assert_eq!(
        hear(&mut base, "NST bob"),
        [">505 Requested file does not exist"]
    );
    let give = format!("TRA {NAME} 192.0.2.1:7171 bob {KEY} owner=anna id=1");
    push(&mut base, &give);
    hear(&mut base, "211 x");
    assert_eq!(
        hear(&mut base, "NST bob"),
        [format!("+NST bob name={NAME} id=3")]
    );
    answer(&mut base, &["212 x ; id=3"], true);
    push(&mut base, &format!("SRR {OTHER} 192.0.2.1:7171 bob {KEY}"));
    hear(&mut base, "NST bob");
    answer(&mut base, &["505 x ; id=4"], true);
    // A source for all files names none.
    let source = format!("SRC 192.0.2.1:7171 bob {KEY}");
    hear(&mut base, &format!("GET {NAME} 1"));
    answer(&mut base, &[&format!("{source} name={NAME} id=5")], true);
    assert_eq!(
        hear(&mut base, "NST bob"),
        [format!("+NST bob name={NAME} id=6")]
    );
    answer(&mut base, &["505 x ; id=6"], true);
    hear(&mut base, "REC bob");
    answer(&mut base, &[&format!("{source} id=7")], true);
    assert_eq!(
        hear(&mut base, "NST bob"),
        [">505 Requested file does not exist"]
    );
}

#[test]
fn a_reverse_recovery_leaves_the_line_to_the_reports_that_end_it() {
    let mut base = ready();
    assert_eq!(hear(&mut base, "RRC"), ["+RRC id=2"]);
    let fetch = format!("SRR {NAME} 192.0.2.1:7171 bob {KEY} owner=anna");
    assert_eq!(
        push(&mut base, &fetch),
        [format!(">SRR {NAME} 192.0.2.1 bob {KEY}")]
    );
    let report = format!("DFI {NAME} me");
    assert_eq!(hear(&mut base, &report), [format!("+{report} id=3")]);
    assert_eq!(hear(&mut base, "RRC"), Vec::<String>::new());
    assert_eq!(
        answer(&mut base, &["212 x ; id=3"], true),
        [">212 Transfer completed", ">407 Try again later"]
    );
    assert_eq!(
        answer(&mut base, &["214 x ; id=2"], true),
        [">214 Reverse recovery done"]
    );
}

#[test]
fn ten_wrong_lines_are_answered_and_the_next_one_ends_the_line() {
    let mut base = ready();
    for wrong in ["XYZ", "", "GIP bob id=1", "DBU", "LOG anna 1.0"].repeat(2) {
        let said = hear(&mut base, wrong);
        assert!(said[0].starts_with(">50"), "{wrong}: {said:?}");
    }
    assert_eq!(hear(&mut base, "XYZ"), ["!"]);
}
