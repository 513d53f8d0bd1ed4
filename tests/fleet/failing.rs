//! A store that is down, slow, full, or has another password: never more get in than by a
//! server's own rules, and nobody is locked out.

use crate::common::Server;
use crate::store::{BLOCKED, FULL, Store, beside, fail, left_out, log_in, pair, server, tfd};

/// What a server does by its own rules: nobody who should not gets in, others do.
fn decides_alone(server: &Server) {
    let _client = log_in(server, "ann a");
    server.connect().expect_reason("LOGIN ann a", FULL);
    fail(server, "bob", 3);
    server.connect().expect_reason("LOGIN bob b", BLOCKED);
}

#[test]
fn a_store_that_is_down_from_the_start_leaves_each_server_its_own_rules() {
    if left_out() {
        return;
    }
    let store = Store::stopped("");
    let mut server = server(&store.shared());
    server.wait_for_log("shared state lost");
    decides_alone(&server);
    assert_eq!(server.metric("tfd_shared_state_reachable"), 0);
    assert_eq!(
        server.metric("tfd_shared_state_last_contact_timestamp_seconds"),
        0
    );
    assert_eq!(server.metric("tfd_shared_state_lost_total"), 1);
}

#[test]
fn a_store_with_another_password_leaves_each_server_its_own_rules_and_is_not_shown_it() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let secret = "not the right one";
    std::fs::write(store.dir.path().join("password"), secret).expect("write");
    let mut server = server(&store.shared());
    server.wait_for_log("shared state lost");
    server.wait_for_log("WRONGPASS");
    decides_alone(&server);
    assert!(server.log().iter().all(|line| !line.contains(secret)));
}

#[test]
fn the_password_is_in_one_process_and_in_nothing_that_is_printed() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [a, _b] = pair(&store);
    fail(&a, "bob", 1);
    let config = beside(&a, "tfd.toml");
    let (fine, said) = tfd(&["check", "--config", &config]);
    let log = a.log().join("\n");
    assert!(!said.contains(crate::store::PASSWORD) && !log.contains(crate::store::PASSWORD));
    assert!(fine, "{said}");
    let holders: Vec<String> = crate::common::descendants(a.pid())
        .into_iter()
        .chain([(a.pid(), "tfd".to_owned())])
        .filter(|(pid, _)| has_in_memory(*pid, crate::store::PASSWORD.as_bytes()))
        .map(|(_, name)| name)
        .collect();
    assert_eq!(holders, ["tfd-state"]);
}

/// Whether a process has these bytes in memory that it may write to.
fn has_in_memory(pid: u32, wanted: &[u8]) -> bool {
    use std::os::unix::fs::FileExt;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let Ok(memory) = std::fs::File::open(format!("/proc/{pid}/mem")) else {
        return false;
    };
    maps.lines()
        .filter(|line| line.contains(" rw"))
        .any(|line| {
            let range = line
                .split(' ')
                .next()
                .and_then(|range| range.split_once('-'));
            let Some((from, to)) = range else {
                return false;
            };
            let place = |text| u64::from_str_radix(text, 16).expect("place");
            let (from, to) = (place(from), place(to));
            let mut bytes = vec![0; (to - from).min(64 << 20) as usize];
            let read = memory.read_at(&mut bytes, from).unwrap_or(0);
            bytes[..read]
                .windows(wanted.len())
                .any(|part| part == wanted)
        })
}
