//! Changing things: mv, cp, rm, rmdir, mkdir, touch, chmod, sha256, df.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::tf::Person;
use crate::common::{Server, is_root};

fn mode(server: &Server, path: &str) -> u32 {
    fs::metadata(server.path(path))
        .expect("stat")
        .permissions()
        .mode()
        & 0o7777
}

/// User and group of who runs the tests, by number.
fn own_ids() -> String {
    format!("{}:{}", nix::unistd::geteuid(), nix::unistd::getegid())
}

#[test]
fn mv_renames_moves_into_directories_and_replaces_nothing_with_n() {
    let server = Server::start();
    let person = Person::of(&server);
    for name in ["a.pdf", "b.pdf", "c.txt"] {
        server.write(name, name);
    }
    server.mkdir("d");
    person.fine(&["mv", "c.txt", "c2.txt"]);
    person.fine(&["mv", "*.pdf", "d"]);
    assert_eq!(server.names("d"), ["a.pdf", "b.pdf"]);
    person.fine(&["mv", "c2.txt", "d/a.pdf"]);
    assert_eq!(server.read("d/a.pdf"), b"c.txt");
    person.fails(&["mv", "-n", "d/a.pdf", "d/b.pdf"], 1, &["exists already"]);
    assert_eq!(server.read("d/b.pdf"), b"b.pdf");
    person.fails(
        &["mv", "d/a.pdf", "d/b.pdf", "new"],
        2,
        &["not a directory"],
    );
    person.fails(&["mv", "", "new"], 2, &["root"]);
    person.fails(&["mv", "d/a.pdf", "tf://elsewhere/x"], 2, &["one server"]);
    person.fails(&["mv", "one"], 2, &["Usage"]);
}

#[test]
fn cp_copies_files_and_trees_and_replaces_only_with_f() {
    let server = Server::start();
    let person = Person::of(&server);
    server.write("t/a", "one");
    server.write("t/deep/b", "two");
    server.write("old", "old");
    person.fine(&["cp", "t/a", "copy"]);
    assert_eq!(server.read("copy"), b"one");
    person.fails(&["cp", "t", "t2"], 2, &["-r"]);
    person.fine(&["cp", "-r", "t", "t2"]);
    assert_eq!(server.read("t2/deep/b"), b"two");
    person.fine(&["cp", "-r", "t", "copy", "t2"]);
    assert_eq!(
        (server.read("t2/t/a"), server.read("t2/copy")),
        (b"one".to_vec(), b"one".to_vec())
    );
    person.fails(&["cp", "t/a", "old"], 1, &["exists already"]);
    assert_eq!(server.read("old"), b"old");
    person.fine(&["cp", "-f", "t/a", "old"]);
    assert_eq!(server.read("old"), b"one");
    person.fails(&["cp", "none", "x"], 1, &["none"]);
    assert_eq!(
        server.names(""),
        ["copy", "old", "t", "t2"],
        "nothing is left behind"
    );
}

#[test]
fn rm_takes_files_and_with_r_trees_and_never_the_root() {
    let server = Server::start();
    let person = Person::of(&server);
    for name in ["a", "b.tmp", "c.tmp", ".hidden.tmp", "d/x", "e[1]"] {
        server.write(name, "x");
    }
    person.fine(&["rm", "a", "*.tmp"]);
    assert_eq!(server.names(""), [".hidden.tmp", "d", "e[1]"]);
    person.fails(&["rm", "d"], 1, &["is a directory"]);
    // One that fails does not keep the others.
    person.fails(&["rm", "none", ".hidden.tmp"], 1, &["none"]);
    assert!(!server.exists(".hidden.tmp"));
    person.fine(&["rm", "-f", "none"]);
    // A name with an asterisk in it removes no others.
    server.write("e*", "x");
    person.fine(&["--literal", "rm", "e*"]);
    assert_eq!(server.names(""), ["d", "e[1]"]);
    person.fine(&["rm", "e[1]"]);
    person.fine(&["rm", "-r", "d"]);
    assert!(server.names("").is_empty());
    server.write("keep", "x");
    for root in ["", "/", ".", "//", "./"] {
        person.fails(&["rm", "-rf", root], 2, &["root"]);
    }
    assert!(server.exists("keep"));
}

#[test]
fn rmdir_removes_empty_directories_alone() {
    let server = Server::start();
    let person = Person::of(&server);
    server.write("full/x", "x");
    server.mkdir("empty");
    server.write("file", "x");
    person.fails(&["rmdir", "full", "empty"], 1, &["full: not empty: rm -r"]);
    assert!(server.exists("full/x") && !server.exists("empty"));
    person.fails(&["rmdir", "file"], 1, &["no such directory"]);
    // A request would end there, and mean another path.
    let at = format!("tf://{}/full%00x", server.address());
    person.fails(&["rm", "-r", &at], 2, &["NUL"]);
    let run = person.tf_with(
        &["shell", &server.address().to_string()],
        b"rm -r full\0x\n",
    );
    assert_eq!(run.code, Some(2), "{}", run.err);
    assert!(server.exists("full/x"));
    person.fails(&["rmdir", "/"], 2, &["root"]);
}

