//! A system clock that jumps by a day, either way: a library of our own stands
//! between tfd and the clock.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::common::{Client, Server, Setup, account, is_root, reply_for};

const DAY: i64 = 86_400;

/// The library, built with the C compiler that Rust itself needs.
fn library(dir: &Path) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/clock.c");
    let library = dir.join("clock.so");
    let mut cc = Command::new("cc");
    let built = cc
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source)
        .status();
    assert!(built.expect("cc").success(), "clock.c");
    library
}

fn date(client: &mut Client) -> i64 {
    let reply = client.ask("DATE");
    reply
        .strip_prefix("OK ")
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| panic!("{reply}"))
}

#[test]
fn a_clock_that_jumps_ends_no_session_and_lengthens_no_block() {
    if !is_root() {
        println!("left out: logging in needs root");
        return;
    }
    let scratch = tempfile::tempdir().expect("directory");
    let path = scratch.path().join("offset");
    let offset = File::create(&path).expect("create");
    let set = |seconds: i64| {
        offset
            .write_all_at(&seconds.to_ne_bytes(), 0)
            .expect("write");
    };
    set(0);
    // A list of paths of libraries ends at a blank, one of directories does not.
    let library = library(scratch.path());
    let environment = vec![
        ("LD_LIBRARY_PATH", scratch.path().display().to_string()),
        (
            "LD_PRELOAD",
            library.file_name().expect("name").display().to_string(),
        ),
        ("TFD_TEST_CLOCK", path.display().to_string()),
    ];
    let server = Server::with(Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"\nlogin_failures = 1\nlogin_block = 8\n\
             idle_timeout = 120\nhandshake_timeout = 120\n"
            .to_owned(),
        users: account("ann", "a", "nobody:::") + &account("bob", "b", "nobody:::"),
        program: Some((env!("CARGO_BIN_EXE_tfd").into(), environment)),
        ..Setup::default()
    });
    let mut inside = server.connect();
    inside.expect("LOGIN ann a", 0);
    let today = date(&mut inside);
    let mut waiting = server.connect();
    for jump in [DAY, -DAY, 0] {
        set(jump);
        assert!(
            (date(&mut inside) - today - jump).abs() < 60,
            "the library is not in between"
        );
        inside.send_file("f", true, b"new");
        assert!(waiting.ask("PROCKEY").starts_with("OK /"));
    }
    set(DAY);
    let mut guess = server.connect();
    guess.expect("LOGIN bob wrong", 37);
    set(-DAY);
    let refused = server.connect().ask("LOGIN bob b");
    let blocked = format!("{} Reason: blocked until 2", reply_for(37));
    assert!(
        refused.starts_with(&blocked),
        "the block is forgotten: {refused}"
    );
    std::thread::sleep(Duration::from_millis(8100));
    server.connect().expect("LOGIN bob b", 0);
    waiting.expect("LOGIN ann a", 0);
    inside.expect_alive();
}
