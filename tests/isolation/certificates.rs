//! Certificates that log clients in: whom they name, what still is refused, and
//! that the session is the account's own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tfd::client::{ClientError, Connection, Target};

use crate::common::ca::Ca;
use crate::common::{Client, HASH, Server, Setup, account, patient, reply_for};
use crate::without_root;

/// A server whose clients log in by certificates of this CA, too.
fn server(ca: &Ca, users: &[String], more: &str) -> Server {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("ca.pem");
    fs::write(&path, ca.certificate.to_pem().expect("pem")).expect("write");
    let server = format!(
        "mode = \"multi-user\"\nusers = \"users\"\ntls_client_ca = \"{}\"\n{more}",
        path.display()
    );
    let server = Server::with(Setup {
        tls: true,
        server,
        users: users.concat(),
        ..Setup::default()
    });
    fs::set_permissions(server.root(), fs::Permissions::from_mode(0o1777)).expect("mode");
    server
}

fn accounts() -> Vec<String> {
    vec![
        account("ann", "pass word", "games:::"),
        account("bob", "b", "mail:::"),
    ]
}

fn target(server: &Server, own: &(Vec<u8>, Vec<u8>)) -> Target {
    let tls = server.tls_as(Some((&own.0, &own.1)));
    patient(Target::tls(&server.tls_address().to_string(), tls, HASH))
}

fn open(server: &Server, own: &(Vec<u8>, Vec<u8>)) -> Client {
    let wire = Connection::open(&target(server, own))
        .expect("connection")
        .into_wire();
    Client::with_patience(wire)
}

fn owner(path: &Path) -> u32 {
    fs::metadata(path).expect("stat").uid()
}

#[test]
fn a_certificate_logs_in_the_account_that_it_names() {
    if without_root() {
        return;
    }
    let ca = Ca::new();
    let audit = tempfile::tempdir().expect("directory");
    let mut server = server(&ca, &accounts(), "");
    drop(audit);
    let ann = ca.issue(&["ann"], 9);
    let mut client = open(&server, &ann);
    client.expect("LOGIN ann pass word", 39);
    client.send_file("mine", false, b"x");
    let uid = tfd::users::Identity::of("games")
        .expect("user")
        .uid
        .as_raw();
    assert_eq!(owner(&server.path("mine")), uid);
    server.wait_for_log("by=certificate");
    // Without one the password is asked for, as ever, and over TLS alone.
    let mut client = server.connect_tls();
    client.expect("ECHO x", 38);
    client.expect("LOGIN ann wrong", 37);
    client.expect("LOGIN bob b", 0);
    client.send_file("bobs", false, b"x");
    let uid = tfd::users::Identity::of("mail").expect("user").uid.as_raw();
    assert_eq!(owner(&server.path("bobs")), uid);
    assert_eq!(client.ask("ECHO on and on"), "on and on");
}

#[test]
fn a_certificate_needs_no_one_time_code() {
    if without_root() {
        return;
    }
    let ca = Ca::new();
    let users = [crate::codes::with_codes(&account("ann", "a", "games:::"))];
    let server = server(&ca, &users, "");
    let mut client = open(&server, &ca.issue(&["ann"], 9));
    assert_eq!(client.ask("ECHO in"), "in");
    server
        .connect_tls()
        .expect_reason("LOGIN ann a", "a one-time code is needed");
}

#[test]
fn a_certificate_that_opens_no_account_leaves_the_password() {
    if without_root() {
        return;
    }
    let ca = Ca::new();
    let mut users = accounts();
    users.push(account("old", "o", "mail:::2020-01-01"));
    users.push(account("far", "f", "mail::from=192.0.2.0/24:"));
    users.push(format!(
        "shut:!{}",
        account("x", "s", "mail:::")
            .split_once(':')
            .expect("line")
            .1
    ));
    let mut server = server(&ca, &users, "");
    for (names, reason) in [
        (&["nobody-here"][..], ""),
        (&["old"], "the account has expired"),
        (&["far"], "the account may not be used from this address"),
        (&["shut"], "the account is locked"),
        (&["ann", "bob"], ""),
        (&[], ""),
    ] {
        let mut client = open(&server, &ca.issue(names, 9));
        let refused = match reason {
            "" => reply_for(38),
            reason => format!("{} Reason: {reason}.", reply_for(38)),
        };
        assert_eq!(client.ask("ECHO x"), refused);
        client.expect("LOGIN ann pass word", 0);
    }
    for (reason, count) in [
        ("the account has expired", 1),
        ("not from this address", 1),
        ("the account is locked", 1),
        ("no such user", 1),
        ("the certificate has not one common name", 2),
    ] {
        let text = format!("by=certificate reason=\"{reason}\"");
        server.wait_for_lines(&text, count);
        assert_eq!(
            server
                .log()
                .iter()
                .filter(|line| line.contains(&text))
                .count(),
            count
        );
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_ends_the_handshake() {
    if without_root() {
        return;
    }
    let ca = Ca::new();
    let mut server = server(&ca, &accounts(), "");
    let expired = ca.issue(&["ann"], -1);
    for own in [Ca::new().issue(&["ann"], 9), expired] {
        let refused = Connection::open(&target(&server, &own));
        assert!(matches!(
            refused,
            Err(ClientError::Handshake(_) | ClientError::Tls { .. })
        ));
        server.wait_for_log("client certificate refused");
    }
    assert!(
        !server
            .log()
            .iter()
            .any(|line| line.contains("session start"))
    );
    server.connect_tls().expect("LOGIN ann pass word", 0);
}

#[test]
fn limits_of_the_account_count_and_the_certificate_is_needed_each_time() {
    if without_root() {
        return;
    }
    let ca = Ca::new();
    let server = server(&ca, &[account("ann", "a", "games::max=1:")], "");
    let ann = ca.issue(&["ann"], 9);
    let target = target(&server, &ann);
    let open = || Client::with_patience(Connection::open(&target).expect("open").into_wire());
    let mut first = open();
    assert_eq!(first.ask("ECHO 1"), "1");
    let mut second = open();
    let full = "Reason: the account has all the sessions it may have.";
    assert!(second.ask("ECHO 2").ends_with(full));
    drop(first);
    crate::wait_until("the second's turn", || open().ask("ECHO 3") == "3");
}

#[test]
fn a_certificate_stands_for_login_where_a_jail_follows() {
    if without_root() {
        return;
    }
    let ca = Ca::new();
    let server = server(&ca, &accounts(), "jail = true");
    server.write("cell/jail.key", "token");
    let mut client = open(&server, &ca.issue(&["ann"], 9));
    client.expect("ECHO x", 50);
    client.expect("LOGIN ann pass word", 39);
    client.expect("INJAIL wrong | cell", 49);
    client.expect("INJAIL token | cell", 0);
    assert_eq!(client.ask("ECHO inside"), "inside");
    let mut client = server.connect_tls();
    client.expect("LOGIN ann pass word", 0);
    client.expect("INJAIL token | cell", 0);
    assert_eq!(client.ask("ECHO inside"), "inside");
}
