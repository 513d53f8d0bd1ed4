//! TLS 1.3: with and without the cipher inside, what is refused, and what ends
//! a connection (tf-protocol(7), TLS). OpenSSL is the other side where it is not
//! our own client.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use openssl::ssl::{
    ShutdownState, SslConnector, SslConnectorBuilder, SslMethod, SslSession, SslSessionCacheMode,
    SslStream, SslVerifyMode, SslVersion,
};
use tfd::client::{ClientError, Connection, Target, Tls, Trust, fetch_certificate};

use crate::again::run_again;
use crate::common::flows::Flows;
use crate::common::tf::patiently;
use crate::common::{
    Client, HASH, OVER_TLS, PATIENCE, Server, Setup, VERSION, has_ipv6, own_address, patient,
    wait_until, write_certificate,
};

fn server() -> Server {
    Server::with(Setup {
        tls: true,
        ..Setup::default()
    })
}

/// A client of OpenSSL that takes any certificate.
pub(crate) fn connector(change: impl FnOnce(&mut SslConnectorBuilder)) -> SslConnector {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).expect("connector");
    builder.set_verify(SslVerifyMode::NONE);
    change(&mut builder);
    builder.build()
}

pub(crate) fn alpn(name: &str) -> Vec<u8> {
    [&[name.len() as u8], name.as_bytes()].concat()
}

fn plain_connector() -> SslConnector {
    connector(|builder| {
        builder
            .set_alpn_protos(&alpn("tf-plain/2.4.1"))
            .expect("ALPN");
    })
}

pub(crate) fn connect(
    connector: &SslConnector,
    address: SocketAddr,
    session: Option<&SslSession>,
) -> Result<SslStream<TcpStream>, String> {
    let socket = TcpStream::connect(address).expect("connect");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut ssl = connector
        .configure()
        .and_then(|c| c.into_ssl("127.0.0.1"))
        .expect("ssl");
    if let Some(session) = session {
        #[allow(
            unsafe_code,
            reason = "OpenSSL asks that session and context belong together"
        )]
        // SAFETY: the session was made with a context of the same method.
        unsafe {
            ssl.set_session(session).expect("session");
        }
    }
    let mut stream = SslStream::new(ssl, socket).expect("stream");
    stream.connect().map_err(|e| e.to_string())?;
    Ok(stream)
}

pub(crate) fn send(stream: &mut SslStream<TcpStream>, body: &str) {
    let message = [&(body.len() as u32).to_be_bytes()[..], body.as_bytes()].concat();
    stream.write_all(&message).expect("send");
}

pub(crate) fn receive(stream: &mut SslStream<TcpStream>) -> String {
    let mut header = [0; 4];
    stream.read_exact(&mut header).expect("header");
    let mut body = vec![0; u32::from_be_bytes(header) as usize];
    stream.read_exact(&mut body).expect("body");
    String::from_utf8(body).expect("text")
}

pub(crate) fn ask(stream: &mut SslStream<TcpStream>, body: &str) -> String {
    send(stream, body);
    receive(stream)
}

/// Passes the doors where there is no cipher inside.
pub(crate) fn enter(stream: &mut SslStream<TcpStream>) {
    assert_eq!(ask(stream, VERSION), "OK");
    assert_eq!(ask(stream, HASH), "OK");
}

/// A tunnel such as stunnel: what connects to it goes on in TLS.
fn tunnel(connector: SslConnector, to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        let (client, _) = listener.accept().expect("accept");
        let mut stream = connect(&connector, to, None).expect("TLS");
        client.set_nonblocking(true).expect("nonblocking");
        stream
            .get_ref()
            .set_read_timeout(Some(Duration::from_millis(1)))
            .expect("timeout");
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match (&client).read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => stream.write_all(&buffer[..n]).expect("to the server"),
                Err(_) => {}
            }
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    client.set_nonblocking(false).expect("blocking");
                    (&client).write_all(&buffer[..n]).expect("to the client");
                    client.set_nonblocking(true).expect("nonblocking");
                }
                Err(_) => {}
            }
        }
        let _ = stream.shutdown();
    });
    address
}

