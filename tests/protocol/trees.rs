//! Commands on trees: CPDIR, the X commands, secure directories.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use crate::common::{Server, reply_for};

#[test]
fn cpdir_copies_a_tree_for_real() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("src/a", "A");
    server.write("src/d/b", "B");
    server.mkdir("src/empty");
    server.write("file", "");
    client.expect_all(&[
        ("CPDIR src | dst", 0),
        ("CPDIR src | dst", 4),
        ("CPDIR src | file", 4),
        ("CPDIR file | x", 20),
        ("CPDIR missing | x", 20),
        ("CPDIR src | missing/x", 21),
        ("CPDIR src", 16),
        ("CPDIR ../src | x", 1),
        ("CPDIR src | ../x", 1),
    ]);
    assert_eq!(server.read("dst/d/b"), b"B");
    assert!(server.path("dst/empty").is_dir());
    let inode = |name| fs::metadata(server.path(name)).expect("stat").ino();
    assert_ne!(inode("src/a"), inode("dst/a"));
    assert_eq!(server.names(""), ["dst", "file", "src"]);
}

#[test]
fn cpdir_into_itself_ends() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("src/a", "A");
    client.expect("CPDIR src | src/copy", 0);
    assert_eq!(server.names("src/copy"), ["a"]);
    client.expect("CPDIR  | all", 16);
    client.expect("CPDIR / | all", 0);
    assert_eq!(server.read("all/src/copy/a"), b"A");
    assert!(!server.exists("all/all"));
}

#[test]
fn xcopy_goes_into_every_directory_of_the_name() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("src", "S");
    for directory in ["x/target", "y/target", "y/subtarget", "z/target.sd/target"] {
        server.mkdir(directory);
    }
    server.write("y/target/new", "old");
    client.expect_all(&[
        ("XCOPY new src | target", 0),
        ("XCOPY deep src | y/target", 0),
        ("XCOPY new missing | target", 17),
        ("XCOPY new x | target", 23),
        ("XCOPY new src", 16),
        ("XCOPY new", 16),
        ("XCOPY a/b src | target", 1),
        ("XCOPY .. src | target", 1),
        ("XCOPY new ../src | target", 1),
        ("XCOPY none src | ", 0),
    ]);
    assert_eq!(server.read("x/target/new"), b"S");
    assert_eq!(server.read("y/target/new"), b"old");
    assert_eq!(server.read("y/target/deep"), b"S");
    assert!(!server.exists("x/target/deep") && !server.exists("y/subtarget/new"));
    assert!(!server.exists("z/target.sd/target/new"));
    assert!(!server.exists("none"));
}

#[test]
fn xcpdir_copies_a_tree_into_every_directory_of_the_name() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("src/f", "S");
    for directory in ["x/target", "y/target", "h.sd/target"] {
        server.mkdir(directory);
    }
    server.write("y/target/new/old", "old");
    client.expect_all(&[
        ("XCPDIR new src | target", 0),
        ("XCPDIR new missing | target", 29),
        ("XCPDIR new src/f | target", 20),
        ("XCPDIR new src", 16),
        ("XCPDIR a/b src | target", 1),
        ("XCPDIR new ../src | target", 1),
    ]);
    assert_eq!(server.read("x/target/new/f"), b"S");
    assert_eq!(server.names("y/target/new"), ["old"]);
    assert!(!server.exists("h.sd/target/new"));
}

#[test]
fn a_pattern_is_whole_names_at_the_end_of_a_path() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("f", "F");
    for name in ["sub", "d/sub", "d/ub", "d4/d2/d2", "root"] {
        server.mkdir(name);
    }
    for (pattern, targets) in [
        ("ub", &["d/ub/c"][..]),
        ("/sub/", &["d/sub/c", "sub/c"]),
        ("d2/d2", &["d4/d2/d2/c"]),
        ("d2", &["d4/d2/c", "d4/d2/d2/c"]),
        ("root", &["root/c"]),
        ("", &[]),
        ("/", &[]),
        ("none", &[]),
    ] {
        client.expect(format!("XCOPY c f | {pattern}"), 0);
        let mut made = client.list("LSR");
        made.retain(|line| line.ends_with("/c"));
        let expected: Vec<String> = targets.iter().map(|path| format!("F: {path}")).collect();
        assert_eq!(made, expected, "{pattern:?}");
        client.expect("XDEL  c", 0);
    }
}

#[test]
fn xdel_deletes_every_file_of_the_name_beneath_the_start() {
    let server = Server::start();
    let mut client = server.connect();
    for file in ["s/f", "s/a/f", "s/a/ff", "s/a/b/f", "other/f", "s/h.sd/f"] {
        server.write(file, "");
    }
    server.mkdir("s/c/f");
    client.expect_all(&[
        ("XDEL s f", 0),
        ("XDEL missing f", 1),
        ("XDEL other/f f", 20),
        ("XDEL s", 16),
        ("XDEL ../s f", 1),
        ("XDEL s ../f", 1),
    ]);
    for gone in ["s/f", "s/a/f", "s/a/b/f"] {
        assert!(!server.exists(gone), "{gone}");
    }
    for kept in ["s/a/ff", "other/f", "s/c/f", "s/h.sd/f"] {
        assert!(server.exists(kept), "{kept}");
    }
    client.expect("XDEL s/h.sd f", 0);
    assert!(!server.exists("s/h.sd/f"));
}

