//! Whether others reach a keeper: the hub looks where its line comes from, and places
//! files by what it sees.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value as Json;

use crate::common::{pids, wait_until};
use crate::keeper::{Different, Keeper};
use crate::peer::*;
use crate::processes::status;
use tfd::hub::wire::Value;

/// What `tfd hub keepers` says of whether this one is reached.
fn reached(server: &Hub, name: &str) -> Json {
    let (text, is_well) = server.operate(&["keepers", "--json"]);
    assert!(is_well, "{text}");
    let all: Json = serde_json::from_str(&text).expect("JSON");
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
    line.notice("ACS");
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
    let closed = TcpListener::bind("127.0.0.1:0").expect("listen");
    let nobody = closed.local_addr().expect("address").port();
    drop(closed);
    let mut lines = [
        at_port(&server, "carol", nobody),
        at_port(&server, "dave", mute),
        at_port(&server, "erin", bob.address().port()),
    ];
    wait_until("bob", || reached(&server, "bob") == true);
    for name in ["carol", "dave", "erin"] {
        wait_until(name, || reached(&server, name) == false);
    }
    assert_eq!(knocks.load(Ordering::Relaxed), 1);
    let (table, _) = server.operate(&["keepers"]);
    let rows = |word: &str| {
        let rows = table.lines().map(|row| row.split_whitespace().nth(2));
        rows.filter(|it| *it == Some(word)).count()
    };
    assert_eq!((rows("yes"), rows("no")), (1, 3), "{table}");
    let (text, _) = server.operate(&["status", "--json"]);
    let status: Json = serde_json::from_str(&text).expect("JSON");
    assert_eq!(status["unreached"], 3);
    let log = server.log();
    let said = log
        .iter()
        .filter(|line| line.contains("keeper is not reached user=\"carol\""));
    assert_eq!(said.count(), 1);
    // With another port it is looked for again.
    share(&mut lines[0], mute);
    wait_until("knocked", || knocks.load(Ordering::Relaxed) == 2);
}

#[test]
fn what_names_others_goes_to_a_keeper_that_is_reached() {
    let Some(server) = server("probe_cycle = 86400") else {
        return;
    };
    let mut bob = Keeper::start(&server, "bob", &Different::default());
    bob.wait_until_online(1);
    let closed = TcpListener::bind("127.0.0.1:0").expect("listen");
    let nobody = closed.local_addr().expect("address").port();
    drop(closed);
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
