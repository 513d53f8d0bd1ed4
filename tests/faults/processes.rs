//! Signals, killed processes, restarts, reloads.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{
    Client, HASH, Server, Setup, VERSION, account, connections, descendants, is_root, is_running,
    pids, reply_for, wait_until,
};

#[test]
fn a_signal_ends_the_daemon_and_all_its_children_with_status_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let setup = Setup {
            server: "stop_grace = 600".to_owned(),
            ..Setup::default()
        };
        let mut server = Server::with(setup);
        let mut clients: Vec<Client> = (0..5).map(|_| server.connect()).collect();
        let silent = Client::knock(server.address());
        wait_until("six connections", || connections(&server).len() == 6);
        let children = descendants(server.pid());
        assert!(children.len() >= 8, "{children:?}");
        server.signal(signal);
        assert_eq!(server.wait_for_end(), Some(0));
        for (pid, name) in children {
            wait_until(&name, || !is_running(pid));
        }
        for client in &mut clients {
            client.expect_closed();
        }
        drop(silent);
    }
}

#[test]
fn a_running_transfer_may_finish_when_the_daemon_is_asked_to_stop() {
    let setup = Setup {
        server: "stop_grace = 60".to_owned(),
        ..Setup::default()
    };
    let mut server = Server::with(setup);
    let mut client = server.connect();
    assert_eq!(client.ask("SNDFILE 0 f"), "CONT");
    server.signal(Signal::SIGTERM);
    server.wait_for_log("stopping");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(client.ask("CONT late"), "CONT");
    assert_eq!(client.ask("OK"), "OK");
    assert_eq!(server.wait_for_end(), Some(0));
    assert_eq!(server.read("f"), b"late");
}

#[test]
fn a_transfer_that_takes_too_long_is_ended_with_the_daemon() {
    let setup = Setup {
        server: "stop_grace = 0.5".to_owned(),
        ..Setup::default()
    };
    let mut server = Server::with(setup);
    let mut client = server.connect();
    assert_eq!(client.ask("SNDFILE 0 f"), "CONT");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end(), Some(0));
    assert!(!server.exists("f"));
}

#[test]
fn a_client_whose_gate_has_ended_before_the_daemon_looks_gets_its_session() {
    let server = Server::start();
    let client = Client::knock(server.address());
    wait_until("its gate", || !pids(&server, "tfd-gate").is_empty());
    let gate = pids(&server, "tfd-gate")[0];
    server.signal(Signal::SIGSTOP);
    let mut client = client.try_in().expect("the gate answers");
    wait_until("its end", || !Path::new(&format!("/proc/{gate}")).exists());
    server.signal(Signal::SIGCONT);
    client.expect_alive();
}

#[test]
fn a_killed_session_harms_no_other_and_its_parts_are_swept_at_once() {
    let mut server = Server::start();
    let mut observer = server.connect();
    observer.expect_alive();
    let others = pids(&server, "tfd-session");
    let mut client = server.connect();
    assert_eq!(client.ask("SNDFILE 0 f"), "CONT");
    assert_eq!(client.ask("CONT part"), "CONT");
    let pid = pids(&server, "tfd-session")
        .into_iter()
        .find(|pid| !others.contains(pid))
        .expect("pid");
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).expect("kill");
    server.wait_for_log("session killed");
    client.expect_closed();
    observer.expect_alive();
    server.connect().expect_alive();
    wait_until("the part is swept", || server.names("").is_empty());
    observer.expect_alive();
}

#[test]
fn a_killed_daemon_leaves_no_process_behind() {
    let mut server = Server::start();
    let mut client = server.connect();
    let children = descendants(server.pid());
    assert!(children.len() >= 3, "{children:?}");
    server.signal(Signal::SIGKILL);
    server.wait_for_end();
    for (pid, name) in children {
        wait_until(&name, || !is_running(pid));
    }
    client.expect_closed();
    server.start_again();
    server.connect().expect_alive();
}

#[test]
fn a_killed_zygote_or_keeper_is_replaced() {
    for name in ["tfd-zygote", "tfd-keeper"] {
        let mut server = Server::start();
        std::thread::sleep(Duration::from_millis(1100));
        let (pid, _) = descendants(server.pid())
            .into_iter()
            .find(|(_, found)| found == name)
            .expect("the helper");
        kill(Pid::from_raw(pid as i32), Signal::SIGKILL).expect("kill");
        server.wait_for_log("ended unasked");
        wait_until("a new one", || {
            descendants(server.pid())
                .iter()
                .any(|(other, found)| found == name && *other != pid)
        });
        for _ in 0..8 {
            server.connect().expect_alive();
        }
    }
}

/// Ends all processes of these names.
fn end_all(server: &Server, names: &[&str]) -> usize {
    let named = |(_, name): &(u32, String)| names.contains(&name.as_str());
    let found: Vec<_> = descendants(server.pid())
        .into_iter()
        .filter(named)
        .collect();
    for (pid, _) in &found {
        let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGKILL);
    }
    found.len()
}

