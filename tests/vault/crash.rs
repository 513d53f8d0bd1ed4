//! Kills, a clock that jumps, a full disk: nothing that was confirmed is lost, and
//! nothing is there twice.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::common::disk::SmallDisk;
use crate::common::{Server, Setup};
use crate::peer::*;

/// The ids of a list of entries.
fn ids(synced: &str) -> Vec<String> {
    let (entries, _) = synced.split_once("deleted%eq!").expect("entries");
    let ids = entries.split('\'').filter(|text| text.len() == 88);
    ids.map(str::to_owned).collect()
}

/// A client that logs in with the device of another.
fn again(server: &Server, cookie: &str) -> Peer {
    let mut peer = Peer::new(server, Kind::G3);
    peer.cookie = cookie.to_owned();
    peer.authorize();
    let answer = peer.log_in("ann", "pass");
    assert!(answer.contains("LOGIN_SUCCESSFUL"), "{answer}");
    peer
}

#[test]
fn a_kill_between_any_two_messages_loses_nothing_confirmed_and_doubles_nothing() {
    let Some(mut server) = server("") else { return };
    let cookie = Peer::logged_in(&server, Kind::G3, "ann").cookie;
    // What is confirmed: the id and the host, or that it is gone.
    let mut confirmed: Vec<(String, String)> = Vec::new();
    for cut in 0..5 {
        let mut peer = again(&server, &cookie);
        let mut step = 0;
        let mut is_cut = |peer: &mut Peer, ask: &str| {
            peer.send(ask);
            step += 1;
            step > cut
        };
        let mut own: Option<String> = None;
        for number in 0..2 {
            let insert = format!(
                "REQINSlocal_id%eq!{number}!;host%eq!{cut}-{number}!;password%eq!p!;datetime%eq!5!;"
            );
            if is_cut(&mut peer, &insert) {
                break;
            }
            let answer = peer.receive();
            let hid = answer.split("hashed_id%eq!").nth(1).expect(&answer);
            let hid = hid.trim_end_matches("!;").to_owned();
            confirmed.push((hid.clone(), format!("{cut}-{number}")));
            own = Some(hid);
        }
        if let Some(hid) = own.filter(|_| cut >= 2) {
            let update = format!("REQUPDhid%eq!{hid}!;host%eq!new{cut}!;datetime%eq!9!;");
            // An update that is not confirmed may be there or not.
            confirmed.retain(|(known, _)| *known != hid);
            if !is_cut(&mut peer, &update) {
                peer.receive();
                confirmed.push((hid.clone(), format!("new{cut}")));
                if !is_cut(&mut peer, &format!("REQDEL{hid};")) {
                    peer.receive();
                }
                confirmed.retain(|(known, _)| *known != hid);
            }
        }
        server.signal(Signal::SIGKILL);
        server.wait_for_end();
        drop(peer);
        server.start_again();
        let mut peer = again(&server, &cookie);
        let synced = ids(&peer.sync());
        let mut unique = synced.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), synced.len(), "an id twice");
        for (hid, host) in &confirmed {
            assert!(synced.contains(hid), "{cut}: {host} is lost");
            let answer = peer.ask(&format!("REQSEL{hid};"));
            assert!(answer.contains(&format!("host%eq!{host}!;")), "{answer}");
            peer.receive();
        }
    }
}

/// The library between tfd and the clock, as in `tests/faults`.
fn library(dir: &Path) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/clock.c");
    let mut cc = Command::new("cc");
    let built = cc
        .args(["-shared", "-fPIC", "-o"])
        .arg(dir.join("clock.so"))
        .arg(source)
        .status();
    assert!(built.expect("cc").success(), "clock.c");
}

