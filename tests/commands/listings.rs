//! Looking: ls, find, stat.

use std::fs::File;
use std::time::{Duration, SystemTime};

use crate::common::tf::Person;
use crate::common::{Server, Setup};

fn set_time(server: &Server, path: &str, seconds: u64) {
    let file = File::options()
        .write(true)
        .open(server.path(path))
        .expect("open");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        .expect("times");
}

/// `b` is old and small, `a` new and large, `d/c.pdf` between.
fn server() -> Server {
    let server = Server::start();
    server.write("a", vec![0; 3_000_000]);
    server.write("b", "x");
    server.write("d/c.pdf", vec![0; 5000]);
    set_time(&server, "a", 1_700_000_000);
    set_time(&server, "b", 1_500_000_000);
    set_time(&server, "d/c.pdf", 1_600_000_000);
    server
}

#[test]
fn ls_sorts_as_asked() {
    let server = server();
    let person = Person::of(&server);
    assert_eq!(person.fine(&["ls"]), "a\nb\nd/\n");
    assert_eq!(person.fine(&["ls", "-r"]), "d/\nb\na\n");
    assert_eq!(person.fine(&["ls", "-R"]), "a\nb\nd/\nd/c.pdf\n");
    assert!(
        person.fine(&["ls", "-RS"]).starts_with("a\nd/c.pdf\n")
            || person.fine(&["ls", "-RS"]).starts_with("a\nd/\n")
    );
    let by_time = person.fine(&["ls", "-Rt"]);
    assert_eq!(
        by_time, "d/\na\nd/c.pdf\nb\n",
        "the directory is the newest"
    );
    let mut unsorted: Vec<String> = person
        .fine(&["ls", "-U"])
        .lines()
        .map(str::to_owned)
        .collect();
    unsorted.sort();
    assert_eq!(unsorted, ["a", "b", "d/"]);
}

#[test]
fn ls_l_tells_kind_size_and_time() {
    let server = server();
    let mut person = Person::of(&server);
    person.set("TZ", "UTC");
    set_mode(&server, "a", 0o640);
    set_mode(&server, "b", 0o4711);
    let long = person.fine(&["ls", "-l"]);
    let lines: Vec<&str> = long.lines().collect();
    let owner = lines[0].split(' ').skip(1).take(2).collect::<Vec<_>>();
    let owner = owner.join(" ");
    assert!(owner.len() > 3, "{long}");
    let line = |text: &str| text.replace("OWNER", &owner);
    assert_eq!(
        lines[0],
        line("-rw-r----- OWNER 3000000 2023-11-14 22:13:20 UTC a")
    );
    assert_eq!(
        lines[1],
        line("-rws--x--x OWNER       1 2017-07-14 02:40:00 UTC b")
    );
    assert!(
        lines[2].starts_with("drwx") && lines[2].ends_with(" d/"),
        "{long}"
    );
    let human = person.fine(&["ls", "-lh", "a"]);
    assert_eq!(
        human,
        line("-rw-r----- OWNER 2.9M 2023-11-14 22:13:20 UTC a\n")
    );
    person.unset("TZ");
    person.set("TZ", "America/New_York");
    let there = person.fine(&["ls", "-l", "a"]);
    assert!(there.contains(" 2023-11-14 17:13:20 EST a"), "{there}");
    let json = person.fine(&["ls", "-l", "--json", "a"]);
    for field in ["\"mode\":\"0640\"", "\"modified\":1700000000", "\"user\":"] {
        assert!(json.contains(field), "{json}");
    }
    let stat = person.fine(&["stat", "b"]);
    assert!(stat.contains(", -rws--x--x "), "{stat}");
}

#[test]
fn ls_l_of_a_server_without_the_extension_tells_kind_size_and_time() {
    let server = Server::with(Setup {
        tf: "extension = false".to_owned(),
        ..Setup::default()
    });
    server.write("a", "x");
    set_time(&server, "a", 1_700_000_000);
    let mut person = Person::of(&server);
    person.set("TZ", "UTC");
    assert_eq!(
        person.fine(&["ls", "-l"]),
        "- 1 2023-11-14 22:13:20 UTC a\n"
    );
}

#[test]
fn ls_stands_in_columns_on_a_terminal_and_in_one_elsewhere() {
    let server = server();
    let mut person = Person::of(&server);
    person.set("COLUMNS", "40");
    assert_eq!(person.fine(&["ls"]), "a\nb\nd/\n");
    let (shown, code) = person.on_terminal("ls", "");
    assert_eq!((shown.trim(), code), ("a  b  d/", Some(0)));
    let (shown, _) = person.on_terminal("ls -1", "");
    assert_eq!(shown.replace('\r', ""), "a\nb\nd/\n");
}

