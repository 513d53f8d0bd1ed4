//! The audit log: who did what to which path, over rotation and the auditor's
//! death.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Client, Server, Setup, descendants, wait_until};

fn server() -> Server {
    Server::with(Setup {
        server: "audit = \"audit.jsonl\"".to_owned(),
        ..Setup::default()
    })
}

fn lines(server: &Server) -> Vec<String> {
    let log = fs::read_to_string(server.config_path().with_file_name("audit.jsonl"));
    log.unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Waits for a line that has all of these parts.
#[track_caller]
fn expect(server: &Server, parts: &[&str]) {
    let fits = |line: &String| parts.iter().all(|part| line.contains(part));
    wait_until(&format!("{parts:?} in {:#?}", lines(server)), || {
        lines(server).iter().any(fits)
    });
}

fn pid_of(server: &Server, name: &str) -> u32 {
    let all = descendants(server.pid());
    all.iter()
        .find(|(_, found)| found == name)
        .unwrap_or_else(|| panic!("no {name}: {all:?}"))
        .0
}

#[test]
fn every_request_that_names_a_path_is_a_line_with_its_result_and_bytes() {
    let server = server();
    let mut client = server.connect();
    client.send_file("in", false, &[7; 150_000]);
    client.send("RCVFILE 1 in");
    client.receive_stream().expect("stream");
    client.expect_all(&[
        ("MKDIR d \"quoted\"", 0),
        ("DEL missing", 9),
        ("RENAM a | b", 31),
        ("DEL ../etc/passwd", 1),
    ]);
    assert_eq!(client.ask("SNDFILE 1 half"), "CONT");
    assert_eq!(client.ask("CONT 12345"), "CONT");
    drop(client);
    let process = format!(
        "\"uid\":{}",
        fs::metadata(server.path("")).map(uid).expect("root")
    );
    expect(
        &server,
        &["\"command\":\"BEGIN\"", "\"result\":\"ok\"", &process],
    );
    expect(
        &server,
        &["\"command\":\"SNDFILE\",\"path\":\"in\",\"result\":\"ok\",\"bytes\":150000}"],
    );
    expect(
        &server,
        &["\"path\":\"in\",\"other\":\"delete\",\"result\":\"ok\",\"bytes\":150000}"],
    );
    expect(
        &server,
        &["\"path\":\"d \\\"quoted\\\"\"", "\"peer\":\"127.0.0.1:"],
    );
    expect(
        &server,
        &["\"command\":\"DEL\",\"path\":\"missing\",\"result\":\"failed\",\"code\":9"],
    );
    expect(
        &server,
        &[
            "\"command\":\"RENAM\",\"path\":\"a\",\"other\":\"b\"",
            "\"code\":31",
        ],
    );
    expect(
        &server,
        &["\"command\":\"REFUSED\",\"path\":\"../etc/passwd\",\"other\":\"DEL\""],
    );
    expect(
        &server,
        &["\"path\":\"half\",\"result\":\"connection lost\",\"bytes\":5}"],
    );
    let mode = fs::metadata(server.config_path().with_file_name("audit.jsonl")).expect("log");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let check = "import json,sys\nfor line in open(sys.argv[1]): json.loads(line)['time']";
    let log = server.config_path().with_file_name("audit.jsonl");
    let read = Command::new("python3")
        .args(["-c", check])
        .arg(log)
        .status()
        .expect("python3");
    assert!(read.success(), "not JSON: {:#?}", lines(&server));
}

fn uid(metadata: fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&metadata)
}

#[test]
fn a_log_moved_away_is_begun_anew_at_sighup_and_running_sessions_follow() {
    let mut server = server();
    let mut client = server.connect();
    client.expect("MKDIR before", 0);
    expect(&server, &["before"]);
    let log = server.config_path().with_file_name("audit.jsonl");
    fs::rename(&log, log.with_extension("1")).expect("rename");
    server.signal(Signal::SIGHUP);
    server.wait_for_log("configuration read again");
    client.expect("MKDIR after", 0);
    expect(&server, &["after"]);
    assert!(!lines(&server).iter().any(|line| line.contains("before")));
}

