//! What ordinary clients did to files of others, to the disk and to the
//! processor: modes, access lists, holes, depth, and work for nobody.

use std::fs::{self, File, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, XattrFlags, getxattr, setxattr};
use rustix::net::sockopt::set_socket_linger;

use crate::common::{Client, Server, Setup, account, is_root, is_running, pids, wait_until};

const LIST: &str = "system.posix_acl_access";

/// Owner and mask may read and write, this user and the group nothing, others read.
fn denying(uid: u32) -> Vec<u8> {
    let nobody = u32::MAX;
    let entries = [
        (0x01_u16, 6_u16, nobody),
        (0x02, 0, uid),
        (0x04, 4, nobody),
        (0x10, 6, nobody),
        (0x20, 4, nobody),
    ];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&permissions.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    list
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1024];
    let len = getxattr(path, name, &mut *value).ok()?;
    value.truncate(len);
    Some(value)
}

fn ids(name: &str) -> (u32, u32) {
    let user = nix::unistd::User::from_name(name).expect("users");
    let user = user.expect("a system user");
    (user.uid.as_raw(), user.gid.as_raw())
}

fn multi_user() -> (Server, Client) {
    let server = Server::with(Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"".to_owned(),
        users: account("ann", "a", "games:::"),
        ..Setup::default()
    });
    fs::set_permissions(server.root(), Permissions::from_mode(0o1777)).expect("mode");
    let mut client = server.connect();
    client.expect("LOGIN ann a", 0);
    (server, client)
}

#[test]
fn a_file_that_is_replaced_or_copied_lets_in_nobody_whom_it_kept_out() {
    if !is_root() {
        return println!("left out: files of several users need root");
    }
    let (server, mut client) = multi_user();
    let ((uid, gid), (other, other_group)) = (ids("games"), ids("mail"));
    let list = denying(other);
    let file = |name: &str, group: u32| {
        let path = server.path(name);
        fs::write(&path, "old").expect("write");
        chown(&path, Some(uid), Some(group)).expect("chown");
        fs::set_permissions(&path, Permissions::from_mode(0o664)).expect("mode");
        path
    };
    let listed = file("listed", gid);
    if setxattr(&listed, LIST, &list, XattrFlags::empty()).is_err() {
        return println!("left out: no access lists on this file system");
    }
    setxattr(&listed, "user.note", b"mine", XattrFlags::empty()).expect("attribute");
    client.send_file("listed", true, b"new");
    client.expect("COPY listed | copied", 0);
    for name in ["listed", "copied"] {
        let path = server.path(name);
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(attribute(&path, LIST), Some(list.clone()), "{name}");
        assert_eq!(attribute(&path, "user.note"), Some(b"mine".to_vec()));
    }

    // By SUP as well, which answers otherwise.
    client.send("SUP listed");
    let mut frames = [&3_i32.to_be_bytes()[..], b"sup", &0_i32.to_be_bytes()].concat();
    let sent = client.wire.write_units(&mut frames, &[4, 3, 4]);
    sent.expect("send");
    assert_eq!(client.wire.read_i32().expect("result"), 0);
    assert_eq!(fs::read(&listed).expect("read"), b"sup");
    assert_eq!(attribute(&listed, LIST), Some(list.clone()));

    // A group that its owner can't give a file: nobody of another one gets in.
    let foreign = file("foreign", other_group);
    setxattr(&foreign, LIST, &list, XattrFlags::empty()).expect("list");
    file("plain", other_group);
    for name in ["foreign", "plain"] {
        client.send_file(name, true, b"new");
    }
    let mode = |name: &str| {
        let metadata = fs::metadata(server.path(name)).expect("stat");
        (metadata.gid(), metadata.mode() & 0o777)
    };
    assert_eq!(mode("foreign"), (gid, 0o600));
    assert_eq!(mode("plain"), (gid, 0o604));
    assert_eq!(attribute(&server.path("foreign"), LIST), None);

    // The group of the old file, not that of its directory.
    let directory = server.path("d");
    fs::create_dir(&directory).expect("mkdir");
    chown(&directory, Some(uid), Some(other_group)).expect("chown");
    fs::set_permissions(&directory, Permissions::from_mode(0o2775)).expect("mode");
    file("d/f", gid);
    client.send_file("d/f", true, b"new");
    assert_eq!(mode("d/f"), (gid, 0o664));
}

/// How many entries the tree has that is being copied.
fn entries_of_part(server: &Server) -> usize {
    let names = server.names("");
    let part = names.iter().find(|name| name.ends_with(".part"));
    let entries = part.and_then(|part| fs::read_dir(server.path(part)).ok());
    entries.map_or(0, Iterator::count)
}

