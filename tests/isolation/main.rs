//! Who runs as what, and what each process could reach: the promises of
//! tfd(8), SECURITY. They need root; without it only the last ones apply.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers in tests are small"
)]
#![allow(unreachable_pub, reason = "shared by the test binaries")]

mod certificates;
mod codes;
#[path = "../common/mod.rs"]
mod common;
mod control;
mod descriptors;
mod jail;
mod login;
mod metrics;
mod pam;
mod secrets;
mod uploads;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use common::{
    Client, Server, Setup, descendants, is_root, is_running, key, memory_holds, pids, wait_until,
};
use tfd::users::Identity;

/// Says why a test is left out.
fn without_root() -> bool {
    if !is_root() {
        println!("left out: taking identities needs root");
    }
    !is_root()
}

/// The fields of /proc/PID/status.
fn status(pid: u32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field}"))
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// The session's process.
fn session_pid(server: &Server) -> u32 {
    wait_until("a session", || !pids(server, "tfd-session").is_empty());
    pids(server, "tfd-session")[0]
}

/// What the descriptors of a process lead to, standard ones left out; nothing for
/// one that has ended.
fn handles(pid: u32) -> Vec<String> {
    let mut targets: Vec<(u32, String)> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((
                number,
                fs::read_link(entry.path())
                    .ok()?
                    .to_string_lossy()
                    .into_owned(),
            ))
        })
        .collect();
    targets.sort();
    targets
        .into_iter()
        .filter(|(number, _)| *number > 2)
        .map(|(_, target)| target)
        .collect()
}

/// The same without those for the keystream tables, which must be for reading
/// only, and the one to ask for them.
fn handles_beside_tables(pid: u32) -> Vec<String> {
    let tables: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("fd")
        .map(|entry| entry.expect("entry"))
        .filter(|entry| {
            fs::read_link(entry.path())
                .is_ok_and(|to| to.to_string_lossy().starts_with("/memfd:tfd-keystream"))
        })
        .collect();
    assert_eq!(tables.len(), 3);
    for table in tables {
        let info = format!("/proc/{pid}/fdinfo/{}", table.file_name().to_string_lossy());
        let flags = fs::read_to_string(info).expect("fdinfo");
        let flags = flags
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .expect("flags");
        let flags = u32::from_str_radix(flags.trim(), 8).expect("octal");
        assert_eq!(flags & 3, 0, "opened for reading only");
        assert_eq!(
            fs::metadata(table.path()).expect("stat").mode() & 0o777,
            0o400
        );
    }
    let others =
        |to: &String| !to.starts_with("/memfd:tfd-keystream") && to != "anon_inode:[eventfd]";
    handles(pid).into_iter().filter(others).collect()
}

/// Until there are one gate and one session.
fn wait_until_gate_and_session(server: &Server) {
    let count = |name| pids(server, name).len();
    wait_until("a gate and a session", || {
        (count("tfd-gate"), count("tfd-session")) == (1, 1)
    });
}

/// A gate, a session, the next gate and all helpers of a server, by name.
fn everyone(server: &Server) -> Vec<(u32, &'static str)> {
    wait_until_gate_and_session(server);
    wait_until("the next gate", || !pids(server, "tfd-spare").is_empty());
    [
        "tfd-keeper",
        "tfd-zygote",
        "tfd-launcher",
        "tfd-spare",
        "tfd-gate",
        "tfd-session",
        "tfd-tables",
    ]
    .into_iter()
    .flat_map(|name| pids(server, name).into_iter().map(move |pid| (pid, name)))
    .collect()
}

/// uid and gid of helper processes.
fn helpers() -> (u32, u32) {
    let helpers = Identity::of_helpers(None).expect("a uid");
    (helpers.uid.as_raw(), helpers.gid.as_raw())
}

