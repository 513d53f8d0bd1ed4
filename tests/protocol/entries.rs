//! Commands on one file or directory: request, reply, effect on disk.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::common::{Server, is_root, reply_for, wait_until};

#[test]
fn mkdir() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("file", "");
    client.expect_all(&[
        ("MKDIR a", 0),
        ("MKDIR /a/b", 0),
        ("MKDIR a//b/./c/", 0),
        ("MKDIR with space", 0),
        ("MKDIR a", 4),
        ("MKDIR file", 4),
        ("MKDIR", 4),
        ("MKDIR ", 4),
        ("MKDIR missing/x", 1),
        ("MKDIR file/x", 1),
        ("MKDIR ../x", 1),
        ("MKDIR a/..", 1),
        ("MKDIR a/../b", 1),
        ("MKDIR jail.key", 1),
    ]);
    client.expect(format!("MKDIR {}", "n".repeat(255)), 0);
    client.expect(format!("MKDIR {}", "n".repeat(256)), 1);
    client.expect(format!("MKDIR {}", "n/".repeat(3000)), 1);
    assert!(server.path("a/b/c").is_dir() && server.path("with space").is_dir());
}

#[test]
fn del() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("d/f", "x");
    symlink("f", server.path("d/link")).expect("link");
    symlink("nowhere", server.path("d/dangling")).expect("link");
    symlink("/etc/passwd", server.path("d/absolute")).expect("link");
    client.expect_all(&[
        ("DEL d", 8),
        ("DEL", 8),
        ("DEL missing", 9),
        ("DEL missing/x", 9),
        ("DEL d/../d/f", 1),
        ("DEL d/link", 0),
    ]);
    assert!(server.exists("d/f") && !server.exists("d/link"));
    client.expect_all(&[("DEL d/f", 0), ("DEL d/f", 9)]);
    assert!(!server.exists("d/f"));
    client.expect("DEL d/absolute", 0);
    assert!(fs::metadata("/etc/passwd").is_ok());
    // What else the system says has no code.
    assert_eq!(client.ask(format!("DEL {}", "n".repeat(256))), "FAILED ");
    client.expect_alive();
}

#[test]
fn rmdir() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("t/a/f", "x");
    server.write("t/b/c/f", "x");
    server.write("keep", "x");
    server.write("outside/f", "x");
    symlink("../outside", server.path("t/link")).expect("link");
    client.expect_all(&[
        ("RMDIR t", 0),
        ("RMDIR t", 0),
        ("RMDIR missing", 0),
        ("RMDIR keep", 15),
        ("RMDIR ..", 1),
        ("RMDIR a/..", 1),
    ]);
    assert!(!server.exists("t") && server.exists("outside/f") && server.exists("keep"));
}

#[test]
fn rmdir_of_the_root_empties_it_and_says_15() {
    let server = Server::start();
    let mut client = server.connect();
    for request in ["RMDIR", "RMDIR ", "RMDIR /"] {
        server.write("a/b/f", "x");
        server.write("f", "x");
        server.write("hidden.sd/f", "x");
        client.expect(request, 15);
        assert_eq!(server.names(""), ["hidden.sd"], "{request}");
    }
}

#[test]
fn copy_makes_a_file_of_its_own() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("a", "content");
    server.write("d/f", "x");
    fs::set_permissions(server.path("a"), fs::Permissions::from_mode(0o640)).expect("mode");
    client.expect_all(&[
        ("COPY a | b", 0),
        ("COPY a | d/c", 0),
        ("COPY a | b", 12),
        ("COPY a | d", 12),
        ("COPY d | x", 19),
        ("COPY missing | x", 17),
        ("COPY a | missing/x", 17),
        ("COPY a", 16),
        ("COPY a|x", 16),
        ("COPY a | ", 16),
        ("COPY ../a | x", 1),
        ("COPY a | ../x", 1),
    ]);
    let (a, b) = (
        fs::metadata(server.path("a")),
        fs::metadata(server.path("b")),
    );
    let (a, b) = (a.expect("a"), b.expect("b"));
    assert_ne!(a.ino(), b.ino());
    assert_eq!(b.mode() & 0o7777, 0o640);
    server.write("a", "changed");
    assert_eq!(server.read("b"), b"content");
    assert_eq!(server.names("d"), ["c", "f"]);
}

