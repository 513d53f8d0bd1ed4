//! What operators do with a running tfd: look, end sessions, collect metrics,
//! stop it while clients are busy.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::{
    Client, Server, Setup, VERSION, account, descendants, own_address, wait_until,
};

fn server_with(more: &str) -> Server {
    let server = format!("control = \"control\"\nmetrics = \"./metrics\"\n{more}");
    Server::with(Setup {
        server,
        ..Setup::default()
    })
}

fn beside(server: &Server, name: &str) -> PathBuf {
    server.config_path().with_file_name(name)
}

/// Exit status, output and complaints of `tfd` with these arguments.
fn tfd(server: &Server, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
    command
        .args(arguments)
        .arg("--control")
        .arg(beside(server, "control"));
    let output = command.output().expect("run tfd");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// The answer to a request for metrics.
fn http(server: &Server, request: &str) -> String {
    let mut socket = UnixStream::connect(beside(server, "metrics")).expect("connect");
    socket.write_all(request.as_bytes()).expect("ask");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("answer");
    answer
}

/// An upload of which a part has arrived.
fn upload(server: &Server, path: &str) -> Client {
    let mut client = server.connect();
    assert_eq!(client.ask(format!("SNDFILE 1 {path}")), "CONT");
    assert_eq!(client.ask([b"CONT ", &[7; 200_000][..]].concat()), "CONT");
    client
}

#[test]
fn status_shows_sessions_gates_and_what_they_do() {
    let server = server_with("");
    let mut idle = server.connect();
    idle.expect_alive();
    let _gate = Client::knock(server.address());
    let mut busy = upload(&server, "half \"a\" file");
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let sending = std::thread::spawn(move || {
        while !is_done.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(busy.ask([b"CONT ", &[7; 10_000][..]].concat()), "CONT");
        }
    });
    let (code, table, errors) = tfd(&server, &["status"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("tfd ") && lines[0].contains(": 2 sessions, 1 logging in"));
    assert!(lines[1].starts_with("SLOT ") && lines.len() == 5, "{table}");
    let upload = lines
        .iter()
        .find(|line| line.contains("SNDFILE half \"a\" file "));
    let upload = upload.unwrap_or_else(|| panic!("no upload: {table}"));
    assert!(
        upload.contains("K/s") && upload.contains("127.0.0.1:"),
        "{table}"
    );
    assert_eq!(
        lines.iter().filter(|line| line.ends_with("  -")).count(),
        1,
        "{table}"
    );
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.ends_with("logging in"))
            .count(),
        1,
        "{table}"
    );

    let (code, json, _) = tfd(&server, &["status", "--json"]);
    assert_eq!(code, Some(0));
    let check = "import json,sys\n\
        all = json.loads(sys.argv[1])\n\
        assert all['pid'] == int(sys.argv[2]) and all['limit'] == 4096 and not all['stopping']\n\
        assert sorted(c['state'] for c in all['connections']) == ['gate', 'session', 'session']\n\
        busy, = [c for c in all['connections'] if c['request']]\n\
        assert busy['request']['command'] == 'SNDFILE'\n\
        assert busy['request']['path'] == 'half \"a\" file' and busy['request']['seconds'] > 0\n\
        assert busy['bytes_received'] > 200000 and busy['bytes_per_second'] > 0\n\
        assert busy['user'] and busy['peer'] and busy['since'].endswith('Z') and busy['pid']\n";
    let mut python = Command::new("python3");
    let checked = python
        .args(["-c", check, &json, &server.pid().to_string()])
        .status();
    assert!(checked.expect("python3").success(), "{json}");
    done.store(true, Ordering::Relaxed);
    sending.join().expect("the upload goes on");
    wait_until("only the others are left", || {
        tfd(&server, &["status"])
            .1
            .contains(": 1 session, 1 logging in")
    });
}

