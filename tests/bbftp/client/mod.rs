//! Our client against servers that do what a test tells them.

mod commands;
mod login;
mod resume;
mod small;
mod ssh;
mod transfers;

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use tempfile::TempDir;
use tfd::client::bbftp::{Event, Observer};

/// A directory for a test's files.
pub struct Files(TempDir);

impl Files {
    pub fn new() -> Files {
        Files(TempDir::new().expect("directory"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn with(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("write");
        path
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("directory");
        let name = |e: std::io::Result<fs::DirEntry>| e.expect("entry").file_name();
        let mut names: Vec<_> = entries
            .map(|e| name(e).into_string().expect("text"))
            .collect();
        names.sort();
        names
    }
}

/// Bytes in which no two places look alike.
pub fn content(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|i| (i ^ (i >> 7) ^ (i >> 13)) as u8)
        .collect()
}

/// Keeps what it hears.
#[derive(Default)]
pub struct Heard(Mutex<Vec<String>>);

impl Heard {
    pub fn all(&self) -> Vec<String> {
        self.0.lock().expect("lock").clone()
    }
}

impl Observer for Heard {
    fn notify(&self, event: &Event<'_>) {
        let text = match event {
            Event::Trying(_) => return,
            Event::Warning { code, text } => format!("{code} {text}"),
            Event::Begun {
                size,
                streams,
                done,
            } => format!("{size} on {streams} from {done}"),
            Event::Moved(bytes) => format!("{bytes}"),
        };
        self.0.lock().expect("lock").push(text);
    }
}
