//! tfd's own commands: what comes back, and what is on disk then.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};

use openssl::sha::sha256;

use crate::common::{
    Client, Server, Setup, account, give_to_server, is_root, reply_for, wait_until,
};

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
        assert!(
            reply.starts_with("OK 1 LIST STORE FETCH SET LINK XATTR OWNER"),
            "{reply}"
        );
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
        ("full", "OK 1 LIST STORE FETCH SET LINK", 0),
        ("append-only", "OK 1 LIST STORE FETCH LINK", 1),
        ("read-only", "OK 1 LIST FETCH", 1),
    ] {
        let mut client = server.connect();
        client.expect_all(&[
            ("TFD_FEATURES", 38),
            ("TFD_LIST - ", 38),
            ("TFD_SET mode=1 f", 38),
            ("TFD_LINK s 1 f l", 38),
            ("TFD_FETCH f", 38),
            ("TFD_STORE - f", 38),
        ]);
        client.expect(format!("LOGIN {user} p"), 0);
        let reply = client.ask("TFD_FEATURES");
        assert!(reply.starts_with(words), "{reply}");
        let word = user.replace('-', "").to_uppercase();
        assert_eq!(reply.ends_with(&word), user != "full", "{reply}");
        assert_eq!(reply.contains(" SET"), user == "full", "{reply}");
        client.expect("TFD_SET mode=640 f", set);
        assert_eq!(fetch(&mut client, "f").expect("file"), b"F");
        let names = Listing::ask(&mut client, "TFD_LIST - ").names();
        let (new, denied) = (
            format!("{user} new"),
            "FAILED 1 : Access denied to location.",
        );
        let reply = store(&mut client, "mode=600", &new, b"N");
        let link = client.ask(format!("TFD_LINK sn 1 f {user} link"));
        let hard = client.ask(format!("TFD_LINK h 1 f {user} hard"));
        if user == "read-only" {
            assert_eq!([reply, link, hard], [denied; 3]);
            assert_eq!(Listing::ask(&mut client, "TFD_LIST - ").names(), names);
            continue;
        }
        assert_eq!([reply, link, hard], ["OK"; 3]);
        // What exists is for a full account to replace.
        let again = if set == 0 { 0 } else { 12 };
        assert_eq!(
            store(&mut client, "-", &new, b"NN"),
            reply_for(again),
            "{user}"
        );
        client.expect(format!("TFD_LINK s 3 new {user} link"), again);
        client.expect(format!("TFD_LINK h 1 f {new}"), again);
        assert_eq!(store(&mut client, "new", &new, b"NNN"), reply_for(12));
    }
    let stat = fs::metadata(server.path("home/f")).expect("stat");
    assert_eq!(stat.mode() & 0o777, 0o640);
    assert_eq!(server.read("home/append-only new"), b"N");
}

/// Sends a file by TFD_STORE, its digest made from what is sent, and returns the
/// reply.
fn store(client: &mut Client, attributes: &str, path: &str, content: &[u8]) -> String {
    client.send(format!("TFD_STORE {attributes} {path}"));
    send_frames(client, content);
    send_end(client, &sha256(content));
    client.reply()
}

