//! The operator's side: odd umasks, output that goes nowhere, fields that would
//! break the users file, a check beside the tfd that runs, reloads that fail
//! halfway, an audit log on a full disk.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::common::disk::SmallDisk;
use crate::common::tf::{Run, run};
use crate::common::{Server, Setup, is_root, wait_until};

const TFD: &str = env!("CARGO_BIN_EXE_tfd");

fn tfd(arguments: &[&str]) -> Command {
    let mut command = Command::new(TFD);
    command.args(arguments);
    command
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("stat").permissions().mode() & 0o777
}

#[test]
fn what_setup_makes_has_its_modes_whatever_the_umask() {
    for umask in ["000", "027", "077"] {
        let dir = tempfile::tempdir().expect("directory");
        let mut command = Command::new("sh");
        let line = "umask $1; exec \"$2\" setup --user nobody --address 127.0.0.1 --port 0 \
                    --name localhost --dir \"$3/etc\" --root \"$3/srv/all/root\"";
        command.args(["-c", line, "sh", umask, TFD]).arg(dir.path());
        let made = run(&mut command, b"");
        assert_eq!(made.code, Some(0), "{umask}: {made:?}");
        for (name, expected) in [
            ("etc", 0o755),
            ("etc/private.pem", 0o600),
            ("etc/public.pem", 0o644),
            ("etc/tls.pem", 0o644),
            ("etc/tls-key.pem", 0o600),
            ("etc/tfd.toml", 0o600),
            ("etc/client.toml", 0o600),
            ("srv/all", 0o755),
            ("srv/all/root", 0o750),
        ] {
            assert_eq!(mode(&dir.path().join(name)), expected, "{umask}: {name}");
        }
    }
}

#[test]
fn a_setup_that_was_stopped_between_the_keys_makes_the_public_one() {
    let dir = tempfile::tempdir().expect("directory");
    let (etc, root) = (dir.path().join("etc"), dir.path().join("root"));
    let setup = || {
        let mut command = tfd(&["setup", "--user", "nobody", "--address", "127.0.0.1"]);
        command
            .args(["--port", "0", "--name", "localhost", "--dir"])
            .arg(&etc);
        run(command.arg("--root").arg(&root), b"")
    };
    assert_eq!(setup().code, Some(0));
    let public = fs::read(etc.join("public.pem")).expect("public key");
    for name in ["public.pem", "tfd.toml"] {
        fs::remove_file(etc.join(name)).expect("remove");
    }
    let again = setup();
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(fs::read(etc.join("public.pem")).expect("public key") == public);
}

#[test]
fn output_that_nobody_reads_or_that_has_no_room_is_no_crash() {
    let dir = tempfile::tempdir().expect("directory");
    let keys = dir.path().join("keys").display().to_string();
    let server = Server::start();
    let config = server.config_path().display().to_string();
    let full = || {
        OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full")
    };
    for (arguments, to_full, code) in [
        (&["check", "--config", &config][..], false, 0),
        (&["check", "--config", &config], true, 1),
        (&["completions", "bash"], true, 1),
        (&["completions", "bash"], false, 0),
        (&["keygen", "--out", &keys], true, 1),
    ] {
        let (reader, writer) = std::io::pipe().expect("pipe");
        drop(reader);
        let mut command = tfd(arguments);
        command.stdout(if to_full {
            Stdio::from(full())
        } else {
            Stdio::from(writer)
        });
        let output = command.stderr(Stdio::piped()).output().expect("run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert_eq!(
            said.contains("standard output"),
            to_full,
            "{arguments:?}: {said}"
        );
    }
    assert!(dir.path().join("keys/public.pem").exists());
}

