use std::io::Write;
use std::net::{TcpListener, TcpStream};

use super::*;
use crate::hub::wire::request::{Bck, Gip, Put, Rec};
use crate::hub::wire::{Kinds, Name, Value};
use crate::net::Link;

const NAME: &str = "b0fb05b3723e2db06fbcfe30eacb1366e3efb05c45dc2c35c9f34bea514ab7d8";
const KEY: &str = "N78UC4ahUtSig_Eg5NZKmo8V7MCCDmlJJdRJTzZ5cHU";

fn anna() -> User {
    User::read("anna").expect("name")
}

/// A line of an owner that is in, and the hub's end of it.
fn owner() -> (HubLine, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let near = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    let (far, _) = listener.accept().expect("accept");
    let line = HubLine {
        talk: Talk::new(Link::new(near).expect("link")),
        address: listener.local_addr().expect("address"),
        hub: Label::read("hub.example.org").expect("name"),
        is_rebuilt: false,
        login: Login {
            user: anna(),
            role: Role::Owner,
            port: None,
        },
        exporter: Exporter([0; 32]),
        ahead: 0,
        factor: Factor::ONE,
        waiting: BTreeMap::new(),
        asked: BTreeMap::new(),
        latest: None,
        early: VecDeque::new(),
    };
    (line, far)
}

/// What a peer makes of the last of these lines; those before it are fine.
fn heard(line: &mut HubLine, hub: &mut TcpStream, says: &[&str]) -> Result<Heard> {
    let mut last = Err(PeerError::Broken("nothing was said"));
    for (at, text) in says.iter().enumerate() {
        hub.write_all(format!("{text}\r\n").as_bytes())
            .expect("write");
        last = line.hear();
        assert!(last.is_ok() || at + 1 == says.len(), "{text}: {last:?}");
    }
    last
}

#[track_caller]
fn is_broken(requests: impl FnOnce(&mut HubLine), says: &[&str]) {
    let (mut line, mut hub) = owner();
    requests(&mut line);
    let last = heard(&mut line, &mut hub, says);
    assert!(
        matches!(last, Err(PeerError::Broken(_))),
        "{says:?}: {last:?}"
    );
}

fn ask(line: &mut HubLine, request: impl Into<Request>) {
    line.ask(request).expect("asked");
}

fn gip(line: &mut HubLine) {
    ask(line, Gip::new(anna()));
}

fn list(line: &mut HubLine) {
    let mut rec = Rec::new(anna());
    rec.kind = Some(Kinds::All);
    ask(line, rec);
}

#[test]
fn a_hub_that_breaks_a_rule_loses_its_peer() {
    let nothing = |_: &mut HubLine| {};
    is_broken(nothing, &["212 Transfer completed ; id=1"]);
    is_broken(nothing, &["OFF anna id=1"]);
    is_broken(nothing, &["GIP anna id=1"]);
    is_broken(nothing, &["XYZ"]);
    is_broken(nothing, &[&"A".repeat(5000)]);
    is_broken(nothing, &[&format!("REM anna {NAME} 1 id=1")]);
    is_broken(nothing, &["ACC bob id=5", "ACC bob id=5"]);
    is_broken(nothing, &["ACC bob"]);
    is_broken(nothing, &["NFI id=1"]);
    is_broken(gip, &["215 Update done ; id=1"]);
    is_broken(gip, &["OFF anna id=1", "OFF anna id=1"]);
    is_broken(list, &["207 One ; id=1"]);
    is_broken(list, &["207 One ; id=1 number=10000001"]);
    is_broken(list, &[&format!("IDX 1 {NAME} id=1")]);
    let file = |number: u64| format!("IDX {number} {NAME} id=1");
    for wrong in [3, 1, 0] {
        is_broken(list, &["207 One ; id=1 number=2", &file(wrong)]);
    }
    let again = "207 One ; id=1 number=2";
    is_broken(list, &[again, &file(2), again]);
    let asks: Vec<String> = (1..=65).map(|id| format!("ACC bob id={id}")).collect();
    let asks: Vec<&str> = asks.iter().map(String::as_str).collect();
    is_broken(nothing, &asks);
}

#[test]
fn each_copy_is_an_answer_and_a_list_ends_with_its_first_file() {
    let (mut line, mut hub) = owner();
    ask(&mut line, Bck::new(1, 1, Factor::new(2).expect("two")));
    ask(&mut line, Put::new(Name::read(NAME).expect("name"), 1));
    list(&mut line);
    let goes = format!("DST {NAME} 192.0.2.1 bob {KEY} 1/2 id=2");
    let file = |number: u64| format!("IDX {number} {NAME} id=3");
    for (text, ends) in [
        ("202 OK to begin backup ; id=1", true),
        ("207 One ; id=3 number=2", false),
        (&goes, false),
        (&file(2), false),
        ("406 No client ; id=2", true),
        (&file(1), true),
    ] {
        match heard(&mut line, &mut hub, &[text]) {
            Ok(Heard::Answer { is_last, .. }) => assert_eq!(is_last, ends, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(line.waiting.is_empty());
}

#[test]
fn a_peer_is_sent_away_for_an_hour_at_most_and_asks_no_more_than_it_may() {
    let (mut line, mut hub) = owner();
    let left = heard(&mut line, &mut hub, &["OUT after=99999 reason=stopping"]);
    assert!(matches!(left, Err(PeerError::Left(Some(3600)))), "{left:?}");
    let (mut line, _hub) = owner();
    for _ in 0..MOST_WAITING {
        gip(&mut line);
    }
    let more = line.ask(Gip::new(anna()));
    assert!(matches!(more, Err(PeerError::Busy)), "{more:?}");
}
