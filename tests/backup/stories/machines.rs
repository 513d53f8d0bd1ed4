//! Several machines of one owner, one of them stolen.

use super::*;

#[test]
fn two_machines_back_up_at_once_while_a_third_prunes() {
    let Some(party) = Party::of("2", &["bob", "carol"]) else {
        return;
    };
    party.anna.fine(&["backup", "source"]);
    let machines = [party.machine(), party.machine(), party.machine()];
    for (number, machine) in machines.iter().enumerate() {
        fill(&machine.path("own"));
        let much = machine.path("own/much");
        fs::write(much, noise(500 + number as u64, 20 << 20)).expect("file");
    }
    let [left, right, third] = &machines;
    let host = |name| ["backup", "--host", name, "own"];
    let runs = [
        begin(left, &host("left")),
        begin(right, &host("right")),
        begin(third, &["prune", "--max-unused", "0%"]),
    ];
    for run in runs {
        let output = run.wait_with_output().expect("end");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?}: {said}", output.status);
    }
    third.fine(&["prune"]);
    let listed = third.fine(&["snapshots"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    for (machine, name) in [(left, "left"), (right, "right")] {
        let line = listed.lines().find(|line| line.contains(name));
        let id = &line.expect("its snapshot")[..8];
        third.fine(&["restore", id, "--target", name]);
        assert!(seen(&third.restored_from(name, machine, "own")) == seen(&machine.path("own")));
    }
    third.fine(&["check", "--read-data"]);
}

#[test]
fn what_a_stolen_machine_deletes_comes_back_from_the_trash() {
    let Some(party) = Party::of("2", &["bob", "carol"]) else {
        return;
    };
    party.anna.fine(&["backup", "source"]);
    let (stolen, machine) = (party.machine(), party.machine());
    let packs = party.keepers[0].files("d").len();
    stolen.fine(&["forget", "latest", "--prune", "--yes"]);
    assert_eq!(machine.fine(&["snapshots"]), "");
    wait_until("the keepers have done it", || {
        let keepers = party.keepers.iter();
        keepers
            .clone()
            .all(|it| it.files("d").is_empty() && it.trash("d").len() == packs)
    });
    let (_, err) = machine.ends(1, &["restore", "latest", "--target", "back"]);
    assert!(err.contains("no such snapshot"), "{err}");
    let back = machine.json(&["hub", "undelete"]);
    assert_eq!(back["snapshots"], 1, "{back}");
    machine.fine(&["restore", "latest", "--target", "back"]);
    party.expect_same(&machine);
    for keeper in &party.keepers {
        assert_eq!(keeper.files("d").len(), packs);
    }
    let again = machine.json(&["hub", "undelete"]);
    assert_eq!(again["files"], 0, "{again}");
    machine.fine(&["check", "--read-data"]);
}

#[test]
fn a_hub_that_takes_an_earlier_dump_lists_what_was_deleted_since() {
    let Some(mut party) = Party::of("2", &["bob", "carol"]) else {
        return;
    };
    party.anna.fine(&["backup", "source"]);
    let dump = party.hub.data().with_file_name("dump.db");
    let dump = dump.to_str().expect("UTF-8").to_owned();
    let (text, is_well) = party.hub.operate(&["dump", &dump]);
    assert!(is_well, "{text}");
    let stolen = party.machine();
    stolen.fine(&["forget", "latest", "--prune", "--yes"]);
    wait_until("the keepers have done it", || {
        party.keepers.iter().all(|it| it.files("d").is_empty())
    });
    party.hub.signal(Signal::SIGTERM);
    party.hub.wait_for_end();
    let database = party.hub.data().join("store/hub.db");
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", database.display()));
    }
    let (text, is_well) = party.hub.operate(&["restore", &dump]);
    assert!(is_well, "{text}");
    party.hub.start_again();
    for keeper in &mut party.keepers {
        keeper.server.wait_for_lines(ONLINE, 2);
    }
    // Keepers give what is in their trash.
    party.expect_restored();
}
