//! Backups to the keepers of a hub.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openssl::x509::X509;
use tfd::net::tls::certificate::fingerprint;

use crate::desk::{Desk, noise, seen, wait_until};
use crate::keeper::Keeper;
use crate::peer::{self, Hub};
use crate::schema::{fits, schema};

pub fn pin(hub: &Hub) -> String {
    let pem = fs::read(hub.certificate()).expect("certificate");
    let certificate = X509::from_pem(&pem).expect("PEM").to_der().expect("DER");
    format!("SHA256:{}", fingerprint(&certificate).expect("key"))
}

/// What names an account.
pub fn place(hub: &Hub, factor: &str) -> Vec<String> {
    let address = hub.tls_address().to_string();
    let pin = pin(hub);
    let words = [
        &address,
        "--user",
        "anna",
        "--pin",
        &pin,
        "--factor",
        factor,
        "--no-passphrase",
        "--phrase-file",
    ];
    words.map(str::to_owned).to_vec()
}

pub fn with<'a>(words: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    words
        .iter()
        .copied()
        .chain(more.iter().map(String::as_str))
        .collect()
}

/// A machine of anna's, who has just joined.
fn joined(hub: &Hub, factor: &str) -> Desk {
    let desk = Desk::new();
    let code = hub.add("anna");
    let mut place = place(hub, factor);
    place.push(desk.text("phrase"));
    desk.fine(&with(&["hub", "join", "--code", &code], &place));
    fill(&desk.path("source"));
    desk
}

