//! `tf vault` on files of KDBX 3.1, which keepassxc-cli makes as long as nothing in
//! them needs KDBX 4.

use std::fs;

use tfd::client::vault::database::parse_time;

use crate::common::tf::{Person, xc};
use crate::vault::{PASSWORD, exported, fine, vault};

/// The version in front of a file.
fn version(person: &Person, file: &str) -> u8 {
    fs::read(person.path(file)).expect("file")[10]
}

/// What there is in the groups of an export, with times in seconds.
fn groups(export: &str) -> Vec<String> {
    let (_, root) = export.split_once("<Root>").expect("root");
    let groups = root.split("<DeletedObjects").next().expect("groups");
    let plain = |line: &str| {
        let text = line.split(['<', '>']).nth(2).unwrap_or_default();
        match parse_time(text).filter(|_| line.contains("Time>") || line.contains("Changed>")) {
            Some(time) => line.replace(text, &time.to_string()),
            None => line.to_owned(),
        }
    };
    groups.trim().lines().map(plain).collect()
}

#[test]
fn a_file_of_version_3_is_read_and_becomes_one_of_version_4_with_equal_content() {
    let person = Person::new();
    person.write("attached", b"\x00\xff attached".repeat(1000));
    let create = ["db-create", "-p", "-t", "100", "a.kdbx"];
    xc(&person, &create, "its password\nits password\n");
    xc(&person, &["mkdir", "a.kdbx", "Mail"], PASSWORD);
    let notes = "two\\nlines <&>\"";
    let add = [
        "add", "-p", "-u", "ann", "--notes", notes, "a.kdbx", "Mail/web",
    ];
    xc(&person, &add, "its password\nse<c&r\"et \u{fc}\n");
    let attach = [
        "attachment-import",
        "a.kdbx",
        "Mail/web",
        "file.bin",
        "attached",
    ];
    xc(&person, &attach, PASSWORD);
    let edit = ["edit", "-p", "a.kdbx", "Mail/web"];
    xc(&person, &edit, "its password\nnew secret\n");
    assert_eq!(version(&person, "a.kdbx"), 3);
    let before = exported(&person, "a.kdbx");
    let whole = fs::read(person.path("a.kdbx")).expect("file");

    let get = ["get", "a.kdbx", "Mail/web"];
    assert_eq!(fine(&person, PASSWORD, &get), "new secret\n");
    let out = vault(
        &person,
        PASSWORD,
        &["get", "--attachment", "file.bin", "a.kdbx", "Mail/web"],
    );
    assert_eq!(out.code, Some(0), "{}", out.err);
    assert_eq!(
        fs::read(person.path("a.kdbx")).expect("file"),
        whole,
        "only read"
    );
    let wrong = vault(&person, "another\n", &get);
    assert!(
        wrong.code == Some(4) && wrong.err.contains("wrong password"),
        "{}",
        wrong.err
    );
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    person.write("damaged", &damaged);
    let refused = vault(&person, PASSWORD, &["ls", "damaged"]);
    assert!(
        refused.code == Some(7) && refused.err.contains("damaged"),
        "{}",
        refused.err
    );

    fine(&person, "its password\nx\n", &["add", "a.kdbx", "new"]);
    fine(&person, PASSWORD, &["rm", "--purge", "a.kdbx", "new"]);
    assert_eq!(version(&person, "a.kdbx"), 4);
    let (before, after) = (groups(&before), groups(&exported(&person, "a.kdbx")));
    // But for the recycle bin, before the end of the top group.
    assert_eq!(after[..before.len() - 1], before[..before.len() - 1]);
    let saved = person.path("out");
    let saved = saved.to_str().expect("path");
    xc(
        &person,
        &["attachment-export", "a.kdbx", "Mail/web", "file.bin", saved],
        PASSWORD,
    );
    assert_eq!(
        fs::read(saved).expect("saved"),
        fs::read(person.path("attached")).expect("attached")
    );
}
