//! Failed logins: what one server has seen counts at all.

use crate::common::{account, wait_until};
use crate::store::{BLOCKED, Store, beside, fail, left_out, log_in, pair, refusal, tfd};

#[test]
fn an_address_blocked_at_an_account_by_one_server_is_blocked_there_by_all() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [a, b] = pair(&store);
    fail(&a, "bob", 3);
    b.connect().expect_reason("LOGIN bob b", BLOCKED);
    // Whoever is behind the same address has not failed.
    drop(log_in(&b, "ann a"));
}

#[test]
fn failures_at_several_servers_count_together() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [mut a, b] = pair(&store);
    fail(&b, "bob", 2);
    fail(&a, "bob", 1);
    a.wait_for_log("login blocked peer=127.0.0.1 user=\"bob\" seconds=3600");
    a.connect().expect_reason("LOGIN bob b", BLOCKED);
    b.connect().expect_reason("LOGIN bob b", BLOCKED);
}

#[test]
fn a_login_at_one_server_forgives_failures_at_another() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [a, b] = pair(&store);
    fail(&a, "bob", 2);
    drop(log_in(&b, "bob b"));
    fail(&b, "bob", 2);
    assert_eq!(refusal(&b, "bob b"), None);
}

#[test]
fn guesses_over_many_names_at_two_servers_block_the_address_at_both() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [a, b] = pair(&store);
    drop(log_in(&a, "ann a"));
    for n in 0..15 {
        let server = if n % 2 == 0 { &a } else { &b };
        fail(server, &format!("name{n}"), 1);
    }
    for server in [&a, &b] {
        server.connect().expect_reason("LOGIN bob b", BLOCKED);
        // An account that has logged in from there, at whichever server, is let through.
        wait_until("a place", || refusal(server, "ann a").is_none());
    }
}

#[test]
fn what_blocks_an_address_at_a_server_alone_blocks_it_there_with_a_store_too() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [a, b] = pair(&store);
    drop(log_in(&a, "ann a"));
    for n in 0..15 {
        fail(&b, &format!("name{n}"), 1);
    }
    // Without the store it would be so: ann has logged in from there to the other alone.
    b.connect().expect_reason("LOGIN ann a", BLOCKED);
    a.connect().expect_reason("LOGIN bob b", BLOCKED);
    wait_until("a place", || refusal(&a, "ann a").is_none());
}

#[test]
fn a_store_whose_clock_is_behind_that_of_the_last_one_ends_no_block() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [_a, b] = pair(&store);
    let ahead = (crate::store::time(&store) + 100).to_string();
    let ends = (crate::store::time(&store) + 3700).to_string();
    let key = "tfd:tfd:1:failed-at:bob:127.0.0.1";
    store.ask(&["HSET", key, "count", "3", "last", &ahead, "ends", &ends]);
    b.connect().expect_reason("LOGIN bob b", BLOCKED);
}

#[test]
fn who_is_unblocked_at_one_server_is_so_at_all() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [a, b] = pair(&store);
    for whom in ["bob", "127.0.0.1"] {
        fail(&a, "bob", 3);
        b.connect().expect_reason("LOGIN bob b", BLOCKED);
        let config = beside(&a, "tfd.toml");
        // Times are whole seconds.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let (fine, said) = tfd(&["unblock", "--config", &config, whom]);
        assert!(fine && said.contains("unblocked at all servers"), "{said}");
        for server in [&a, &b] {
            wait_until("a login", || refusal(server, "bob b").is_none());
        }
    }
}

#[test]
fn a_block_that_a_server_has_heard_of_lasts_without_the_store() {
    if left_out() {
        return;
    }
    let mut store = Store::start();
    let [a, mut b] = pair(&store);
    fail(&a, "bob", 3);
    b.connect().expect_reason("LOGIN bob b", BLOCKED);
    store.kill();
    b.wait_for_log("shared state lost");
    b.connect().expect_reason("LOGIN bob b", BLOCKED);
    drop(log_in(&b, "ann a"));
}

#[test]
fn failures_counted_without_the_store_are_added_once_it_is_back() {
    if left_out() {
        return;
    }
    let mut store = Store::stopped("");
    let mut servers = [(); 2].map(|()| crate::store::server(&store.shared()));
    for server in &mut servers {
        server.wait_for_log("shared state lost");
    }
    let [mut a, mut b] = servers;
    fail(&a, "bob", 2);
    fail(&b, "bob", 2);
    store.run();
    a.wait_for_log("shared state reached");
    b.wait_for_log("shared state reached");
    for server in [&a, &b] {
        wait_until("the block", || {
            refusal(server, "bob b").is_some_and(|why| why.contains(BLOCKED))
        });
    }
}

#[test]
fn names_that_no_account_may_have_are_no_names_of_values() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [a, _b] = pair(&store);
    a.set_users(&account("ann", "a", "games:::"));
    fail(&a, "x:y*\u{1}", 2);
    fail(&a, "nobody", 1);
    let keys = store.keys();
    let of_names: Vec<_> = keys
        .iter()
        .filter(|key| key.contains("failed-at"))
        .collect();
    assert_eq!(of_names, ["tfd:tfd:1:failed-at:nobody:127.0.0.1"]);
    for key in &keys {
        let left = store.ask(&["TTL", key]);
        assert!(
            matches!(left, redis::Value::Int(1..=7_776_000)),
            "{key}: {left:?}"
        );
    }
}
