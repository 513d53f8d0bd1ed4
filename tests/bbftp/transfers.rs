//! Files to the server and back, in every version.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

use crate::common::Server;
use crate::peer::*;
use crate::streams::*;

#[test]
fn files_of_every_size_go_and_come_in_every_version() {
    let Some(server) = server("") else { return };
    for version in [1, 2, 3] {
        let mut peer = Peer::ann(&server, version);
        let sizes = [
            0, 1, 2, 255_999, 256_000, 256_001, 262_144, 262_145, 1_000_003,
        ];
        for (size, options) in sizes
            .iter()
            .flat_map(|size| [(*size, 1), (*size, 1 | GZIP)])
        {
            let plan = Plan {
                options,
                ..Plan::new(version, 3)
            };
            let content = content(size);
            let (code, text) = put(&mut peer, plan, "f", &content);
            assert_eq!(code, OK, "{text}");
            assert!(
                server.read("f") == content,
                "{size} bytes in version {version}"
            );
            assert!(get(&mut peer, plan, "f") == content);
        }
        peer.expect_alive();
        assert_eq!(server.names(""), ["f", "home"], "no part is left");
    }
}

#[test]
fn a_file_goes_over_as_many_streams_as_a_version_has() {
    let Some(server) = server("") else { return };
    let content = content(2_000_003);
    for (version, most) in [(1, 10), (2, 32), (3, 32)] {
        let mut peer = Peer::ann(&server, version);
        for streams in [1, 2, 9, most] {
            let plan = Plan {
                buffer: 1,
                ..Plan::new(version, streams)
            };
            assert_eq!(put(&mut peer, plan, "f", &content), (OK, "OK".to_owned()));
            assert!(server.read("f") == content);
            assert!(get(&mut peer, plan, "f") == content);
        }
    }
}

#[test]
fn version_1_has_streams_without_bytes_where_the_file_is_short() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::ann(&server, 1);
    let plan = Plan::new(1, 10);
    assert_eq!(put(&mut peer, plan, "f", b"abc"), (OK, "OK".to_owned()));
    assert_eq!(get(&mut peer, plan, "f"), b"abc");
}

#[test]
fn more_streams_than_there_are_buffers_or_than_are_granted_are_not_opened() {
    let Some(server) = server("") else { return };
    server.write("f", vec![7; 600_000]);
    for version in [2, 3] {
        let mut peer = Peer::ann(&server, version);
        for (streams, buffer, expected) in [(12, 256, 2), (1000, 1, 32), (9, 4096, 1)] {
            let plan = Plan {
                buffer,
                ..Plan::new(version, streams)
            };
            let agreed = agree(&mut peer, plan, RETR_V2, "f", 0);
            assert_eq!(agreed.streams, expected);
            peer.send(ABORT, b"");
        }
        let plan = Plan::new(version, 1000);
        let agreed = agree(&mut peer, plan, STORE_V2, "g", 600_000);
        assert_eq!(agreed.streams, 32);
        peer.send(ABORT, b"");
        peer.expect_alive();
    }
    assert_eq!(server.names(""), ["f", "home"]);
}

#[test]
fn mode_and_times_are_those_asked_for_and_told() {
    let Some(server) = server("") else { return };
    for version in [2, 3] {
        let mut peer = Peer::ann(&server, version);
        for content in [&b"abc"[..], b""] {
            let options = 1 | TIMES | MODE;
            let plan = Plan {
                options,
                ..Plan::new(version, 1)
            };
            assert_eq!(put(&mut peer, plan, "f", content).0, OK);
            let stat = fs::metadata(server.path("f")).expect("stat");
            assert_eq!(stat.mode() & 0o7777, 0o640);
            assert_eq!((stat.atime(), stat.mtime()), (0x6b00_cf28, 0x3a7b_8372));
        }
        let plan = Plan::new(version, 1);
        assert_eq!(put(&mut peer, plan, "g", b"abc").0, OK);
        let agreed = agree(&mut peer, plan, RETR_V2, "f", 0);
        assert_eq!(agreed.attributes[..4], [0, 0, 1, 0xa0]);
        assert_eq!(&agreed.attributes[12..], b"3a7b8372");
        let stat = fs::metadata(server.path("g")).expect("stat");
        assert_eq!(stat.mode() & 0o7777, 0o644);
        fs::remove_file(server.path("g")).expect("remove");
    }
}

