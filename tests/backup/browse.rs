//! Looking into a backup, with this program and with restic.

use std::fs;
use std::process::Command;

use crate::desk::{Desk, noise, seen};

fn saved() -> Desk {
    let desk = Desk::with_keepers(&["one", "two"]);
    fs::create_dir_all(desk.path("source/inner")).expect("directory");
    fs::write(desk.path("source/inner/letter.txt"), "dear all\n").expect("file");
    fs::write(desk.path("source/noise"), noise(3, 9 << 20)).expect("file");
    desk.fine(&["backup", &desk.text("source")]);
    desk
}

/// The path of something in the source, as a snapshot has it.
fn whole(desk: &Desk, name: &str) -> String {
    let path = desk.path("source").canonicalize().expect("path").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn entries_are_listed_found_and_printed() {
    let desk = saved();
    let letter = whole(&desk, "inner/letter.txt");
    let listed = desk.fine(&["backup", "ls"]);
    assert!(
        listed.lines().any(|line| line.ends_with(&letter)),
        "{listed}"
    );
    let inner = format!("latest:{}", whole(&desk, "inner"));
    let listed = desk.fine(&["backup", "ls", &inner]);
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert!(listed.trim_end().ends_with(&letter), "{listed}");
    let found = desk.json(&["backup", "find", "l*.txt"]);
    assert_eq!(found["entry"]["path"], letter.as_str());
    assert_eq!(found["entry"]["size"], 9);
    assert_eq!(desk.fine(&["backup", "find", "nothing"]), "");
    let printed = desk.fine(&["dump", &format!("latest:{letter}")]);
    assert_eq!(printed, "dear all\n");
    let (_, err) = desk.ends(1, &["dump", &inner]);
    assert!(err.contains("not a file"), "{err}");
}

#[test]
fn restic_reads_what_was_exported() {
    let desk = saved();
    fs::write(desk.path("new"), "a password\n").expect("file");
    desk.fine(&["backup", "export", "plain", "--password-file", "new"]);
    if Command::new("restic").arg("version").output().is_err() {
        println!("left out: there is no restic");
        return;
    }
    let restic = |arguments: &[&str]| {
        let mut command = desk.command_of("restic", &["-r", "plain", "--password-file", "new"]);
        let output = command.args(arguments).output().expect("restic");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    restic(&["check", "--read-data"]);
    restic(&["restore", "latest", "--target", "back"]);
    assert_eq!(
        seen(&desk.restored("back", "source")),
        seen(&desk.path("source"))
    );
}
