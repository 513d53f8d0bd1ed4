//! Our client and our server.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use tfd::client::Cancel;
use tfd::client::bbftp::{Event, Fate, How, Observer, Options, Session, Target, Transport};

use crate::client::{Files, Heard, content};
use crate::common::{PATIENCE, Server, account};
use crate::peer::{address, tls_server};

/// A server in the clear and inside TLS; `None` where the tests have no right to
/// start one.
pub fn server(lines: &str) -> Option<Server> {
    let users = [
        account("ann", "pass word", "games:::"),
        account("slow", "pass word", "games::rate=5000000:"),
    ];
    tls_server(
        &format!("password_logins = \"rsa\"\n{lines}"),
        &users.concat(),
    )
}

pub fn target(server: &Server, version: u32) -> Target {
    let mut target = Target::new("127.0.0.1", address(server).port());
    target.login = Some((b"ann".to_vec(), b"pass word".to_vec().into()));
    target.versions = match version {
        1 => 1..=1,
        version => 2..=version,
    };
    target.limits.receive = PATIENCE;
    target
}

pub fn tls_target(server: &Server, version: u32) -> Target {
    let addresses = server.listening("listening with TLS address=");
    Target {
        port: addresses.last().expect("address").port(),
        transport: Transport::Tls(server.tls()),
        ..target(server, version)
    }
}

pub fn open(target: &Target) -> Session {
    Session::open(target, &()).expect("session")
}

fn how(streams: u32) -> How {
    How {
        streams,
        buffer: 1,
        ..How::default()
    }
}

/// Puts the file that something else is about to replace.
fn put_old(session: &mut Session) {
    let files = Files::new();
    let file = files.with("old", b"old");
    let put = session.put(&file, b"old", &How::default(), &());
    put.expect("put");
}

/// Puts a file and gets it back.
fn there_and_back(session: &mut Session, server: &Server, size: usize, how: &How) {
    let files = Files::new();
    let (file, back) = (files.with("f", &content(size)), files.path("back"));
    let what = format!(
        "{size} bytes on {} streams in version {}",
        how.streams,
        session.version()
    );
    let put = session.put(&file, b"f", how, &());
    put.unwrap_or_else(|e| panic!("put {what}: {e}"));
    assert!(server.read("f") == content(size), "{what}");
    let got = session.get(b"/f", &back, how, &());
    got.unwrap_or_else(|e| panic!("get {what}: {e}"));
    assert!(fs::read(&back).expect("read") == content(size), "{what}");
    assert_eq!(server.names(""), ["f"], "no part is left");
    assert_eq!(files.names(), ["back", "f"]);
}

#[test]
fn files_of_every_size_go_over_every_number_of_streams_in_every_version() {
    let Some(server) = server("") else { return };
    for version in [1, 2, 3] {
        let mut session = open(&target(&server, version));
        for streams in [1, 2, 3, 10, 31, 32] {
            let n = streams as usize;
            for size in [
                0,
                1,
                n - 1,
                n,
                1023,
                1024,
                n * 1024 - 1,
                n * 1024,
                n * 1024 + 1,
            ] {
                there_and_back(&mut session, &server, size, &how(streams));
            }
        }
        there_and_back(&mut session, &server, 3_000_003, &how(7));
        session.close();
    }
}

#[test]
fn compressed_files_go_over_streams_in_every_version() {
    let Some(server) = server("") else { return };
    for version in [1, 2, 3] {
        let mut session = open(&target(&server, version));
        for (size, buffer) in [
            (0, 1),
            (1, 1),
            (1024, 1),
            (1025, 1),
            (256_000, 256),
            (700_001, 256),
        ] {
            let zip = How {
                options: Options::USUAL | Options::GZIP,
                buffer,
                ..how(3)
            };
            there_and_back(&mut session, &server, size, &zip);
        }
        session.close();
    }
}

