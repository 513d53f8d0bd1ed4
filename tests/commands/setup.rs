//! `tfd setup`: what it makes is served as it stands, and the file it makes for
//! clients is all that they need.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};

use super::common::tf::{Person, Run, run};
use super::common::{is_root, set_umask};

const TFD: &str = env!("CARGO_BIN_EXE_tfd");

/// A directory that the server's user may pass through.
fn scratch() -> tempfile::TempDir {
    set_umask();
    let dir = tempfile::tempdir().expect("directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    dir
}

fn setup(dir: &Path, more: &[&str]) -> Run {
    let mut command = Command::new(TFD);
    command.args([
        "setup",
        "--address",
        "127.0.0.1",
        "--port",
        "0",
        "--name",
        "127.0.0.1",
    ]);
    command
        .arg("--dir")
        .arg(dir.join("etc"))
        .arg("--root")
        .arg(dir.join("srv/root"));
    run(command.args(more), b"")
}

/// A running tfd, ended with the test.
struct Running(Child);

impl Running {
    /// Starts it; where it listens, in plain and with TLS.
    fn start(dir: &Path) -> (Running, [String; 2]) {
        let mut command = Command::new(TFD);
        command
            .arg("serve")
            .arg("--config")
            .arg(dir.join("etc/tfd.toml"));
        let mut running = Running(command.stderr(Stdio::piped()).spawn().expect("start"));
        let log = running.0.stderr.take().expect("log");
        let mut listening = [String::new(), String::new()];
        for line in BufReader::new(log).lines() {
            let line = line.expect("line");
            for (begin, place) in [
                ("listening address=", 0),
                ("listening with TLS address=", 1),
            ] {
                if let Some((_, address)) = line.split_once(begin) {
                    listening[place] = address.trim().to_owned();
                }
            }
            if line.contains(" ready ") {
                break;
            }
        }
        (running, listening)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).expect("pid");
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// The file for clients, with the ports that were taken.
fn handed_over(dir: &Path, listening: &[String; 2]) -> String {
    let text = fs::read_to_string(dir.join("etc/client.toml")).expect("client.toml");
    let [plain, tls] = listening;
    text.replacen("127.0.0.1:0", tls, 1)
        .replacen("127.0.0.1:0", plain, 1)
}

/// The hash in the file for clients.
fn hash_of(dir: &Path) -> String {
    let text = fs::read_to_string(dir.join("etc/client.toml")).expect("client.toml");
    let line = text.lines().find_map(|line| line.strip_prefix("hash = \""));
    line.expect("a hash").trim_end_matches('"').to_owned()
}

/// What stands behind a word in the report.
fn told<'a>(run: &'a Run, word: &str) -> &'a str {
    let line = run
        .out
        .lines()
        .find_map(|line| line.trim().strip_prefix(word));
    line.unwrap_or_else(|| panic!("no {word}: {run:?}")).trim()
}