#[test]
fn kick_ends_the_sessions_it_names_and_no_others() {
    let mut server = server_with("");
    let mut stays = server.connect();
    let mut goes = upload(&server, "broken off");
    let (_, table, _) = tfd(&server, &["status"]);
    let slot = table
        .lines()
        .find(|line| line.contains("broken off"))
        .expect("the upload");
    let slot = slot.split_whitespace().next().expect("slot").to_owned();
    let (code, told, errors) = tfd(&server, &["kick", "--slot", &slot]);
    assert_eq!(
        (code, told.as_str()),
        (Some(0), "ended 1 session\n"),
        "{errors}"
    );
    goes.expect_closed();
    stays.expect_alive();
    assert!(!server.exists("broken off"));
    server.wait_for_log("session ended as asked");

    for nobody in [
        ["kick", "--user", "no-such"],
        ["kick", "--address", "192.0.2.1"],
    ] {
        let (code, _, told) = tfd(&server, &nobody);
        assert_eq!(
            (code, told.as_str()),
            (Some(1), "tfd: no session matches\n")
        );
    }
    let (code, told, _) = tfd(&server, &["kick", "--address", "127.0.0.1"]);
    assert_eq!((code, told.as_str()), (Some(0), "ended 1 session\n"));
    stays.expect_closed();
    // An idle session ends by itself: nobody had to kill it.
    server.wait_for_log("reason=\"asked to end\"");
    server.connect().expect_alive();
    let (code, _, usage) = tfd(&server, &["kick"]);
    assert_eq!(code, Some(2), "{usage}");
}

#[test]
fn all_sessions_and_gates_can_be_ended_at_once() {
    let server = server_with("");
    let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    clients.push(Client::knock(server.address()));
    wait_until("a gate", || server.metric("tfd_gates") == 1);
    let (code, told, _) = tfd(&server, &["kick", "--all"]);
    assert_eq!((code, told.as_str()), (Some(0), "ended 5 sessions\n"));
    clients.iter_mut().for_each(Client::expect_closed);
    wait_until("no session is counted", || {
        server.metric("tfd_sessions") == 0
    });
}

#[test]
fn without_a_daemon_status_says_so() {
    let server = Server::start();
    let (code, _, told) = tfd(&server, &["status"]);
    assert_eq!(code, Some(1));
    let path = beside(&server, "control");
    let begin = format!(
        "tfd: no daemon answers at {}: is it running? (sudo?)",
        path.display()
    );
    assert!(told.starts_with(&begin), "{told}");
}

#[test]
fn the_control_socket_is_private_replaced_when_stale_and_removed_at_the_end() {
    let mut server = server_with("");
    let path = beside(&server, "control");
    assert_eq!(
        fs::metadata(&path).expect("socket").permissions().mode() & 0o777,
        0o600
    );
    server.signal(Signal::SIGKILL);
    server.wait_for_end();
    assert!(path.exists());
    server.start_again();
    assert_eq!(tfd(&server, &["status"]).0, Some(0));
    server.signal(Signal::SIGTERM);
    server.wait_for_end();
    assert!(!path.exists());
}

#[test]
fn who_says_nothing_or_nonsense_at_the_control_socket_holds_nothing_up() {
    let server = server_with("");
    let silent: Vec<UnixStream> = (0..7)
        .map(|_| UnixStream::connect(beside(&server, "control")).expect("connect"))
        .collect();
    wait_until("responders", || {
        descendants(server.pid())
            .iter()
            .filter(|(_, name)| name == "tfd-responder")
            .count()
            == 7
    });
    assert_eq!(tfd(&server, &["status"]).0, Some(0));
    for nonsense in [&b"\n"[..], b"kick slot x\n", &[b'a'; 5000], &[0xff, b'\n']] {
        let mut socket = UnixStream::connect(beside(&server, "control")).expect("connect");
        let _ = socket.write_all(nonsense);
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.starts_with("2\n"), "{answer}");
    }
    wait_until("their time is over", || {
        !descendants(server.pid())
            .iter()
            .any(|(_, name)| name == "tfd-responder")
    });
    drop(silent);
    server.connect().expect_alive();
}

#[test]
fn metrics_count_connections_refusals_and_bytes() {
    let mut server = server_with("max_sessions = 2\n");
    assert_eq!(server.metric("tfd_connections_total"), 0);
    let mut client = server.connect();
    client.send_file("f", false, &[7; 150_000]);
    assert_eq!(server.metric("tfd_sessions"), 1);
    let during = server.metric("tfd_bytes_received_total");
    assert!(during > 150_000, "{during}");
    let _gate = Client::knock(server.address());
    Client::knock(server.address()).expect_closed();
    server.wait_for_log("max_sessions");
    wait_until("it is counted", || {
        server.metric("tfd_refused_total{reason=\"max_sessions\"}") == 1
    });
    wait_until("a process for the one before", || {
        server.metric("tfd_gates") == 1
    });
    client.send("RCVFILE 0 f");
    client.receive_stream().expect("stream");
    client.send("END");
    wait_until("the end of the session", || {
        server.metric("tfd_sessions") == 0
    });
    let after = server.metric("tfd_bytes_received_total");
    assert!(
        after > during && after < during + 10_000,
        "{during} then {after}"
    );
    assert!(server.metric("tfd_bytes_sent_total") > 150_000);
    assert_eq!(server.metric("tfd_connections_total"), 2);
    assert_eq!(server.metric("tfd_processes_killed_total"), 0);
    assert_eq!(server.metric("tfd_generations"), 1);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "),
        ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "),
        ("nonsense\r\n\r\n", "HTTP/1.1 400 "),
    ] {
        let answer = http(&server, request);
        assert!(answer.starts_with(status), "{request}: {answer}");
    }
}