/// A hub, a machine of anna's, who has just joined, and these keepers; `None` without root.
fn friends<const N: usize>(
    factor: &str,
    keepers: [&'static str; N],
) -> Option<(Hub, Desk, [Keeper; N])> {
    let hub = peer::server("")?;
    let desk = joined(&hub, factor);
    let keepers = keepers.map(|name| Keeper::join(&hub, name, &desk.path(name)));
    Some((hub, desk, keepers))
}

/// An empty machine that has the phrase.
fn recovered(hub: &Hub, from: &Desk, factor: &str) -> Desk {
    let desk = Desk::new();
    let mut place = place(hub, factor);
    place.push(from.text("phrase"));
    desk.fine(&with(&["hub", "recover"], &place));
    desk
}

pub fn fill(source: &Path) {
    fs::create_dir_all(source.join("deep/er")).expect("directory");
    fs::write(source.join("letter"), "dear all").expect("file");
    fs::write(source.join("deep/noise"), noise(1, 3 << 20)).expect("file");
    for number in 0..50 {
        let name = source.join(format!("deep/er/{number}"));
        fs::write(name, noise(number, 2000)).expect("file");
    }
}

fn is_restored(desk: &Desk, original: &Desk) {
    desk.fine(&["restore", "latest", "--target", "back"]);
    let back = original.path("source").canonicalize().expect("path");
    let back = desk
        .path("back")
        .join(back.strip_prefix("/").expect("path"));
    assert!(seen(&back) == seen(&original.path("source")));
}

#[test]
fn an_empty_machine_restores_from_the_phrase_and_the_hub() {
    let Some((hub, desk, [_bob])) = friends("1", ["bob"]) else {
        return;
    };
    desk.fine(&["backup", "source", "--tag", "first"]);
    let again = desk.json(&["backup", "source"]);
    assert_eq!((&again["new"], &again["changed"]), (&0.into(), &0.into()));
    assert_eq!(desk.fine(&["snapshots"]).lines().count(), 2);
    let other = recovered(&hub, &desk, "1");
    assert_eq!(other.fine(&["snapshots"]).lines().count(), 2);
    is_restored(&other, &desk);
    let letter = format!(
        "latest:{}",
        desk.path("source")
            .canonicalize()
            .expect("path")
            .join("letter")
            .display()
    );
    assert_eq!(other.fine(&["dump", &letter]), "dear all");
    let found = other.fine(&["backup", "find", "noise"]);
    assert_eq!(found.lines().count(), 2, "{found}");
    let standing = other.json(&["hub", "status"]);
    assert!(
        fits(&schema("tf-backup.schema.json"), &standing),
        "{standing}"
    );
    assert_eq!(standing["user"], "anna");
    assert!(standing["bytes"].as_u64() > Some(3 << 20), "{standing}");
    other.fine(&["check", "--read-data"]);
}

#[test]
fn one_keeper_of_two_is_enough_to_restore() {
    let Some((hub, desk, [bob, carol])) = friends("2", ["bob", "carol"]) else {
        return;
    };
    desk.fine(&["backup", "source"]);
    let names = |keeper: &Keeper| -> Vec<_> {
        let files = keeper.files();
        files
            .iter()
            .map(|it| it.file_name().expect("name").to_owned())
            .collect()
    };
    assert_eq!(names(&bob), names(&carol));
    bob.die();
    is_restored(&recovered(&hub, &desk, "2"), &desk);
    // With fewer keepers than copies a backup is one of fewer copies.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    fs::write(desk.path("source/new"), noise(77, 5000)).expect("file");
    let (_, err) = desk.ends(4, &["backup", "source"]);
    assert!(err.contains("1 of 2"), "{err}");
    assert!(std::time::Instant::now() < end);
    is_restored(&recovered(&hub, &desk, "2"), &desk);
}

#[test]
fn a_damaged_copy_is_not_restored_and_the_next_one_is() {
    let Some((hub, desk, [bob, _carol])) = friends("2", ["bob", "carol"]) else {
        return;
    };
    desk.fine(&["backup", "source"]);
    for file in bob.files() {
        let mut bytes = fs::read(&file).expect("file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).expect("file");
    }
    is_restored(&recovered(&hub, &desk, "2"), &desk);
    desk.fine(&["check", "--read-data"]);
}

#[test]
fn a_keeper_that_signs_for_what_it_has_not_is_passed_over() {
    let Some((hub, desk, [bob, _carol])) = friends("2", ["bob", "carol"]) else {
        return;
    };
    desk.fine(&["backup", "source"]);
    // Who has files gets the next ones, too.
    let _dave = Keeper::join(&hub, "dave", &desk.path("dave"));
    bob.lie();
    fs::write(desk.path("source/new"), noise(78, 5000)).expect("file");
    let (_, err) = desk.ends(0, &["backup", "source"]);
    assert!(err.contains("keeper bob: does not store: corrupt"), "{err}");
    is_restored(&recovered(&hub, &desk, "2"), &desk);
}

#[test]
fn a_backup_reads_back_from_each_keeper_and_reports_what_is_damaged() {
    let Some((hub, desk, [bob, _carol])) = friends("2", ["bob", "carol"]) else {
        return;
    };
    desk.fine(&["backup", "source"]);
    let damage = || {
        for file in bob.files() {
            let mut bytes = fs::read(&file).expect("file");
            bytes.iter_mut().for_each(|byte| *byte ^= 1);
            fs::write(&file, bytes).expect("file");
        }
    };
    let files = bob.files().len();
    damage();
    fs::write(desk.path("source/new"), noise(78, 5000)).expect("file");
    let (_, err) = desk.ends(0, &["backup", "source"]);
    assert!(
        err.contains("keeper bob") && err.contains("is damaged there"),
        "{err}"
    );
    // What a check finds is every bad copy that the hub still counts.
    let checked = desk.command(&["--json", "check", "--read-data"]).output();
    let checked = checked.expect("tf-backup");
    assert!(checked.status.success(), "{checked:?}");
    let checked: serde_json::Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    assert!(
        checked["replaced"].as_u64() >= Some(files as u64 - 3),
        "{checked}"
    );
    is_restored(&recovered(&hub, &desk, "2"), &desk);
}

#[test]
fn of_a_pack_that_is_wanted_the_whole_comes_once() {
    let Some((hub, desk, [bob])) = friends("1", ["bob"]) else {
        return;
    };
    for number in 0..300 {
        let name = desk.path(&format!("source/small-{number}"));
        fs::write(name, noise(number, 3000)).expect("file");
    }
    desk.fine(&["backup", "source"]);
    let machine = recovered(&hub, &desk, "1");
    let before = bob.asked();
    is_restored(&machine, &desk);
    let asked = bob.asked() - before;
    assert!(asked < 60, "{asked} requests for 350 files");
}

#[test]
fn each_command_shows_the_warnings_of_the_hub_once() {
    let Some(hub) = peer::server("warn_after = 1") else {
        return;
    };
    let desk = joined(&hub, "2");
    let bob = Keeper::join(&hub, "bob", &desk.path("bob"));
    let _carol = Keeper::join(&hub, "carol", &desk.path("carol"));
    desk.fine(&["backup", "source"]);
    bob.die();
    let commands = [
        &["hub", "status"][..],
        &["hub", "kit"],
        &["snapshots"],
        &["stats"],
    ];
    for command in commands {
        let mut warnings = 0;
        wait_until("the hub warns", || {
            let (_, err) = desk.ends(0, command);
            warnings = err.matches("keeper bob: the hub says: gone").count();
            warnings > 0
        });
        assert_eq!(warnings, 1, "{command:?}");
    }
}

#[test]
fn what_is_forgotten_and_pruned_is_removed_at_the_keepers() {
    let Some((hub, desk, [bob])) = friends("1", ["bob"]) else {
        return;
    };
    desk.fine(&["backup", "source"]);
    fs::remove_file(desk.path("source/deep/noise")).expect("remove");
    fs::write(desk.path("source/other"), noise(5, 1 << 20)).expect("file");
    desk.fine(&["backup", "source"]);
    let size = || -> u64 {
        let files = bob.files();
        let sizes = files
            .iter()
            .map(|it| fs::metadata(it).map_or(0, |it| it.len()));
        sizes.sum()
    };
    assert!(size() > 4 << 20);
    desk.fine(&["forget", "--keep-last", "1", "--prune"]);
    wait_until("what nobody needs is gone", || size() < 2 << 20);
    is_restored(&recovered(&hub, &desk, "1"), &desk);
}

#[test]
fn without_its_hub_a_command_says_so_and_keys_are_compared() {
    let Some((hub, desk, [])) = friends("1", []) else {
        return;
    };
    let (_, err) = desk.ends(1, &["backup", "source"]);
    assert!(err.contains("no keeper is online"), "{err}");
    let other = Desk::new();
    let mut words = place(&hub, "1");
    words[4] = words[4].replace("SHA256:", "SHA256:A");
    words.push(desk.text("phrase"));
    let (_, err) = other.ends(12, &with(&["hub", "recover"], &words));
    assert!(err.contains("not the hub"), "{err}");
    drop(hub);
    desk.ends(5, &["snapshots"]);
    desk.ends(5, &["backup", "source"]);
}

#[test]
fn when_the_hub_is_gone_keepers_and_the_phrase_are_enough() {
    let Some((hub, desk, [bob, carol])) = friends("2", ["bob", "carol"]) else {
        return;
    };
    desk.fine(&["backup", "source"]);
    let mut words = place(&hub, "2");
    words.push(desk.text("phrase"));
    drop(hub);
    // What one has lost or damaged, the other has.
    let mut files = bob.files();
    let size = |file: &PathBuf| fs::metadata(file).expect("file").len();
    files.sort_by_key(size);
    fs::remove_file(files.pop().expect("file")).expect("remove");
    let damaged = files.pop().expect("file");
    let len = size(&damaged) as usize;
    fs::write(&damaged, noise(9, len)).expect("file");
    let keepers = [
        "--from-keeper",
        &bob.address,
        "--from-keeper",
        &carol.address,
    ];
    let other = Desk::new();
    other.fine(&with(&[&keepers[..], &["hub", "recover"]].concat(), &words));
    let listed = other.fine(&[&keepers[..], &["snapshots"]].concat());
    assert_eq!(listed.lines().count(), 1, "{listed}");
    other.fine(&[&keepers[..], &["restore", "latest", "--target", "back"]].concat());
    let back = desk.path("source").canonicalize().expect("path");
    let back = other
        .path("back")
        .join(back.strip_prefix("/").expect("path"));
    assert!(seen(&back) == seen(&desk.path("source")));
    let (_, err) = desk.ends(1, &[&keepers[..], &["backup", "source"]].concat());
    assert!(err.contains("only give back"), "{err}");
    let nobody = ["--from-keeper", "dave@127.0.0.1:1", "snapshots"];
    desk.ends(5, &nobody);
}

/// A way to an address, whose first lines that have sent so many bytes are cut.
fn cutting(to: SocketAddr, lines: usize, behind: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address");
    let left = Arc::new(AtomicUsize::new(lines));
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let near = near.expect("accept");
            let far = TcpStream::connect(to).expect("connect");
            let left = Arc::clone(&left);
            let clone = |socket: &TcpStream| socket.try_clone().expect("socket");
            let (mut back, mut home) = (clone(&far), clone(&near));
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut back, &mut home);
                let _ = home.shutdown(Shutdown::Both);
            });
            std::thread::spawn(move || pass(near, far, &left, behind));
        }
    });
    address
}

