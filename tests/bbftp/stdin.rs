//! `tfd bbftp --stdin`, as ssh starts it: by a user, for itself.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;
use tfd::client::bbftp::{Options, Session, Target, Transport};

use crate::common::{PATIENCE, is_root};
use crate::peer::*;

/// Nobody, or whoever runs the tests.
fn uid() -> u32 {
    if is_root() {
        65534
    } else {
        nix::unistd::getuid().as_raw()
    }
}

/// A home of that user.
fn home() -> TempDir {
    let home = tempfile::tempdir().expect("directory");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    chown(home.path(), Some(uid()), Some(uid())).expect("chown");
    home
}

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
    command
        .args(["bbftp", "--stdin", "--port", "0"])
        .args(arguments)
        .env("HOME", home)
        .env_remove("SSH_CONNECTION")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if is_root() {
        command.uid(uid()).gid(uid()).current_dir("/");
    }
    command
}

/// The server, and the client's ends of its standard streams.
struct Started {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Started {
    fn new(command: &mut Command) -> Started {
        let mut child = command.spawn().expect("start");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("output"));
        Started {
            child,
            input,
            output,
        }
    }

    fn receive(&mut self) -> (u32, Vec<u8>) {
        let mut header = [0; 8];
        self.output.read_exact(&mut header).expect("a message");
        let [code, len] = [0, 4].map(|at| {
            let number = header[at..at + 4].try_into().expect("4 bytes");
            u32::from_be_bytes(number)
        });
        let mut payload = vec![0; len as usize];
        self.output.read_exact(&mut payload).expect("a payload");
        (code, payload)
    }

    fn send(&mut self, code: u32, payload: &[u8]) {
        let input = self.input.as_mut().expect("input");
        input.write_all(&message(code, payload)).expect("write");
    }

    fn ask(&mut self, code: u32, payload: &[u8]) -> (u32, String) {
        self.send(code, payload);
        let (code, payload) = self.receive();
        (code, String::from_utf8(payload).expect("text"))
    }

    /// The port for the connection beside.
    fn port(&mut self) -> u16 {
        let (code, port) = self.receive();
        assert_eq!((code, port.len()), (LOGGED_STDIN, 4));
        u16::from_be_bytes([port[2], port[3]])
    }

    /// Shows the address, and chooses version 3.
    fn begin(&mut self) {
        let port = self.port();
        show_address(port);
        self.send(PROT, b"");
        let (code, versions) = self.receive();
        assert_eq!((code, versions), (PROT_ANS, vec![0, 0, 0, 1, 0, 0, 0, 3]));
        self.send(PROT_ANS, &3_u32.to_be_bytes());
    }

    fn end(mut self) -> (Option<i32>, String) {
        self.input = None;
        let mut rest = Vec::new();
        self.output.read_to_end(&mut rest).expect("the end");
        assert!(rest.is_empty(), "{rest:?}");
        let output = self.child.wait_with_output().expect("its end");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), told)
    }
}

const OFFER: u32 = 0x7466_0008;
const LOGGED_STDIN: u32 = 20;
const IPADDR: u32 = 21;
const IPADDR_OK: u32 = 22;

fn beside(port: u16) -> Peer {
    let socket = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    socket.set_read_timeout(Some(PATIENCE)).expect("limit");
    Peer {
        socket,
        modulus: Vec::new(),
    }
}

fn show_address(port: u16) {
    let mut beside = beside(port);
    beside.send(IPADDR, b"");
    assert_eq!(beside.receive(), (IPADDR_OK, Vec::new()));
    assert!(beside.expect_closed().is_empty());
}

#[test]
fn it_serves_the_user_from_its_home_with_the_rights_of_the_user() {
    let home = home();
    let mut server = Started::new(&mut command(home.path(), &[]));
    server.begin();
    let shown = home.path().to_str().expect("UTF-8").to_owned();
    let here = server.ask(CHDIR_V2, &with_options(0, "."));
    assert_eq!(here, (OK, shown.clone()));
    let made = server.ask(MKDIR_V2, &with_options(0, "new"));
    assert_eq!(made.0, OK, "{}", made.1);
    let new = fs::metadata(home.path().join("new")).expect("made");
    assert_eq!(new.uid(), uid());
    let up = server.ask(CHDIR_V2, &with_options(0, "/etc"));
    assert_eq!(up, (OK, "/etc".to_owned()));
    assert_eq!(server.ask(STAT, &with_options(0, "passwd")).0, OK);
    symlink("new", home.path().join("link")).expect("link");
    let through = server.ask(CHDIR_V2, &with_options(0, &format!("{shown}/link")));
    assert_eq!(through.0, OK, "{}", through.1);
    if is_root() {
        let text = server.ask(SHA256, b"/etc/shadow").1;
        assert!(text.contains("Permission denied"), "{text}");
    }
    let pid = server.child.id();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    for line in ["\nSeccomp:\t2\n", "\nNoNewPrivs:\t1\n"] {
        assert!(status.contains(line), "{status}");
    }
    server.send(CLOSE_CONN, b"");
    assert_eq!(server.end(), (Some(0), String::new()));
}

