//! Orders to end sessions: of a user or an address, they reach all servers.

use crate::common::{Server, wait_until};
use crate::store::{Store, beside, left_out, log_in, pair, refusal, replace_process, tfd};

fn kick(server: &Server, arguments: &[&str]) -> (bool, String) {
    let control = beside(server, "control");
    tfd(&[&["kick", "--control", &control], arguments].concat())
}

#[test]
fn kick_ends_the_sessions_of_a_user_or_an_address_at_all_servers() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [a, b] = pair(&store);
    let mut stays = log_in(&b, "ann a");
    let (mut here, mut there) = (log_in(&a, "bob b"), log_in(&b, "bob b"));
    let (fine, said) = kick(&a, &["--user", "bob"]);
    assert!(fine, "{said}");
    assert_eq!(said, "ended 1 session; other servers end theirs\n");
    here.expect_closed();
    there.expect_closed();
    stays.expect_alive();
    let (fine, said) = kick(&a, &["--address", "127.0.0.1"]);
    assert!(fine, "{said}");
    stays.expect_closed();
}

#[test]
fn who_comes_after_a_kick_stays() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [a, mut b] = pair(&store);
    let (fine, said) = kick(&a, &["--user", "bob"]);
    assert!(fine, "{said}");
    assert_eq!(said, "no session matches here; other servers end theirs\n");
    wait_until("the order", || {
        store.keys().iter().any(|key| key.ends_with("kicks"))
    });
    // Who comes while the order is on its way may be taken for one who was there.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let mut client = log_in(&b, "bob b");
    // Restarted, the process hears of the order once more.
    replace_process(&mut b);
    std::thread::sleep(std::time::Duration::from_secs(2));
    client.expect_alive();
}

#[test]
fn a_kick_without_the_store_reaches_the_others_once_it_is_back() {
    if left_out() {
        return;
    }
    let mut store = Store::start();
    let [mut a, mut b] = pair(&store);
    let mut client = log_in(&b, "bob b");
    store.kill();
    a.wait_for_log("shared state lost");
    b.wait_for_log("shared state lost");
    let (fine, said) = kick(&a, &["--user", "bob"]);
    assert!(
        fine && said.contains("once the shared state is reached again"),
        "{said}"
    );
    client.expect_alive();
    store.run();
    client.expect_closed();
    assert_eq!(refusal(&b, "bob b"), None);
}