fn pass(mut near: TcpStream, mut far: TcpStream, left: &AtomicUsize, behind: usize) {
    let (mut piece, mut passed) = ([0; 4096], 0);
    while let Ok(len @ 1..) = near.read(&mut piece) {
        passed += len;
        let one_less = |left: usize| left.checked_sub(1);
        if passed > behind
            && left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                .is_ok()
        {
            break;
        }
        if far.write_all(&piece[..len]).is_err() {
            break;
        }
    }
    let _ = near.shutdown(Shutdown::Both);
    let _ = far.shutdown(Shutdown::Both);
}

#[test]
fn a_run_goes_on_over_hub_lines_that_are_cut() {
    let Some(hub) = peer::server("") else {
        return;
    };
    let desk = Desk::new();
    let code = hub.add("anna");
    let mut words = place(&hub, "1");
    words[0] = cutting(hub.tls_address(), 2, 3500).to_string();
    words.push(desk.text("phrase"));
    desk.fine(&with(&["hub", "join", "--code", &code], &words));
    fill(&desk.path("source"));
    // Packs enough for a long talk.
    fs::write(desk.path("source/large"), noise(3, 120 << 20)).expect("file");
    let _bob = Keeper::join(&hub, "bob", &desk.path("bob"));
    desk.fine(&["backup", "source"]);
    is_restored(&recovered(&hub, &desk, "1"), &desk);
}

