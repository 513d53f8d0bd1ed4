//! Whole trees there and back.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use crate::common::{Server, Setup};
use crate::desk::{Desk, Run, content, tree};

/// Makes a tree in which everything that can be odd is.
fn odd_tree(desk: &Desk) {
    for (name, len) in [
        ("t/empty file", 0),
        ("t/one byte", 1),
        ("t/.hidden", 10),
        ("t/ leading and trailing ", 11),
        ("t/a | b", 12),
        ("t/caf\u{e9} \u{1f980}", 13),
        ("t/-dash", 14),
        ("t/back\\slash\ttab", 15),
        ("t/deep/er/and/deeper/file", 70_000),
        ("t/frames", 524_288),
        ("t/large", 5_000_000),
    ] {
        desk.write(name, content(len, len as u64));
    }
    fs::create_dir_all(desk.path("t/empty directory/within")).expect("directories");
    let long = "n".repeat(220);
    desk.write(&format!("t/{long}"), "a long name");
}

#[test]
fn a_tree_goes_there_and_back_and_is_the_same() {
    for tf in ["", "dialect = \"document\""] {
        let desk = Desk::at(Server::with(Setup {
            tf: tf.to_owned(),
            ..Setup::default()
        }));
        odd_tree(&desk);
        for streams in ["1", "3"] {
            desk.fine(&["put", "-r", "-j", streams, "t"]);
            assert!(
                tree(&desk.server.path("t")) == tree(&desk.path("t")),
                "put, {streams}"
            );
            desk.fine(&["get", "-r", "-j", streams, ":t", "back"]);
            assert!(
                tree(&desk.path("back")) == tree(&desk.path("t")),
                "get, {streams}"
            );
            // Into a directory that is there, under its own name.
            desk.fine(&["get", "-r", "t", "back"]);
            assert!(tree(&desk.path("back/t")) == tree(&desk.path("t")));
            fs::remove_dir_all(desk.path("back")).expect("remove");
            desk.fine(&["rm", "-r", "t"]);
        }
    }
}

#[test]
fn a_tree_goes_over_tls_too() {
    let mut desk = Desk::at(Server::with(Setup {
        tls: true,
        ..Setup::default()
    }));
    desk.address = desk.server.tls_address();
    let pem = fs::read(desk.server.config_path().with_file_name("tls.pem")).expect("certificate");
    desk.write("ca.pem", pem);
    odd_tree(&desk);
    // Many at once, so that requests wait behind a full socket.
    for number in 0..500 {
        desk.write(&format!("t/many/{number}"), content(10_000, number));
    }
    let over_tls = |arguments: &[&str]| desk.fine(&[&["--tls-ca", "ca.pem"], arguments].concat());
    for streams in ["1", "3"] {
        over_tls(&["put", "-r", "-j", streams, "t"]);
        assert!(
            tree(&desk.server.path("t")) == tree(&desk.path("t")),
            "put, {streams}"
        );
        over_tls(&["get", "-r", "-j", streams, "t", "back"]);
        assert!(
            tree(&desk.path("back")) == tree(&desk.path("t")),
            "get, {streams}"
        );
        fs::remove_dir_all(desk.path("back")).expect("remove");
        fs::remove_dir_all(desk.server.path("t")).expect("remove");
    }
}

#[test]
fn without_the_extension_modes_go_up_and_times_come_down() {
    let desk = Desk::without_extension();
    for (name, mode) in [
        ("t/private", 0o600),
        ("t/program", 0o755),
        ("t/d/within", 0o640),
    ] {
        let path = desk.write(name, "x");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
    }
    fs::set_permissions(desk.path("t/d"), fs::Permissions::from_mode(0o750)).expect("mode");
    desk.fine(&["put", "-r", "t"]);
    let mode = |name: &str| fs::metadata(desk.server.path(name)).expect("stat").mode() & 0o777;
    let modes = [
        mode("t/private"),
        mode("t/program"),
        mode("t/d/within"),
        mode("t/d"),
    ];
    assert_eq!(modes, [0o600, 0o755, 0o640, 0o750]);
    let run = desk.fine(&["put", "t/private"]);
    assert!(run.err.is_empty(), "{}", run.err);
    desk.fine(&["mkdir", "with a space"]);
    let run = desk.fine(&["put", "t/private", "with a space"]);
    assert!(
        run.err
            .contains("1 entry got default modes: with a space/private"),
        "{}",
        run.err
    );

    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    for name in ["t/private", "private"] {
        let file = fs::File::options()
            .write(true)
            .open(desk.server.path(name))
            .expect("open");
        file.set_modified(then).expect("time");
    }
    desk.fine(&["get", "-r", "t", "back"]);
    desk.fine(&["get", "private", "back/one"]);
    for name in ["back/private", "back/one"] {
        assert_eq!(
            fs::metadata(desk.path(name)).expect("stat").mtime(),
            1_600_000_000
        );
    }
    // An old file's mode is kept, whoever may read the new one meanwhile.
    fs::set_permissions(desk.path("back/one"), fs::Permissions::from_mode(0o600)).expect("mode");
    desk.fine(&["get", "private", "back/one"]);
    assert_eq!(
        fs::metadata(desk.path("back/one")).expect("stat").mode() & 0o777,
        0o600
    );
}