#[test]
fn one_command_sets_up_what_clients_use_with_one_file() {
    let dir = scratch();
    let made = setup(dir.path(), &["--user", "nobody"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.out.contains("configuration ok"), "{made:?}");
    let mode = |name: &str| {
        fs::metadata(dir.path().join(name))
            .expect(name)
            .permissions()
            .mode()
            & 0o777
    };
    for (name, expected) in [
        ("etc/private.pem", 0o600),
        ("etc/tls-key.pem", 0o600),
        ("etc/tfd.toml", 0o600),
        ("etc/client.toml", 0o600),
        ("etc/public.pem", 0o644),
        ("etc/tls.pem", 0o644),
        ("srv/root", 0o750),
    ] {
        assert_eq!(mode(name), expected, "{name}");
    }
    let owner = fs::metadata(dir.path().join("srv/root"))
        .expect("root")
        .uid();
    let nobody = User::from_name("nobody")
        .expect("users")
        .expect("nobody")
        .uid
        .as_raw();
    assert_eq!(owner == nobody, is_root());

    let (_running, listening) = Running::start(dir.path());
    // What is printed may be logged: apt keeps it where others can read it.
    assert!(!made.out.contains(&hash_of(dir.path())), "{made:?}");
    // The command for tf as it is printed.
    let person = Person::new();
    assert!(
        made.out.contains("tf trust files --from client.toml"),
        "{made:?}"
    );
    person.write("client.toml", handed_over(dir.path(), &listening));
    let trusted = person.tf(&["trust", "files", "--from", "client.toml"]);
    assert_eq!(trusted.code, Some(0), "{trusted:?}");
    person.write("file", "content");
    person.fine(&["put", "file", "files:"]);
    assert_eq!(person.fine(&["cat", "files:file"]), "content");

    // Those without TLS take the key and its fingerprint.
    let pem = fs::read(dir.path().join("etc/public.pem")).expect("key");
    person.write("theirs.pem", pem);
    person.write("hash", hash_of(dir.path()));
    let fingerprint = told(&made, "fingerprint");
    let trust = [
        "trust",
        "plain",
        "--hash-file",
        "hash",
        "--fingerprint",
        fingerprint,
    ];
    let key = ["--key", "theirs.pem", "--server", &listening[0]];
    person.fine(&[&trust[..], &key].concat());
    assert_eq!(person.fine(&["ls", "plain:"]), "file\n");
}

#[test]
fn what_is_there_stays() {
    let dir = scratch();
    assert_eq!(setup(dir.path(), &["--user", "nobody"]).code, Some(0));
    let files = || {
        let entries = fs::read_dir(dir.path().join("etc")).expect("directory");
        let mut files: Vec<_> = entries
            .map(|entry| entry.expect("entry").path())
            .map(|path| (fs::read(&path).expect("file"), path))
            .collect();
        files.sort();
        files
    };
    let before = files();
    let again = setup(dir.path(), &["--user", "nobody"]);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("tfd.toml exists"), "{again:?}");
    assert!(again.err.contains("tfd show-client"), "{again:?}");
    assert!(files() == before);

    // One that was stopped before its end goes on with the keys that are there.
    fs::remove_file(dir.path().join("etc/tfd.toml")).expect("remove");
    assert_eq!(setup(dir.path(), &["--user", "nobody"]).code, Some(0));
    let kept = |files: Vec<(Vec<u8>, _)>| -> Vec<_> {
        let is_key = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "pem");
        files.into_iter().filter(|(_, path)| is_key(path)).collect()
    };
    let (after, before) = (kept(files()), kept(before));
    assert!(after.len() == 4 && after == before);
}

#[test]
fn each_server_has_a_hash_of_its_own() {
    let (one, other) = (scratch(), scratch());
    let hash = |dir: &tempfile::TempDir| {
        assert_eq!(setup(dir.path(), &["--user", "nobody"]).code, Some(0));
        hash_of(dir.path())
    };
    let (one, other) = (hash(&one), hash(&other));
    assert!(one != other && one.len() == 32 && other.len() == 32);
}

