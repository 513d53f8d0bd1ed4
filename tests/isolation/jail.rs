//! INJAIL: a real chroot into a directory whose token file opens.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::common::{Client, Server, Setup, account, pids, wait_until};
use crate::{session_pid, status, without_root};

/// A jail `cells/one` with a token file that only root can read.
fn server(more: &str, users: &str) -> Server {
    let server = format!("jail = true\n{more}");
    let server = Server::with(Setup {
        server,
        users: users.to_owned(),
        ..Setup::default()
    });
    server.write("cells/one/inside", b"in");
    server.write("cells/two/other", b"other");
    server.write("outside", b"out");
    let hash = tfd::users::hash::make(b"hashed one").expect("hash");
    write_tokens(&server, &format!("\nplain token\n{hash}\n"));
    fs::set_permissions(server.path("cells"), fs::Permissions::from_mode(0o755)).expect("mode");
    server
}

fn write_tokens(server: &Server, text: &str) {
    let path = server.path("cells/one/jail.key");
    let _ = fs::remove_file(&path);
    fs::write(&path, text).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
}

#[test]
fn before_injail_only_end_exists_in_single_user_mode() {
    if without_root() {
        return;
    }
    let server = server("", "");
    let mut client = server.connect();
    client.expect_all(&[
        ("ECHO x", 50),
        ("PROCKEY", 50),
        ("KEEPALIVE 1 60 | 5 | 3", 50),
        ("LOGIN a b", 50),
        ("NOSUCH", 50),
        ("INJAIL", 16),
        ("INJAIL plain token | ../x", 1),
        ("INJAIL plain token | cells/../..", 1),
        ("INJAIL plain token | cells/two", 48),
        ("INJAIL plain token | nowhere", 48),
        ("INJAIL plain | cells/one", 49),
    ]);
    client.send("END");
    client.expect_closed();
}

#[test]
fn inside_the_jail_nothing_else_can_be_named_and_the_token_file_is_not_there() {
    if without_root() {
        return;
    }
    for token in ["plain token", "hashed one"] {
        let server = server("", "");
        let mut client = server.connect();
        client.expect(format!("INJAIL {token} | cells/one"), 0);
        client.expect_all(&[
            ("INJAIL plain token | /", 51),
            ("LOGIN a b", 39),
            ("LOGIN", 39),
            ("INJAIL", 51),
            ("FSTAT /cells", 9),
            ("FSTAT ../two/other", 1),
            ("FSTAT jail.key", 1),
            ("DEL jail.key", 1),
            ("RENAM inside | jail.key", 1),
        ]);
        assert_eq!(client.list("LS /"), ["F: inside"]);
        client.send_file("new", false, b"x");
        assert_eq!(server.read("cells/one/new"), b"x");

        let session = session_pid(&server);
        let root = fs::read_link(format!("/proc/{session}/root")).expect("root");
        assert_eq!(root, server.path("cells/one"));
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status(session, set), "0000000000000000", "{set}");
        }
        let handles = crate::handles_beside_tables(session);
        let jail = server.path("cells/one").to_string_lossy().into_owned();
        let outside = |handle: &&String| handle.starts_with('/') && **handle != jail;
        assert_eq!(handles.iter().find(outside), None);
    }
}

