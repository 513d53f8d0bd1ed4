//! Kills at any moment: nothing that was acknowledged is lost, and peers come back
//! without help.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{is_running, pids, wait_until};
use crate::peer::*;
use tfd::hub::wire::Value;

/// Kills the processes of this name, and waits until they are gone.
pub fn kill_all(server: &Hub, name: &str) {
    let found = pids(server, name);
    for pid in &found {
        let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGKILL);
    }
    wait_until("they have ended", || {
        !found.iter().any(|pid| is_running(*pid))
    });
    if name == "tfd-hub" {
        wait_until("another broker", || {
            let now = pids(server, name);
            now.len() == 1 && now != found
        });
    }
}

/// Logs in once that is possible.
pub fn again(server: &Hub, person: &Person, role: &str) -> Line {
    let mut found = None;
    wait_until("a login", || {
        let mut line = Line::new(server);
        line.request(&format!("LOG {} 1.1 role={role}", person.name));
        let reply = line.line();
        if reply.is_none_or(|reply| code(&reply) != 206) {
            return false;
        }
        let mut line = Line::new(server);
        let reply = line.log_in(person, role, &person.login);
        assert_eq!(code(&reply), 201, "{reply}");
        found = Some(line);
        true
    });
    found.expect("a line")
}

/// At which message of storing a file the broker is killed.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Moment {
    RunAsked,
    PlaceAsked,
    HolderAsked,
    Placed,
    StoredStated,
    Acknowledged,
}

impl Moment {
    const ALL: [Moment; 6] = [
        Moment::RunAsked,
        Moment::PlaceAsked,
        Moment::HolderAsked,
        Moment::Placed,
        Moment::StoredStated,
        Moment::Acknowledged,
    ];
}

#[test]
fn a_broker_that_is_killed_at_any_message_forgets_nothing_acknowledged() {
    // The daemon starts it later each time, so each moment has a server of its own.
    std::thread::scope(|scope| {
        for moment in Moment::ALL {
            scope.spawn(move || kill_broker_at(moment));
        }
    });
}

fn kill_broker_at(moment: Moment) {
    let Some(server) = server("") else { return };
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    let mut keeper = server.holder(&bob, GIB);
    let mut owner = server.owner(&anna);
    let begin = format!("BCK {MIB} 1 1 run={}", run_id(1));
    let put = format!("PUT {} {MIB}", file(1).text());
    let stored = format!(
        "DFI {} bob receipt={}",
        file(1).text(),
        bob.receipt(&anna, file(1), MIB)
    );
    if moment == Moment::RunAsked {
        owner.request(&begin);
    } else {
        owner.done(&begin);
        let id = owner.request(&put);
        if moment == Moment::HolderAsked {
            keeper.asked("RCV");
        }
        if moment >= Moment::Placed {
            keeper.obey("RCV", "211 OK to send file");
            owner.answer(id);
        }
        if moment >= Moment::StoredStated {
            let id = owner.request(&stored);
            if moment == Moment::Acknowledged {
                assert_eq!(code(&owner.answer(id)), 212);
            }
        }
    }
    kill_all(&server, "tfd-hub");
    for line in [&mut owner, &mut keeper] {
        assert_eq!(line.notice("OUT"), "OUT after=5 reason=stopping");
        line.end();
    }
    let mut keeper = again(&server, &bob, "keeper");
    let mut owner = again(&server, &anna, "owner");
    // The run goes on.
    assert_eq!(code(&owner.done(&begin)), 202);
    let id = owner.request(&put);
    let answer = owner.try_answer(id).unwrap_or_else(|| {
        keeper.obey("RCV", "211 OK to send file");
        owner.answer(id)
    });
    if moment == Moment::Acknowledged {
        assert_eq!(code(&answer), 212, "{answer}");
    }
    if answer.starts_with("DST") {
        assert_eq!(code(&owner.done(&stored)), 212);
    }
    kill_all(&server, "tfd-hub");
    let _keeper = again(&server, &bob, "keeper");
    let mut owner = again(&server, &anna, "owner");
    assert_eq!(code(&owner.done(&begin)), 202);
    assert_eq!(code(&owner.done("DBU")), 215);
    let id = owner.request("REC anna kind=all");
    assert_eq!(named(&owner.answer(id), "number"), "1");
}

