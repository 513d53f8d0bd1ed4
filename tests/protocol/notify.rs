//! Notification mode: ADDNTFY and STARTNTFY, what is told and when, whatever
//! becomes of the directories meanwhile.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tfd::tf::wire::WireError;

use crate::common::{
    Client, PATIENCE, Server, Setup, account, connections, give_to_server, is_root, pids,
    reply_for, wait_until,
};

/// A client that watches these directories at this interval.
pub(crate) fn watching(server: &Server, interval: &str, list: &[(&str, &str)]) -> Client {
    let mut client = server.connect();
    for (token, path) in list {
        client.expect(format!("ADDNTFY {token} {path}"), 0);
    }
    client.send(format!("STARTNTFY {interval}"));
    client
}

/// Asserts that the client is told nothing for a while.
#[track_caller]
pub(crate) fn expect_quiet(client: &mut Client, milliseconds: u64) {
    let short = Some(Duration::from_millis(milliseconds));
    client
        .wire
        .socket()
        .set_read_timeout(short)
        .expect("timeout");
    let mut body = Vec::new();
    let read = client.wire.read_message(&mut body);
    assert!(
        matches!(read, Err(WireError::TimedOut)),
        "{read:?} {}",
        body.escape_ascii()
    );
    client
        .wire
        .socket()
        .set_read_timeout(Some(PATIENCE))
        .expect("timeout");
}

/// Asserts what comes next, and answers.
#[track_caller]
pub(crate) fn expect_told(client: &mut Client, told: &str, answer: &str) {
    assert_eq!(client.reply(), told);
    client.send(answer);
}

/// Has a file appear whole, owner and all.
pub(crate) fn arrive(server: &Server, name: &str) {
    if let Some((directory, _)) = name.rsplit_once('/') {
        server.mkdir(directory);
    }
    server.write("arriving", "x");
    fs::rename(server.path("arriving"), server.path(name)).expect("rename");
}

#[test]
fn what_can_not_be_watched_is_refused_and_the_session_goes_on() {
    let server = Server::start();
    server.write("d/f", "x");
    symlink("/etc", server.path("out")).expect("link");
    let long = "x".repeat(256);
    let mut client = server.connect();
    client.expect_all(&[
        ("STARTNTFY", 6),
        ("STARTNTFY 1", 6),
        ("ADDNTFY . d", 5),
        ("ADDNTFY .. d", 5),
        ("ADDNTFY a/b d", 5),
        ("ADDNTFY a/b ../d", 5),
        (&format!("ADDNTFY {long} d"), 5),
        ("ADDNTFY tok", 5),
        ("ADDNTFY", 5),
        ("ADDNTFY tok ../d", 1),
        ("ADDNTFY tok out", 1),
        ("ADDNTFY tok d/f", 5),
        ("ADDNTFY tok missing", 5),
        ("STARTNTFY", 6),
        (&format!("ADDNTFY {} d", &long[1..]), 0),
        ("addntfy  d", 0),
        ("ADDNTFY tok ", 0),
    ]);
    client.expect_alive();
    client.send("STARTNTFY 0.001");
    expect_told(&mut client, "1 f", "END");
    client.expect_closed();
}

#[test]
fn files_there_before_and_files_that_come_are_told_and_deleted_on_request() {
    let server = Server::start();
    server.write("d/old", "x");
    server.write("staging", "x");
    server.mkdir("d/directory");
    symlink("old", server.path("d/link")).expect("link");
    let mut client = watching(&server, "0.001", &[("", "d")]);
    expect_told(&mut client, "0 old", "DEL");
    expect_quiet(&mut client, 50);
    wait_until("the end of what was told", || {
        server.names("d") == ["directory", "link"]
    });
    arrive(&server, "d/made new");
    expect_told(&mut client, "0 made new", "del");
    fs::rename(server.path("staging"), server.path("d/renamed")).expect("rename");
    expect_told(&mut client, "0 renamed", "DEL");
    fs::hard_link(server.config_path(), server.path("d/linked")).expect("hard link");
    expect_told(&mut client, "0 linked", "DEL");
    server.connect().send_file("d/sent", false, b"x");
    expect_told(&mut client, "0 sent", "DEL");
    expect_quiet(&mut client, 50);
    wait_until("the end of what was told", || {
        server.names("d") == ["directory", "link"]
    });
}

