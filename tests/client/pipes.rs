//! Output that nobody takes: transfers go on, and what can't be written is
//! told.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use crate::common::{Server, Setup, account, is_root, wait_until};
use crate::desk::{Desk, Run, content, tree};

#[test]
fn a_mirror_goes_on_when_its_reader_has_seen_enough() {
    let desk = Desk::new();
    for number in 0..300 {
        desk.write(&format!("t/{number}"), "x");
    }
    let mut command = desk.command(&["mirror", "t", ":t"]);
    let (reader, writer) = std::io::pipe().expect("pipe");
    drop(reader);
    let run: Run = command.stdout(writer).output().expect("tf").into();
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
    assert!(tree(&desk.server.path("t")) == tree(&desk.path("t")));
}

#[test]
fn a_mirror_goes_on_when_its_output_is_full_and_says_so() {
    let desk = Desk::new();
    desk.write("t/a", "x");
    desk.write("t/b", "x");
    let full = || File::options().write(true).open("/dev/full").expect("open");
    for json in [&[][..], &["--json"]] {
        let arguments = [json, &["mirror", "-c", "t", ":t"]].concat();
        let run: Run = desk
            .command(&arguments)
            .stdout(full())
            .output()
            .expect("tf")
            .into();
        assert_eq!(run.code, Some(7), "{}", run.err);
        assert!(
            run.err.contains("standard output: No space left"),
            "{}",
            run.err
        );
        assert!(tree(&desk.server.path("t")) == tree(&desk.path("t")));
        desk.fine(&["rm", "-r", "t"]);
    }
    // Nor does a log that can take no complaint end it.
    desk.write("t/c", "x");
    std::os::unix::fs::symlink("a", desk.path("t/link")).expect("link");
    let mut command = desk.command(&["put", "-r", "missing", "t"]);
    let status = command
        .stdout(Stdio::null())
        .stderr(full())
        .status()
        .expect("tf");
    assert_eq!(status.code(), Some(7));
}

#[test]
fn operators_see_standard_input_by_the_name_it_will_have() {
    let desk = Desk::at(Server::with(Setup {
        server: "control = \"control\"\naudit = \"audit.jsonl\"".to_owned(),
        ..Setup::default()
    }));
    let beside = |name: &str| desk.server.config_path().with_file_name(name);
    let mut command = desk.command(&["put", "-", ":my report"]);
    let mut put = command.stdin(Stdio::piped()).spawn().expect("tf");
    let mut input = put.stdin.take().expect("input");
    input.write_all(&[7; 300_000]).expect("write");
    wait_until("its name in the status", || {
        let mut status = Command::new(env!("CARGO_BIN_EXE_tfd"));
        status.arg("status").arg("--control").arg(beside("control"));
        let output = status.output().expect("tfd status");
        String::from_utf8_lossy(&output.stdout).contains("PUT my report")
    });
    drop(input);
    assert!(put.wait().expect("tf").success());
    assert_eq!(desk.server.read("my report").len(), 300_000);
    wait_until("its name in the audit log", || {
        let audit = fs::read_to_string(beside("audit.jsonl")).unwrap_or_default();
        let put = audit.lines().find(|line| line.contains("\"PUT\""));
        put.is_some_and(|line| line.contains("\"my report\""))
    });
}

/// Starts `tf put` of standard input, and writes to it.
fn piped(desk: &Desk, arguments: &[&str], input: &[u8]) -> Child {
    let mut command = desk.command(arguments);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut put = command.spawn().expect("tf");
    let sent = put.stdin.as_mut().expect("input").write_all(input);
    sent.expect("write");
    put
}

fn ended(put: Child) -> Run {
    put.wait_with_output().expect("tf").into()
}

#[test]
fn standard_input_keeps_a_private_file_private() {
    for desk in [Desk::new(), Desk::without_extension()] {
        let mode = |name: &str| {
            let found = fs::metadata(desk.server.path(name)).expect("stat");
            found.permissions().mode() & 0o777
        };
        desk.server.write("secret", "old");
        fs::set_permissions(
            desk.server.path("secret"),
            fs::Permissions::from_mode(0o600),
        )
        .expect("mode");
        let bytes = content(300_000, 1);
        for (arguments, name) in [
            (&["put", "--mode", "600", "-", ":secret"][..], "secret"),
            (&["put", "--mode", "640", "-", ":new"], "new"),
        ] {
            let put = piped(&desk, arguments, &bytes);
            let part = || {
                let names = fs::read_dir(desk.server.root()).expect("names").flatten();
                let mut parts = names.filter(|entry| {
                    let name = entry.file_name();
                    name.to_string_lossy().ends_with(".part")
                });
                parts.next()?.metadata().ok().filter(|part| part.len() > 0)
            };
            wait_until("a part", || part().is_some());
            let narrow = part().expect("part").permissions().mode() & 0o777;
            assert_eq!(narrow, 0o600, "{name}");
            let run = ended(put);
            assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{name}");
            assert!(desk.server.read(name) == bytes);
        }
        assert_eq!((mode("secret"), mode("new")), (0o600, 0o640));
    }
    // The server says which mode the old file has.
    let desk = Desk::new();
    desk.fine(&["touch", "secret"]);
    desk.fine(&["chmod", "600", "secret"]);
    let run = ended(piped(&desk, &["put", "-", ":secret"], b"new"));
    assert_eq!(run.code, Some(0), "{}", run.err);
    let found = fs::metadata(desk.server.path("secret")).expect("stat");
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    assert_eq!(desk.server.read("secret"), b"new");
    let run = desk.tf(&["put", "--mode", "600", "public.pem"]);
    assert_eq!(run.code, Some(2));
    assert!(
        run.err.contains("--mode is for standard input"),
        "{}",
        run.err
    );
}

#[test]
fn an_append_only_account_may_send_standard_input() {
    if !is_root() {
        println!("left out: accounts need root");
        return;
    }
    for tf in ["", "extension = false"] {
        let desk = Desk::at(Server::with(Setup {
            server: "mode = \"multi-user\"\nusers = \"users\"".to_owned(),
            tf: tf.to_owned(),
            users: account("backup", "b", "nobody::append-only:"),
            ..Setup::default()
        }));
        desk.write("password", "b");
        let login = ["--user", "backup", "--password-file", "password"];
        let put = [&login[..], &["put", "-", ":dump"]].concat();
        let bytes = content(1_000_000, 1);
        let run = ended(piped(&desk, &put, &bytes));
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{tf}");
        assert!(desk.server.read("dump") == bytes);
        let run = ended(piped(&desk, &put, b"other"));
        assert_eq!(run.code, Some(1), "{}", run.err);
        assert!(run.err.contains("dump: exists already"), "{}", run.err);
        assert!(desk.server.read("dump") == bytes);
        assert_eq!(desk.server.names(""), ["dump"], "{tf}");
    }
}
