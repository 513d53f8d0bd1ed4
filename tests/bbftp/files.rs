//! Requests that move no files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::peer::*;

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).expect("stat").mode() & 0o7777
}

#[test]
fn directories_are_made_alone_or_with_those_around_them() {
    let Some(server) = server("") else { return };
    let mut old = Peer::ann(&server, 1);
    old.expect((MKDIR, b"a"), (OK, "OK"));
    old.expect((MKDIR, b"/a/b\0"), (OK, "OK"));
    old.expect(
        (MKDIR, b"a"),
        (NO, "Error creation directory a : File exists"),
    );
    old.expect(
        (MKDIR, b"none/x"),
        (
            NO,
            "Error creation directory none/x : No such file or directory",
        ),
    );
    let mut new = Peer::ann(&server, 3);
    let make = |options, path| (MKDIR_V2, with_options(options, path));
    for (options, path, code) in [
        (0, "a", OK),
        (8, "a/b", OK),
        (0, "c/d", NO),
        (8, "c/d/e", OK),
        (0, "/", OK),
        (8, "/", OK),
    ] {
        let (request, payload) = make(options, path);
        let (answer, text) = new.ask(request, &payload);
        assert_eq!(answer, code, "{path}: {text}");
        if code == OK {
            assert_eq!(text, format!("Directory {path} created"));
        }
    }
    server.write("file", "x");
    for path in ["file", "file/x"] {
        let (request, payload) = make(8, path);
        let text = new.expect_refused((request, &payload));
        assert!(text.contains("Not a directory"), "{text}");
    }
    let (request, payload) = make(0x20, "rfio");
    let text = new.expect_refused((request, &payload));
    assert!(text.contains("RFIO not supported"), "{text}");
    assert_eq!(mode(&server.path("a")), 0o755);
    assert!(server.path("c/d/e").is_dir() && !server.exists("rfio"));
}

#[test]
fn a_umask_holds_for_what_is_made_after_it() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::ann(&server, 2);
    let umask = |mask: u32| mask.to_be_bytes();
    peer.expect(
        (CHUMASK, &umask(0o77)),
        (OK, "umask changed from 0022 to 0077"),
    );
    peer.expect(
        (MKDIR_V2, &with_options(0, "own")),
        (OK, "Directory own created"),
    );
    peer.expect(
        (CHUMASK, &umask(!0o777 | 0o22)),
        (OK, "umask changed from 0077 to 0022"),
    );
    peer.expect(
        (MKDIR_V2, &with_options(0, "all")),
        (OK, "Directory all created"),
    );
    assert_eq!(mode(&server.path("own")), 0o700);
    assert_eq!(mode(&server.path("all")), 0o755);
    for wrong in [&b""[..], b"\0\0\0", b"\0\0\0\0\0"] {
        peer.expect_refused((CHUMASK, wrong));
        peer.expect_refused((CHCOS, wrong));
    }
    peer.expect(
        (CHCOS, &(-1_i32).to_be_bytes()),
        (OK, "COS not set, RFIO is not supported"),
    );
}

#[test]
fn the_working_directory_is_below_the_root_whatever_is_asked_for() {
    let Some(server) = server("") else { return };
    fs::create_dir_all(server.path("d/e")).expect("mkdir");
    symlink("/etc", server.path("out")).expect("link");
    fs::create_dir(server.path("closed")).expect("mkdir");
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(server.path("closed"), closed).expect("mode");
    server.write("file", "x");
    let mut peer = Peer::ann(&server, 3);
    for (path, expected) in [
        ("d", "/d"),
        ("e", "/d/e"),
        ("..", "/d"),
        ("../../../..", "/"),
        ("/d//./e/", "/d/e"),
        (".", "/d/e"),
    ] {
        peer.expect((CHDIR_V2, &with_options(0, path)), (OK, expected));
    }
    for (path, why) in [
        ("/none", "No such file or directory"),
        ("/file", "Not a directory"),
        ("/out", "Permission denied"),
        ("/closed", "Permission denied"),
    ] {
        let text = peer.expect_refused((CHDIR_V2, &with_options(0, path)));
        assert_eq!(text, format!("Error changing directory {path} : {why}"));
    }
    let text = peer.expect_refused((CHDIR_V2, &with_options(0, "/jail.key")));
    assert_eq!(text, "CHDIR /jail.key : Permission denied");
    peer.expect((CHDIR_V2, &with_options(0, "..")), (OK, "/d"));
    let mut home = Peer::logged_in(&server, "cut", "pass");
    home.choose(3);
    home.expect((CHDIR_V2, &with_options(0, "..")), (OK, "/"));
    let text = home.expect_refused((STAT, &with_options(0, "/../d")));
    assert!(
        text.contains("No such file"),
        "its root is its home: {text}"
    );
}