#[test]
fn a_clock_that_jumps_changes_no_entry_and_ends_no_session() {
    let scratch = tempfile::tempdir().expect("directory");
    let path = scratch.path().join("offset");
    let offset = File::create(&path).expect("create");
    let set = |seconds: i64| {
        let bytes = seconds.to_ne_bytes();
        offset.write_all_at(&bytes, 0).expect("write");
    };
    set(0);
    library(scratch.path());
    let environment = vec![
        ("LD_LIBRARY_PATH", scratch.path().display().to_string()),
        ("LD_PRELOAD", "clock.so".to_owned()),
        ("TFD_TEST_CLOCK", path.display().to_string()),
    ];
    let program = Some((env!("CARGO_BIN_EXE_tfd").into(), environment));
    let Some(server) = server_at(&std::env::temp_dir(), program) else {
        return;
    };
    let mut peer = Peer::logged_in(&server, Kind::G3, "ann");
    let mut hids = vec![peer.insert("now", 1_600_000_000)];
    let gone = peer.insert("gone", 1);
    peer.ask(&format!("REQDEL{gone};"));
    for (jump, time) in [(86_400, 5), (-86_400, 1_700_000_000), (0, 7)] {
        set(jump);
        hids.push(peer.insert("x", time));
        let ask = format!(
            "REQUPDhid%eq!{}!;host%eq!j{jump}!;datetime%eq!1700000000!;",
            hids[0]
        );
        peer.ask(&ask);
        let synced = peer.sync();
        assert_eq!(ids(&synced), hids);
        assert!(
            synced.ends_with(&format!("deleted%eq![('{gone}')]!;")),
            "{synced}"
        );
        let answer = peer.ask(&format!("REQSEL{};", hids[0]));
        assert!(answer.contains(&format!("host%eq!j{jump}!;")), "{answer}");
        peer.receive();
    }
    // A code is too old by the clock that the server has.
    let mut other = Peer::known(&server, Kind::G3);
    other.log_in("ann", "pass");
    let (given, cookie, password) = (code(&server, "ann"), other.cookie.clone(), online("pass"));
    set(3600);
    let answer = other.ask(&format!(
        "MNGCNDusername%eq!ann!;password%eq!{password}!;cookie%eq!{cookie}!;code%eq!{given}!;"
    ));
    assert_eq!(answer, error(19, "E2FA", "EXPIRED_2FA_CODE"));
}

#[test]
fn a_full_disk_is_an_error_and_what_was_confirmed_stays() {
    let Some(disk) = SmallDisk::mount(16) else {
        return;
    };
    let Some(server) = server_at(disk.path(), None) else {
        return;
    };
    let mut peer = Peer::logged_in(&server, Kind::G3, "ann");
    let hid = peer.insert("one", 1);
    let filler = disk.path().join("filler");
    let mut size = 16 << 20;
    let mut content: Vec<u8> = Vec::new();
    while size >= 4096 {
        content.resize(content.len() + size, 0);
        if fs::write(&filler, &content).is_err() {
            content.truncate(content.len() - size);
            fs::write(&filler, &content).expect("what there was room for");
            size /= 2;
        }
    }
    let large = "x".repeat(200_000);
    let insert = format!("REQINSlocal_id%eq!1!;host%eq!{large}!;password%eq!p!;datetime%eq!1!;");
    let full = error(33, "SQLX", "database or disk is full");
    assert_eq!(peer.ask(&insert), full);
    assert_eq!(ids(&peer.sync()), std::slice::from_ref(&hid));
    fs::remove_file(&filler).expect("remove");
    assert!(peer.ask(&insert).contains("INSERT"));
    assert_eq!(ids(&peer.sync()).len(), 2);
    drop(peer);
    drop(server);
}

/// What is started, in place of tfd as it is.
type Program = Option<(std::path::PathBuf, Vec<(&'static str, String)>)>;

/// A server whose vault is beneath this directory.
fn server_at(beneath: &Path, program: Program) -> Option<Vault> {
    server_made(beneath, true, |data| Setup {
        server: "control = \"control\"".to_owned(),
        tf: format!(
            "listen = []\n[vault]\nlisten = [\"127.0.0.1:0\"]\ndata = \"{}\"\nuser = \"games\"\n\
             registration = \"open\"\n",
            data.display()
        ),
        program,
        ..Setup::default()
    })
}
