//! `tf` and `tfd` as people call them: what they print, and their exit
//! statuses.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::tf::{Run, patiently, run};
use crate::common::{HASH, Server, public_key};

/// A server, a scratch directory, and `tf` in it.
struct Desk {
    server: Server,
    scratch: tempfile::TempDir,
}

impl Desk {
    fn new() -> Desk {
        let scratch = tempfile::tempdir().expect("directory");
        let pem = public_key().public_key_to_pem().expect("pem");
        fs::write(scratch.path().join("public.pem"), pem).expect("write");
        Desk {
            server: Server::start(),
            scratch,
        }
    }

    fn path(&self) -> &Path {
        self.scratch.path()
    }

    fn tf(&self, arguments: &[&str]) -> Run {
        self.tf_with(arguments, b"")
    }

    fn tf_with(&self, arguments: &[&str], input: &[u8]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tf"));
        command
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path());
        command.env("TF_SERVER", self.server.address().to_string());
        command.env("TF_KEY", "public.pem").env("TF_HASH", HASH);
        run(command.args(patiently(arguments)), input)
    }

    #[track_caller]
    fn fine(&self, arguments: &[&str]) -> String {
        let run = self.tf(arguments);
        assert_eq!(run.code, Some(0), "{arguments:?}: {}{}", run.out, run.err);
        run.out
    }
}

#[test]
fn each_command_does_what_it_says() {
    let desk = Desk::new();
    let content = b"line\nof text\n".repeat(30_000);
    fs::write(desk.path().join("big"), &content).expect("write");
    desk.fine(&["put", "big"]);
    assert!(desk.server.read("big") == content);
    desk.fine(&["mkdir", "-p", "a/b"]);
    desk.fine(&["put", "big", "a/b/"]);
    desk.fine(&["put", "big", "a/b/other"]);
    desk.fine(&["get", "a/b/other", "back"]);
    assert!(fs::read(desk.path().join("back")).expect("read") == content);
    assert_eq!(desk.fine(&["ls"]), "a/\nbig\n");
    assert_eq!(desk.fine(&["ls", "-R", "a"]), "b/\nb/big\nb/other\n");
    let long = desk.fine(&["ls", "-l", "a/b"]);
    assert_eq!(long.lines().count(), 2);
    assert!(
        long.starts_with("-rw") && long.contains(" 390000 ") && long.contains(" big\n"),
        "{long}"
    );
    let digest = desk.fine(&["sha256", "big"]);
    let expected = tfd_digest(&content);
    assert_eq!(digest, format!("{expected}  big\n"));
    desk.fine(&["mv", "big", "a"]);
    assert!(
        desk.fine(&["stat", "a/big"])
            .starts_with("a/big: file, 390000 bytes, changed 20")
    );
    assert!(
        desk.fine(&["cat", "a/big", "a/b/big"]).as_bytes() == [&content[..], &content].concat()
    );
    desk.fine(&["rm", "-r", "a"]);
    assert_eq!(desk.fine(&["ls"]), "");
    let run = desk.tf_with(&["put", "-", "from input"], b"input");
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert_eq!(desk.fine(&["get", "from input", "-"]), "input");
}