/// The names of LIST.
fn names(peer: &mut Peer, pattern: &str) -> Vec<String> {
    peer.send(LIST, pattern.as_bytes());
    let (code, payload) = peer.receive();
    assert_eq!(code, LIST_REPL, "{pattern}");
    let text = String::from_utf8(payload).expect("UTF-8");
    let names = text.split_terminator('\0');
    names.map(str::to_owned).collect()
}

/// The entries of LIST_V2, sorted.
fn entries(peer: &mut Peer, pattern: &str) -> Vec<String> {
    peer.send(LIST_V2, &with_options(0, pattern));
    let (code, payload) = peer.receive();
    assert_eq!(code, LIST_REPL_V2, "{pattern}");
    let text = String::from_utf8(payload).expect("UTF-8");
    let fields: Vec<&str> = text.split_terminator('\0').collect();
    let (pairs, odd) = fields.as_chunks::<2>();
    assert!(odd.is_empty(), "{fields:?}");
    let mut entries: Vec<String> = pairs.iter().map(|pair| pair.join(" ")).collect();
    entries.sort();
    entries
}

fn tree(server: &crate::common::Server) {
    for name in ["d/f1", "d/f2", "d/g", "d/.h", "e/f1", "file"] {
        server.write(name, "x");
    }
    let part = format!("d/.tfd-{}.part", "0".repeat(32));
    for hidden in ["d/jail.key", &part] {
        server.write(hidden, "hidden");
    }
    symlink("f1", server.path("d/link")).expect("link");
    symlink("none", server.path("d/dangling")).expect("link");
    symlink("../e", server.path("d/to-e")).expect("link");
}

#[test]
fn list_matches_wildcards_in_each_part_of_a_pattern() {
    let Some(server) = server("") else { return };
    tree(&server);
    let mut peer = Peer::ann(&server, 1);
    for (pattern, expected) in [
        ("d/f*", &["d/f1", "d/f2"][..]),
        ("/d/f?", &["/d/f1", "/d/f2"]),
        ("*/f1", &["d/f1", "e/f1"]),
        (
            "d/*",
            &["d/dangling", "d/f1", "d/f2", "d/g", "d/link", "d/to-e"],
        ),
        ("d/.h", &["d/.h"]),
        ("d/.[!.]*", &["d/.h"]),
        ("d/f[13]", &["d/f1"]),
        ("d//f1", &["d//f1"]),
        ("./d/../e/*", &["./d/../e/f1"]),
        ("../../d/f1", &["../../d/f1"]),
        ("d/to-*/", &["d/to-e/"]),
        ("d/to-e/f*", &["d/to-e/f1"]),
        ("file", &["file"]),
        ("none", &[]),
        ("none/*", &[]),
        ("file/*", &[]),
        ("d/jail*", &[]),
    ] {
        assert_eq!(names(&mut peer, pattern), expected, "{pattern}");
    }
    let text = peer.expect_refused((LIST, b"d/jail.key"));
    assert!(text.contains("Permission denied"), "{text}");
    peer.expect((CHDIR, b"d"), (OK, "/d"));
    assert_eq!(names(&mut peer, "f*"), ["f1", "f2"]);
    assert_eq!(names(&mut peer, "../e/*"), ["../e/f1"]);
}

#[test]
fn list_v2_has_the_kinds_of_all_entries_of_one_directory() {
    let Some(server) = server("") else { return };
    tree(&server);
    let mut peer = Peer::ann(&server, 3);
    let all = [
        "d/.  d",
        "d/..  d",
        "d/.h  f",
        "d/dangling lu",
        "d/f1  f",
        "d/f2  f",
        "d/g  f",
        "d/link lf",
        "d/to-e ld",
    ];
    assert_eq!(entries(&mut peer, "d/*"), all);
    assert_eq!(entries(&mut peer, "/d/f?"), ["/d/f1  f", "/d/f2  f"]);
    assert_eq!(entries(&mut peer, "file"), ["./file  f"]);
    assert_eq!(entries(&mut peer, "d/none*"), [""; 0]);
    peer.expect((CHDIR_V2, &with_options(0, "e")), (OK, "/e"));
    assert_eq!(entries(&mut peer, "f*"), ["./f1  f"]);
    for (pattern, told) in [
        ("d/", "No pattern"),
        ("none/*", "No such file or directory"),
        ("/file/*", "Not a directory"),
        ("/d/jail.key", "Permission denied"),
    ] {
        let text = peer.expect_refused((LIST_V2, &with_options(0, pattern)));
        assert!(text.contains(told), "{pattern}: {text}");
    }
    let text = peer.expect_refused((LIST_V2, &with_options(0x20, "d/*")));
    assert!(text.contains("RFIO"), "{text}");
}