#[test]
fn what_was_done_before_a_stop_is_on_record() {
    let mut server = server();
    let mut client = server.connect();
    for number in 0..200 {
        client.expect(format!("MKDIR {number}"), 0);
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end(), Some(0));
    assert_eq!(
        lines(&server)
            .iter()
            .filter(|line| line.contains("MKDIR"))
            .count(),
        200
    );
}

#[test]
fn no_session_goes_on_unseen_and_a_new_one_finds_a_new_auditor() {
    let mut server = server();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let mut client = server.connect();
    client.expect("MKDIR seen", 0);
    expect(&server, &["seen"]);
    let auditor = pid_of(&server, "tfd-auditor");
    kill(Pid::from_raw(auditor as i32), Signal::SIGKILL).expect("kill");
    server.wait_for_log("auditor ended unasked");
    // It may have been ended already.
    let _ = client.wire.write_message(b"MKDIR unseen");
    let mut body = Vec::new();
    while client.wire.read_message(&mut body).is_ok() {}
    let mut next: Option<Client> = None;
    wait_until("a session with a new auditor", || {
        next = Client::knock(server.address()).try_in();
        next.is_some()
    });
    next.expect("session").expect("MKDIR again", 0);
    expect(&server, &["again"]);
}

#[test]
fn a_log_that_is_a_planted_link_keeps_tfd_from_starting() {
    let server = Server::start();
    let text = fs::read_to_string(server.config_path()).expect("read");
    let config = server.config_path().with_file_name("planted.toml");
    let target = server.config_path().with_file_name("target");
    let link = server.config_path().with_file_name("audit.jsonl");
    symlink(&target, &link).expect("link");
    if !crate::common::is_root() {
        println!("left out: links of others need root");
        return;
    }
    std::os::unix::fs::lchown(&link, Some(65534), None).expect("chown");
    fs::write(
        &config,
        text.replace("[tf]", "audit = \"audit.jsonl\"\n[tf]"),
    )
    .expect("write");
    let mut tfd = Command::new(env!("CARGO_BIN_EXE_tfd"));
    let output = tfd
        .args(["serve", "--config"])
        .arg(config)
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("server.audit") && !target.exists(), "{said}");
}

#[test]
fn later_commands_are_lines_with_their_paths() {
    let server = server();
    server.write("f", "12345");
    let mut client = server.connect();
    client.expect_all(&[("LSV2 @||@list", 0), ("RMKDIR a/b", 0), ("TASFS t", 0)]);
    assert_eq!(client.ask("NETLOCK_TRY 9 f"), "OK 0");
    assert_eq!(client.ask("XS1_OPEN f"), "OK 0");
    client.expect_all(&[
        ("XS1_WRITE 0 3 abc", 0),
        ("XS1_CLOSE 0", 0),
        ("NETMUTREL f x", 55),
    ]);
    client.send("INTREAD missing");
    assert_eq!(client.wire.read_i32().expect("length"), -1);
    for parts in [
        &["\"command\":\"LSV2\"", "\"other\":\"list\"", "\"bytes\":7}"][..],
        &["\"command\":\"RMKDIR\",\"path\":\"a/b\",\"result\":\"ok\""],
        &["\"command\":\"TASFS\",\"path\":\"t\",\"result\":\"ok\""],
        &["\"command\":\"NETLOCK_TRY\",\"path\":\"f\",\"result\":\"ok\""],
        &["\"command\":\"XS1_OPEN\",\"path\":\"f\",\"result\":\"ok\""],
        &[
            "\"command\":\"XS1_WRITE\",\"path\":\"f\",\"other\":\"0\"",
            "\"bytes\":3}",
        ],
        &["\"command\":\"XS1_CLOSE\",\"path\":\"f\""],
        &["\"command\":\"NETMUTREL\",\"path\":\"f\"", "\"code\":55"],
        &["\"command\":\"INTREAD\",\"path\":\"missing\",\"result\":\"failed\""],
    ] {
        expect(&server, parts);
    }
}
