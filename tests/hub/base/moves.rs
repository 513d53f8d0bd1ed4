//! What keepers of version 1.0 do among each other: moves, reverse recovery, audits.

use std::time::Duration;

use super::peer::*;
use crate::peer::{GIB, MIB, code, file};
use tfd::hub::wire::Value;

#[test]
fn the_files_of_a_keeper_that_leaves_move_to_another_one() {
    let Some(mut it) = stored("") else { return };
    let name = file(1).text();
    let dave = Person::new(&it.hub, "dave");
    let mut new = dave.ready(&it.hub, GIB);
    let [bob, carol] = &mut it.lines;
    let refused = bob.done("SHA 0");
    assert_eq!(refused, "404 Share is smaller than used space");
    let receive = new.asked("RCV");
    // Either of the two sends.
    let sender = usize::from(receive.contains(" carol "));
    let from = &it.keepers[sender];
    let (ip, user, key) = (from.ip, &from.name, from.key());
    assert_eq!(receive, format!("RCV {ip} {user} {key}"));
    new.send("211 OK to send file");
    let old = if sender == 0 { &mut *bob } else { &mut *carol };
    let give = old.obey("TRA", "211 OK to send file");
    let (ip, key) = (dave.ip, dave.key());
    assert_eq!(give, format!("TRA {name} {ip} dave {key}"));
    // The new one reports it, and the old one that it has sent it, in any state.
    assert_eq!(
        new.done(&format!("DFI {name} dave")),
        "212 Transfer completed"
    );
    let moved = format!("MOV {name} bob dave");
    assert_eq!(old.done(&moved), "215 Update done");
    let others = old.done(&format!("MOV {} bob dave", file(9).text()));
    assert_eq!(others, "505 Requested file does not exist");
    // Both compute under the same key.
    let sum = format!("CRC {}", "ab".repeat(32));
    let one = new.obey("REQ", &sum);
    assert_eq!(old.obey("REQ", &sum), one);
    assert!(one.starts_with(&format!("REQ {name} s:")), "{one}");
    assert_eq!(it.line.notice("MOV"), format!("MOV {name} bob dave"));
    let remove = bob.obey("REM", "203 File is deleted");
    assert_eq!(remove, format!("REM anna {name} {MIB}"));
    assert_eq!(bob.done("SHA 0"), "208 Share OK");
}

#[test]
fn a_move_that_fails_goes_to_another_keeper() {
    let Some(mut it) = stored("") else { return };
    let names = ["dave", "eve"];
    let people = names.map(|name| Person::new(&it.hub, name));
    let mut new = people.each_ref().map(|who| who.ready(&it.hub, GIB));
    let [bob, carol] = &mut it.lines;
    assert_eq!(code(&bob.done("SHA 0")), 404);
    let mut tried = Vec::new();
    for _ in 0..2 {
        let at = asked_first(&mut new);
        let receive = new[at].obey("RCV", "211 OK to send file");
        let sender = if receive.contains(" carol ") {
            &mut *carol
        } else {
            &mut *bob
        };
        sender.obey("TRA", "211 OK to send file");
        // It names who has not taken it.
        let reply = sender.done(&format!("NST {}", names[at]));
        assert_eq!(reply, "212 Transfer completed");
        tried.push(at);
    }
    tried.sort_unstable();
    assert_eq!(tried, [0, 1]);
}

#[test]
fn a_keeper_gets_back_what_it_has_lost() {
    let Some(mut it) = stored("") else { return };
    let name = file(1).text();
    std::thread::sleep(Duration::from_millis(1100));
    let bob = it.keepers[0].ready(&it.hub, GIB);
    let mut bob = std::mem::replace(&mut it.lines[0], bob);
    assert_eq!(bob.notice("OUT"), "OUT");
    let [bob, carol] = &mut it.lines;
    bob.send("RRC");
    let lend = carol.obey("LET", "211 OK to send file");
    let who = &it.keepers[0];
    assert_eq!(lend, format!("LET {} bob {}", who.ip, who.key()));
    let source = &it.keepers[1];
    let fetch = format!("SRR {name} {} carol {}", source.ip, source.key());
    assert_eq!(bob.notice("SRR"), fetch);
    assert_eq!(code(&bob.done("RRC")), 407);
    // It could not fetch it: nobody else has it now.
    assert_eq!(bob.done("NST carol"), "212 Transfer completed");
    assert_eq!(bob.answer(), "405 User is not online");
    assert_eq!(bob.done("ABT"), "216 Backup/recovery aborted");
    bob.send("RRC");
    carol.obey("LET", "211 OK to send file");
    assert_eq!(bob.notice("SRR"), fetch);
    assert_eq!(
        bob.done(&format!("DFI {name} bob")),
        "212 Transfer completed"
    );
    assert_eq!(bob.answer(), "214 Reverse recovery done");
    // What it says to have still does not come.
    std::thread::sleep(Duration::from_millis(1100));
    let mut bob = it.keepers[0].ready(&it.hub, GIB);
    assert_eq!(
        bob.done(&format!("DFI {name} bob")),
        "212 Transfer completed"
    );
    assert_eq!(bob.done("RRC"), "214 Reverse recovery done");
}

#[test]
fn audits_ask_two_keepers_of_a_file_one_thing_at_a_time() {
    let Some(mut it) = stored("audit_cycle = 8") else {
        return;
    };
    let name = file(1).text();
    let [bob, carol] = &mut it.lines;
    let request = bob.asked("REQ");
    assert!(request.starts_with(&format!("REQ {name} ")), "{request}");
    assert_eq!(carol.asked("REQ"), request, "under the same key");
    // While it computes, the hub asks for nothing else.
    it.line.send("GIP bob");
    assert!(!bob.is_asked());
    let sum = format!("CRC {}", "ab".repeat(32));
    bob.send(&sum);
    carol.send(&sum);
    while bob.asked("") != "ACC anna" {
        bob.send(&sum);
        carol.obey("REQ", &sum);
    }
    bob.send("206 Username OK");
    // A copy that is not there is lost, and its owner is warned.
    bob.obey("REQ", "505 Requested file does not exist");
    carol.obey("REQ", &sum);
    assert_eq!(it.line.notice("WRN"), "WRN bob");
}
