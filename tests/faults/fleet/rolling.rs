//! Machines of a fleet that are restarted and upgraded one after the other, and a
//! machine alone, while people transfer: nothing is lost, and `tf` goes on by itself.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::haproxy;
use super::load::{self, Done};
use super::{Shared, set_pool, tuple, wait_for_tlb};
use crate::common::{
    Client, HASH, Server, copy_program, is_running, own_address, pids, wait_until,
};

const PORT: u16 = 10345;

/// Two servers at addresses that they keep, each with both in its pool.
pub struct Balanced {
    _shared: Shared,
    pub servers: [Server; 2],
}

/// An address at which a server listens again after a restart.
pub fn listen() -> String {
    SocketAddr::new(own_address().into(), PORT).to_string()
}

impl Balanced {
    /// Further lines are for `[server]`.
    pub fn start(lines: &str) -> Balanced {
        let shared = Shared::make();
        let servers = [0, 1].map(|end| shared.serve_with(end, &listen(), lines));
        let balanced = Balanced {
            _shared: shared,
            servers,
        };
        let pool = balanced.addresses().map(tuple).join("\n");
        for server in &balanced.servers {
            set_pool(server, &pool);
        }
        for server in &balanced.servers {
            wait_until("the pool", || server.connect().ask("TLB").starts_with("OK"));
        }
        balanced
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        [0, 1].map(|number| self.servers[number].address())
    }

    /// What `tf` has to know.
    pub fn configuration(&self) -> String {
        configuration(&self.addresses(), true)
    }

    /// Whether all that was acknowledged is there, by way of the last machine.
    pub fn has_all(&self, done: &Done) {
        has_all(&self.servers[1], done);
    }
}

pub fn configuration(addresses: &[SocketAddr], balance: bool) -> String {
    let listed = addresses.iter().map(|address| format!("\"{address}\""));
    let listed = listed.collect::<Vec<_>>().join(", ");
    format!(
        "[server.s]\naddress = [{listed}]\nkey = \"../../public.pem\"\nhash = \"{HASH}\"\n\
         balance = {balance}\n"
    )
}

/// Asserts that a server has each file that was acknowledged, whole.
#[track_caller]
pub fn has_all(server: &Server, done: &Done) {
    assert!(done.runs >= 6, "{} runs", done.runs);
    for (name, bytes) in &done.acknowledged {
        let found = server.read(name);
        assert!(found == *bytes, "{name}: {} bytes", found.len());
    }
}

/// Prints what clients have waited at most.
pub fn report(what: &str, done: &Done) {
    println!(
        "{what}: {} runs of tf, {} files acknowledged and whole, the longest run {:.2} s",
        done.runs,
        done.acknowledged.len(),
        done.longest.as_secs_f64()
    );
}

/// Restarts a server as systemd does: SIGTERM, `stop_grace`, start.
fn restart(server: &mut Server) {
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end(), Some(0));
    server.start_again();
}

#[test]
fn a_rolling_restart_behind_tlb_loses_nothing() {
    let mut fleet = Balanced::start("");
    let configuration = fleet.configuration();
    let addresses = fleet.addresses();
    let [a, b] = &mut fleet.servers;
    let done = load::during(&configuration, || {
        restart(a);
        // The other one knows that it is back.
        wait_for_tlb(&mut Client::connect(addresses[1]), addresses[0]);
        restart(b);
    });
    report("rolling restart behind TLB", &done);
    fleet.has_all(&done);
}

#[test]
fn a_rolling_restart_behind_haproxy_loses_nothing() {
    let Some(mut front) = haproxy::front("", "") else {
        return;
    };
    let configuration = configuration(&[front.plain()], false);
    let done = load::during(&configuration, || {
        front.servers.iter_mut().for_each(restart);
    });
    report("rolling restart behind HAProxy", &done);
    has_all(&front.servers[0], &done);
}

/// A copy of tfd, installed here as a package manager does: next to the old one, then in
/// its place.
fn install(directory: &Path) -> PathBuf {
    let (new, path) = (directory.join("tfd.new"), directory.join("tfd"));
    copy_program(env!("CARGO_BIN_EXE_tfd").as_ref(), &new);
    fs::rename(&new, &path).expect("rename");
    path
}

/// Does what systemd does with tfd.service and tfd.socket: listens, passes the socket to
/// tfd, and starts it again when it has ended.
const UNIT: &str = "#!/usr/bin/env python3
import fcntl, os, signal, socket, sys
host, port = os.environ['TFD_TEST_LISTEN'].rsplit(':', 1)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((host, int(port)))
listener.listen(1024)
fd = fcntl.fcntl(listener, fcntl.F_DUPFD, 10)
child = 0
ends = False

def end(*_):
    global ends
    ends = True
    os.kill(child, signal.SIGTERM)

signal.signal(signal.SIGTERM, end)
while not ends:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(fd, 3)
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')
        os.execv(os.environ['TFD_TEST_PROGRAM'], ['tfd'] + sys.argv[1:])
    status = os.waitpid(child, 0)[1]
sys.exit(os.waitstatus_to_exitcode(status))
";

#[test]
fn an_upgrade_in_place_of_one_machine_loses_nothing() {
    let programs = tempfile::tempdir().expect("directory");
    let program = install(programs.path());
    let unit = programs.path().join("unit");
    fs::write(&unit, UNIT).expect("write");
    fs::set_permissions(&unit, fs::Permissions::from_mode(0o755)).expect("mode");
    let (shared, listen) = (Shared::make(), listen());
    let environment = vec![
        ("TFD_TEST_LISTEN", listen.clone()),
        ("TFD_TEST_PROGRAM", program.display().to_string()),
    ];
    let mut server = shared.serve_by(0, &listen, (unit, environment));
    let before = fs::metadata(&program).expect("program");
    let done = load::during(&configuration(&[server.address()], false), || {
        // The old one serves on from a file that has no name any more.
        assert_eq!(install(programs.path()), program);
        server.connect().expect_alive();
        let tfd = pids(&server, "tfd")[0];
        kill(Pid::from_raw(tfd as i32), Signal::SIGTERM).expect("signal");
        server.wait_for_lines(" ready ", 2);
        assert!(!is_running(tfd));
    });
    let after = fs::metadata(&program).expect("program");
    assert_ne!(inode(&before), inode(&after));
    report("upgrade in place of one machine", &done);
    has_all(&server, &done);
}

fn inode(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}
