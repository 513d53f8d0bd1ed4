//! How an operator watches a hub and a keeper: metrics, `tfd status`, the audit log and
//! `tfd check`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tfd::hub::wire::Value;

use crate::common::disk::SmallDisk;
use crate::common::{PATIENCE, Server, wait_until};
use crate::crash::{again, kill_all};
use crate::keeper::{Different, content, fetch, get, keeper_of, kept_with, owner, recover};
use crate::keepers::Keepers;
use crate::peer::*;

/// What is watched in these tests.
const WATCHED: &str = "metrics = \"./metrics\"\naudit = \"audit.log\"\n";

/// What a command of tfd prints, on both its outputs.
fn tfd(words: &[&str], last: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
    let output = command.args(words).arg(last).output().expect("tfd");
    [output.stdout, output.stderr]
        .map(|it| String::from_utf8_lossy(&it).into_owned())
        .concat()
}

fn check(server: &Server) -> String {
    tfd(&["check", "--config"], &server.config_path())
}

fn status(server: &Server, words: &[&str]) -> String {
    let control = server.config_path().with_file_name("control");
    tfd(&[&["status"], words, &["--control"]].concat(), &control)
}

/// The figures of a service in `tfd status`.
fn figures(server: &Server, service: &str) -> Json {
    let text = status(server, &["--json"]);
    let status: Json = serde_json::from_str(&text).expect("JSON");
    status["services"][service].clone()
}

/// Waits until a metric has a value.
#[track_caller]
fn wait_for(server: &Server, series: &str, value: u64) {
    let mut found = server.metric(series);
    let end = Instant::now() + PATIENCE;
    while found != value {
        assert!(Instant::now() < end, "{series} is {found}, not {value}");
        std::thread::sleep(Duration::from_millis(20));
        found = server.metric(series);
    }
}

/// Checks that each metric of a service that alerts and dashboard name is there.
#[track_caller]
fn expect_named(server: &Server, service: &str) {
    let text = server.metrics();
    let conf = concat!(
        include_str!("../../conf/prometheus-alerts.yml"),
        include_str!("../../conf/grafana-tfd.json")
    );
    let words = conf.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours: Vec<_> = words.filter(|word| word.starts_with(service)).collect();
    assert!(ours.len() > 5, "{ours:?}");
    for name in ours {
        assert!(text.contains(&format!("\n{name} ")), "no {name} in {text}");
    }
}

/// The records of a command in the audit log.
fn records(server: &Server, command: &str) -> Vec<Json> {
    let log = server.config_path().with_file_name("audit.log");
    let text = fs::read_to_string(log).expect("audit log");
    let all = text.lines().map(serde_json::from_str);
    let all: Vec<Json> = all.collect::<Result<_, _>>().expect("JSON");
    all.into_iter()
        .filter(|it| it["command"] == command)
        .collect()
}

#[test]
fn metrics_status_and_audit_log_show_what_a_hub_has_and_does() {
    let Some(server) = server_with(WATCHED, "audit_cycle = 8") else {
        return;
    };
    let anna = Person::new("anna");
    let mut keepers = Keepers::new(&server, &["bob", "carol"], "anna");
    let mut owner = server.owner(&anna);
    owner.begin(MIB, 2, 1);
    keepers.store(
        &mut owner,
        &anna,
        &format!("PUT {} {MIB}", file(1).text()),
        2,
    );
    for (name, value) in [
        ("users", 3),
        ("keepers", 2),
        ("keepers_online", 2),
        ("lines", 3),
        ("files", 1),
        ("held_bytes", 2 * MIB),
        ("shared_bytes", 2 * GIB),
        ("runs", 1),
        ("copies_missing", 0),
        ("orders", 0),
        ("heals_total", 0),
    ] {
        wait_for(&server, &format!("tfd_hub_{name}"), value);
    }
    expect_named(&server, "tfd_hub_");
    let refused = server.metric("tfd_hub_refused_total");
    assert_eq!(code(&owner.done("GIP nobody")), 401);
    wait_for(&server, "tfd_hub_refused_total", refused + 1);
    let in_status = figures(&server, "hub");
    assert_eq!(in_status["files"], 1);
    assert_eq!(in_status["refused"], refused + 1);
    let table = status(&server, &[]);
    assert!(
        table.contains("\nhub: ") && table.contains("held 2.0M, "),
        "{table}"
    );
    assert_eq!(code(&owner.done("DBU")), 215);
    drop(owner);
    // One of two differs, and the file goes to a third.
    keepers.join(&server, "dave");
    let name = file(1).text();
    keepers.of("bob").bad.insert(name.clone());
    keepers.serve_until("healed", |_| server.metric("tfd_hub_heals_total") > 0);
    let passed = |_: &mut Keepers| server.metric("tfd_hub_audits_passed_total") > 1;
    keepers.serve_until("a good pair", passed);
    assert!(server.metric("tfd_hub_audits_failed_total") > 1);
    wait_until("the heal is recorded", || {
        !records(&server, "HEAL").is_empty()
    });
    let heal = records(&server, "HEAL").remove(0);
    assert_eq!(
        (&heal["user"], &heal["path"]),
        (&"anna".into(), &name.clone().into())
    );
    let other = heal["other"].as_str().expect("from and to");
    assert!(other.ends_with(" to dave"), "{heal}");
    assert_eq!(
        (&heal["result"], &heal["bytes"]),
        (&"ok".into(), &MIB.into())
    );
    let audits = records(&server, "AUDIT");
    let bobs = audits
        .iter()
        .find(|it| it["user"] == "bob")
        .expect("an audit");
    assert_eq!(
        (&bobs["path"], &bobs["other"], &bobs["result"]),
        (&name.into(), &"differs".into(), &"failed".into())
    );
}

