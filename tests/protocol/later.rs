//! Commands of version 2.5: lists by paths from the root, types and times of
//! many paths, directories with their parents, files made by exactly one.

use std::fs;
use std::os::unix::fs::symlink;

use crate::common::{Client, Server, Setup};

/// A root with a bit of everything.
fn tree() -> Server {
    let server = Server::start();
    server.write("d/f", "F");
    server.write("d/e/g", "GG");
    server.write("d/hidden.sd/secret", "S");
    server.write("d/plain.sd", "P");
    server.write("d/new\nline", "");
    server.write("d/jail.key", "");
    symlink("e", server.path("d/link")).expect("link");
    nix::unistd::mkfifo(&server.path("d/pipe"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    server
}

const ENTRIES: [&str; 5] = ["d/e/", "d/f", "d/link", "d/pipe", "d/plain.sd"];

fn lines(content: &[u8]) -> Vec<String> {
    let text = String::from_utf8(content.to_vec()).expect("text");
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The lines of LSV2DOWN or LSRV2DOWN, and the code behind them.
#[track_caller]
fn list_down(client: &mut Client, request: &str) -> (Vec<String>, i32) {
    client.expect(request, 0);
    let mut content = Vec::new();
    loop {
        let header = client.wire.read_i32().expect("header");
        let Ok(len) = usize::try_from(header) else {
            content.sort();
            return (content, header);
        };
        let mut line = vec![0; len];
        client.wire.read_raw(&mut line).expect("line");
        assert_eq!(line.pop(), Some(b'\n'));
        content.push(String::from_utf8(line).expect("text"));
    }
}

#[test]
fn a_list_in_a_file_has_paths_from_the_root_and_the_file_itself() {
    let server = tree();
    let mut client = server.connect();
    client.expect("LSV2 /d//@||@/d/list", 0);
    let mut own = ENTRIES.to_vec();
    own.insert(3, "d/list");
    assert_eq!(lines(&server.read("d/list")), own);
    client.expect("LSRV2 d@||@list", 0);
    own.insert(1, "d/e/g");
    assert_eq!(lines(&server.read("list")), own);
    client.expect("LSV2 @||@list", 0);
    assert_eq!(lines(&server.read("list")), ["d/", "list"]);
    client.expect("lsv2 d/hidden.sd@||@list", 0);
    assert_eq!(server.read("list"), b"d/hidden.sd/secret\n");
    server.mkdir("empty");
    client.expect("LSRV2 empty@||@list", 0);
    assert_eq!(server.read("list"), b"");
    client.expect("LSV2 d/link@||@list", 0);
    assert_eq!(server.read("list"), b"d/link/g\n");
    assert_eq!(server.names(""), ["d", "empty", "list"]);
}

#[test]
fn a_list_that_can_not_be_made_leaves_the_file_as_it_was() {
    let server = tree();
    server.write("old", "old");
    symlink("/etc", server.path("out")).expect("link");
    let mut client = server.connect();
    for (request, code) in [
        ("LSV2", 16),
        ("LSV2 d@|@old", 16),
        ("LSRV2 d | old", 16),
        ("LSV2 ../d@||@old", 1),
        ("LSV2 d@||@../old", 1),
        ("LSV2 d@||@jail.key", 1),
        ("LSV2 out@||@old", 1),
        ("LSV2 missing@||@old", 53),
        ("LSV2 missing@||@new", 53),
        ("LSRV2 d/f@||@old", 20),
        ("LSV2 d@||@", 1),
        ("LSV2 d@||@d/e", 1),
        ("LSV2 d@||@missing/new", 1),
        ("LSV2 d@||@d/pipe", 1),
        ("LSV2DOWN ../d", 1),
        ("LSV2DOWN out", 1),
        ("LSRV2DOWN missing", 53),
        ("LSV2DOWN d/f", 20),
        ("LSRV2DOWN d/pipe", 20),
        ("LOCK f", 0),
        ("LSV2 d@||@old", 30),
        ("LSV2 d/e@||@d/new", 30),
        ("LSV2DOWN d", 30),
        ("LSRV2DOWN d", 30),
        ("LSV2DOWN ../d", 1),
    ] {
        client.expect(request, code);
    }
    assert_eq!(server.read("old"), b"old");
    assert_eq!(server.names(""), ["d", "old", "out"]);
}

#[test]
fn a_list_to_the_client_needs_no_file() {
    let server = tree();
    let mut client = server.connect();
    let (entries, end) = list_down(&mut client, "LSV2DOWN d");
    // A frame says how long it is, so that no name forges a line.
    let mut own = ENTRIES.to_vec();
    own.insert(3, "d/new\nline");
    assert_eq!(
        (entries, end),
        (own.iter().map(|s| (*s).to_owned()).collect(), -10)
    );
    let (entries, end) = list_down(&mut client, "LSRV2DOWN");
    assert_eq!((entries.len(), end), (8, -10));
    assert!(entries.contains(&"d/e/g".to_owned()) && entries.contains(&"d/".to_owned()));
    server.write("two\nlines/f", "");
    let (entries, _) = list_down(&mut client, "LSRV2DOWN two\nlines");
    assert_eq!(entries, ["two\nlines/f"]);
    client.expect("LSRV2 @||@list", 0);
    assert_eq!(lines(&server.read("list")).len(), 8);
    client.expect("DEL list", 0);
    for index in 0..3000 {
        server.write(&format!("many/{index:0>200}"), "");
    }
    let (entries, end) = list_down(&mut client, "LSRV2DOWN many");
    assert_eq!((entries.len(), end), (3000, -10));
    client.expect_alive();
}

#[test]
fn a_list_counts_for_the_quota() {
    let server = Server::with(Setup {
        server: "quota = \"5000\"".to_owned(),
        ..Setup::default()
    });
    let mut client = server.connect();
    for index in 0..30 {
        client.expect(format!("TOUCH {index:0>200}"), 0);
    }
    client.expect("LSV2 @||@list", 13);
    assert!(!server.exists("list"));
    assert_eq!(client.ask("FREESP"), "OK 5000");
    for index in 1..20 {
        client.expect(format!("DEL {index:0>200}"), 0);
    }
    for _ in 0..2 {
        client.expect("LSV2 @||@list", 0);
        assert_eq!(client.ask("FREESP"), "OK 2784");
    }
    client.expect("DEL list", 0);
    assert_eq!(client.ask("FREESP"), "OK 5000");
}

/// The byte that follows a request.
fn one_byte(client: &mut Client) -> i8 {
    let mut byte = [0];
    client.wire.read_raw(&mut byte).expect("a byte");
    byte[0] as i8
}

#[test]
fn ftype() {
    let server = tree();
    symlink("/etc", server.path("out")).expect("link");
    symlink("nowhere", server.path("dangling")).expect("link");
    let socket = std::os::unix::net::UnixListener::bind(server.path("socket")).expect("socket");
    let mut client = server.connect();
    for (path, kind) in [
        ("d", 0),
        ("", 0),
        ("d/link", 0),
        ("d/f", 3),
        ("d/pipe", 4),
        ("socket", 6),
        ("missing", -1),
        ("dangling", -1),
        ("out", -1),
        ("../d", -1),
        ("d/jail.key", -1),
        ("d/f/", -1),
    ] {
        client.send(format!("FTYPE {path}"));
        assert_eq!(one_byte(&mut client), kind, "{path}");
    }
    client.expect("LOCK f", 0);
    client.send("FTYPE d/f");
    assert_eq!(one_byte(&mut client), 3);
    client.expect_alive();
    drop(socket);
}

#[test]
fn ftypels() {
    let server = tree();
    server.write("list", "d\nd/f\n\n../d\nmissing\nd/pipe");
    server.write("empty", "");
    let mut client = server.connect();
    let mut kinds = |path: &str| {
        client.send(format!("FTYPELS {path}"));
        let mut kinds = Vec::new();
        while kinds.last() != Some(&-2) {
            kinds.push(one_byte(&mut client));
        }
        kinds
    };
    assert_eq!(kinds("list"), [0, 3, 0, -1, -1, 4, -2]);
    for path in ["empty", "missing", "d", "../list", "d/jail.key"] {
        assert_eq!(kinds(path), [-2], "{path}");
    }
    client.expect_alive();
}

#[test]
fn fstatls() {
    let server = tree();
    server.write("list", "d/f\nmissing\nd\nd/e/g\n");
    let times = fs::FileTimes::new()
        .set_accessed(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000))
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_001));
    let file = fs::File::open(server.path("d/e/g")).expect("open");
    file.set_times(times).expect("times");
    let mut client = server.connect();
    let mut records = |path: &str| {
        client.send(format!("FSTATLS {path}"));
        let mut records = Vec::new();
        while records
            .last()
            .is_none_or(|record: &[u8; 26]| record[0] != 0xfe)
        {
            let mut record = [1; 26];
            client.wire.read_raw(&mut record).expect("record");
            records.push(record);
        }
        records
    };
    let all = records("list");
    let empty = |code: i8| [&[code as u8][..], &[0; 25]].concat();
    assert_eq!(all.len(), 5);
    assert_eq!(all[0][..10], [0, 3, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(all[1][..], empty(-1));
    assert_eq!(all[2][..2], [0, 0]);
    let size = fs::metadata(server.path("d")).expect("d").len();
    assert_eq!(all[2][2..10], size.to_be_bytes());
    let numbers = [2, 1_600_000_000, 1_600_000_001u64].map(u64::to_be_bytes);
    assert_eq!(all[3][..], [&[0, 3][..], &numbers.concat()].concat());
    assert_eq!(all[4][..], empty(-2));
    for path in ["missing", "d", "../list"] {
        assert_eq!(records(path)[0][..], empty(-2), "{path}");
    }
    client.expect_alive();
}

#[test]
fn rmkdir_makes_what_is_missing() {
    let server = tree();
    symlink("d", server.path("inside")).expect("link");
    symlink("/etc", server.path("out")).expect("link");
    symlink("nowhere", server.path("dangling")).expect("link");
    server.write("closed/LCK", "");
    let mut client = server.connect();
    client.expect_all(&[
        ("RMKDIR a/b/c/", 0),
        ("RMKDIR a/b/c", 0),
        ("RMKDIR /inside//new/x", 0),
        ("RMKDIR d/f", 0),
        ("RMKDIR ", 0),
        ("RMKDIR", 0),
        ("RMKDIR d/f/x", 63),
        ("RMKDIR dangling", 63),
        ("RMKDIR dangling/x", 63),
        ("RMKDIR ../x", 1),
        ("RMKDIR x/jail.key/y", 1),
        ("RMKDIR out/x", 1),
        ("LOCK LCK", 0),
        ("RMKDIR closed/x", 30),
        ("RMKDIR closed/x/y", 30),
        ("RMKDIR open/x/y", 0),
    ]);
    let long = "n".repeat(256);
    client.expect(format!("RMKDIR partly/{long}/x"), 63);
    for made in ["a/b/c", "d/new/x", "open/x/y", "partly"] {
        assert!(server.path(made).is_dir(), "{made}");
    }
    assert_eq!(server.names("closed"), ["LCK"]);
    assert_eq!(server.read("d/f"), b"F");
}

#[test]
fn of_many_that_set_a_file_one_succeeds() {
    let server = tree();
    symlink("/etc", server.path("out")).expect("link");
    let mut client = server.connect();
    client.expect_all(&[
        ("TASFS token", 0),
        ("TASFS token", 62),
        ("TASFS d", 62),
        ("TASFS", 62),
        ("TASFS missing/x", 62),
        ("TASFS d/link", 62),
        ("TASFS ../x", 1),
        ("TASFS jail.key", 1),
        ("TASFS out/x", 1),
        ("LOCK f", 0),
        ("TASFS d/x", 30),
    ]);
    assert_eq!(server.read("token"), b"");
    let won: usize = std::thread::scope(|scope| {
        let race = || {
            let mut client = server.connect();
            (0..50)
                .filter(|round| client.ask(format!("TASFS race{round}")) == "OK")
                .count()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(race)).collect();
        let counts = threads
            .into_iter()
            .map(|thread| thread.join().expect("race"));
        counts.sum()
    });
    assert_eq!(won, 50);
}
