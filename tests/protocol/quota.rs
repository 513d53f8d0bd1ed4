//! Quotas: 13 for what would pass one, and room again for what is gone. Those
//! of users are in tests/isolation.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::{Client, Server, Setup, give_to_server, wait_until};

fn server(quota: &str) -> Server {
    Server::with(Setup {
        server: format!("quota = \"{quota}\""),
        ..Setup::default()
    })
}

/// The bytes that may still be stored.
fn left(client: &mut Client) -> u64 {
    let reply = client.ask("FREESP");
    reply
        .strip_prefix("OK ")
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| panic!("{reply}"))
}

/// Sends a file and tells how that ended: `OK`, or the refusal.
fn send(client: &mut Client, path: &str, bytes: usize) -> String {
    assert_eq!(client.ask(format!("SNDFILE 1 {path}")), "CONT");
    for chunk in vec![b'x'; bytes].chunks(100_000) {
        let reply = client.ask([b"CONT ", chunk].concat());
        if reply != "CONT" {
            return reply;
        }
    }
    client.ask("OK")
}

const EXCEEDED: &str = "FAILED 13 : Quota exceeded.";

#[test]
fn a_file_that_passes_the_quota_is_refused_and_nothing_of_it_stays() {
    let server = server("1000K");
    let mut client = server.connect();
    assert_eq!(left(&mut client), 1_024_000);
    assert_eq!(send(&mut client, "a", 600_000), "OK");
    assert_eq!(send(&mut client, "b", 600_000), EXCEEDED);
    assert_eq!(server.names(""), ["a"]);
    assert_eq!(left(&mut client), 424_000);
    assert_eq!(send(&mut client, "b", 424_000), "OK");
    assert_eq!(send(&mut client, "c", 1), EXCEEDED);
    assert_eq!(client.ask("TFD_WHY"), "OK quota of 1000 KiB reached");
    client.expect("COPY a | c", 18);
    assert_eq!(client.ask("TFD_WHY"), "OK quota of 1000 KiB reached");
    assert_eq!(send(&mut client, "empty", 0), "OK");
    client.expect_alive();
}

#[test]
fn what_is_replaced_removed_or_broken_off_gives_its_space_back() {
    let server = server("1000000");
    let mut client = server.connect();
    assert_eq!(send(&mut client, "a", 300_000), "OK");
    assert_eq!(send(&mut client, "a", 200_000), "OK");
    assert_eq!(left(&mut client), 800_000);
    assert_eq!(send(&mut client, "b", 100_000), "OK");
    client.expect("RENAM a b", 16);
    client.expect("RENAM a | b", 0);
    assert_eq!(left(&mut client), 800_000);
    client.expect_all(&[("MKDIR d", 0), ("COPY b | d/c", 0), ("COPY b | c", 0)]);
    client.expect_all(&[("CPDIR d | e", 0), ("COPY b | f", 0), ("COPY b | g", 18)]);
    assert_eq!(left(&mut client), 0);
    client.expect("CPDIR d | h", 21);
    assert!(!server.exists("g") && !server.exists("h"));
    client.expect_all(&[("RMDIR d", 0), ("DEL c", 0), ("XDEL e c", 0), ("DEL f", 0)]);
    client.send("RCVFILE 1 b");
    client.receive_stream().expect("stream");
    assert_eq!(left(&mut client), 1_000_000);
    assert_eq!(client.ask("SNDFILE 1 a"), "CONT");
    assert_eq!(client.ask([&b"CONT "[..], &[0; 900]].concat()), "CONT");
    let mut other = server.connect();
    assert_eq!(left(&mut other), 999_100);
    assert_eq!(client.ask("BREAK"), "OK");
    assert_eq!(left(&mut other), 1_000_000);
    assert_eq!(client.ask("SNDFILE 1 a"), "CONT");
    assert_eq!(client.ask([&b"CONT "[..], &[0; 900]].concat()), "CONT");
    drop(client);
    wait_until("space is given back", || left(&mut other) == 1_000_000);
}

