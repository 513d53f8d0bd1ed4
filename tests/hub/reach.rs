//! Whether others reach a keeper: the hub looks where its line comes from, and places
//! files by what it sees.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value as Json;

use tfd::hub::peer::peer_line::PeerLine;
use tfd::hub::wire::{Purpose, Token, Value, Way};

use crate::common::{PATIENCE, pids, wait_until};
use crate::keeper::circle::{Circle, SMALL, circle, leave};
use crate::keeper::{Different, Keeper, content, fetch, get, name_of, sent};
use crate::operator::json;
use crate::peer::*;
use crate::processes::status;

/// What `tfd hub keepers` says of whether this one is reached.
fn reached(server: &Hub, name: &str) -> Json {
    let all = json(server, &["keepers", "--json"]);
    let mut all = all.as_array().expect("list").iter();
    let keeper = all.find(|it| it["keeper"] == name);
    keeper.map_or(Json::Null, |it| it["reached"].clone())
}

/// A keeper that says to listen at this port.
fn at_port(server: &Hub, name: &str, port: u16) -> Line {
    let mut line = server.holder(&Person::new(name), GIB);
    share(&mut line, port);
    line
}

#[track_caller]
fn share(line: &mut Line, port: u16) {
    let reply = line.done(&format!("SHA {GIB} port={port}"));
    assert_eq!(code(&reply), 208, "{reply}");
}

/// A port at which connections are taken and closed; how many have come.
fn silent() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("address").port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::Relaxed);
            drop(stream);
        }
    });
    (port, count)
}

#[test]
fn a_keeper_is_reached_where_its_own_key_answers() {
    let Some(server) = server("probe_cycle = 86400") else {
        return;
    };
    let mut bob = Keeper::start(&server, "bob", &Different::default());
    bob.wait_until_online(1);
    let (mute, knocks) = silent();
    // Nobody listens there, who does hangs up, it has another key.
    let nobody = closed_port();
    let mut lines = [
        at_port(&server, "carol", nobody),
        at_port(&server, "dave", mute),
        at_port(&server, "erin", bob.address().port()),
    ];
    wait_until("bob", || reached(&server, "bob") == true);
    for name in ["carol", "dave", "erin"] {
        wait_until(name, || reached(&server, name) == false);
    }
    let before = knocks.load(Ordering::Relaxed);
    assert!(before > 0);
    let (table, _) = server.operate(&["keepers"]);
    let rows = |word: &str| {
        let rows = table.lines().map(|row| row.split_whitespace().nth(2));
        rows.filter(|it| *it == Some(word)).count()
    };
    assert_eq!((rows("yes"), rows("no")), (1, 3), "{table}");
    let status = json(&server, &["status", "--json"]);
    assert_eq!(status["unreached"], 3);
    let log = server.log();
    let said = log
        .iter()
        .filter(|line| line.contains("keeper is not reached user=\"carol\""));
    assert!(said.count() > 0);
    // With another port it is looked for again.
    share(&mut lines[0], mute);
    wait_until("knocked", || knocks.load(Ordering::Relaxed) > before);
}

#[test]
fn what_names_others_goes_to_a_keeper_that_is_reached() {
    let Some(server) = server("probe_cycle = 86400") else {
        return;
    };
    let mut bob = Keeper::start(&server, "bob", &Different::default());
    bob.wait_until_online(1);
    let nobody = closed_port();
    let _lines = ["carol", "dave", "erin"].map(|name| at_port(&server, name, nobody));
    for (name, is_reached) in [
        ("bob", true),
        ("carol", false),
        ("dave", false),
        ("erin", false),
    ] {
        wait_until(name, || reached(&server, name) == is_reached);
    }
    let mut owner = server.owner(&Person::new("anna"));
    owner.begin(MIB, 1, 32);
    for number in 0..16 {
        let goes = owner.done(&format!("PIX {} {MIB} 1 kind=index", file(number).text()));
        assert!(goes.starts_with("DST") && goes.contains(" bob "), "{goes}");
    }
}

