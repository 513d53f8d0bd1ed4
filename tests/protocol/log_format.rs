//! The forms of the log: text, JSON, the journal's own.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::{PATIENCE, Server, Setup, wait_until};

/// Has a server go on with this line above `log`.
fn reload(server: &Server, line: &str) {
    let config = fs::read_to_string(server.config_path()).expect("read");
    let config = config.replacen("log = ", &format!("{line}\nlog = "), 1);
    fs::write(server.config_path(), config).expect("write");
    server.signal(Signal::SIGHUP);
}

fn check(server: &Server) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
    let command = command.args(["check", "--config"]);
    let output = command.arg(server.config_path()).output().expect("run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

#[test]
fn text_has_time_level_process_and_keys() {
    let mut server = Server::start();
    server.connect().expect_alive();
    server.wait_for_log("session start");
    let log = server.log();
    let line = log.iter().find(|line| line.contains("session start"));
    let words: Vec<&str> = line.expect("a line").split_whitespace().collect();
    let [time, "INFO", "[session", pid, "session", "start", peer, ..] = words[..] else {
        panic!("{words:?}");
    };
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    assert!(pid.trim_end_matches(']').parse::<u32>().is_ok(), "{pid}");
    assert!(peer.starts_with("peer=127.0.0.1:"), "{peer}");
}

#[test]
fn json_is_an_object_a_line_with_typed_members() {
    let server = Server::start();
    reload(&server, "log_file = \"tfd.log\"\nlog_format = \"json\"");
    let path = server.config_path().with_file_name("tfd.log");
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let parse = |line| serde_json::from_str(line).expect("JSON");
        whole.lines().map(parse).collect()
    };
    let find = |message: &str| {
        let mut lines = lines().into_iter();
        lines.find(|line| line["message"] == message)
    };
    wait_until("the reload", || find("configuration read again").is_some());
    server.connect().expect_alive();
    wait_until("a session", || find("session start").is_some());
    let line = find("session start").expect("a line");
    let time: jiff::Timestamp = line["time"]
        .as_str()
        .expect("time")
        .parse()
        .expect("RFC 3339");
    let age = jiff::Timestamp::now().duration_since(time).as_secs();
    assert!((0..60).contains(&age), "{line}");
    assert_eq!(line["level"], "info");
    assert_eq!(line["process"], "session");
    assert!(line["pid"].is_u64() && line["slot"].is_u64(), "{line}");
    let peer = line["peer"].as_str().expect("peer");
    assert!(peer.starts_with("127.0.0.1:"), "{line}");
}

#[test]
fn the_journal_gets_fields_at_its_own_socket() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("journal");
    let socket = UnixDatagram::bind(&path).expect("bind");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let place = path.to_string_lossy().into_owned();
    let program = env!("CARGO_BIN_EXE_tfd").into();
    let server = Server::with(Setup {
        program: Some((program, vec![("TFD_JOURNAL_SOCKET", place)])),
        ..Setup::default()
    });
    reload(&server, "log_format = \"journal\"");
    let next = |message: &str| loop {
        let mut buffer = [0; 32 * 1024];
        let len = socket.recv(&mut buffer).expect("an entry");
        let entry = String::from_utf8(buffer[..len].to_vec()).expect("text");
        let fields: Vec<String> = entry.lines().map(str::to_owned).collect();
        if fields[0].contains(message) {
            return fields;
        }
    };
    let reloaded = next("configuration read again");
    let has = |field: &str| reloaded.iter().any(|line| line == field);
    assert!(reloaded[0].starts_with("MESSAGE=[tfd "), "{reloaded:?}");
    for field in ["PRIORITY=6", "SYSLOG_IDENTIFIER=tfd", "TFD_PROCESS=tfd"] {
        assert!(has(field), "{field}: {reloaded:?}");
    }
    assert!(has(&format!("SYSLOG_PID={}", server.pid())), "{reloaded:?}");
    server.connect().expect_alive();
    let session = next("session start");
    for begin in ["TFD_PEER=127.0.0.1:", "TFD_SLOT=", "TFD_PROCESS=session"] {
        let found = session.iter().any(|line| line.starts_with(begin));
        assert!(found, "{begin}: {session:?}");
    }
}

#[test]
fn check_refuses_an_unknown_form_and_a_file_for_the_journal() {
    for (line, why) in [
        ("log_format = \"xml\"", "server.log_format"),
        (
            "log_file = \"l\"\nlog_format = \"journal\"",
            "server.log_file",
        ),
    ] {
        let server = Server::start();
        reload(&server, line);
        let (fine, said) = check(&server);
        assert!(!fine && said.contains(why), "{said}");
    }
}