#[test]
fn its_end_is_that_of_its_standard_input_and_of_its_dialer() {
    let home = home();
    let mut server = Started::new(&mut command(
        home.path(),
        &["-s", "--data-ports", "20000-20100"],
    ));
    server.begin();
    let pid = server.child.id();
    let children = crate::common::descendants(pid);
    let dialers: Vec<_> = children
        .iter()
        .filter(|(_, name)| name == "tfd-dialer")
        .collect();
    assert_eq!(dialers.len(), 1, "{children:?}");
    let dialer = dialers[0].0;
    assert_eq!(server.ask(77, b"?").0, NO);
    assert_eq!(server.end(), (Some(0), String::new()));
    crate::common::wait_until("the dialer's end", || !crate::common::is_running(dialer));
}

#[test]
fn whoever_connects_beside_must_come_from_where_ssh_says_and_say_so() {
    let home = home();
    let by_ssh = "127.0.0.1 40000 127.0.0.1 22";
    let mut from_here = command(home.path(), &[]);
    let mut server = Started::new(from_here.env("SSH_CONNECTION", by_ssh));
    let port = server.port();
    let mut odd = beside(port);
    odd.send(PROT, b"");
    assert!(odd.expect_closed().is_empty(), "no answer to anything else");
    show_address(port);
    assert_eq!(server.ask(77, b"?").0, NO, "it serves");
    assert_eq!(server.end().0, Some(0));

    let elsewhere = "192.0.2.1 40000 127.0.0.1 22";
    let mut command = command(home.path(), &[]);
    let mut server = Started::new(command.env("SSH_CONNECTION", elsewhere));
    let port = server.port();
    let mut other = beside(port);
    other.send(IPADDR, b"");
    assert!(other.expect_closed().is_empty(), "it has another address");
    server.child.kill().expect("kill");
    server.child.wait().expect("end");
}

#[test]
fn our_client_speaks_to_it_as_by_ssh() {
    let home = home();
    let mut target = Target::new("127.0.0.1", 5021);
    let home_is = format!("HOME={}", home.path().display());
    let program = env!("CARGO_BIN_EXE_tfd");
    let arguments = ["env", &home_is, program, "bbftp", "--stdin", "--port", "0"];
    target.transport = Transport::Command(arguments.map(OsString::from).to_vec());
    target.login = None;
    let mut session = Session::open(&target, &()).expect("session");
    session.change_directory(b".", Options::USUAL).expect("cd");
    session.close();
}

#[test]
fn it_offers_what_a_login_would_and_keeps_nothing_of_a_put_that_is_cut() {
    const STORE_FROM: u32 = 0x7466_0006;
    let home = home();
    let mut started = Started::new(&mut command(home.path(), &[]));
    started.begin();
    let (code, text) = started.ask(OFFER, b"");
    assert_eq!(code, OK);
    assert!(
        text.starts_with("tfd ") && text.ends_with(" +small +sha256 +resume"),
        "{text}"
    );
    let request = [&transfer(1000, 1, 256, 1), &b"f"[..]].concat();
    started.send(STORE_FROM, &request);
    let (_, consent) = started.receive();
    let port = u16::from_be_bytes([consent[50], consent[51]]);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    let start = announcing(TRANS_START_V3, 4, b"");
    started
        .input
        .as_mut()
        .expect("input")
        .write_all(&start)
        .expect("start");
    stream.write_all(&[1; 500]).expect("data");
    drop(stream);
    assert_eq!(started.receive().0, BAD);
    assert_eq!(fs::read_dir(home.path()).expect("home").count(), 0);
    assert_eq!(started.end().0, Some(0));
}
