//! tfd's own commands: what comes back, and what is on disk then.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};

use crate::common::{Client, Server, Setup, account, give_to_server, is_root};

/// An entry as a client reads it.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    kind: String,
    mode: u32,
    mtime: String,
    /// Size, links, device, inode, uid, gid, blocks.
    numbers: [u64; 7],
    name: Vec<u8>,
    target: Vec<u8>,
    extended: Vec<u8>,
}

/// What TFD_LIST answers: entries by their names, names of numbers, the code at
/// the end.
struct Listing {
    entries: Vec<Entry>,
    names: Vec<String>,
    end: i32,
}

impl Listing {
    #[track_caller]
    fn ask(client: &mut Client, request: impl AsRef<[u8]>) -> Listing {
        client.expect(request, 0);
        let (mut entries, mut names) = (Vec::new(), Vec::new());
        loop {
            let header = client.wire.read_i32().expect("header");
            let Ok(len) = usize::try_from(header) else {
                return Listing {
                    entries,
                    names,
                    end: header,
                };
            };
            let mut frame = vec![0; len];
            client.wire.read_raw(&mut frame).expect("frame");
            let mut rest = frame.as_slice();
            while !rest.is_empty() {
                let line = take_line(&mut rest);
                if line.starts_with(['u', 'g']) {
                    names.push(line);
                } else {
                    entries.push(entry(&line, &mut rest));
                }
            }
        }
    }

    fn names(&self) -> Vec<String> {
        let shown = |entry: &Entry| format!("{}:{}", entry.kind, entry.name.escape_ascii());
        let mut names: Vec<String> = self.entries.iter().map(shown).collect();
        names.sort();
        names
    }

    #[track_caller]
    fn entry(&self, name: &str) -> &Entry {
        let found = |entry: &&Entry| entry.name == name.as_bytes();
        self.entries.iter().find(found).expect("entry")
    }
}

fn take_line(rest: &mut &[u8]) -> String {
    let end = rest.iter().position(|c| *c == b'\n').expect("line");
    let line = String::from_utf8(rest[..end].to_vec()).expect("text");
    *rest = &rest[end + 1..];
    line
}

fn entry(line: &str, rest: &mut &[u8]) -> Entry {
    let fields: Vec<&str> = line.split(' ').collect();
    let number = |at: usize| fields[at].parse::<u64>().expect("number");
    assert_eq!(fields.len(), 13, "{line}");
    let mut bytes = |at: usize| {
        let (bytes, behind) = rest.split_at(number(at) as usize);
        *rest = behind;
        bytes.to_vec()
    };
    Entry {
        kind: fields[0].to_owned(),
        mode: u32::from_str_radix(fields[1], 8).expect("mode"),
        mtime: fields[3].to_owned(),
        name: bytes(10),
        target: bytes(11),
        extended: bytes(12),
        numbers: [2, 4, 5, 6, 7, 8, 9].map(number),
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    let file = fs::File::open(path).expect("open");
    fsetxattr(file, name, value, XattrFlags::empty()).expect("attribute");
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1000];
    let file = fs::File::open(path).expect("open");
    let len = fgetxattr(file, name, &mut *value).ok()?;
    value.truncate(len);
    Some(value)
}

#[test]
fn a_session_reports_the_version_and_its_words() {
    let server = Server::start();
    let mut client = server.connect();
    for request in ["TFD_FEATURES", "tfd_features ", "TFD_FEATURES later words"] {
        let reply = client.ask(request);
        assert!(reply.starts_with("OK 1 LIST SET"), "{reply}");
        assert!(!reply.contains("READONLY") && !reply.contains("APPENDONLY"));
    }
    assert_eq!(client.ask("TFD_"), "UNKNOWN");
    assert_eq!(client.ask("TFD_LATER x"), "UNKNOWN");
    client.expect_alive();
}

