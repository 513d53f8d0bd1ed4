//! `tf watch`: each file that arrives is told and done once, none is deleted
//! that was not done, and nothing is lost with the connection.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::{Setup, account, give_to_server, is_root, wait_until};
use crate::desk::Desk;

/// Has a file appear whole.
fn arrive(desk: &Desk, name: &str, content: impl AsRef<[u8]>) {
    desk.server.write("arriving", content);
    fs::rename(desk.server.path("arriving"), desk.server.path(name)).expect("rename");
}

#[test]
fn files_that_stay_are_told_once_and_again_when_they_change() {
    let desk = Desk::new();
    desk.server.write("in/old", "x");
    desk.server.write("other/here", "x");
    desk.server.write("in/.tf-00.upload", "on its way");
    desk.server.mkdir("in/directory");
    let watch = desk.start(&["watch", "--interval", "0.01", "in", "other"]);
    wait_until("both", || watch.lines().len() == 2);
    for number in 0..30 {
        arrive(&desk, &format!("in/{number}"), "x");
        wait_until("the next", || watch.lines().len() == 3 + number);
        assert_eq!(watch.lines().last(), Some(&format!("in/{number}")));
    }
    arrive(&desk, "in/old", "longer");
    wait_until("the changed one", || watch.lines().len() == 33);
    assert_eq!(watch.lines().last().expect("line"), "in/old");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(watch.lines().len(), 33);
    assert_eq!(desk.server.names("in").len(), 33);
    watch.signal(Signal::SIGINT);
    assert_eq!(watch.end(), Some(130));
}