#[test]
fn only_names_that_begin_with_the_token_are_told_and_none_of_the_servers_own() {
    let server = Server::start();
    for name in [
        "msg-1",
        "msg",
        "Msg-1",
        "a-msg-1",
        ".tfd-00.part",
        "jail.key",
        "long-token-1",
    ] {
        server.write(&format!("d/{name}"), "x");
    }
    let mut client = watching(
        &server,
        "0.001",
        &[("msg-", "d"), ("long-token-", "d"), ("jail", "d")],
    );
    expect_told(&mut client, "0 msg-1", "DEL");
    expect_told(&mut client, "1 long-token-1", "DEL");
    for name in ["ms", "x-msg-", ".tfd-01.part"] {
        server.write(&format!("d/{name}"), "x");
    }
    expect_quiet(&mut client, 50);
    arrive(&server, "d/msg-2");
    expect_told(&mut client, "0 msg-2", "DEL");
    wait_until("its end", || !server.exists("d/msg-2"));
    let mut all = watching(&server, "0.001", &[("", "d")]);
    let told: HashSet<String> = (0..5)
        .map(|_| {
            let told = all.reply();
            all.send("DEL");
            told
        })
        .collect();
    let expected = ["0 msg", "0 Msg-1", "0 a-msg-1", "0 ms", "0 x-msg-"].map(str::to_owned);
    assert_eq!(told, HashSet::from(expected));
    expect_quiet(&mut all, 50);
}

#[test]
fn a_file_that_stays_is_told_again_after_each_interval_in_the_order_of_the_list() {
    let server = Server::start();
    server.write("a/one", "x");
    server.write("b/two", "x");
    let mut client = watching(&server, "0.1", &[("", "b"), ("", "a")]);
    let begin = Instant::now();
    let answers = ["OK", "", "whatever", "ok"].into_iter().cycle();
    for answer in answers.take(31) {
        expect_told(&mut client, "0 two", answer);
        expect_told(&mut client, "1 one", answer);
    }
    let taken = begin.elapsed();
    assert!((3..30).contains(&taken.as_secs()), "{taken:?}");
    // One entry rests, the other goes on.
    let rest = Duration::from_secs(20);
    let mut client = watching(&server, "20", &[("", "b"), ("", "a")]);
    for number in 0..50 {
        arrive(&server, &format!("a/{number}"));
    }
    let begin = Instant::now();
    let (mut deleted, mut rested) = (0, 0);
    while deleted < 51 {
        let told = client.reply();
        deleted += usize::from(told.starts_with('1'));
        rested += usize::from(told.starts_with('0'));
        client.send(if told.starts_with('1') { "DEL" } else { "OK" });
    }
    let most = 1 + begin.elapsed().as_secs() / rest.as_secs();
    assert!(
        rested as u64 <= most,
        "told {rested} times in {:?}",
        begin.elapsed()
    );
    wait_until("the last", || server.names("a").is_empty());
    assert!(server.exists("b/two"));
}

#[test]
fn a_file_that_stays_holds_up_none_of_its_directory() {
    let server = Server::start();
    for name in ["a", "b", "c"] {
        server.write(&format!("d/{name}"), "x");
    }
    let mut client = watching(&server, "0.001", &[("", "d")]);
    let mut told = || {
        let told = client.reply();
        client.send("OK");
        told
    };
    let first = HashSet::from([told(), told(), told()]);
    assert_eq!(
        first,
        HashSet::from(["0 a", "0 b", "0 c"].map(str::to_owned))
    );
    arrive(&server, "d/e");
    // One of the others may have been on its way before: it comes twice then.
    assert!((0..5).any(|_| told() == "0 e"));
}

#[test]
fn a_file_replaced_after_it_was_told_is_not_deleted_but_told_again() {
    let server = Server::start();
    server.write("d/f", "old");
    server.write("staging", "new");
    let mut client = watching(&server, "0.001", &[("", "d")]);
    assert_eq!(client.reply(), "0 f");
    fs::rename(server.path("staging"), server.path("d/f")).expect("rename");
    client.send("DEL");
    assert_eq!(client.reply(), "0 f");
    assert_eq!(server.read("d/f"), b"new");
    client.send("DEL");
    expect_quiet(&mut client, 50);
    wait_until("its end", || !server.exists("d/f"));
}

