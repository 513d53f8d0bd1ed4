//! The proxy in front of a real tfd: everything a client can do works through
//! it, and the backend learns whose connection it is.

use std::process::Command;

use crate::again::run_again;
use crate::common::{
    Client, Server, Setup, THROUGH_PROXY, descendants, has_ipv6, is_root, is_running, wait_until,
};

fn with(server: &str) -> Server {
    Server::with(Setup {
        server: server.to_owned(),
        ..Setup::default()
    })
}

#[test]
fn every_test_of_the_protocol_passes_through_the_proxy() {
    // Left out is what looks at more than the connection: arguments of the
    // programs, the clients' addresses, and what operators see and do.
    let of_the_server_itself = [
        "proxy",
        "proxied",
        "command_line",
        "operations",
        "service",
        "tls",
        "keystream",
    ];
    run_again(THROUGH_PROXY, &of_the_server_itself);
}

#[test]
fn a_big_file_goes_both_ways_unchanged() {
    let backend = Server::start();
    let proxy = Server::proxy(backend.address(), "");
    let content: Vec<u8> = (0..24_000_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let mut client = proxy.connect();
    client.send_file("f", false, &content);
    assert!(backend.read("f") == content);
    client.send("RCVFILE 0 f");
    assert!(client.receive_stream().expect("stream") == content);
}

#[test]
fn the_backend_knows_the_clients_address_where_it_trusts_the_proxy() {
    let mut backend = with("accept_proxy_from = [\"127.0.0.1/32\"]");
    let proxy = Server::proxy(backend.address(), "proxy_protocol = true");
    let mut client = Client::knock_from("127.0.0.77", proxy.address())
        .try_in()
        .expect("in");
    client.expect_alive();
    backend.wait_for_log("session start peer=127.0.0.77:");
}

#[test]
fn where_it_does_not_a_header_is_a_wrong_version_and_nothing_else() {
    let mut backend = with("accept_proxy_from = [\"192.0.2.0/24\"]");
    let proxy = Server::proxy(backend.address(), "proxy_protocol = true");
    assert!(Client::knock(proxy.address()).try_in().is_none());
    backend.wait_for_log("refused peer=127.0.0.1:");
    assert!(
        Client::knock(backend.address()).try_in().is_some(),
        "others need none"
    );
}

#[test]
fn from_a_trusted_network_nobody_comes_without_a_header() {
    let mut backend = with("accept_proxy_from = [\"127.0.0.1\"]");
    let mut client = Client::knock(backend.address());
    client.send("0.0");
    client.expect_closed();
    backend.wait_for_log("reason=\"no valid PROXY header\"");
    let mut silent = with("accept_proxy_from = [\"127.0.0.1\"]\nhandshake_timeout = 0.2");
    let mut client = Client::knock(silent.address());
    client.expect_closed();
    silent.wait_for_log("reason=\"no PROXY header");
}

#[test]
fn a_client_may_have_the_port_0() {
    use std::io::Write;
    let mut backend = with("accept_proxy_from = [\"127.0.0.1\"]");
    let client = Client::knock(backend.address());
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\0\0\0\x50";
    client.wire.socket().write_all(header).expect("send");
    client.try_in().expect("in").expect_alive();
    backend.wait_for_log("session start peer=192.0.2.7:0");
    let server = "mode = \"multi-user\"\nusers = \"users\"\naccept_proxy_from = [\"127.0.0.1\"]";
    if !is_root() {
        return;
    }
    let mut backend = Server::with(Setup {
        server: server.to_owned(),
        users: crate::common::account("ann", "secret", "nobody::from=192.0.2.0/24:"),
        ..Setup::default()
    });
    let client = Client::knock(backend.address());
    client.wire.socket().write_all(header).expect("send");
    client.try_in().expect("in").expect("LOGIN ann secret", 0);
    backend.wait_for_log("session start peer=192.0.2.7:0");
}

#[test]
fn proxies_in_a_row_pass_the_address_on() {
    let trust = "accept_proxy_from = [\"127.0.0.1\"]";
    let mut backend = with(trust);
    let inner = Server::with(Setup {
        server: trust.to_owned(),
        tf: format!(
            "proxy_to = \"{}\"\nproxy_protocol = true",
            backend.address()
        ),
        ..Setup::default()
    });
    let outer = Server::proxy(inner.address(), "proxy_protocol = true");
    let mut client = Client::knock_from("127.0.0.78", outer.address())
        .try_in()
        .expect("in");
    client.expect_alive();
    backend.wait_for_log("session start peer=127.0.0.78:");
}

#[test]
fn many_clients_of_a_trusted_proxy_are_not_one_address() {
    let backend = Server::with(Setup {
        server: "max_sessions_per_address = 2\naccept_proxy_from = [\"127.0.0.1\"]".to_owned(),
        ..Setup::default()
    });
    let proxy = Server::proxy(backend.address(), "proxy_protocol = true");
    let mut clients: Vec<Client> = (0..5).map(|_| proxy.connect()).collect();
    clients.iter_mut().for_each(Client::expect_alive);
}

#[test]
fn logins_are_throttled_by_the_clients_address_and_not_by_the_proxys() {
    if !is_root() {
        println!("left out: logging in needs a server that root started");
        return;
    }
    let user = crate::common::account("ann", "secret", "nobody:::");
    let mut backend = Server::with(Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"\naccept_proxy_from = [\"127.0.0.1\"]"
            .to_owned(),
        users: user,
        ..Setup::default()
    });
    let proxy = Server::proxy(backend.address(), "proxy_protocol = true");
    let mut bad = Client::knock_from("127.0.0.79", proxy.address())
        .try_in()
        .expect("in");
    bad.expect("LOGIN ann wrong", 37);
    backend.wait_for_log("login failed peer=127.0.0.79");
    let mut good = Client::knock_from("127.0.0.80", proxy.address())
        .try_in()
        .expect("in");
    good.expect("LOGIN ann secret", 0);
    backend.wait_for_log("session start peer=127.0.0.80:");
}