#[test]
fn touch() {
    let server = Server::start();
    let mut client = server.connect();
    client.expect_all(&[
        ("TOUCH f", 0),
        ("TOUCH f", 12),
        ("TOUCH", 12),
        ("TOUCH ../x", 1),
    ]);
    assert_eq!(server.read("f"), b"");
    let reply = client.ask("TOUCH missing/f");
    assert!([reply_for(1), reply_for(24)].contains(&reply), "{reply}");
}

#[test]
fn fstat_and_fupd() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("f", "12345");
    server.mkdir("d");
    let old = filetime(1_600_000_000);
    fs::File::options()
        .write(true)
        .open(server.path("f"))
        .and_then(|f| f.set_times(old))
        .expect("times");
    assert_eq!(client.ask("FSTAT f"), "OK F 5 1600000000 1600000000");
    assert!(client.ask("FSTAT d").starts_with("OK D "));
    assert!(client.ask("FSTAT /").starts_with("OK D "));
    nix::unistd::mkfifo(&server.path("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    assert!(client.ask("FSTAT pipe").starts_with("OK U 0 "));
    symlink("f", server.path("link")).expect("link");
    symlink("../tfd.toml", server.path("out")).expect("link");
    assert_eq!(client.ask("FSTAT link"), "OK F 5 1600000000 1600000000");
    client.expect_all(&[
        ("FSTAT", 16),
        ("FSTAT ", 16),
        ("FSTAT missing", 9),
        ("FSTAT f/", 9),
        ("FSTAT f/x", 9),
        ("FSTAT ..", 1),
        ("FSTAT out", 1),
        ("FUPD", 16),
        ("FUPD missing", 9),
        ("FUPD ../x", 1),
        ("FUPD f", 0),
        ("FUPD d", 0),
    ]);
    let now = std::time::SystemTime::now();
    let changed = fs::metadata(server.path("f"))
        .and_then(|m| m.modified())
        .expect("time");
    assert!(now.duration_since(changed).unwrap_or_default().as_secs() < 60);
}

fn filetime(seconds: u64) -> fs::FileTimes {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    fs::FileTimes::new().set_accessed(time).set_modified(time)
}

#[test]
fn renam() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("a", "A");
    server.write("b", "B");
    server.write("full/f", "x");
    server.mkdir("d/e");
    server.mkdir("empty");
    client.expect_all(&[
        ("RENAM a | b", 0),
        ("RENAM a | c", 31),
        ("RENAM d | full", 31),
        ("RENAM d | d/e/f", 31),
        ("RENAM d | empty", 0),
        ("RENAM b | missing/b", 31),
        ("RENAM b", 16),
        ("RENAM b | ", 16),
        ("RENAM ../b | c", 1),
        ("RENAM b | ../c", 1),
        ("RENAM b | jail.key", 1),
    ]);
    assert_eq!(server.read("b"), b"A");
    assert!(server.path("empty/e").is_dir() && !server.exists("d"));
    let reply = client.ask("RENAM  | x");
    assert!([reply_for(16), reply_for(31)].contains(&reply), "{reply}");
}

#[test]
fn chmod() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("f", "");
    server.mkdir("d");
    symlink("../tfd.toml", server.path("out")).expect("link");
    client.expect_all(&[
        ("CHMOD f 600", 0),
        ("CHMOD f 0640", 0),
        ("CHMOD d 750", 0),
        ("CHMOD f abc", 41),
        ("CHMOD f 8", 41),
        ("CHMOD f 999", 41),
        ("CHMOD f 10000", 41),
        ("CHMOD f 640x", 41),
        ("CHMOD f -1", 41),
        ("CHMOD f", 16),
        ("CHMOD f ", 16),
        ("CHMOD missing 600", 9),
        ("CHMOD .. 700", 1),
        ("CHMOD out 700", 1),
    ]);
    let mode = |name| fs::metadata(server.path(name)).expect("stat").mode() & 0o7777;
    assert_eq!((mode("f"), mode("d")), (0o640, 0o750));
    if is_root() {
        fs::write(server.path("roots"), "").expect("write");
        client.expect("CHMOD roots 777", 41);
    }
}