#[test]
fn no_field_breaks_the_users_file() {
    let dir = tempfile::tempdir().expect("directory");
    let file = dir.path().join("users");
    let add = |more: &[&str]| {
        let mut command = tfd(&["user", "--users"]);
        command
            .arg(&file)
            .args(["add", "ann", "--system-user", "nobody", "--password-stdin"]);
        run(command.args(more), b"secret\n")
    };
    for more in [
        ["--home", "a\nbob:!:nobody:"],
        ["--home", "a\rb"],
        ["--home", "a\u{1b}b"],
        ["--home", "a:b"],
        ["--options", "max=1,max=2"],
        ["--options", "read-only,append-only"],
    ] {
        let Run { code, err, .. } = add(&more);
        assert_eq!(code, Some(1), "{more:?}: {err}");
        assert!(!file.exists(), "{more:?}");
    }
    assert_eq!(add(&["--home", "a b#c"]).code, Some(0));
    let listed = run(tfd(&["user", "--users"]).arg(&file).arg("list"), b"");
    assert!(
        listed.code == Some(0) && listed.out.contains("/a b#c"),
        "{listed:?}"
    );
}

#[test]
fn the_list_of_accounts_has_columns_whatever_is_in_it() {
    let dir = tempfile::tempdir().expect("directory");
    let file = dir.path().join("users");
    for more in [
        &["a", "--system-user", "nobody"][..],
        &[
            "long-name",
            "--system-user",
            "games",
            "--expiry",
            "2090-12-31",
        ],
        &[
            "b",
            "--system-user",
            "nobody",
            "--home",
            "y",
            "--options",
            "read-only,max=4",
        ],
    ] {
        let mut add = tfd(&["user", "--users"]);
        add.arg(&file).args(["add", "--password-stdin"]).args(more);
        let added = run(&mut add, b"secret\n");
        assert_eq!(added.code, Some(0), "{added:?}");
    }
    let listed = run(tfd(&["user", "--users"]).arg(&file).arg("list"), b"");
    let lines: Vec<&str> = listed.out.lines().collect();
    assert_eq!(lines.len(), 4, "{listed:?}");
    let home = lines[0].find("HOME").expect("a heading");
    for line in &lines[1..] {
        assert_eq!(line.find('/'), Some(home), "{}", listed.out);
    }
}

#[test]
fn a_check_passes_over_what_the_tfd_that_runs_listens_on_and_nothing_else() {
    let server = Server::with(Setup {
        server: "control = \"control\"".to_owned(),
        tf: format!("listen = [\"127.0.0.1:{}\"]", free_port()),
        ..Setup::default()
    });
    let check = |config: &Path| run(tfd(&["check", "--config"]).arg(config), b"");
    let checked = check(&server.config_path());
    assert_eq!(checked.code, Some(0), "{checked:?}");
    // Another configuration could not be served beside it.
    let other = server.config_path().with_file_name("other.toml");
    fs::copy(server.config_path(), &other).expect("copy");
    let refused = check(&other);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("can't listen") && refused.err.contains("ss -ltnup"));
    // A log that could not be begun is told before tfd is started again.
    let text = fs::read_to_string(&other).expect("read");
    for key in ["log_file", "audit"] {
        let line = format!("{key} = \"/no-such-directory/log\"\n[tf]");
        fs::write(&other, text.replacen("[tf]", &line, 1)).expect("write");
        let refused = check(&other);
        assert!(
            refused.err.contains(&format!("server.{key}: /no-such-dir")),
            "{refused:?}"
        );
    }
    // Nor could an address that it does not listen on.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let taken = taken
        .local_addr()
        .map(|address| (taken, address))
        .expect("address");
    let text = fs::read_to_string(server.config_path()).expect("read");
    let more = format!("\", \"{}\"]", taken.1);
    fs::write(server.config_path(), text.replacen("\"]", &more, 1)).expect("write");
    let refused = check(&server.config_path());
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(
        refused.err.matches("can't listen").count(),
        1,
        "{refused:?}"
    );
}

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    socket.local_addr().expect("address").port()
}

