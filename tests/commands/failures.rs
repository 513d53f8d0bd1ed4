//! What a person sees when something is wrong: the cause, the next step, and
//! an exit status by class.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::common::tf::Person;
use crate::common::{Server, Setup, account, is_root};

#[test]
fn what_keeps_a_session_from_opening_is_told_apart() {
    let server = Server::start();
    let person = Person::of(&server);
    person.fails(&["--hash", "wrong", "ls"], 4, &["refused the hash"]);
    person.fails(
        &["--protocol-version", "9", "ls"],
        4,
        &["refused version \"9\""],
    );
    person.fails(
        &["--server", "127.0.0.1:1", "ls"],
        3,
        &["nothing listens there", "port"],
    );
    person.fails(
        &["--server", "no-such-host.invalid", "ls"],
        3,
        &["can't find no-such-host.invalid", "check the name"],
    );
    person.fails(&["--timeout", "0", "ls"], 2, &["--timeout"]);
    person.fails(&["ping", "-W", "0"], 2, &["more than 0"]);
    person.fails(&["--tls", "ls"], 4, &["is this its port for TLS"]);
    person.fails(
        &["--key", "hash", "ls"],
        7,
        &["no RSA public key", "public.pem"],
    );
}

#[test]
fn a_server_that_says_nothing_or_nonsense_is_no_tf_server() {
    let server = Server::start();
    let person = Person::of(&server);
    let silent = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = silent.local_addr().expect("address").to_string();
    person.fails(
        &["--server", &address, "--timeout", "1", "ls"],
        4,
        &["time limit", "TF server"],
    );
    // One whose queue is full drops what is sent to it, as a firewall does.
    let (_full, address) = full_listener();
    let address = address.to_string();
    person.fails(
        &["--server", &address, "--timeout", "1", "ls"],
        3,
        &["no answer", "firewall"],
    );
    let chatty = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = chatty.local_addr().expect("address").to_string();
    std::thread::spawn(move || {
        for socket in chatty.incoming().flatten() {
            let mut socket = socket;
            let _ = socket.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
            let _ = socket.read(&mut [0; 1024]);
        }
    });
    person.fails(&["--server", &address, "ls"], 4, &["TF server"]);
}

/// A listener with no room for another connection, and the ones it has.
fn full_listener() -> ((OwnedFd, Vec<TcpStream>), SocketAddr) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
    let any: SocketAddr = "127.0.0.1:0".parse().expect("address");
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
    bind(&listener, &any).expect("bind");
    listen(&listener, 0).expect("listen");
    let address = getsockname(&listener)
        .expect("name")
        .try_into()
        .expect("address");
    let short = Duration::from_millis(300);
    let mut held = Vec::new();
    while let Ok(socket) = TcpStream::connect_timeout(&address, short) {
        held.push(socket);
        assert!(held.len() < 100, "it is never full");
    }
    ((listener, held), address)
}

#[test]
fn what_the_server_refuses_is_told_with_what_may_help() {
    let server = Server::start();
    let person = Person::of(&server);
    server.write("f", "x");
    person.fails(&["rm", "../x"], 1, &["leads outside"]);
    person.fails(
        &["touch", "none/x"],
        1,
        &["none/x: no such directory: none"],
    );
    person.fails(
        &["--user", "ann", "--password-file", "hash", "ls"],
        4,
        &["leave the user out"],
    );
    let server = "quota = \"1000\"".to_owned();
    let small = Server::with(Setup {
        server,
        ..Setup::default()
    });
    let person = Person::of(&small);
    assert_eq!(person.tf_with(&["put", "-", "f"], &[0; 900]).code, Some(0));
    person.fails(&["cp", "f", "g"], 1, &["f | g: quota of 1000 bytes"]);
    let run = person.tf_with(&["put", "-", "g"], &[0; 5000]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(
        run.err.contains("tf: g: quota of 1000 bytes"),
        "{}",
        run.err
    );
}

#[test]
fn what_makes_no_sense_is_told_before_anything_is_sent() {
    let person = Person::new();
    person.fails(&["frobnicate"], 2, &["Usage"]);
    person.fails(&["ls"], 2, &["no server"]);
    person.fails(&["chmod", "abc", "x"], 2, &["octal"]);
    person.fails(&["put", "a:b", "c"], 2, &["local"]);
}

#[test]
fn each_command_has_help_with_an_example() {
    let person = Person::new();
    for name in commands(&person) {
        let help = person.fine(&["help", &name]);
        assert!(
            help.contains("Example") && help.contains(&format!("  tf {name}")),
            "{name}: {help}"
        );
    }
}

#[test]
fn the_help_of_a_command_fits_on_a_screen_and_shows_its_own_options_first() {
    let mut person = Person::new();
    for (columns, name) in ["80", "120"]
        .iter()
        .flat_map(|columns| {
            commands(&person)
                .into_iter()
                .map(move |name| (columns, name))
        })
        .collect::<Vec<_>>()
    {
        person.unset("COLUMNS");
        person.set("COLUMNS", columns);
        let help = person.fine(&["help", &name]);
        assert!(help.contains("tf help connection"), "{name}: {help}");
        assert!(!help.contains("--tls-pin"), "{name}: {help}");
        assert_eq!(help, person.fine(&[&name, "--help"]));
        let lines = help.lines().count();
        let most = match name.as_str() {
            "get" | "put" | "mirror" => 45,
            "vault" => 50,
            _ => 40,
        };
        assert!(lines <= most, "{name}: {lines} lines\n{help}");
    }
    let help = person.fine(&["help", "connection"]);
    for option in [
        "--server",
        "--tls-pin",
        "--user",
        "--password-file",
        "--literal",
    ] {
        assert!(help.contains(option), "{help}");
    }
}

/// All commands that `tf --help` names.
fn commands(person: &Person) -> Vec<String> {
    let help = person.fine(&["--help"]);
    let commands = help.split("Commands:").nth(1).expect("commands");
    let names: Vec<String> = commands
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|name| *name != "help" && name.starts_with(char::is_lowercase))
        .map(str::to_owned)
        .collect();
    assert!(names.len() >= 25, "{names:?}");
    names
}