#[test]
fn missing_directories_are_made_where_that_is_asked_for() {
    let Some(server) = server("") else { return };
    for version in [2, 3] {
        let mut peer = Peer::ann(&server, version);
        let plan = Plan::new(version, 1);
        peer.send(STORE_V2, &transfer(3, 1, 256, 1));
        let text = peer.expect_refused((FILENAME, b"d/e/f"));
        assert_eq!(
            text,
            "Directory (/d/e) creation needed but TROPT_DIR not set"
        );
        for content in [&b"abc"[..], b""] {
            let options = 1 | DIRECTORIES;
            let plan = Plan { options, ..plan };
            assert_eq!(put(&mut peer, plan, "d/e/f", content).0, OK);
            assert_eq!(server.read("d/e/f"), content);
            fs::remove_dir_all(server.path("d")).expect("remove");
        }
    }
}

#[test]
fn a_simulation_opens_connections_and_changes_nothing() {
    let Some(server) = server("") else { return };
    put_there(&server, "f", b"old");
    for version in [2, 3] {
        let mut peer = Peer::ann(&server, version);
        for name in ["f", "new", "d/new"] {
            let options = 1 | DIRECTORIES;
            let plan = Plan {
                options,
                ..Plan::new(version, 2)
            };
            let agreed = agree(&mut peer, plan, STORE_V2, name, 1000);
            let sockets = start(&mut peer, plan, &agreed, true);
            assert_eq!(peer.answer(), (OK, "OK".to_owned()));
            for mut socket in sockets {
                assert!(matches!(socket.read(&mut [0]), Ok(0) | Err(_)), "no bytes");
            }
        }
        let agreed = agree(&mut peer, Plan::new(version, 1), RETR_V2, "f", 0);
        let mut sockets = start(&mut peer, Plan::new(version, 1), &agreed, true);
        assert_eq!(peer.answer(), (OK, "OK".to_owned()));
        assert!(matches!(sockets[0].read(&mut [0]), Ok(0) | Err(_)));
        peer.expect_alive();
    }
    assert_eq!(server.names(""), ["f", "home"]);
    assert_eq!(server.read("f"), b"old");
}

/// The answer to a request for a transfer that must fail, in this version.
fn refused(peer: &mut Peer, version: u32, is_store: bool, name: &str, size: usize) -> String {
    if version == 1 {
        let code = if is_store { STORE } else { RETR };
        let payload = old_request(name, size, &ports(&listeners(1)));
        return peer.expect_refused((code, &payload));
    }
    peer.send(
        if is_store { STORE_V2 } else { RETR_V2 },
        &transfer(size as i64, 1, 256, 1),
    );
    peer.expect_refused((FILENAME, name.as_bytes()))
}

#[test]
fn what_is_no_file_or_may_not_be_touched_is_refused() {
    let Some(server) = server("") else { return };
    server.mkdir("d");
    server.write("secret", "x");
    let nobody = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(server.path("secret"), nobody).expect("mode");
    std::os::unix::fs::chown(server.path("secret"), Some(0), Some(0)).expect("owner");
    nix::unistd::mkfifo(&server.path("pipe"), nix::sys::stat::Mode::S_IRUSR).expect("pipe");
    for version in [1, 2, 3] {
        let mut peer = Peer::ann(&server, version);
        for (is_store, name, expected) in [
            (
                false,
                "none",
                "Error stating file none : No such file or directory",
            ),
            (
                false,
                "secret",
                "Error stating file secret : Permission denied",
            ),
            (
                true,
                "secret",
                "Error creation file secret : Permission denied",
            ),
            (false, "d", "File d is a directory"),
            (true, "d", "File d is a directory"),
            (false, "pipe", "File pipe is not a regular file"),
            (true, "pipe", "File pipe is not a regular file"),
        ] {
            for size in [3, 0] {
                let text = refused(&mut peer, version, is_store, name, size);
                assert_eq!(text, expected);
            }
        }
        peer.expect_alive();
    }
}