#[test]
fn mkdir_and_touch_make_what_is_missing() {
    let server = Server::start();
    let person = Person::of(&server);
    person.fails(&["mkdir", "a/b"], 1, &["no such directory: a"]);
    person.fine(&["mkdir", "-p", "a/b", "/c/d/"]);
    person.fine(&["mkdir", "-p", "a/b"]);
    assert!(server.path("a/b").is_dir() && server.path("c/d").is_dir());
    person.fine(&["touch", "a/new"]);
    assert_eq!(server.read("a/new"), b"");
    server.write("old", "content");
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    let file = fs::File::options()
        .write(true)
        .open(server.path("old"))
        .expect("open");
    file.set_modified(long_ago).expect("times");
    person.fine(&["touch", "-c", "none", "old"]);
    assert!(!server.exists("none"));
    let modified = fs::metadata(server.path("old"))
        .expect("stat")
        .modified()
        .expect("time");
    assert!(modified > long_ago + std::time::Duration::from_secs(1_000_000));
    assert_eq!(server.read("old"), b"content");
}

#[test]
fn chmod_sets_modes_of_trees_and_never_those_of_another_file() {
    let server = Server::start();
    let person = Person::of(&server);
    server.write("site/a", "x");
    server.write("site/deep/b", "x");
    person.fine(&["chmod", "600", "site/a"]);
    assert_eq!(mode(&server, "site/a"), 0o600);
    person.fine(&["chmod", "-R", "640", "--directories", "750", "site"]);
    assert_eq!(
        (mode(&server, "site/a"), mode(&server, "site/deep/b")),
        (0o640, 0o640)
    );
    assert_eq!(
        (mode(&server, "site"), mode(&server, "site/deep")),
        (0o750, 0o750)
    );
    let owner = if is_root() {
        "nobody:nogroup".to_owned()
    } else {
        own_ids()
    };
    person.fine(&["chown", "-R", &owner, "site"]);
    person.fine(&["chown", &owner, "site/a", "site/d*"]);
    for odd in ["8", "u+x", "77777", ""] {
        person.fails(&["chmod", odd, "site"], 2, &["octal"]);
    }
    // A path ends at the first space there: "a b" would be taken for "a".
    server.write("a", "x");
    server.write("a b", "x");
    let before = mode(&server, "a");
    person.fails(&["chmod", "600", "a b"], 1, &["rename it first"]);
    person.fails(&["chown", "1:1", "a b"], 1, &["rename it first"]);
    assert_eq!(mode(&server, "a"), before);
    server.write("t/x y", "x");
    server.write("t/z", "x");
    person.fails(&["chmod", "-R", "700", "t"], 1, &["t/x y"]);
    assert_eq!(mode(&server, "t/z"), 0o700, "the others are done");
    person.fails(&["mv", "a | b", "c"], 1, &["rename it first"]);
    person.fails(&["chown", "nobody", "a"], 2, &["USER:GROUP"]);
    person.fails(
        &["chown", "no-such-user:nogroup", "a"],
        1,
        &["no such user"],
    );
}

#[test]
fn sha256_prints_sums_and_checks_them() {
    let server = Server::start();
    let person = Person::of(&server);
    server.write("a", "one");
    server.write("b", "two");
    let sums = person.fine(&["sha256", "*"]);
    let hex = |text: &str| -> String {
        openssl::sha::sha256(text.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    };
    assert_eq!(sums, format!("{}  a\n{}  b\n", hex("one"), hex("two")));
    person.write("SUMS", &sums);
    assert_eq!(person.fine(&["sha256", "-c", "SUMS"]), "a: OK\nb: OK\n");
    server.write("b", "three");
    let run = person.tf_with(&["sha256", "-c", "-"], sums.as_bytes());
    assert_eq!(
        (run.code, run.out.as_str()),
        (Some(6), "a: OK\nb: FAILED\n")
    );
    person.write("SUMS", format!("{}  none\n{}  a\n", hex(""), hex("one")));
    let run = person.fails(&["sha256", "-c", "SUMS"], 1, &["none"]);
    assert_eq!(run.out, "a: OK\n");
    person.write("SUMS", "nonsense\n");
    person.fails(&["sha256", "-c", "SUMS"], 2, &["SUMS:1"]);
    person.fails(&["sha256", "-c", "no-file"], 7, &["no-file"]);
}

#[test]
fn df_tells_what_is_left() {
    let server = "quota = \"5000000\"".to_owned();
    let server = Server::with(crate::common::Setup {
        server,
        ..Default::default()
    });
    let person = Person::of(&server);
    let address = server.address();
    assert_eq!(
        person.fine(&["df"]),
        format!("5000000 free on tf://{address}\n")
    );
    let human = person.fine(&["df", "-h", &format!("tf://{address}")]);
    assert_eq!(human, format!("4.8M free on tf://{address}\n"));
    assert!(person.fine(&["df", "--help"]).contains("Usage"));
}
