//! A fleet over a CephFS that `scripts/fleet ceph --test` has started, while its parts are
//! killed and started again: no acknowledged byte is lost, and `tf` goes on by itself.
//! `TFD_TEST_CEPH` is where the cluster is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::fs::FlockOperation;

use super::load::{self, Done, Ends};
use super::rolling::{self, Balanced, report};
use super::{Shared, wait_for_tlb};
use crate::common::tf::Person;
use crate::common::{Client, give_to_server, reply_for};

/// How long a cluster may take to be whole again.
const REPAIR: Duration = Duration::from_secs(150);

/// How long uploads are opened by the other mount; without the setting in
/// `scripts/fleet.d/ceph` one of the first few hangs.
const OPENING: Duration = Duration::from_secs(10);

/// Small pieces, so that one comes while Ceph writes those before it.
const PIECE: usize = 1007;
const PIECES: usize = 100;

/// The size of a file that takes seconds.
const LARGE: usize = 128 << 20;

/// The cluster, by the directory of `scripts/fleet`.
struct Cluster(PathBuf);

impl Cluster {
    fn of_environment() -> Option<Cluster> {
        let found = std::env::var_os("TFD_TEST_CEPH");
        if found.is_none() {
            println!("left out: there is no CephFS here: scripts/fleet ceph --test");
        }
        found.map(|path| Cluster(path.into()))
    }

