//! The program `bbftp` as scripts call it, against servers that do what a test
//! tells them.

mod arguments;
mod output;
mod progress;
mod retries;
mod scripts;
mod with_tfd;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use tfd::client::bbftp::Target;

use crate::common::tf::{Run, run};
use crate::fake::{PASSWORD, USER};

/// Who calls the program: in a directory of their own, with nothing in the
/// environment that could matter.
pub struct Caller(TempDir);

impl Caller {
    pub fn new() -> Caller {
        let caller = Caller(TempDir::new().expect("directory"));
        fs::write(caller.path("pw"), PASSWORD).expect("write");
        caller
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("read")
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("write");
    }

    /// The program, with nothing but these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bbftp"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env("HOME", self.0.path())
            .env_remove("TF_CONFIG")
            .env("TZ", "UTC");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        run(&mut self.command(arguments), b"")
    }

    /// The program for a server, with these arguments before those that it needs.
    pub fn command_at(&self, target: &Target, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        let user = std::str::from_utf8(USER).expect("text");
        let port = target.port.to_string();
        command.args(["--password-file", "pw", "--retry-wait", "0", "-u", user]);
        command.args(["-w", &port, "127.0.0.1"]);
        command
    }

    pub fn run_at(&self, target: &Target, arguments: &[&str]) -> Run {
        run(&mut self.command_at(target, arguments), b"")
    }
}

/// An output whose numbers of time and speed are `N`.
pub fn without_times(text: &str) -> String {
    let line = |line: &str| {
        let mut after = "";
        let words = line.split(' ').map(|word| {
            let is_measured =
                ["in", "("].contains(&after) || word.starts_with('(') || after == "or";
            after = word;
            match (is_measured, word.strip_prefix('(')) {
                (true, Some(rest)) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
                    "(N".to_owned()
                }
                (true, None) if word.starts_with(|c: char| c.is_ascii_digit()) => "N".to_owned(),
                _ => word.to_owned(),
            }
        });
        words.collect::<Vec<_>>().join(" ")
    };
    let lines = text.lines().map(line);
    lines.map(|line| line + "\n").collect()
}
