//! `tf` as a person calls it: in a directory of their own, with nothing in the
//! environment but what the test puts there.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{HASH, Server, public_key, set_umask};

/// A run of a program: its exit status, its output, its complaints.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs a program to its end.
pub fn run(command: &mut Command, input: &[u8]) -> Run {
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().expect("start");
    let mut stdin = child.stdin.take().expect("input");
    let input = input.to_vec();
    // It may end before it has read all.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("wait");
    writer.join().expect("writer");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Run {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// The same arguments of `tf`, with as long for connecting as anything may take.
pub fn patiently<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    if arguments.is_empty() || arguments.contains(&"--timeout") {
        return arguments.to_vec();
    }
    [&["--timeout", "60"], arguments].concat()
}

/// A person with a home directory that has `public.pem` and `hash`.
pub struct Person {
    home: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Person {
    pub fn new() -> Person {
        set_umask();
        let home = tempfile::tempdir().expect("directory");
        let pem = public_key().public_key_to_pem().expect("pem");
        fs::write(home.path().join("public.pem"), pem).expect("write");
        fs::write(home.path().join("hash"), HASH).expect("write");
        Person {
            home,
            environment: Vec::new(),
        }
    }

    /// One whose default server is this one.
    pub fn of(server: &Server) -> Person {
        let mut person = Person::new();
        person.set("TF_SERVER", &server.address().to_string());
        person.set("TF_KEY", "public.pem");
        person.set("TF_HASH", HASH);
        person
    }

    /// Puts a variable into the environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Takes one out of it.
    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(own, _)| own != name);
    }

    /// A path in the home directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file there, with the directories on the way.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("directories");
        fs::write(path, content).expect("write");
    }

    /// The configuration, whole.
    pub fn configure(&self, text: &str) {
        self.write(".config/tf/config.toml", text);
    }

    /// A program in the home directory, with this person's environment.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("HOME", self.home.path())
            .current_dir(self.home.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn tf(&self, arguments: &[&str]) -> Run {
        self.tf_with(arguments, b"")
    }

    pub fn tf_with(&self, arguments: &[&str], input: &[u8]) -> Run {
        run(
            self.command(env!("CARGO_BIN_EXE_tf"))
                .args(patiently(arguments)),
            input,
        )
    }

    /// The output of a run that goes well and has nothing to complain about.
    #[track_caller]
    pub fn fine(&self, arguments: &[&str]) -> String {
        let run = self.tf(arguments);
        assert_eq!(run.code, Some(0), "{arguments:?}: {}{}", run.out, run.err);
        run.out
    }

    /// Asserts that a run fails so and says these words.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str], code: i32, words: &[&str]) -> Run {
        let run = self.tf(arguments);
        assert_eq!(
            run.code,
            Some(code),
            "{arguments:?}: {}{}",
            run.out,
            run.err
        );
        for word in words {
            assert!(
                run.err.contains(word),
                "{arguments:?}, \"{word}\": {}",
                run.err
            );
        }
        run
    }

    /// Runs `tf` on a terminal of its own and types these lines: all that is
    /// on it then, and the exit status.
    pub fn on_terminal(&self, arguments: &str, lines: &str) -> (String, Option<i32>) {
        let line = format!("'{}' {arguments}", env!("CARGO_BIN_EXE_tf"));
        let mut command = self.command("script");
        let run = run(
            command.args(["-qefc", &line, "/dev/null"]),
            lines.as_bytes(),
        );
        (run.out, run.code)
    }
}

/// What keepassxc-cli prints.
#[track_caller]
pub fn xc(person: &Person, arguments: &[&str], input: &str) -> String {
    let mut command = person.command("keepassxc-cli");
    command.env("QT_QPA_PLATFORM", "offscreen");
    let run = run(
        command.args(arguments).arg("-q").env("LC_ALL", "C.UTF-8"),
        input.as_bytes(),
    );
    assert_eq!(
        run.code,
        Some(0),
        "apt-get install keepassxc: {arguments:?}: {}{}",
        run.out,
        run.err
    );
    run.out
}
