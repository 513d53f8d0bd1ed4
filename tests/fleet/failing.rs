//! A store that is down, slow, full, or has another password: never more get in than by a
//! server's own rules, and nobody is locked out.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::{descendants, memory_holds, wait_until};
use crate::store::{
    BLOCKED, FULL, Store, beside, decides_alone, fail, left_out, log_in, pair, refusal, server, tfd,
};

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
fn a_store_that_stands_still_delays_a_login_by_a_moment_only() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [mut a, b] = pair(&store);
    store.signal(Signal::SIGSTOP);
    let begun = Instant::now();
    decides_alone(&b);
    // Five logins, each with a hash to compare.
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    a.wait_for_log("shared state lost");
    store.signal(Signal::SIGCONT);
    a.wait_for_lines("shared state reached", 2);
    // What was counted meanwhile holds elsewhere.
    wait_until("the block", || {
        refusal(&a, "bob b").is_some_and(|why| why.contains(BLOCKED))
    });
}

#[test]
fn a_store_killed_and_started_under_load_locks_nobody_out() {
    if left_out() {
        return;
    }
    let mut store = Store::start();
    let [a, b] = pair(&store);
    let until = Instant::now() + Duration::from_secs(8);
    let logins = std::thread::scope(|scope| {
        let clients = [&a, &b].map(|server| {
            scope.spawn(move || {
                let mut count = 0;
                while Instant::now() < until {
                    assert_eq!(refusal(server, "bob b"), None);
                    count += 1;
                }
                count
            })
        });
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(900));
            store.kill();
            std::thread::sleep(Duration::from_millis(400));
            store.run();
        }
        clients.map(|client| client.join().expect("client"))
    });
    assert!(logins.iter().all(|count| *count > 10), "{logins:?}");
}

#[test]
fn a_full_store_is_read_and_what_it_has_no_room_for_is_as_without_it() {
    if left_out() {
        return;
    }
    let store = Store::with("maxmemory 100mb\nmaxmemory-policy noeviction");
    let [mut a, b] = pair(&store);
    fail(&a, "nobody", 3);
    let _client = log_in(&a, "ann a");
    store.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    a.wait_for_log("shared state not written");
    b.connect().expect_reason("LOGIN nobody b", BLOCKED);
    b.connect().expect_reason("LOGIN ann a", FULL);
    assert_eq!(a.metric("tfd_shared_state_reachable"), 1);
    fail(&b, "bob", 3);
    b.connect().expect_reason("LOGIN bob b", BLOCKED);
    assert_eq!(refusal(&a, "bob b"), None);
    store.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    a.wait_for_log("shared state written again");
    wait_until("the block", || {
        refusal(&a, "bob b").is_some_and(|why| why.contains(BLOCKED))
    });
}

#[test]
fn a_full_store_gives_no_places_to_sessions_and_takes_none() {
    if left_out() {
        return;
    }
    let store = Store::with("maxmemory 100mb\nmaxmemory-policy noeviction");
    let [mut a, b] = pair(&store);
    store.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let (_here, _there) = (log_in(&a, "ann a"), log_in(&b, "ann a"));
    for server in [&a, &b] {
        server.connect().expect_reason("LOGIN ann a", FULL);
    }
    a.wait_for_log("shared state not written");
    fail(&a, "bob", 1);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(store.keys(), Vec::<String>::new());
    let log = a.log();
    let refused = log.iter().filter(|line| line.contains("not written"));
    assert_eq!(refused.count(), 1, "{log:#?}");
    assert!(a.metric("tfd_shared_state_refused_total") > 1);
    store.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    a.wait_for_log("shared state written again");
    wait_until("both sessions", || {
        store.ask(&["ZCARD", "tfd:tfd:1:sessions:ann"]) == redis::Value::Int(2)
    });
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
    let holders: Vec<String> = descendants(a.pid())
        .into_iter()
        .chain([(a.pid(), "tfd".to_owned())])
        .filter(|(pid, _)| memory_holds(*pid, crate::store::PASSWORD.as_bytes()))
        .map(|(_, name)| name)
        .collect();
    assert_eq!(holders, ["tfd-state"]);
}
