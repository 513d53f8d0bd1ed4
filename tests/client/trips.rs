//! How often `tf` waits for the server: with one that has the commands of
//! version 2.5, and with one of version 2.4.1.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tfd::client::{ClientError, Connection, Listed, PublicKey, Target};
use tfd::tf::status::Status;

use crate::common::{HASH, PATIENCE, Server, patient, public_key};
use crate::desk::{Desk, Run};
use crate::liar::{self, Answer};
use crate::relay::{Link, Relay};

/// The handshake, and END.
const AROUND: u64 = 2;

struct Counted {
    desk: Desk,
    relay: Relay,
}

impl Counted {
    fn new() -> Counted {
        let desk = Desk::new();
        let address = desk.address;
        Counted::of(desk, address)
    }

    /// With another server than the desk's own.
    fn of(mut desk: Desk, server: SocketAddr) -> Counted {
        let relay = Relay::start(server, Link::default(), Box::new(|| None));
        desk.address = relay.address;
        Counted { desk, relay }
    }

    /// A run, and its round trips.
    fn tf(&self, arguments: &[&str]) -> (Run, u64) {
        let run = self.desk.tf(arguments);
        (run, self.relay.trips() - AROUND)
    }
}

#[test]
fn one_round_trip_is_enough_for_what_a_server_can_say_at_once() {
    let counted = Counted::new();
    for name in ["s/f1", "s/f2", "s/d/g"] {
        counted.desk.server.write(name, "x");
    }
    for (arguments, code, trips) in [
        (&["ls", "s"][..], 0, 1),
        (&["ls", "-l", "s"], 0, 1),
        (&["ls", "s/f1"], 0, 1),
        (&["ls", "s/missing"], 1, 3),
        (&["rm", "s/f*"], 0, 3),
        (&["mkdir", "-p", "a/b/c/d"], 0, 1),
        (&["mkdir", "-p", "a/b/c/d", "e/f/g"], 0, 2),
        (&["lock", "s"], 0, 1),
    ] {
        let (run, took) = counted.tf(arguments);
        assert_eq!(
            (run.code, took),
            (Some(code), trips),
            "{arguments:?}: {}",
            run.err
        );
    }
    assert!(counted.desk.server.exists("e/f/g"));
}

#[test]
fn the_sizes_of_thousands_of_files_are_asked_for_at_once() {
    const FILES: usize = 20_000;
    let asked = AtomicUsize::new(0);
    // It answers none before the last.
    let address = liar::start(move |_| match asked.fetch_add(1, Ordering::Relaxed) + 1 {
        FILES => Answer::Messages(FILES, b"OK F 7 1 2".to_vec()),
        _ => Answer::Nothing,
    });
    let mut connection = connect(address);
    let timeout = connection.socket().set_read_timeout(Some(PATIENCE));
    timeout.expect("option");
    let paths: Vec<String> = (0..FILES).map(|n| format!("d/{n}")).collect();
    let stats = connection.stat_all(&paths).expect("stats");
    assert!(
        stats
            .iter()
            .all(|stat| stat.as_ref().is_ok_and(|stat| stat.size == 7))
    );
}

#[test]
fn a_small_file_is_sent_in_one_round_trip() {
    let counted = Counted::new();
    for (name, data, trips) in [
        ("small", vec![7; 4096], 1),
        ("empty", Vec::new(), 1),
        ("large", vec![8; 100_000], 3),
    ] {
        let mut rest = &data[..];
        let mut connection = connect(counted.desk.address);
        let sent = connection.send_file(name, false, &mut |buffer| {
            Ok(rest.read(buffer).expect("memory"))
        });
        sent.expect("sent");
        connection.end().expect("end");
        assert_eq!(counted.relay.trips() - AROUND, trips, "{name}");
        assert_eq!(counted.desk.server.read(name), data);
    }
}

#[test]
fn a_server_that_refuses_a_small_file_is_understood_and_serves_on() {
    let send = |connection: &mut Connection, name: &str, overwrite| {
        let mut rest = &b"data"[..];
        connection.send_file(name, overwrite, &mut |buffer| {
            Ok(rest.read(buffer).expect("memory"))
        })
    };
    let server = Server::start();
    server.write("there", "x");
    server.write("d/f", "x");
    let mut connection = connect(server.address());
    for (name, overwrite, status) in [
        ("there", false, Status::FileExists),
        ("d", true, Status::IsDirectory),
    ] {
        let refused = send(&mut connection, name, overwrite).expect_err(name);
        assert_eq!(refused.status(), Some(status), "{name}");
        assert!(connection.echo("still").expect("reply"));
    }
    assert_eq!(server.read("there"), b"x");

    // One that fails at the data, or at the end.
    for refused_at in ["CONT data", "OK"] {
        let failed = AtomicUsize::new(0);
        let address = liar::start(move |request| {
            let is_refused = request == refused_at;
            let before = failed.fetch_add(usize::from(is_refused), Ordering::Relaxed);
            match request.split(' ').next().unwrap_or_default() {
                _ if is_refused => "FAILED 13 : Quota exceeded.".into(),
                "SNDFILE" | "CONT" if before == 0 => "CONT".into(),
                "ECHO" => "still".into(),
                _ => "UNKNOWN".into(),
            }
        });
        let mut connection = connect(address);
        let refused = send(&mut connection, "f", false).expect_err("refusal");
        assert_eq!(
            refused.status(),
            Some(Status::QuotaExceeded),
            "{refused_at}"
        );
        assert!(connection.echo("still").expect("reply"));
    }
}

