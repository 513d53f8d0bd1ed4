//! The doors of a session, when it is opened again: no other server hears a
//! hash or a password, and no program a secret that was not for it.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::tf::{Person, run};
use crate::common::{HASH, Server, Setup};
use crate::desk::content;

/// The way to one server, and after its first connection, which is cut after
/// so many bytes, to another one; and how many connections there were.
fn switch(first: SocketAddr, bytes: u64, then: SocketAddr) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address");
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let near = near.expect("accept");
            let is_first = counter.fetch_add(1, Ordering::Relaxed) == 0;
            let (to, lives) = if is_first {
                (first, bytes)
            } else {
                (then, u64::MAX)
            };
            let far = TcpStream::connect(to).expect("connect");
            for (from, to, lives) in [(&near, &far, u64::MAX), (&far, &near, lives)] {
                let (from, mut to) = (
                    from.try_clone().expect("clone"),
                    to.try_clone().expect("clone"),
                );
                std::thread::spawn(move || {
                    use std::io::Read;
                    // Either side may end it.
                    let _ = std::io::copy(&mut (&from).take(lives), &mut to);
                    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                });
            }
        }
    });
    (address, count)
}

fn with_tls() -> Server {
    Server::with(Setup {
        tls: true,
        ..Setup::default()
    })
}

#[test]
fn another_certificate_at_a_new_connection_ends_all_at_once() {
    let (server, other) = (with_tls(), with_tls());
    for number in 0..4 {
        server.write(&format!("t/{number}"), content(5_000_000, number));
        other.write(&format!("t/{number}"), content(5_000_000, number));
    }
    let (address, connections) = switch(server.tls_address(), 7_000_000, other.tls_address());
    let mut person = Person::new();
    let pem = std::fs::read(server.config_path().with_file_name("tls.pem")).expect("certificate");
    let der = openssl::x509::X509::from_pem(&pem)
        .expect("certificate")
        .to_der()
        .expect("DER");
    let pin = tfd::net::tls::certificate::fingerprint(&der).expect("fingerprint");
    person.set("TF_SERVER", &address.to_string());
    person.set("TF_TLS_PIN", &pin);
    person.set("TF_HASH", HASH);
    let run = person.fails(&["get", "-r", "t", "into"], 4, &["not the one pinned"]);
    assert_eq!(connections.load(Ordering::Relaxed), 2, "{}", run.err);
}

#[test]
fn over_tls_no_datagram_names_the_server() {
    let server = with_tls();
    server.write("here", "x");
    // The same port for TCP, on to the server, and for UDP, to a thief.
    let (address, _) = switch(server.tls_address(), u64::MAX, server.tls_address());
    let thief = TcpListener::bind("127.0.0.1:0").expect("listen");
    thief.set_nonblocking(true).expect("option");
    let named = thief.local_addr().expect("address");
    let socket = UdpSocket::bind(address).expect("bind");
    std::thread::spawn(move || {
        let mut question = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut question) {
            let answer = format!("\u{1}4 {};{}", named.ip(), named.port());
            socket.send_to(answer.as_bytes(), from).expect("answer");
        }
    });
    let person = Person::new();
    let pem = std::fs::read(server.config_path().with_file_name("tls.pem")).expect("certificate");
    person.write(".config/tf/tls.pem", pem);
    person.configure(&format!(
        "[server.s]\naddress = \"{address}\"\nhash = \"{HASH}\"\ntls_ca = \"tls.pem\"\nbalance = true\n"
    ));
    assert_eq!(person.fine(&["ls", "s:"]), "here\n");
    assert!(thief.accept().is_err(), "somebody came to the thief");
}

#[test]
fn a_program_does_not_get_the_descriptor_of_a_password() {
    let address = crate::liar::start(|request| match request.starts_with("FSTAT") {
        true => "OK F 0 0 0".into(),
        false => "OK".into(),
    });
    let mut person = Person::new();
    person.set("TF_SERVER", &address.to_string());
    person.set("TF_KEY", "public.pem");
    person.set("TF_HASH", HASH);
    person.write("password", "pass\n");
    let line = "exec 9<password; \"$0\" --user ann --password-fd 9 lock d -- ls /proc/self/fd";
    let mut sh = person.command("sh");
    sh.args(["-c", line, env!("CARGO_BIN_EXE_tf")]);
    let run = run(&mut sh, b"");
    assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
    assert!(!run.out.lines().any(|fd| fd == "9"), "{}", run.out);
}

#[test]
fn an_askpass_that_floods_is_an_error() {
    let server = Server::start();
    let mut person = Person::of(&server);
    let program = person.path("ask");
    let mut file = std::fs::File::create(&program).expect("create");
    file.write_all(b"#!/bin/sh\ntrap '' PIPE\nwhile :; do printf %01000d 1; done 2>&-\n")
        .expect("write");
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    file.set_permissions(mode).expect("mode");
    drop(file);
    person.set("TF_ASKPASS", &program.display().to_string());
    person.fails(&["--user", "ann", "ls"], 2, &["more than 4096 bytes"]);
}