#[test]
fn several_files_and_patterns_go_into_a_directory() {
    let desk = Desk::new();
    for name in ["a.txt", "b.txt", "c.dat"] {
        desk.write(name, name);
    }
    desk.fine(&["mkdir", "in"]);
    desk.fine(&["put", "a.txt", "b.txt", "c.dat", "in"]);
    assert_eq!(desk.server.names("in"), ["a.txt", "b.txt", "c.dat"]);
    fs::create_dir(desk.path("out")).expect("directory");
    desk.fine(&["get", "in/*.txt", "out"]);
    assert_eq!(tree(&desk.path("out")).len(), 2);
    // One that fails keeps no other from coming.
    let run = desk.tf(&["get", "in/a.txt", "in/none", "in/c.dat", "out"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(
        run.err.contains("in/none: no such file or directory"),
        "{}",
        run.err
    );
    assert_eq!(desk.read("out/c.dat"), b"c.dat");
    let run = desk.tf(&["put", "a.txt", "none", "c.dat", "in"]);
    assert_eq!(run.code, Some(7), "{}", run.err);
    assert!(run.err.contains("1 of 3 entries failed"), "{}", run.err);
    let run = desk.tf(&["get", "in"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    let run = desk.tf(&["put", "out"]);
    assert_eq!(run.code, Some(7), "{}", run.err);
}

#[test]
fn links_are_left_out_or_followed_and_never_followed_round() {
    let desk = Desk::new();
    desk.write("t/file", "content");
    desk.write("elsewhere/other", "beside");
    symlink("file", desk.path("t/link")).expect("link");
    symlink("../elsewhere", desk.path("t/directory")).expect("link");
    symlink("..", desk.path("t/round")).expect("link");
    symlink("nowhere", desk.path("t/dangling")).expect("link");
    let run = desk.fine(&["put", "-r", "t", "without"]);
    assert_eq!(desk.server.names("without"), ["file"]);
    assert_eq!(
        run.err.matches("skipped, a symbolic link").count(),
        4,
        "{}",
        run.err
    );
    fs::remove_file(desk.path("t/dangling")).expect("remove");
    fs::remove_file(desk.path("t/round")).expect("remove");
    symlink(".", desk.path("t/round")).expect("link");
    desk.fine(&["put", "-r", "-L", "t", "with"]);
    assert_eq!(desk.server.names("with"), ["directory", "file", "link"]);
    assert_eq!(desk.server.names("with/directory"), ["other"]);
    // A link that is named is meant.
    desk.fine(&["put", "t/link", "named"]);
    assert_eq!(desk.server.read("named"), b"content");
    symlink("named", desk.server.path("there")).expect("link");
    let run = desk.fine(&["get", "-r", "", "all"]);
    assert!(run.err.contains("there: skipped"), "{}", run.err);
    assert!(!desk.path("all/there").exists());
}

#[test]
fn names_the_protocol_can_not_move_are_refused_before_anything_is_harmed() {
    let desk = Desk::new();
    desk.server.write("a", "not to be renamed");
    desk.write("t/a | b/file", "x");
    desk.write("t/fine", "y");
    let run = desk.tf(&["put", "-r", "t", "t"]);
    assert_eq!(run.code, Some(7), "{}", run.err);
    assert!(run.err.contains("RENAM"), "{}", run.err);
    assert_eq!(desk.server.read("a"), b"not to be renamed");
    assert_eq!(desk.server.read("t/fine"), b"y");
    // Names the server keeps for itself.
    desk.write("u/jail.key", "x");
    desk.write("u/other", "y");
    let run = desk.tf(&["put", "-r", "u", "u"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert_eq!(desk.server.names("u"), ["other"]);
}

#[test]
fn standard_input_and_output_are_files_too() {
    let desk = Desk::new();
    let big = content(3_000_000, 1);
    desk.write("big", &big);
    let mut command = desk.command(&["put", "-", "from input"]);
    command.stdin(fs::File::open(desk.path("big")).expect("open"));
    assert!(command.status().expect("tf").success());
    assert!(desk.server.read("from input") == big);
    for arguments in [&["get", "from input", "-"][..], &["cat", "from input"]] {
        let output = desk.command(arguments).output().expect("tf");
        assert!(
            output.status.success() && output.stdout == big,
            "{arguments:?}"
        );
    }
}

#[test]
fn a_directory_without_recursion_is_refused_with_the_option_for_it() {
    let desk = Desk::new();
    desk.write("here/f", "x");
    desk.server.write("there/f", "x");
    for (arguments, code, why) in [
        (["put", "here", ":"], 7, "here: is a directory: see -r"),
        (["get", "there", "."], 1, "there: is a directory: see -r"),
    ] {
        let run = desk.tf(&arguments);
        assert_eq!(run.code, Some(code), "{}", run.err);
        assert!(run.err.contains(why), "{}", run.err);
    }
    assert!(!desk.server.exists("here") && !desk.path("there").exists());
}

#[test]
fn standard_input_is_not_read_before_it_has_a_place() {
    let desk = Desk::new();
    desk.server.mkdir("d");
    for (arguments, code, words) in [
        (&["put", "-"][..], 2, "tf put - NAME"),
        (&["put", "-", "d/"], 2, "tf put - d/NAME"),
        (&["put", "-", "d"], 1, "d"),
        (&["put", "-", "none/f"], 1, "none"),
        (&["put", "-", ".tfd-x.part"], 7, "choose another"),
        (&["put", "-", "other", "d"], 2, "by itself"),
    ] {
        // A pipe that never ends: who reads it waits for ever.
        let (reader, _writer) = std::io::pipe().expect("pipe");
        let mut command = desk.command(arguments);
        let run: Run = command.stdin(reader).output().expect("tf").into();
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.err);
        assert!(run.err.contains(words), "{arguments:?}: {}", run.err);
    }
    assert_eq!(desk.server.names(""), ["d"]);
}