#[test]
fn a_listing_has_all_that_a_copy_needs() {
    let server = Server::start();
    server.write("d/f", b"12345");
    server.mkdir("d/e");
    server.write("d/e/g", b"G");
    symlink("../no where\n", server.path("d/link")).expect("link");
    nix::unistd::mkfifo(&server.path("d/pipe"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    fs::hard_link(server.path("d/f"), server.path("d/e/same")).expect("link");
    set_mode(&server.path("d/f"), 0o4751);
    set_mode(&server.path("d/e"), 0o1700);
    let old = fs::File::open(server.path("d/f")).expect("open");
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_600_000_000, 7);
    old.set_modified(time).expect("time");
    let mut client = server.connect();

    let listing = Listing::ask(&mut client, "TFD_LIST r d");
    assert_eq!(listing.end, -10);
    let all = ["D:", "D:e", "F:e/g", "F:e/same", "F:f", "L:link", "P:pipe"];
    assert_eq!(listing.names(), all);
    assert_eq!(listing.entries[0].name, b"");
    let (f, same) = (listing.entry("f"), listing.entry("e/same"));
    let stat = fs::metadata(server.path("d/f")).expect("stat");
    assert_eq!(f.mode, 0o4751);
    assert_eq!(f.mtime, "1600000000.000000007");
    let numbers = [
        5,
        2,
        stat.dev(),
        stat.ino(),
        stat.uid().into(),
        stat.gid().into(),
        stat.blocks(),
    ];
    assert_eq!(f.numbers, numbers);
    assert_eq!(f.numbers, same.numbers);
    assert_eq!(listing.entry("link").target, b"../no where\n");
    assert_eq!(listing.entry("e").mode, 0o1700);
    if is_root() {
        assert!(
            listing
                .names
                .iter()
                .any(|line| line.starts_with("u 65534 "))
        );
        assert!(listing.names.iter().any(|line| line.starts_with("g ")));
    }
    let at = |name: &str| {
        listing
            .entries
            .iter()
            .position(|e| e.name == name.as_bytes())
    };
    assert!(at("e") < at("e/g"));

    let flat = Listing::ask(&mut client, "TFD_LIST - /d/");
    assert_eq!(flat.names(), ["D:", "D:e", "F:f", "L:link", "P:pipe"]);
    let alone = Listing::ask(&mut client, "TFD_LIST d d");
    assert_eq!((alone.names(), alone.end), (vec!["D:".to_owned()], -10));
    let file = Listing::ask(&mut client, "TFD_LIST r d/f");
    assert_eq!(
        (file.entries.len(), &file.entries[0].numbers),
        (1, &f.numbers)
    );
    assert_eq!(
        Listing::ask(&mut client, "TFD_LIST - ").names(),
        ["D:", "D:d"]
    );
}

#[test]
fn a_listing_has_names_of_any_bytes() {
    let server = Server::start();
    let names: [&[u8]; 5] = [b"a\nb", b"\xff\xfe", b" ", b"F 644 1\n", b"-"];
    for name in names {
        let path = server.path("d").join(OsStr::from_bytes(name));
        server.mkdir("d");
        fs::write(path, name).expect("write");
    }
    let mut client = server.connect();
    let listing = Listing::ask(&mut client, "TFD_LIST - d");
    let mut listed: Vec<&[u8]> = listing.entries.iter().map(|e| e.name.as_slice()).collect();
    listed.sort_unstable();
    let mut expected = [&[&b""[..]], &names[..]].concat();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    for name in names {
        let request = [b"TFD_LIST d d/", name].concat();
        let one = Listing::ask(&mut client, request);
        assert_eq!(one.entries[0].numbers[0], name.len() as u64);
    }
}

#[test]
fn a_long_listing_comes_in_frames_of_whole_entries() {
    let server = Server::start();
    server.mkdir("many");
    for number in 0..3_000 {
        fs::write(server.path(&format!("many/{number:0200}")), "").expect("write");
    }
    let mut client = server.connect();
    let listing = Listing::ask(&mut client, "TFD_LIST - many");
    assert_eq!((listing.entries.len(), listing.end), (3_001, -10));
    client.expect_alive();
}

#[test]
fn links_are_followed_in_the_last_place_unless_asked_for() {
    let server = Server::start();
    server.write("d/f", b"123");
    symlink("d", server.path("to_d")).expect("link");
    symlink("d/f", server.path("to_f")).expect("link");
    symlink("/etc", server.path("out")).expect("link");
    symlink("nowhere", server.path("dangling")).expect("link");
    let mut client = server.connect();
    assert_eq!(
        Listing::ask(&mut client, "TFD_LIST - to_d").names(),
        ["D:", "F:f"]
    );
    let file = Listing::ask(&mut client, "TFD_LIST - to_f");
    assert_eq!(file.entries[0].numbers[0], 3);
    for (path, target) in [
        ("to_d", "d"),
        ("to_f", "d/f"),
        ("out", "/etc"),
        ("dangling", "nowhere"),
    ] {
        let link = Listing::ask(&mut client, format!("TFD_LIST rl {path}"));
        assert_eq!(link.names(), ["L:"], "{path}");
        assert_eq!(link.entries[0].target, target.as_bytes());
    }
    assert_eq!(
        Listing::ask(&mut client, "TFD_LIST l d").names(),
        ["D:", "F:f"]
    );
    assert_eq!(Listing::ask(&mut client, "TFD_LIST ld /").names(), ["D:"]);
    client.expect_all(&[
        ("TFD_LIST - out", 1),
        ("TFD_LIST - out/passwd", 1),
        ("TFD_LIST - dangling", 9),
    ]);
}

#[test]
fn a_listing_that_can_not_be_is_refused_with_its_code() {
    let server = Server::start();
    server.write("d/f", "F");
    server.write("locked/LCK", "");
    server.mkdir("locked/in");
    let mut client = server.connect();
    client.expect_all(&[
        ("TFD_LIST", 16),
        ("TFD_LIST d", 16),
        ("TFD_LIST  d", 16),
        ("TFD_LIST z d", 16),
        ("TFD_LIST r- d", 16),
        ("TFD_LIST - missing", 9),
        ("TFD_LIST - d/f/g", 9),
        ("TFD_LIST - d/..", 1),
        ("TFD_LIST - ../x", 1),
        ("TFD_LIST - d/jail.key", 1),
        ("LOCK LCK", 0),
        ("TFD_LIST - locked", 30),
        ("TFD_LIST d locked/in", 30),
    ]);
    assert_eq!(
        Listing::ask(&mut client, "TFD_LIST d locked").names(),
        ["D:"]
    );
    client.expect_alive();
}

#[test]
fn secure_directories_and_the_servers_own_names_are_not_listed() {
    let server = Server::start();
    server.write("t/x.sd/secret", "S");
    server.write("t/plain.sd", "P");
    server.write("t/a/y.sd/z", "S");
    for name in ["jail.key", ".securefs_metadata", ".tfd-00ff.part"] {
        server.write(&format!("t/{name}"), "");
    }
    let mut client = server.connect();
    let listing = Listing::ask(&mut client, "TFD_LIST r t");
    assert_eq!(listing.names(), ["D:", "D:a", "F:plain.sd"]);
    let inside = Listing::ask(&mut client, "TFD_LIST r t/x.sd");
    assert_eq!(inside.names(), ["D:", "F:secret"]);
}

#[test]
fn what_can_not_be_read_is_listed_as_that() {
    if !is_root() {
        println!("left out: needs root");
        return;
    }
    let server = Server::start();
    server.write("t/closed/f", "F");
    server.write("t/names/f", "F");
    for (name, mode) in [("t/closed", 0o700), ("t/names", 0o744)] {
        chown(server.path(name), Some(0), Some(0)).expect("chown");
        set_mode(&server.path(name), mode);
    }
    let mut client = server.connect();
    let listing = Listing::ask(&mut client, "TFD_LIST r t");
    let all = ["D:", "D:closed", "D:names", "U:closed", "U:names/f"];
    assert_eq!(
        (listing.names(), listing.end),
        (all.map(str::to_owned).to_vec(), -10)
    );
    let closed = Listing::ask(&mut client, "TFD_LIST r t/closed");
    assert_eq!(
        (closed.names(), closed.end),
        (vec!["D:".to_owned(), "U:".to_owned()], -10)
    );
}

#[test]
fn attributes_of_users_are_listed_on_request() {
    let server = Server::start();
    server.write("d/f", "F");
    set_attribute(&server.path("d/f"), "user.b", b"\0\n");
    set_attribute(&server.path("d/f"), "user.a", b"");
    set_attribute(&server.path("d"), "user.dir", b"D");
    if is_root() {
        set_attribute(&server.path("d/f"), "trusted.secret", b"no");
    }
    let mut client = server.connect();
    let listing = Listing::ask(&mut client, "TFD_LIST rx d");
    assert_eq!(listing.entry("f").extended, b"6 0\nuser.a6 2\nuser.b\0\n");
    assert_eq!(listing.entry("").extended, b"8 1\nuser.dirD");
    let file = Listing::ask(&mut client, "TFD_LIST x d/f");
    assert_eq!(file.entries[0].extended, listing.entry("f").extended);
    assert!(
        Listing::ask(&mut client, "TFD_LIST r d")
            .entry("f")
            .extended
            .is_empty()
    );
}

#[test]
fn set_gives_mode_time_and_attributes_in_one_request() {
    let server = Server::start();
    server.write("d/a b\nc", "x");
    let mut client = server.connect();
    let path = server.path("d/a b\nc");
    let all = "mode=0400,mtime=-3.500000000,xattr:757365722e6b=0076";
    client.expect(format!("TFD_SET {all} d/a b\nc"), 0);
    let stat = fs::metadata(&path).expect("stat");
    assert_eq!(stat.mode() & 0o7777, 0o400);
    assert_eq!((stat.mtime(), stat.mtime_nsec()), (-3, 500_000_000));
    assert_eq!(attribute(&path, "user.k"), Some(b"\0v".to_vec()));
    let accessed = stat.atime();
    client.expect("TFD_SET mtime=1700000000.000000001 d", 0);
    client.expect("TFD_SET mode=1711 d/", 0);
    let stat = fs::metadata(server.path("d")).expect("stat");
    assert_eq!((stat.mtime(), stat.mtime_nsec()), (1_700_000_000, 1));
    assert_eq!(stat.mode() & 0o7777, 0o1711);
    assert_eq!(fs::metadata(&path).expect("stat").atime(), accessed);
    client.expect("TFD_SET mode=700,mtime=5 /", 0);
    let stat = fs::metadata(server.root()).expect("stat");
    assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o700, 5));
    // One system user for all: no program with its rights.
    client.expect("TFD_SET mode=6755 d/a b\nc", 0);
    assert_eq!(fs::metadata(&path).expect("stat").mode() & 0o7777, 0o755);
}