#[test]
fn metrics_count_wrong_keys_hashes_names_and_passwords() {
    let bob = account("bob", "right", "nobody:::").replacen(':', ":!", 1);
    let server = Server::with(Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"\nmetrics = \"./metrics\"\n".to_owned(),
        users: account("ann", "right", "nobody:::") + &bob,
        ..Setup::default()
    });
    let mut client = Client::knock(server.address());
    assert_eq!(client.ask(VERSION), "OK");
    let mut block = Client::key_block(&[1; 16]);
    block[100] ^= 1;
    let _ = client.wire.write_message(&block);
    let mut client = Client::knock(server.address());
    assert_eq!(client.ask(VERSION), "OK");
    client.send_key(&[1; 16]);
    assert_eq!(client.reply(), "OK");
    client.wire.encipher(&[1; 16]);
    let _ = client.wire.write_message(b"another hash");
    for (login, times) in [("ann wrong", 2), ("eve right", 1)] {
        for _ in 0..times {
            server.connect().expect(format!("LOGIN {login}"), 37);
        }
    }
    let mut locked = server.connect();
    locked.expect_reason("LOGIN bob right", "the account is locked.");
    for (labels, count) in [
        ("handshakes_refused_total{reason=\"key\"}", 1),
        ("handshakes_refused_total{reason=\"hash\"}", 1),
        ("logins_failed_total{reason=\"wrong_password\"}", 2),
        ("logins_failed_total{reason=\"closed_account\"}", 1),
        ("logins_failed_total{reason=\"unknown_user\"}", 1),
        ("logins_failed_total{reason=\"certificate\"}", 0),
    ] {
        wait_until(labels, || server.metric(&format!("tfd_{labels}")) == count);
    }
}

#[test]
fn collectors_that_say_nothing_keep_no_other_out() {
    let server = server_with("");
    let begin = Instant::now();
    let idle: Vec<UnixStream> = (0..40)
        .map(|_| {
            let mut socket = UnixStream::connect(beside(&server, "metrics")).expect("connect");
            socket.write_all(b"GET /met").expect("ask");
            socket
        })
        .collect();
    assert_eq!(server.metric("tfd_sessions"), 0);
    assert!(begin.elapsed() < Duration::from_secs(12));
    for mut socket in idle {
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.is_empty());
    }
}

#[test]
fn metrics_have_a_loopback_address_and_the_quota_where_there_is_one() {
    let address = format!("{}:9345", own_address());
    let server = Server::with(Setup {
        server: format!("metrics = \"{address}\"\nquota = \"1M\""),
        ..Setup::default()
    });
    server.connect().send_file("f", false, &[7; 1000]);
    let mut socket = TcpStream::connect(&address).expect("connect");
    socket
        .write_all(b"GET /metrics HTTP/1.0\r\n\r\n")
        .expect("ask");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("answer");
    assert!(
        text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("version=0.0.4"),
        "{text}"
    );
    assert!(text.contains("\ntfd_quota_used_bytes 1000\n"), "{text}");
    assert!(text.contains("\ntfd_quota_limit_bytes 1048576\n"), "{text}");
}

#[test]
fn a_stop_lets_an_upload_finish_and_ends_idle_sessions_at_once() {
    let mut server = server_with("stop_grace = 600\n");
    let mut idle = server.connect();
    idle.expect_alive();
    let mut busy = upload(&server, "slow");
    let begin = Instant::now();
    server.signal(Signal::SIGTERM);
    idle.expect_closed();
    assert!(
        TcpStream::connect(server.address()).is_err(),
        "new clients are refused"
    );
    let (code, table, _) = tfd(&server, &["status"]);
    assert_eq!(code, Some(0));
    assert!(
        table.contains("stopping") && table.contains("SNDFILE slow"),
        "{table}"
    );
    while begin.elapsed() < Duration::from_secs(3) {
        assert_eq!(busy.ask([b"CONT ", &[7; 20_000][..]].concat()), "CONT");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(busy.ask("OK"), "OK");
    assert!(server.read("slow").len() > 200_000);
    assert_eq!(server.wait_for_end(), Some(0));
}