#[test]
fn our_client_does_without_the_cipher_inside_and_everything_works() {
    let server = server();
    server.write("down", vec![7; 3_000_000]);
    let mut connection = Connection::open(&server.tls_target()).expect("connection");
    assert!(connection.wire().is_plain_in_tls());
    assert!(connection.echo("there and back").expect("echo"));
    connection.make_directory("d").expect("MKDIR");
    let data: Vec<u8> = (0..2_000_000_u32).map(|i| (i >> 3) as u8).collect();
    let mut left = data.as_slice();
    connection
        .upload("up".as_ref(), &mut left, "d/up", &mut |_| ())
        .expect("upload");
    assert_eq!(server.read("d/up"), data);
    let mut down = Vec::new();
    connection
        .download_to("down", &mut down, &mut |_| ())
        .expect("download");
    assert_eq!(down, vec![7; 3_000_000]);
    let mut down = Vec::new();
    let mut sink = |part: &[u8]| {
        down.extend_from_slice(part);
        Ok(())
    };
    connection.stream_down("d/up", &mut sink).expect("SDOWN");
    assert_eq!(down, data);
    connection.swap_key(32).expect("NIGMA changes nothing");
    assert!(connection.echo("after NIGMA").expect("echo"));
    assert_eq!(connection.list("d").expect("list").len(), 1);
    connection.end().expect("end");
}

#[test]
fn any_client_works_through_a_tunnel_with_and_without_alpn() {
    let server = server();
    let named = connector(|builder| builder.set_alpn_protos(&alpn("tf/2.4.1")).expect("ALPN"));
    for (name, connector) in [("a", connector(|_| ())), ("b", named)] {
        let mut client = Client::connect(tunnel(connector, server.tls_address()));
        assert_eq!(client.ask("ECHO inside"), "inside");
        assert_eq!(client.ask(format!("MKDIR {name}")), "OK");
    }
    assert_eq!(server.names(""), ["a", "b"]);
}

#[test]
fn openssl_speaks_without_the_cipher_and_says_good_bye() {
    let mut server = server();
    let mut stream = connect(&plain_connector(), server.tls_address(), None).expect("TLS");
    assert_eq!(
        stream.ssl().selected_alpn_protocol(),
        Some(&b"tf-plain/2.4.1"[..])
    );
    assert_eq!(stream.ssl().version_str(), "TLSv1.3");
    enter(&mut stream);
    assert_eq!(
        ask(&mut stream, "ECHO in the clear of TLS"),
        "in the clear of TLS"
    );
    send(&mut stream, "END");
    assert_eq!(stream.read(&mut [0]).expect("close_notify"), 0);
    assert!(stream.get_shutdown().contains(ShutdownState::RECEIVED));
    server.wait_for_log("reason=\"END\"");
}

#[test]
fn wrong_version_and_hash_are_told_over_tls_too() {
    let server = server();
    let fine = server.tls_target();
    let wrong = Target {
        version: "9.9".to_owned(),
        ..fine.clone()
    };
    assert!(matches!(
        Connection::open(&wrong),
        Err(ClientError::Version(_))
    ));
    let wrong = Target {
        hash: "x".to_owned(),
        ..fine
    };
    assert!(matches!(Connection::open(&wrong), Err(ClientError::Hash)));
}

#[test]
fn an_end_without_close_notify_is_a_loss_and_one_with_it_is_none() {
    let mut server = server();
    let mut stream = connect(&plain_connector(), server.tls_address(), None).expect("TLS");
    enter(&mut stream);
    drop(stream.get_ref().shutdown(std::net::Shutdown::Both));
    server.wait_for_log("closed in the middle");
    let mut stream = connect(&plain_connector(), server.tls_address(), None).expect("TLS");
    enter(&mut stream);
    stream.shutdown().expect("close_notify");
    server.wait_for_log("reason=\"connection closed\"");
}

#[test]
fn what_was_changed_on_the_way_ends_the_connection() {
    let mut server = server();
    let mut stream = connect(&plain_connector(), server.tls_address(), None).expect("TLS");
    enter(&mut stream);
    let forged = [&[23, 3, 3, 0, 40][..], &[9; 40]].concat();
    stream.get_ref().write_all(&forged).expect("send");
    server.wait_for_log("TLS record that does not decipher");
    let mut rest = Vec::new();
    let told = stream
        .read_to_end(&mut rest)
        .expect_err("alert")
        .to_string();
    assert!(told.contains("bad record mac"), "{told}");
}