#[test]
fn a_file_that_is_whole_runs_the_program_for_uploads() {
    let program = "echo $TFD_PROTOCOL $TFD_ACCOUNT $TFD_SIZE $TFD_CLIENT_PATH";
    let lines =
        format!("on_upload = [\"/bin/sh\", \"-c\", \"{program}\"]\non_upload_queue = \"jobs\"");
    let Some(mut server) = server_with(&lines, "") else {
        return;
    };
    for version in [1, 2, 3] {
        let mut peer = Peer::ann(&server, version);
        let name = format!("by-version-{version}");
        let (code, text) = put(&mut peer, Plan::new(version, 2), &name, &content(60_000));
        assert_eq!(code, OK, "{text}");
        server.wait_for_log(&format!("bbftp ann 60000 {name}"));
    }
}

#[test]
fn rights_and_quota_are_kept() {
    let Some(server) = server_with("quota = \"100000\"", "") else {
        return;
    };
    server.write("old", "old");
    fs::set_permissions(
        server.path("old"),
        std::os::unix::fs::PermissionsExt::from_mode(0o666),
    )
    .expect("mode");
    for version in [1, 2, 3] {
        let plan = Plan::new(version, 2);
        let mut reader = Peer::logged_in(&server, "roy", "pass");
        reader.choose(version);
        refused(&mut reader, version, true, "new", 3);
        refused(&mut reader, version, true, "new", 0);
        assert_eq!(get(&mut reader, plan, "old"), b"old");
        let mut adder = Peer::logged_in(&server, "app", "pass");
        adder.choose(version);
        let text = refused(&mut adder, version, true, "old", 3);
        assert!(text.contains("may not be replaced"), "{text}");
        assert_eq!(put(&mut adder, plan, "added", b"abc").0, OK);
        fs::remove_file(server.path("added")).expect("remove");

        let mut peer = Peer::ann(&server, version);
        let text = refused(&mut peer, version, true, "large", 100_001);
        assert!(text.contains("quota of 100000 bytes reached"), "{text}");
        let (code, text) = put(&mut peer, plan, "large", &content(60_000));
        assert_eq!(code, OK, "{text}");
        let (code, text) = put(&mut peer, plan, "large", &content(20_000));
        assert_eq!(code, OK, "{text}");
        let text = refused(&mut peer, version, true, "more", 90_000);
        assert!(text.contains("quota of 100000 bytes reached"), "{text}");
        peer.expect_alive();
    }
    assert_eq!(server.names(""), ["home", "large", "old"]);
}

#[test]
fn connections_to_the_client_come_from_the_port_below_the_control_port() {
    for (line, is_below) in [("", true), ("active_source_port = \"any\"", false)] {
        // The system gives nobody these ports.
        let Some(server) = server_at("127.44.0.1:21021", "", line) else {
            return;
        };
        let below = address(&server).port() - 1;
        let mut peer = Peer::ann(&server, 2);
        let plan = Plan::new(2, 3);
        let agreed = agree(&mut peer, plan, STORE_V2, "f", 999);
        let sockets = start(&mut peer, plan, &agreed, true);
        for socket in sockets {
            let from = socket.peer_addr().expect("peer").port();
            assert_eq!(from == below, is_below, "{from}, not {below}");
        }
    }
}

