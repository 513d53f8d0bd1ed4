//! `tfd probe`: a line and an exit status on whether a server serves, for balancers,
//! units and containers.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::common::tf::{Run, run};
use crate::common::{Server, Setup, account, is_root, wait_until, write_certificate};

fn probe(arguments: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
    run(command.arg("probe").args(arguments), b"")
}

#[track_caller]
fn healthy(arguments: &[&str], begin: &str) {
    let Run { code, out, err } = probe(arguments);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}: {out}");
    assert!(
        out.starts_with(begin) && out.contains(": healthy, "),
        "{out}"
    );
    assert_eq!(out.lines().count(), 1, "{out}");
}

#[track_caller]
fn not_healthy(arguments: &[&str], why: &str) {
    let Run { code, out, err } = probe(arguments);
    assert_eq!((code, err.as_str()), (Some(1), ""), "{arguments:?}: {out}");
    assert!(
        out.contains(": not healthy: ") && out.contains(why),
        "{out}"
    );
    assert_eq!(out.lines().count(), 1, "{out}");
}

/// What operators read at the default level.
fn noise(server: &Server) -> Vec<String> {
    let mut log = server.log();
    log.retain(|line| !line.contains(" DEBUG "));
    log
}

/// Waits until the server has noticed the end of so many connections.
fn wait_for_leaves(server: &mut Server, count: usize) {
    server.wait_for_lines(" left ", count);
}

/// A server of several protocols, and where its files are; `None` without root.
fn of_all_protocols() -> Option<(Server, tempfile::TempDir)> {
    if !is_root() {
        println!("left out: a vault and a hub need root");
        return None;
    }
    let above = tempfile::tempdir().expect("directory");
    write_certificate(above.path(), None);
    let here = above.path().display();
    let local = "[\"127.0.0.1:0\"]";
    let server = Server::with(Setup {
        server: format!(
            "mode = \"multi-user\"\nusers = \"users\"\ntls_certificate = \"{here}/tls.pem\"\n\
             tls_key = \"{here}/tls-key.pem\""
        ),
        tf: format!(
            "listen = {local}\ntls_listen = {local}\n\
             [bbftp]\nlisten = {local}\ntls_listen = {local}\n\
             [vault]\nlisten = {local}\ntls_listen = {local}\ndata = \"{here}/vault\"\n\
             user = \"games\"\nregistration = \"open\"\n\
             [hub]\ntls_listen = {local}\nrelay_listen = {local}\nname = \"hub.test\"\n\
             data = \"{here}/hub\"\nuser = \"games\"\n"
        ),
        users: account("ann", "secret", "nobody:::"),
        ..Setup::default()
    });
    Some((server, above))
}

#[test]
fn each_protocol_answers_a_probe_and_the_server_logs_nothing_of_it() {
    let Some((mut server, _above)) = of_all_protocols() else {
        return;
    };
    let plain = server.listening("listening address=");
    let tls = server.listening("listening with TLS address=");
    let before = noise(&server);
    for (name, address) in ["tf", "bbftp", "vault", "hub"].iter().zip(&plain) {
        if *name != "hub" {
            let address = address.to_string();
            healthy(
                &[&address, "--protocol", name],
                &format!("{name} {address}"),
            );
        }
    }
    for (name, address) in ["tf", "bbftp", "vault", "hub"].iter().zip(&tls) {
        let address = address.to_string();
        let begin = format!("{name} with TLS {address}");
        healthy(&[&address, "--protocol", name, "--tls"], &begin);
    }
    wait_for_leaves(&mut server, 7);
    assert_eq!(noise(&server), before);
}

#[test]
fn a_protocol_that_is_not_spoken_there_is_not_healthy() {
    let Some((server, _above)) = of_all_protocols() else {
        return;
    };
    let tls = server.listening("listening with TLS address=");
    let plain = server.listening("listening address=");
    let (tf, bbftp) = (plain[0].to_string(), plain[1].to_string());
    not_healthy(
        &[&tf, "--protocol", "bbftp", "--timeout", "1"],
        "no answer within 1 s",
    );
    not_healthy(&[&bbftp, "--timeout", "1"], "");
    not_healthy(&[&tls[0].to_string(), "--protocol", "hub"], "refused");
    not_healthy(&[&tf, "--tls"], "");
}

/// Puts the addresses that the system has chosen into the configuration.
fn fix_addresses(server: &Server) {
    let mut text = fs::read_to_string(server.config_path()).expect("read");
    let plain = server.listening("listening address=");
    let tls = server.listening("listening with TLS address=");
    for (key, addresses) in [("\nlisten = [", plain), ("\ntls_listen = [", tls)] {
        for address in addresses {
            let fixed = format!("{key}\"{address}\"");
            text = text.replacen(&format!("{key}\"127.0.0.1:0\""), &fixed, 1);
        }
    }
    fs::write(server.config_path(), text).expect("write");
}

