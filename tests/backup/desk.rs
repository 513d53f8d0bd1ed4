//! A person with a home, some disks and the programs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tf-backup");

/// How long anything may take, on a slow machine, too.
const PATIENCE: Duration = Duration::from_secs(120);

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
            .env_remove("XDG_DATA_HOME")
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

    /// The files of a kind at a keeper.
    pub fn files(&self, keeper: &str, kind: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.path(keeper), &mut found);
        let is_wanted = |path: &PathBuf| {
            let parent = path.parent().and_then(Path::parent);
            parent.and_then(Path::file_name) == Some(OsStr::new(kind))
        };
        found.retain(is_wanted);
        found.sort();
        found
    }

    /// Where a restore into `target` has put what was saved from `source`.
    pub fn restored(&self, target: &str, source: &str) -> PathBuf {
        self.restored_from(target, self, source)
    }

    /// The same of what another one has saved.
    pub fn restored_from(&self, target: &str, other: &Desk, source: &str) -> PathBuf {
        let source = other.path(source).canonicalize().expect("path");
        self.path(target)
            .join(source.strip_prefix("/").expect("path"))
    }
}

#[track_caller]
pub fn expect(output: &Output, status: i32) -> (String, String) {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{out}{err}");
    (out, err)
}

/// Waits until a condition holds.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// All files beneath a directory.
pub fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let entry = entry.expect("entry");
        // A file that was listed may be gone by now.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), found),
            Ok(_) => found.push(entry.path()),
            Err(_) => {}
        }
    }
}

/// What can be said of an entry, its content as a digest.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    kind: String,
    mode: u32,
    owner: (u32, u32),
    /// Directories have another size elsewhere.
    size: u64,
    modified: (i64, i64),
    links: u64,
    content: String,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A tree, by the names in it.
pub fn seen(top: &Path) -> BTreeMap<String, Seen> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(path) = waiting.pop() {
        let name = path.strip_prefix(top).expect("beneath");
        let name = name.as_os_str().as_bytes().escape_ascii().to_string();
        found.insert(name, see(&path));
        if fs::symlink_metadata(&path).expect("metadata").is_dir() {
            let entries = fs::read_dir(&path).expect("directory");
            waiting.extend(entries.map(|entry| entry.expect("entry").path()));
        }
    }
    found
}

fn see(path: &Path) -> Seen {
    let metadata = fs::symlink_metadata(path).expect("metadata");
    let kind = metadata.file_type();
    let content = match () {
        () if kind.is_file() => digest(path),
        () if kind.is_symlink() => format!("{:?}", fs::read_link(path).expect("link")),
        () if kind.is_fifo() => "pipe".to_owned(),
        () => String::new(),
    };
    Seen {
        kind: format!("{kind:?}"),
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        size: if kind.is_dir() { 0 } else { metadata.size() },
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        links: if kind.is_dir() { 0 } else { metadata.nlink() },
        content,
        xattrs: if kind.is_symlink() {
            Vec::new()
        } else {
            xattrs(path)
        },
    }
}

fn digest(path: &Path) -> String {
    let bytes = fs::read(path).expect("file");
    openssl::sha::sha256(&bytes).escape_ascii().to_string()
}

fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; 4096];
    let Ok(len) = rustix::fs::listxattr(path, &mut names) else {
        return Vec::new();
    };
    let names = names[..len].split(|c| *c == 0).filter(|it| !it.is_empty());
    let mut found: Vec<_> = names
        .map(|name| {
            let mut value = vec![0; 4096];
            let len = rustix::fs::getxattr(path, name, &mut value).expect("attribute");
            value.truncate(len);
            (name.to_vec(), value)
        })
        .collect();
    found.sort();
    found
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