fn send_frames(client: &mut Client, content: &[u8]) {
    for part in content.chunks(300_000) {
        let mut bytes = (part.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(part);
        let sent = client.wire.write_units(&mut bytes, &[4, part.len()]);
        sent.expect("frame");
    }
}

fn send_end(client: &mut Client, digest: &[u8]) {
    let mut end = [&[0; 4], digest].concat();
    client.wire.write_units(&mut end, &[4, 32]).expect("end");
}

/// A file by TFD_FETCH, or the refusal. The digest is that of the content.
#[track_caller]
fn fetch(client: &mut Client, path: &str) -> Result<Vec<u8>, String> {
    client.send(format!("TFD_FETCH {path}"));
    let mut content = Vec::new();
    loop {
        let header = client.wire.read_i32().expect("header");
        match usize::try_from(header) {
            Ok(0) => break,
            Ok(len) => {
                let begin = content.len();
                content.resize(begin + len, 0);
                client.wire.read_raw(&mut content[begin..]).expect("frame");
            }
            Err(_) => return Err(client.reply()),
        }
    }
    let mut digest = [0; 32];
    client.wire.read_raw(&mut digest).expect("digest");
    assert_eq!(digest, sha256(&content));
    Ok(content)
}

fn pattern(length: u32) -> Vec<u8> {
    (0..length).map(|i| (i >> 3) as u8).collect()
}

#[test]
fn a_file_is_stored_with_its_attributes_by_one_request_and_fetched() {
    let server = Server::start();
    let mut client = server.connect();
    let all = "mode=0400,mtime=1600000000.000000005,xattr:757365722e6b=76";
    for length in [0, 1, 5_000, 1_000_000, 4_000_000] {
        let content = pattern(length);
        let path = format!("a b\n{length}");
        assert_eq!(store(&mut client, all, &path, &content), "OK", "{length}");
        assert!(server.read(&path) == content);
        let stat = fs::metadata(server.path(&path)).expect("stat");
        assert_eq!(stat.mode() & 0o7777, 0o400);
        assert_eq!((stat.mtime(), stat.mtime_nsec()), (1_600_000_000, 5));
        assert_eq!(
            attribute(&server.path(&path), "user.k"),
            Some(b"v".to_vec())
        );
        assert!(fetch(&mut client, &path).expect("content") == content);
    }
    assert_eq!(server.names("").len(), 5);
    // As other uploads where nothing is asked for.
    assert_eq!(store(&mut client, "-", "plain", b"P"), "OK");
    let plain = fs::metadata(server.path("plain")).expect("stat");
    assert_eq!(plain.mode() & 0o7777, 0o644);
    client.expect_alive();
}

#[test]
fn a_link_is_itself_replaced_and_what_it_leads_to_stays() {
    let server = Server::start();
    server.write("f", "kept");
    let mut client = server.connect();
    for (to, attributes) in [
        ("f", "-"),
        ("f", "mode=600"),
        ("nowhere", "-"),
        ("/etc/passwd", "mode=600,xattrs"),
    ] {
        symlink(to, server.path("link")).expect("link");
        assert_eq!(store(&mut client, "new", "link", b"N"), reply_for(12));
        assert_eq!(store(&mut client, attributes, "link", b"stored"), "OK");
        let stat = fs::symlink_metadata(server.path("link")).expect("stat");
        assert!(stat.is_file(), "{to}");
        let mode = if attributes == "-" { 0o644 } else { 0o600 };
        assert_eq!(stat.mode() & 0o7777, mode);
        assert_eq!(server.read("link"), b"stored");
        assert_eq!(server.read("f"), b"kept");
        fs::remove_file(server.path("link")).expect("remove");
    }
    assert_eq!(server.names(""), ["f"]);
}

#[test]
fn requests_sent_together_get_one_reply_each() {
    let server = Server::start();
    let mut client = server.connect();
    for (attributes, path) in [
        ("-", "a"),
        ("bad", "b"),
        ("-", "missing/c"),
        ("mode=600", "d"),
    ] {
        client.send(format!("TFD_STORE {attributes} {path}"));
        send_frames(&mut client, path.as_bytes());
        send_end(&mut client, &sha256(path.as_bytes()));
    }
    client.send("TFD_STORE - broken");
    send_frames(&mut client, b"some");
    client.wire.write_i32(-1).expect("break");
    client.send("ECHO behind");
    let replies = [(); 5].map(|()| client.reply());
    assert_eq!(replies, [0, 16, 10, 0, 7].map(reply_for));
    assert_eq!(client.reply(), "behind");
    assert_eq!(server.names(""), ["a", "d"]);
}

#[test]
fn a_file_that_is_stored_is_nobody_elses_before_it_is_whole() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("f", "old");
    set_mode(&server.path("f"), 0o644);
    set_attribute(&server.path("f"), "user.old", b"1");
    for path in ["f", "new"] {
        client.send(format!("TFD_STORE mode=640 {path}"));
        send_frames(&mut client, b"secret");
        let part = || {
            let names = server.names("");
            let part = names.into_iter().find(|name| name.starts_with(".tfd-"));
            fs::metadata(server.path(&part?))
                .ok()
                .filter(|stat| stat.len() == 6)
        };
        wait_until("the part has the bytes", || part().is_some());
        assert_eq!(part().expect("part").mode() & 0o7777, 0o600);
        let same = server.exists("f") && server.read("f") == b"old";
        assert!(same || path == "new" && !server.exists("new"));
        send_end(&mut client, &sha256(b"secret"));
        assert_eq!(client.reply(), "OK");
        let stat = fs::metadata(server.path(path)).expect("stat");
        assert_eq!(stat.mode() & 0o7777, 0o640);
    }
    assert!(attribute(&server.path("f"), "user.old").is_some());
    assert_eq!(store(&mut client, "mode=640,xattrs", "f", b"x"), "OK");
    assert!(attribute(&server.path("f"), "user.old").is_none());
}

