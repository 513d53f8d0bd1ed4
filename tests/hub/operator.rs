//! What the operator of a hub sees and does.

use serde_json::Value as Json;

use crate::common::wait_until;
use crate::keepers::Keepers;
use crate::peer::*;
use tfd::hub::wire::Value;

fn put(number: u8) -> String {
    format!("PUT {} {MIB}", file(number).text())
}

/// What a command prints as JSON.
#[track_caller]
pub fn json(server: &Hub, words: &[&str]) -> Json {
    let (text, is_well) = server.operate(words);
    assert!(is_well, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

/// The state of a keeper's copy of a file.
fn state(server: &Hub, name: &str, keeper: &str) -> String {
    let files = json(server, &["files", "anna", "--json"]);
    let mut all = files.as_array().expect("list").iter();
    let file = all.find(|it| it["file"] == name).expect("file");
    let mut copies = file["copies"].as_array().expect("copies").iter();
    let copy = copies.find(|it| it["keeper"] == keeper);
    copy.map_or("none", |it| it["state"].as_str().expect("state"))
        .to_owned()
}

#[test]
fn an_operator_sees_keepers_and_files_and_has_those_of_a_lost_keeper_healed() {
    let Some(server) = server("") else { return };
    let anna = Person::new("anna");
    let mut keepers = Keepers::new(&server, &["bob", "carol"], "anna");
    let mut owner = server.owner(&anna);
    owner.begin(MIB, 2, 1);
    keepers.store(&mut owner, &anna, &put(1), 2);
    let status = json(&server, &["status", "--json"]);
    for (key, value) in [
        ("keepers", 2),
        ("online", 2),
        ("files", 1),
        ("runs", 1),
        ("below", 0),
    ] {
        assert_eq!(status[key], value, "{key} in {status}");
    }
    assert_eq!(status["held"], 2 * MIB);
    let (table, is_well) = server.operate(&["keepers"]);
    assert!(
        is_well && table.contains("bob") && table.contains("online"),
        "{table}"
    );
    let name = file(1).text();
    assert_eq!(state(&server, &name, "bob"), "live");
    keepers.leave("bob");
    keepers.join(&server, "dave");
    wait_until("away", || {
        let all = json(&server, &["keepers", "--json"]);
        all[0]["keeper"] == "bob" && all[0]["state"] == "away"
    });
    let (text, is_well) = server.operate(&["heal", "bob"]);
    assert!(is_well, "{text}");
    assert_eq!(state(&server, &name, "bob"), "gone");
    keepers.serve_until("healed", |_| state(&server, &name, "dave") == "live");
    wait_until("nothing to heal", || {
        json(&server, &["status", "--json"])["below"] == 0
    });
    for words in [&["files", "nobody"][..], &["heal", "nobody"]] {
        let (text, is_well) = server.operate(words);
        assert!(!is_well && text.contains("no such user"), "{text}");
    }
}

#[test]
fn a_dump_of_a_hub_that_serves_is_taken_by_one_without_a_database() {
    let Some(server) = server("") else { return };
    let anna = Person::new("anna");
    let mut keepers = Keepers::new(&server, &["bob"], "anna");
    let mut owner = server.owner(&anna);
    owner.begin(MIB, 1, 1);
    keepers.store(&mut owner, &anna, &put(1), 1);
    let dump = server.data().with_file_name("dump.db");
    let path = dump.to_str().expect("path");
    let (text, is_well) = server.operate(&["dump", path]);
    assert!(is_well, "{text}");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&dump.metadata().expect("dump").permissions());
    assert_eq!(mode & 0o777, 0o600);
    // Neither over a file, nor beside a database.
    assert!(!server.operate(&["dump", path]).1);
    let (text, is_well) = server.operate(&["restore", path]);
    assert!(!is_well && text.contains("there is one"), "{text}");
    let lines = "";
    let other = crate::peer::server(lines).expect("server");
    let store = other.data().join("store");
    let database = store.join("hub.db");
    other.signal(nix::sys::signal::Signal::SIGTERM);
    let mut other = other;
    other.wait_for_end();
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", database.display()));
    }
    let wrong = dump.with_file_name("wrong.db");
    std::fs::write(&wrong, "no database").expect("file");
    let (text, is_well) = other.operate(&["restore", wrong.to_str().expect("path")]);
    assert!(!is_well && text.contains("not a whole database"), "{text}");
    assert!(!database.exists());
    let (text, is_well) = other.operate(&["restore", path]);
    assert!(is_well, "{text}");
    let status = json(&other, &["status", "--json"]);
    assert_eq!(
        (&status["users"], &status["files"]),
        (&Json::from(2), &Json::from(1))
    );
}

#[test]
fn an_append_only_user_deletes_in_a_window_alone() {
    let Some(server) = server("") else { return };
    let anna = Person::new("anna");
    let mut keepers = Keepers::new(&server, &["bob"], "anna");
    let mut owner = server.owner(&anna);
    // The user is there already: what holds for it changes with the code.
    drop(owner);
    let carla = Person::new("carla");
    let (code_text, is_well) = server.operate(&["user", "add", "carla", "--append-only"]);
    assert!(is_well, "{code_text}");
    owner = Line::new(&server);
    owner.enrol(&carla, code_text.trim());
    owner.begin(MIB, 1, 1);
    keepers.store(&mut owner, &carla, &put(1), 1);
    assert_eq!(code(&owner.done("DBU")), 215);
    let name = file(1).text();
    let delete = format!("DEL {name} {}", carla.proof(file(1), MIB));
    assert_eq!(code(&owner.done(&delete)), 504);
    let (text, is_well) = server.operate(&["user", "prune-window", "anna", "1h"]);
    assert!(!is_well && text.contains("may delete"), "{text}");
    for (time, expected) in [("1h", 203), ("0s", 504)] {
        let (text, is_well) = server.operate(&["user", "prune-window", "carla", time]);
        assert!(is_well, "{text}");
        let other = format!("DEL {name} {}", carla.proof(file(1), MIB));
        assert_eq!(code(&owner.done(&other)), expected, "{time}");
    }
}

#[test]
fn a_user_goes_once_nothing_of_it_is_there() {
    let Some(server) = server("") else { return };
    let anna = Person::new("anna");
    let mut keepers = Keepers::new(&server, &["bob"], "anna");
    let mut owner = server.owner(&anna);
    owner.begin(MIB, 1, 1);
    keepers.store(&mut owner, &anna, &put(1), 1);
    for name in ["anna", "bob"] {
        let (text, is_well) = server.operate(&["user", "remove", name]);
        assert!(!is_well && text.contains("have to go first"), "{text}");
    }
    server.add("carla");
    assert!(server.operate(&["user", "remove", "carla"]).1);
    let users = json(&server, &["user", "list", "--json"]);
    let names: Vec<_> = users
        .as_array()
        .expect("list")
        .iter()
        .map(|it| &it["user"])
        .collect();
    assert_eq!(names, ["anna", "bob"]);
}
