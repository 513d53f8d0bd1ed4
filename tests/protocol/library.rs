//! The client library against the server: every call, and what its errors
//! say.

use std::fs;

use tfd::client::{ClientError, Connection, Kind, PublicKey, Target, Transport};
use tfd::tf::status::Status;

use crate::common::flows::Flows;
use crate::common::{HASH, Server, Setup, patient, public_key};

fn target(server: &Server) -> Target {
    let pem = public_key().public_key_to_pem().expect("pem");
    let key = PublicKey::from_pem(&pem).expect("key");
    patient(Target::new(&server.address().to_string(), key, HASH))
}

fn connect(server: &Server) -> Connection {
    Connection::open(&target(server)).expect("connection")
}

#[test]
fn the_handshake_names_the_door_that_stayed_closed() {
    let server = Server::start();
    let fine = target(&server);
    let wrong_version = Target {
        version: "9.9".to_owned(),
        ..fine.clone()
    };
    assert!(matches!(
        Connection::open(&wrong_version),
        Err(ClientError::Version(_))
    ));
    let wrong_hash = Target {
        hash: "x".to_owned(),
        ..fine.clone()
    };
    assert!(matches!(
        Connection::open(&wrong_hash),
        Err(ClientError::Hash)
    ));
    let other = openssl::rsa::Rsa::generate(2048).expect("key");
    let pem = other.public_key_to_pem().expect("pem");
    let wrong_key = PublicKey::from_pem(&pem).expect("key");
    let wrong_key = Target {
        transport: Transport::Tcp(wrong_key),
        ..fine.clone()
    };
    assert!(matches!(
        Connection::open(&wrong_key),
        Err(ClientError::WrongKey(_))
    ));
    let nobody = Target {
        server: "127.0.0.1:1".to_owned(),
        ..fine.clone()
    };
    assert!(matches!(
        Connection::open(&nobody),
        Err(ClientError::Connect { .. })
    ));
    Connection::open(&fine)
        .expect("connection")
        .end()
        .expect("end");
}

#[test]
fn every_short_command_does_its_work() {
    for tf in ["", "dialect = \"document\""] {
        let server = Server::with(Setup {
            tf: tf.to_owned(),
            ..Setup::default()
        });
        let mut connection = connect(&server);
        assert!(connection.echo("hello there").expect("echo"));
        connection.make_directory("d").expect("mkdir");
        connection.touch("d/f").expect("touch");
        connection.copy("d/f", "g").expect("copy");
        connection.copy_directory("d", "e").expect("cpdir");
        connection.rename("g", "e/g").expect("rename");
        connection.change_mode("e/g", "640").expect("chmod");
        let stat = connection.stat("e/g").expect("stat");
        assert_eq!((stat.kind, stat.size), (Kind::File, 0));
        let shown = |entries: Vec<tfd::client::Entry>| {
            let mut names: Vec<String> = entries
                .into_iter()
                .map(|entry| format!("{:?} {}", entry.kind, entry.path.escape_ascii()))
                .collect();
            names.sort();
            names
        };
        let listed = shown(connection.list("/").expect("list"));
        assert_eq!(listed, ["Directory d", "Directory e"]);
        let all = shown(connection.list_recursive("e").expect("list"));
        assert_eq!(all, ["File f", "File g"]);
        assert_eq!(connection.file_size("e/g").expect("size"), 0);
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(connection.sha256("e/g").expect("sha256"), empty);
        assert!(connection.free_space().expect("space") > 0);
        let key = connection.process_key().expect("key");
        assert!((23..=37).contains(&key.len()), "{}", key.escape_ascii());
        connection.lock("mine").expect("lock");
        connection.lock("").expect("unlock");
        for length in [8, 32, 1024] {
            connection.swap_key(length).expect("nigma");
            assert!(connection.echo("under another key").expect("echo"));
        }
        connection.delete("e/g").expect("delete");
        connection.remove_directory("e").expect("rmdir");
        let stats = connection
            .stat_all(&["d".to_owned(), "e".to_owned()])
            .expect("stats");
        assert!(stats[0].is_ok());
        let missing = stats[1].as_ref().expect_err("missing");
        assert_eq!(missing.status(), Some(Status::FileMissing));
        let error = connection.delete("none").expect_err("missing");
        assert!(error.to_string().contains("DEL none: FAILED 9"), "{error}");
        assert_eq!(
            connection.log_in("a", "b").expect_err("login").status(),
            Some(Status::AlreadyLoggedIn)
        );
        connection.end().expect("end");
    }
}

