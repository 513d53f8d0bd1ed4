//! Tries, and the ends that come from outside.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tfd::bbftp::wire::Code;
use tfd::client::bbftp::Target;

use super::Caller;
use crate::fake::{Peer, serve, serve_version};

/// A server for so many connections, one after the other.
fn serve_each(
    connections: usize,
    script: impl Fn(usize, &mut Peer) + Send + 'static,
) -> (Target, JoinHandle<TcpListener>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("address").port();
    let server = std::thread::spawn(move || {
        for at in 0..connections {
            let (socket, _) = listener.accept().expect("accept");
            script(at, &mut Peer::on(socket));
        }
        listener
    });
    (Target::new("127.0.0.1", port), server)
}

fn has_none_waiting(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).expect("mode");
    listener.accept().is_err()
}

#[test]
fn a_server_that_is_not_there_is_tried_as_often_as_said() {
    let caller = Caller::new();
    // A port that was free, at an address where nobody else listens.
    let address = crate::common::own_address();
    let listener = TcpListener::bind((address, 0)).expect("listen");
    let port = listener.local_addr().expect("address").port().to_string();
    drop(listener);
    let arguments = [
        "-u",
        "a",
        "--password-file",
        "pw",
        "--retry-wait",
        "0",
        "-r",
        "2",
        "-W",
    ];
    let host = address.to_string();
    let run = caller.run(&[&arguments[..], &["-w", &port, "-e", "df .", &host]].concat());
    assert_eq!((run.code, &*run.out), (Some(33), ""));
    let lines: Vec<&str> = run.err.lines().collect();
    let trying = format!("BBFTP-WARNING-00028 : connect to address {host}");
    assert_eq!(lines.len(), 6, "{}", run.err);
    assert_eq!([lines[0], lines[3]], [&*trying, &trying]);
    assert!(lines[1].starts_with("BBFTP-ERROR-00052 : "), "{}", run.err);
    assert_eq!(
        lines[2],
        "BBFTP-WARNING-00022 : Retrying connection waiting 0 s"
    );
    let end = "BBFTP-ERROR-00033 : Maximum try on connection reached (2) aborting";
    assert_eq!(lines[5], end);
}

#[test]
fn a_server_that_ends_when_asked_for_its_version_is_not_tried_without_end() {
    let (target, server) = serve_each(3, |_, peer| {
        peer.let_in("x");
        peer.expect(Code::Prot);
    });
    let run = Caller::new().run_at(&target, &["-r", "3", "-e", "df ."]);
    assert_eq!(run.code, Some(33), "{}", run.err);
    assert!(has_none_waiting(&server.join().expect("server")));
}

#[test]
fn a_login_that_is_refused_for_good_is_tried_once_and_another_again() {
    for (code, connections, status) in [(Code::BadNoRetry, 1, 100), (Code::Bad, 2, 33)] {
        let (target, server) = serve_each(connections, move |_, peer| {
            let key = peer.greet(1024, 65537);
            peer.read_login(&key);
            peer.say(code, b"Incorrect password");
        });
        let run = Caller::new().run_at(&target, &["-V", "-r", "2", "-e", "df ."]);
        assert_eq!(run.code, Some(status), "{}", run.err);
        assert_eq!(run.out.matches(">> USER ann PASS\n").count(), connections);
        let text = "BBFTP-ERROR-00100 : Incorrect password\n";
        assert_eq!(run.err.matches(text).count(), connections);
        assert!(has_none_waiting(&server.join().expect("server")));
    }
}

