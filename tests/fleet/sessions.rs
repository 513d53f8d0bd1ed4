//! Sessions of an account: the most are those at all servers together.

use std::time::{Duration, Instant};

use crate::common::{descendants, pids, wait_until};
use crate::store::{FULL, Store, left_out, log_in, pair, refusal, replace_process, server};

#[test]
fn an_account_has_its_most_sessions_at_all_servers_together() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [a, b] = pair(&store);
    let mut client = log_in(&a, "ann a");
    b.connect().expect_reason("LOGIN ann a", FULL);
    a.connect().expect_reason("LOGIN ann a", FULL);
    client.send("END");
    client.expect_closed();
    wait_until("the place of the session that has ended", || {
        refusal(&b, "ann a").is_none()
    });
}

#[test]
fn of_logins_at_once_at_two_servers_no_more_get_in_than_may() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let servers = pair(&store);
    let refused = std::thread::scope(|scope| {
        let logins = (0..8).map(|n| {
            let mut client = servers[n % 2].connect();
            scope.spawn(move || {
                let reply = client.ask("LOGIN ann a");
                (client, reply)
            })
        });
        let logins: Vec<_> = logins.collect();
        let ended = logins.into_iter().map(|login| login.join().expect("login"));
        let ended: Vec<_> = ended.collect();
        ended
            .iter()
            .filter(|(_, reply)| reply.contains(FULL))
            .count()
    });
    assert_eq!(refused, 7);
}

#[test]
fn sessions_of_a_server_that_is_gone_stop_counting_and_those_of_one_that_runs_do_not() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [a, b] = pair(&store);
    let client = log_in(&a, "ann a");
    std::thread::sleep(Duration::from_secs(35));
    b.connect().expect_reason("LOGIN ann a", FULL);
    for (pid, _) in descendants(a.pid()) {
        let pid = nix::unistd::Pid::from_raw(pid as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    a.signal(nix::sys::signal::Signal::SIGKILL);
    drop(client);
    let begun = Instant::now();
    wait_until("the end of its lease", || refusal(&b, "ann a").is_none());
    assert!(begun.elapsed() < Duration::from_secs(45));
}

#[test]
fn a_store_that_has_lost_everything_hears_of_all_sessions_again() {
    if left_out() {
        return;
    }
    let mut store = Store::start();
    let [mut a, mut b] = pair(&store);
    let _client = log_in(&a, "ann a");
    store.kill();
    a.wait_for_log("shared state lost");
    b.wait_for_log("shared state lost");
    store.run();
    a.wait_for_lines("shared state reached", 2);
    b.wait_for_lines("shared state reached", 2);
    b.connect().expect_reason("LOGIN ann a", FULL);
}

#[test]
fn the_process_at_the_store_is_started_again_and_forgets_no_session() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [mut a, b] = pair(&store);
    let _client = log_in(&a, "ann a");
    replace_process(&mut a);
    store.ask(&["DEL", "tfd:tfd:1:sessions:ann"]);
    // It is asked by the authenticator that was there before.
    wait_until("the session", || {
        store.keys().iter().any(|key| key.ends_with("sessions:ann"))
    });
    b.connect().expect_reason("LOGIN ann a", FULL);
    crate::store::fail(&a, "bob", 3);
    b.connect()
        .expect_reason("LOGIN bob b", crate::store::BLOCKED);
    assert_eq!(a.metric("tfd_helper_restarts_total{helper=\"state\"}"), 1);
}

#[test]
fn a_reload_to_another_store_takes_sessions_along() {
    if left_out() {
        return;
    }
    let (first, second) = (Store::start(), Store::start());
    let mut a = server(&first.shared());
    a.wait_for_log("shared state reached");
    let _client = log_in(&a, "ann a");
    let text = std::fs::read_to_string(a.config_path()).expect("read");
    let text = text.replace(&first.shared(), &second.shared());
    std::fs::write(a.config_path(), text).expect("write");
    a.signal(nix::sys::signal::Signal::SIGHUP);
    a.wait_for_lines("shared state reached", 2);
    let mut b = server(&second.shared());
    b.wait_for_log("shared state reached");
    b.connect().expect_reason("LOGIN ann a", FULL);
}

#[test]
fn without_the_key_there_is_no_such_process() {
    if left_out() {
        return;
    }
    let server = server("");
    drop(log_in(&server, "ann a"));
    assert!(pids(&server, "tfd-state").is_empty());
    assert!(!server.metrics().contains("shared_state"));
}