/// Bytes that repeat at no frame's length.
fn content(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i % 251) as u8 ^ (i / 65_537) as u8)
        .collect()
}

#[test]
fn every_way_of_moving_a_file_moves_its_bytes() {
    let server = Server::start();
    let mut connection = connect(&server);
    for len in [0, 1, 262_144, 1_500_000] {
        let content = content(len);
        for way in ["send_file", "put", "stream_up"] {
            let mut left = content.as_slice();
            let mut source = |buffer: &mut [u8]| {
                let len = buffer.len().min(left.len());
                buffer[..len].copy_from_slice(&left[..len]);
                left = &left[len..];
                Ok(len)
            };
            match way {
                "send_file" => connection.send_file("f", true, &mut source),
                "put" => connection.put("f", 0, &mut source),
                _ => connection.stream_up("f", &mut source),
            }
            .expect(way);
            assert!(server.read("f") == content, "{way} {len}");
        }
        for way in ["receive_file", "get", "stream_down"] {
            let mut received = Vec::new();
            let mut sink = |data: &[u8]| {
                received.extend_from_slice(data);
                Ok(())
            };
            match way {
                "receive_file" => connection.receive_file("f", false, &mut sink),
                "get" => connection.get("f", 0, &mut sink),
                _ => connection.stream_down("f", &mut sink),
            }
            .expect(way);
            assert!(received == content, "{way} {len}");
        }
        connection.delete("f").expect("delete");
    }
    assert!(connection.echo("still here").expect("echo"));
}

#[test]
fn whole_files_take_their_place_when_they_are_verified() {
    let server = Server::start();
    let mut connection = connect(&server);
    let scratch = tempfile::tempdir().expect("directory");
    let local = scratch.path().join("local");
    let content = content(700_000);
    fs::write(&local, &content).expect("write");
    let mut told = Vec::new();
    let mut file = fs::File::open(&local).expect("open");
    connection
        .upload(&local, &mut file, "f", &mut |bytes| told.push(bytes))
        .expect("upload");
    assert_eq!(told.last(), Some(&700_000));
    assert!(server.read("f") == content);
    assert_eq!(server.names(""), ["f"]);
    let back = scratch.path().join("back");
    connection
        .download("f", &back, &mut |_| {})
        .expect("download");
    assert!(fs::read(&back).expect("read") == content);

    // What fails leaves the old files, and nothing beside them.
    fs::write(&back, "old").expect("write");
    connection
        .download("none", &back, &mut |_| {})
        .expect_err("missing");
    assert_eq!(fs::read(&back).expect("read"), b"old");
    let mut broken = Broken;
    connection
        .upload(&local, &mut broken, "f", &mut |_| {})
        .expect_err("unreadable");
    assert!(server.read("f") == content);
    assert_eq!(server.names(""), ["f"]);
    assert_eq!(fs::read_dir(scratch.path()).expect("names").count(), 2);
    assert!(connection.echo("still here").expect("echo"));
}

/// A file that can be read for a while.
struct Broken;

impl std::io::Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("unreadable"))
    }
}

#[test]
fn a_sink_that_fails_cancels_and_the_session_goes_on() {
    let server = Server::start();
    server.write("f", content(2_000_000));
    let mut connection = connect(&server);
    for way in ["receive_file", "get", "stream_down"] {
        let mut sink = |_: &[u8]| {
            let source = std::io::Error::other("full");
            Err(ClientError::Local {
                path: "x".into(),
                source,
            })
        };
        let result = match way {
            "receive_file" => connection.receive_file("f", false, &mut sink),
            "get" => connection.get("f", 0, &mut sink),
            _ => connection.stream_down("f", &mut sink),
        };
        assert!(
            matches!(result, Err(ClientError::Local { .. })),
            "{way}: {result:?}"
        );
        assert!(connection.echo("still here").expect("echo"), "{way}");
    }
}
