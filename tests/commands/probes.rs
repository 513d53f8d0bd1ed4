//! ping, where, raw, and servers that are chosen by a load balancer.

use crate::common::tf::Person;
use crate::common::{Server, Setup};

/// A server whose pool has another one.
pub(crate) fn with_pool(to: &Server) -> Server {
    let server = Server::with(Setup {
        tf: "tlb_pool = \"pool\"".into(),
        ..Setup::default()
    });
    let pool = server.config_path().with_file_name("pool");
    let address = to.addresses()[0];
    std::fs::write(pool, format!("4 {};{}\n", address.ip(), address.port())).expect("write");
    server
}

#[test]
fn ping_asks_all_ways_and_tells_times() {
    let server = Server::start();
    let person = Person::of(&server);
    let out = person.fine(&["ping", "-c", "3", "-i", "0.01", "-W", "60"]);
    for way in ["host", "process", "socket", "oob", "keepalive"] {
        assert!(out.contains(&format!("{way:<9} 3: ")), "{way}: {out}");
        assert!(
            out.contains(&format!("{way:<9} 3 of 3 answered, ")),
            "{way}: {out}"
        );
    }
    assert!(!out.contains("no answer"), "{out}");
    let once = person.fine(&[
        "ping", "-c", "1", "-W", "60", "--by", "oob", "--by", "socket",
    ]);
    assert_eq!(once.lines().count(), 4);
}

#[test]
fn ping_by_host_needs_no_session_and_silence_is_a_failure() {
    let server = Server::start();
    let person = Person::new();
    let address = format!("tf://{}", server.address());
    person.fine(&["ping", "--by", "host", "-c", "1", "-W", "60", &address]);
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
    let address = format!("tf://{}", nobody.local_addr().expect("address"));
    let arguments = [
        "ping", "--by", "host", "-c", "2", "-i", "0", "-W", "0.05", &address,
    ];
    let run = person.fails(&arguments, 1, &[]);
    assert!(run.out.contains("host      2: no answer\n"), "{}", run.out);
    assert!(
        run.out.contains("host      0 of 2 answered\n"),
        "{}",
        run.out
    );
    person.fails(&["ping", "-i=-1"], 2, &["interval"]);
}

#[test]
fn where_asks_the_balancer_by_udp_and_by_tcp() {
    let other = Server::start();
    let server = with_pool(&other);
    let person = Person::of(&server);
    let expected = format!("{}\n", other.addresses()[0]);
    // A server that is slow to answer may be thought dead for a moment.
    for arguments in [&["where", "--udp"][..], &["where"], &["where", "--tcp"]] {
        crate::common::wait_until("the pool is alive", || {
            let run = person.tf(arguments);
            run.code == Some(0) && run.out == expected
        });
    }
    let alone = Server::start();
    let person = Person::of(&alone);
    person.fails(&["where"], 1, &["no pool"]);
    person.fails(&["where", "--udp"], 1, &["no pool"]);
}

#[test]
fn an_entry_with_balance_leads_to_the_server_that_the_balancer_names() {
    let other = Server::start();
    other.write("here", "x");
    let server = with_pool(&other);
    let person = Person::of(&server);
    let entry = |balance: bool| {
        let address = server.address();
        person.configure(&format!(
            "[server.s]\naddress = \"{address}\"\nbalance = {balance}\n"
        ));
    };
    crate::common::wait_until("the pool is alive", || {
        person.tf(&["where"]).code == Some(0)
    });
    entry(true);
    assert_eq!(person.fine(&["ls", "s:"]), "here\n");
    entry(false);
    assert_eq!(person.fine(&["ls", "s:"]), "");
}

#[test]
fn a_server_without_a_pool_serves_those_who_ask_for_one() {
    let server = Server::start();
    server.write("here", "x");
    let person = Person::of(&server);
    person.configure(&format!(
        "[server.s]\naddress = \"{}\"\nbalance = true\n",
        server.address()
    ));
    assert_eq!(person.fine(&["ls", "s:"]), "here\n");
}

#[test]
fn raw_sends_one_request_and_prints_the_reply() {
    let server = Server::start();
    server.write("f", "12345");
    let person = Person::of(&server);
    assert!(person.fine(&["raw", "FSTAT", "f"]).starts_with("OK F 5 "));
    assert_eq!(person.fine(&["raw", "-x", "ECHO", "hi"]), "6869\n");
    let run = person.fails(&["raw", "FSTAT", "none"], 1, &[]);
    assert_eq!(run.out, "FAILED 9 : File does not exist.\n");
    let run = person.fails(&["raw", "NOSUCH"], 1, &[]);
    assert_eq!(run.out, "UNKNOWN\n");
    let at = format!("tf://{}", server.address());
    assert!(
        person
            .fine(&["raw", "--at", &at, "DATE"])
            .starts_with("OK 1")
    );
    // END is answered by nothing but the end.
    person.fails(&["--timeout", "2", "raw", "END"], 5, &["connection"]);
}
