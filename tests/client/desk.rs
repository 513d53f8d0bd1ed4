//! A server, a scratch directory, and `tf` in it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tfd::client::{Access, PublicKey, Target};

use crate::common::tf::patiently;
use crate::common::{HASH, Server, Setup, patient, public_key};

/// A run of `tf`.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Run {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Run {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

pub(crate) struct Desk {
    pub(crate) server: Server,
    scratch: tempfile::TempDir,
    /// What `tf` connects to.
    pub(crate) address: SocketAddr,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        Desk::at(Server::start())
    }

    /// With a server that has the commands of the document alone.
    pub(crate) fn without_extension() -> Desk {
        Desk::at(Server::with(Setup {
            tf: "extension = false".to_owned(),
            ..Setup::default()
        }))
    }

    pub(crate) fn at(server: Server) -> Desk {
        let scratch = tempfile::tempdir().expect("directory");
        let pem = public_key().public_key_to_pem().expect("pem");
        fs::write(scratch.path().join("public.pem"), pem).expect("write");
        let address = server.address();
        Desk {
            server,
            scratch,
            address,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A local file.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("directories");
        fs::write(&path, content).expect("write");
        path
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tf"));
        command.current_dir(self.scratch.path()).env_clear();
        command
            .env("TF_SERVER", self.address.to_string())
            .env("TF_KEY", "public.pem");
        command
            .env("TF_HASH", HASH)
            .env("HOME", self.scratch.path())
            .args(patiently(arguments));
        command
    }

    pub(crate) fn tf(&self, arguments: &[&str]) -> Run {
        self.command(arguments).output().expect("tf").into()
    }

    #[track_caller]
    pub(crate) fn fine(&self, arguments: &[&str]) -> Run {
        let run = self.tf(arguments);
        assert_eq!(run.code, Some(0), "{arguments:?}: {}{}", run.out, run.err);
        run
    }

    /// The way to the server, for the library.
    pub(crate) fn access(&self) -> Access {
        let pem = public_key().public_key_to_pem().expect("pem");
        let key = PublicKey::from_pem(&pem).expect("key");
        Access::new(patient(Target::new(&self.address.to_string(), key, HASH)))
    }
}

/// Bytes that repeat at no frame's length.
pub(crate) fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len.div_ceil(8))
        .flat_map(|_| next().to_le_bytes())
        .take(len)
        .collect()
}

/// All that is beneath a directory: paths, and the content of files.
pub(crate) fn tree(top: &Path) -> Vec<(String, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).expect("directory") {
            let path = entry.expect("entry").path();
            let name = path
                .strip_prefix(top)
                .expect("beneath")
                .to_string_lossy()
                .into_owned();
            let kind = path.symlink_metadata().expect("stat");
            if kind.is_dir() {
                found.push((name, None));
                waiting.push(path);
            } else if kind.is_file() {
                found.push((name, Some(fs::read(&path).expect("read"))));
            } else {
                found.push((format!("{name} ({:?})", kind.file_type()), None));
            }
        }
    }
    found.sort();
    found
}
