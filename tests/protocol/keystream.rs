//! Where the keystream of a long transfer comes from: a thread, tables, or
//! neither.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Client, Server, Setup, pids, wait_until};

const END: i64 = 0;
const FIN: i64 = -127;

/// With this key the chain is on a cycle after 5 million bytes.
fn key_of_a_short_way() -> Vec<u8> {
    let mut key = 0x0f1a_50d5_9c0a_a21a_u64.to_le_bytes().to_vec();
    key.extend([9; 24]);
    key
}

/// Gets a file and compares it.
fn get(client: &mut Client, path: &str, content: &[u8]) {
    client.hp_open("GET", path, &[0, 1 << 20]);
    let mut done = 0;
    loop {
        match client.receive_frame() {
            (END, _) => break,
            (_, payload) => {
                assert!(content[done..].starts_with(&payload), "at {done}");
                done += payload.len();
            }
        }
    }
    assert_eq!(done, content.len());
    client.wire.write_i64(FIN).expect("send");
    assert_eq!(client.receive_frame().0, FIN);
}

/// The process of the only session.
fn session(server: &Server) -> u32 {
    pids(server, "tfd-session")[0]
}

/// The process that is to make the tables.
fn maker(server: &Server) -> Option<Pid> {
    let found = pids(server, "tfd-tables").into_iter().next();
    found.map(|pid| Pid::from_raw(pid as i32))
}

/// Memory of its own, in KiB.
fn own_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .expect("RssAnon");
    line.trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number")
}

#[test]
fn an_idle_session_has_no_memory_of_a_fast_transfer() {
    let content: Vec<u8> = (0..8 << 20).map(|i: u32| (i >> 9) as u8).collect();
    let tf = "keystream_table = \"off\"".to_owned();
    let server = Server::with(Setup {
        tf,
        ..Setup::default()
    });
    server.write("f", &content);
    let mut client = server.connect();
    client.expect_alive();
    let pid = session(&server);
    let before = own_memory(pid);
    get(&mut client, "f", &content);
    wait_until("its memory is given back", || {
        own_memory(pid) < before + 400
    });
    get(&mut client, "f", &content);
    client.expect_alive();
}

#[test]
fn without_tables_streams_go_on_as_before() {
    const LEN: u32 = 40 << 20;
    let content: Vec<u8> = (0..LEN).map(|i| (i >> 9) as u8).collect();
    let server = Server::start();
    // Whoever takes too much memory is killed.
    kill(maker(&server).expect("a maker"), Signal::SIGKILL).expect("kill");
    wait_until("the maker ends", || maker(&server).is_none());
    server.write("f", &content);
    let mut client = Client::connect_with_key(server.address(), &key_of_a_short_way());
    get(&mut client, "f", &content);
    get(&mut client, "f", &content);
    client.expect_alive();
    server.connect().expect_alive();
}
