//! An operator ends the session of a running transfer by `tfd kick`. Needs root, for
//! accounts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::{Server, Setup, account, is_root, wait_until};
use crate::desk::{Desk, Run, content};
use crate::relay::{Link, Relay};

/// A transfer of this takes ten seconds, unless the link becomes faster.
const SIZE: usize = 20_000_000;
const RATE: u64 = 2_000_000;

/// The largest part in a directory, in bytes.
fn part(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("names").flatten();
    let parts = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".part"));
    parts
        .map(|entry| entry.metadata().map_or(0, |part| part.len()))
        .max()
        .unwrap_or(0)
}

fn remove_parts(directory: &Path) {
    for entry in fs::read_dir(directory).expect("names").flatten() {
        if entry.file_name().to_string_lossy().ends_with(".part") {
            fs::remove_file(entry.path()).expect("remove");
        }
    }
}

struct Scene {
    desk: Desk,
    relay: Relay,
    expected: Vec<u8>,
}

impl Scene {
    fn new() -> Scene {
        let mut desk = Desk::at(Server::with(Setup {
            server: "mode = \"multi-user\"\nusers = \"users\"\ncontrol = \"control\"".to_owned(),
            users: account("ann", "a", "games:::"),
            ..Setup::default()
        }));
        let anybody = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(desk.server.root(), anybody).expect("mode");
        let link = Link {
            delay: Duration::from_millis(1),
            rate: RATE,
        };
        let relay = Relay::start(desk.address, link, Box::new(|| None));
        desk.address = relay.address;
        let expected = content(SIZE, 1);
        desk.write("password", "a\n");
        desk.write("up/source", &expected);
        desk.server.write("source", &expected);
        Scene {
            desk,
            relay,
            expected,
        }
    }

    /// Starts a transfer, and waits until a part of the file has arrived.
    fn start(&self, transfer: &str) -> Child {
        self.relay.set_rate(RATE);
        let login = ["--user", "ann", "--password-file", "password"];
        let (what, arrives) = match transfer {
            "put" => (["put", "up/source", "there"], self.desk.server.path("")),
            _ => (["get", "source", "here"], self.desk.path("")),
        };
        let mut command = self.desk.command(&[&login[..], &what].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("tf");
        wait_until("a part of the file", || part(&arrives) > 1_000_000);
        child
    }

    /// Runs `tfd kick`, which must end a session.
    fn kick(&self, how: &[&str]) {
        let config = self.desk.server.config_path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
        command.args(["kick", "--user", "ann"]).args(how);
        command.arg("--config").arg(&config).arg("--control");
        command.arg(config.with_file_name("control"));
        let output = command.output().expect("tfd");
        assert!(output.status.success(), "{how:?}: {output:?}");
    }

    fn end(&self, child: Child) -> Run {
        self.relay.set_rate(0);
        child.wait_with_output().expect("tf").into()
    }
}

#[test]
fn a_kicked_transfer_says_so_and_continues_over_a_new_session() {
    if !is_root() {
        println!("left out: accounts need root");
        return;
    }
    let scene = Scene::new();
    for transfer in ["put", "get"] {
        let child = scene.start(transfer);
        scene.kick(&[]);
        let run = scene.end(child);
        assert_eq!(run.code, Some(0), "{transfer}: {}", run.err);
        let said = ["connection lost", "attempt 1 of 10"];
        assert!(
            said.iter().all(|word| run.err.contains(word)),
            "{}",
            run.err
        );
    }
    assert!(scene.desk.server.read("there") == scene.expected);
    assert!(scene.desk.read("here") == scene.expected);
}

#[test]
fn a_transfer_whose_account_is_kept_out_ends_with_the_reason_and_status_4() {
    if !is_root() {
        println!("left out: accounts need root");
        return;
    }
    let scene = Scene::new();
    for (transfer, how, why) in [
        ("put", &["--for", "10m"][..], "barred by the operator until"),
        ("get", &["--for", "10m"], "barred by the operator until"),
        ("put", &["--lock"], "the account is locked"),
        ("get", &["--lock"], "the account is locked"),
    ] {
        let child = scene.start(transfer);
        scene.kick(how);
        let run = scene.end(child);
        assert_eq!(run.code, Some(4), "{transfer} {how:?}: {}", run.err);
        assert!(run.err.contains(why), "{transfer} {how:?}: {}", run.err);
        assert!(
            run.err.contains("repeat the command to continue"),
            "{transfer} {how:?}: {}",
            run.err
        );
        let config = scene.desk.server.config_path();
        let mut unlock = Command::new(env!("CARGO_BIN_EXE_tfd"));
        unlock
            .args(["user", "unlock", "ann", "--config"])
            .arg(config);
        assert!(unlock.output().expect("tfd").status.success());
        remove_parts(&scene.desk.server.path(""));
        remove_parts(&scene.desk.path(""));
    }
    assert!(!scene.desk.server.exists("there") && !scene.desk.path("here").exists());
}