#[test]
fn what_is_not_meant_for_the_port_is_refused_by_name() {
    let mut server = server();
    let tls12 = connector(|builder| {
        builder
            .set_max_proto_version(Some(SslVersion::TLS1_2))
            .expect("version");
    });
    connect(&tls12, server.tls_address(), None).expect_err("TLS 1.2");
    server.wait_for_log("reason=\"a client without TLS 1.3\"");
    let other = connector(|builder| builder.set_alpn_protos(&alpn("h2")).expect("ALPN"));
    let told = connect(&other, server.tls_address(), None).expect_err("ALPN");
    assert!(told.contains("no application protocol"), "{told}");
    server.wait_for_log("asks for another application protocol");
    let mut plain = Client::knock(server.tls_address());
    plain.send(VERSION);
    plain.expect_closed();
    server.wait_for_log("a client without TLS on a TLS listener");
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[22, 2, 1, 1], &[255; 100]] {
        let mut client = Client::knock(server.tls_address());
        client.wire.socket().write_all(garbage).expect("send");
        client.expect_closed();
    }
    server.wait_for_log("what came is not TLS");
    for damaged in [
        &[22, 3, 1, 255, 255][..],
        &[22, 3, 1, 0, 5, 9, 9, 9, 9, 9],
        &[23, 3, 3, 0, 1, 0],
    ] {
        let client = Client::knock(server.tls_address());
        client.wire.socket().write_all(damaged).expect("send");
        let _ = client.wire.socket().read_to_end(&mut Vec::new());
    }
    server.wait_for_log("TLS record too long");
    server.wait_for_log("reason=\"TLS: ");
    connect(&connector(|_| ()), server.address(), None).expect_err("TLS on the plain port");
    server.wait_for_log("a client with TLS on a listener without it");
    server.connect_tls().expect_alive();
}

#[test]
fn a_handshake_of_tls_has_the_same_time_limit() {
    let server = "handshake_timeout = 1".to_owned();
    let mut server = Server::with(Setup {
        tls: true,
        server,
        ..Setup::default()
    });
    let mut silent = Client::knock(server.tls_address());
    let mut slow = Client::knock(server.tls_address());
    // A record that is never whole.
    slow.trickle(&[22, 3, 1, 0, 200]);
    silent.expect_closed();
    slow.expect_closed();
    server.wait_for_lines("time limit passed", 2);
    let target = server.tls_target();
    wait_until("a client in time", || Connection::open(&target).is_ok());
}

#[test]
fn a_server_that_is_not_the_one_trusted_is_refused() {
    let mut server = server();
    let address = server.tls_address().to_string();
    let shown = fetch_certificate(&address, PATIENCE).expect("certificate");
    assert_eq!(shown.subject, "CN = 127.0.0.1");
    assert!(shown.expires.ends_with("GMT"));
    for prefix in ["", "SHA256:"] {
        let pin = Trust::Pin(format!("{prefix}{}", shown.fingerprint));
        let tls = Tls::new(&pin, None).expect("TLS");
        Connection::open(&patient(Target::tls(&address, tls, HASH))).expect("pinned");
    }
    let other = Trust::Pin("A".repeat(43));
    let tls = Tls::new(&other, None).expect("TLS");
    let told = Connection::open(&patient(Target::tls(&address, tls, HASH)))
        .err()
        .expect("refused");
    assert!(told.to_string().contains("not the one pinned"), "{told}");
    let (strangers, _) =
        tfd::net::tls::certificate::self_signed(&["127.0.0.1".to_owned()]).expect("certificate");
    let tls = Tls::new(&Trust::Authorities(strangers), None).expect("TLS");
    let told = Connection::open(&patient(Target::tls(&address, tls, HASH)))
        .err()
        .expect("refused");
    assert!(told.to_string().contains("not trusted"), "{told}");
    server.wait_for_log("reason=\"TLS alert of the client: ");
    let named = format!("localhost:{}", server.tls_address().port());
    let told = Connection::open(&patient(Target::tls(&named, server.tls(), HASH)))
        .err()
        .expect("refused");
    assert!(
        told.to_string().contains("not trusted"),
        "another name: {told}"
    );
    assert!(Tls::new(&Trust::Pin("short".to_owned()), None).is_err());
    let plain = Target::tls(&server.address().to_string(), server.tls(), HASH);
    let told = Connection::open(&plain).err().expect("refused");
    assert!(matches!(told, ClientError::TlsClosed { .. }), "{told}");
    assert!(told.to_string().contains("port for TLS"), "{told}");
}