#[test]
fn notifications_come_from_inside_the_jail_alone() {
    if without_root() {
        return;
    }
    let users = account("ann", "a", "nobody:::");
    for more in ["", "mode = \"multi-user\"\nusers = \"users\""] {
        let server = server(more, &users);
        server.mkdir("cells/one/in/deep");
        std::os::unix::fs::symlink("/cells", server.path("cells/one/out")).expect("link");
        let mut client = server.connect();
        if !more.is_empty() {
            client.expect("LOGIN ann a", 0);
        }
        client.expect_all(&[
            ("ADDNTFY  in", 50),
            ("STARTNTFY", 50),
            ("INJAIL plain token | cells/one", 0),
            ("ADDNTFY  ../two", 1),
            ("ADDNTFY  out", 1),
            ("ADDNTFY  cells", 5),
            ("ADDNTFY jail ", 0),
            ("ADDNTFY  in/deep", 0),
            ("ADDNTFY in ", 0),
        ]);
        client.send("STARTNTFY 0.001");
        assert_eq!(client.reply(), "2 inside");
        client.send("DEL");
        wait_until("its end", || !server.exists("cells/one/inside"));
        server.write("cells/one/new", b"x");
        fs::rename(
            server.path("cells/one/new"),
            server.path("cells/one/in/deep/f"),
        )
        .expect("rename");
        assert_eq!(client.reply(), "1 f");
        client.send("END");
        client.expect_closed();
        assert!(server.exists("cells/one/jail.key"));
        // Nobody had to scan: the system told of it all.
        assert!(
            !server
                .log()
                .iter()
                .any(|line| line.contains("scanned path="))
        );
    }
}

#[test]
fn an_empty_or_odd_token_file_opens_to_nobody() {
    if without_root() {
        return;
    }
    let server = server("", "");
    for (tokens, code) in [("", 49), ("\n\n", 49), ("a\0b\n", 49)] {
        write_tokens(&server, tokens);
        for token in ["", "x", "a"] {
            let mut client = server.connect();
            let told = client.ask(format!("INJAIL {token} | cells/one"));
            assert!(
                told == crate::common::reply_for(code) || told.contains(" 16 "),
                "{told}"
            );
            client.expect("ECHO x", 50);
        }
    }
    let path = server.path("cells/one/jail.key");
    fs::remove_file(&path).expect("remove");
    std::os::unix::fs::symlink("/etc/hostname", &path).expect("link");
    server.connect().expect("INJAIL x | cells/one", 48);
    fs::remove_file(&path).expect("remove");
    fs::create_dir(&path).expect("directory");
    server.connect().expect("INJAIL x | cells/one", 48);
    fs::remove_dir(&path).expect("remove");
    write_tokens(&server, &"x".repeat(100_000));
    server.connect().expect("INJAIL x | cells/one", 48);
}

#[test]
fn a_link_leads_no_jail_out_of_the_root() {
    if without_root() {
        return;
    }
    let server = server("", "");
    let elsewhere = tempfile::tempdir().expect("directory");
    fs::write(elsewhere.path().join("jail.key"), "t\n").expect("write");
    std::os::unix::fs::symlink(elsewhere.path(), server.path("link")).expect("link");
    let mut client = server.connect();
    client.expect("INJAIL t | link", 1);
    client.expect("INJAIL plain token | cells/one", 0);
    client.expect_alive();
}

#[test]
fn login_comes_before_injail_where_both_are_asked_for() {
    if without_root() {
        return;
    }
    let users = account("ann", "a", "games:::");
    let server = server("mode = \"multi-user\"\nusers = \"users\"", &users);
    let mut client = server.connect();
    client.expect_all(&[
        ("INJAIL plain token | cells/one", 38),
        ("LOGIN ann wrong", 37),
        ("LOGIN ann a", 0),
        ("LOGIN ann a", 39),
        ("ECHO x", 50),
        ("KEEPALIVE 1 60 | 5 | 3", 0),
    ]);
    let key = client.ask("PROCKEY");
    client.expect_all(&[
        ("INJAIL wrong | cells/one", 49),
        ("INJAIL plain token | cells/one", 0),
        ("INJAIL plain token | cells/one", 51),
        ("LOGIN ann a", 39),
    ]);
    assert_eq!(client.ask("PROCKEY"), key);
    assert_eq!(client.list("LS /"), ["F: inside"]);
    let games = tfd::users::Identity::of("games")
        .expect("games")
        .uid
        .as_raw();
    assert_eq!(
        status(session_pid(&server), "Uid"),
        format!("{games} {games} {games} {games}")
    );
}

