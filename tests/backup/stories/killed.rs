//! Parties that are killed in the middle of a run and of a restore.

use std::os::unix::process::ExitStatusExt;
use std::process::Output;

use super::*;

/// Enough for several packs, in a directory of its own.
fn add_packs(party: &Party, first: u64) {
    let large = party.anna.path("source/large");
    fs::create_dir_all(&large).expect("directory");
    for number in first..first + 8 {
        fs::write(large.join(number.to_string()), noise(number, 8 << 20)).expect("file");
    }
}

/// Begins a backup, and waits until keepers have so many packs more.
fn under_way(party: &Party, packs: usize) -> Child {
    let count = || -> usize {
        let keepers = party.keepers.iter();
        keepers.map(|it| it.files("d").len()).sum()
    };
    let before = count();
    let run = begin(&party.anna, &["backup", "source"]);
    wait_until("packs come", || count() >= before + packs);
    run
}

#[track_caller]
fn end(run: Child) -> Output {
    run.wait_with_output().expect("end")
}

/// A party whose first snapshot has been acknowledged, and much that is to come.
fn begun(keepers: &[&'static str]) -> Option<Party> {
    let party = Party::of("2", keepers)?;
    party.anna.fine(&["backup", "source"]);
    add_packs(&party, 0);
    Some(party)
}

#[test]
fn an_owner_that_is_killed_loses_nothing_and_goes_on() {
    let Some(party) = begun(&["bob", "carol"]) else {
        return;
    };
    let mut run = under_way(&party, 2);
    run.kill().expect("kill");
    assert_eq!(end(run).status.signal(), Some(9));
    let machine = party.machine();
    assert_eq!(machine.fine(&["snapshots"]).lines().count(), 1);
    party.anna.fine(&["backup", "source"]);
    assert_eq!(machine.fine(&["snapshots"]).lines().count(), 2);
    let restore = ["restore", "latest", "--target", "back"];
    let mut cut = begin(&machine, &restore);
    wait_until("the first files are there", || {
        let mut found = Vec::new();
        walk(&machine.path("back"), &mut found);
        found.len() > 2
    });
    cut.kill().expect("kill");
    end(cut);
    machine.fine(&restore);
    party.expect_same(&machine);
}

#[test]
fn a_run_and_a_restore_go_on_when_the_hub_is_killed_and_comes_back() {
    let Some(mut party) = begun(&["bob", "carol"]) else {
        return;
    };
    let run = under_way(&party, 2);
    kill(&mut party.hub);
    party.hub.start_again();
    let output = end(run);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {said}", output.status);
    let machine = party.machine();
    let restore = begin(&machine, &["restore", "latest", "--target", "back"]);
    wait_until("it has begun", || machine.path("back").exists());
    kill(&mut party.hub);
    party.hub.start_again();
    let output = end(restore);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {said}", output.status);
    party.expect_same(&machine);
    assert_eq!(machine.fine(&["snapshots"]).lines().count(), 2);
}

#[test]
fn a_run_and_a_restore_go_on_when_a_keeper_is_killed() {
    let Some(mut party) = begun(&["bob", "carol", "dave"]) else {
        return;
    };
    let run = under_way(&party, 2);
    party.keeper("bob").kill();
    let output = end(run);
    let said = String::from_utf8_lossy(&output.stderr);
    // Two others are there for two copies.
    assert!(output.status.success(), "{:?}: {said}", output.status);
    party.expect_restored();
    party.keeper("bob").start_again();
    let machine = party.machine();
    let restore = begin(&machine, &["restore", "latest", "--target", "back"]);
    wait_until("it has begun", || machine.path("back").exists());
    party.keeper("carol").kill();
    let output = end(restore);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {said}", output.status);
    party.expect_same(&machine);
    party.keeper("carol").start_again();
    add_packs(&party, 100);
    party.anna.fine(&["backup", "source"]);
    party.expect_restored();
}