#[test]
fn a_killed_session_ends_its_own_line_alone() {
    let Some(server) = server("") else { return };
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    let mut keeper = server.holder(&bob, GIB);
    let before = pids(&server, "tfd-session");
    let mut owner = server.owner(&anna);
    owner.begin(MIB, 1, 1);
    let mine = pids(&server, "tfd-session");
    let mine = mine.iter().find(|pid| !before.contains(pid));
    let mine = Pid::from_raw(*mine.expect("a session") as i32);
    kill(mine, Signal::SIGKILL).expect("kill");
    owner.end();
    let mut owner = server.log_in(&anna);
    assert_eq!(named(&owner.begin(MIB, 1, 1), "runs"), "0");
    let file = format!("PUT {} {MIB}", file(1).text());
    store(&mut owner, &anna, &mut keeper, &bob, &file);
    assert_eq!(code(&owner.done("DBU")), 215);
}

#[test]
fn a_killed_gate_leaves_a_code_that_is_not_used_up() {
    let Some(server) = server("") else { return };
    let anna = Person::new("anna");
    let invitation = server.add("anna");
    let mut line = Line::new(&server);
    line.challenge("anna", "owner");
    kill_all(&server, "tfd-gate");
    line.end();
    Line::new(&server).enrol(&anna, &invitation);
    drop(server.log_in(&anna));
}

#[test]
fn a_server_that_stops_sends_its_peers_away_and_knows_them_again() {
    let Some(mut server) = server("") else { return };
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    let mut keeper = server.holder(&bob, GIB);
    let mut owner = server.owner(&anna);
    owner.begin(MIB, 1, 1);
    let put = format!("PUT {} {MIB}", file(1).text());
    store(&mut owner, &anna, &mut keeper, &bob, &put);
    server.signal(Signal::SIGTERM);
    assert_eq!(owner.notice("OUT"), "OUT after=5 reason=stopping");
    assert_eq!(keeper.notice("OUT"), "OUT after=5 reason=stopping");
    server.wait_for_end();
    server.start_again();
    let mut owner = server.log_in(&anna);
    let _keeper = server.log_in_holder(&bob);
    assert_eq!(
        code(&owner.done(&format!("BCK {MIB} 1 1 run={}", run_id(1)))),
        202
    );
    assert_eq!(code(&owner.done(&put)), 212);
    assert_eq!(code(&owner.done("DBU")), 215);
}

#[test]
fn a_reload_leaves_lines_as_they_are() {
    let Some(mut server) = server("") else { return };
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    let mut keeper = server.holder(&bob, GIB);
    let mut owner = server.owner(&anna);
    owner.begin(2 * MIB, 1, 1);
    server.signal(Signal::SIGHUP);
    server.wait_for_log("configuration read again");
    let put = |number| format!("PUT {} {MIB}", file(number).text());
    store(&mut owner, &anna, &mut keeper, &bob, &put(1));
    let mut other = server.log_in(&anna);
    assert_eq!(code(&other.done("GIP anna")), 0);
    assert_eq!(pids(&server, "tfd-hub").len(), 1);
    // Other rules are another broker's: peers come again.
    let path = server.config_path();
    let config = std::fs::read_to_string(&path).expect("configuration");
    std::fs::write(&path, format!("{config}\nwindow = 5\n")).expect("write");
    server.signal(Signal::SIGHUP);
    assert_eq!(owner.notice("OUT"), "OUT after=5 reason=stopping");
    let mut keeper = again(&server, &bob, "keeper");
    let mut owner = again(&server, &anna, "owner");
    assert_eq!(named(&owner.begin(2 * MIB, 1, 1), "window"), "5");
    store(&mut owner, &anna, &mut keeper, &bob, &put(2));
    assert_eq!(code(&owner.done("DBU")), 215);
}
