//! Accounts that may only add, or only read.

use crate::common::{Server, Setup, account, is_root};
use crate::desk::{Desk, content, tree};

#[test]
fn an_account_that_may_only_add_gets_whole_files_there_and_replaces_none() {
    if !is_root() {
        println!("left out: taking identities needs root");
        return;
    }
    let users = account("backup", "b", "nobody::append-only:")
        + &account("reader", "r", "nobody::read-only:");
    let server = "mode = \"multi-user\"\nusers = \"users\"".to_owned();
    let desk = Desk::at(Server::with(Setup {
        server,
        users,
        ..Setup::default()
    }));
    desk.write("password", "b");
    desk.write("reading", "r");
    for (name, len) in [("t/a", 0), ("t/b", 5_000), ("t/c", 6_000_000)] {
        desk.write(name, content(len, len as u64));
    }
    let login = ["--user", "backup", "--password-file", "password"];
    let with = |arguments: &[&str]| desk.tf(&[&login[..], arguments].concat());
    let run = with(&["put", "-r", "t"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(tree(&desk.server.path("t")) == tree(&desk.path("t")));
    // A file has its mode and time, so nothing is said of them; nor if it fails.
    let run = with(&["put", "t/b", "single"]);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{}", run.out);
    let run = with(&["put", "t/c", "single"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert_eq!(run.err, "tf: single: exists already\n");
    let before = tree(&desk.server.path("t"));
    desk.write("t/b", "other");
    desk.write("t/d", "new");
    let run = with(&["put", "-r", "t"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("t/b: exists already"), "{}", run.err);
    let after = tree(&desk.server.path("t"));
    assert_eq!(after.len(), before.len() + 1);
    assert!(before.iter().all(|entry| after.contains(entry)));

    let login = ["--user", "reader", "--password-file", "reading"];
    let with = |arguments: &[&str]| desk.tf(&[&login[..], arguments].concat());
    let run = with(&["put", "t/d", "e"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("e: permission denied\n"), "{}", run.err);
    let run = with(&["get", "-r", "t", "back"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
}