/// uid and gid that a process of this name has, where all clients are `nobody`.
fn ids_of(name: &str) -> (u32, u32) {
    let nobody = Identity::of("nobody").expect("nobody");
    match name {
        "tfd-zygote" | "tfd-launcher" | "tfd-spare" | "tfd-gate" | "tfd-session" | "tfd-relay" => {
            (nobody.uid.as_raw(), nobody.gid.as_raw())
        }
        _ => helpers(),
    }
}

#[test]
fn no_helper_has_the_uid_of_a_gate_or_a_session() {
    if without_root() {
        return;
    }
    let server = Server::with(Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"\naudit = \"audit.log\"".to_owned(),
        users: common::account("ann", "a", "games:::"),
        ..Setup::default()
    });
    let _gate = Client::knock(server.address());
    let mut session = server.connect();
    session.expect("LOGIN ann a", 0);
    wait_until_gate_and_session(&server);
    let (mut of_clients, mut of_helpers) = (BTreeSet::new(), BTreeSet::new());
    for (pid, name) in descendants(server.pid()) {
        let uid = status(pid, "Uid");
        match name.as_str() {
            // Gates are its children, and it parses nothing.
            "tfd-zygote" | "tfd-gate" | "tfd-session" => of_clients.insert(uid),
            "tfd-launcher" | "tfd-spare" | "tfd-sweeper" => continue,
            _ => of_helpers.insert(uid),
        };
    }
    assert_eq!((of_clients.len(), of_helpers.len()), (2, 1));
    assert!(
        of_clients.is_disjoint(&of_helpers),
        "{of_clients:?} {of_helpers:?}"
    );
    assert!(!of_helpers.iter().any(|uid| uid.starts_with("0 ")));
}

#[test]
fn helpers_take_the_user_that_the_configuration_names_unless_it_is_a_clients() {
    if without_root() {
        return;
    }
    let named = |server: &str| Setup {
        server: server.to_owned(),
        ..Setup::default()
    };
    let server = Server::with(named("helper_user = \"games\""));
    let games = Identity::of("games").expect("games").uid.to_string();
    let keeper = pids(&server, "tfd-keeper")[0];
    assert!(status(keeper, "Uid").starts_with(&games));
    let text = fs::read_to_string(server.config_path()).expect("read");
    for (user, said) in [
        ("nobody", "neither root nor one of clients"),
        ("nosuch", "useradd"),
    ] {
        let other = server.config_path().with_file_name("other.toml");
        fs::write(&other, text.replace("\"games\"", &format!("\"{user}\""))).expect("write");
        let check = std::process::Command::new(env!("CARGO_BIN_EXE_tfd"))
            .args(["check", "--config"])
            .arg(&other)
            .output()
            .expect("check");
        let told = String::from_utf8_lossy(&check.stderr).into_owned();
        assert!(
            told.contains("server.helper_user") && told.contains(said),
            "{told}"
        );
    }
}

#[test]
fn if_memory_runs_out_every_other_process_is_ended_before_the_daemon() {
    let server = Server::start();
    let _gate = Client::knock(server.address());
    let mut session = server.connect();
    session.expect_alive();
    let score = |pid: u32| -> i32 {
        let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("score");
        text.trim().parse().expect("number")
    };
    assert!(score(server.pid()) <= 0);
    for (pid, name) in everyone(&server) {
        assert_eq!(score(pid), 500, "{name}");
    }
    let session = pids(&server, "tfd-session")[0];
    let limits = fs::read_to_string(format!("/proc/{session}/limits")).expect("limits");
    for (what, most) in [("Max data size", 256 << 20), ("Max open files", 1024)] {
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix(what))
            .expect(what);
        let hard = line
            .split_whitespace()
            .nth(1)
            .and_then(|hard| hard.parse().ok());
        assert!(hard.is_some_and(|hard: u64| hard <= most), "{what}: {line}");
    }
}