#[test]
fn the_check_says_what_a_proxy_does_and_which_address_is_not_here() {
    let proxy = Server::proxy("192.0.2.1:1", "");
    let path = proxy.config_path().with_file_name("other.toml");
    let text = std::fs::read_to_string(proxy.config_path()).expect("read");
    let check = |more: &str| {
        std::fs::write(&path, text.replacen("[tf]", more, 1)).expect("write");
        let mut tfd = Command::new(env!("CARGO_BIN_EXE_tfd"));
        let output = tfd
            .args(["check", "--config"])
            .arg(&path)
            .output()
            .expect("run");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let said = check("[tf]");
    assert!(
        said.contains("configuration ok: proxy to 192.0.2.1:1 on 127.0.0.1:0"),
        "{said}"
    );
    let said = check("[tf]\nproxy_from = [\"127.0.0.1\", \"192.0.2.77\"]");
    assert!(
        said.contains("tf.proxy_from: 192.0.2.77: no address of this machine"),
        "{said}"
    );
    let said = check("jail = true\n[tf]");
    assert!(
        said.contains("server.jail: a proxy serves no file: remove this key"),
        "{said}"
    );
}

#[test]
fn own_addresses_are_used_in_turn() {
    let backend = Server::start();
    let more = if has_ipv6() { "\"::1\", " } else { "" };
    let from = format!("proxy_from = [\"127.0.0.2\", \"127.0.0.3\", {more}\"127.0.0.4\"]");
    let proxy = Server::proxy(backend.address(), &from);
    for _ in 0..6 {
        proxy.connect().expect_alive();
    }
    for address in ["127.0.0.2", "127.0.0.3", "127.0.0.4"] {
        let text = format!("session start peer={address}:");
        let count = || {
            backend
                .log()
                .iter()
                .filter(|line| line.contains(&text))
                .count()
        };
        wait_until(address, || count() == 2);
    }
}

#[test]
fn a_reload_lets_relays_go_on_and_a_stop_ends_all() {
    let backend = Server::start();
    let mut proxy = Server::proxy(backend.address(), "");
    let mut before = proxy.connect();
    proxy.signal(nix::sys::signal::Signal::SIGHUP);
    proxy.wait_for_log("configuration read again");
    before.expect_alive();
    proxy.connect().expect_alive();
    let pid = proxy.pid();
    let names = |pid| {
        descendants(pid)
            .into_iter()
            .map(|(_, name)| name)
            .collect::<Vec<_>>()
    };
    assert!(
        names(pid).contains(&"tfd-relay".to_owned()),
        "{:?}",
        names(pid)
    );
    let all = descendants(pid);
    proxy.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(proxy.wait_for_end(), Some(0));
    before.expect_closed();
    wait_until("all are gone", || {
        !all.iter().any(|(pid, _)| is_running(*pid))
    });
}

#[test]
fn a_stop_waits_for_what_moves() {
    let backend = Server::start();
    let mut proxy = Server::with(Setup {
        server: "stop_grace = 20".to_owned(),
        tf: format!("proxy_to = \"{}\"", backend.address()),
        ..Setup::default()
    });
    let content = vec![7; 3_000_000];
    let mut client = proxy.connect();
    assert_eq!(client.ask("SNDFILE 0 f"), "CONT");
    for (at, chunk) in content.chunks(100_000).enumerate() {
        assert_eq!(client.ask([b"CONT ", chunk].concat()), "CONT");
        if at == 2 {
            proxy.signal(nix::sys::signal::Signal::SIGTERM);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(client.ask("OK"), "OK");
    assert_eq!(proxy.wait_for_end(), Some(0));
    assert!(backend.read("f") == content);
}
