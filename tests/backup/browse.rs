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
fn two_snapshots_are_compared_entry_by_entry() {
    let desk = saved();
    let source = desk.path("source");
    fs::write(source.join("inner/letter.txt"), "dear some\n").expect("file");
    fs::create_dir(source.join("more")).expect("directory");
    fs::write(source.join("more/new"), "new").expect("file");
    fs::remove_file(source.join("noise")).expect("remove");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(source.join("inner"), mode).expect("mode");
    desk.fine(&["backup", &desk.text("source")]);
    let changed = desk.fine(&["diff", "latest~1", "latest"]);
    let expected = [
        ('U', "inner"),
        ('M', "inner/letter.txt"),
        ('+', "more"),
        ('+', "more/new"),
        ('-', "noise"),
    ];
    let expected = expected.map(|(sign, name)| format!("{sign} {}\n", whole(&desk, name)));
    assert_eq!(changed, expected.concat());
    let inner = whole(&desk, "inner");
    let both = [format!("latest~1:{inner}"), format!("latest:{inner}")];
    let changed = desk.fine(&["diff", &both[0], &both[1]]);
    assert_eq!(changed.lines().count(), 2, "{changed}");
    assert_eq!(desk.fine(&["diff", "latest", "latest"]), "");
}

#[test]
fn tags_come_and_go_and_the_snapshot_stays_what_it_was() {
    let desk = saved();
    desk.fine(&["backup", &desk.text("source")]);
    let first = desk.fine(&["snapshots"])[..8].to_owned();
    let added = desk.json(&["tag", "--add", "before-move", "--add", "old", &first]);
    assert_eq!(added["changed"], 1);
    let listed = desk.fine(&["snapshots"]);
    let tagged: Vec<&str> = listed.lines().filter(|it| it.contains("old")).collect();
    assert!(listed.lines().count() == 2 && tagged.len() == 1, "{listed}");
    let removed = desk.json(&["tag", "--remove", "old", "latest", "latest~1"]);
    assert_eq!(removed["changed"], 1, "one of them has it");
    let listed = desk.fine(&["snapshots"]);
    assert!(
        !listed.contains("old") && listed.contains("before-move"),
        "{listed}"
    );
    desk.fine(&["restore", "latest~1", "--target", "back"]);
    assert_eq!(
        seen(&desk.restored("back", "source")),
        seen(&desk.path("source"))
    );
    desk.ends(2, &["tag", "latest"]);
}

#[test]
fn what_is_stored_once_for_many_is_counted_once() {
    let desk = saved();
    fs::copy(desk.path("source/noise"), desk.path("source/again")).expect("copy");
    desk.fine(&["backup", &desk.text("source")]);
    let stats = desk.json(&["stats"]);
    let number = |name: &str| stats[name].as_u64().expect("number");
    assert_eq!(number("snapshots"), 2);
    assert!(number("restored") > 27 << 20, "{stats}");
    assert!((9 << 20..10 << 20).contains(&number("bytes")), "{stats}");
    assert!((9 << 20..10 << 20).contains(&number("stored")), "{stats}");
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

#[test]
fn what_should_never_have_been_saved_is_left_out_of_all_snapshots() {
    let desk = Desk::with_keepers(&["one", "two"]);
    let path = |name: &str| desk.path("source").join(name);
    fs::create_dir_all(path("deep/secret")).expect("directory");
    for (name, text) in [
        ("letter", "dear all"),
        ("deep/key.pem", "a key"),
        ("deep/secret/plan", "a plan"),
        ("deep/public", "a poem"),
    ] {
        fs::write(path(name), text).expect("file");
    }
    std::os::unix::fs::symlink("letter", path("link")).expect("link");
    let first = desk.json(&["backup", "source", "--tag", "old"]);
    fs::write(path("more"), "more").expect("file");
    desk.fine(&["backup", "source"]);
    fs::create_dir(desk.path("other")).expect("directory");
    fs::write(desk.path("other/letter"), "dear you").expect("file");
    desk.fine(&["backup", "other"]);
    let ids = || -> Vec<String> {
        let listed = desk.fine(&["--json", "snapshots"]);
        let id = |line: &str| -> String {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            line["id"].as_str().expect("id").to_owned()
        };
        listed.lines().map(id).collect()
    };
    let before = ids();
    let secret = path("deep/secret").canonicalize().expect("path");
    let words = [
        "--exclude",
        "*.pem",
        "--exclude",
        secret.to_str().expect("UTF-8"),
    ];
    let rewrite = |more: &[&str]| desk.json(&[&["rewrite"], &words[..], more].concat());
    let planned = rewrite(&["--dry-run"]);
    assert_eq!(
        planned["changed"].as_array().map(Vec::len),
        Some(2),
        "{planned}"
    );
    assert_eq!(planned["unchanged"], 1, "{planned}");
    assert_eq!(ids(), before, "nothing was made");
    let one = rewrite(&[first["snapshot"]["id"].as_str().expect("id")]);
    assert_eq!(one["changed"].as_array().map(Vec::len), Some(1), "{one}");
    let added: Vec<String> = ids();
    assert!(
        before.iter().all(|id| added.contains(id)),
        "the old ones stay"
    );
    assert_eq!(added.len(), before.len() + 1);
    assert!(desk.fine(&["snapshots"]).contains("old rewrite"));
    let all = rewrite(&["--forget"]);
    assert_eq!(all["changed"].as_array().map(Vec::len), Some(2), "{all}");
    for name in ["*.pem", "plan", "secret"] {
        assert_eq!(desk.fine(&["backup", "find", name]), "", "{name}");
    }
    for id in ids() {
        desk.fine(&["restore", &id[..8], "--target", "back"]);
    }
    let back = desk.restored("back", "source");
    fs::remove_file(path("deep/key.pem")).expect("remove");
    fs::remove_dir_all(path("deep/secret")).expect("remove");
    let (mut here, mut there) = (seen(&path("")), seen(&back));
    for tree in [&mut here, &mut there] {
        // Its time is that of the last change.
        tree.remove("deep");
    }
    assert_eq!(here, there);
    desk.fine(&["prune", "--max-unused", "0%"]);
    desk.fine(&["check", "--read-data"]);
    let again = rewrite(&["--forget"]);
    assert_eq!(
        again["changed"].as_array().map(Vec::len),
        Some(0),
        "{again}"
    );
    let (_, err) = desk.ends(1, &["rewrite", "--exclude", "a[", "latest"]);
    assert!(err.contains("--exclude a["), "{err}");
    desk.ends(2, &["rewrite", "latest"]);
}