#[test]
fn files_go_inside_tls_with_their_data_connections() {
    let Some(server) = server("") else { return };
    for version in [2, 3] {
        let mut session = open(&tls_target(&server, version));
        for streams in [1, 4, 32] {
            for size in [0, 1, 1024, 100_000, 3_000_003] {
                there_and_back(&mut session, &server, size, &how(streams));
            }
        }
        let zip = How {
            options: Options::USUAL | Options::GZIP,
            ..how(3)
        };
        there_and_back(&mut session, &server, 700_001, &zip);
        // Transfers that come to nothing do not confuse those that follow.
        let files = Files::new();
        let file = files.with("f", &content(5000));
        let refused = session.put(&file, b"f/below", &how(1), &());
        assert_eq!(refused.expect_err("no directory").code, 100);
        let missing = session.get(b"none", &files.path("none"), &how(1), &());
        assert_eq!(missing.expect_err("missing").fate, Fate::Final);
        let directory = session.get(b"f", &files.path("f/below"), &how(1), &());
        directory.expect_err("no directory here");
        there_and_back(&mut session, &server, 5000, &how(2));
        session.close();
    }
}

#[test]
fn a_sparse_file_arrives_as_it_is() {
    const SIZE: u64 = 40 << 20;
    let Some(server) = server("") else { return };
    let mut session = open(&target(&server, 3));
    let files = Files::new();
    let file = files.path("f");
    let sparse = File::create(&file).expect("create");
    sparse.set_len(SIZE).expect("size");
    sparse.write_all_at(b"middle", SIZE / 2).expect("write");
    session.put(&file, b"f", &how(4), &()).expect("put");
    session
        .get(b"f", &files.path("back"), &how(4), &())
        .expect("get");
    let (there, back) = (
        server.read("f"),
        fs::read(files.path("back")).expect("read"),
    );
    assert!(there == back && there.len() as u64 == SIZE);
    assert!(&there[SIZE as usize / 2..][..6] == b"middle");
}

#[test]
fn modes_and_times_are_kept_unless_they_are_not_wanted() {
    let Some(server) = server("") else { return };
    for version in [2, 3] {
        let mut session = open(&target(&server, version));
        let files = Files::new();
        let file = files.with("f", b"abc");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o604);
        fs::set_permissions(&file, mode).expect("mode");
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        let opened = File::options().write(true).open(&file).expect("open");
        opened.set_modified(time).expect("time");
        let usual = How::default();
        session.put(&file, b"f", &usual, &()).expect("put");
        let there = fs::metadata(server.path("f")).expect("file");
        assert_eq!((there.mode() & 0o777, there.mtime()), (0o604, 1_000_000));
        session
            .get(b"f", &files.path("back"), &usual, &())
            .expect("get");
        let back = fs::metadata(files.path("back")).expect("file");
        assert_eq!((back.mode() & 0o777, back.mtime()), (0o604, 1_000_000));
        let none = How {
            options: Options::TMP,
            ..usual
        };
        session.put(&file, b"g", &none, &()).expect("put");
        let there = fs::metadata(server.path("g")).expect("file");
        assert_ne!(there.mtime(), 1_000_000);
        session.close();
    }
}

#[test]
fn many_small_files_go_and_come_one_behind_the_other() {
    const COUNT: usize = 300;
    let Some(server) = server("") else { return };
    for target in [target(&server, 3), tls_target(&server, 3)] {
        let mut session = open(&target);
        assert!(session.is_tfd() && session.offer().small);
        let files = Files::new();
        let name = |at: usize| format!("many/{at}").into_bytes();
        let there: Vec<(PathBuf, Vec<u8>)> = (0..COUNT)
            .map(|at| (files.with(&at.to_string(), &content(at * 7)), name(at)))
            .collect();
        let mut done = 0;
        let put = session.put_small(&there, &How::default(), &mut |at, moved| {
            assert_eq!(moved.expect("put").bytes, at as u64 * 7);
            done += 1;
        });
        put.expect("put");
        assert_eq!((done, server.names("many").len()), (COUNT, COUNT));
        let back = Files::new();
        let list: Vec<(Vec<u8>, PathBuf)> = (0..COUNT)
            .map(|at| (name(at), back.path(&at.to_string())))
            .collect();
        let mut done = 0;
        let got = session.get_small(&list, &How::default(), &mut |_, moved| {
            moved.expect("get");
            done += 1;
        });
        got.expect("get");
        assert_eq!(done, COUNT);
        for (at, (_, path)) in list.iter().enumerate() {
            assert!(fs::read(path).expect("read") == content(at * 7));
        }
        session.close();
    }
}

