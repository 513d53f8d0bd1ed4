//! A server, a scratch directory, and `tf` in it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;

use crate::common::{HASH, Server, Setup, public_key, wait_until};

/// A run of a program: its exit status, its output, its complaints.
pub struct Run {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A server, a scratch directory, and `tf` in it.
pub struct Desk {
    pub server: Server,
    scratch: tempfile::TempDir,
}

impl Desk {
    pub fn new() -> Desk {
        Desk::with(Setup::default())
    }

    pub fn with(setup: Setup) -> Desk {
        let scratch = tempfile::tempdir().expect("directory");
        let pem = public_key().public_key_to_pem().expect("pem");
        fs::write(scratch.path().join("public.pem"), pem).expect("write");
        Desk { server: Server::with(setup), scratch }
    }

    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// `tf` with the server in its environment, and nobody's configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tf"));
        command.current_dir(self.path()).args(arguments);
        command.env("TF_SERVER", self.server.address().to_string());
        command.env("TF_KEY", self.path().join("public.pem")).env("TF_HASH", HASH);
        command.env("XDG_CONFIG_HOME", self.path()).env("XDG_STATE_HOME", self.path());
        command
    }

    pub fn tf(&self, arguments: &[&str]) -> Run {
        self.tf_with(arguments, b"")
    }

    pub fn tf_with(&self, arguments: &[&str], input: &[u8]) -> Run {
        let mut command = self.command(arguments);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("start");
        let mut stdin = child.stdin.take().expect("input");
        let input = input.to_vec();
        // It may end before it has read all.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("wait");
        writer.join().expect("writer");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// A `tf` that goes on beside the test.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start");
        let out = gather(child.stdout.take().expect("output"));
        let err = gather(child.stderr.take().expect("errors"));
        Running { child, out, err }
    }
}

/// A `tf` under way. It ends with the value.
pub struct Running {
    child: Child,
    out: Arc<Mutex<Vec<String>>>,
    err: Arc<Mutex<Vec<String>>>,
}

impl Running {
    pub fn lines(&self) -> Vec<String> {
        self.out.lock().expect("lines").clone()
    }

    pub fn complaints(&self) -> String {
        self.err.lock().expect("lines").join("\n")
    }

    /// Waits for these lines and no other.
    #[track_caller]
    pub fn expect_lines(&self, expected: &[&str]) {
        let end = std::time::Instant::now() + crate::common::PATIENCE;
        while self.lines().len() < expected.len() && std::time::Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(self.lines(), expected, "{}", self.complaints());
    }

    #[track_caller]
    pub fn wait_for_complaint(&self, text: &str) {
        wait_until(text, || self.complaints().contains(text));
    }

    pub fn signal(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, signal).expect("signal");
    }

    /// Waits for its end and tells the exit status.
    #[track_caller]
    pub fn end(mut self) -> Option<i32> {
        let mut code = None;
        wait_until("the end of tf", || {
            let status = self.child.try_wait().expect("wait");
            code = status.and_then(|status| status.code());
            status.is_some()
        });
        code
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gather(from: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            all.lock().expect("lines").push(line);
        }
    });
    lines
}