/// Answers as a server of version 2.4.1 does, and counts what it does not know.
fn old_server(later: Arc<AtomicUsize>) -> SocketAddr {
    liar::start(
        move |request| match request.split(' ').next().unwrap_or_default() {
            "LS" if request == "LS d" => Answer::Listing("F: f\nD: e/\n"),
            "LS" => "FAILED 10 : Directory does not exist.".into(),
            "FSTAT" if request.ends_with("/f") => "OK F 1 2 3".into(),
            "FSTAT" if request.ends_with("missing") => "FAILED 9 : File does not exist.".into(),
            "FSTAT" => "OK D 1 2 3".into(),
            "MKDIR" if request == "MKDIR a" => "FAILED 4 : Directory already exist.".into(),
            "MKDIR" if request.starts_with("MKDIR closed") => "FAILED 1 : Access denied.".into(),
            "MKDIR" | "TOUCH" => "OK".into(),
            _ => {
                later.fetch_add(1, Ordering::Relaxed);
                "UNKNOWN".into()
            }
        },
    )
}

#[test]
fn a_server_without_the_later_commands_is_asked_once_and_served_as_before() {
    let later = Arc::new(AtomicUsize::new(0));
    let mut connection = connect(old_server(Arc::clone(&later)));
    for _ in 0..3 {
        let mut names = Vec::new();
        let listed = connection.list_names("d", &mut |entry| {
            names.push(entry);
            Ok(())
        });
        assert!(matches!(listed, Ok(Listed::Nothing(_))) && names.is_empty());
        let expanded = connection.expand("d/*").expect("names");
        assert_eq!(expanded, ["d/e", "d/f"]);
        connection.make_directories("a/b").expect("directories");
        connection.make_new_file("a/LOCK").expect("file");
        let refused = connection.make_directories("d/f").expect_err("a file");
        assert_eq!(refused.status(), Some(Status::FileExists));
        let refused = connection
            .make_directories("closed/missing")
            .expect_err("refusal");
        assert_eq!(refused.status(), Some(Status::AccessDenied));
    }
    // LSV2DOWN and TASFS.
    assert_eq!(later.load(Ordering::Relaxed), 2);

    let desk = Desk::new();
    let old = Counted::of(desk, old_server(later));
    for (arguments, trips) in [
        // One more than by the older commands alone, and one more for details.
        (&["ls", "d"][..], 3),
        (&["ls", "-l", "d"], 5),
        (&["mkdir", "-p", "b"], 2),
        // As many, or fewer.
        (&["lock", "d"], 2),
        (&["ls", "d/f"], 1),
        (&["mkdir", "-p", "a/b/c/d"], 2),
        (&["mkdir", "-p", "a/b", "c/d"], 3),
    ] {
        let (run, took) = old.tf(arguments);
        assert_eq!(
            (run.code, took),
            (Some(0), trips),
            "{arguments:?}: {}",
            run.err
        );
    }
}

#[test]
fn a_list_of_names_is_read_with_distrust() {
    let frames: [&[&[u8]]; 5] = [
        &[b"no newline"],
        &[b"/\n"],
        &[b""],
        &[b"d/a\n", &[b'x'; 600_000]],
        &[],
    ];
    for lines in frames {
        let frames: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
        let address = liar::start(move |request| match request.starts_with("LSV2DOWN") {
            true => Answer::Lines(frames.clone(), -12),
            false => "OK D 1 2 3".into(),
        });
        let mut connection = connect(address);
        let listed = connection.list_names("d", &mut |_| Ok(()));
        assert!(listed.is_err(), "{lines:?}");
        assert!(connection.is_lost(), "{lines:?}");
    }
    // One without end fills no memory: whoever takes the names gives up.
    let address = liar::start(|_| Answer::Lines(vec![b"d/name\n".to_vec(); 100_000], -10));
    let mut connection = connect(address);
    let mut left = 10;
    let listed = connection.list_names("d", &mut |_| {
        left -= 1;
        match left {
            0 => Err(ClientError::Interrupted),
            _ => Ok(()),
        }
    });
    assert!(matches!(listed, Err(ClientError::Interrupted)) && connection.is_lost());
}

#[test]
fn a_name_with_a_newline_is_one_of_the_names() {
    let server = Server::start();
    server.write("d/new\nline", "x");
    server.write("d/f", "x");
    let mut connection = connect(server.address());
    assert_eq!(
        connection.expand("d/*").expect("names"),
        ["d/f", "d/new\nline"]
    );
}

fn connect(address: SocketAddr) -> Connection {
    let pem = public_key().public_key_to_pem().expect("pem");
    let key = PublicKey::from_pem(&pem).expect("key");
    let target = patient(Target::new(&address.to_string(), key, HASH));
    Connection::open(&target).expect("connection")
}
