//! tfd as a service: what it tells systemd, sockets that are passed to it, and
//! a log in a file that is rotated.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tfd::tf::wire::Wire;

use crate::common::{Client, PATIENCE, Server, Setup, wait_until};

/// A tfd that tells its state to the socket.
fn notifying(watchdog: &str) -> (Server, UnixDatagram, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bind");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let environment = vec![
        ("NOTIFY_SOCKET", path.to_string_lossy().into_owned()),
        ("WATCHDOG_USEC", watchdog.to_owned()),
    ];
    let program = Some((env!("CARGO_BIN_EXE_tfd").into(), environment));
    (
        Server::with(Setup {
            program,
            ..Setup::default()
        }),
        socket,
        dir,
    )
}

fn told(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let len = socket.recv(&mut buffer).expect("a word to systemd");
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

#[test]
fn systemd_learns_of_readiness_reloads_and_the_end() {
    let (mut server, socket, _dir) = notifying("0");
    assert!(told(&socket).starts_with("READY=1\nSTATUS=serving"));
    server.connect().expect_alive();
    server.signal(Signal::SIGHUP);
    let reloading = told(&socket);
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    assert!(
        since.is_some_and(|since| since.parse::<u64>().is_ok()),
        "{reloading}"
    );
    assert!(told(&socket).starts_with("READY=1\nSTATUS=serving"));
    let text = fs::read_to_string(server.config_path()).expect("read");
    fs::write(server.config_path(), text.replace("hash =", "hsah =")).expect("write");
    server.signal(Signal::SIGHUP);
    assert!(told(&socket).starts_with("RELOADING=1\n"));
    assert!(told(&socket).contains("READY=1\nSTATUS=serving clients by the old configuration"));
    server.signal(Signal::SIGTERM);
    assert!(told(&socket).starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=8000000\n"));
    assert_eq!(server.wait_for_end(), Some(0));
}

#[test]
fn the_watchdog_gets_its_signs_of_life() {
    let (_server, socket, _dir) = notifying("200000");
    assert!(told(&socket).starts_with("READY=1"));
    for _ in 0..3 {
        assert!(told(&socket).starts_with("WATCHDOG=1\n"));
    }
}

/// Listens as systemd does, and becomes tfd when told to.
const LAUNCHER: &str = "import os,socket,sys\n\
    def listen(host, port):\n    \
        s = socket.socket()\n    \
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n    \
        s.bind((host, port))\n    \
        s.listen(16)\n    \
        return os.dup(s.detach())\n\
    host, port, *tfd = sys.argv[1:]\n\
    fds = [os.dup(listen(host, int(port))), os.dup(listen(host, 0)), os.open('/dev/null', 0)]\n\
    fds = [os.dup(os.dup(os.dup(fd))) for fd in fds]\n\
    print('listening', flush=True)\n\
    sys.stdin.readline()\n\
    for number, fd in enumerate(fds, 3):\n    \
        os.dup2(fd, number) if fd != number else os.set_inheritable(fd, True)\n\
    os.environ['LISTEN_PID'] = str(os.getpid())\n\
    os.environ['LISTEN_FDS'] = str(len(fds))\n\
    os.execv(tfd[0], tfd)\n";

#[test]
fn a_client_of_a_passed_socket_who_came_before_tfd_is_served() {
    let mut server = Server::at_own_address();
    let address = server.address();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    server.signal(Signal::SIGTERM);
    server.wait_for_end();
    let log = server.config_path().with_file_name("log");
    let mut tfd = Command::new("python3")
        .args([
            "-c",
            LAUNCHER,
            &host,
            &port,
            env!("CARGO_BIN_EXE_tfd"),
            "serve",
            "--config",
        ])
        .arg(server.config_path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&log).expect("log"))
        .spawn()
        .expect("python3");
    let mut line = String::new();
    BufReader::new(tfd.stdout.take().expect("output"))
        .read_line(&mut line)
        .expect("read");
    assert_eq!(line, "listening\n");
    let early = TcpStream::connect(address).expect("connect");
    early.set_read_timeout(Some(PATIENCE)).expect("timeout");
    tfd.stdin
        .take()
        .expect("input")
        .write_all(b"\n")
        .expect("go");
    let early = Client {
        wire: Wire::new(early).expect("wire"),
    }
    .try_in();
    let log = || fs::read_to_string(&log).unwrap_or_default();
    early
        .unwrap_or_else(|| panic!("not served: {}", log()))
        .expect_alive();
    Client::connect(address).expect_alive();
    assert!(
        log().contains("passed on that is not listed in the configuration"),
        "{}",
        log()
    );
    assert!(log().contains("passed on that is of no use"), "{}", log());
    kill(Pid::from_raw(tfd.id() as i32), Signal::SIGTERM).expect("signal");
    assert!(tfd.wait().expect("wait").success());
}

#[test]
fn a_log_file_is_written_from_the_start_and_begun_anew_at_sighup() {
    let mut server = Server::start();
    server.signal(Signal::SIGTERM);
    server.wait_for_end();
    let text = fs::read_to_string(server.config_path()).expect("read");
    let config = text.replacen("log = ", "log_file = \"tfd.log\"\nlog = ", 1);
    fs::write(server.config_path(), &config).expect("write");
    let path = server.config_path().with_file_name("tfd.log");
    let mut tfd = Command::new(env!("CARGO_BIN_EXE_tfd"))
        .args(["serve", "--config"])
        .arg(server.config_path())
        .env("JOURNAL_STREAM", "1:2")
        .spawn()
        .expect("start");
    let read = || fs::read_to_string(&path).unwrap_or_default();
    wait_until("the log", || read().contains("ready root="));
    assert!(
        read().lines().all(|line| line.contains("Z ")),
        "time and level: {}",
        read()
    );
    assert_eq!(
        fs::metadata(&path).expect("stat").permissions().mode() & 0o777,
        0o600
    );
    let address = read()
        .lines()
        .find_map(|line| line.split_once("address=")?.1.parse().ok());
    let address = address.expect("address");
    let old = path.with_extension("1");
    fs::rename(&path, &old).expect("rename");
    kill(Pid::from_raw(tfd.id() as i32), Signal::SIGHUP).expect("signal");
    wait_until("a new log", || read().contains("configuration read again"));
    Client::connect(address).expect_alive();
    wait_until("a session in the new log", || {
        read().contains("session start")
    });
    assert!(
        !fs::read_to_string(&old)
            .expect("read")
            .contains("session start")
    );
    kill(Pid::from_raw(tfd.id() as i32), Signal::SIGTERM).expect("signal");
    assert!(tfd.wait().expect("wait").success());
}

#[test]
fn a_start_that_fails_is_told_on_standard_error_even_with_a_log_file() {
    let server = Server::start();
    let text = fs::read_to_string(server.config_path()).expect("read");
    let taken = text
        .replacen("log = ", "log_file = \"tfd.log\"\nlog = ", 1)
        .replacen("127.0.0.1:0", &server.address().to_string(), 1);
    let config = server.config_path().with_file_name("taken.toml");
    fs::write(&config, taken).expect("write");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
    let output = command
        .args(["serve", "--config"])
        .arg(&config)
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("tfd: ") && said.contains("can't listen"),
        "{said}"
    );
    let log = fs::read_to_string(server.config_path().with_file_name("tfd.log"));
    assert!(log.expect("log").contains("can't listen"));
}
