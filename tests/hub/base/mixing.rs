//! Users of version 1.0 and of 1.1 at one hub: neither keeps anything for the other, and
//! neither costs the other anything.

use std::time::{Duration, Instant};

use super::peer::*;
use crate::peer::{self, GIB, MIB, code, file, named};
use tfd::hub::wire::Value;

#[test]
fn files_go_to_keepers_of_their_owners_version_alone() {
    let Some(hub) = hub("") else { return };
    let (bob, dan) = (Person::new(&hub, "bob"), peer::Person::new("dan"));
    let mut base = [bob.ready(&hub, GIB)];
    let mut tls = hub.holder(&dan, GIB);
    let anna = Person::new(&hub, "anna");
    let mut owner = anna.ready(&hub, MIB);
    let eve = peer::Person::new("eve");
    let mut other = hub.owner(&eve);
    // Two keepers are online, and one for each.
    owner.send("BCK 1 1 2");
    assert_eq!(owner.answer(), "406 No client online with enough space");
    assert_eq!(code(&other.done("BCK 1 1 2")), 406);
    owner.begin(MIB, 1);
    other.begin(MIB, 1, 1);
    let goes = place(&mut owner, &mut base, &put(1));
    assert!(goes[0].contains(" bob "), "{goes:?}");
    let id = other.request(&put(1));
    tls.obey("RCV", "211 OK to send file");
    assert!(other.answer(id).contains(" dan "));
    // What fails goes nowhere.
    assert_eq!(code(&owner.done("NST bob")), 406);
    let text = format!("NST dan name={} reason=refused", file(1).text());
    assert_eq!(code(&other.done(&text)), 406);
    assert!(tls.is_idle() && !base[0].is_asked());
}

#[test]
fn nobody_is_recovered_from_or_found_across_versions() {
    let Some(hub) = hub("") else { return };
    let (bob, dan) = (Person::new(&hub, "bob"), peer::Person::new("dan"));
    let mut base = bob.ready(&hub, GIB);
    let mut tls = hub.holder(&dan, GIB);
    let mut owner = hub.owner(&peer::Person::new("eve"));
    assert_eq!(code(&owner.done("REC bob")), 505);
    assert!(owner.done("GIP bob").starts_with("OFF bob"));
    assert_eq!(base.done("REC dan"), "505 Requested file does not exist");
    assert_eq!(base.done("GIP dan"), "OFF dan");
    assert!(tls.is_idle() && !base.is_asked());
}

#[test]
fn a_lost_copy_waits_for_a_keeper_of_its_version() {
    let Some(Stored {
        hub,
        owner,
        mut line,
        lines: [mut bob, carol],
        ..
    }) = stored("")
    else {
        return;
    };
    drop(carol);
    // Its owner can't read the copy of carol's, who has gone for good.
    let mut tls = hub.holder(&peer::Person::new("dan"), GIB);
    assert!(hub.operate(&["heal", "carol"]).1);
    std::thread::sleep(Duration::from_secs(2));
    assert!(tls.is_idle(), "nothing for version 1.1");
    assert!(!bob.is_asked());
    let dave = Person::new(&hub, "dave");
    let mut dave = dave.ready(&hub, GIB);
    let receive = dave.obey("RCV", "211 OK to send file");
    assert!(receive.contains(" bob "), "{receive}");
    let send = bob.asked("TRA");
    assert!(send.contains(" dave "), "{send}");
    assert!(line.has_no("MOV"), "not yet");
    drop(owner);
}

#[test]
fn lines_of_both_versions_are_served_at_once() {
    let Some(hub) = hub("") else { return };
    let (bob, dan) = (Person::new(&hub, "bob"), peer::Person::new("dan"));
    let mut base = bob.ready(&hub, GIB);
    let mut tls = hub.holder(&dan, GIB);
    let mut owner = Person::new(&hub, "anna").ready(&hub, MIB);
    let eve = peer::Person::new("eve");
    let mut other = hub.owner(&eve);
    owner.begin(4 * MIB, 1);
    other.begin(4 * MIB, 1, 1);
    for number in 1..=4 {
        owner.send(&put(number));
        let id = other.request(&put(number));
        tls.obey("RCV", "211 OK to send file");
        base.obey("RCV", "211 OK to send file");
        assert!(other.answer(id).starts_with("DST"));
        assert!(owner.answer().starts_with("DST"));
        let name = file(number);
        let receipt = dan.receipt(&eve, name, MIB);
        let stored = format!("DFI {} dan receipt={receipt}", name.text());
        assert_eq!(code(&other.done(&stored)), 212);
        assert_eq!(code(&owner.done(&format!("DFI {} bob", name.text()))), 212);
        owner.notice("NFI");
    }
    assert_eq!(code(&other.done("DBU")), 215);
    assert_eq!(code(&owner.done("DBU")), 215);
    let id = other.request("REC eve kind=all");
    assert_eq!(named(&other.answer(id), "number"), "4");
}

#[test]
fn a_flood_of_version_1_0_is_slowed_down_and_costs_others_nothing() {
    let Some(hub) = hub("") else { return };
    let mut other = hub.owner(&peer::Person::new("eve"));
    let anna = Person::new(&hub, "anna");
    let mut line = anna.ready(&hub, MIB);
    let begin = Instant::now();
    for _ in 0..28 {
        line.send_bytes("GIP anna\r\n".repeat(50).as_bytes());
        assert!(other.done("GIP eve").starts_with("TIP"));
        for _ in 0..50 {
            assert!(line.answer().starts_with("TIP"));
        }
    }
    assert!(begin.elapsed() > Duration::from_secs(1));
    // 64 wait for the one that nobody answers; one more ends that line alone.
    let Some(mut stored) = stored("") else { return };
    let get = format!("GET {} {MIB}", file(1).text());
    let mut flood = get + "\r\n";
    flood += &"GIP anna\r\n".repeat(63);
    stored.line.send_bytes(flood.as_bytes());
    for line in &mut stored.lines {
        assert!(line.done("GIP nobody").starts_with("401"));
    }
    stored.line.send("GIP anna");
    assert!(stored.line.end().is_empty());
    let mut again = stored.owner.ready(&stored.hub, MIB);
    assert!(again.done("GIP anna").starts_with("TIP"));
}
