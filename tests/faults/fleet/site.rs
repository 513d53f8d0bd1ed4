//! What stands behind a balancer: two servers over one directory, with one certificate.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::common::{Client, Server, Setup, give_to_server, set_umask, write_certificate};

/// The directory with the root, the certificate, and what a test adds.
pub struct Site(TempDir);

impl Site {
    pub fn make() -> Site {
        set_umask();
        let dir = tempfile::tempdir().expect("directory");
        let anybody = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path(), anybody).expect("mode");
        let root = dir.path().join("root");
        fs::create_dir(&root).expect("root");
        give_to_server(&root);
        write_certificate(dir.path(), None);
        Site(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A server there, with more lines in its sections.
    pub fn setup(&self, server: &str, tf: String) -> Setup {
        let here = self.path().display();
        Setup {
            server: format!(
                "tls_certificate = \"{here}/tls.pem\"\ntls_key = \"{here}/tls-key.pem\"\n{server}"
            ),
            tf,
            root: Some(self.path().join("root")),
            ..Setup::default()
        }
    }

    /// What the balancer writes, where it is to be read once a test has failed.
    pub fn log(&self) -> fs::File {
        fs::File::create(self.log_path()).expect("log")
    }

    pub fn log_path(&self) -> PathBuf {
        self.path().join("balancer.log")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.log_path());
            eprintln!("log of the balancer:\n{}", log.unwrap_or_default());
        }
    }
}

/// How many sessions from an address a server has had.
pub fn sessions(server: &Server, from: &str) -> usize {
    let line = format!("session start peer={from}:");
    server.log().iter().filter(|it| it.contains(&line)).count()
}

/// A server stops amid a transfer: others get the next clients, and the transfer ends.
/// `others` is what happens once it stops, up to these clients.
pub fn stop_amid_a_transfer<F>(
    front: &mut F,
    servers: fn(&mut F) -> &mut [Server; 2],
    stopped: usize,
    mut sender: Client,
    others: impl FnOnce(&mut F),
) {
    assert_eq!(sender.ask("SNDFILE 0 f"), "CONT");
    assert_eq!(sender.ask("CONT begun, "), "CONT");
    let server = &mut servers(front)[stopped];
    server.signal(Signal::SIGTERM);
    server.wait_for_log("stopping");
    others(front);
    assert_eq!(sender.ask("CONT ended"), "CONT");
    assert_eq!(sender.ask("OK"), "OK");
    let servers = servers(front);
    assert_eq!(servers[1 - stopped].read("f"), b"begun, ended");
    drop(sender);
    assert_eq!(servers[stopped].wait_for_end(), Some(0));
}