#[test]
fn files_are_removed_described_and_digested() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::ann(&server, 3);
    server.write("other", "of the server's user");
    fs::create_dir(server.path("d")).expect("mkdir");
    symlink("other", server.path("link")).expect("link");
    let path = server.path("link");
    let games = nix::unistd::User::from_name("games").expect("users");
    let games = games.expect("games").uid.as_raw();
    std::os::unix::fs::lchown(&path, Some(games), None).expect("chown");
    peer.expect(
        (RM, &with_options(0, "link")),
        (OK, "link has been deleted"),
    );
    for path in ["none", "d", "/", "other", "jail.key"] {
        let text = peer.expect_refused((RM, &with_options(0, path)));
        assert!(
            text == format!("Unable to delete {path}") || path == "jail.key",
            "{text}"
        );
    }
    assert!(server.exists("other") && server.exists("d") && !server.exists("link"));

    let metadata = fs::metadata(server.path("other")).expect("stat");
    let (code, text) = peer.ask(STAT, &with_options(0, "/other"));
    assert_eq!(code, OK);
    let begin = format!(
        "{} 00100644 20 {} {}  {} {} (",
        metadata.ino(),
        metadata.blksize(),
        metadata.blocks(),
        metadata.uid(),
        metadata.gid()
    );
    assert!(text.starts_with(&begin), "{text} {begin}");
    assert_eq!(text.matches(" (").count(), 3, "{text}");
    let text = peer.expect_refused((STAT, &with_options(0, "none")));
    assert_eq!(text, "Error stating file none : No such file or directory");

    let (code, text) = peer.ask(DF, &with_options(0, "/"));
    let numbers: Vec<u64> = text
        .split(' ')
        .map(|n| n.parse().expect("number"))
        .collect();
    assert!(
        code == OK && numbers.len() == 6 && numbers[5] == 255,
        "{text}"
    );
    peer.expect_refused((DF, &with_options(0, "none")));

    let digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    server.write("foo", "foo");
    peer.expect((SHA256, b"foo"), (OK, digest));
    for path in ["none", "d", "jail.key"] {
        peer.expect_refused((SHA256, path.as_bytes()));
    }
    let two = [message(SHA256, b"foo"), message(SHA256, b"/foo")].concat();
    peer.send_bytes(&two);
    assert_eq!(peer.answer(), (OK, digest.to_owned()));
    assert_eq!(peer.answer(), (OK, digest.to_owned()));
}

#[test]
fn an_account_does_what_its_options_allow() {
    let Some(server) = server("") else { return };
    server.write("file", "x");
    let games = fs::Permissions::from_mode(0o777);
    fs::set_permissions(server.root(), games).expect("mode");
    let mut reader = Peer::logged_in(&server, "roy", "pass");
    reader.choose(3);
    let text = reader.expect_refused((MKDIR_V2, &with_options(0, "new")));
    assert!(text.contains("Permission denied"), "{text}");
    reader.expect_refused((RM, &with_options(0, "file")));
    reader.send_bytes(&message(STORE_V2, &transfer(5, 0, 256, 1)));
    reader.expect_refused((FILENAME, b"new"));
    assert_eq!(reader.ask(STAT, &with_options(0, "file")).0, OK);
    let mut adder = Peer::logged_in(&server, "app", "pass");
    adder.choose(3);
    assert_eq!(adder.ask(MKDIR_V2, &with_options(0, "new")).0, OK);
    adder.expect_refused((RM, &with_options(0, "file")));
    assert!(server.exists("new") && server.exists("file"));
    let mut old = Peer::logged_in(&server, "roy", "pass");
    old.expect_refused((STORE, &old_transfer(b"new", 5, 1, 5000)));
    old.expect_refused((MKDIR, b"new"));
}