#[test]
fn received_files_are_whole_before_they_are_deleted_and_overwrite_none() {
    let desk = Desk::new();
    let content = b"some text\n".repeat(100_000);
    desk.server.write("in/big", &content);
    fs::create_dir(desk.path().join("got")).expect("mkdir");
    fs::write(desk.path().join("got/same"), "same").expect("write");
    fs::write(desk.path().join("got/other"), "mine").expect("write");
    let all = ["watch", "--delete", "--get", "got", "--interval", "0.01", "--json", "in"];
    let watch = desk.start(&all);
    watch.expect_lines(&[r#"{"type":"arrival","path":"in/big","local":"got/big","deleted":true}"#]);
    let got = |name: &str| fs::read(desk.path().join("got").join(name)).expect("read");
    assert!(got("big") == content);
    arrive(&desk, "in/same", "same");
    wait_until("the second", || watch.lines().len() == 2);
    arrive(&desk, "in/other", "else");
    wait_until("the third", || watch.lines().len() == 3);
    arrive(&desk, "in/other", "third");
    wait_until("the last", || watch.lines().len() == 4);
    assert!(watch.lines()[3].contains("got/other.2"), "{:?}", watch.lines());
    assert_eq!(got("other"), b"mine");
    assert_eq!((got("other.1"), got("other.2")), (b"else".to_vec(), b"third".to_vec()));
    wait_until("the end of all", || desk.server.names("in").is_empty());
    let mut names: Vec<_> = fs::read_dir(desk.path().join("got"))
        .expect("read directory")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["big", "other", "other.1", "other.2", "same"]);
}

#[test]
fn a_file_that_can_not_be_received_stays_until_it_can() {
    let desk = Desk::new();
    desk.server.write("in/f", "content");
    let watch = desk.start(&["watch", "--delete", "--get", "later", "--interval", "0.01", "in"]);
    watch.wait_for_complaint("later");
    assert!(desk.server.exists("in/f"));
    fs::create_dir(desk.path().join("later")).expect("mkdir");
    watch.expect_lines(&["later/f"]);
    wait_until("its end", || !desk.server.exists("in/f"));
}

#[test]
fn a_command_decides_whether_a_file_is_done_and_one_that_fails_holds_up_none() {
    let desk = Desk::new();
    let odd = "$(touch hacked) `touch hacked` '\" ;touch hacked;";
    for name in ["-n", "poison", odd] {
        desk.server.write(&format!("in/{name}"), "x");
    }
    let command = "echo {} >> done; case {} in *poison) test -e cured;; esac";
    let watch = desk.start(&["watch", "--delete", "--exec", command, "--interval", "0.02", "in"]);
    wait_until("the two others", || watch.lines().len() == 2);
    for number in 0..5 {
        arrive(&desk, &format!("in/{number}"), "x");
    }
    wait_until("the five", || watch.lines().len() == 7);
    assert!(desk.server.exists("in/poison"));
    assert!(watch.complaints().contains("in/poison: the command failed: exit status: 1"));
    fs::write(desk.path().join("cured"), "").expect("write");
    wait_until("the last", || watch.lines().len() == 8);
    wait_until("the end of all", || desk.server.names("in").is_empty());
    assert!(!desk.path().join("hacked").exists());
    let done = fs::read_to_string(desk.path().join("done")).expect("read");
    assert!(done.contains(&format!("in/{odd}\n")), "{done}");
}

#[test]
fn a_command_gets_the_local_file_when_there_is_one() {
    let desk = Desk::new();
    desk.server.write("-r", "in the root");
    let command = "cat \"$TF_FILE\" {} > out; echo \"$TF_PATH\" >> out";
    let watch = desk.tf(&["watch", "-n", "1", "--get", ".", "--exec", command, "--prefix=-", ""]);
    assert_eq!((watch.code, watch.out.as_str()), (Some(0), "./-r\n"), "{}", watch.err);
    let out = fs::read_to_string(desk.path().join("out")).expect("read");
    assert_eq!(out, "in the rootin the root/-r\n");
    assert!(desk.server.exists("-r"));
}

#[test]
fn a_lost_connection_is_opened_anew_and_no_file_is_told_twice() {
    let mut desk =
        Desk::with(Setup { tf: "listen = [\"127.0.0.1:0\"]".to_owned(), ..Setup::default() });
    // The port stays the same when the server starts again.
    let port = desk.server.address().port();
    let config = fs::read_to_string(desk.server.config_path()).expect("read");
    let fixed = config.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    fs::write(desk.server.config_path(), fixed).expect("write");
    desk.server.write("in/1", "x");
    let watch = desk.start(&["watch", "--interval", "0.01", "in"]);
    watch.expect_lines(&["in/1"]);
    desk.server.signal(Signal::SIGTERM);
    assert_eq!(desk.server.wait_for_end(), Some(0));
    watch.wait_for_complaint("trying again in 1 s");
    desk.server.write("in/2", "x");
    desk.server.start_again();
    watch.expect_lines(&["in/1", "in/2"]);
    watch.wait_for_complaint("connected again");
    let _ = watch;
    let given_up = desk.start(&["watch", "--retries", "1", "in"]);
    wait_until("both", || given_up.lines().len() == 2);
    desk.server.signal(Signal::SIGTERM);
    assert_eq!(desk.server.wait_for_end(), Some(0));
    assert_eq!(given_up.end(), Some(3));
}

#[test]
fn a_command_that_takes_longer_than_the_server_waits_is_not_run_again() {
    let desk = Desk::with(Setup { tf: "idle_timeout = 0.3".to_owned(), ..Setup::default() });
    desk.server.write("in/f", "x");
    let watch = desk.start(&["watch", "--delete", "--exec", "echo >> runs; sleep 0.8", "in"]);
    watch.wait_for_complaint("connected again");
    wait_until("its end", || !desk.server.exists("in/f"));
    let runs = fs::read_to_string(desk.path().join("runs")).expect("read");
    assert_eq!(runs.lines().count(), 1);
}

#[test]
fn who_may_not_delete_is_told_so() {
    if !is_root() {
        println!("left out: taking identities needs root");
        return;
    }
    let desk = Desk::with(Setup {
        tf: "mode = \"multi-user\"\nusers = \"users\"".to_owned(),
        users: account("ann", "a", "nobody:d:read-only:"),
        directories: &["d/in"],
        ..Setup::default()
    });
    give_to_server(&desk.server.path("d"));
    desk.server.write("d/in/f", "x");
    fs::write(desk.path().join("password"), "a\n").expect("write");
    let login = ["--user", "ann", "--password-file", "password"];
    let watch = ["watch", "--delete", "--interval", "0.02", "in"];
    let watch = desk.start(&[&login[..], &watch].concat());
    watch.wait_for_complaint("in/f is told again and again: may this account delete it");
    assert!(desk.server.exists("d/in/f"));
}

#[test]
fn what_makes_no_sense_is_refused_at_once() {
    let desk = Desk::new();
    for (arguments, code, words) in [
        (&["watch"][..], 2, "DIR"),
        (&["watch", "--interval", "0", "in"], 2, "above 0"),
        (&["watch", "--prefix", "a/b", "in"], 2, "--prefix"),
        (&["watch", "a:in", "b:in"], 2, "one server"),
        (&["watch", "missing"], 1, "FAILED 5"),
        (&["--server", "127.0.0.1:1", "watch", "in"], 3, "127.0.0.1:1"),
    ] {
        let run = desk.tf(arguments);
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.err);
        assert!(run.err.contains(words), "{arguments:?}: {}", run.err);
    }
}