#[test]
fn a_reload_that_fails_at_its_end_has_changed_nothing() {
    let server = "control = \"control\"\nmetrics = \"./metrics\"".to_owned();
    let mut server = Server::with(Setup {
        server,
        ..Setup::default()
    });
    let text = fs::read_to_string(server.config_path()).expect("read");
    let place = |name: &str| server.config_path().with_file_name(name);
    let (control, log) = (place("control"), place("other.log"));
    let (moved, metrics) = (place("moved"), place("moved-metrics"));
    let changed = text
        .replacen("\"control\"", "\"moved\"", 1)
        .replacen("\"./metrics\"", "\"./moved-metrics\"", 1)
        .replacen(
            "[tf]",
            "log_file = \"other.log\"\naudit = \"none/audit.jsonl\"\n[tf]",
            1,
        );
    let no_way = changed.replacen("./moved-metrics", "./none/metrics", 1);
    let no_way = no_way.replacen("none/audit", "audit", 1);
    for (text, count) in [(&changed, 1), (&no_way, 2)] {
        fs::write(server.config_path(), text).expect("write");
        server.signal(Signal::SIGHUP);
        server.wait_for_lines("configuration not taken over", count);
    }
    let told = server.log();
    for key in ["server.audit: ", "server.metrics: "] {
        let fits = |line: &String| line.contains("not taken over") && line.contains(key);
        assert!(told.iter().any(fits), "{key}: {told:#?}");
    }
    assert!(!moved.exists() && !metrics.exists());
    let status = run(tfd(&["status", "--control"]).arg(&control), b"");
    assert_eq!(status.code, Some(0), "{status:?}");
    let written = fs::read_to_string(&log).unwrap_or_default();
    assert_eq!(written, "", "the log went on elsewhere");
    server.connect().expect_alive();

    // With the directory there all of it is taken over.
    fs::write(server.config_path(), &changed).expect("write");
    fs::create_dir(log.with_file_name("none")).expect("mkdir");
    server.signal(Signal::SIGHUP);
    wait_until("the log in its new file", || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("configuration read again"))
    });
    assert!(moved.exists() && metrics.exists() && !control.exists());
    server.connect().expect("MKDIR d", 0);
    let audit = log.with_file_name("none/audit.jsonl");
    wait_until("a record", || {
        fs::read_to_string(&audit).is_ok_and(|log| log.contains("MKDIR"))
    });
}

#[test]
fn a_full_disk_ends_no_session_and_spoils_one_audit_record_at_most() {
    let Some(disk) = SmallDisk::mount(1) else {
        return;
    };
    assert!(is_root());
    let (audit, fill) = (disk.path().join("audit.jsonl"), disk.path().join("fill"));
    let lines = format!("audit = \"{}\"", audit.display());
    let mut server = Server::with(Setup {
        server: lines,
        ..Setup::default()
    });
    let mut client = server.connect();
    client.expect("MKDIR before", 0);
    wait_until("the first record", || {
        fs::read_to_string(&audit).is_ok_and(|log| log.contains("before"))
    });
    // All but a page, of which a part is used.
    fs::write(&fill, vec![0; (1 << 20) - 4096]).expect("fill");
    let name = "n".repeat(200);
    for number in 0..60 {
        client.expect(format!("MKDIR {number}{name}"), 0);
    }
    server.wait_for_log("audit log not written");
    let short = fs::read(&audit).expect("read");
    assert_ne!(
        short.last(),
        Some(&b'\n'),
        "the disk was full at the end of a line"
    );
    fs::remove_file(&fill).expect("remove");
    client.expect("MKDIR after", 0);
    wait_until("the record behind it", || {
        fs::read_to_string(&audit).is_ok_and(|log| log.contains("\"path\":\"after\""))
    });
    let log = fs::read_to_string(&audit).expect("read");
    let broken = log.lines().filter(|line| !line.ends_with('}')).count();
    assert_eq!(broken, 1, "{log}");
    assert!(
        log.lines()
            .last()
            .is_some_and(|line| line.starts_with("{\"time\"")),
        "{log}"
    );
    let again = server
        .log()
        .iter()
        .filter(|line| line.contains("audit log not written"))
        .count();
    assert!(again >= 1 && server.log().iter().any(|line| line.contains("record=\"{")));
}
