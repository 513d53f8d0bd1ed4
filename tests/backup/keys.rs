//! The phrase, the key file and its passphrase.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{ChildStdout, Stdio};

use crate::common::copy_program;
use crate::desk::{Desk, PROGRAM, expect, seen};

const OTHER_PHRASE: &str = "abandon amount liar amount expire adjust cage candy arch gather drum bullet \
                            absurd math era live bid rhythm alien crouch range attend journey unaware";

#[test]
fn the_phrase_and_a_disk_are_all_that_is_needed() {
    let desk = Desk::with_keepers(&["one", "two"]);
    fs::create_dir(desk.path("source")).expect("directory");
    fs::write(desk.path("source/file"), "precious").expect("file");
    desk.fine(&["backup", &desk.text("source")]);
    fs::remove_dir_all(desk.path("home")).expect("remove");
    fs::remove_dir_all(desk.path("one")).expect("remove");
    let two = desk.text("two");
    let phrase = desk.text("phrase");
    let recover = ["backup", "recover", "--no-passphrase", "--phrase-file"];
    desk.fine(&[&recover[..], &[&phrase, "--keeper", &two]].concat());
    desk.fine(&["restore", "latest", "--target", "back"]);
    assert_eq!(
        seen(&desk.restored("back", "source")),
        seen(&desk.path("source"))
    );
}

/// Reads until a prompt for a word of the phrase: its number, and what was read.
fn next_word_asked(screen: &mut ChildStdout) -> (usize, String) {
    let mut read = String::new();
    let mut byte = [0];
    loop {
        screen.read_exact(&mut byte).expect(&read);
        read.push(char::from(byte[0]));
        let line = read.rsplit('\n').next().unwrap_or_default();
        let asked = line
            .strip_prefix("word ")
            .and_then(|it| it.strip_suffix(": "));
        if let Some(Ok(number)) = asked.map(str::parse) {
            return (number, read);
        }
    }
}