#[test]
fn every_process_but_the_daemon_has_an_ordinary_uid_for_good() {
    if without_root() {
        return;
    }
    let server = Server::start();
    let _gate = Client::knock(server.address());
    let mut session = server.connect();
    session.expect_alive();
    for (pid, name) in everyone(&server) {
        let (uid, gid) = ids_of(name);
        assert_eq!(
            status(pid, "Uid"),
            format!("{uid} {uid} {uid} {uid}"),
            "{name}"
        );
        assert_eq!(
            status(pid, "Gid"),
            format!("{gid} {gid} {gid} {gid}"),
            "{name}"
        );
        assert_eq!(status(pid, "Groups"), gid.to_string(), "{name}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status(pid, set), "0000000000000000", "{name} {set}");
        }
        assert_eq!(status(pid, "NoNewPrivs"), "1", "{name}");
        assert_eq!(status(pid, "Seccomp"), "2", "{name}");
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        assert!(
            core.is_some_and(|line| line.split_whitespace().nth(4) == Some("0")),
            "{name}"
        );
    }
    assert_eq!(status(server.pid(), "Uid"), "0 0 0 0");
}

#[test]
fn a_session_lives_in_its_root_and_others_in_an_empty_directory_without_a_name() {
    if without_root() {
        return;
    }
    let server = Server::start();
    let _gate = Client::knock(server.address());
    let _session = server.connect();
    let everyone = everyone(&server);
    let launcher = pids(&server, "tfd-launcher")[0];
    let of_sessions: Vec<u32> = descendants(launcher)
        .into_iter()
        .map(|(pid, _)| pid)
        .chain([launcher])
        .collect();
    for (pid, name) in everyone {
        for link in ["root", "cwd"] {
            let path = format!("/proc/{pid}/{link}");
            if of_sessions.contains(&pid) {
                assert_eq!(fs::read_link(&path).expect("link"), server.root());
                continue;
            }
            let target = fs::read_link(&path)
                .expect("link")
                .to_string_lossy()
                .into_owned();
            assert!(target.ends_with("(deleted)"), "{name} {link}: {target}");
            assert_eq!(
                fs::read_dir(&path).expect("directory").count(),
                0,
                "{name} {link}"
            );
        }
    }
}

#[test]
fn no_process_of_ours_can_be_traced_or_dumped_by_its_like() {
    if without_root() {
        return;
    }
    let server = Server::start();
    let _gate = Client::knock(server.address());
    let _session = server.connect();
    for (pid, name) in everyone(&server) {
        // The files of a process that can't be dumped belong to root.
        let owner = fs::metadata(format!("/proc/{pid}/environ"))
            .expect("stat")
            .uid();
        assert_eq!(owner, 0, "{name}");
    }
}

#[test]
fn a_proxys_processes_have_ordinary_uids_in_an_empty_directory_too() {
    if without_root() {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("address").port();
    let proxy = Server::proxy(format!("localhost:{port}"), "");
    let _client = Client::knock(proxy.address());
    let _backend = listener.accept().expect("accept");
    for name in ["tfd-relay", "tfd-spare"] {
        wait_until(name, || !pids(&proxy, name).is_empty());
    }
    let all = descendants(proxy.pid());
    assert_eq!(all.len(), 6, "{all:?}");
    for (pid, name) in all {
        let (uid, _) = ids_of(&name);
        assert_eq!(
            status(pid, "Uid"),
            format!("{uid} {uid} {uid} {uid}"),
            "{name}"
        );
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status(pid, set), "0000000000000000", "{name} {set}");
        }
        assert_eq!(status(pid, "NoNewPrivs"), "1", "{name}");
        assert_eq!(status(pid, "Seccomp"), "2", "{name}");
        let root = fs::read_link(format!("/proc/{pid}/root")).expect("link");
        let in_empty = root.to_string_lossy().ends_with("(deleted)");
        assert_eq!(
            in_empty,
            name != "tfd-resolver",
            "{name}: {}",
            root.display()
        );
    }
    let relay = pids(&proxy, "tfd-relay")[0];
    wait_until("its pipes", || handles(relay).len() >= 7);
    let held = handles(relay);
    let count = |kind: &str| {
        held.iter()
            .filter(|target| target.starts_with(kind))
            .count()
    };
    assert_eq!(
        (count("socket:"), count("pipe:"), count("anon_inode:")),
        (2, 4, 1),
        "{held:?}"
    );
    assert_eq!(held.len(), 7, "{held:?}");
}