#[test]
fn it_is_looked_again_and_by_another_process_once_one_has_ended() {
    let Some(server) = server("probe_cycle = 1") else {
        return;
    };
    let (port, knocks) = silent();
    let _line = at_port(&server, "bob", port);
    let knocked = |times: usize| knocks.load(Ordering::Relaxed) >= times;
    wait_until("knocked twice", || knocked(2));
    let [prober] = pids(&server, "tfd-prober")[..] else {
        panic!("one prober");
    };
    assert_eq!(
        status(prober, "Uid:"),
        status(pids(&server, "tfd-keeper")[0], "Uid:")
    );
    for rights in ["CapEff:", "CapPrm:", "CapInh:"] {
        assert_eq!(status(prober, rights), "0000000000000000");
    }
    let pid = nix::unistd::Pid::from_raw(prober.cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("kill");
    let before = knocks.load(Ordering::Relaxed);
    wait_until("another one", || {
        pids(&server, "tfd-prober").iter().any(|it| *it != prober)
    });
    wait_until("knocked again", || knocked(before + 1));
}

#[test]
fn a_hub_that_is_told_so_looks_for_nobody() {
    let Some(server) = server("probe_cycle = 0") else {
        return;
    };
    let _line = at_port(&server, "bob", 9);
    assert_eq!(pids(&server, "tfd-prober"), [0; 0]);
    assert_eq!(reached(&server, "bob"), Json::Null);
}

/// The relay's way in a line: its address and the token.
#[track_caller]
fn relay(line: &str) -> (SocketAddr, Token) {
    let mut words = line.split(' ').filter(|word| word.starts_with("relay:"));
    let word = words.next().unwrap_or_else(|| panic!("no relay in {line}"));
    match Way::read(word) {
        Some(Way::Relay { host, port, token }) => {
            assert_eq!(host, HUB);
            (SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port), token)
        }
        way => panic!("{way:?}"),
    }
}

/// A line to the keeper by the relay.
#[track_caller]
fn meet(
    keeper: &Keeper,
    owner: &Person,
    purpose: Purpose,
    (relay, token): (SocketAddr, Token),
) -> PeerLine {
    let parties = keeper.parties(owner);
    let mut peer = PeerLine::meet(&[relay], token, &parties.key).expect("a keeper");
    let introduced = peer.introduce(&parties, purpose, None, owner);
    introduced.expect("introduced");
    peer
}

/// A port at which nobody listens.
fn closed_port() -> u16 {
    let closed = TcpListener::bind("127.0.0.1:0").expect("listen");
    closed.local_addr().expect("address").port()
}

/// A keeper whose port nobody is let in at.
fn unreached() -> Different {
    Different {
        lines: format!("public_port = {}", closed_port()),
        ..Different::default()
    }
}

/// A keeper that is not reached, at a hub with a relay.
fn behind_a_router(lines: &str) -> Option<(Hub, Keeper)> {
    let lines = format!("probe_cycle = 86400\nrelay_listen = [\"127.0.0.1:0\"]\n{lines}");
    let server = server(&lines)?;
    let mut bob = Keeper::start(&server, "bob", &unreached());
    bob.server
        .wait_for_log("the hub does not reach this keeper");
    assert_eq!(reached(&server, "bob"), false);
    Some((server, bob))
}

#[test]
fn who_is_not_reached_is_met_at_the_relay() {
    let Some((server, bob)) = behind_a_router("") else {
        return;
    };
    let anna = Person::new("anna");
    let mut owner = server.owner(&anna);
    owner.begin(MIB, 1, 3);
    let parties = bob.parties(&anna);
    let files = [content(1, 300_000), content(2, 10)];
    let goes = bob.place(&mut owner, &files[0]);
    let (address, token) = relay(&goes);
    // The second file's keeper is the same, and nobody has come for it yet.
    assert_eq!(relay(&bob.place(&mut owner, &files[1])), (address, token));
    let mut peer = meet(&bob, &anna, Purpose::Backup, (address, token));
    for file in &files {
        let receipt = sent(&mut peer, &anna, file);
        bob.acknowledge(&mut owner, file, receipt);
    }
    assert_eq!(code(&owner.done("DBU")), 215);
    // A token is good once.
    let again = PeerLine::meet(&[address], token, &parties.key);
    assert!(again.is_err(), "a used token");
    let mut other = server.log_in(&anna);
    let name = name_of(&files[0]).text();
    let source = other.done(&format!("GET {name} {}", files[0].len()));
    let (_, fresh) = relay(&source);
    assert_ne!(token, fresh);
    let mut peer = meet(&bob, &anna, Purpose::Recover, (address, fresh));
    let fetched = fetch(&mut peer, &get(&files[0]).into()).expect("the file");
    assert!(fetched == files[0]);
    wait_until("the relay's session", || {
        !server.log().iter().any(|line| line.contains("ERROR"))
    });
}

