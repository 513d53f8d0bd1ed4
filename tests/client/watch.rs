//! `tf watch`: each file that arrives is told and done once, none is deleted
//! that was not done, and nothing is lost with the connection.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::tf::Person;
use crate::common::{Server, Setup, account, give_to_server, is_root, wait_until};
use crate::running::Running;

/// Has a file appear whole.
fn arrive(server: &Server, name: &str, content: impl AsRef<[u8]>) {
    server.write("arriving", content);
    fs::rename(server.path("arriving"), server.path(name)).expect("rename");
}

#[test]
fn files_that_stay_are_told_once_and_again_when_they_change() {
    let server = Server::start();
    let person = Person::of(&server);
    server.write("in/old", "x");
    server.write("other/here", "x");
    server.write("in/.tf-00.upload", "on its way");
    server.mkdir("in/directory");
    let watch = Running::start(&person, &["watch", "--interval", "0.01", "in", "other"]);
    wait_until("both", || watch.lines().len() == 2);
    for number in 0..30 {
        arrive(&server, &format!("in/{number}"), "x");
        wait_until("the next", || watch.lines().len() == 3 + number);
        assert_eq!(watch.lines().last(), Some(&format!("in/{number}")));
    }
    arrive(&server, "in/old", "longer");
    wait_until("the changed one", || watch.lines().len() == 33);
    assert_eq!(watch.lines().last().expect("line"), "in/old");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(watch.lines().len(), 33);
    assert_eq!(server.names("in").len(), 33);
    watch.signal(Signal::SIGINT);
    assert_eq!(watch.end(), Some(130));
}

#[test]
fn received_files_are_whole_before_they_are_deleted_and_overwrite_none() {
    let server = Server::start();
    let person = Person::of(&server);
    let content = b"some text\n".repeat(100_000);
    server.write("in/big", &content);
    fs::create_dir(person.path("got")).expect("mkdir");
    fs::write(person.path("got/same"), "same").expect("write");
    fs::write(person.path("got/other"), "mine").expect("write");
    let all = [
        "watch",
        "--delete",
        "--get",
        "got",
        "--interval",
        "0.01",
        "--json",
        "in",
    ];
    let watch = Running::start(&person, &all);
    watch.expect_lines(&[r#"{"type":"arrival","path":"in/big","local":"got/big","deleted":true}"#]);
    let got = |name: &str| fs::read(person.path("got").join(name)).expect("read");
    assert!(got("big") == content);
    arrive(&server, "in/same", "same");
    wait_until("the second", || watch.lines().len() == 2);
    arrive(&server, "in/other", "else");
    wait_until("the third", || watch.lines().len() == 3);
    arrive(&server, "in/other", "third");
    wait_until("the last", || watch.lines().len() == 4);
    assert!(
        watch.lines()[3].contains("got/other.2"),
        "{:?}",
        watch.lines()
    );
    assert_eq!(got("other"), b"mine");
    assert_eq!(
        (got("other.1"), got("other.2")),
        (b"else".to_vec(), b"third".to_vec())
    );
    wait_until("the end of all", || server.names("in").is_empty());
    let mut names: Vec<_> = fs::read_dir(person.path("got"))
        .expect("read directory")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["big", "other", "other.1", "other.2", "same"]);
}

#[test]
fn a_file_that_can_not_be_received_stays_until_it_can() {
    let server = Server::start();
    let person = Person::of(&server);
    server.write("in/f", "content");
    let watch = Running::start(
        &person,
        &[
            "watch",
            "--delete",
            "--get",
            "later",
            "--interval",
            "0.01",
            "in",
        ],
    );
    watch.wait_for_complaint("later");
    assert!(server.exists("in/f"));
    fs::create_dir(person.path("later")).expect("mkdir");
    watch.expect_lines(&["later/f"]);
    wait_until("its end", || !server.exists("in/f"));
}

#[test]
fn a_command_decides_whether_a_file_is_done_and_one_that_fails_holds_up_none() {
    let server = Server::start();
    let person = Person::of(&server);
    let odd = "$(touch hacked) `touch hacked` '\" ;touch hacked;";
    for name in ["-n", "poison", odd] {
        server.write(&format!("in/{name}"), "x");
    }
    let command = "echo {} >> done; case {} in *poison) test -e cured;; esac";
    let watch = Running::start(
        &person,
        &[
            "watch",
            "--delete",
            "--exec",
            command,
            "--interval",
            "0.02",
            "in",
        ],
    );
    wait_until("the two others", || watch.lines().len() == 2);
    for number in 0..5 {
        arrive(&server, &format!("in/{number}"), "x");
    }
    wait_until("the five", || watch.lines().len() == 7);
    assert!(server.exists("in/poison"));
    watch.wait_for_complaint("in/poison: the command failed: exit status: 1");
    fs::write(person.path("cured"), "").expect("write");
    wait_until("the last", || watch.lines().len() == 8);
    wait_until("the end of all", || server.names("in").is_empty());
    assert!(!person.path("hacked").exists());
    let done = fs::read_to_string(person.path("done")).expect("read");
    assert!(done.contains(&format!("in/{odd}\n")), "{done}");
}

#[test]
fn a_command_gets_the_local_file_when_there_is_one() {
    let server = Server::start();
    let person = Person::of(&server);
    server.write("-r", "in the root");
    let command = "cat \"$TF_FILE\" {} > out; echo \"$TF_PATH\" >> out";
    let watch = person.tf(&[
        "watch",
        "-n",
        "1",
        "--get",
        ".",
        "--exec",
        command,
        "--prefix=-",
        "",
    ]);
    assert_eq!(
        (watch.code, watch.out.as_str()),
        (Some(0), "./-r\n"),
        "{}",
        watch.err
    );
    let out = fs::read_to_string(person.path("out")).expect("read");
    assert_eq!(out, "in the rootin the root/-r\n");
    assert!(server.exists("-r"));
}

#[test]
fn a_lost_connection_is_opened_anew_and_no_file_is_told_twice() {
    let mut server = Server::at_own_address();
    let person = Person::of(&server);
    server.write("in/1", "x");
    let watch = Running::start(&person, &["watch", "--interval", "0.01", "in"]);
    watch.expect_lines(&["in/1"]);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end(), Some(0));
    watch.wait_for_complaint("next attempt in 1 s");
    server.write("in/2", "x");
    server.start_again();
    watch.expect_lines(&["in/1", "in/2"]);
    watch.wait_for_complaint("reconnected");
    let _ = watch;
    let given_up = Running::start(&person, &["watch", "--retries", "1", "in"]);
    wait_until("both", || given_up.lines().len() == 2);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end(), Some(0));
    assert_eq!(given_up.end(), Some(3));
}

