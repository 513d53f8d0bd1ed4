//! A second protocol on a listener of its own (protocol.rs): what the daemon
//! gives to any protocol, without knowing it.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers in tests are small"
)]
#![allow(unreachable_pub, reason = "shared by the test binaries")]

#[path = "../common/mod.rs"]
mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Server, Setup, account, descendants, is_root, wait_until};

const SERVER: &str = "mode = \"multi-user\"\nusers = \"users\"\ncontrol = \"control\"\n\
                      metrics = \"./metrics\"\naudit = \"audit.jsonl\"\ndata_timeout = 60\n";
const LISTEN: &str = "listen = [\"127.0.0.1:0\"]\n[echo]\nlisten = [\"127.0.0.1:0\"]";

/// A client of the protocol.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(server: &Server) -> Client {
        let echo = server.listening("listening address=")[1];
        let socket = TcpStream::connect(echo).expect("connect");
        Client(BufReader::new(socket))
    }

    fn say(&mut self, line: &str) {
        writeln!(self.0.get_mut(), "{line}").expect("write");
    }

    fn answer(&mut self) -> String {
        let mut answer = String::new();
        self.0.read_line(&mut answer).expect("read");
        answer.trim_end().to_owned()
    }

    fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.answer()
    }

    fn logged_in(server: &Server, name: &str) -> Client {
        let mut client = Client::new(server);
        assert_eq!(client.ask(&format!("LOGIN {name} pass")), "OK");
        client
    }
}

/// A server with accounts of different limits.
fn server() -> Option<Server> {
    if !is_root() {
        println!("left out: taking identities needs root");
        return None;
    }
    let users = [
        account("ann", "pass", "games::max=1:"),
        account("bob", "pass", "mail::quota=8:"),
        account("eve", "pass", "mail::from=192.0.2.0/24:"),
        account("roy", "pass", "mail::read-only:"),
        account("tom", "pass", "mail::rate=1024:"),
    ];
    let server = Server::with(Setup {
        server: SERVER.to_owned(),
        tf: LISTEN.to_owned(),
        users: users.concat(),
        ..Setup::default()
    });
    let anybody = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    fs::set_permissions(server.root(), anybody).expect("mode");
    Some(server)
}

fn tfd(server: &Server, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tfd"))
        .args(arguments)
        .arg("--control")
        .arg(server.config_path().with_file_name("control"))
        .output()
        .expect("run");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A connection from another address of this machine.
fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let (family, kind) = (
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
    );
    let socket = rustix::net::socket(family, kind, None).expect("socket");
    rustix::net::bind(&socket, &SocketAddr::from((from, 0))).expect("bind");
    rustix::net::connect(&socket, &to).expect("connect");
    socket.into()
}

#[test]
fn an_account_logs_in_and_its_session_is_its_user_in_the_sandbox() {
    let Some(server) = server() else { return };
    let mut stranger = Client::new(&server);
    assert_eq!(stranger.ask("LOGIN ann wrong"), "NO wrong name or password");
    let mut client = Client::logged_in(&server, "ann");
    assert_eq!(client.ask("PUT file some text"), "OK");
    assert_eq!(client.ask("GET file"), "some text");
    assert!(client.ask("GET ../tfd.toml").starts_with("NO "));
    let games = nix::unistd::User::from_name("games").expect("users");
    let games = games.expect("games").uid.as_raw();
    let file = fs::metadata(server.path("file")).expect("file");
    assert_eq!(file.uid(), games);
    let session = descendants(server.pid())
        .into_iter()
        .find_map(|(pid, _)| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let uids = format!("\nUid:\t{games}\t{games}\t{games}\t{games}\n");
            status.contains(&uids).then_some(status)
        })
        .expect("a session");
    assert!(session.contains("\nSeccomp:\t2\n"), "{session}");
    assert!(session.contains("\nNoNewPrivs:\t1\n"), "{session}");
}