#[test]
fn tf_connects_with_a_pin_that_keygen_prints_and_needs_no_key() {
    let mut server = server();
    server.write("down", b"x");
    let shown = fetch_certificate(&server.tls_address().to_string(), PATIENCE).expect("shown");
    let home = tempfile::tempdir().expect("directory");
    let tf = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tf"));
        command
            .env_clear()
            .env("HOME", home.path())
            .env("TF_HASH", HASH);
        command.env("TF_SERVER", server.tls_address().to_string());
        let output = command.args(patiently(arguments)).output().expect("tf");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let pin = format!("SHA256:{}", shown.fingerprint);
    let ca = server
        .config_path()
        .with_file_name("tls.pem")
        .display()
        .to_string();
    for trust in [["--tls-pin", pin.as_str()], ["--tls-ca", &ca]] {
        let (code, out, err) = tf(&[trust[0], trust[1], "ls"]);
        assert_eq!((code, out.as_str()), (Some(0), "down\n"), "{err}");
    }
    let (code, _, err) = tf(&["ls"]);
    assert!(
        code == Some(2) && err.contains("no public key"),
        "{code:?} {err}"
    );
    let (_, _, err) = tf(&["--tls-pin", &"A".repeat(43), "ls"]);
    assert!(err.contains("not the one pinned"), "{err}");
    let (_, _, err) = tf(&["--tls-pin", "short", "ls"]);
    assert!(err.contains("TLS: no SHA-256"), "{err}");
    server.wait_for_log("session start");
}

/// Connects, takes a ticket, and tells whether the session was resumed.
fn resume(
    server: &Server,
    connector: &SslConnector,
    session: Option<&SslSession>,
    tickets: &Arc<Mutex<Option<SslSession>>>,
) -> (bool, SslSession) {
    let mut stream = connect(connector, server.tls_address(), session).expect("TLS");
    enter(&mut stream);
    assert_eq!(ask(&mut stream, "ECHO x"), "x");
    let resumed = stream.ssl().session_reused();
    send(&mut stream, "END");
    // OpenSSL drops the tickets of a connection that was not ended in order.
    assert_eq!(stream.read(&mut [0]).expect("close_notify"), 0);
    let _ = stream.shutdown();
    (
        resumed,
        tickets.lock().expect("tickets").take().expect("a ticket"),
    )
}

#[test]
fn sessions_are_resumed_until_the_certificate_changes() {
    let mut server = server();
    let tickets: Arc<Mutex<Option<SslSession>>> = Arc::default();
    let taken = Arc::clone(&tickets);
    let connector = connector(|builder| {
        builder
            .set_alpn_protos(&alpn("tf-plain/2.4.1"))
            .expect("ALPN");
        builder.set_session_cache_mode(SslSessionCacheMode::CLIENT);
        builder.set_new_session_callback(move |_, session| {
            *taken.lock().expect("tickets") = Some(session);
        });
    });
    let (resumed, first) = resume(&server, &connector, None, &tickets);
    assert!(!resumed);
    let (resumed, second) = resume(&server, &connector, Some(&first), &tickets);
    assert!(resumed, "by any of the keepers");
    server.signal(Signal::SIGHUP);
    server.wait_for_log("configuration read again");
    let (resumed, third) = resume(&server, &connector, Some(&second), &tickets);
    assert!(resumed, "a reload changes nothing");
    write_certificate(server.config_path().parent().expect("directory"), None);
    server.signal(Signal::SIGHUP);
    server.wait_for_lines("configuration read again", 2);
    let (resumed, _) = resume(&server, &connector, Some(&third), &tickets);
    assert!(!resumed, "a new certificate ends them");
}

#[test]
fn our_client_resumes_between_connections_of_one_target() {
    let server = server();
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let between = listener.local_addr().expect("address").to_string();
    let target = patient(Target::tls(&between, server.tls(), HASH));
    // The certificate is what makes the first handshake longer.
    let mut lengths = (0..3).map(|_| {
        let counted = count_one(&listener, server.tls_address());
        let mut connection = Connection::open(&target.clone()).expect("connection");
        assert!(connection.echo("takes the ticket").expect("echo"));
        connection.end().expect("end");
        counted.join().expect("count")
    });
    let (first, second, third) = (lengths.next(), lengths.next(), lengths.next());
    assert!(first > second.map(|n| n + 300), "{first:?} {second:?}");
    assert_eq!(second, third);
}

/// Passes one connection on, and counts the bytes that come back.
pub(crate) fn count_one(listener: &TcpListener, to: SocketAddr) -> std::thread::JoinHandle<u64> {
    let listener = listener.try_clone().expect("listener");
    std::thread::spawn(move || {
        let (client, _) = listener.accept().expect("accept");
        let server = TcpStream::connect(to).expect("connect");
        let (from, into) = (
            client.try_clone().expect("socket"),
            server.try_clone().expect("socket"),
        );
        std::thread::spawn(move || std::io::copy(&mut &from, &mut &into));
        let mut buffer = [0; 4096];
        let mut count = 0;
        while let Ok(n @ 1..) = (&server).read(&mut buffer) {
            count += n as u64;
            let _ = (&client).write_all(&buffer[..n]);
        }
        let _ = client.shutdown(std::net::Shutdown::Write);
        count
    })
}

