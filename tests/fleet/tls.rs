//! TLS to the store: it is believed by its certificate, or not at all.

use crate::common::write_certificate;
use crate::store::{BLOCKED, Store, fail, left_out, log_in, server};

/// A store that speaks TLS alone.
fn store() -> Store {
    let mut store = Store::stopped("");
    write_certificate(store.dir.path(), None);
    let dir = store.dir.path().display().to_string();
    let port = store.port;
    store.set_lines(format!(
        "port 0\ntls-port {port}\ntls-cert-file {dir}/tls.pem\ntls-key-file {dir}/tls-key.pem\n\
         tls-ca-cert-file {dir}/tls.pem\ntls-auth-clients no"
    ));
    store.run();
    store
}

fn over_tls(store: &Store, authorities: &str) -> String {
    let shared = store.shared_at(&format!("rediss://127.0.0.1:{}", store.port));
    format!("{shared}shared_state_ca = \"{authorities}\"\n")
}

#[test]
fn servers_share_their_state_over_tls() {
    if left_out() {
        return;
    }
    let store = store();
    let authorities = store.dir.path().join("tls.pem").display().to_string();
    let mut servers = [(); 2].map(|()| server(&over_tls(&store, &authorities)));
    for server in &mut servers {
        server.wait_for_log("shared state reached");
    }
    let [a, b] = servers;
    fail(&a, "bob", 3);
    b.connect().expect_reason("LOGIN bob b", BLOCKED);
}

#[test]
fn a_store_with_a_certificate_of_somebody_else_gets_no_password() {
    if left_out() {
        return;
    }
    let (store, other) = (store(), tempfile::tempdir().expect("directory"));
    write_certificate(other.path(), None);
    let authorities = other.path().join("tls.pem").display().to_string();
    let mut server = server(&over_tls(&store, &authorities));
    server.wait_for_log("shared state lost");
    server.wait_for_log("its certificate is not trusted");
    drop(log_in(&server, "ann a"));
    fail(&server, "bob", 3);
    server.connect().expect_reason("LOGIN bob b", BLOCKED);
}