#[test]
fn in_multi_user_mode_accounts_are_the_next_step() {
    if !is_root() {
        eprintln!("left out: it needs root");
        return;
    }
    let dir = scratch();
    let made = setup(dir.path(), &["--user", "nobody", "--multi-user"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(
        made.out.contains("tfd user add") && made.out.contains("install -d"),
        "{made:?}"
    );
    // The users of accounts can enter it.
    let root = dir.path().join("srv/root").metadata().expect("root");
    assert_eq!(root.permissions().mode() & 0o777, 0o755);
    let config = dir.path().join("etc/tfd.toml");
    let mut add = Command::new(TFD);
    add.args([
        "user",
        "add",
        "ann",
        "--system-user",
        "nobody",
        "--password-stdin",
        "--config",
    ]);
    let added = run(add.arg(config), b"secret\n");
    assert_eq!(added.code, Some(0), "{added:?}");
    let (_running, listening) = Running::start(dir.path());
    let person = Person::new();
    person.write("password", "secret");
    let mut show = Command::new(TFD);
    show.arg("show-client")
        .arg("--config")
        .arg(dir.path().join("etc/tfd.toml"));
    let shown = run(show.arg("ann"), b"");
    assert!(shown.out.contains("user = \"ann\""), "{shown:?}");
    let mut nobody = Command::new(TFD);
    nobody
        .arg("show-client")
        .arg("--config")
        .arg(dir.path().join("etc/tfd.toml"));
    let refused = run(nobody.arg("eve"), b"");
    assert!(
        refused.code == Some(1) && refused.err.contains("no account eve"),
        "{refused:?}"
    );
    person.write(
        "client.toml",
        shown.out.replacen("127.0.0.1:0", &listening[1], 1),
    );
    let trust = [
        "trust",
        "s",
        "--from",
        "client.toml",
        "--password-file",
        "password",
    ];
    person.fine(&trust);
    assert!(person.fine(&["servers"]).contains("ann@"));
    person.fine(&["mkdir", "s:theirs"]);
}

/// A system user that is gone with the test.
struct SystemUser(String);

impl Drop for SystemUser {
    fn drop(&mut self) {
        let _ = Command::new("userdel").arg(&self.0).output();
    }
}

#[test]
fn a_missing_system_user_is_made() {
    if !is_root() {
        eprintln!("left out: it needs root");
        return;
    }
    let dir = scratch();
    let user = SystemUser(format!("tfd-test-{}", std::process::id()));
    let made = setup(dir.path(), &["--user", &user.0]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let found = User::from_name(&user.0).expect("users").expect("made");
    assert_eq!(found.shell, Path::new("/usr/sbin/nologin"));
    let root = fs::metadata(dir.path().join("srv/root")).expect("root");
    assert_eq!(
        (root.uid(), root.mode() & 0o777),
        (found.uid.as_raw(), 0o750)
    );
}

#[test]
fn what_is_in_the_way_is_told_and_no_configuration_is_left() {
    let dir = scratch();
    fs::write(dir.path().join("etc"), "a file").expect("write");
    let refused = setup(dir.path(), &["--user", "nobody"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("etc: "), "{refused:?}");
    if is_root() {
        let dir = scratch();
        let refused = setup(dir.path(), &["--user", "no such user"]);
        assert_eq!(refused.code, Some(1));
        assert!(
            refused.err.contains("--user") && !dir.path().join("etc").exists(),
            "{refused:?}"
        );
    }
}

#[test]
fn one_command_gives_a_configuration_a_hub() {
    if !is_root() {
        eprintln!("left out: it needs root");
        return;
    }
    let dir = scratch();
    let config = dir.path().join("etc/tfd.toml");
    let set_up = |name: &str| {
        let mut command = Command::new(TFD);
        command.args(["hub", "setup", "--user", "games", "--address", "127.0.0.1"]);
        command.args(["--port", "0", "--name", name, "--data"]);
        command.arg(dir.path().join("lib/hub"));
        run(command.arg("--config").arg(&config), b"")
    };
    // A wrong name changes nothing.
    let wrong = set_up("two words");
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.err.contains("nothing was changed"), "{wrong:?}");
    assert!(!config.exists());
    let made = set_up("hub.example.org");
    assert_eq!(made.code, Some(0), "{made:?}");
    assert_eq!(told(&made, "TLS pin").len(), 43, "{made:?}");
    let text = fs::read(&config).expect("configuration");
    let again = set_up("hub.example.org");
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.out.contains("stays as it is"), "{again:?}");
    let other = set_up("other.example.org");
    assert!(other.err.contains("keeps its name"), "{other:?}");
    assert!(fs::read(&config).expect("configuration") == text);
    // It is served as it stands, and lets users in.
    let (_running, listening) = Running::start(dir.path());
    assert!(listening[1].starts_with("127.0.0.1:"), "{listening:?}");
    let mut add = Command::new(TFD);
    add.args(["hub", "user", "add", "anna", "--config"]);
    let code = run(add.arg(&config), b"");
    assert_eq!(code.out.trim().len(), 19, "{code:?}");
}
