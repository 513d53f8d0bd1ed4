//! Recovery: an owner finds its files, and the holders that send them.

use crate::peer::*;
use tfd::hub::wire::Value;

fn put(number: u8) -> String {
    format!("PUT {} {MIB}", file(number).text())
}

fn other(number: u8, kind: &str) -> String {
    format!("PIX {} {MIB} 1 kind={kind}", file(number).text())
}

/// An owner with a pack, an index and a snapshot at the one holder.
fn stored() -> Option<(Hub, Person, Person, Line, Line)> {
    let server = server("")?;
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    let mut keeper = server.holder(&bob, GIB);
    let mut owner = server.owner(&anna);
    owner.begin(3 * MIB, 1, 1);
    for file in [put(1), other(2, "index"), other(3, "snapshot")] {
        store(&mut owner, &anna, &mut keeper, &bob, &file);
    }
    assert_eq!(code(&owner.done("DBU")), 215);
    Some((server, anna, bob, owner, keeper))
}

#[test]
fn an_empty_machine_finds_snapshot_index_and_packs() {
    let Some((server, anna, bob, _, mut keeper)) = stored() else {
        return;
    };
    let mut owner = server.log_in(&anna);
    let id = owner.request("REC anna");
    assert_eq!(named(&owner.answer(id), "number"), "2");
    let listed = [owner.answer(id), owner.answer(id)];
    assert!(listed[0].starts_with(&format!("IDX 2 {}", file(2).text())));
    assert!(listed[1].starts_with(&format!("IDX 1 {}", file(3).text())));
    let key = bob.holder_key().text();
    let way = format!("127.0.0.1:7272 bob {key}");
    for (ask, number) in [
        ("GIX anna".to_owned(), 3),
        (format!("GIX anna name={}", file(2).text()), 2),
        (format!("GET {} {MIB}", file(1).text()), 1),
    ] {
        let name = file(number).text();
        let id = owner.request(&ask);
        let send = keeper.obey("LET", "211 OK to send file");
        let expected = format!(
            "LET 127.0.0.1:7171 anna {} name={name} size={MIB} purpose=recover id=",
            anna.key().text()
        );
        assert!(send.starts_with(&expected), "{send}");
        let source = owner.answer(id);
        assert_eq!(source, format!("SRC {way} name={name} size={MIB} id={id}"));
    }
    let id = owner.request("REC bob");
    let send = keeper.obey("LET", "211 OK to send file");
    assert!(!send.contains("name="), "{send}");
    assert_eq!(owner.answer(id), format!("SRC {way} id={id}"));
    owner.send("STP bob");
    assert_eq!(keeper.notice("STP"), "STP anna");
}

#[test]
fn what_is_not_there_or_of_others_is_not_found() {
    let Some((server, anna, bob, mut owner, mut keeper)) = stored() else {
        return;
    };
    for (ask, expected) in [
        ("REC nobody".to_owned(), 401),
        ("REC anna kind=book".to_owned(), 505),
        ("GIX bob".to_owned(), 505),
        (format!("GIX anna name={}", file(1).text()), 505),
        (format!("GIX anna name={}", file(9).text()), 505),
        (format!("GET {} {MIB}", file(9).text()), 505),
        (format!("GET {} 1", file(1).text()), 503),
    ] {
        let reply = owner.done(&ask);
        assert_eq!(code(&reply), expected, "{ask}: {reply}");
    }
    let mut other = server.log_in(&bob);
    for ask in [
        "REC bob".to_owned(),
        "REC anna".to_owned(),
        "GIX bob".to_owned(),
        format!("GET {} {MIB}", file(1).text()),
    ] {
        assert_eq!(code(&other.done(&ask)), 505, "{ask}");
    }
    // Busy, lost, gone.
    let get = format!("GET {} {MIB}", file(1).text());
    let id = owner.request(&get);
    keeper.obey("LET", "407 Try again later");
    assert_eq!(code(&owner.answer(id)), 405);
    let id = owner.request(&get);
    keeper.obey("LET", "505 Requested file does not exist");
    assert_eq!(code(&owner.answer(id)), 505);
    assert_eq!(code(&owner.done(&get)), 505, "it is listed no more");
    drop(keeper);
    let mut owner = server.log_in(&anna);
    let warning = owner.notice("WRN");
    let name = file(1).text();
    assert_eq!(
        warning,
        format!("WRN bob reason=missing files=1 name={name}")
    );
    assert_eq!(code(&owner.done("GIX anna")), 405);
    assert_eq!(code(&owner.done("REC bob")), 405);
}

