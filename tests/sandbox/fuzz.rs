//! Random system calls with random arguments, from inside gates and sessions that
//! were taken over, one after the other, while an honest client works next to
//! them: nothing changes but their own files, the honest client loses nothing, and
//! the daemon and its helpers stay. `TFD_TEST_FUZZ` has the seconds, 4 without it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, Instant};

use tfd::sandbox::place::{Place, known};

use crate::come_from;
use crate::common::{Client, Server, Setup, account};

/// The client whose gate is taken over, and the one whose session is.
const GATE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);
const SESSION: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// How long a process has that was taken over.
const LIFE: Duration = Duration::from_millis(400);

/// The place of processes that are fuzzed, whatever theirs is.
pub const PLACE: &str = "Fuzz";

/// In a process of the attacked tfd.
pub fn attack(place: Place, peer: SocketAddr) {
    let is_meant = match place {
        Place::Gate => peer.ip() == GATE,
        Place::Session => peer.ip() == SESSION,
        _ => false,
    };
    if is_meant {
        let ends = std::thread::Builder::new().spawn(|| {
            std::thread::sleep(LIFE);
            call(libc::SYS_exit_group, &[0; 6]);
        });
        let _ = ends.map(|_| make_calls());
    }
}

/// Makes calls until the process is ended.
fn make_calls() {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).expect("a seed");
    let mut random = Random(u64::from_ne_bytes(seed) | 1);
    eprintln!("fuzzing seed={}", random.0);
    let calls: Vec<libc::c_long> = known().map(|(_, number)| number).collect();
    let ends = [libc::SYS_exit, libc::SYS_exit_group, libc::SYS_rt_sigreturn];
    let mut memory = vec![0_u64; 4096];
    loop {
        let number = match random.below(12) {
            0 => random.below(470) as libc::c_long,
            _ => calls[random.below(calls.len())],
        };
        // What only ends the process at once would be most of what is tried.
        if ends.contains(&number) {
            continue;
        }
        let at = random.below(memory.len());
        memory[at] = random.argument(0) as u64;
        let start = memory.as_ptr().addr();
        let arguments = std::array::from_fn(|_| random.argument(start));
        call(number, &arguments);
    }
}

/// A system call as it comes.
#[allow(unsafe_code, reason = "whatever it does is what is tested")]
fn call(number: libc::c_long, of: &[usize; 6]) {
    // SAFETY: it may break this process, which is there for that.
    unsafe { libc::syscall(number, of[0], of[1], of[2], of[3], of[4], of[5]) };
}

/// A generator that needs no more calls (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// A descriptor, a process, a flag, a size, an address, or anything.
    fn argument(&mut self, memory: usize) -> usize {
        match self.below(10) {
            0..=2 => self.below(32),
            3 => usize::MAX,
            4 => std::os::unix::process::parent_id() as usize + self.below(9),
            5 => 1 << self.below(64),
            6 | 7 if memory != 0 => memory + self.below(4096),
            8 => self.below(1 << 20),
            _ => self.next() as usize,
        }
    }
}

/// All entries below a directory but the homes of those who work: owner, mode,
/// time and content.
fn snapshot(directory: &Path, into: &mut BTreeMap<String, (u32, u32, i64, Vec<u8>)>) {
    for entry in fs::read_dir(directory).expect("directory") {
        let path = entry.expect("entry").path();
        let stat = fs::symlink_metadata(&path).expect("stat");
        let of_those_who_work = ["ann", "work", "audit.log", "users.blocked"];
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if of_those_who_work.contains(&name.as_str()) {
            continue;
        }
        let is_file = stat.is_file();
        let content = if is_file {
            fs::read(&path).expect("read")
        } else {
            Vec::new()
        };
        let time = if is_file { stat.mtime() } else { 0 };
        let shown = path.display().to_string();
        into.insert(shown, (stat.uid(), stat.mode(), time, content));
        if stat.is_dir() {
            snapshot(&path, into);
        }
    }
}

/// Work of an honest client; it fails if anything is lost.
fn work(client: &mut Client, round: u64) {
    let content: Vec<u8> = (0..200_000_u64)
        .map(|at| (at * (round + 3)) as u8)
        .collect();
    client.expect_alive();
    client.send_file("work", true, &content);
    client.send("RCVFILE 0 work");
    assert_eq!(client.receive_stream().expect("content"), content);
}

/// Fuzzes; how much came to harm.
pub fn nothing_is_harmed() -> usize {
    let seconds = std::env::var("TFD_TEST_FUZZ")
        .ok()
        .and_then(|text| text.parse().ok());
    let program = std::env::current_exe().expect("this program");
    let server = Server::with(Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"\naudit = \"audit.log\"\n\
                 max_sessions_per_address = 0\nlogin_failures = 100000"
            .to_owned(),
        users: [
            account("ann", "a", "games:/ann::"),
            account("bob", "b", "mail:/bob::"),
        ]
        .concat(),
        directories: &["ann", "bob"],
        program: Some((program, vec![("TFD_TEST_PLACE", PLACE.to_owned())])),
        ..Setup::default()
    });
    for (home, user) in [("ann", "games"), ("bob", "mail")] {
        let user = tfd::users::Identity::of(user).expect("system user");
        server.write(&format!("{home}/own"), home);
        for path in [home.to_owned(), format!("{home}/own")] {
            let ids = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
            chown(server.path(&path), ids.0, ids.1).expect("chown");
        }
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(server.path(home), mode).expect("mode");
    }
    let directory = server.config_path();
    let directory = directory.parent().expect("directory");
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    snapshot(directory, &mut before);

    let mut honest = server.connect();
    honest.expect("LOGIN bob b", 0);
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(4));
    let mut rounds = 0;
    while Instant::now() < end {
        drop(come_from(GATE, server.address()));
        if let Some(mut client) = come_from(SESSION, server.address()) {
            let _ = client.wire.write_message(b"LOGIN ann a");
            let _ = client.wire.read_message(&mut Vec::new());
            let _ = client.wire.read_message(&mut Vec::new());
        }
        rounds += 1;
        work(&mut honest, rounds);
    }
    let mut late = server.connect();
    late.expect("LOGIN bob b", 0);
    work(&mut late, rounds);

    snapshot(directory, &mut after);
    let mut failures = 0;
    let names = before.keys().chain(after.keys());
    for name in names.filter(|name| before.get(*name) != after.get(*name)) {
        println!("FAILED fuzzing changed {name}");
        failures += 1;
    }
    let log = server.log();
    for line in log.iter().filter(|line| line.contains("ended unasked")) {
        println!("FAILED fuzzing ended a helper: {line}");
        failures += 1;
    }
    let fuzzed = log
        .iter()
        .filter(|line| line.contains("fuzzing seed="))
        .count();
    println!("fuzzed {fuzzed} processes beside {rounds} rounds of honest work");
    failures + usize::from(fuzzed == 0)
}