    /// What `ceph` prints.
    fn ceph(&self, words: &[&str]) -> String {
        let mut command = Command::new("ceph");
        command.env("CEPH_CONF", self.0.join("ceph.conf"));
        let output = command.args(words).output().expect("ceph");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Kills a part; it is started again by itself.
    fn kill(&self, name: &str) {
        let path = self.0.join("pids").join(name);
        let pid = fs::read_to_string(path).expect("pid");
        let pid = Pid::from_raw(pid.trim().parse().expect("number"));
        kill(pid, Signal::SIGKILL).expect("kill");
    }

    /// The metadata server that serves.
    fn active(&self) -> Option<String> {
        let text = self.ceph(&["mds", "stat"]);
        let (_, rest) = text.split_once("{0=")?;
        let (name, state) = rest.split_once('=')?;
        state.starts_with("up:active").then(|| name.to_owned())
    }

    fn is_whole(&self) -> bool {
        self.active().is_some()
            && self.ceph(&["mds", "stat"]).contains("up:standby")
            && self.ceph(&["osd", "stat"]).contains("3 up")
            && self.ceph(&["pg", "stat"]).contains("active+clean")
    }

    #[track_caller]
    fn wait(&self, what: &str, mut condition: impl FnMut(&Cluster) -> bool) {
        let end = Instant::now() + REPAIR;
        while !condition(self) {
            assert!(Instant::now() < end, "{what}: {}", self.ceph(&["status"]));
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn wait_until_whole(&self) {
        self.wait("a whole cluster", Cluster::is_whole);
    }
}

/// A fleet under load while something happens to the cluster; all that was acknowledged
/// is there then.
fn during(what: &str, cluster: &Cluster, happens: impl FnOnce(&mut Balanced)) -> Done {
    cluster.wait_until_whole();
    let mut fleet = Balanced::start("");
    let configuration = fleet.configuration();
    let done = load::during(&configuration, || happens(&mut fleet));
    report(what, &done);
    fleet.has_all(&done);
    done
}

#[test]
fn a_tfd_that_is_killed_over_cephfs_loses_nothing() {
    let Some(cluster) = Cluster::of_environment() else {
        return;
    };
    during("a tfd killed", &cluster, |fleet| {
        let addresses = [0, 1].map(|number| fleet.servers[number].address());
        fleet.servers[0].signal(Signal::SIGKILL);
        fleet.servers[0].wait_for_end();
        fleet.servers[0].start_again();
        wait_for_tlb(&mut Client::connect(addresses[1]), addresses[0]);
    });
}

#[test]
fn a_storage_daemon_that_is_killed_under_cephfs_loses_nothing() {
    let Some(cluster) = Cluster::of_environment() else {
        return;
    };
    during("an OSD killed", &cluster, |_| {
        cluster.kill("osd.1");
        cluster.wait("two OSDs", |it| it.ceph(&["osd", "stat"]).contains("2 up"));
        cluster.wait_until_whole();
    });
}

#[test]
fn a_metadata_server_that_is_killed_under_cephfs_loses_nothing() {
    let Some(cluster) = Cluster::of_environment() else {
        return;
    };
    cluster.wait_until_whole();
    let before = cluster.active().expect("a metadata server");
    during("the metadata server killed", &cluster, |_| {
        cluster.kill(&format!("mds.{before}"));
        cluster.wait("the one on standby", |it| {
            it.active().is_some_and(|active| active != before)
        });
    });
    cluster.wait_until_whole();
}

/// A quota on a directory, in bytes; 0 for none.
fn set_quota(directory: &Path, bytes: u64) {
    let value = bytes.to_string();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(directory, "ceph.quota.max_bytes", value.as_bytes(), flags)
        .expect("quota");
}

#[test]
fn a_quota_of_cephfs_is_code_13_on_both_machines() {
    if Cluster::of_environment().is_none() {
        return;
    }
    let shared = Shared::make();
    let directory = shared.ends[0].join("limited");
    fs::create_dir(&directory).expect("directory");
    give_to_server(&directory);
    set_quota(&directory, 4 << 20);
    let servers = [0, 1].map(|end| shared.serve(end, "127.0.0.1:0"));
    let content = vec![7; 1 << 20];
    let mut clients = [0, 1].map(|number| servers[number].connect());
    clients[0].send_file("limited/fits", false, &content);
    for (number, client) in clients.iter_mut().enumerate() {
        let mut reply = client.ask(format!("SNDFILE 0 limited/too-much-{number}"));
        for _ in 0..32 {
            if reply != "CONT" {
                break;
            }
            reply = client.ask([b"CONT ", &content[..500_000]].concat());
        }
        assert_eq!(reply, reply_for(13));
        client.expect_alive();
    }
    set_quota(&directory, 0);
    clients[1].send_file("limited/fits-now", false, &content);
    assert!(servers[0].read("limited/fits-now") == content);
}

/// Opens each file once and tries its lock, as a server that starts does with the
/// uploads of the other.
fn open_each(directory: &Path, ended: &AtomicBool) -> usize {
    let mut opened = BTreeSet::new();
    while !ended.load(Ordering::Relaxed) {
        for entry in fs::read_dir(directory).expect("directory").flatten() {
            if opened.insert(entry.file_name())
                && let Ok(file) = fs::File::open(entry.path())
            {
                let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            }
        }
    }
    opened.len()
}

/// Replaces a file again and again, each time in many small pieces.
fn upload_often(client: &mut Client) {
    let end = Instant::now() + OPENING;
    while Instant::now() < end {
        assert_eq!(client.ask("SNDFILE 1 f"), "CONT");
        for _ in 0..PIECES {
            assert_eq!(client.ask([&b"CONT "[..], &[7; PIECE]].concat()), "CONT");
        }
        assert_eq!(client.ask("OK"), "OK");
    }
}

#[test]
fn an_upload_that_the_other_mount_of_cephfs_opens_goes_on() {
    if Cluster::of_environment().is_none() {
        return;
    }
    let shared = Shared::make();
    let server = shared.serve(0, "127.0.0.1:0");
    let ended = AtomicBool::new(false);
    let opened = std::thread::scope(|scope| {
        let opening = scope.spawn(|| open_each(&shared.ends[1], &ended));
        {
            let _ends = Ends(&ended);
            upload_often(&mut server.connect());
        }
        opening.join().expect("opening")
    });
    assert!(opened > 10, "{opened} opened");
    assert_eq!(server.read("f"), [7; PIECES * PIECE]);
}

#[test]
fn a_large_file_goes_up_through_one_tfd_over_cephfs_and_down_through_the_other() {
    if Cluster::of_environment().is_none() {
        return;
    }
    let fleet = Balanced::start("");
    let person = Person::new();
    let content: Vec<u8> = (0..LARGE).map(|at| (at / 4093 + at) as u8).collect();
    person.write("large", &content);
    let rate = |end: usize, words: &[&str]| {
        let address = fleet.servers[end].address();
        person.configure(&rolling::configuration(&[address], false));
        let begin = Instant::now();
        let run = person.tf(words);
        assert_eq!(run.code, Some(0), "{words:?}: {}{}", run.out, run.err);
        LARGE as f64 / 1e6 / begin.elapsed().as_secs_f64()
    };
    let up = rate(0, &["put", "-q", "large", "s:"]);
    let down = rate(1, &["get", "-q", "s:large", "back"]);
    println!(
        "a file of {} MiB: {up:.0} MB/s up, {down:.0} MB/s down",
        LARGE >> 20
    );
    assert!(fs::read(person.path("back")).expect("read") == content);
}
