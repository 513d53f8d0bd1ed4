//! Kills in a run of version 1.0: what was acknowledged is there, and peers log in again.

use nix::sys::signal::Signal;

use super::peer::*;
use crate::common::wait_until;
use crate::crash::kill_all;
use crate::peer::{GIB, Hub, MIB, code, file};
use tfd::hub::wire::Value;

/// Logs in once that is possible.
fn again(hub: &Hub, person: &Person) -> Line {
    let mut found = None;
    wait_until("a login", || {
        let mut line = person.line(hub);
        line.send(&format!("LOG {} 1.0", person.name));
        if line.line().is_none_or(|reply| code(&reply) != 206) {
            return false;
        }
        found = Some(person.ready(hub, GIB));
        true
    });
    found.expect("a line")
}

#[test]
fn a_broker_that_is_killed_in_a_run_forgets_nothing_acknowledged() {
    // At which step of storing a file: asked for, placed, stored.
    std::thread::scope(|scope| {
        for step in 0..3 {
            scope.spawn(move || kill_at(step));
        }
    });
}

fn kill_at(step: u8) {
    let Some(hub) = hub("") else { return };
    let (anna, bob) = (Person::new(&hub, "anna"), Person::new(&hub, "bob"));
    let mut keeper = [bob.ready(&hub, GIB)];
    let mut owner = anna.ready(&hub, MIB);
    owner.begin(MIB, 1);
    let stored = format!("DFI {} bob", file(1).text());
    match step {
        0 => {
            owner.send(&put(1));
            keeper[0].asked("RCV");
        }
        _ => drop(place(&mut owner, &mut keeper, &put(1))),
    }
    if step == 2 {
        assert_eq!(code(&owner.done(&stored)), 212);
    }
    kill_all(&hub, "tfd-hub");
    for line in [&mut owner, &mut keeper[0]] {
        assert_eq!(line.notice("OUT"), "OUT");
        line.end();
    }
    let mut keeper = [again(&hub, &bob)];
    let mut owner = again(&hub, &anna);
    assert_eq!(code(&owner.done(&put(1))), 504, "its run has ended");
    owner.begin(MIB, 1);
    if step == 2 {
        assert_eq!(owner.done(&put(1)), "212 Transfer completed");
    } else {
        place(&mut owner, &mut keeper, &put(1));
        assert_eq!(code(&owner.done(&stored)), 212);
    }
    owner.notice("NFI");
    assert_eq!(owner.done("DBU"), "215 Update done");
    // What the run before had reserved is free.
    let text = hub.operate(&["status", "--json"]).0;
    assert!(text.contains("\"runs\":0"), "{text}");
}

#[test]
fn a_server_that_stops_sends_its_peers_away_and_knows_them_again() {
    let Some(mut stored) = stored("") else { return };
    stored.hub.signal(Signal::SIGTERM);
    assert_eq!(stored.line.notice("OUT"), "OUT");
    stored.hub.wait_for_end();
    stored.hub.start_again();
    let _keepers = stored
        .keepers
        .each_ref()
        .map(|it| it.ready(&stored.hub, GIB));
    let mut owner = stored.owner.ready(&stored.hub, MIB);
    owner.begin(MIB, 2);
    owner.send(&put(1));
    for _ in 0..2 {
        assert_eq!(owner.answer(), "212 Transfer completed");
    }
}
