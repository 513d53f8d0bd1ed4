//! Attacks, each made for real over a socket, that must have no effect: what
//! the public C server is weak against, and what other file servers were.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers in tests are small"
)]
#![allow(unreachable_pub, reason = "shared by the test binaries")]

#[path = "../common/mod.rs"]
mod common;

mod checklist;
mod effects;
mod files;
mod network;
mod planted;
mod races;
mod reference;

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use common::{Client, Server, Setup, is_root, pids, wait_until};

/// Stands in every file outside the root; no reply may ever hold it.
const SECRET: &str = "outside-secret";

/// Says why a test is left out.
fn without_root() -> bool {
    if !is_root() {
        println!("left out: taking identities needs root");
    }
    !is_root()
}

/// A server under attack, a session that was open all along, and files beside
/// the root that the server's user could read and change.
struct Scene {
    server: Server,
    observer: Client,
    before: Vec<String>,
}

impl Scene {
    fn new() -> Scene {
        Scene::with(Setup::default())
    }

    fn with(setup: Setup) -> Scene {
        let server = Server::with(setup);
        let outside = server.root().with_file_name("outside");
        for name in ["f", "t/f", "t/t/f", "only-outside"] {
            let path = outside.join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            fs::write(path, SECRET).expect("write");
        }
        std::os::unix::fs::symlink(outside.join("f"), outside.join("link")).expect("link");
        give_tree_to_server(&outside);
        let observer = server.connect();
        let before = state_of(&outside);
        Scene {
            server,
            observer,
            before,
        }
    }

    fn connect(&self) -> Client {
        self.server.connect()
    }

    fn outside(&self) -> PathBuf {
        self.server.root().with_file_name("outside")
    }

    /// Asserts that nobody but the attacker has noticed anything.
    #[track_caller]
    fn unharmed(&mut self) {
        let asked = self.observer.ask("ECHO still here");
        // A observer in front of a closed door is told so, and is alive.
        let refused = ["FAILED 38 ", "FAILED 50 "]
            .iter()
            .any(|start| asked.starts_with(start));
        assert!(asked == "still here" || refused, "{asked}");
        assert_eq!(state_of(&self.outside()), self.before);
        let log = self.server.log();
        let bad = |line: &&String| {
            ["killed", "panicked", "gate failed"]
                .iter()
                .any(|word| line.contains(word))
        };
        assert_eq!(log.iter().find(bad), None);
    }
}

impl Drop for Scene {
    /// Nothing is left to be ended in order.
    fn drop(&mut self) {
        self.server.signal(nix::sys::signal::Signal::SIGKILL);
    }
}

/// Makes the server's user the owner of a tree, so that nothing but the
/// server's own care keeps it apart.
fn give_tree_to_server(path: &Path) {
    common::give_to_server(path);
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).expect("directory") {
            give_tree_to_server(&entry.expect("entry").path());
        }
    }
}

/// All that a change to a tree would show in: a time of change can't be set
/// back.
fn state_of(path: &Path) -> Vec<String> {
    let stat = fs::symlink_metadata(path).expect("stat");
    let changed = (
        stat.ctime(),
        stat.ctime_nsec(),
        stat.mtime(),
        stat.mtime_nsec(),
    );
    let mut states = vec![format!(
        "{} {} {:o} {} {} {} {} {changed:?}",
        path.display(),
        stat.ino(),
        stat.mode(),
        stat.uid(),
        stat.gid(),
        stat.nlink(),
        stat.size(),
    )];
    if stat.is_dir() {
        for entry in fs::read_dir(path).expect("directory") {
            states.extend(state_of(&entry.expect("entry").path()));
        }
    }
    states.sort();
    states
}

/// The process of a client that connects now.
fn connect_with_pid(scene: &mut Scene) -> (Client, u32) {
    // Its session has begun then, and is none of the others.
    scene.observer.expect_alive();
    let server = &scene.server;
    let others = pids(server, "tfd-session");
    let mut client = server.connect();
    client.expect_alive();
    let mut found = None;
    wait_until("the session", || {
        found = pids(server, "tfd-session")
            .into_iter()
            .find(|pid| !others.contains(pid));
        found.is_some()
    });
    (client, found.expect("a session"))
}

/// A number of KiB from /proc/PID/status.
fn memory_of(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .expect(field);
    line.trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number")
}

/// Runs tfd to its end: its exit code and what it said.
fn tfd(arguments: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tfd"))
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("run tfd");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// Gives a path, a link itself, to an ordinary user.
fn give_to_nobody(path: &Path) {
    let nobody = tfd::users::Identity::of("nobody").expect("nobody");
    std::os::unix::fs::lchown(path, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw()))
        .expect("lchown");
}

/// A directory that a system user may work in.
fn give_to(user: &str, path: &Path) {
    let identity = tfd::users::Identity::of(user).expect("system user");
    chown(
        path,
        Some(identity.uid.as_raw()),
        Some(identity.gid.as_raw()),
    )
    .expect("chown");
}