#[test]
fn a_copy_that_is_bad_is_given_up_and_the_next_one_is_named() {
    let Some(server) = server("") else { return };
    let people = [Person::new("bob"), Person::new("carol")];
    let mut keepers: Vec<Line> = people.iter().map(|it| server.holder(it, GIB)).collect();
    let anna = Person::new("anna");
    let mut owner = server.owner(&anna);
    owner.begin(MIB, 2, 1);
    let id = owner.request(&put(1));
    for (keeper, person) in keepers.iter_mut().zip(&people) {
        keeper.obey("RCV", "211 OK to send file");
        owner.answer(id);
        let receipt = person.receipt(&anna, file(1), MIB);
        let name = file(1).text();
        let stored = format!("DFI {name} {} receipt={receipt}", person.name);
        assert_eq!(code(&owner.done(&stored)), 212);
    }
    assert_eq!(code(&owner.done("DBU")), 215);
    let id = owner.request("REC bob");
    keepers[0].obey("LET", "211 OK to send file");
    assert!(owner.answer(id).starts_with("SRC"));
    let name = file(1).text();
    let id = owner.request(&format!("NST bob name={name} reason=corrupt"));
    keepers[1].obey("LET", "211 OK to send file");
    assert!(owner.answer(id).contains(" carol "));
    let last = owner.done(&format!("NST carol name={name} reason=corrupt"));
    assert_eq!(code(&last), 505, "{last}");
    assert_eq!(code(&owner.done("ABT")), 216);
    assert_eq!(keepers[0].notice("STP"), "STP anna");
}

#[test]
fn a_holder_that_reports_a_lost_copy_warns_its_owner() {
    let Some((_server, _anna, _bob, mut owner, mut keeper)) = stored() else {
        return;
    };
    let name = file(1).text();
    keeper.send(&format!("WRN anna reason=corrupt name={name}"));
    let warning = owner.notice("WRN");
    assert_eq!(warning, format!("WRN bob reason=corrupt name={name}"));
    assert_eq!(code(&owner.done(&format!("GET {name} {MIB}"))), 505);
}

#[test]
fn only_owners_and_their_holders_learn_each_others_addresses() {
    let Some((server, _anna, bob, mut owner, mut keeper)) = stored() else {
        return;
    };
    let carol = Person::new("carol");
    let mut stranger = server.owner(&carol);
    assert_eq!(code(&owner.done("GIP nobody")), 401);
    assert!(stranger.done("GIP bob").starts_with("OFF bob"));
    assert!(stranger.done("GIP anna").starts_with("OFF anna"));
    let id = owner.request("GIP bob");
    let expect = keeper.obey("ACC", "206 Username OK");
    assert!(expect.starts_with("ACC anna key="), "{expect}");
    let key = bob.holder_key().text();
    assert_eq!(
        owner.answer(id),
        format!("TIP bob 127.0.0.1:7272 key={key} id={id}")
    );
    let id = keeper.request("GIP anna");
    owner.obey("ACC", "407 Try again later");
    assert_eq!(keeper.answer(id), format!("OFF anna id={id}"));
    let id = keeper.request("GIP anna");
    owner.obey("ACC", "206 Username OK");
    assert!(
        keeper
            .answer(id)
            .starts_with("TIP anna 127.0.0.1:7171 key=")
    );
}

#[test]
fn a_long_list_is_sent_whole() {
    let Some(server) = server("") else { return };
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    let mut keeper = server.holder(&bob, GIB);
    let mut owner = server.owner(&anna);
    owner.begin(0, 1, 1);
    for number in 0..200 {
        let file = format!("PUT {} 1", file(number).text());
        store(&mut owner, &anna, &mut keeper, &bob, &file);
    }
    assert_eq!(code(&owner.done("DBU")), 215);
    let id = owner.request("REC anna kind=all");
    assert_eq!(named(&owner.answer(id), "number"), "200");
    for number in 0..200_u8 {
        let listed = owner.answer(id);
        let expected = format!("IDX {} {}", 200 - u64::from(number), file(number).text());
        assert!(listed.starts_with(&expected), "{listed}");
    }
    assert_eq!(code(&owner.done("ABT")), 216);
}