#[test]
fn a_directory_that_is_replaced_or_moved_on_the_way_is_watched_on_as_its_path_says() {
    let server = Server::start();
    server.mkdir("a/b/c");
    server.mkdir("new/b/c");
    server.mkdir("empty");
    server.write("new/b/c/second", "x");
    let mut client = watching(&server, "0.001", &[("", "a/b/c")]);
    expect_quiet(&mut client, 50);
    // What is on the way is exchanged.
    fs::rename(server.path("a"), server.path("aside")).expect("rename");
    fs::rename(server.path("new"), server.path("a")).expect("rename");
    expect_told(&mut client, "0 second", "DEL");
    arrive(&server, "aside/b/c/elsewhere");
    expect_quiet(&mut client, 50);
    arrive(&server, "a/b/c/third");
    expect_told(&mut client, "0 third", "DEL");
    // The directory itself is replaced in one step.
    wait_until("room", || server.names("a/b/c").is_empty());
    fs::rename(server.path("empty"), server.path("a/b/c")).expect("rename");
    arrive(&server, "a/b/c/fourth");
    expect_told(&mut client, "0 fourth", "DEL");
}

#[test]
fn a_directory_that_vanishes_disturbs_nobody_and_is_watched_again_when_it_is_back() {
    let server = Server::start();
    server.write("a/b/f", "x");
    server.mkdir("other");
    let mut observer = server.connect();
    let mut client = watching(&server, "0.001", &[("", "a/b"), ("", "other")]);
    assert_eq!(client.reply(), "0 f");
    // An open handle keeps the system from telling of the deletion itself.
    let open = fs::File::open(server.path("a/b")).expect("open");
    fs::remove_dir_all(server.path("a")).expect("remove");
    client.send("DEL");
    arrive(&server, "other/g");
    expect_told(&mut client, "1 g", "DEL");
    observer.expect_alive();
    for round in 0..3 {
        arrive(&server, &format!("a/b/back {round}"));
        expect_told(&mut client, &format!("0 back {round}"), "OK");
        assert_eq!(client.reply(), format!("0 back {round}"));
        fs::remove_dir_all(server.path("a")).expect("remove");
        client.send("OK");
        expect_quiet(&mut client, 30);
    }
    server.write("a", "a file now");
    expect_quiet(&mut client, 30);
    arrive(&server, "other/h");
    expect_told(&mut client, "1 h", "DEL");
    fs::remove_file(server.path("a")).expect("remove");
    arrive(&server, "a/b/last");
    expect_told(&mut client, "0 last", "END");
    client.expect_closed();
    drop(open);
    assert!(server.exists("a/b/last"));
}

#[test]
fn a_directory_gone_between_addntfy_and_startntfy_is_waited_for() {
    let server = Server::start();
    server.mkdir("d");
    let mut client = server.connect();
    client.expect("ADDNTFY  d", 0);
    fs::remove_dir(server.path("d")).expect("remove");
    client.send("STARTNTFY 0.001");
    expect_quiet(&mut client, 50);
    arrive(&server, "d/f");
    expect_told(&mut client, "0 f", "DEL");
}

#[test]
fn behind_a_link_files_are_found_at_the_interval_wherever_it_leads() {
    let server = Server::start();
    server.mkdir("x");
    server.write("y/f", "x");
    symlink("x", server.path("link")).expect("link");
    let mut client = watching(&server, "0.02", &[("", "link")]);
    expect_quiet(&mut client, 50);
    arrive(&server, "x/first");
    expect_told(&mut client, "0 first", "DEL");
    fs::remove_file(server.path("link")).expect("remove");
    symlink("y", server.path("link")).expect("link");
    expect_told(&mut client, "0 f", "DEL");
    fs::remove_file(server.path("link")).expect("remove");
    expect_quiet(&mut client, 50);
    arrive(&server, "link/g");
    expect_told(&mut client, "0 g", "END");
    client.expect_closed();
}

#[test]
fn a_client_that_leaves_while_nothing_happens_leaves_no_process() {
    let server = Server::start();
    server.mkdir("d");
    let client = watching(&server, "1000", &[("", "d")]);
    let mut early = watching(&server, "1000", &[("", "d")]);
    early.send("OK");
    expect_quiet(&mut early, 50);
    assert_eq!(pids(&server, "tfd-session").len(), 2);
    drop((client, early));
    wait_until("their end", || connections(&server).is_empty());
}