/// The commands that need an account where the server asks for one.
const BEHIND_LOGIN: &[&[&str]] = &[
    &["cat", "f"],
    &["chmod", "644", "f", "g"],
    &["chmod", "-R", "644", "d"],
    &["chown", "ann:ann", "f", "g"],
    &["chown", "-R", "ann:ann", "d"],
    &["cp", "f", "g"],
    &["df"],
    &["find"],
    &["find", "a", "b"],
    &["get", "f"],
    &["get", "f", "-"],
    &["get", "-r", "d", "e", "."],
    &["get", "*.pdf", "."],
    &["lock", "d"],
    &["lock", "d", "--", "true"],
    &["ls"],
    &["ls", "-l", "a", "b"],
    &["ls", "*.pdf"],
    &["mirror", ":d", "here"],
    &["mirror", "here", ":d"],
    &["mkdir", "d"],
    &["mkdir", "-p", "d/e", "f"],
    &["mv", "f", "g"],
    &["put", "hash"],
    &["put", "-r", "here", "d"],
    &["put", "-", "f"],
    &["raw", "FSTAT", "f"],
    &["rm", "f", "g"],
    &["rm", "-f", "f"],
    &["rm", "-r", "d"],
    &["rmdir", "d", "e"],
    &["secret", "make", "--passphrase-file", "hash", "diary"],
    &["secret", "ls", "--passphrase-file", "hash", "diary"],
    &["secret", "rm", "--passphrase-file", "hash", "diary"],
    &["sha256", "f", "g"],
    &["sha256", "-c", "sums"],
    &["shell", "--batch", "script"],
    &["shell", "--keep-going", "--batch", "script"],
    &["stat", "f", "g"],
    &["touch", "f", "g"],
    &["touch", "-c", "f"],
    &["unlock", "d", "e"],
    &["watch", "-n", "1", "--retries", "0", "d"],
    &["where", "--tcp"],
];

/// Those that ask for nothing that needs an account.
const BEFORE_LOGIN: &[&str] = &["completions", "login", "ping", "servers", "trust", "vault"];

#[test]
fn each_command_tells_a_server_that_lets_nobody_in_by_the_same_exit_status() {
    let person = Person::new();
    for name in commands(&person) {
        let is_named = BEHIND_LOGIN.iter().any(|arguments| arguments[0] == name);
        assert!(is_named != BEFORE_LOGIN.contains(&name.as_str()), "{name}");
    }
    if !is_root() {
        println!("left out: multi-user mode needs root");
        return;
    }
    let server = Server::with(Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"".to_owned(),
        users: account("ann", "a", "games:::"),
        ..Setup::default()
    });
    let person = Person::of(&server);
    person.write("here/f", "x");
    person.write("sums", format!("{}  f\n", "0".repeat(64)));
    person.write("script", "ls\nstat f\n");
    let others: Vec<String> = BEHIND_LOGIN
        .iter()
        .map(|arguments| (arguments, person.tf(arguments)))
        .filter(|(_, run)| run.code != Some(4))
        .map(|(arguments, run)| format!("{arguments:?}: {run:?}"))
        .collect();
    assert!(others.is_empty(), "{}", others.join("\n"));
}

#[test]
fn of_several_files_to_be_shown_those_that_are_there_are() {
    let server = Server::start();
    server.write("logs/a", "1");
    server.write("logs/b", "2");
    let person = Person::of(&server);
    let run = person.fails(&["cat", "logs/a", "none", "logs/b"], 1, &["none"]);
    assert_eq!(run.out, "12");
    assert_eq!(person.fine(&["cat", "logs/*"]), "12");
}

/// Cuts the first connection, as a server does that stops, and passes on the second one.
fn cuts_once(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        drop(listener.accept().expect("accept"));
        let (mut client, _) = listener.accept().expect("accept");
        let mut server = TcpStream::connect(to).expect("connect");
        let (mut back, mut forth) = (
            server.try_clone().expect("clone"),
            client.try_clone().expect("clone"),
        );
        std::thread::spawn(move || std::io::copy(&mut back, &mut forth));
        let _ = std::io::copy(&mut client, &mut server);
    });
    address
}

#[test]
fn a_handshake_that_a_stopping_server_cuts_is_tried_once_more() {
    let server = Server::with(Setup {
        tls: true,
        ..Setup::default()
    });
    server.write("here", "x");
    let person = Person::of(&server);
    let plain = cuts_once(server.address()).to_string();
    assert_eq!(person.fine(&["--server", &plain, "ls"]), "here\n");
    let tls = cuts_once(server.tls_address()).to_string();
    let certificate = server.config_path().with_file_name("tls.pem");
    let certificate = certificate.to_str().expect("path");
    let ls = ["--server", &tls, "--tls", "--tls-ca", certificate, "ls"];
    assert_eq!(person.fine(&ls), "here\n");
}