#[test]
fn a_command_that_takes_longer_than_the_server_waits_is_not_run_again() {
    let server = "idle_timeout = 2".to_owned();
    let server = Server::with(Setup {
        server,
        ..Setup::default()
    });
    let person = Person::of(&server);
    server.write("in/f", "x");
    let watch = Running::start(
        &person,
        &["watch", "--delete", "--exec", "echo >> runs; sleep 4", "in"],
    );
    watch.wait_for_complaint("reconnected");
    wait_until("its end", || !server.exists("in/f"));
    let runs = fs::read_to_string(person.path("runs")).expect("read");
    assert_eq!(runs.lines().count(), 1);
}

#[test]
fn who_may_not_delete_is_told_so() {
    if !is_root() {
        println!("left out: taking identities needs root");
        return;
    }
    let server = Server::with(Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"".to_owned(),
        users: account("ann", "a", "nobody:d:read-only:"),
        directories: &["d/in"],
        ..Setup::default()
    });
    let person = Person::of(&server);
    give_to_server(&server.path("d"));
    server.write("d/in/f", "x");
    fs::write(person.path("password"), "a\n").expect("write");
    let login = ["--user", "ann", "--password-file", "password"];
    let watch = ["watch", "--delete", "--interval", "0.02", "in"];
    let watch = Running::start(&person, &[&login[..], &watch].concat());
    watch.wait_for_complaint("in/f is reported again and again: may this account delete it");
    assert!(server.exists("d/in/f"));
}

#[test]
fn what_makes_no_sense_is_refused_at_once() {
    let server = Server::start();
    let person = Person::of(&server);
    for (arguments, code, words) in [
        (&["watch"][..], 2, "DIR"),
        (&["watch", "--interval", "0", "in"], 2, "above 0"),
        (&["watch", "--prefix", "a/b", "in"], 2, "--prefix"),
        (&["watch", "a:in", "b:in"], 2, "one server"),
        (&["watch", "missing"], 1, "missing: can't be watched"),
        (
            &["--server", "127.0.0.1:1", "watch", "in"],
            3,
            "127.0.0.1:1",
        ),
    ] {
        let run = person.tf(arguments);
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.err);
        assert!(run.err.contains(words), "{arguments:?}: {}", run.err);
    }
}