#[test]
fn the_phrase_is_shown_once_and_some_of_it_asked_back() {
    let desk = Desk::new();
    let init = format!("{PROGRAM} backup init --no-passphrase --keeper one");
    let mut command = desk.command_of("timeout", &["120", "script", "-qec", &init, "/dev/null"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut run = command.spawn().expect("script");
    let mut keys = run.stdin.take().expect("standard input");
    let mut screen = run.stdout.take().expect("standard output");
    let (mut number, shown) = next_word_asked(&mut screen);
    let fields: Vec<&str> = shown.split_whitespace().collect();
    let word = |number: usize| {
        let digits = number.to_string();
        let at = fields
            .windows(2)
            .rposition(|it| it[0] == digits && it[1].is_ascii());
        fields[at.expect("the word") + 1]
    };
    let words: Vec<&str> = (1..=24).map(word).collect();
    keys.write_all(b"zzz\r").expect("type");
    for _ in 0..3 {
        let (asked, read) = next_word_asked(&mut screen);
        number = asked;
        let answer = format!("{}\r", words[number - 1]);
        if read.contains("look again") {
            assert!(!desk.path("one").exists(), "nothing is made before");
        }
        keys.write_all(answer.as_bytes()).expect("type");
    }
    let mut rest = String::new();
    screen.read_to_string(&mut rest).expect("screen");
    assert!(run.wait().expect("end").success(), "word {number}: {rest}");
    fs::remove_dir_all(desk.path("home")).expect("remove");
    fs::write(desk.path("paper"), words.join(" ")).expect("file");
    let recover = ["backup", "recover", "--no-passphrase", "--phrase-file"];
    desk.fine(&[&recover[..], &["paper", "--keeper", "one"]].concat());
}

#[test]
fn another_phrase_opens_nothing_and_says_so_by_its_exit_status() {
    let desk = Desk::with_keepers(&["one"]);
    fs::remove_dir_all(desk.path("home")).expect("remove");
    let (one, phrase) = (desk.text("one"), desk.text("other"));
    let recover = ["backup", "recover", "--no-passphrase", "--phrase-file"];
    let recover = [&recover[..], &[&phrase, "--keeper", &one]].concat();
    for wrong in [OTHER_PHRASE, "twelve words", ""] {
        fs::write(&phrase, wrong).expect("phrase");
        let (_, err) = desk.ends(12, &recover);
        assert!(err.contains("phrase"), "{err}");
    }
    assert!(!desk.path("home").exists(), "no key file was made");
}

#[test]
fn a_passphrase_protects_the_key_file() {
    let desk = Desk::new();
    fs::write(desk.path("pass"), "correct horse\n").expect("file");
    fs::write(desk.path("wrong"), "wrong horse\n").expect("file");
    let (one, phrase) = (desk.text("one"), desk.text("phrase"));
    let init = ["backup", "init", "--passphrase-file", "pass", "--keeper"];
    desk.fine(&[&init[..], &[&one, "--phrase-file", &phrase]].concat());
    desk.fine(&["snapshots", "--passphrase-file", "pass"]);
    let (_, err) = desk.ends(12, &["snapshots", "--passphrase-file", "wrong"]);
    assert!(err.contains("passphrase"), "{err}");
    let key = desk.path("home/.config/tf/hub/local.key");
    let mode = |path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&key), 0o600);
    assert_eq!(mode(&desk.path("phrase")), 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("mode");
    let (_, err) = desk.ends(1, &["snapshots", "--passphrase-file", "pass"]);
    assert!(err.contains("chmod 600"), "{err}");
}

#[test]
fn a_backup_is_not_made_over_another_one() {
    let desk = Desk::with_keepers(&["one"]);
    let two = desk.text("two");
    let init = [
        "backup",
        "init",
        "--no-passphrase",
        "--phrase-file",
        "again",
        "--keeper",
    ];
    let (_, err) = desk.ends(1, &[&init[..], &[&two]].concat());
    assert!(err.contains("exists"), "{err}");
    assert!(!desk.path("again").exists() && !desk.path("two").exists());
}

#[test]
fn tf_starts_the_program_beside_it_and_says_what_is_missing_without_it() {
    let desk = Desk::with_keepers(&["one"]);
    let tf = env!("CARGO_BIN_EXE_tf");
    let mut command = desk.command_of(tf, &["snapshots", "--json"]);
    expect(&command.output().expect("tf"), 0);
    // What is an argument of both may come first.
    for first in ["--json", "-q", "help"] {
        let mut command = desk.command_of(tf, &[first, "snapshots"]);
        expect(&command.output().expect("tf"), 0);
    }
    let alone = desk.path("alone");
    fs::create_dir(&alone).expect("directory");
    copy_program(tf.as_ref(), &alone.join("tf"));
    let mut command = desk.command_of(alone.join("tf"), &["snapshots"]);
    let output = command.env("PATH", &alone).output().expect("tf");
    let (_, err) = expect(&output, 1);
    assert!(err.contains("tf snapshots needs tf-backup"), "{err}");
}

#[test]
fn commands_options_and_paths_are_completed_as_those_of_tf() {
    let desk = Desk::new();
    fs::create_dir(desk.path("restored")).expect("directory");
    let offered = |words: &[&str]| {
        let mut command = desk.command_of(env!("CARGO_BIN_EXE_tf"), &["--", "tf"]);
        let command = command.args(words).env("TF_COMPLETE", "fish");
        let (out, _) = expect(&command.output().expect("tf"), 0);
        let words = out.lines().filter_map(|line| line.split('\t').next());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(offered(&["snap"]), ["snapshots"]);
    assert_eq!(offered(&["backup", "add-"]), ["add-keeper"]);
    assert_eq!(offered(&["forget", "--keep-d"]), ["--keep-daily"]);
    assert_eq!(
        offered(&["restore", "latest", "--target", "res"]),
        ["restored/"]
    );
}