#[test]
fn what_can_not_be_stored_is_refused_and_the_old_file_stays() {
    let server = Server::with(Setup {
        server: "quota = \"1000000\"".to_owned(),
        ..Setup::default()
    });
    let mut client = server.connect();
    server.write("f", "old");
    server.write("locked/LCK", "");
    server.mkdir("d");
    symlink("/etc", server.path("out")).expect("link");
    client.expect("LOCK LCK", 0);
    for (attributes, path, code) in [
        ("", "f", 16),
        ("mode=9", "f", 16),
        ("later", "f", 16),
        ("-", "../f", 1),
        ("-", "jail.key", 1),
        ("-", "out/f", 1),
        ("-", "locked/f", 30),
        ("user=no-such-user", "f", 42),
        ("group=no-such-group", "f", 43),
        ("-", "d", 8),
        ("-", "", 8),
        ("new", "f", 12),
        ("-", "missing/f", 10),
    ] {
        let reply = store(&mut client, attributes, path, b"new");
        assert_eq!(reply, reply_for(code), "{attributes} {path}");
    }
    if is_root() {
        for attributes in ["user=root,mode=600", "group=root"] {
            assert_eq!(store(&mut client, attributes, "f", b"new"), reply_for(44));
        }
    }
    client.send("TFD_STORE mode=600 f");
    send_frames(&mut client, b"new");
    send_end(&mut client, &[7; 32]);
    assert_eq!(client.reply(), reply_for(200));
    let long = pattern(1_200_000);
    assert_eq!(store(&mut client, "-", "f", &long), reply_for(13));
    assert_eq!(store(&mut client, "-", "long", &pattern(900_000)), "OK");
    assert_eq!(server.read("f"), b"old");
    assert_eq!(server.names(""), ["d", "f", "locked", "long", "out"]);
    client.expect_alive();
}

#[test]
fn a_refusal_comes_before_the_rest_of_the_file() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("TFD_STORE - missing/f");
    assert_eq!(client.reply(), reply_for(10));
    send_frames(&mut client, &pattern(1_000_000));
    client.wire.write_i32(-1).expect("break");
    client.expect_alive();
    client.send("TFD_STORE - f");
    client.wire.write_i32(524_289).expect("too long");
    client.expect_closed();
    assert!(server.names("").is_empty());
}

