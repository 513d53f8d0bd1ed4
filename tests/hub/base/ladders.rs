//! The sequences of owners in version 1.0, line by line as the document has them.

use super::peer::*;
use crate::peer::{GIB, MIB, code, file};
use tfd::hub::wire::Value;

/// The hub's part of "Backup", to the byte.
#[test]
fn a_backup_goes_file_by_file_and_each_waits_for_the_one_before() {
    let Some(hub) = hub("") else { return };
    let keepers = ["bob", "carol"].map(|name| Person::new(&hub, name));
    let mut at = keepers.each_ref().map(|it| it.ready(&hub, GIB));
    let anna = Person::new(&hub, "anna");
    let mut owner = anna.ready(&hub, MIB);
    owner.send(&format!("BCK {} 2 2", 2 * MIB));
    assert_eq!(
        owner.line().expect("line"),
        format!("ACS {}", GIB - 3 * MIB)
    );
    assert_eq!(owner.line().expect("line"), "202 OK to begin backup");
    let name = file(1).text();
    owner.send(&format!("PUT {name} {MIB}"));
    for keeper in &mut at {
        let receive = keeper.obey("RCV", "211 OK to send file");
        assert_eq!(receive, format!("RCV {} anna {}", anna.ip, anna.key()));
    }
    let mut goes = [owner.answer(), owner.answer()];
    goes.sort_unstable_by_key(|line| line.contains(" carol "));
    for (line, keeper) in goes.iter().zip(&keepers) {
        let (ip, user, key) = (keeper.ip, &keeper.name, keeper.key());
        assert_eq!(*line, format!("DST {name} {ip} {user} {key} 2"));
    }
    assert_eq!(code(&owner.done(&put(2))), 407, "not before NFI");
    assert_eq!(code(&owner.done("DBU")), 406, "copies are missing");
    // Its word counts without a receipt; that of a keeper that was not asked does not.
    assert_eq!(code(&owner.done(&format!("DFI {name} dave"))), 505);
    assert_eq!(
        owner.done(&format!("DFI {name} bob")),
        "212 Transfer completed"
    );
    assert!(owner.has_no("NFI"));
    for _ in 0..2 {
        let reply = owner.done(&format!("DFI {name} carol"));
        assert_eq!(reply, "212 Transfer completed");
    }
    assert_eq!(owner.notice("NFI"), "NFI");
    assert!(owner.has_no("NFI"), "once");
    // An index follows, and what is there needs nobody.
    let index = file(2).text();
    place(&mut owner, &mut at, &format!("PIX {index} 100 2"));
    for keeper in &keepers {
        let reply = owner.done(&format!("DFI {index} {}", keeper.name));
        assert_eq!(reply, "212 Transfer completed");
    }
    owner.notice("NFI");
    owner.send(&format!("PUT {name} {MIB}"));
    for _ in 0..2 {
        assert_eq!(owner.answer(), "212 Transfer completed");
    }
    owner.notice("NFI");
    assert_eq!(code(&owner.done(&format!("PUT {name} 1"))), 503);
    assert_eq!(owner.done("DBU"), "215 Update done");
    assert!(owner.notice("ACS").starts_with("ACS "));
    // Only what is no pack is listed.
    assert_eq!(owner.done("REC anna"), "207 One or more index files exists");
    assert_eq!(owner.answer(), format!("IDX 1 {index}"));
}

#[test]
fn a_copy_that_fails_goes_to_the_next_keeper_and_a_run_ends_with_fewer() {
    let Some(hub) = hub("") else { return };
    let names = ["bob", "carol"];
    let keepers = names.map(|name| Person::new(&hub, name));
    let mut at = keepers.each_ref().map(|it| it.ready(&hub, GIB));
    let mut owner = Person::new(&hub, "anna").ready(&hub, MIB);
    owner.begin(2 * MIB, 1);
    owner.send(&put(1));
    // One of them is asked; it refuses, then the other fails.
    let first = asked_first(&mut at);
    at[first].obey("RCV", "403 Accessible space not sufficient");
    at[1 - first].obey("RCV", "211 OK to send file");
    let goes = owner.answer();
    let other = names[1 - first];
    assert!(goes.contains(&format!(" {other} ")), "{goes}");
    let failed = owner.done(&format!("NST {other}"));
    assert_eq!(failed, "406 No client online with enough space");
    owner.notice("NFI");
    let missing = owner.done(&format!("NST {other}"));
    assert_eq!(code(&missing), 406, "the same again");
    assert_eq!(code(&owner.done("NST nobody")), 505);
    // A keeper that says it has the file can't know which one it is.
    owner.send(&put(2));
    let second = asked_first(&mut at);
    at[second].obey("RCV", "212 Transfer completed");
    at[1 - second].obey("RCV", "211 OK to send file");
    assert!(owner.answer().starts_with("DST"));
    let stored = format!("DFI {} {}", file(2).text(), names[1 - second]);
    assert_eq!(code(&owner.done(&stored)), 212);
    owner.notice("NFI");
    assert_eq!(owner.done("DBU"), "215 Update done");
}

