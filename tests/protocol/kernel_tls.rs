//! TLS whose records the kernel makes, where it can, and that nobody notices
//! where it can't. `TFD_TEST_KERNEL_TLS=1` says that it can: then nothing here
//! passes without it. `scripts/vm` has such a kernel.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use openssl::ssl::SslStream;
use tfd::client::{Connection, Target};

use crate::common::{Client, HASH, Server, Setup, VERSION, account, is_root, patient, wait_until};
use crate::tls::{alpn, ask, connect, connector, count_one, enter, send};

const LEN: usize = 1_000_003;

fn content() -> Vec<u8> {
    (0..LEN as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

fn server(lines: &str) -> Server {
    let server = Server::with(Setup {
        tls: true,
        server: lines.to_owned(),
        ..Setup::default()
    });
    server.write("down", content());
    server
}

/// Whether the kernel makes records, where it may.
fn is_there() -> bool {
    let there = tfd::sys::tls::is_there();
    assert!(
        there || std::env::var_os("TFD_TEST_KERNEL_TLS").is_none(),
        "no TLS in this kernel"
    );
    there
}

/// How often the kernel has begun to make the records of a connection.
fn connections_by_kernel() -> u64 {
    let counts = fs::read_to_string("/proc/net/tls_stat").unwrap_or_default();
    let count = counts
        .lines()
        .find_map(|line| line.strip_prefix("TlsTxSw")?.trim().parse().ok());
    count.unwrap_or(0)
}

fn says(server: &Server, text: &str) -> bool {
    server.log().iter().any(|line| line.contains(text))
}

/// A client that speaks this suite alone.
fn client_of(suite: &str, server: &Server) -> SslStream<TcpStream> {
    let connector = connector(|builder| {
        builder
            .set_alpn_protos(&alpn("tf-plain/2.4.1"))
            .expect("ALPN");
        builder.set_ciphersuites(suite).expect("suite");
    });
    let mut stream = connect(&connector, server.tls_address(), None).expect("TLS");
    enter(&mut stream);
    stream
}

fn read(stream: &mut impl Read, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("read");
    bytes
}

fn read_i64(stream: &mut impl Read) -> i64 {
    i64::from_be_bytes(read(stream, 8).try_into().expect("eight"))
}

fn read_i32(stream: &mut impl Read) -> i32 {
    i32::from_be_bytes(read(stream, 4).try_into().expect("four"))
}

/// SDOWN, to its last word.
fn sdown(stream: &mut SslStream<TcpStream>, path: &str) -> (Vec<u8>, i32) {
    send(stream, &format!("SDOWN {path}"));
    let mut content = Vec::new();
    loop {
        match read_i32(stream) {
            len @ 1.. => content.extend(read(stream, len as usize)),
            last => return (content, last),
        }
    }
}

/// GET or GETCAN in frames of so many bytes; GETCAN stops behind every third.
fn get(stream: &mut SslStream<TcpStream>, word: &str, buffer: i64) -> Vec<u8> {
    let numbers = if word == "GET" {
        vec![0, buffer]
    } else {
        vec![0, buffer, 3]
    };
    let body = Client::hp(word, "down", &numbers);
    let message = [&(body.len() as u32).to_be_bytes()[..], &body].concat();
    stream.write_all(&message).expect("send");
    let agreed = read(stream, 4 + 3 + 8);
    assert!(agreed[4..7] == *b"OK ", "{}", agreed.escape_ascii());
    let (mut content, mut frames) = (Vec::new(), 0);
    loop {
        match read_i64(stream) {
            len @ 1.. => content.extend(read(stream, len as usize)),
            0 => break,
            other => panic!("{other}"),
        }
        frames += 1;
        if word == "GETCAN" && frames % 3 == 0 {
            stream.write_all(&(-3_i64).to_be_bytes()).expect("go on");
        }
    }
    if word == "GET" {
        stream.write_all(&(-127_i64).to_be_bytes()).expect("end");
        assert_eq!(read_i64(stream), -127);
    }
    content
}

/// All ways down and the orderly end.
fn fetch_in_all_ways(mut stream: SslStream<TcpStream>) {
    let expected = content();
    assert!(sdown(&mut stream, "down") == (expected.clone(), 0));
    for (word, buffer) in [
        ("GET", 1000),
        ("GET", 200_000),
        ("GETCAN", 20_001),
        ("GETCAN", 70_000),
    ] {
        assert!(
            get(&mut stream, word, buffer) == expected,
            "{word} {buffer}"
        );
    }
    let mut received = Vec::new();
    let mut reply = ask(&mut stream, "FSTAT down").into_bytes();
    assert!(reply.starts_with(b"OK F"), "{}", reply.escape_ascii());
    send(&mut stream, "RCVFILE 0 down");
    loop {
        let len = read_i32(&mut stream) as usize;
        reply = read(&mut stream, len);
        let Some(part) = reply.strip_prefix(b"CONT ") else {
            break;
        };
        received.extend_from_slice(part);
        send(&mut stream, "CONT");
    }
    assert!(reply == b"OK" && received == expected);
    send(&mut stream, "END");
    assert_eq!(stream.read(&mut [0]).expect("close_notify"), 0);
}

#[test]
fn files_come_whole_with_every_suite_whoever_makes_the_records() {
    let is_there = is_there();
    for (suite, by_kernel) in [
        ("TLS_AES_128_GCM_SHA256", is_there),
        ("TLS_AES_256_GCM_SHA384", is_there),
        ("TLS_CHACHA20_POLY1305_SHA256", false),
    ] {
        let mut server = server("");
        let before = connections_by_kernel();
        fetch_in_all_ways(client_of(suite, &server));
        server.wait_for_log("reason=\"END\"");
        assert_eq!(
            says(&server, "records of TLS by=kernel"),
            by_kernel,
            "{suite}"
        );
        assert!(!by_kernel || connections_by_kernel() > before, "{suite}");
        assert!(says(
            &server,
            &format!("over TLS by={}", if is_there { "kernel" } else { "tfd" })
        ));
    }
}

#[test]
fn switched_off_the_kernel_makes_none() {
    let mut server = server("kernel_tls = \"off\"");
    fetch_in_all_ways(client_of("TLS_AES_128_GCM_SHA256", &server));
    server.wait_for_log("reason=\"END\"");
    assert!(says(&server, "sending over TLS by=tfd"));
    assert!(!says(&server, "records of TLS by="));
}

/// `openssl s_client` sends what it gets, and asks for a new key at a `K`.
#[test]
fn a_client_that_asks_for_a_new_key_gets_it_or_an_end_that_says_why() {
    let is_there = is_there();
    let mut server = server("");
    let mut child = Command::new("openssl")
        .args([
            "s_client",
            "-alpn",
            "tf-plain/2.4.1",
            "-quiet",
            "-no_ign_eof",
            "-connect",
        ])
        .arg(server.tls_address().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let (mut to, mut from) = (
        child.stdin.take().expect("input"),
        child.stdout.take().expect("out"),
    );
    for (said, answer) in [(VERSION, "OK"), (HASH, "OK"), ("ECHO before", "before")] {
        let message = [&(said.len() as u32).to_be_bytes()[..], said.as_bytes()].concat();
        to.write_all(&message).expect("say");
        assert_eq!(read(&mut from, 4 + answer.len())[4..], *answer.as_bytes());
    }
    to.write_all(b"K\n").expect("new key");
    // It looks at the first byte of each read.
    wait_until("it has read that", || {
        rustix::io::ioctl_fionread(&to) == Ok(0)
    });
    let message = [&9_u32.to_be_bytes()[..], b"ECHO next"].concat();
    // It may have ended with the connection.
    let _ = to.write_all(&message);
    let mut rest = Vec::new();
    let mut byte = [0];
    while !rest.ends_with(b"next") && from.read(&mut byte).expect("read") == 1 {
        rest.push(byte[0]);
    }
    if is_there {
        server.wait_for_log("a new key is due, and the kernel keeps the old one");
        assert!(!rest.ends_with(b"next"), "{}", rest.escape_ascii());
    } else {
        assert!(rest.ends_with(b"next"), "{}", rest.escape_ascii());
    }
    drop(to);
    child.kill().expect("kill");
    child.wait().expect("wait");
    server.connect_tls().expect_alive();
}

#[test]
fn a_file_that_becomes_shorter_ends_its_transfer_and_nothing_else() {
    is_there();
    let server = server("");
    let expected = vec![7; 4_000_000];
    server.write("f", &expected);
    let done = AtomicBool::new(false);
    let mut stream = client_of("TLS_AES_128_GCM_SHA256", &server);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = fs::OpenOptions::new()
                .write(true)
                .open(server.path("f"))
                .expect("open");
            while !done.load(Ordering::Relaxed) {
                file.set_len(1_000_000).expect("shorter");
                fs::write(server.path("f"), &expected).expect("whole again");
            }
        });
        for _ in 0..20 {
            let (_, last) = sdown(&mut stream, "f");
            assert!(last == 0 || last == -1, "{last}");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(ask(&mut stream, "ECHO still here"), "still here");
}

#[test]
fn what_status_tells_is_what_went_over_the_network() {
    is_there();
    let setup = Setup {
        tls: true,
        server: "control = \"control\"".to_owned(),
        ..Setup::default()
    };
    let server = Server::with(setup);
    server.write("down", content());
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let between = listener.local_addr().expect("address").to_string();
    let counted = count_one(&listener, server.tls_address());
    let target = patient(Target::tls(&between, server.tls(), HASH));
    let mut connection = Connection::open(&target).expect("connection");
    for _ in 0..3 {
        let mut down = Vec::new();
        connection
            .download_to("down", &mut down, &mut |_| ())
            .expect("download");
        assert!(down == content());
    }
    let status = Command::new(env!("CARGO_BIN_EXE_tfd"))
        .args(["status", "--json", "--control"])
        .arg(server.config_path().with_file_name("control"))
        .output()
        .expect("status");
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    let sent = text
        .split_once("\"bytes_sent\":")
        .and_then(|(_, rest)| rest.split_once(','));
    let sent: u64 = sent
        .and_then(|(number, _)| number.parse().ok())
        .expect(&text);
    connection.end().expect("end");
    let counted = counted.join().expect("count");
    assert!(
        counted.abs_diff(sent) < counted / 200,
        "{counted} came, {sent} told"
    );
}

#[test]
fn a_limited_account_is_as_slow_as_ever() {
    if !is_root() {
        println!("left out: accounts need root");
        return;
    }
    is_there();
    let server = Server::with(Setup {
        tls: true,
        server: "mode = \"multi-user\"\nusers = \"users\"".to_owned(),
        users: account("slow", "s", "games::rate=1M:"),
        ..Setup::default()
    });
    server.write("down", content());
    let mut stream = {
        let plain = connector(|builder| {
            builder
                .set_alpn_protos(&alpn("tf-plain/2.4.1"))
                .expect("ALPN");
        });
        connect(&plain, server.tls_address(), None).expect("TLS")
    };
    enter(&mut stream);
    assert_eq!(ask(&mut stream, "LOGIN slow s"), "OK");
    let begin = Instant::now();
    assert!(sdown(&mut stream, "down") == (content(), 0));
    let took = begin.elapsed().as_secs_f64();
    assert!(took > 0.8, "{took} s");
}
