//! Who may link a file, and what becomes of devices.

use std::fs;

use serde_json::Value;

use super::*;
use crate::common::schema::{fits, schema};
use crate::peer::code;

#[test]
fn who_does_not_know_the_password_gets_nothing_and_the_cause_is_said() {
    let Some(devices) = Devices::new("new_device = \"operator\"\n", 3) else {
        return;
    };
    devices.people.iter().for_each(made);
    let sheet = devices.link(0, BOTH, &["--new", "--sheet", "sheet"]);
    assert!(!sheet.contains("Account secret"), "{sheet}");
    let fails = |at: usize, secrets: &str, more: &[&str], code: i32, words: &str| {
        let run = devices.try_to_link(at, secrets, more);
        assert_eq!(run.code, Some(code), "{}{}", run.out, run.err);
        assert!(run.err.contains(words), "{}", run.err);
    };
    fails(1, "wrong\nmaster\n", &[], 4, "wrong password or key file");
    fails(
        1,
        "of the file\nwrong\n",
        &[],
        4,
        "login refused: wrong name or password",
    );
    fails(1, "of the file\nx\n", &["--new"], 4, "the name is taken");
    fails(0, BOTH, &[], 2, "linked with ann at");
    // A device that is new needs a code, which the operator has.
    fails(1, BOTH, &[], 4, "the server wants a code");
    let given = code(&devices.server, "ann");
    devices.link(1, &format!("{BOTH}{given}\n"), &[]);
    // Or the account's secret, from the sheet.
    let text = fs::read_to_string(devices.people[0].path("sheet")).expect("sheet");
    let secret = text.lines().nth(2).expect("secret").trim();
    fails(
        2,
        "of the file\nAAAA\n",
        &["--recovery"],
        2,
        "has a mistake in it",
    );
    devices.link(2, &format!("{FILE}{secret}\n"), &["--recovery"]);
    devices.settle();
    // Another master password: those who are linked stay so.
    fine(
        &devices.people[0],
        "of the file\nanother master\n",
        &["passwd", "f.kdbx"],
    );
    // It seals the account secret again, and no entry.
    (0..3).for_each(|at| assert_eq!(devices.sync(at), "nothing has changed\n"));
    let listed = fine(&devices.people[1], FILE, &["--json", "devices", "f.kdbx"]);
    let schema = schema("tf-vault.schema.json");
    let lines: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    assert!(
        lines.len() == 3 && lines.iter().all(|line| fits(&schema, line)),
        "{listed}"
    );
    let other = lines
        .iter()
        .find(|line| line["this"] == false)
        .expect("another")["id"]
        .clone();
    for arguments in [
        &["--json", "status", "f.kdbx"][..],
        &["--json", "sync", "f.kdbx"],
    ] {
        let line = fine(&devices.people[1], FILE, arguments);
        assert!(
            fits(&schema, &serde_json::from_str(&line).expect("JSON")),
            "{line}"
        );
    }
    fine(
        &devices.people[1],
        FILE,
        &["unlink", "f.kdbx", other.as_str().expect("id")],
    );
    fine(&devices.people[1], FILE, &["unlink", "f.kdbx"]);
    let unlinked = vault(&devices.people[1], FILE, &["sync", "f.kdbx"]);
    assert!(
        unlinked.code == Some(1) && unlinked.err.contains("linked with no account"),
        "{}",
        unlinked.err
    );
    // The master password that was replaced opens nothing.
    fails(1, BOTH, &[], 4, "wrong name or password");
}
