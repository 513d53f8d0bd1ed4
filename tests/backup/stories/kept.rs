//! A hub and a keeper as an earlier release has left them, in `kept/`: each release serves
//! them.

use std::os::unix::fs::chown;

use nix::unistd::User;

use super::*;
use crate::hub::pin;
use crate::kept::{KEPT, copy};

/// Gives a directory and all in it to a system user.
fn give(path: &Path, user: &str) {
    let user = User::from_name(user).expect("lookup").expect("user");
    let mut all = vec![path.to_owned()];
    while let Some(path) = all.pop() {
        chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("owner");
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("directory");
            all.extend(entries.map(|entry| entry.expect("entry").path()));
        }
    }
}

/// The hub of the release, with this one's certificate.
fn kept_hub(kept: &Path) -> Option<Hub> {
    let mut hub = hub("")?;
    hub.signal(Signal::SIGTERM);
    hub.wait_for_end();
    let store = hub.data().join("store");
    fs::remove_dir_all(&store).expect("store");
    fs::create_dir(&store).expect("store");
    fs::set_permissions(&store, fs::Permissions::from_mode(0o700)).expect("mode");
    fs::copy(kept.join("hub.db"), store.join("hub.db")).expect("database");
    give(&store, "games");
    hub.start_again();
    Some(hub)
}

/// The keeper of the release, with the key of this hub's certificate.
fn kept_keeper(kept: &Path, hub: &Hub) -> Friend {
    let desk = Desk::new();
    let store = desk.path("kept/store");
    fs::create_dir_all(&store).expect("directory");
    copy(&kept.join("files"), &store.join("files"));
    fs::copy(kept.join("stock.db"), store.join("stock.db")).expect("database");
    give(&store, KEEPS);
    for path in [desk.path("kept"), store] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("mode");
    }
    let key = fs::read_to_string(kept.join("bob.key")).expect("key");
    let mut lines: Vec<String> = key.lines().map(str::to_owned).collect();
    lines[1] = format!("hub {} {}", hub.tls_address(), peer::HUB);
    lines[2] = format!("pin {}", pin(hub));
    let to = desk.path("keeper.key");
    fs::write(&to, lines.join("\n") + "\n").expect("key");
    fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).expect("mode");
    Friend::serve("bob", desk, Different::default())
}

#[test]
fn a_hub_and_a_keeper_of_the_first_release_go_on() {
    let kept = Path::new(KEPT).join("hub-1");
    let Some(hub) = kept_hub(&kept) else {
        return;
    };
    let bob = kept_keeper(&kept, &hub);
    let anna = Desk::new();
    fs::copy(kept.join("phrase"), anna.path("phrase")).expect("phrase");
    let party = Party {
        anna,
        keepers: vec![bob],
        hub,
        factor: "1",
    };
    let machine = party.machine();
    for (snapshot, letter) in [
        ("cee4256e", "Dear all,\nthis was the first letter.\n"),
        ("d4be1906", "Dear all,\nthis is the second letter.\n"),
    ] {
        machine.fine(&["restore", snapshot, "--target", snapshot]);
        let path = machine.path(snapshot).join("tmp/fx/src/home/anna");
        let restored = fs::read_to_string(path.join("doc/letter.txt"));
        assert_eq!(restored.expect("file"), letter);
        let numbers = fs::read_to_string(path.join("numbers")).expect("file");
        assert!(numbers.lines().eq((1..=200).map(|it| it.to_string())));
    }
    machine.fine(&["check", "--read-data"]);
    machine.fine(&["backup", &machine.text("cee4256e")]);
    assert_eq!(machine.fine(&["snapshots"]).lines().count(), 3);
    assert_eq!(party.keepers[0].files("s").len(), 3);
}