#[test]
fn without_an_address_every_listener_of_the_configuration_is_asked() {
    let server = Server::with(Setup {
        tls: true,
        ..Setup::default()
    });
    fix_addresses(&server);
    let path = server.config_path();
    let config = path.to_str().expect("path");
    let run = probe(&["--config", config, "--udp"]);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{}", run.out);
    let lines: Vec<&str> = run.out.lines().collect();
    let begins = [
        format!("tf {}: healthy", server.addresses()[0]),
        format!("tf with TLS {}: healthy", server.tls_address()),
    ];
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(&begin), "{line}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").expect("listen");
    let silent = nobody.local_addr().expect("address").to_string();
    let text = fs::read_to_string(&path).expect("read");
    let text = text.replace(&server.tls_address().to_string(), &silent);
    fs::write(&path, text).expect("write");
    let run = probe(&["--config", config, "--timeout", "1"]);
    assert_eq!(run.code, Some(1), "one of two");
    assert!(
        run.out.contains("not healthy: no answer within 1 s"),
        "{}",
        run.out
    );
}

#[test]
fn a_configuration_that_lists_0_0_0_0_is_asked_on_this_machine() {
    let server = Server::with(Setup {
        tf: "listen = [\"0.0.0.0:0\"]".to_owned(),
        ..Setup::default()
    });
    let address = server.addresses()[0];
    let path = server.config_path();
    let text = fs::read_to_string(&path).expect("read");
    let fixed = text.replace("0.0.0.0:0", &address.to_string());
    fs::write(&path, fixed).expect("write");
    let begin = format!("tf 127.0.0.1:{}", address.port());
    healthy(&["--config", path.to_str().expect("path")], &begin);
}

#[test]
fn nobody_there_and_one_who_says_nothing_are_not_healthy() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = closed.local_addr().expect("address").to_string();
    not_healthy(&[&address, "--timeout", "1"], "no answer within 1 s");
    let udp = Server::start();
    healthy(&[&udp.addresses()[0].to_string(), "--udp"], "tf");
    drop(closed);
    not_healthy(&[&address], "refused");
}

#[test]
fn what_answers_rubbish_is_not_healthy() {
    for rubbish in [
        &b"\0\0\0\x05HELLO"[..],
        b"\xff\xff\xff\xff",
        b"220 ready\r\n",
        b"",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("address").to_string();
        let answers = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("accept");
            client.write_all(rubbish).expect("write");
        });
        not_healthy(&[&address, "--timeout", "20"], "");
        answers.join().expect("thread");
    }
}

#[test]
fn another_version_is_named_and_the_right_one_is_healthy() {
    let server = Server::start();
    let address = server.addresses()[0].to_string();
    not_healthy(&[&address, "--tf-version", "9"], "its version is not 9");
    healthy(&[&address, "--tf-version", "0.0"], "tf");
}

#[test]
fn a_server_that_expects_proxy_headers_is_asked_with_one() {
    let mut server = Server::with(Setup {
        server: "accept_proxy_from = [\"127.0.0.0/8\"]".to_owned(),
        ..Setup::default()
    });
    let address = server.addresses()[0].to_string();
    let before = noise(&server);
    healthy(&[&address, "--send-proxy"], "tf");
    fix_addresses(&server);
    let path = server.config_path();
    healthy(&["--config", path.to_str().expect("path")], "tf");
    wait_for_leaves(&mut server, 2);
    assert_eq!(noise(&server), before);
    not_healthy(&[&address, "--timeout", "2"], "");
}

#[test]
fn a_server_that_is_stopping_is_not_healthy_while_its_transfers_run() {
    let mut server = Server::with(Setup {
        server: "stop_grace = 60".to_owned(),
        ..Setup::default()
    });
    let address = server.addresses()[0].to_string();
    let mut client = server.connect();
    assert_eq!(client.ask("SNDFILE 0 f"), "CONT");
    assert_eq!(client.ask("CONT begun, "), "CONT");
    server.signal(Signal::SIGTERM);
    wait_until("no new clients", || probe(&[&address]).code == Some(1));
    assert_eq!(client.ask("CONT ended"), "CONT");
    assert_eq!(client.ask("OK"), "OK");
    assert_eq!(server.read("f"), b"begun, ended");
    drop(client);
    assert_eq!(server.wait_for_end(), Some(0));
}

#[test]
fn wrong_arguments_and_a_missing_configuration_are_told_from_a_sick_server() {
    for wrong in [
        &["127.0.0.1"][..],
        &["127.0.0.1:1", "--protocol", "ftp"],
        &["127.0.0.1:1", "--timeout", "0"],
        &["--tls"],
        &["--config", "/nonexistent/tfd.toml"],
    ] {
        let run = probe(wrong);
        assert_eq!(run.code, Some(2), "{wrong:?}: {}{}", run.out, run.err);
        assert!(run.out.is_empty() && !run.err.is_empty());
    }
}

#[test]
fn many_probes_count_as_no_failed_login() {
    let Some((mut server, _above)) = of_all_protocols() else {
        return;
    };
    let plain = server.listening("listening address=");
    for (name, address) in ["tf", "bbftp", "vault"].iter().zip(&plain) {
        for _ in 0..12 {
            healthy(&[&address.to_string(), "--protocol", name], name);
        }
    }
    wait_for_leaves(&mut server, 36);
    server.connect().expect("LOGIN ann secret", 0);
    let config = server.config_path();
    let mut blocked = Command::new(env!("CARGO_BIN_EXE_tfd"));
    let blocked = run(
        blocked.args(["blocked", "--json", "--config"]).arg(config),
        b"",
    );
    assert_eq!((blocked.code, blocked.out.trim()), (Some(0), "[]"));
}