#[test]
fn set_of_a_link_leaves_what_it_leads_to() {
    let server = Server::start();
    server.write("f", "F");
    symlink("f", server.path("link")).expect("link");
    symlink("/etc/passwd", server.path("out")).expect("link");
    if is_root() {
        for name in ["link", "out"] {
            lchown(server.path(name), Some(65534), Some(65534)).expect("chown");
        }
    }
    let before = fs::metadata(server.path("f")).expect("stat");
    let passwd = fs::metadata("/etc/passwd").expect("stat");
    let mut client = server.connect();
    for name in ["link", "out"] {
        let all = "mode=0600,mtime=77.000000009,xattr:757365722e6b=00";
        client.expect(format!("TFD_SET {all} {name}"), 0);
        let stat = fs::symlink_metadata(server.path(name)).expect("stat");
        assert_eq!((stat.mtime(), stat.mtime_nsec()), (77, 9));
    }
    let after = fs::metadata(server.path("f")).expect("stat");
    assert_eq!(
        (before.mode(), before.mtime_nsec()),
        (after.mode(), after.mtime_nsec())
    );
    assert_eq!(
        passwd.mtime(),
        fs::metadata("/etc/passwd").expect("stat").mtime()
    );
}

#[test]
fn set_refuses_with_the_code_of_the_first_that_fails() {
    let server = Server::start();
    server.write("f", "F");
    server.write("locked/LCK", "");
    server.write("locked/f", "");
    symlink("/etc", server.path("out")).expect("link");
    let mut client = server.connect();
    client.expect_all(&[
        ("TFD_SET", 16),
        ("TFD_SET mode=600", 16),
        ("TFD_SET  f", 16),
        ("TFD_SET - f", 16),
        ("TFD_SET mode=9 f", 16),
        ("TFD_SET mode=600,later=1 f", 16),
        ("TFD_SET xattr:7472757374656421=00 f", 16),
        ("TFD_SET mode=600 missing", 9),
        ("TFD_SET mode=600 f/g", 9),
        ("TFD_SET mode=600 ../f", 1),
        ("TFD_SET mode=600 jail.key", 1),
        ("TFD_SET mode=600 out/passwd", 1),
        ("TFD_SET user=no-such-user,mode=600 f", 42),
        ("TFD_SET group=no-such-group,mode=600 f", 43),
        ("LOCK LCK", 0),
        ("TFD_SET mode=600 locked/f", 30),
    ]);
    if is_root() {
        client.expect("TFD_SET user=root,mode=600 f", 44);
        client.expect("TFD_SET group=root,mode=600 f", 44);
        fs::write(server.path("theirs"), "").expect("write");
        client.expect_all(&[
            ("TFD_SET mode=600 theirs", 41),
            ("TFD_SET mtime=1 theirs", 27),
            ("TFD_SET xattr:757365722e6b=00 theirs", 201),
        ]);
    }
    assert_eq!(
        fs::metadata(server.path("f")).expect("stat").mode() & 0o777,
        0o644
    );
    client.expect_alive();
}