#[test]
fn an_answer_sent_early_is_taken_for_the_next_file() {
    let server = Server::start();
    server.mkdir("d");
    let mut client = watching(&server, "0.001", &[("", "d")]);
    client.send("DEL");
    client.send("END");
    expect_quiet(&mut client, 50);
    arrive(&server, "d/f");
    assert_eq!(client.reply(), "0 f");
    wait_until("its end", || !server.exists("d/f"));
    arrive(&server, "d/g");
    assert_eq!(client.reply(), "0 g");
    client.expect_closed();
    assert!(server.exists("d/g"));
}

#[test]
fn the_idle_limit_holds_for_answers_and_not_while_there_is_nothing_to_tell() {
    let server = "idle_timeout = 2".to_owned();
    let server = Server::with(Setup {
        server,
        ..Setup::default()
    });
    server.mkdir("d");
    let mut client = watching(&server, "0.001", &[("", "d")]);
    expect_quiet(&mut client, 3000);
    let begin = Instant::now();
    arrive(&server, "d/f");
    assert_eq!(client.reply(), "0 f");
    client.expect_closed();
    assert!(begin.elapsed() >= Duration::from_secs(2) && server.exists("d/f"));
}

#[test]
fn a_stop_of_the_server_does_not_wait_for_who_is_watching() {
    let setup = Setup {
        server: "stop_grace = 600".to_owned(),
        ..Setup::default()
    };
    let mut server = Server::with(setup);
    server.mkdir("d");
    let mut client = watching(&server, "1000", &[("", "d")]);
    expect_quiet(&mut client, 50);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end(), Some(0));
    client.expect_closed();
}

#[test]
fn the_shortest_interval_is_the_configured_one() {
    let tf = "notify_interval_floor = 0.2".to_owned();
    let server = Server::with(Setup {
        tf,
        ..Setup::default()
    });
    server.write("d/f", "x");
    let mut client = watching(&server, "0.001", &[("", "d")]);
    let begin = Instant::now();
    for _ in 0..3 {
        expect_told(&mut client, "0 f", "OK");
    }
    assert!(
        begin.elapsed() >= Duration::from_millis(400),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn who_may_delete_nothing_is_told_of_files_and_they_stay() {
    if !is_root() {
        println!("left out: taking identities needs root");
        return;
    }
    for option in ["read-only", "append-only"] {
        let server = Server::with(Setup {
            server: "audit = \"audit.jsonl\"\nmode = \"multi-user\"\nusers = \"users\"".to_owned(),
            users: account("ann", "a", &format!("nobody:d:{option}:")),
            directories: &["d/in"],
            ..Setup::default()
        });
        server.write("d/in/f", "x");
        let mut client = server.connect();
        client.expect_all(&[("LOGIN ann a", 0), ("ADDNTFY  in", 0), ("DEL in/f", 1)]);
        client.send("STARTNTFY 0.001");
        for _ in 0..5 {
            expect_told(&mut client, "0 f", "DEL");
        }
        assert!(server.exists("d/in/f"));
        server.write("d/in/e", "x");
        assert_eq!(client.reply(), "0 f");
        let log = server.config_path().with_file_name("audit.jsonl");
        let failed = "\"command\":\"STARTNTFY\",\"path\":\"in/f\",\"other\":\"delete\",\"result\":\"failed\"";
        wait_until(failed, || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains(failed))
        });
    }
}

#[test]
fn a_directory_closed_for_a_while_is_watched_on_when_it_is_open_again() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start();
    server.mkdir("d");
    let mode = |bits| fs::set_permissions(server.path("d"), fs::Permissions::from_mode(bits));
    let mut client = watching(&server, "0.01", &[("", "d")]);
    expect_quiet(&mut client, 50);
    mode(0).expect("mode");
    if is_root() {
        fs::write(server.path("d/f"), "x").expect("write");
        give_to_server(&server.path("d/f"));
        expect_quiet(&mut client, 100);
    }
    mode(0o755).expect("mode");
    arrive(&server, "d/f");
    expect_told(&mut client, "0 f", "DEL");
    let mut other = server.connect();
    mode(0).expect("mode");
    assert_eq!(other.ask("ADDNTFY  d"), reply_for(1));
}