#[test]
fn a_copy_for_a_client_that_has_left_ends_and_leaves_nothing_by_halves() {
    const ENTRIES: usize = 30_000;
    let mut server = Server::start();
    let large: Vec<u8> = (0..256_u32 << 20).map(|at| (at >> 12) as u8).collect();
    server.write("large", &large);
    server.mkdir("many");
    for at in 0..ENTRIES {
        fs::write(server.path(&format!("many/{at}")), "x").expect("write");
    }
    for (ended, (command, copy, resets)) in [
        ("COPY large | copied", "copied", false),
        ("CPDIR many | more", "more", false),
        ("CPDIR many | others", "others", true),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = server.connect();
        client.send(command);
        if resets {
            // In the middle, and known at once to be gone.
            wait_until("a part of the copy", || {
                server.exists(copy) || entries_of_part(&server) > 9_000
            });
            set_socket_linger(client.wire.socket(), Some(Duration::ZERO)).expect("linger");
        }
        drop(client);
        server.wait_for_lines("session end", ended + 1);
        let names = server.names("");
        assert!(
            !names.iter().any(|name| name.ends_with(".part")),
            "{names:?}"
        );
        // It may have been whole before the client left.
        if server.exists(copy) && copy == "copied" {
            assert!(server.read(copy) == large);
        } else if server.exists(copy) {
            assert_eq!(server.names(copy).len(), ENTRIES);
        }
    }
}

#[test]
fn a_copy_has_the_holes_of_its_source() {
    let server = Server::start();
    let length = 300 << 20;
    for (name, data) in [("end", vec![length - 1]), ("middle", vec![0, 200 << 20])] {
        server.write(name, "");
        let file = File::options().write(true).open(server.path(name));
        let file = file.expect("open");
        file.set_len(length).expect("length");
        for at in data {
            file.write_all_at(b"x", at).expect("write");
        }
    }
    let mut client = server.connect();
    for name in ["end", "middle"] {
        client.expect(format!("COPY {name} | {name}.copy"), 0);
        let copy = server.path(&format!("{name}.copy"));
        let metadata = fs::metadata(&copy).expect("stat");
        assert_eq!(metadata.len(), length);
        assert!(metadata.blocks() < 4096, "{} blocks", metadata.blocks());
        assert!(fs::read(copy).expect("read") == server.read(name));
    }
}

#[test]
fn work_for_a_client_that_has_left_ends() {
    let server = Server::start();
    server.write("sparse", "");
    let file = File::options().write(true).open(server.path("sparse"));
    // Hours of work.
    file.expect("open").set_len(1 << 42).expect("length");
    let mut client = server.connect();
    client.expect_alive();
    client.send("SHA256 sparse");
    std::thread::sleep(std::time::Duration::from_millis(300));
    let session = session_of(&server);
    assert!(is_running(session));
    drop(client);
    wait_until("the end of its work", || !is_running(session));
}

fn session_of(server: &Server) -> u32 {
    wait_until("a session", || !pids(server, "tfd-session").is_empty());
    pids(server, "tfd-session")[0]
}

#[test]
fn in_single_user_mode_no_client_makes_a_program_with_the_servers_rights() {
    let server = Server::start();
    server.write("f", "x");
    server.mkdir("d");
    fs::set_permissions(server.path("d"), Permissions::from_mode(0o755)).expect("mode");
    let mode = |name: &str| fs::metadata(server.path(name)).expect("stat").mode() & 0o7777;
    let mut client = server.connect();
    client.expect_all(&[("CHMOD f 6755", 0), ("CHMOD d 3755", 0)]);
    assert_eq!((mode("f"), mode("d")), (0o755, 0o1755));
    fs::set_permissions(server.path("f"), Permissions::from_mode(0o4755)).expect("mode");
    client.expect_all(&[("COPY f | g", 0), ("MKDIR t", 0), ("COPY f | t/f", 0)]);
    client.expect("CPDIR t | u", 0);
    for name in ["g", "t/f", "u/f"] {
        assert_eq!(mode(name), 0o755, "{name}");
    }
    if is_root() {
        let (server, mut client) = multi_user();
        client.send_file("f", false, b"x");
        client.expect("CHMOD f 4755", 0);
        let mode = fs::metadata(server.path("f")).expect("stat").mode();
        assert_eq!(mode & 0o7777, 0o4755, "a program of her own");
    }
}