#[test]
fn zeros_become_holes_on_request() {
    let server = Server::start();
    let mut client = server.connect();
    let mut content = vec![0; 3_000_000];
    content[1_500_000] = 7;
    for (attributes, path) in [("mode=600,sparse", "thin"), ("mode=600", "full")] {
        assert_eq!(store(&mut client, attributes, path, &content), "OK");
        assert!(server.read(path) == content);
    }
    let zeros = vec![0; 10_001];
    assert_eq!(store(&mut client, "sparse", "empty", &zeros), "OK");
    assert!(server.read("empty") == zeros);
    let blocks = |path: &str| fs::metadata(server.path(path)).expect("stat").blocks();
    assert!(blocks("thin") < blocks("full") / 10 && blocks("empty") < 8);
}

#[test]
fn fetch_refuses_with_a_code_and_a_reason() {
    let server = Server::start();
    server.write("locked/LCK", "");
    server.mkdir("d");
    nix::unistd::mkfifo(&server.path("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    symlink("/etc/passwd", server.path("out")).expect("link");
    let mut client = server.connect();
    client.expect("LOCK LCK", 0);
    for (path, code) in [
        ("missing", 9),
        ("d", 8),
        ("", 8),
        ("pipe", 7),
        ("out", 1),
        ("../f", 1),
        ("jail.key", 1),
        ("locked/LCK", 30),
    ] {
        assert_eq!(fetch(&mut client, path), Err(reply_for(code)), "{path}");
    }
    client.expect_alive();
}

#[test]
fn attributes_are_removed_by_their_names() {
    let server = Server::start();
    server.write("f", "F");
    set_attribute(&server.path("f"), "user.k", b"1");
    let mut client = server.connect();
    for _ in 0..2 {
        client.expect("TFD_SET xattr:757365722e6b f", 0);
        assert_eq!(attribute(&server.path("f"), "user.k"), None);
    }
}

fn link(client: &mut Client, kind: &str, text: &str, path: &str) -> String {
    client.ask(format!("TFD_LINK {kind} {} {text} {path}", text.len()))
}

#[test]
fn links_are_made_and_replace_what_is_no_directory() {
    let server = Server::start();
    server.write("d/f", "F");
    server.write("old", "O");
    server.mkdir("d/e");
    let mut client = server.connect();
    for (text, path) in [
        ("f", "d/l"),
        ("../d/f", "d/up"),
        ("no where/at\nall", "d/dangling"),
        ("../../d", "d/e/l"),
        ("f", "old"),
        ("d/f", "old"),
    ] {
        assert_eq!(link(&mut client, "s", text, path), "OK", "{text}");
        let made = fs::read_link(server.path(path)).expect("link");
        assert_eq!(made.as_os_str().as_bytes(), text.as_bytes());
    }
    assert_eq!(fetch(&mut client, "d/e/l/f").expect("file"), b"F");
    server.write("other", "X");
    for path in ["hard", "other", "d/l", "hard", "d/f"] {
        assert_eq!(link(&mut client, "h", "d/f", path), "OK", "{path}");
        let (one, two) = (
            fs::metadata(server.path("d/f")),
            fs::metadata(server.path(path)),
        );
        assert_eq!(one.expect("stat").ino(), two.expect("stat").ino());
    }
    assert_eq!(server.names(""), ["d", "hard", "old", "other"]);
    assert_eq!(server.names("d"), ["dangling", "e", "f", "l", "up"]);
}

#[test]
fn no_link_is_made_that_leads_out_or_to_what_is_the_servers() {
    let server = Server::start();
    server.write("d/f", "F");
    server.mkdir("a/b");
    server.write("jail.key", "");
    server.write("locked/LCK", "");
    symlink("a/b", server.path("deep")).expect("link");
    symlink("..", server.path("a/b/up")).expect("link");
    let mut client = server.connect();
    client.expect("LOCK LCK", 0);
    for (kind, text, path, code) in [
        ("s", "/etc/passwd", "l", 1),
        ("s", "..", "l", 1),
        ("s", "../x", "l", 1),
        ("s", "../../x", "d/l", 1),
        ("s", "d/../../x", "d/l", 1),
        ("s", "jail.key", "l", 1),
        ("s", "", "l", 1),
        // The way to it must be what it looks like.
        ("s", "../f", "a/b/up/l", 1),
        ("s", "f", "deep/l", 1),
        ("s", "f", "../l", 1),
        ("s", "f", "jail.key", 1),
        ("s", "f", "missing/l", 10),
        ("s", "f", "locked/l", 30),
        ("s", "f", "d", 8),
        ("sn", "f", "d/f", 12),
        ("s", "f", "", 16),
        ("x", "f", "l", 16),
        ("h", "missing", "l", 9),
        ("h", "d", "l", 23),
        ("h", "deep", "l", 23),
        ("h", "jail.key", "l", 1),
        ("h", "../f", "l", 1),
        ("h", "d/f", "a", 8),
        ("hn", "d/f", "d/f", 12),
        ("h", "", "l", 16),
        ("h", "locked/LCK", "l", 30),
    ] {
        let reply = link(&mut client, kind, text, path);
        assert_eq!(reply, reply_for(code), "{kind} {text} {path}");
    }
    client.expect_all(&[
        ("TFD_LINK", 16),
        ("TFD_LINK s", 16),
        ("TFD_LINK s 1", 16),
        ("TFD_LINK s 9 f l", 16),
        ("TFD_LINK s 1 fl", 16),
        ("TFD_LINK s -1 f l", 16),
    ]);
    assert_eq!(server.names(""), ["a", "d", "deep", "jail.key", "locked"]);
    assert_eq!(server.names("a/b"), ["up"]);
}

#[test]
fn a_link_that_was_moved_leads_no_session_out() {
    let server = Server::start();
    server.mkdir("a/b");
    server.write("f", "F");
    fs::write(server.root().with_file_name("beside"), "B").expect("write");
    let mut client = server.connect();
    assert_eq!(link(&mut client, "s", "../../beside", "a/b/l"), "OK");
    client.expect("RENAM a/b/l | l", 0);
    assert_eq!(fetch(&mut client, "l"), Err(reply_for(1)));
    client.expect_all(&[
        ("TFD_LIST - l", 1),
        ("TFD_LINK h 1 l again", 23),
        ("TFD_SET mode=777,mtime=1 l", 0),
        ("SHA256 l", 1),
    ]);
    assert_eq!(store(&mut client, "-", "l", b"new"), "OK");
    assert_eq!(server.read("l"), b"new");
    let beside = fs::read(server.root().with_file_name("beside"));
    assert_eq!(beside.expect("read"), b"B");
}

/// The bytes that the first session of a server has read from files so far.
fn bytes_read(server: &Server) -> u64 {
    let is_start = |line: &String| line.contains("session start");
    wait_until("the start is logged", || server.log().iter().any(is_start));
    let line = server.log().into_iter().find(is_start).expect("start");
    let (_, rest) = line.split_once("[session ").expect("process");
    let pid = rest.split(']').next().expect("number");
    let text = fs::read_to_string(format!("/proc/{pid}/io")).expect("counters");
    let count = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    count.expect("count").parse().expect("number")
}

fn put(client: &mut Client, path: &str, content: &[u8]) {
    client.hp_open("PUT", path, &[0, 262_144]);
    for part in content.chunks(262_144) {
        client.send_frame(part);
    }
    client.wire.write_i64(0).expect("end");
    assert_eq!(client.wire.read_i64().expect("answer"), -127);
    client.wire.write_i64(-127).expect("send");
}

fn get(client: &mut Client, path: &str) {
    client.hp_open("GET", path, &[0, 262_144]);
    while client.receive_frame().0 > 0 {}
    client.wire.write_i64(-127).expect("send");
    assert_eq!(client.wire.read_i64().expect("answer"), -127);
}

#[track_caller]
fn expect_digest(client: &mut Client, path: &str, content: &[u8]) {
    let digits: String = sha256(content).map(|byte| format!("{byte:02x}")).concat();
    let reply = client.ask(format!("SHA256 {path}"));
    assert_eq!(reply, format!("OK 0x{digits}"), "{path}");
}

#[test]
fn digests_are_made_while_bytes_pass_and_never_of_what_was_before() {
    let server = Server::start();
    let mut client = server.connect();
    assert!(!client.ask("TFD_FEATURES").contains("DIGEST"));
    let reply = client.ask("TFD_FEATURES later digest");
    assert!(reply.ends_with(" DIGEST"), "{reply}");
    let (first, second) = (pattern(5_000_000), vec![7; 5_000_000]);
    for content in [&first, &second] {
        put(&mut client, "put", content);
        expect_digest(&mut client, "put", content);
        client.send_file("sent", true, content);
        expect_digest(&mut client, "sent", content);
        client.send("SUP sup");
        send_frames(&mut client, content);
        client.wire.write_i32(0).expect("end");
        assert_eq!(client.wire.read_i32().expect("answer"), 0);
        expect_digest(&mut client, "sup", content);
        for name in ["put", "sent", "sup"] {
            get(&mut client, name);
            expect_digest(&mut client, name, content);
        }
    }
    // A short file in the place of a long one, and a part of one.
    put(&mut client, "put", b"short");
    expect_digest(&mut client, "put", &server.read("put"));
    client.send_file("sent", true, b"short");
    expect_digest(&mut client, "sent", b"short");
    client.hp_open("PUT", "sup", &[3_000_000, 262_144]);
    client.send_frame(b"within");
    client.wire.write_i64(0).expect("end");
    assert_eq!(client.wire.read_i64().expect("answer"), -127);
    client.wire.write_i64(-127).expect("send");
    expect_digest(&mut client, "sup", &server.read("sup"));
    client.expect_alive();
}

#[test]
fn a_change_from_outside_is_in_the_next_digest() {
    use std::os::unix::fs::FileExt;
    let server = Server::start();
    let mut client = server.connect();
    client.ask("TFD_FEATURES digest");
    let mut content = pattern(5_000_000);
    for send in [true, false] {
        put(&mut client, "f", &content);
        if send {
            get(&mut client, "f");
        }
        expect_digest(&mut client, "f", &content);
        // Same size, and the old time put back.
        let file = fs::File::options().write(true).open(server.path("f"));
        let file = file.expect("open");
        let time = file.metadata().and_then(|stat| stat.modified());
        std::thread::sleep(std::time::Duration::from_millis(20));
        content[17] ^= 1;
        file.write_all_at(&content[17..18], 17).expect("write");
        file.set_modified(time.expect("time")).expect("time");
        expect_digest(&mut client, "f", &content);
        // Another file of the same name, size and time.
        content[18] ^= 1;
        fs::write(server.path("g"), &content).expect("write");
        fs::rename(server.path("g"), server.path("f")).expect("rename");
        expect_digest(&mut client, "f", &content);
        give_to_server(&server.path("f"));
    }
    client.expect_all(&[("DEL f", 0), ("SHA256 f", 45)]);
}

#[test]
fn what_was_just_stored_or_sent_is_not_read_again() {
    if !is_root() || std::env::var_os("TFD_TEST_THROUGH_PROXY").is_some() {
        println!("left out: needs root and a session of its own");
        return;
    }
    let content = pattern(6_000_000);
    let whole = content.len() as u64;
    for (word, least, most) in [("digest", 1, 2), ("", 5, 6)] {
        let server = Server::start();
        let mut client = server.connect();
        client.ask(format!("TFD_FEATURES {word}"));
        let before = bytes_read(&server);
        put(&mut client, "f", &content);
        for _ in 0..5 {
            expect_digest(&mut client, "f", &content);
        }
        let read = bytes_read(&server) - before;
        assert!(
            (least * whole..most * whole).contains(&read),
            "{word} {read}"
        );
    }
}
