//! Four friends, each of whom keeps the backups of the others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// All that a keeper may have.
const KINDS: [&str; 5] = ["d", "i", "s", "c", "b"];

/// A friend's files come back on a machine that has none.
#[track_caller]
fn expect_restored(hub: &Hub, friend: &Friend) {
    let machine = Desk::new();
    let mut words = place(hub, "2");
    words[2] = friend.name.to_owned();
    words.push(friend.desk.text("phrase"));
    machine.fine(&with(&["hub", "recover"], &words));
    machine.fine(&["restore", "latest", "--target", "back"]);
    let back = machine.restored_from("back", &friend.desk, "source");
    assert!(
        seen(&back) == seen(&friend.desk.path("source")),
        "{}",
        friend.name
    );
}

/// The names of all that a friend keeps.
fn kept(friend: &Friend) -> BTreeSet<String> {
    let files = KINDS.iter().flat_map(|kind| friend.files(kind));
    let name = |path: PathBuf| path.file_name().expect("name").display().to_string();
    files.map(name).collect()
}

/// At how many of these each file is that one of them has.
fn copies(friends: &[Friend]) -> BTreeMap<String, usize> {
    let mut copies = BTreeMap::new();
    for name in friends.iter().flat_map(kept) {
        *copies.entry(name).or_default() += 1;
    }
    copies
}

/// Whether two copies of each file of an owner at these count for the hub.
fn count(hub: &Hub, owner: &str, friends: &[Friend]) -> bool {
    let (table, is_well) = hub.operate(&["files", owner]);
    assert!(is_well, "{table}");
    let is_at = |row: &str, friend: &Friend| row.contains(&format!("{}:live", friend.name));
    let mut rows = table.lines().filter(|row| row.contains(":live")).peekable();
    assert!(rows.peek().is_some(), "{table}");
    rows.all(|row| friends.iter().filter(|it| is_at(row, it)).count() >= 2)
}

#[test]
fn four_friends_lose_a_disk_and_two_machines_and_no_backup() {
    let Some(hub) = hub("") else { return };
    let names = ["anna", "bob", "carol", "dave"];
    let mut friends = names.map(|name| Friend::join(&hub, name, Different::default()));
    for (number, friend) in (0..).zip(&friends) {
        fill(&friend.desk.path("source"));
        let own = friend.desk.path("source/own");
        fs::write(own, noise(1000 + number, 1 << 20)).expect("file");
        friend.desk.fine(&["backup", "source"]);
    }
    let all = copies(&friends);
    assert!(all.values().all(|copies| *copies >= 2), "{all:?}");
    // The hub draws the keepers: whoever got most loses the most.
    friends.sort_by_key(|friend| Reverse(kept(friend).len()));
    let before = kept(&friends[0]);
    assert!(!before.is_empty());
    friends[0].kill();
    fs::remove_dir_all(&friends[0].store).expect("remove");
    for friend in &friends {
        expect_restored(&hub, friend);
    }
    // No owner runs from here on until the copies are there.
    friends[0].start_again();
    wait_until("the keeper has again what it had", || {
        kept(&friends[0]) == before
    });
    friends[1].kill();
    let (text, is_well) = hub.operate(&["heal", friends[1].name]);
    assert!(is_well, "{text}");
    friends.swap(1, 3);
    wait_until("all is at two of the three others", || {
        let copies = copies(&friends[..3]);
        all.keys()
            .all(|name| copies.get(name).is_some_and(|copies| *copies >= 2))
    });
    wait_until("the hub has had them compared", || {
        names.iter().all(|owner| count(&hub, owner, &friends[..3]))
    });
    friends[2].kill();
    for friend in &friends {
        expect_restored(&hub, friend);
    }
}