#[test]
fn xrmdir_removes_every_directory_of_the_name_beneath_the_start() {
    let server = Server::start();
    let mut client = server.connect();
    for file in ["s/d/f", "s/a/d/x/f", "s/a/dd/f", "other/d/f", "s/h.sd/d/f"] {
        server.write(file, "");
    }
    server.write("s/b/d", "a file");
    client.expect_all(&[
        ("XRMDIR s d", 0),
        ("XRMDIR missing d", 10),
        ("XRMDIR s/b/d d", 20),
        ("XRMDIR s", 16),
        ("XRMDIR ../s d", 1),
    ]);
    assert!(!server.exists("s/d") && !server.exists("s/a/d"));
    for kept in ["s/a/dd/f", "other/d/f", "s/h.sd/d/f", "s/b/d"] {
        assert!(server.exists(kept), "{kept}");
    }
}

#[test]
fn secure_directories_are_not_found_but_can_be_named() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("a/secret.sd/f", "x");
    server.write("a/secret.sd/in.sd/g", "x");
    server.write("a/plain", "x");
    server.write("a/file.sd", "x");
    assert_eq!(client.list("LS a"), ["F: file.sd", "F: plain"]);
    assert_eq!(client.list("LSR "), ["D: a/", "F: a/file.sd", "F: a/plain"]);
    assert_eq!(client.list("LS a/secret.sd"), ["F: f"]);
    assert_eq!(client.list("LSR a/secret.sd/in.sd"), ["F: g"]);
    client.expect_all(&[("FSTAT a/secret.sd/missing", 9), ("RMDIR a", 15)]);
    assert_eq!(server.names("a"), ["secret.sd"]);
    assert_eq!(server.names("a/secret.sd"), ["f", "in.sd"]);
}

#[test]
fn rmsecdir_needs_its_token() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("s.sd/token", "");
    server.write("s.sd/in.sd/f", "");
    server.write("f", "");
    client.expect_all(&[
        ("RMSECDIR token", 16),
        ("RMSECDIR wrong | s.sd", 47),
        ("RMSECDIR . | s.sd", 47),
        ("RMSECDIR  | s.sd", 47),
        ("RMSECDIR .. | s.sd", 47),
        ("RMSECDIR in.sd/f | s.sd", 47),
        ("RMSECDIR /token | s.sd", 47),
        ("RMSECDIR token | ../s.sd", 1),
        ("RMSECDIR token | missing", 47),
    ]);
    assert!(server.exists("s.sd/in.sd/f"));
    client.expect("RMSECDIR token | s.sd", 0);
    assert!(!server.exists("s.sd") && server.exists("f"));
    server.write("token", "");
    server.write("deep.sd/f", "");
    client.expect("RMSECDIR token | ", 15);
    assert_eq!(server.names(""), Vec::<String>::new());
}

#[test]
fn links_in_trees_are_never_walked() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("outside/f", "x");
    server.write("t/g", "x");
    symlink("../outside", server.path("t/link")).expect("link");
    symlink(".", server.path("t/loop")).expect("link");
    assert_eq!(client.list("LSR t"), ["F: g", "U: link", "U: loop"]);
    client.expect_all(&[("XDEL t f", 0), ("CPDIR t | copy", 0), ("RMDIR t", 0)]);
    assert!(server.exists("outside/f"));
    assert!(
        server
            .path("copy/link")
            .symlink_metadata()
            .expect("copied")
            .is_symlink()
    );
    assert!(
        server
            .path("copy/loop")
            .symlink_metadata()
            .expect("copied")
            .is_symlink()
    );
}

#[test]
fn a_very_deep_tree_is_listed_copied_and_removed() {
    let server = Server::start();
    let mut client = server.connect();
    let depth = 1200;
    let mut path = "deep".to_owned();
    client.expect("MKDIR deep", 0);
    for _ in 0..depth {
        path.push_str("/d");
        client.expect(format!("MKDIR {path}"), 0);
    }
    client.expect(format!("TOUCH {path}/f"), 0);
    assert_eq!(client.list("LSR deep").len(), depth + 1);
    client.expect("XDEL deep f", 0);
    client.expect("CPDIR deep | copy", 0);
    client.expect("RMDIR deep", 0);
    client.expect("RMDIR copy", 0);
    assert_eq!(server.names(""), Vec::<String>::new());
    assert_eq!(client.ask("FSTAT deep"), reply_for(9));
}
