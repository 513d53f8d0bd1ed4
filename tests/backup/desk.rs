//! A person with a home, some disks and the programs.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tf-backup");

pub struct Desk {
    directory: TempDir,
}

impl Desk {
    /// With so many disks, none of them in use.
    pub fn new() -> Desk {
        let directory = tempfile::Builder::new()
            .prefix("tf-backup-")
            .tempdir()
            .expect("directory");
        fs::create_dir(directory.path().join("home")).expect("home");
        Desk { directory }
    }

    /// With a backup to these disks, without a passphrase.
    pub fn with_keepers(names: &[&str]) -> Desk {
        let desk = Desk::new();
        desk.init(names);
        desk
    }

    pub fn init(&self, names: &[&str]) {
        let keepers: Vec<PathBuf> = names.iter().map(|name| self.path(name)).collect();
        let phrase = self.path("phrase");
        let mut command = self.command(&["backup", "init", "--no-passphrase", "--phrase-file"]);
        command.arg(phrase);
        for keeper in keepers {
            command.arg("--keeper").arg(keeper);
        }
        let output = command.output().expect("tf-backup");
        assert!(output.status.success(), "{output:?}");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The text of a path.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(PROGRAM, arguments)
    }

    pub fn command_of(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("HOME", self.path("home"))
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("TF_BACKUP_KEY")
            .env_remove("TF_ASKPASS")
            .env_remove("SSH_ASKPASS")
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs it; it must end with this status. What it printed.
    #[track_caller]
    pub fn ends(&self, status: i32, arguments: &[&str]) -> (String, String) {
        let output = self.command(arguments).output().expect("tf-backup");
        expect(&output, status)
    }

    /// The same where all must go well.
    #[track_caller]
    pub fn fine(&self, arguments: &[&str]) -> String {
        self.ends(0, arguments).0
    }

    /// The one line of JSON that it prints.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.fine(&[&["--json"], arguments].concat());
        serde_json::from_str(&output).expect(&output)
    }
}

#[track_caller]
pub fn expect(output: &Output, status: i32) -> (String, String) {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{out}{err}");
    (out, err)
}

/// Bytes that no program makes smaller, always the same for a number.
pub fn noise(number: u64, len: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