#[test]
fn a_tree_deeper_than_any_path_is_listed_copied_and_removed() {
    // Two bytes each, and a path has up to 4096.
    const DEPTH: usize = 2100;
    let server = Server::start();
    let owner = fs::metadata(server.root()).expect("stat");
    let mut at: OwnedFd = File::open(server.root()).expect("open").into();
    for depth in 0..DEPTH {
        let name = if depth == 0 { "y" } else { "d" };
        rustix::fs::mkdirat(&at, name, Mode::RWXU).expect("mkdir");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let next = rustix::fs::openat(at.as_fd(), name, flags, Mode::empty()).expect("open");
        if is_root() {
            let ids = (owner.uid(), owner.gid());
            rustix::fs::fchown(
                &next,
                Some(rustix::fs::Uid::from_raw(ids.0)),
                Some(rustix::fs::Gid::from_raw(ids.1)),
            )
            .expect("chown");
        }
        at = next;
    }
    let mut client = server.connect();
    client.send("LSR y");
    let listing = client.receive_stream().expect("listing");
    let lines: Vec<_> = listing
        .split(|c| *c == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(lines.len(), DEPTH - 1);
    assert!(!lines.iter().any(|line| line.ends_with(b"//")));
    client.expect_all(&[("CPDIR y | z", 0), ("RMDIR y", 0), ("RMDIR z", 0)]);
    assert!(server.names("").is_empty());
}

/// Traces system calls of a session; `None` where that is not possible.
fn trace(server: &Server, calls: &str, log: &Path) -> Option<Child> {
    let child = Command::new("strace")
        .args(["-f", "-o"])
        .arg(log)
        .args(["-e", &format!("trace={calls}"), "-p"])
        .arg(session_of(server).to_string())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        println!("left out: no strace");
        return None;
    };
    // It says so once it is attached.
    let mut said = [0; 8];
    std::io::Read::read_exact(child.stderr.as_mut().expect("output"), &mut said).expect("strace");
    Some(child)
}

#[test]
fn what_replaces_a_file_is_on_disk_before_in_either_setting() {
    let server = Server::start();
    server.write("old", "old");
    let mut client = server.connect();
    client.expect_alive();
    let log = server.root().with_file_name("trace");
    let Some(mut strace) = trace(&server, "fdatasync,fsync,renameat,renameat2", &log) else {
        return;
    };
    client.send_file("new", false, b"x");
    client.send_file("old", true, b"x");
    client.send("END");
    client.expect_closed();
    strace.wait().expect("strace");
    let text = fs::read_to_string(log).expect("trace");
    let calls: Vec<_> = ["fdatasync", "fsync", "rename"].into_iter().collect();
    let order: Vec<_> = text
        .lines()
        .filter_map(|line| calls.iter().find(|call| line.contains(&format!(" {call}"))))
        .collect();
    assert_eq!(order, [&"rename", &"fdatasync", &"rename"], "{text}");
}

#[test]
fn a_mode_is_on_disk_before_it_is_acknowledged_where_that_is_asked_for() {
    let server = Server::with(Setup {
        server: "durability = \"file\"".to_owned(),
        ..Setup::default()
    });
    server.write("f", "x");
    let mut client = server.connect();
    client.expect_alive();
    let log = server.root().with_file_name("trace");
    let Some(mut strace) = trace(&server, "fsync", &log) else {
        return;
    };
    client.expect_all(&[("CHMOD f 000", 0), ("CHMOD / 755", 0)]);
    client.send("END");
    client.expect_closed();
    strace.wait().expect("strace");
    let text = fs::read_to_string(log).expect("trace");
    let syncs = text
        .lines()
        .filter(|line| line.contains(" fsync(") && line.ends_with("= 0"));
    assert_eq!(syncs.count(), 2, "{text}");
}

#[test]
fn what_is_written_in_place_is_on_disk_before_it_is_acknowledged_where_that_is_asked_for() {
    let server = Server::with(Setup {
        server: "durability = \"file\"".to_owned(),
        ..Setup::default()
    });
    server.write("f", "");
    let mut client = server.connect();
    assert_eq!(client.ask("XS1_OPEN f"), "OK 0");
    let log = server.root().with_file_name("trace");
    let Some(mut strace) = trace(&server, "fdatasync", &log) else {
        return;
    };
    client.expect_all(&[
        ("XS1_WRITE 0 3 abc", 0),
        ("XS1_TRUNC 0 0", 0),
        ("NETMUTACQ_TRY f token", 0),
        ("NETMUTREL f token", 0),
    ]);
    client.send("XS1_WRITEV2");
    let mut bytes = [&[0; 11][..], &[1], b"x"].concat();
    client.wire.write_units(&mut bytes, &[12, 1]).expect("send");
    assert_eq!(client.wire.read_i64().expect("written"), 1);
    client.send("END");
    client.expect_closed();
    strace.wait().expect("strace");
    let text = fs::read_to_string(log).expect("trace");
    let syncs = text
        .lines()
        .filter(|line| line.contains(" fdatasync(") && line.ends_with("= 0"));
    assert_eq!(syncs.count(), 5, "{text}");
}