#[test]
fn chown() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("f", "");
    client.expect_all(&[
        ("CHOWN f", 16),
        ("CHOWN f nobody", 16),
        ("CHOWN f nobody ", 16),
        ("CHOWN ../f nobody nogroup", 1),
        ("CHOWN f no-such-user nogroup", 42),
        ("CHOWN f nobody no-such-group", 43),
        ("CHOWN missing nobody nogroup", 44),
        ("CHOWN f root root", 44),
    ]);
    if is_root() {
        client.expect("CHOWN f nobody nogroup", 0);
    }
}

#[test]
fn sha256() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("f", "abc");
    server.write("empty", "");
    server.mkdir("d");
    nix::unistd::mkfifo(&server.path("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    assert_eq!(
        client.ask("SHA256 f"),
        "OK 0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(
        client.ask("SHA256 empty"),
        "OK 0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    client.expect_all(&[
        ("SHA256", 16),
        ("SHA256 d", 45),
        ("SHA256 missing", 45),
        ("SHA256 pipe", 45),
        ("SHA256 ../f", 1),
    ]);
}

#[test]
fn freesp() {
    let server = Server::start();
    let mut client = server.connect();
    // Others may be writing to the same disk.
    wait_until("what the system says", || {
        let reply = client.ask("FREESP");
        let free: u64 = reply
            .strip_prefix("OK ")
            .and_then(|n| n.parse().ok())
            .expect("a number");
        let stat = nix::sys::statvfs::statvfs(server.root()).expect("statvfs");
        free.abs_diff(stat.blocks_available() * stat.fragment_size()) < 1 << 20
    });
}

#[test]
fn nothing_is_reached_through_a_link_that_leads_outside() {
    let server = Server::start();
    let mut client = server.connect();
    fs::create_dir(server.root().with_file_name("outside")).expect("mkdir");
    let secret = server.root().with_file_name("outside/secret");
    fs::write(&secret, "secret").expect("write");
    crate::common::give_to_server(secret.parent().expect("parent"));
    crate::common::give_to_server(&secret);
    server.write("f", "x");
    symlink("../outside", server.path("rel")).expect("link");
    symlink(secret.parent().expect("parent"), server.path("abs")).expect("link");
    symlink("../outside/secret", server.path("file")).expect("link");
    for way in ["rel/secret", "abs/secret", "file"] {
        for request in [
            format!("DEL {way}/x"),
            format!("COPY {way} | c"),
            format!("FSTAT {way}"),
            format!("FUPD {way}"),
            format!("CHMOD {way} 777"),
            format!("SHA256 {way}"),
            format!("RCVFILE 0 {way}"),
            format!("SNDFILE 1 {way}"),
            format!("RENAM f | {way}/f"),
            format!("MKDIR {way}/d"),
            format!("TOUCH {way}/t"),
        ] {
            let reply = client.ask(&request);
            assert!(reply.starts_with("FAILED "), "{request}: {reply}");
        }
    }
    for request in [
        "LS rel",
        "LSR abs",
        "RMDIR rel/x",
        "CPDIR rel | c",
        "XDEL rel secret",
    ] {
        let reply = client.ask(request);
        assert!(
            reply.starts_with("FAILED ") || reply == "OK",
            "{request}: {reply}"
        );
    }
    client.expect_alive();
    assert_eq!(fs::read(&secret).expect("still there"), b"secret");
    assert_eq!(
        fs::read_dir(secret.parent().expect("parent"))
            .expect("dir")
            .count(),
        1
    );
}
