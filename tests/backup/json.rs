//! What `--json` prints.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::desk::Desk;
use crate::schema::{fits, schema, types};

#[test]
fn each_command_prints_lines_of_its_schema() {
    let schema = schema("tf-backup.schema.json");
    let desk = Desk::new();
    fs::create_dir(desk.path("source")).expect("directory");
    fs::write(desk.path("source/letter.txt"), "dear all").expect("file");
    fs::write(desk.path("letter"), "dear all").expect("file");
    let mut seen = BTreeSet::new();
    for arguments in [
        "backup init --no-passphrase --phrase-file phrase --keeper one",
        "backup add-keeper two",
        "backup source --tag first",
        "backup source",
        "backup --every week source",
        "tag --add second latest",
        "rewrite --exclude nothing --dry-run",
        "backup letter",
        "diff latest~1 latest",
        "stats",
        "snapshots",
        "backup ls",
        "backup find *.txt",
        "restore latest --target back",
        "check --read-data",
        "forget --keep-last 1 --prune --yes",
        "prune",
        "repair index",
        "repair snapshots",
        "backup export plain",
        "backup remove-keeper two",
    ] {
        let words: Vec<&str> = arguments.split(' ').collect();
        let printed = desk.fine(&[&["--json"], &words[..]].concat());
        assert!(!printed.is_empty(), "{arguments}");
        for line in printed.lines() {
            let value: Value = serde_json::from_str(line).expect(line);
            assert!(fits(&schema, &value), "{arguments}: {line}");
            seen.insert(value["type"].as_str().expect("type").to_owned());
        }
    }
    // What a hub has to say is looked at where there is one.
    seen.extend(["hub", "keeper", "kit", "own-keeper", "undelete"].map(str::to_owned));
    assert_eq!(seen, types(&schema));
}