#[test]
fn nobody_is_let_in_at_the_relay_without_a_token() {
    let Some((server, bob)) = behind_a_router("") else {
        return;
    };
    let anna = Person::new("anna");
    let mut owner = server.owner(&anna);
    owner.begin(MIB, 1, 3);
    let (address, token) = relay(&bob.place(&mut owner, &content(1, 10)));
    let other = Token([7; 16]).text();
    for wrong in [
        format!("RLY {other}\r\n"),
        format!("RLY {}\n\n", token.text()),
        format!("rly {}\r\n", token.text()),
        "LOG anna 1.1 role=owner id=1\r\n".to_owned(),
        "RLY ".to_owned() + &"A".repeat(4000),
        "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".to_owned(),
    ] {
        let mut socket = TcpStream::connect(address).expect("connect");
        socket.set_read_timeout(Some(PATIENCE)).expect("limit");
        socket.write_all(wrong.as_bytes()).expect("write");
        let mut bytes = Vec::new();
        let _ = socket.read_to_end(&mut bytes);
        assert_eq!(bytes, b"", "{wrong:?}");
    }
    // The right one still opens it.
    meet(&bob, &anna, Purpose::Backup, (address, token));
}

#[test]
fn a_relay_that_is_full_lets_nobody_else_in() {
    let Some((server, bob)) = behind_a_router("relay_lines = 1") else {
        return;
    };
    let people = ["anna", "carla"].map(Person::new);
    let mut owners = people.each_ref().map(|person| server.owner(person));
    for (number, owner) in (1..).zip(&mut owners) {
        owner.begin(MIB, 1, number);
    }
    let file = content(1, 10);
    let (address, token) = relay(&bob.place(&mut owners[0], &file));
    let peer = meet(&bob, &people[0], Purpose::Backup, (address, token));
    let other = bob.place(&mut owners[1], &file);
    assert_eq!(code(&other), 406, "{other}");
    peer.close();
    // A keeper that was passed over for a file is asked for others.
    let mut number = 1;
    wait_until("room again", || {
        number += 1;
        std::thread::sleep(Duration::from_millis(100));
        let file = content(number, 10);
        bob.place(&mut owners[1], &file).starts_with("DST")
    });
}

#[test]
fn files_go_from_keeper_to_keeper_by_the_relay() {
    let lines = "probe_cycle = 86400\nrelay_listen = [\"127.0.0.1:0\"]\nheal_rate = \"100M\"";
    let Some(mut circle) = circle(lines, &["bob"]) else {
        return;
    };
    let file = content(3, SMALL);
    circle.store(std::slice::from_ref(&file), 1);
    for name in ["carol", "dave"] {
        circle.join_as(name, &unreached());
        wait_until(name, || reached(&circle.hub, name) == false);
    }
    // Bob leaves: carol or dave gets it, and so does the other once that one leaves.
    leave(circle.at("bob"));
    let has = |circle: &Circle, name: &str| circle.has(name, &file);
    wait_until("one has it", || {
        has(&circle, "carol") || has(&circle, "dave")
    });
    let (first, second) = match has(&circle, "carol") {
        true => ("carol", "dave"),
        false => ("dave", "carol"),
    };
    circle.wait_for_copies(&file, &[first]);
    leave(circle.at(first));
    circle.wait_for_copies(&file, &[second]);
}