#[test]
fn a_gate_holds_its_two_sockets_and_nothing_else() {
    if without_root() {
        return;
    }
    let server = Server::start();
    let _gate = Client::knock(server.address());
    wait_until("the gate", || pids(&server, "tfd-gate").len() == 1);
    let gate = pids(&server, "tfd-gate")[0];
    let held = handles_beside_tables(gate);
    assert_eq!(held.len(), 2, "{held:?}");
    assert!(
        held.iter().all(|target| target.starts_with("socket:")),
        "{held:?}"
    );
}

#[test]
fn a_gate_without_a_client_holds_a_channel_alone() {
    if without_root() {
        return;
    }
    let server = Server::start();
    wait_until("the next gate", || !pids(&server, "tfd-spare").is_empty());
    let zygote = pids(&server, "tfd-zygote")[0];
    let spare = || descendants(zygote).first().map(|(pid, _)| *pid);
    wait_until("the next gate", || spare().is_some());
    let held = handles_beside_tables(spare().expect("a gate"));
    assert_eq!(held.len(), 1, "{held:?}");
    assert!(held[0].starts_with("socket:"), "{held:?}");
}

#[test]
fn no_process_but_the_daemon_dumps_core_or_locks_memory() {
    if without_root() {
        return;
    }
    let server = Server::start();
    let _gate = Client::knock(server.address());
    let mut session = server.connect();
    session.expect_alive();
    for (pid, name) in everyone(&server) {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
        for limit in [
            "Max core file size",
            "Max locked memory",
            "Max msgqueue size",
        ] {
            let line = limits
                .lines()
                .find_map(|line| line.strip_prefix(limit))
                .expect(limit);
            let words: Vec<&str> = line.split_whitespace().take(2).collect();
            assert_eq!(words, ["0", "0"], "{limit} of {name}");
        }
    }
}

#[test]
fn a_session_holds_its_socket_and_the_root() {
    if without_root() {
        return;
    }
    let server = Server::start();
    let mut client = server.connect();
    client.expect_alive();
    let session = session_pid(&server);
    let mut held = handles_beside_tables(session);
    // A thread for out-of-band bytes has the socket, too.
    held.sort_unstable();
    held.dedup();
    let root = server.root().to_string_lossy().into_owned();
    assert!(held.contains(&root), "{held:?}");
    assert_eq!(
        held.iter()
            .filter(|target| target.starts_with("socket:"))
            .count(),
        1,
        "{held:?}"
    );
    assert_eq!(held.len(), 2, "{held:?}");
}

#[test]
fn a_terminal_that_tfd_was_started_at_is_read_by_none_of_its_processes() {
    let server = Server::start();
    let terminal = nix::pty::openpty(None, None).expect("terminal");
    let standard = || std::process::Stdio::from(terminal.slave.try_clone().expect("handle"));
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_tfd"))
        .args(["serve", "--config"])
        .arg(server.config_path())
        .stdin(standard())
        .stdout(standard())
        .stderr(standard())
        .spawn()
        .expect("start");
    wait_until("the helpers", || {
        ["tfd-zygote", "tfd-keeper", "tfd-udp"]
            .iter()
            .all(|wanted| {
                descendants(child.id())
                    .iter()
                    .any(|(_, name)| name == wanted)
            })
    });
    let all = descendants(child.id())
        .into_iter()
        .chain([(child.id(), "tfd".to_owned())]);
    for (pid, name) in all {
        let to = |number| fs::read_link(format!("/proc/{pid}/fd/{number}")).ok();
        let look = || {
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/2"));
            Some(([to(0)?, to(1)?], to(2)?, info.ok()?))
        };
        // The sweeper may end meanwhile.
        let Some((others, errors, info)) = look() else {
            wait_until("its end", || !is_running(pid));
            continue;
        };
        for other in others {
            assert_eq!(other.to_str(), Some("/dev/null"), "{pid}");
        }
        if name != "tfd-logger" {
            // The way to the logger.
            let errors = errors.to_str().expect("a name");
            assert!(errors.starts_with("socket:"), "{name} {errors}");
            continue;
        }
        assert!(errors.starts_with("/dev/pts"), "{pid}");
        let flags = info
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .expect("flags");
        let flags = u32::from_str_radix(flags.trim(), 8).expect("octal");
        assert_eq!(flags & 3, 1, "{pid} may write alone");
    }
    child.kill().expect("kill");
    child.wait().expect("wait");
}