fn tfd_digest(content: &[u8]) -> String {
    openssl::sha::sha256(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn exit_statuses_tell_the_class_of_a_failure() {
    let desk = Desk::new();
    desk.server.write("f", b"x");
    let told = |arguments: &[&str], code: i32, words: &str| {
        let run = desk.tf(arguments);
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.err);
        assert!(run.err.contains(words), "{arguments:?}: {}", run.err);
    };
    told(&["get", "none"], 1, "none: no such file");
    told(&["get", "../x"], 1, "path outside the root");
    told(&["rm", "none"], 1, "none");
    told(&["frobnicate"], 2, "Usage");
    told(&["put"], 2, "Usage");
    told(&["--server", "127.0.0.1:1", "ls"], 3, "127.0.0.1:1");
    told(&["--hash", "wrong", "ls"], 4, "hash");
    told(&["--protocol-version", "9", "ls"], 4, "version");
    told(&["put", "no-such-local-file"], 7, "no-such-local-file");
    told(&["get", "f", "no-such-directory/f"], 7, "no-such-directory");
    told(&["--key", "no-such-key", "ls"], 7, "no-such-key");
    let bare = run(
        Command::new(env!("CARGO_BIN_EXE_tf")).arg("ls").env_clear(),
        b"",
    );
    assert_eq!(bare.code, Some(2));
    assert!(bare.err.contains("TF_"), "{}", bare.err);
}

#[test]
fn names_can_not_drive_the_terminal() {
    let desk = Desk::new();
    desk.server.write("a\u{1b}[2Jb", b"x");
    let listed = desk.fine(&["ls"]);
    assert!(
        !listed.contains('\u{1b}') && listed.contains("[2Jb"),
        "{listed:?}"
    );
}

#[test]
fn help_and_completions_are_there() {
    for (program, words) in [
        (env!("CARGO_BIN_EXE_tf"), ["put", "TF_SERVER"]),
        (env!("CARGO_BIN_EXE_tfd"), ["keygen", "user"]),
    ] {
        let help = run(Command::new(program).arg("--help"), b"");
        assert_eq!(help.code, Some(0));
        assert!(
            words.iter().all(|word| help.out.contains(word)),
            "{}",
            help.out
        );
        for shell in ["bash", "zsh", "fish"] {
            let script = run(Command::new(program).args(["completions", shell]), b"");
            assert_eq!(script.code, Some(0), "{}", script.err);
            let words = ["complete", "compdef"];
            let is_one = words.iter().any(|word| script.out.contains(word));
            assert!(is_one, "{shell}: {}", script.out);
        }
    }
}

#[test]
fn keygen_never_overwrites_and_keeps_the_private_key_private() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().expect("directory");
    let keygen = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
        run(command.args(["keygen", "--out"]).arg(scratch.path()), b"")
    };
    assert_eq!(keygen().code, Some(0));
    let private = scratch.path().join("private.pem");
    let before = fs::read(&private).expect("key");
    assert_eq!(
        fs::metadata(&private).expect("stat").permissions().mode() & 0o777,
        0o600
    );
    let again = keygen();
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("private.pem"), "{}", again.err);
    assert!(fs::read(&private).expect("key") == before);
}

#[test]
fn a_key_that_moved_to_the_server_section_is_refused_with_its_new_place() {
    let server = Server::start();
    let fine = fs::read_to_string(server.config_path()).expect("read");
    let path = server.config_path().with_file_name("moved.toml");
    let moved = "root = \"/srv\"\nidle_timeout = 5\n";
    let text = fine.replacen("[tf]\n", &format!("[tf]\n{moved}"), 1);
    fs::write(&path, &text).expect("write");
    let line = 1 + text
        .lines()
        .position(|line| line == "idle_timeout = 5")
        .expect("line");
    for command in ["check", "serve"] {
        let mut tfd = Command::new(env!("CARGO_BIN_EXE_tfd"));
        let run = run(tfd.args([command, "--config"]).arg(&path), b"");
        assert_eq!(run.code, Some(1), "{command}: {}", run.err);
        for said in [
            format!(
                "{}:{}: tf.root: moved to [server]",
                path.display(),
                line - 1
            ),
            format!(
                "{}:{line}: tf.idle_timeout: moved to [server]: write idle_timeout there",
                path.display()
            ),
        ] {
            assert!(run.err.contains(&said), "{command}: {said}: {}", run.err);
        }
        assert!(!run.err.contains("/srv"), "{}", run.err);
    }
}

#[test]
fn a_bad_start_says_what_and_where_in_one_line_and_starts_nothing() {
    let server = Server::start();
    let fine = fs::read_to_string(server.config_path()).expect("read");
    let path = server.config_path().with_file_name("bad.toml");
    let taken = server.address().to_string();
    for (from, to, said) in [
        ("127.0.0.1:0", taken.as_str(), "can't listen"),
        ("root = \"", "root = \"/no-such-root", "/no-such-root"),
        ("private.pem", "no.pem", "no.pem"),
        ("hash = ", "hsah = ", "hsah"),
        ("log = \"debug\"", "log = \"loud\"", "loud"),
    ] {
        fs::write(&path, fine.replacen(from, to, 1)).expect("write");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
        let run = run(command.args(["serve", "--config"]).arg(&path), b"");
        assert_eq!(run.code, Some(1), "{said}: {}", run.err);
        assert!(run.err.contains(said), "{said}: {}", run.err);
        let complaints = run
            .err
            .lines()
            .filter(|line| line.starts_with("tfd: "))
            .count();
        assert_eq!(complaints, 1, "{}", run.err);
    }
}