#[test]
fn who_may_only_add_is_refused_before_anything_changes() {
    let Some(hub) = peer::server("") else {
        return;
    };
    let (code, is_well) = hub.operate(&["user", "add", "anna", "--append-only"]);
    assert!(is_well, "{code}");
    let desk = Desk::new();
    let mut words = place(&hub, "1");
    words.push(desk.text("phrase"));
    desk.fine(&with(&["hub", "join", "--code", code.trim()], &words));
    fill(&desk.path("source"));
    let bob = Keeper::join(&hub, "bob", &desk.path("bob"));
    desk.fine(&["backup", "source"]);
    let before = (bob.files(), desk.fine(&["snapshots"]));
    for command in [
        &["rewrite", "--exclude", "letter", "--forget"][..],
        &["tag", "--add", "first", "latest"],
        &["forget", "latest", "--yes"],
        &["prune"],
    ] {
        let (_, err) = desk.ends(1, command);
        assert!(err.contains("lets this user add and not remove"), "{err}");
        assert_eq!((bob.files(), desk.fine(&["snapshots"])), before);
    }
    desk.fine(&["rewrite", "--exclude", "letter"]);
    assert_eq!(desk.fine(&["snapshots"]).lines().count(), 2);
    assert_eq!(desk.fine(&["backup", "find", "letter"]).lines().count(), 1);
}
