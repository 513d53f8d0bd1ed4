//! LOCK: one rule for every command that knows code 30.

use crate::common::Server;

#[test]
fn lock_names_have_no_dot_and_no_slash() {
    let server = Server::start();
    let mut client = server.connect();
    client.expect_all(&[
        ("LOCK LCK", 0),
        ("LOCK a.b", 28),
        ("LOCK a/b", 28),
        ("LOCK ", 0),
        ("LOCK", 0),
    ]);
    server.write("LCK", "");
    for refused in ["LOCK a.b", "LOCK a/b", "LOCK ."] {
        client.expect_all(&[("LOCK LCK", 0), (refused, 28), ("MKDIR a", 30), ("LOCK", 0)]);
    }
}

#[test]
fn nothing_is_done_in_a_locked_directory_but_deleting_the_lock() {
    let server = Server::start();
    server.write("d/LCK", "");
    server.write("d/f", "F");
    server.write("d/sub/g", "G");
    server.write("free/f", "F");
    let mut client = server.connect();
    client.expect("LOCK LCK", 0);
    for request in [
        "MKDIR d/new",
        "DEL d/f",
        "RMDIR d",
        "RMDIR d/sub",
        "COPY d/f | free/c",
        "COPY free/f | d/c",
        "TOUCH d/new",
        "FSTAT d/f",
        "FUPD d/f",
        "FSTAT d/sub",
        "CPDIR d | free/c",
        "CPDIR free | d/c",
        "XCOPY c d/f | free",
        "XDEL d f",
        "XRMDIR d sub",
        "XCPDIR c d | free",
        "SNDFILE 1 d/f",
        "RCVFILE 0 d/f",
        "LS d",
        "LSR d",
        "RENAM d/f | free/g",
        "RENAM free/f | d/g",
        "RMSECDIR f | d",
    ] {
        client.expect(request, 30);
    }
    client.expect_all(&[
        ("XCOPY c free/f | d", 0),
        ("XDEL  f", 0),
        ("CHMOD d/f 600", 0),
        ("MKDIR free/new", 0),
    ]);
    assert!(!server.exists("d/c") && server.exists("d/f") && !server.exists("free/f"));
    assert_eq!(client.list("LS d/sub"), ["F: g"]);
    let mut other = server.connect();
    assert_eq!(other.list("LS d").len(), 3);
    client.expect_all(&[("DEL d/xLCK", 30), ("DEL d/LCK", 0), ("DEL d/f", 0)]);
}

#[test]
fn locking_can_be_switched_off() {
    let server = Server::start();
    server.write("LCK", "");
    let mut client = server.connect();
    client.expect_all(&[
        ("LOCK LCK", 0),
        ("MKDIR a", 30),
        ("LOCK ", 0),
        ("MKDIR a", 0),
    ]);
}
