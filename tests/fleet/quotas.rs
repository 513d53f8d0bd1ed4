//! Quotas: what one server stores counts at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::common::{Client, Server, reply_for, wait_until};
use crate::store::{Store, left_out, log_in, replace_process, serve};

/// A directory that two servers share.
fn shared() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    let root = dir.path().join("root");
    (dir, root)
}

fn with_quota(store: &Store, root: &Path) -> Server {
    let lines = format!("quota = \"1000K\"\n{}", store.shared());
    let mut server = serve(&lines, Some(root.to_owned()));
    server.wait_for_log("shared state reached");
    server
}

fn left(client: &mut Client) -> u64 {
    let reply = client.ask("FREESP");
    let left = reply.strip_prefix("OK ").and_then(|n| n.parse().ok());
    left.unwrap_or_else(|| panic!("{reply}"))
}

/// Sends a file; how that ended.
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

/// Two servers, with a client each; the first has sent 100,000 bytes, and the other has
/// heard of them.
fn with_a_file(store: &Store, root: &Path) -> ([Server; 2], [Client; 2]) {
    let [a, b] = [(); 2].map(|()| with_quota(store, root));
    let (mut ann, mut bob) = (log_in(&a, "ann a"), log_in(&b, "bob b"));
    assert_eq!(send(&mut ann, "a", 100_000), "OK");
    wait_until("the bytes of the other server", || {
        left(&mut bob) == 924_000
    });
    ([a, b], [ann, bob])
}

#[test]
fn what_is_stored_by_one_server_counts_for_the_quota_at_all() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let (_dir, root) = shared();
    let [a, b] = [(); 2].map(|()| with_quota(&store, &root));
    let (mut ann, mut bob) = (log_in(&a, "ann a"), log_in(&b, "bob b"));
    assert_eq!(send(&mut ann, "a", 600_000), "OK");
    wait_until("the bytes of the other server", || {
        left(&mut bob) == 424_000
    });
    assert_eq!(send(&mut bob, "b", 500_000), reply_for(13));
    assert_eq!(send(&mut bob, "b", 400_000), "OK");
    wait_until("the bytes of the other server", || left(&mut ann) == 24_000);
    ann.expect("DEL a", 0);
    wait_until("room", || left(&mut bob) == 624_000);
    // A server that comes later counts what there is, and no byte twice.
    let c = with_quota(&store, &root);
    let mut third = log_in(&c, "bob b");
    wait_until("what is stored", || left(&mut third) == 624_000);
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(
        (left(&mut ann), left(&mut bob), left(&mut third)),
        (624_000, 624_000, 624_000)
    );
}

#[test]
fn what_is_stored_without_the_store_counts_at_all_once_it_is_back() {
    if left_out() {
        return;
    }
    let mut store = Store::start();
    let (_dir, root) = shared();
    let ([mut a, mut b], [mut ann, mut bob]) = with_a_file(&store, &root);
    store.kill();
    a.wait_for_log("shared state lost");
    b.wait_for_log("shared state lost");
    assert_eq!(send(&mut ann, "a2", 200_000), "OK");
    assert_eq!(send(&mut bob, "b", 300_000), "OK");
    assert_eq!((left(&mut ann), left(&mut bob)), (724_000, 624_000));
    store.run();
    wait_until("what both have stored", || {
        (left(&mut ann), left(&mut bob)) == (424_000, 424_000)
    });
}

#[test]
fn a_restart_of_the_process_at_the_store_counts_no_byte_twice() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let (_dir, root) = shared();
    let ([mut a, _b], [mut ann, mut bob]) = with_a_file(&store, &root);
    replace_process(&mut a);
    assert_eq!(send(&mut ann, "a2", 100_000), "OK");
    wait_until("the bytes of the other server", || {
        left(&mut bob) == 824_000
    });
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!((left(&mut ann), left(&mut bob)), (824_000, 824_000));
}

#[test]
fn a_count_on_disk_by_one_server_holds_at_all() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let (_dir, root) = shared();
    let ([mut a, _b], [mut ann, mut bob]) = with_a_file(&store, &root);
    fs::write(root.join("by hand"), vec![0; 50_000]).expect("write");
    // A reload counts as soon as it may.
    a.signal(nix::sys::signal::Signal::SIGHUP);
    a.wait_for_lines("counted what is stored", 2);
    wait_until("the count", || {
        (left(&mut ann), left(&mut bob)) == (874_000, 874_000)
    });
}