#[test]
fn every_test_of_the_protocol_passes_over_tls() {
    // Left out is what looks at more than the session: arguments of the
    // programs, proxies, addresses, out-of-band bytes, which TLS has not, and the
    // session cipher, which is left out in it.
    let of_the_socket = [
        "proxy",
        "proxied",
        "command_line",
        "operations",
        "service",
        "probes",
        "tls::",
        "framing",
        "session_key",
        "keystream",
    ];
    run_again(OVER_TLS, &of_the_socket);
}

#[test]
fn a_proxys_header_comes_before_the_handshake() {
    let server = "accept_proxy_from = [\"127.0.0.1/32\"]".to_owned();
    let mut server = Server::with(Setup {
        tls: true,
        server,
        ..Setup::default()
    });
    let backend = server.tls_address();
    let proxy = Server::proxy(backend, "proxy_protocol = true");
    let target = patient(Target::tls(
        &proxy.address().to_string(),
        server.tls(),
        HASH,
    ));
    let mut connection = Connection::open(&target).expect("TLS through the proxy");
    assert!(connection.wire().is_plain_in_tls() && connection.echo("x").expect("echo"));
    server.wait_for_log("session start");
}

#[test]
fn a_reload_begins_and_ends_listening_with_tls() {
    let dir = tempfile::tempdir().expect("directory");
    let lines = write_certificate(dir.path(), None);
    let listen = if has_ipv6() {
        "[::1]:0".to_owned()
    } else {
        format!("{}:0", own_address())
    };
    let mut server = Server::start();
    let text = std::fs::read_to_string(server.config_path()).expect("configuration");
    let lines = lines.replace("\"tls", &format!("\"{}/tls", dir.path().display()));
    let lines = format!("{lines}\n[tf]\ntls_listen = [\"{listen}\"]");
    let with_tls = text.replacen("[tf]", &lines, 1);
    std::fs::write(server.config_path(), with_tls).expect("write");
    server.signal(Signal::SIGHUP);
    server.wait_for_log("configuration read again");
    let addresses = server.listening("listening with TLS address=");
    assert_eq!(addresses.len(), 1);
    let shown = fetch_certificate(&addresses[0].to_string(), PATIENCE).expect("shown");
    let tls = Tls::new(&Trust::Pin(shown.fingerprint), None).expect("TLS");
    let target = patient(Target::tls(&addresses[0].to_string(), tls, HASH));
    assert!(
        Connection::open(&target)
            .expect("TLS")
            .echo("x")
            .expect("echo")
    );
    server.connect().expect_alive();
    std::fs::write(server.config_path(), text).expect("write");
    server.signal(Signal::SIGHUP);
    wait_until("the end of it", || {
        TcpStream::connect(addresses[0]).is_err()
    });
    server.connect().expect_alive();
}

#[test]
fn the_kernels_keepalive_and_udp_probes_work_beside_tls() {
    let server = server();
    let mut client = server.connect_tls();
    client.expect("KEEPALIVE 1 60 | 5 | 3", 0);
    let key = client
        .ask("PROCKEY")
        .strip_prefix("OK ")
        .expect("key")
        .to_owned();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let question = [b"\x01", key.as_bytes()].concat();
    socket
        .send_to(&question, server.tls_address())
        .expect("send");
    let mut answer = [0; 64];
    let (len, from) = socket.recv_from(&mut answer).expect("an answer");
    assert_eq!((&answer[..len], from), (&[1][..], server.tls_address()));
}

#[test]
fn who_leaves_before_the_hash_without_the_farewell_of_tls_is_no_failure() {
    let mut server = server();
    let mut stream = connect(&connector(|_| ()), server.tls_address(), None).expect("TLS");
    stream.write_all(b"\0\0\0\x030.0").expect("write");
    let mut reply = [0; 6];
    stream.read_exact(&mut reply).expect("read");
    assert_eq!(&reply, b"\0\0\0\x02OK");
    stream.get_ref().shutdown(Shutdown::Both).expect("shutdown");
    server.wait_for_log(" left ");
    let log = server.log();
    assert!(!log.iter().any(|line| line.contains(" WARN ")), "{log:?}");
}
