//! Processes killed at random under load: what was acknowledged is whole, and
//! nothing stays behind.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tfd::client::{Connection, PublicKey, Target};

use crate::common::flows::Flows;
use crate::common::{
    HASH, PATIENCE, Server, Setup, account, descendants, is_root, is_running, public_key,
    wait_until,
};

const CLIENTS: u64 = 16;

/// How long it goes on; `TFD_CHAOS_SECONDS` says otherwise.
const SECONDS: u64 = 20;

/// Processes that are killed whenever: gates and sessions above all.
const OFTEN: &[&str] = &["tfd-gate", "tfd-session", "tfd-spare", "tfd-tables"];

/// Those that are killed when they have been up for a while.
const HELPERS: &[&str] = &[
    "tfd-udp",
    "tfd-launcher",
    "tfd-zygote",
    "tfd-keeper",
    "tfd-auth",
];

/// Numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

/// The content of the file with this number.
fn content(number: u64) -> Vec<u8> {
    let mut dice = Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let len = dice.below(200_000) as usize;
    (0..len).map(|_| dice.below(256) as u8).collect()
}

/// The number of a file's content that was last acknowledged, and those that
/// may have replaced it without a word.
type Versions = (Option<u64>, Vec<u64>);

/// What the clients share.
struct Shared {
    address: Mutex<SocketAddr>,
    /// What the session begins with.
    login: Option<String>,
    stop: AtomicBool,
    /// By file name.
    acknowledged: Mutex<HashMap<String, Versions>>,
    count: AtomicU64,
}

/// One client: files of its own, replaced over and over.
fn client(shared: &Shared, id: u64) {
    let pem = public_key().public_key_to_pem().expect("pem");
    let key = PublicKey::from_pem(&pem).expect("key");
    let mut dice = Dice(id + 1);
    let mut number = id << 32;
    while !shared.stop.load(Ordering::Relaxed) {
        let address = shared.address.lock().expect("address").to_string();
        let mut target = Target::new(&address, key.clone(), HASH);
        target.timeout = Duration::from_secs(5);
        let Ok(mut connection) = Connection::open(&target) else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        let _ = connection
            .wire()
            .socket()
            .set_read_timeout(Some(Duration::from_secs(10)));
        if let Some(login) = &shared.login
            && connection.command(login).is_err()
        {
            continue;
        }
        for _ in 0..1 + dice.below(8) {
            number += 1;
            let name = format!("f-{id}-{}", dice.below(4));
            let mut files = shared.acknowledged.lock().expect("files");
            files.entry(name.clone()).or_default().1.push(number);
            drop(files);
            let bytes = content(number);
            let mut left = bytes.as_slice();
            let mut source = |buffer: &mut [u8]| {
                let len = buffer.len().min(left.len()).min(50_000);
                buffer[..len].copy_from_slice(&left[..len]);
                left = &left[len..];
                Ok(len)
            };
            let sent = match dice.below(2) {
                0 => connection.send_file(&name, true, &mut source),
                _ => connection.stream_up(&name, &mut source),
            };
            if sent.is_err() {
                break;
            }
            let mut files = shared.acknowledged.lock().expect("files");
            files.insert(name, (Some(number), Vec::new()));
            shared.count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn what_was_acknowledged_survives_any_process_being_killed() {
    let listen = "listen = [\"127.0.0.1:0\"]\n".to_owned();
    kill_at_random(
        Setup {
            tf: listen,
            ..Setup::default()
        },
        None,
    );
}

#[test]
fn and_so_it_does_where_gates_hand_over_to_sessions_of_users() {
    if !is_root() {
        println!("left out: taking identities needs root");
        return;
    }
    let server = "mode = \"multi-user\"\nusers = \"users\"\nquota = \"1G\"\n";
    let users = account("ann", "a", "nobody:::");
    let setup = Setup {
        server: server.to_owned(),
        tf: "listen = [\"127.0.0.1:0\"]\n".to_owned(),
        users,
        ..Setup::default()
    };
    kill_at_random(setup, Some("LOGIN ann a".to_owned()));
}

fn kill_at_random(setup: Setup, login: Option<String>) {
    let seconds = std::env::var("TFD_CHAOS_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
    let mut server = Server::with(setup);
    let shared = Arc::new(Shared {
        address: Mutex::new(server.address()),
        login,
        stop: AtomicBool::new(false),
        acknowledged: Mutex::default(),
        count: AtomicU64::new(0),
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|id| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || client(&shared, id))
        })
        .collect();

    let mut dice = Dice(0x5eed);
    let mut next_restart = Instant::now() + Duration::from_secs(4);
    let mut killed = 0;
    let mut last_kill = Instant::now();
    let mut last_helper = Instant::now();
    let made = || shared.count.load(Ordering::Relaxed);
    // A slow machine takes longer to have done and to have lost enough.
    let enough = |killed| made() > 100 && killed > 20;
    while Instant::now() < end || !enough(killed) && Instant::now() < end + 5 * PATIENCE {
        std::thread::sleep(Duration::from_millis(20 + dice.below(150)));
        if Instant::now() >= next_restart {
            let children = descendants(server.pid());
            server.signal(Signal::SIGKILL);
            server.wait_for_end();
            for (pid, name) in children {
                wait_until(&name, || !is_running(pid));
            }
            server.start_again();
            *shared.address.lock().expect("address") = server.address();
            next_restart = Instant::now() + Duration::from_millis(2000 + dice.below(4000));
            last_helper = Instant::now();
            continue;
        }
        // Something is to be done between two kills.
        if made() < 2 * killed && last_kill.elapsed() < Duration::from_secs(2) {
            continue;
        }
        // A helper that ends within a second of its start ends the daemon.
        let may_kill_helper = last_helper.elapsed() > Duration::from_millis(1500);
        let processes: Vec<(u32, String)> = descendants(server.pid())
            .into_iter()
            .filter(|(_, name)| {
                may_kill_helper && HELPERS.contains(&name.as_str())
                    || OFTEN.contains(&name.as_str())
            })
            .collect();
        if let Some((pid, name)) = processes.get(dice.below(processes.len() as u64) as usize) {
            let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGKILL);
            killed += 1;
            last_kill = Instant::now();
            if HELPERS.contains(&name.as_str()) {
                last_helper = Instant::now();
            }
        }
    }
    shared.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("client");
    }
    server.signal(Signal::SIGKILL);
    server.wait_for_end();
    server.start_again();
    wait_until("the sweep", || {
        !server
            .names("")
            .iter()
            .any(|name| name.starts_with(".tfd-"))
    });

    let files = shared.acknowledged.lock().expect("files");
    println!("{} files acknowledged, {killed} processes killed", made());
    assert!(enough(killed), "{} files, {killed} killed", made());
    for (name, (whole, begun)) in files.iter() {
        let fits = |number: &u64| fs::read(server.path(name)).is_ok_and(|b| b == content(*number));
        let missing = whole.is_none() && !server.exists(name);
        assert!(
            missing || whole.iter().chain(begun).any(fits),
            "{name}: {whole:?} {begun:?}"
        );
    }
    let mut client = server.connect();
    if let Some(login) = &shared.login {
        client.expect(login, 0);
    }
    client.expect_alive();
}