#[test]
fn rights_limit_the_extension_as_they_limit_the_rest() {
    if !is_root() {
        println!("left out: needs root");
        return;
    }
    let users = ["full", "append-only", "read-only"]
        .map(|rights| {
            let word = if rights == "full" { "" } else { rights };
            account(rights, "p", &format!("nobody:home:{word}:"))
        })
        .concat();
    let server = Server::with(Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"".to_owned(),
        users,
        directories: &["home"],
        ..Setup::default()
    });
    give_to_server(&server.path("home"));
    server.write("home/f", "F");
    for (user, words, set) in [
        ("full", "OK 1 LIST SET", 0),
        ("append-only", "OK 1 LIST", 1),
        ("read-only", "OK 1 LIST", 1),
    ] {
        let mut client = server.connect();
        client.expect_all(&[
            ("TFD_FEATURES", 38),
            ("TFD_LIST - ", 38),
            ("TFD_SET mode=1 f", 38),
        ]);
        client.expect(format!("LOGIN {user} p"), 0);
        let reply = client.ask("TFD_FEATURES");
        assert!(reply.starts_with(words), "{reply}");
        let word = user.replace('-', "").to_uppercase();
        assert_eq!(reply.ends_with(&word), user != "full", "{reply}");
        assert_eq!(reply.contains(" SET"), user == "full", "{reply}");
        client.expect("TFD_SET mode=640 f", set);
        assert_eq!(
            Listing::ask(&mut client, "TFD_LIST - ").names(),
            ["D:", "F:f"]
        );
    }
    assert_eq!(
        fs::metadata(server.path("home/f")).expect("stat").mode() & 0o777,
        0o640
    );
}
