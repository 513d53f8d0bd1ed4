//! The process at the store: what it is, and what it may reach.

use std::fs;

use crate::common::pids;
use crate::store::{Store, left_out, log_in, pair};

fn status(pid: u32, line: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let found = status.lines().find_map(|of| of.strip_prefix(line));
    let value = found.expect("a line").split_whitespace().next();
    value.expect("a value").to_owned()
}

#[test]
fn it_has_a_helpers_identity_and_no_file() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let [a, _b] = pair(&store);
    let client = log_in(&a, "bob b");
    let [state] = pids(&a, "tfd-state")[..] else {
        panic!("one process");
    };
    for pid in [pids(&a, "tfd-zygote"), pids(&a, "tfd-session")].concat() {
        assert_ne!(status(state, "Uid:"), status(pid, "Uid:"));
    }
    assert_ne!(status(state, "Uid:"), "0");
    for (line, value) in [
        ("CapEff:", "0000000000000000"),
        ("CapPrm:", "0000000000000000"),
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2"),
    ] {
        assert_eq!(status(state, line), value, "{line}");
    }
    for entry in fs::read_dir(format!("/proc/{state}/fd")).expect("descriptors") {
        let target = fs::read_link(entry.expect("entry").path()).unwrap_or_default();
        let target = target.display().to_string();
        let known = ["socket:", "pipe:", "/dev/null", "anon_inode:"];
        assert!(
            known.iter().any(|known| target.starts_with(known)),
            "{target}"
        );
    }
    drop(client);
}

#[test]
fn a_store_that_is_named_is_looked_up() {
    if left_out() {
        return;
    }
    let store = Store::start();
    let url = format!("redis://localhost:{}", store.port);
    let mut server = crate::store::server(&store.shared_at(&url));
    server.wait_for_log("shared state reached store=\"localhost:");
}

#[test]
fn a_user_of_the_store_needs_no_other_commands() {
    if left_out() {
        return;
    }
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/shared-state.md");
    let page = fs::read_to_string(page).expect("page");
    let line = page
        .lines()
        .find(|line| line.starts_with("ACL SETUSER tfd "));
    let line = line.expect("the line").replace("eu-1", "tfd");
    let store = Store::start();
    let line = line.replace(
        ">PASSWORD",
        &format!(">{}", crate::store::PASSWORD.replace(' ', "_")),
    );
    store.ask(&line.split(' ').collect::<Vec<_>>());
    let password = store.dir.path().join("password");
    fs::write(&password, crate::store::PASSWORD.replace(' ', "_")).expect("write");
    let url = format!("redis://tfd@127.0.0.1:{}/0", store.port);
    let lines = format!("quota = \"1G\"\n{}", store.shared_at(&url));
    let [mut a, mut b] = [(); 2].map(|()| crate::store::server(&lines));
    a.wait_for_log("shared state reached");
    b.wait_for_log("shared state reached");
    crate::store::fail(&a, "no:name", 1);
    crate::store::fail(&a, "bob", 3);
    b.connect()
        .expect_reason("LOGIN bob b", crate::store::BLOCKED);
    let control = crate::store::beside(&a, "control");
    let mut client = log_in(&b, "ann a");
    a.connect().expect_reason("LOGIN ann a", crate::store::FULL);
    crate::store::tfd(&["kick", "--control", &control, "--user", "ann"]);
    client.expect_closed();
    crate::store::tfd(&[
        "unblock",
        "--config",
        &crate::store::beside(&a, "tfd.toml"),
        "bob",
    ]);
    a.signal(nix::sys::signal::Signal::SIGHUP);
    a.wait_for_lines("counted what is stored", 2);
    for server in [&a, &b] {
        let log = server.log();
        let refused = log
            .iter()
            .find(|line| line.contains("not written") || line.contains("state lost"));
        assert_eq!(refused, None);
    }
}