#[test]
fn passive_ports_are_those_of_the_configuration() {
    let Some(server) = server("data_ports = \"24100-24163\"") else {
        return;
    };
    let mut peer = Peer::ann(&server, 3);
    for _ in 0..3 {
        let plan = Plan {
            buffer: 1,
            ..Plan::new(3, 32)
        };
        let agreed = agree(&mut peer, plan, STORE_V2, "f", 100_000);
        assert!(
            agreed
                .ports
                .iter()
                .all(|port| (24100..24164).contains(port))
        );
        peer.send(ABORT, b"");
        peer.expect_alive();
    }
}

#[test]
fn bytes_and_outcome_are_in_the_audit_log() {
    let Some(server) = server("") else { return };
    let mut peer = Peer::ann(&server, 3);
    let plan = Plan::new(3, 2);
    put(&mut peer, plan, "f", &content(5000));
    get(&mut peer, plan, "f");
    refused(&mut peer, 3, false, "none", 0);
    let audit = server.config_path().with_file_name("audit.jsonl");
    crate::common::wait_until("the records", || {
        let text = fs::read_to_string(&audit).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let has = |parts: &[&str]| {
            let fits = |line: &&str| parts.iter().all(|part| line.contains(part));
            lines.iter().any(fits)
        };
        has(&["STORE", "\"bytes\":5000"])
            && has(&["RETR", "\"bytes\":5000"])
            && has(&["RETR", "none"])
    });
}

/// Moves a gibibyte of which nothing is on disk: the sum of what came.
fn fetch_large(server: &Server, streams: usize) -> u64 {
    let mut peer = Peer::ann(server, 3);
    let plan = Plan::new(3, streams);
    let agreed = agree(&mut peer, plan, RETR_V2, "large", 0);
    let sockets = start(&mut peer, plan, &agreed, false);
    let read = |mut socket: std::net::TcpStream, len: usize| {
        let mut buffer = vec![1; 1 << 20];
        let mut left = len;
        while left > 0 {
            let room = left.min(buffer.len());
            let n = socket.read(&mut buffer[..room]).expect("read");
            assert!(n > 0 && buffer[..n].iter().all(|byte| *byte == 0));
            left -= n;
        }
        socket.write_all(&ACK).expect("ack");
        len as u64
    };
    let threads: Vec<_> = (sockets.into_iter().zip(ranges(1 << 30, streams)))
        .map(|(socket, range)| std::thread::spawn(move || read(socket, range.len())))
        .collect();
    let sum = threads
        .into_iter()
        .map(|thread| thread.join().expect("stream"))
        .sum();
    assert_eq!(peer.answer().0, OK);
    sum
}

#[test]
fn a_gibibyte_comes_and_goes() {
    let Some(server) = server("") else { return };
    server.write("large", "");
    let file = fs::File::options().write(true).open(server.path("large"));
    file.expect("file").set_len(1 << 30).expect("length");
    for streams in [1, 4] {
        assert_eq!(fetch_large(&server, streams), 1 << 30);
    }
    let mut peer = Peer::ann(&server, 3);
    let plan = Plan::new(3, 4);
    let agreed = agree(&mut peer, plan, STORE_V2, "copy", 1 << 30);
    let sockets = start(&mut peer, plan, &agreed, false);
    let send = |mut socket: std::net::TcpStream| {
        for _ in 0..256 {
            socket.write_all(&[7; 1 << 20]).expect("write");
        }
        socket.read_exact(&mut [0; 8]).expect("ack");
    };
    let threads: Vec<_> = (sockets.into_iter())
        .map(|socket| std::thread::spawn(move || send(socket)))
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("stream"));
    assert_eq!(peer.answer().0, OK);
    let stat = fs::metadata(server.path("copy")).expect("stat");
    assert_eq!(stat.len(), 1 << 30);
    let mut last = vec![0; 10];
    let file = fs::File::open(server.path("copy")).expect("open");
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut last, (1 << 30) - 10).expect("read");
    assert_eq!(last, [7; 10]);
}