/// Whether a client is let in and answered; one that comes before the daemon has
/// heard of a death is refused.
fn is_served(server: &Server) -> bool {
    let client = Client::knock(server.address()).try_in();
    client.is_some_and(|mut client| {
        let sent = client.wire.write_message(b"ECHO x");
        sent.is_ok() && client.wire.read_message(&mut Vec::new()).is_ok()
    })
}

#[test]
fn helpers_that_are_killed_again_and_again_come_back_later_each_time() {
    let mut server = Server::with(Setup {
        server: "audit = \"audit.log\"\nmetrics = \"./metrics\"".to_owned(),
        ..Setup::default()
    });
    let helpers = [
        "tfd-keeper",
        "tfd-zygote",
        "tfd-auditor",
        "tfd-udp",
        "tfd-logger",
    ];
    for name in helpers {
        wait_until(name, || end_all(&server, &[name]) > 0);
        wait_until("a session", || is_served(&server));
    }
    server.wait_for_log("ended unasked");
    // All at once, as one who has their rights may.
    wait_until("all", || {
        let all = descendants(server.pid());
        let runs = |name: &&str| all.iter().any(|(_, found)| found == name);
        helpers.iter().all(runs)
    });
    end_all(&server, &helpers);
    wait_until("a session", || is_served(&server));
    let text = server.metrics();
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("tfd_helper_failures_total "))
        .expect("a count");
    assert!(count.parse::<u32>().expect("number") >= 2, "{text}");
    for helper in ["keeper", "zygote", "auditor", "protocol", "logger"] {
        let line = format!("tfd_helper_restarts_total{{helper=\"{helper}\"}} ");
        let count = text.lines().find_map(|of| of.strip_prefix(&line));
        assert_ne!(count.expect("a count"), "0", "{text}");
    }
}

#[test]
fn a_helper_that_can_not_be_started_again_keeps_clients_waiting_and_no_longer() {
    let mut server = Server::start();
    let mut session = server.connect();
    let key = server.config_path().with_file_name("private.pem");
    let away = key.with_extension("away");
    fs::rename(&key, &away).expect("rename");
    wait_until("keepers", || end_all(&server, &["tfd-keeper"]) > 0);
    server.wait_for_log("helper processes not started, clients wait");
    session.expect_alive();
    let waiting = Client::knock(server.address());
    server.wait_for_lines("helper processes not started, clients wait", 2);
    fs::rename(&away, &key).expect("rename");
    waiting.try_in().expect("a session").expect_alive();
    session.expect_alive();
}

#[test]
fn who_comes_after_the_death_of_a_gate_forked_ahead_has_one_all_the_same() {
    let server = Server::start();
    for _ in 0..3 {
        let waiting = || {
            let all = descendants(server.pid());
            all.into_iter()
                .find_map(|(pid, name)| (name == "tfd-spare").then_some(pid))
        };
        wait_until("a gate forked ahead", || waiting().is_some());
        let pid = waiting().expect("nobody has come for it");
        kill(Pid::from_raw(pid as i32), Signal::SIGKILL).expect("kill");
        wait_until("its end", || !is_running(pid));
        let mut clients = [server.connect(), server.connect()];
        clients.iter_mut().for_each(Client::expect_alive);
    }
}

/// A server whose clients log in as `games`; needs root.
fn multi_user() -> Server {
    Server::with(Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"".to_owned(),
        users: account("ann", "a", "games:::"),
        ..Setup::default()
    })
}

#[test]
fn a_killed_authenticator_is_replaced_and_sessions_go_on() {
    if !is_root() {
        println!("left out: multi-user mode needs root");
        return;
    }
    let mut server = multi_user();
    let mut session = server.connect();
    session.expect("LOGIN ann a", 0);
    let mut gate = server.connect();
    std::thread::sleep(Duration::from_millis(1100));
    let authenticator = |server: &Server| {
        let found = descendants(server.pid())
            .into_iter()
            .find(|(_, name)| name == "tfd-auth");
        found.map(|(pid, _)| pid)
    };
    let old = authenticator(&server).expect("authenticator");
    kill(Pid::from_raw(old as i32), Signal::SIGKILL).expect("kill");
    server.wait_for_log("ended unasked");
    wait_until("a new one", || {
        authenticator(&server).is_some_and(|pid| pid != old)
    });
    // Nobody is let in without a authenticator: the gate of the old one is closed.
    let _ = gate.wire.write_message(b"LOGIN ann a");
    gate.expect_closed();
    session.expect_alive();
    server.connect().expect("LOGIN ann a", 0);
}

#[test]
fn who_is_getting_in_during_a_reload_gets_in() {
    if !is_root() {
        println!("left out: multi-user mode needs root");
        return;
    }
    let mut server = multi_user();
    let mut gate = server.connect();
    let mut early = Client::knock(server.address());
    assert_eq!(early.ask(VERSION), "OK");
    server.signal(Signal::SIGHUP);
    server.wait_for_log("configuration read again");
    gate.expect("LOGIN ann a", 0);
    early.send_key(&[7; 32]);
    assert_eq!(early.reply(), "OK");
    early.wire.encipher(&[7; 32]);
    assert_eq!(early.ask(HASH), "OK");
    early.expect("LOGIN ann a", 0);
    gate.expect_alive();
}