#[test]
fn both_sides_compare_what_they_have() {
    let Some(server) = server("") else { return };
    let compared = How {
        sha256: true,
        ..how(3)
    };
    let mut session = open(&target(&server, 3));
    assert!(session.offer().sha256);
    there_and_back(&mut session, &server, 300_000, &compared);
    there_and_back(&mut session, &server, 0, &compared);
}

#[test]
fn a_simulation_leaves_the_target_as_it_was() {
    let Some(server) = server("") else { return };
    for target in [
        target(&server, 2),
        target(&server, 3),
        tls_target(&server, 3),
    ] {
        let mut session = open(&target);
        let files = Files::new();
        let file = files.with("f", &content(5000));
        put_old(&mut session);
        let simulation = How {
            simulate: true,
            ..how(3)
        };
        session.put(&file, b"old", &simulation, &()).expect("put");
        session.get(b"old", &file, &simulation, &()).expect("get");
        assert_eq!(server.read("old"), b"old");
        assert_eq!(server.names(""), ["old"]);
        assert!(fs::read(&file).expect("read") == content(5000));
        session.close();
    }
}

#[test]
fn a_client_that_is_cancelled_leaves_nothing_and_the_old_file() {
    let Some(server) = server("") else { return };
    put_old(&mut open(&target(&server, 3)));
    let files = Files::new();
    let file = files.path("f");
    File::create(&file)
        .and_then(|file| file.set_len(8 << 30))
        .expect("create");
    let target = target(&server, 3);
    let cancel: Cancel = target.cancel.clone();
    let mut session = open(&target);
    let watch = Watch(cancel, 1);
    let failed = session.put(&file, b"old", &how(4), &watch);
    assert_eq!(failed.expect_err("cancelled").fate, Fate::End);
    drop(session);
    crate::common::wait_until("the part to go", || server.names("") == ["old"]);
    assert_eq!(server.read("old"), b"old");
}

/// Cancels once so many bytes have moved.
pub struct Watch(pub Cancel, pub u64);

impl Observer for Watch {
    fn notify(&self, event: &Event<'_>) {
        match event {
            Event::Moved(bytes) if *bytes >= self.1 => self.0.cancel(),
            _ => {}
        }
    }
}

#[test]
fn a_get_that_was_cut_continues() {
    let Some(server) = server("") else { return };
    for target in [target(&server, 3), tls_target(&server, 3)] {
        let files = Files::new();
        let (file, back) = (files.with("f", &content(10_000_000)), files.path("back"));
        let resumed = How {
            resume: true,
            ..how(3)
        };
        let mut session = open(&target);
        assert!(session.offer().resume);
        session.put(&file, b"f", &resumed, &()).expect("put");
        let watch = Watch(target.cancel.clone(), 2_000_000);
        let mut slow = target.clone();
        slow.login = Some((b"slow".to_vec(), b"pass word".to_vec().into()));
        let mut session = open(&slow);
        session
            .get(b"f", &back, &resumed, &watch)
            .expect_err("cancelled");
        assert!(files.names()[0].starts_with("back.bbftp.part.10000000."));
        target.cancel.renew();
        let heard = Heard::default();
        let mut session = open(&target);
        session.get(b"f", &back, &resumed, &heard).expect("get");
        assert!(!heard.all()[0].ends_with(" from 0"), "{:?}", heard.all()[0]);
        assert!(fs::read(&back).expect("read") == content(10_000_000));
        assert_eq!(files.names(), ["back", "f"]);
    }
}

#[test]
fn a_rate_is_the_accounts_over_sessions_and_streams() {
    let Some(server) = server("") else { return };
    let files = Files::new();
    let file = files.with("f", &content(6_000_000));
    open(&target(&server, 3))
        .put(&file, b"f", &how(1), &())
        .expect("put");
    let mut slow = target(&server, 3);
    slow.login = Some((b"slow".to_vec(), b"pass word".to_vec().into()));
    let begin = std::time::Instant::now();
    std::thread::scope(|scope| {
        for name in ["one", "two"] {
            let (slow, back) = (&slow, files.path(name));
            scope.spawn(move || open(slow).get(b"f", &back, &how(3), &()).expect("get"));
        }
    });
    // 12,000,000 bytes at 5,000,000 a second.
    let took = begin.elapsed();
    assert!(took > std::time::Duration::from_millis(2000), "{took:?}");
}