#[test]
fn a_run_that_is_aborted_ends_tickets_and_leaves_its_files() {
    let Some(hub) = hub("") else { return };
    let bob = Person::new(&hub, "bob");
    let mut keeper = [bob.ready(&hub, GIB)];
    let mut owner = Person::new(&hub, "anna").ready(&hub, MIB);
    owner.begin(MIB, 1);
    place(&mut owner, &mut keeper, &put(1));
    assert_eq!(owner.done("ABT"), "216 Backup/recovery aborted");
    assert_eq!(keeper[0].notice("STP"), "STP anna");
    assert_eq!(code(&owner.done(&put(1))), 504);
    owner.begin(MIB, 1);
    // The window is open again, for any file.
    place(&mut owner, &mut keeper, &put(2));
    assert_eq!(
        owner.done(&format!("DFI {} bob", file(2).text())),
        "212 Transfer completed"
    );
    owner.notice("NFI");
    // What has come meanwhile counts by the keeper's own word, too.
    let reply = keeper[0].done(&format!("DFI {} bob", file(1).text()));
    assert_eq!(reply, "212 Transfer completed");
    assert_eq!(owner.done(&put(1)), "212 Transfer completed");
    owner.notice("NFI");
    let reply = keeper[0].done(&format!("DFI {} bob", file(9).text()));
    assert_eq!(reply, "505 Requested file does not exist");
}

#[test]
fn a_deletion_needs_no_proof_and_its_removal_has_none() {
    let Some(mut it) = stored("") else { return };
    let name = file(1).text();
    assert_eq!(code(&it.line.done(&format!("DEL {}", file(9).text()))), 505);
    let delete = format!("DEL {name}");
    assert_eq!(it.line.done(&delete), "203 File is deleted");
    assert_eq!(it.line.done(&delete), "203 File is deleted", "again");
    for keeper in &mut it.lines {
        let remove = keeper.obey("REM", "203 File is deleted");
        assert_eq!(remove, format!("REM anna {name} {MIB}"));
    }
    assert_eq!(code(&it.line.done(&format!("GET {name} {MIB}"))), 505);
}

#[test]
fn a_recovery_asks_keepers_one_after_the_other_and_ends_with_stp_or_abt() {
    let Some(mut it) = stored("") else { return };
    let (name, anna) = (file(1).text(), &it.owner);
    // By the keeper's name.
    it.line.send("REC bob");
    let send = it.lines[0].obey("LET", "211 OK to send file");
    assert_eq!(send, format!("LET {} anna {}", anna.ip, anna.key()));
    let bob = &it.keepers[0];
    assert_eq!(
        it.line.answer(),
        format!("SRC {} bob {}", bob.ip, bob.key())
    );
    it.line.send("STP bob");
    assert_eq!(it.lines[0].notice("STP"), "STP anna");
    assert_eq!(code(&it.line.done("REC nobody")), 401);
    assert_eq!(code(&it.line.done("BCK 1 1 1")), 504, "in a recovery");
    // By the file's: the first says it has lost it, then the other sends.
    it.line.send(&format!("GET {name} {MIB}"));
    let first = asked_first(&mut it.lines);
    let last = &it.keepers[1 - first];
    let [bob, carol] = &mut it.lines;
    let (first, second) = match first {
        0 => (bob, carol),
        _ => (carol, bob),
    };
    first.obey("LET", "505 Requested file does not exist");
    second.obey("LET", "211 OK to send file");
    let source = format!("SRC {} {} {}", last.ip, last.name, last.key());
    assert_eq!(it.line.answer(), source);
    // It does not; nobody else has it.
    let none = it.line.done(&format!("NST {}", last.name));
    assert_eq!(none, "505 Requested file does not exist");
    assert_eq!(it.line.done("ABT"), "216 Backup/recovery aborted");
    assert_eq!(second.notice("STP"), "STP anna");
    assert_eq!(code(&it.line.done(&format!("GET {name} 1"))), 503);
}

#[test]
fn the_newest_index_is_found_and_absent_keepers_are_offline() {
    let Some(mut it) = stored("") else { return };
    assert_eq!(code(&it.line.done("GIX anna")), 505, "no index yet");
    it.line.begin(MIB, 1);
    let index = file(2).text();
    it.line.send(&format!("PIX {index} 100 1"));
    let at = asked_first(&mut it.lines);
    it.lines[at].obey("RCV", "211 OK to send file");
    it.line.answer();
    let keeper = it.keepers[at].name.clone();
    let reply = it.line.done(&format!("DFI {index} {keeper}"));
    assert_eq!(reply, "212 Transfer completed");
    assert_eq!(it.line.done("DBU"), "215 Update done");
    it.line.send("GIX anna");
    it.lines[at].obey("LET", "211 OK to send file");
    assert!(it.line.answer().contains(&format!(" {keeper} ")));
    assert_eq!(code(&it.line.done("GIX bob")), 505, "not one's own");
    drop(it.lines);
    crate::common::wait_until("nobody is there", || {
        it.line.done("GIX anna") == "405 User is not online"
    });
    assert_eq!(it.line.done("REC bob"), "405 User is not online");
}

#[test]
fn an_address_is_told_to_owners_and_keepers_of_the_same_files() {
    let Some(mut it) = stored("") else { return };
    let [bob, carol] = &mut it.lines;
    it.line.send("GIP bob");
    assert_eq!(bob.obey("ACC", "206 Username OK"), "ACC anna");
    assert_eq!(it.line.answer(), format!("TIP bob {}", it.keepers[0].ip));
    // The other way round, and neither between keepers.
    bob.send("GIP anna");
    assert_eq!(it.line.obey("ACC", "206 Username OK"), "ACC bob");
    assert_eq!(bob.answer(), format!("TIP anna {}", it.owner.ip));
    assert_eq!(bob.done("GIP carol"), "OFF carol");
    assert!(!carol.is_asked());
    it.line.send("GIP carol");
    carol.obey("ACC", "401 User does not exist");
    assert_eq!(it.line.answer(), "OFF carol");
    assert_eq!(it.line.done("GIP nobody"), "401 User does not exist");
}