#[test]
fn put_is_held_to_the_quota_by_what_the_file_grows() {
    let server = server("10000");
    let mut client = server.connect();
    server.write("f", "");
    client.hp_open("PUT", "f", &[0, 8192]);
    client.send_frame(&[1; 8000]);
    client.wire.write_i64(0).expect("end");
    assert_eq!(client.wire.read_i64().expect("fin"), -127);
    client.wire.write_i64(-127).expect("fin");
    assert_eq!(left(&mut client), 2000);
    client.hp_open("PUT", "f", &[4000, 8192]);
    client.send_frame(&[2; 6000]);
    client.send_frame(&[2; 1]);
    assert_eq!(client.wire.read_i64().expect("cancelled"), -2);
    assert_eq!(client.wire.read_i64().expect("fin"), -127);
    client.wire.write_i64(-127).expect("fin");
    assert_eq!(server.read("f").len(), 10_000);
    assert_eq!(left(&mut client), 0);
    client.expect("DEL f", 0);
    assert_eq!(left(&mut client), 10_000);
    client.hp_open("PUT", "far", &[1 << 40, 8192]);
    client.send_frame(b"x");
    assert_eq!(client.wire.read_i64().expect("cancelled"), -2);
    assert_eq!(client.wire.read_i64().expect("fin"), -127);
    client.wire.write_i64(-127).expect("fin");
    assert!(!server.exists("far"));
    assert_eq!(left(&mut client), 10_000);
}

#[test]
fn what_is_there_at_the_start_counts_once() {
    let scratch = tempfile::tempdir().expect("directory");
    let root = scratch.path().join("root");
    fs::create_dir_all(root.join("deep/er")).expect("directories");
    for name in ["a", "deep/er/b"] {
        fs::write(root.join(name), [0; 3000]).expect("write");
    }
    fs::hard_link(root.join("a"), root.join("deep/a")).expect("link");
    for path in [scratch.path(), &root.join("deep"), &root.join("deep/er")] {
        give_to_server(path);
    }
    let server = "quota = \"10000\"".to_owned();
    let server = Server::with(Setup {
        server,
        root: Some(root),
        ..Setup::default()
    });
    let mut client = server.connect();
    assert_eq!(left(&mut client), 4000);
    client.expect("DEL deep/a", 0);
    assert_eq!(left(&mut client), 4000);
    client.expect("DEL a", 0);
    assert_eq!(left(&mut client), 7000);
}

#[test]
fn clients_that_upload_at_once_never_pass_the_quota_together() {
    const QUOTA: u64 = 3_000_000;
    let server = server(&QUOTA.to_string());
    let stored = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let (server, stored) = (&server, &stored);
            scope.spawn(move || {
                let mut client = server.connect();
                for file in 0..12 {
                    let bytes = 20_000 + 7_001 * file;
                    // Two workers share each name, so that they replace each
                    // other's files, too.
                    let name = format!("{}-{file}", worker / 2);
                    if send(&mut client, &name, bytes) == "OK" {
                        stored.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let on_disk: u64 = server
        .names("")
        .iter()
        .map(|name| fs::metadata(server.path(name)).expect("file").len())
        .sum();
    let mut client = server.connect();
    assert!(
        on_disk <= QUOTA && stored.load(Ordering::Relaxed) > 20,
        "{on_disk}"
    );
    assert_eq!(left(&mut client), QUOTA - on_disk);
    for name in server.names("") {
        client.expect(format!("DEL {name}"), 0);
    }
    assert_eq!(left(&mut client), QUOTA);
}

#[test]
fn a_quota_that_is_no_size_is_refused_with_its_line() {
    for wrong in ["0", "-1", "5 apples", ""] {
        let text = format!(
            "[server]\nquota = \"{wrong}\"\nroot = \"r\"\n[tf]\nlisten = [\"127.0.0.1:1\"]\n\
            version = \"0\"\nhash = \"h\"\nprivate_key = \"k\"\n"
        );
        let problems = tfd::config::Config::parse(std::path::Path::new("t"), &text);
        let problems = problems.expect_err("a problem");
        assert_eq!(
            problems[0].to_string().split(": use").next(),
            Some("t:2: server.quota"),
            "{wrong}"
        );
    }
}