#[test]
fn the_private_key_is_in_the_keepers_memory_alone() {
    if without_root() {
        return;
    }
    let server = Server::start();
    let _gate = Client::knock(server.address());
    let _session = server.connect();
    let prime = key().p().expect("a prime factor").to_vec();
    let number: Vec<u8> = prime[..64].iter().rev().copied().collect();
    let pem = key().private_key_to_pem().expect("pem");
    let text = &pem[100..140];
    for (pid, name) in everyone(&server).into_iter().chain([(server.pid(), "tfd")]) {
        let holds = memory_holds(pid, &number);
        assert_eq!(holds, name == "tfd-keeper", "{name}: the number");
        assert!(!memory_holds(pid, text), "{name}: the text of the file");
    }
}

#[test]
fn files_belong_to_the_servers_user() {
    if without_root() {
        return;
    }
    let server = Server::start();
    let mut client = server.connect();
    client.send_file("f", false, b"x");
    client.expect_all(&[("MKDIR d", 0), ("COPY f | d/g", 0), ("CPDIR d | e", 0)]);
    let nobody = nix::unistd::User::from_name("nobody")
        .expect("users")
        .expect("nobody");
    for name in ["f", "d", "d/g", "e", "e/g"] {
        let metadata = fs::metadata(server.path(name)).expect("stat");
        assert_eq!(metadata.uid(), nobody.uid.as_raw(), "{name}");
        assert_eq!(metadata.gid(), nobody.gid.as_raw(), "{name}");
    }
}

#[test]
fn root_is_refused_as_the_user_to_serve_as() {
    if without_root() {
        return;
    }
    let server = Server::start();
    let text = fs::read_to_string(server.config_path()).expect("read");
    let path = server.config_path().with_file_name("root.toml");
    for (user, said) in [
        ("root", "is root"),
        ("no-such-user-here", "no such system user"),
    ] {
        fs::write(&path, text.replace("nobody", user)).expect("write");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_tfd"))
            .args(["serve", "--config"])
            .arg(&path)
            .output()
            .expect("run");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(said), "{told}");
    }
}

#[test]
fn without_root_it_serves_as_who_started_it_and_says_so() {
    let started_by = is_root().then_some(65534);
    let server = Server::with(Setup {
        started_by,
        ..Setup::default()
    });
    assert!(
        server
            .log()
            .iter()
            .any(|line| line.contains("not started by root"))
    );
    let mut client = server.connect();
    client.send_file("f", false, b"x");
    let own = started_by.unwrap_or_else(|| nix::unistd::geteuid().as_raw());
    assert_eq!(fs::metadata(server.path("f")).expect("stat").uid(), own);
    for pid in pids(&server, "tfd-session") {
        assert_eq!(status(pid, "NoNewPrivs"), "1");
    }
}

#[test]
fn times_of_a_file_that_belongs_to_somebody_else_stay() {
    if without_root() {
        return;
    }
    let server = Server::start();
    fs::write(server.path("roots"), b"x").expect("write");
    let mut client = server.connect();
    client.expect_all(&[("FUPD roots", 27), ("CHMOD roots 666", 41)]);
    client.expect_alive();
}