#[test]
fn a_command_is_repeated_where_the_server_allows_it() {
    let (target, server) = serve_version(3, "x", |peer| {
        for _ in 0..2 {
            peer.expect(Code::Df);
            peer.say(Code::Bad, b"busy");
        }
        peer.expect(Code::Df);
        peer.say(Code::Ok, b"1 2 3");
        peer.expect(Code::CloseConn);
    });
    let run = Caller::new().run_at(&target, &["-V", "-r", "3", "-e", "df ."]);
    server.join().expect("server");
    let expected = "\
>> USER ann PASS
<< x
>> COMMAND : df .
<< busy
Retrying command waiting 0 s
>> COMMAND : df .
<< busy
Retrying command waiting 0 s
>> COMMAND : df .
<< OK : 1 2 3
df . OK
";
    assert_eq!(run.out, expected);
    assert_eq!(run.code, Some(0));
}

#[test]
fn a_new_connection_is_made_as_the_lost_one_was() {
    let (target, server) = serve_each(2, |connection, peer| {
        peer.let_in("x");
        peer.agree(1, 3);
        assert_eq!(peer.expect(Code::ChUmask), 0o77_u32.to_be_bytes());
        peer.say(Code::Ok, b"set");
        let directory = peer.expect(Code::ChDirV2);
        assert_eq!(&directory[4..], [&b"d"[..], b"/home/d"][connection]);
        peer.say(Code::Ok, b"/home/d");
        peer.expect(Code::Rm);
        if connection == 1 {
            peer.say(Code::Ok, b"deleted");
            peer.expect(Code::CloseConn);
        }
    });
    let commands = "setremoteumask 77;cd d;rm x";
    let run = Caller::new().run_at(&target, &["-e", commands]);
    server.join().expect("server");
    assert_eq!(
        run.out, "setremoteumask 77 OK\ncd d OK\nrm x OK\n",
        "{}",
        run.err
    );
}

#[test]
fn each_file_of_many_has_its_own_tries() {
    let (target, server) = serve_version(3, "x", |peer| {
        for (name, code) in [
            (&b"t//a"[..], Code::BadNoRetry),
            (b"t//b", Code::Bad),
            (b"t//c", Code::Ok),
            (b"t//b", Code::Ok),
        ] {
            assert_eq!(peer.request(Code::StoreV2).1, name);
            peer.say(code, b"as told");
        }
        peer.expect(Code::CloseConn);
    });
    let caller = Caller::new();
    fs::create_dir(caller.path("m")).expect("mkdir");
    for name in ["a", "b", "c"] {
        caller.write(&format!("m/{name}"), "");
    }
    let run = caller.run_at(&target, &["-e", "mput m/* t/"]);
    server.join().expect("server");
    let expected = "put m/a t//a FAILED\nput m/c t//c OK\nput m/b t//b OK\nmput m/* t/ OK\n";
    assert_eq!(run.out, expected, "{}", run.err);
    assert_eq!(run.code, Some(100));
}

#[test]
fn a_signal_ends_the_program_and_leaves_nothing_temporary() {
    for (signal, code, name) in [
        (Signal::SIGINT, 33, "SIGINT"),
        (Signal::SIGTERM, 34, "SIGTERM"),
    ] {
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (target, server) = serve(move |peer| {
            peer.let_in("x");
            peer.agree(1, 3);
            let (mut request, _) = peer.request(Code::RetrV2);
            request.size = 5000;
            let streams: Vec<TcpStream> = peer.streams(3, &request);
            begun.send(()).expect("test");
            assert!(peer.is_left());
            drop(streams);
        });
        let caller = Caller::new();
        let mut command = caller.command_at(&target, &["-e", "get f"]);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let child = child.expect("start");
        has_begun.recv().expect("begun");
        kill(Pid::from_raw(child.id() as i32), signal).expect("kill");
        let output = child.wait_with_output().expect("wait");
        server.join().expect("server");
        assert_eq!(output.status.signal(), None);
        assert_eq!(output.status.code(), Some(code));
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(err, format!("BBFTP-ERROR-{code:05} : Killed by {name}\n"));
        assert!(output.stdout.is_empty());
        let left = fs::read_dir(caller.0.path()).expect("directory").count();
        assert_eq!(left, 1, "the password alone");
    }
}