/// A file of carla's at bob's, which she may delete only in a window.
fn carlas_file(server: &Hub) -> (Keepers, Person, Line) {
    let mut keepers = Keepers::new(server, &["bob"], "carla");
    let carla = Person::new("carla");
    let (text, is_well) = server.operate(&["user", "add", "carla", "--append-only"]);
    assert!(is_well, "{text}");
    let mut owner = Line::new(server);
    owner.enrol(&carla, text.trim());
    owner.begin(MIB, 1, 1);
    let put = format!("PUT {} {MIB}", file(1).text());
    keepers.store(&mut owner, &carla, &put, 1);
    assert_eq!(code(&owner.done("DBU")), 215);
    (keepers, carla, owner)
}

#[test]
fn the_audit_log_has_what_operators_do_and_what_is_deleted_in_a_window() {
    let Some(server) = server_with(WATCHED, "") else {
        return;
    };
    let (_keepers, carla, mut owner) = carlas_file(&server);
    let name = file(1).text();
    let delete = || format!("DEL {name} {}", carla.proof(file(1), MIB));
    assert_eq!(code(&owner.done(&delete())), 504);
    assert!(records(&server, "PRUNE").is_empty());
    assert!(server.operate(&["user", "prune-window", "carla", "1h"]).1);
    assert_eq!(code(&owner.done(&delete())), 203);
    server.add("dave");
    assert!(server.operate(&["user", "remove", "dave"]).1);
    assert!(!server.operate(&["user", "remove", "nobody"]).1);
    assert!(server.operate(&["heal", "bob"]).1);
    wait_until("the deletion is recorded", || {
        records(&server, "PRUNE").len() == 1
    });
    let prune = records(&server, "PRUNE").remove(0);
    assert_eq!(
        (&prune["user"], &prune["path"]),
        (&"carla".into(), &name.into())
    );
    let users = |command: &str| {
        let all = records(&server, command).into_iter();
        all.map(|it| it["user"].as_str().expect("user").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(users("USER-ADD"), ["bob", "carla", "dave"]);
    assert_eq!(users("USER-REMOVE"), ["dave"]);
    assert_eq!(users("PRUNE-WINDOW"), ["carla"]);
    assert_eq!(users("GIVE-UP"), ["bob"]);
}

#[test]
fn a_restored_dump_is_in_the_audit_log() {
    let Some(mut server) = server_with(WATCHED, "") else {
        return;
    };
    let dump = server.data().with_file_name("dump.db");
    let path = dump.to_str().expect("path");
    assert!(server.operate(&["dump", path]).1);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    server.wait_for_end();
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(server.data().join(format!("store/hub.db{end}")));
    }
    let (text, is_well) = server.operate(&["restore", path]);
    assert!(is_well, "{text}");
    let restored = records(&server, "RESTORE").remove(0);
    assert_eq!(restored["path"], path);
}

#[test]
fn a_broker_that_can_not_report_is_replaced_by_one_that_can() {
    let Some(mut server) = server_with(WATCHED, "") else {
        return;
    };
    let (_keepers, carla, _owner) = carlas_file(&server);
    assert!(server.operate(&["user", "prune-window", "carla", "1h"]).1);
    kill_all(&server, "tfd-auditor");
    server.wait_for_log("the auditor has ended");
    let mut owner = again(&server, &carla, "owner");
    let delete = format!("DEL {} {}", file(1).text(), carla.proof(file(1), MIB));
    assert_eq!(code(&owner.done(&delete)), 203);
    wait_until("it is recorded", || records(&server, "PRUNE").len() == 1);
}

#[test]
fn metrics_and_status_show_what_a_keeper_has_and_does() {
    let different = Different {
        server: format!("control = \"control\"\n{WATCHED}"),
        ..Different::default()
    };
    let Some(kept) = kept_with(&different) else {
        return;
    };
    let (anna, mut line) = owner(&kept, "anna");
    let bytes = content(1, 5000);
    kept.store_file(&mut line, &anna, &bytes);
    recover(&mut line);
    let mut peer = kept.dial(&anna, tfd::hub::wire::Purpose::Recover);
    assert_eq!(fetch(&mut peer, &get(&bytes).into()), Ok(bytes.clone()));
    let refused = fetch(&mut peer, &get(&content(2, 10)).into());
    assert!(refused.is_err());
    for (name, value) in [
        ("online", 1),
        ("lines", 1),
        ("files", 1),
        ("files_lost", 0),
        ("held_bytes", 5000),
        ("received_total", 1),
        ("sent_total", 1),
        ("refused_total", 1),
    ] {
        wait_for(&kept.server, &format!("tfd_holder_{name}"), value);
    }
    expect_named(&kept.server, "tfd_holder_");
    assert_eq!(figures(&kept.server, "holder")["files"], 1);
}

#[test]
fn check_names_what_keeps_a_hub_from_storing() {
    let Some(mut server) = server("") else { return };
    let fine = check(&server);
    assert!(fine.contains("configuration ok: hub "), "{fine}");
    server.signal(nix::sys::signal::Signal::SIGTERM);
    server.wait_for_end();
    let store = server.data().join("store");
    let database = store.join("hub.db");
    let before = fs::read(&database).expect("database");
    // It is opened as its user, and nothing is left that the user can't use.
    assert!(check(&server).contains("configuration ok"));
    for entry in fs::read_dir(&store).expect("store") {
        let entry = entry.expect("entry").metadata().expect("metadata");
        let own = fs::metadata(&store).expect("store");
        assert_eq!(entry.uid(), own.uid());
    }
    let named = |server: &Hub, text: &str| {
        let said = check(server);
        assert!(said.contains("tfd would not start"), "{said}");
        assert!(said.contains(text), "{text}: {said}");
    };
    fs::write(&database, "no database").expect("write");
    named(&server, "hub.db: can't be opened");
    fs::write(&database, before).expect("write");
    let config = fs::read_to_string(server.config_path()).expect("configuration");
    let other = config.replace(HUB, "other.example.org");
    fs::write(server.config_path(), other).expect("configuration");
    named(&server, "of another hub or version");
    fs::write(server.config_path(), &config).expect("configuration");
    chown(&store, Some(0), Some(0)).expect("chown");
    named(&server, "hub.data: ");
    fs::remove_dir_all(server.data()).expect("remove");
    fs::write(server.data(), "a file").expect("write");
    named(&server, "not a directory");
}

/// What `tfd check` says of a keeper's store.
fn check_of_store(store: &Path) -> Option<String> {
    let mut server = server("")?;
    let mut config = fs::read_to_string(server.config_path()).expect("configuration");
    let key = server.data().with_file_name("holder.key");
    fs::write(&key, keeper_of(&server, "bob").1).expect("key file");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("mode");
    config.push_str(&format!(
        "[holder]\nlisten = [\"127.0.0.2:0\"]\nkey = \"{}\"\nstore = \"{}\"\nuser = \"mail\"\n\
         share = \"100G\"\n",
        key.display(),
        store.display()
    ));
    fs::write(server.config_path(), config).expect("configuration");
    let said = check(&server);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    server.wait_for_end();
    Some(said)
}

#[test]
fn check_warns_of_a_store_that_is_full_too_small_or_on_the_disk_of_the_system() {
    let Some(disk) = SmallDisk::mount(20) else {
        return;
    };
    let store = disk.path().join("kept");
    let Some(said) = check_of_store(&store) else {
        return;
    };
    assert!(
        said.contains("holder.share: 100G is more than the disk"),
        "{said}"
    );
    assert!(!said.contains("the disk is full"), "{said}");
    fs::write(disk.path().join("big"), vec![7; 10 << 20]).expect("write");
    let said = check_of_store(&store).expect("root");
    assert!(said.contains("the disk is full"), "{said}");
    assert!(said.contains("configuration ok"), "{said}");
    let on_root = Path::new("/var/tmp/tfd-kept-of-a-test");
    let said = check_of_store(on_root).expect("root");
    assert!(said.contains("on the file system of /"), "{said}");
}