fn set_mode(server: &Server, path: &str, mode: u32) {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(server.path(path), permissions).expect("mode");
}

#[test]
fn ls_takes_files_patterns_and_several_directories() {
    let server = server();
    let person = Person::of(&server);
    server.write("e/f", "x");
    assert_eq!(person.fine(&["ls", "d/*.pdf"]), "d/c.pdf\n");
    assert_eq!(
        person.fine(&["ls", "d", "a", "e"]),
        "a\n\nd:\nc.pdf\n\ne:\nf\n"
    );
    assert_eq!(person.fine(&["ls", "*/c*"]), "d/c.pdf\n");
    let run = person.fails(&["ls", "none", "d"], 1, &["none: no such file"]);
    assert_eq!(run.out, "d:\nc.pdf\n");
    person.fails(&["ls", "none"], 1, &["none: no such directory"]);
    person.fails(&["ls", "none/*.pdf"], 1, &["no such directory"]);
    person.fails(&["ls", "no*"], 1, &["no*", "no such directory"]);
}

#[test]
fn find_filters_by_name_kind_size_and_time() {
    let server = server();
    let person = Person::of(&server);
    let found = |arguments: &[&str]| {
        let out = person.fine(&[&["find"], arguments].concat());
        let mut lines: Vec<String> = out.lines().map(str::to_owned).collect();
        lines.sort();
        lines.join(" ")
    };
    assert_eq!(found(&[]), "a b d d/c.pdf");
    assert_eq!(found(&["--name", "*.pdf", "--name", "b"]), "b d/c.pdf");
    assert_eq!(found(&["--type", "d"]), "d");
    assert_eq!(found(&["--type", "f", "--size", "+4K"]), "a d/c.pdf");
    assert_eq!(found(&["--type", "f", "--size", "-4K"]), "b");
    assert_eq!(
        found(&["--type", "f", "--newer", "2020-01-01"]),
        "a d/c.pdf"
    );
    assert_eq!(
        found(&[
            "--type",
            "f",
            "--newer",
            "2020-01-01",
            "--older",
            "2021-01-01"
        ]),
        "d/c.pdf"
    );
    assert_eq!(found(&["d"]), "d/c.pdf");
    assert_eq!(person.fine(&["find", "-0", "d/"]), "d/c.pdf\0");
    person.fails(&["find", "--size", "much"], 2, &["digits"]);
    person.fails(&["find", "--newer", "soon"], 2, &["2026-11-21"]);
    person.fails(&["find", "none"], 1, &["no such directory"]);
}

#[test]
fn stat_tells_of_each_path() {
    let server = server();
    let person = Person::of(&server);
    let run = person.fails(&["stat", "a", "none", "d"], 1, &["none"]);
    let lines: Vec<&str> = run.out.lines().collect();
    assert!(
        lines[0].starts_with("a: file, 3000000 bytes, changed 2023-11-14 22:13:20 UTC, read 20")
    );
    assert!(lines[1].starts_with("d: directory, "), "{}", run.out);
}

#[test]
fn a_long_listing_comes_whole() {
    let server = Server::start();
    let person = Person::of(&server);
    server.mkdir("many");
    // Lines are cut by the messages they come in.
    let name = |i: usize| format!("{i:05}-{}", "x".repeat(90));
    for i in 0..12_000 {
        std::fs::write(server.path("many").join(name(i)), "").expect("write");
    }
    let listed = person.fine(&["ls", "many"]);
    assert!(listed.lines().eq((0..12_000).map(name)));
    let long = person.fine(&["ls", "-l", "many"]);
    assert_eq!(
        long.lines()
            .filter(|line| line.starts_with("-rw-") && line.contains(" 0 20"))
            .count(),
        12_000
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let server = Server::start();
    let person = Person::of(&server);
    server.mkdir("many");
    for i in 0..3000 {
        std::fs::write(
            server.path("many").join(format!("{i}-{}", "x".repeat(60))),
            "",
        )
        .expect("write");
    }
    let mut shell = person.command("bash");
    let line = format!(
        "set -o pipefail; '{}' ls many | head -n 1",
        env!("CARGO_BIN_EXE_tf")
    );
    let run = crate::common::tf::run(shell.args(["-c", &line]), b"");
    assert_eq!(
        (run.code, run.out.lines().count()),
        (Some(0), 1),
        "{}",
        run.err
    );
}