#[test]
fn a_killed_session_takes_no_other_with_it() {
    if !is_root() {
        println!("left out: multi-user mode needs root");
        return;
    }
    let mut server = multi_user();
    let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.expect("LOGIN ann a", 0);
    }
    let session = pids(&server, "tfd-session")[0];
    kill(Pid::from_raw(session as i32), Signal::SIGKILL).expect("kill");
    server.wait_for_log("session killed");
    let living = clients
        .iter_mut()
        .filter_map(|client| {
            client.wire.write_message(b"ECHO x").ok()?;
            client.wire.read_message(&mut Vec::new()).ok()
        })
        .count();
    assert_eq!(living, 3);
}

#[test]
fn a_reload_is_for_new_clients_and_a_broken_one_for_nobody() {
    let mut server = Server::start();
    let mut old = server.connect();
    let text = fs::read_to_string(server.config_path()).expect("read");
    let changed = text.replace(HASH, "another hash");
    fs::write(server.config_path(), changed).expect("write");
    server.signal(Signal::SIGHUP);
    server.wait_for_log("configuration read again");
    let mut client = Client::knock(server.address());
    assert_eq!(client.ask(VERSION), "OK");
    client.send_key(&[7; 32]);
    assert_eq!(client.reply(), "OK");
    client.wire.encipher(&[7; 32]);
    assert_eq!(client.ask(HASH), reply_for(3));
    old.expect_alive();

    fs::write(server.config_path(), "nonsense").expect("write");
    server.signal(Signal::SIGHUP);
    server.wait_for_log("configuration not taken over");
    let mut client = Client::knock(server.address());
    assert_eq!(client.ask(VERSION), "OK");
    old.expect_alive();
    fs::write(server.config_path(), text).expect("write");
    server.signal(Signal::SIGHUP);
    server.wait_for_lines("configuration read again", 2);
    server.connect().expect_alive();
}

#[test]
fn limits_on_connections_hold_and_are_given_back() {
    let setup = Setup {
        server: "max_sessions = 4\nmax_sessions_per_address = 3".to_owned(),
        ..Setup::default()
    };
    let mut server = Server::with(setup);
    let clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    Client::knock(server.address()).expect_closed();
    server.wait_for_log("max_sessions_per_address");
    drop(clients);
    // The daemon hears of the ends a moment after them.
    wait_until("room again", || {
        Client::knock(server.address()).try_in().is_some()
    });
}

#[test]
fn a_crowd_before_login_is_held_off_and_those_who_are_in_do_not_count() {
    let server = "max_unauthenticated = 8\nmax_sessions_per_address = 0".to_owned();
    let mut server = Server::with(Setup {
        server,
        ..Setup::default()
    });
    let mut inside: Vec<Client> = Vec::new();
    wait_until("20 sessions", || {
        // Right after a crowd has come in, the daemon may not have seen that
        // yet and refuse one.
        inside.extend(Client::knock(server.address()).try_in());
        inside.len() == 20
    });
    let crowd: Vec<TcpStream> = (0..40)
        .map(|_| TcpStream::connect(server.address()).expect("connect"))
        .collect();
    server.wait_for_log("max_unauthenticated");
    let gates = || pids(&server, "tfd-gate").len();
    wait_until("those held off are gone, and the others are served", || {
        (6..=8).contains(&gates())
    });
    for client in &mut inside {
        client.expect_alive();
    }
    drop(crowd);
    wait_until("room again", || gates() == 0);
    // The daemon hears of the last end a moment after it.
    wait_until("a session", || {
        Client::knock(server.address()).try_in().is_some()
    });
}

/// Runs `tfd` and returns exit code and standard error.
fn tfd(arguments: &[&str], config: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tfd"))
        .args(arguments)
        .arg(config)
        .output()
        .expect("run tfd");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn a_bad_start_is_one_line_and_exit_code_1() {
    let server = Server::start();
    let good = fs::read_to_string(server.config_path()).expect("read");
    let path = server.config_path().with_file_name("bad.toml");
    let in_use = server.address().to_string();
    for (from, to, said) in [
        ("127.0.0.1:0", in_use.as_str(), "can't listen"),
        ("private.pem", "missing.pem", "tf.private_key"),
        ("private.pem", "tfd.toml", "tf.private_key"),
        ("/root\"", "/missing\"", "server.root"),
        ("/root\"", "/tfd.toml\"", "server.root"),
        ("hash =", "hsah =", "hsah"),
        ("log = \"debug\"", "log = \"loud\"", "server.log"),
        ("[tf]", "[tf", "bad.toml"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        fs::write(&path, bad).expect("write");
        for command in ["serve", "check"] {
            let (code, text) = tfd(&[command, "--config"], &path);
            assert_eq!(code, Some(1), "{command} {to}: {text}");
            assert!(text.contains(said), "{command} {to}: {text}");
            if command == "serve" {
                assert_eq!(text.lines().count(), 1, "{to}: {text}");
            }
        }
    }
    let (code, text) = tfd(&["serve", "--config"], &path.with_file_name("missing.toml"));
    assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
}