#[test]
fn a_session_stands_in_status_audit_and_metrics() {
    let Some(server) = server() else { return };
    let mut client = Client::logged_in(&server, "ann");
    assert_eq!(client.ask("PUT file text"), "OK");
    let status = tfd(&server, &["status", "--json"]);
    assert!(status.contains("\"protocol\":\"echo\""), "{status}");
    assert!(status.contains("\"user\":\"ann\""), "{status}");
    let by_protocol = "tfd_sessions_by_protocol{protocol=\"echo\"} 1";
    assert!(server.metrics().contains(by_protocol));
    let audit = server.config_path().with_file_name("audit.jsonl");
    wait_until("the record", || {
        let text = fs::read_to_string(&audit).unwrap_or_default();
        text.contains("\"PUT file text\"") && text.contains("\"user\":\"ann\"")
    });
}

#[test]
fn an_account_is_held_to_its_limits() {
    let Some(server) = server() else { return };
    let _one = Client::logged_in(&server, "ann");
    let mut two = Client::new(&server);
    assert_eq!(
        two.ask("LOGIN ann pass"),
        "NO the account has all the sessions it may have"
    );
    let mut bob = Client::logged_in(&server, "bob");
    assert_eq!(bob.ask("PUT small 1234"), "OK");
    assert!(bob.ask("PUT large 123456789").starts_with("NO "));
    let mut eve = Client::new(&server);
    assert_eq!(
        eve.ask("LOGIN eve pass"),
        "NO the account may not be used from this address"
    );
    let mut eve = Client::new(&server);
    assert_eq!(eve.ask("LOGIN eve wrong"), "NO wrong name or password");
    let mut roy = Client::logged_in(&server, "roy");
    assert!(roy.ask("PUT more text").starts_with("NO "));
    let mut tom = Client::logged_in(&server, "tom");
    let begun = Instant::now();
    assert_eq!(tom.ask(&format!("PUT paced {}", "x".repeat(1500))), "OK");
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[test]
fn data_connections_go_to_the_client_and_come_from_it_alone() {
    let Some(server) = server() else { return };
    let mut client = Client::logged_in(&server, "bob");
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let elsewhere = TcpListener::bind(("127.0.0.2", listener.local_addr().expect("own").port()));
    let port = listener.local_addr().expect("address").port();
    assert_eq!(client.ask(&format!("DIAL {port} hello")), "OK");
    let (mut socket, _) = listener.accept().expect("accept");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("read");
    assert_eq!(text, "hello");
    let elsewhere = elsewhere.expect("listen");
    elsewhere.set_nonblocking(true).expect("mode");
    assert!(elsewhere.accept().is_err(), "nobody else is dialled");

    client.say("ACCEPT");
    let port_file = server.path("port");
    let read_port = || fs::read_to_string(&port_file).ok()?.parse::<u16>().ok();
    wait_until("the port", || read_port().is_some());
    let to = SocketAddr::from(([127, 0, 0, 1], read_port().expect("port")));
    let mut stranger = connect_from([127, 0, 0, 2], to);
    let _ = stranger.write_all(b"stranger");
    let _ = stranger.read(&mut [0; 1]);
    let mut socket = TcpStream::connect(to).expect("connect");
    socket.write_all(b"to you").expect("write");
    drop(socket);
    assert_eq!(client.answer(), "to you");
}

#[test]
fn a_session_survives_a_reload_and_ends_by_kick_and_stop() {
    let Some(mut server) = server() else { return };
    let mut bob = Client::logged_in(&server, "bob");
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_for_log("configuration read again");
    assert_eq!(bob.ask("PUT file x"), "OK");
    let mut ann = Client::logged_in(&server, "ann");
    tfd(&server, &["kick", "--user", "ann"]);
    assert_eq!(ann.answer(), "", "its connection is closed");
    assert_eq!(bob.ask("GET file"), "x");
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(server.wait_for_end(), Some(0));
    assert_eq!(bob.answer(), "");
}

/// The configuration of a server: what stands before `[tf]`, that, and `[echo]`.
fn sections(server: &Server) -> [String; 3] {
    let text = fs::read_to_string(server.config_path()).expect("configuration");
    let (head, rest) = text.split_once("[tf]").expect("[tf]");
    let (tf, echo) = rest.split_once("[echo]").expect("[echo]");
    [
        head.to_owned(),
        format!("[tf]{tf}"),
        format!("[echo]{echo}"),
    ]
}

fn reload(server: &mut Server, parts: &[&str]) {
    fs::write(server.config_path(), parts.concat()).expect("write");
    let read = "configuration read again";
    let before = server
        .log()
        .iter()
        .filter(|line| line.contains(read))
        .count();
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_for_lines(read, before + 1);
}

fn runs(server: &Server, name: &str) -> bool {
    let all = descendants(server.pid());
    all.iter().any(|(_, found)| found == name)
}

#[test]
fn either_protocol_is_served_without_the_other() {
    let Some(mut server) = server() else { return };
    let [head, tf, echo] = sections(&server);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    server.wait_for_end();
    fs::write(server.config_path(), format!("{head}{echo}")).expect("write");
    let check = || {
        let tfd = Command::new(env!("CARGO_BIN_EXE_tfd"))
            .args(["check", "--config"])
            .arg(server.config_path())
            .output()
            .expect("run");
        String::from_utf8_lossy(&[tfd.stdout, tfd.stderr].concat()).into_owned()
    };
    assert!(check().contains("configuration ok"), "{}", check());
    fs::write(server.config_path(), &head).expect("write");
    let nothing = check();
    assert!(nothing.contains("nothing to listen on: list"), "{nothing}");

    fs::write(server.config_path(), format!("{head}{echo}")).expect("write");
    server.start_again();
    let socket = TcpStream::connect(server.address()).expect("connect");
    let mut client = Client(BufReader::new(socket));
    assert_eq!(client.ask("LOGIN ann pass"), "OK");
    assert_eq!(client.ask("PUT file text"), "OK");
    assert!(runs(&server, "tfd-dialer") && !runs(&server, "tfd-udp"));
    reload(&mut server, &[&head, &tf]);
    assert!(runs(&server, "tfd-udp"));
    assert_eq!(client.ask("GET file"), "text");
    drop(client);
    wait_until("no dialer", || !runs(&server, "tfd-dialer"));
}

/// The port on which the server accepts a data connection of a client.
fn data_port(server: &Server, client: &mut Client) -> u16 {
    let file = server.path("port");
    let _ = fs::remove_file(&file);
    client.say("ACCEPT");
    let port = || fs::read_to_string(&file).ok()?.parse::<u16>().ok();
    wait_until("the port", || port().is_some());
    let port = port().expect("port");
    let to = client.0.get_ref().peer_addr().expect("peer").ip();
    let mut socket = TcpStream::connect((to, port)).expect("connect");
    socket.write_all(b"data").expect("write");
    drop(socket);
    assert_eq!(client.answer(), "data");
    port
}

#[test]
fn a_reload_starts_the_dialer_and_gives_it_other_ports() {
    let Some(mut server) = server() else { return };
    let [head, tf, echo] = sections(&server);
    // Port 0 of another address, so that it is another listener.
    let echo = echo.replace("127.0.0.1:0", "127.0.0.3:0");
    reload(&mut server, &[&head, &tf]);
    wait_until("no dialer", || !runs(&server, "tfd-dialer"));
    let ports = "data_ports = \"20000-20099\"\n";
    reload(&mut server, &[&head, &tf, &echo, ports]);
    let echo_is_back = *server.listening("listening address=").last().expect("echo");
    let log_in = || {
        let socket = TcpStream::connect(echo_is_back).expect("connect");
        let mut client = Client(BufReader::new(socket));
        assert_eq!(client.ask("LOGIN bob pass"), "OK");
        client
    };
    let mut old = log_in();
    let port = data_port(&server, &mut old);
    assert!((20000..20100).contains(&port), "{port}");

    let ports = "data_ports = \"21000-21099\"\n";
    let other = head.replace("data_timeout = 60\n", "data_timeout = 1\n");
    reload(&mut server, &[&other, &tf, &echo, ports]);
    let mut new = log_in();
    let port = data_port(&server, &mut new);
    assert!((21000..21100).contains(&port), "{port}");
    let begun = Instant::now();
    let timed_out = new.ask("ACCEPT");
    assert!(timed_out.starts_with("NO ") && begun.elapsed() < Duration::from_secs(30));
    let port = data_port(&server, &mut old);
    assert!((20000..20100).contains(&port), "a session keeps its ports");
}
