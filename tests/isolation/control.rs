//! The control socket: who may use it, and what the process that answers
//! could reach.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::common::{Server, Setup, account, pids, wait_until};
use crate::{handles, helpers, status, without_root};

fn server() -> Server {
    Server::with(Setup {
        server: "control = \"control\"\nmetrics = \"./metrics\"\n\
                 mode = \"multi-user\"\nusers = \"users\""
            .to_owned(),
        users: [
            account("ann", "a", "games:::"),
            account("bob", "b", "mail:::"),
        ]
        .concat(),
        ..Setup::default()
    })
}

fn control(server: &Server) -> PathBuf {
    server.config_path().with_file_name("control")
}

fn tfd(server: &Server, arguments: &[&str], uid: u32) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
    command
        .args(arguments)
        .arg("--control")
        .arg(control(server));
    command.uid(uid).output().expect("run")
}

#[test]
fn an_ordinary_user_may_not_use_the_control_socket_whatever_its_mode() {
    if without_root() {
        return;
    }
    let mut server = server();
    let mut client = server.connect();
    client.expect("LOGIN ann a", 0);
    for mode in [0o600, 0o666] {
        fs::set_permissions(control(&server), fs::Permissions::from_mode(mode)).expect("mode");
        for arguments in [&["status"][..], &["kick", "--all"]] {
            let output = tfd(&server, arguments, 65534);
            assert_eq!(output.status.code(), Some(1));
            assert!(output.stdout.is_empty());
        }
    }
    server.wait_for_log("refused stage=control uid=65534");
    client.expect_alive();
    assert!(tfd(&server, &["status"], 0).status.success());
}

/// Whether a process has such a file open for more than reading.
fn can_write(pid: u32, target: &str) -> bool {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("fd")
        .flatten()
        .any(|entry| {
            let info = format!("/proc/{pid}/fdinfo/{}", entry.file_name().to_string_lossy());
            let info = fs::read_to_string(info).expect("fdinfo");
            let flags = info
                .lines()
                .find_map(|line| line.strip_prefix("flags:"))
                .expect("flags");
            let is_meant = fs::read_link(entry.path())
                .is_ok_and(|to| to.to_string_lossy().starts_with(target));
            is_meant && u32::from_str_radix(flags.trim(), 8).expect("octal") & 3 != 0
        })
}

#[test]
fn a_responder_is_an_ordinary_user_and_holds_its_client_and_reads_the_pages_alone() {
    if without_root() {
        return;
    }
    let server = server();
    let mut session = server.connect();
    session.expect("LOGIN ann a", 0);
    let (uid, gid) = helpers();
    for name in ["control", "metrics"] {
        let place = server.config_path().with_file_name(name);
        let client = UnixStream::connect(place).expect("connect");
        wait_until("a responder in its place", || {
            pids(&server, "tfd-responder")
                .iter()
                .any(|pid| status(*pid, "Seccomp_filters") == "3")
        });
        let responder = pids(&server, "tfd-responder")[0];
        assert_eq!(
            status(responder, "Uid"),
            format!("{uid} {uid} {uid} {uid}"),
            "{name}"
        );
        assert_eq!(
            status(responder, "Gid"),
            format!("{gid} {gid} {gid} {gid}"),
            "{name}"
        );
        assert_eq!(status(responder, "Groups"), gid.to_string(), "{name}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status(responder, set), "0000000000000000", "{name} {set}");
        }
        let root = fs::read_dir(format!("/proc/{responder}/root")).expect("root");
        assert_eq!(root.count(), 0, "{name}");
        let (sockets, others): (Vec<_>, Vec<_>) = handles(responder)
            .into_iter()
            .partition(|to| to.starts_with("socket:"));
        // The one of the client twice, and the channel to the daemon.
        assert_eq!(sockets.len(), 3, "{name}: {sockets:?}");
        let pages = if name == "control" {
            &["/memfd:tfd-page (deleted)"][..]
        } else {
            &[]
        };
        assert_eq!(others, pages, "{name}");
        assert!(!can_write(responder, "/memfd:tfd-page"), "{name}");
        drop(client);
        wait_until("its end", || pids(&server, "tfd-responder").is_empty());
    }
    session.expect_alive();
}

#[test]
fn status_names_the_account_and_kick_ends_its_sessions_alone() {
    if without_root() {
        return;
    }
    let server = server();
    let mut ann = server.connect();
    ann.expect("LOGIN ann a", 0);
    let mut bob = server.connect();
    bob.expect("LOGIN bob b", 0);
    let mut before = server.connect();
    before.expect("ECHO x", 38);
    let table = String::from_utf8(tfd(&server, &["status"], 0).stdout).expect("text");
    assert!(table.contains(": 2 sessions, 1 logging in"), "{table}");
    for (user, pid) in [("ann", "games"), ("bob", "mail")] {
        let identity = tfd::users::Identity::of(pid).expect("system user");
        let line = table
            .lines()
            .find(|line| line.contains(&format!(" {user} ")))
            .expect("line");
        let process = line
            .split_whitespace()
            .nth(1)
            .expect("pid")
            .parse()
            .expect("a number");
        let uid = identity.uid.as_raw().to_string();
        assert!(status(process, "Uid").starts_with(&uid), "{table}");
    }
    let kicked = tfd(&server, &["kick", "--user", "ann"], 0);
    assert_eq!(String::from_utf8_lossy(&kicked.stdout), "ended 1 session\n");
    ann.expect_closed();
    bob.expect_alive();
    before.expect("ECHO x", 38);
}