#[test]
fn while_injail_is_left_the_process_keeps_two_rights_and_what_reads_tokens_one() {
    if without_root() {
        return;
    }
    let server = server("", "");
    let mut client = server.connect();
    client.expect("ECHO x", 50);
    let waiting = session_pid(&server);
    // CAP_DAC_READ_SEARCH and CAP_SYS_CHROOT.
    assert_eq!(status(waiting, "CapPrm"), "0000000000040004");
    assert_eq!(status(waiting, "CapBnd"), "0000000000000000");
    assert!(!status(waiting, "Uid").starts_with("0 "));
    // What the client sends is read by a process that can't change its root.
    wait_until("the reader", || !pids(&server, "tfd-token").is_empty());
    let reader = pids(&server, "tfd-token")[0];
    assert_eq!(status(reader, "CapPrm"), "0000000000000004");
    assert_eq!(status(reader, "Uid"), status(waiting, "Uid"));
    client.send("END");
    client.expect_closed();
    wait_until("its end", || pids(&server, "tfd-session").is_empty());
}

#[test]
fn ten_wrong_tokens_end_the_connection() {
    if without_root() {
        return;
    }
    let server = server("", "");
    let mut client: Client = server.connect();
    for _ in 0..10 {
        client.expect("INJAIL wrong | cells/one", 49);
    }
    client.expect_closed();
}

/// What a raw request answers first.
fn raw_code(client: &mut Client, request: &str, len: usize) -> i32 {
    client.send(request);
    let mut code = vec![0; len];
    client.wire.read_raw(&mut code).expect("code");
    i32::from(code[0].cast_signed())
}

#[test]
fn later_commands_stay_inside_the_jail() {
    if without_root() {
        return;
    }
    let server = server("", "");
    for (target, name) in [("../../outside", "file"), ("../two", "directory")] {
        symlink(target, server.path("cells/one").join(name)).expect("link");
    }
    server.write("cells/one/list", "file\n../two/other\njail.key\n");
    let mut client = server.connect();
    for request in [
        "LSV2 @||@x",
        "INTREAD inside",
        "XS1_OPEN inside",
        "FTYPE inside",
    ] {
        client.expect(request, 50);
    }
    client.expect("INJAIL plain token | cells/one", 0);
    for path in ["file", "../two/other", "jail.key", "directory/other"] {
        for request in [
            format!("LSV2 /@||@{path}"),
            format!("LSRV2DOWN {path}"),
            format!("RMKDIR {path}/new"),
            format!("NETLOCK 9 {path}"),
            format!("NETLOCK_TRY 9 {path}"),
            format!("NETMUTACQ_TRY {path} t"),
            format!("NETMUTREL {path} t"),
            format!("XS1_OPEN {path}"),
        ] {
            client.expect(request, 1);
        }
        assert_eq!(raw_code(&mut client, &format!("FTYPE {path}"), 1), -1);
        assert_eq!(raw_code(&mut client, &format!("INTREAD {path}"), 4), -1);
        for (word, unit) in [("FTYPELS", 1), ("FSTATLS", 26)] {
            assert_eq!(raw_code(&mut client, &format!("{word} {path}"), unit), -2);
        }
    }
    for path in ["../two/new", "jail.key", "directory/new"] {
        client.expect(format!("TASFS {path}"), 1);
    }
    client.send("FTYPELS list");
    let mut kinds = [0; 4];
    for kind in &mut kinds {
        client
            .wire
            .read_raw(std::slice::from_mut(kind))
            .expect("kind");
    }
    assert_eq!(kinds.map(u8::cast_signed), [-1, -1, -1, -2]);
    client.expect("LSRV2 /@||@/own", 0);
    let own = String::from_utf8(server.read("cells/one/own")).expect("text");
    let mut own: Vec<&str> = own.lines().collect();
    own.sort_unstable();
    assert_eq!(own, ["directory", "file", "inside", "list", "own"]);
    assert_eq!(server.read("outside"), b"out");
    assert_eq!(server.names("cells/two"), ["other"]);
}
