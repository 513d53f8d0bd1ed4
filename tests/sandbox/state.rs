//! What the process at the store that several servers share could do once it was taken
//! over: connect to the port of the store, and nothing else.

use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};

use tfd::sandbox::place::Place;

use crate::common::{Server, Setup};
use crate::files::say;
use crate::setting;

/// Its place, and where another port is named.
pub const PLACE: &str = "State";
const STORE: &str = "TFD_TEST_STORE";
const OTHER: &str = "TFD_TEST_OTHER";

/// In a process of the attacked tfd.
pub fn attack(place: Place) {
    if place != Place::Helper("state") {
        return;
    }
    let port = |name| setting(name).parse::<u16>().expect("port");
    let connect = |name| TcpStream::connect((Ipv4Addr::LOCALHOST, port(name))).is_ok();
    let attempts = [
        ("connect to the store", connect(STORE)),
        ("connect elsewhere", connect(OTHER)),
        ("listen", TcpListener::bind("127.0.0.1:0").is_ok()),
        ("send a datagram", UdpSocket::bind("127.0.0.1:0").is_ok()),
        ("read a file", std::fs::read("/etc/passwd").is_ok()),
    ];
    for (attempt, succeeded) in attempts {
        say(&format!("state: {attempt}: {succeeded}\n"));
    }
    say("state: all tried\n");
}

/// All attempts, with the sandbox and without; how many came to something else than
/// expected.
pub fn is_confined() -> usize {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("listener"));
    let [store, other] = listeners
        .each_ref()
        .map(|it| it.local_addr().expect("address").port());
    let mut failures = 0;
    for sandbox in [true, false] {
        let environment = vec![
            ("TFD_TEST_PLACE", PLACE.to_owned()),
            (STORE, store.to_string()),
            (OTHER, other.to_string()),
        ];
        let mut server = Server::with(Setup {
            server: format!("sandbox = {sandbox}\nshared_state = \"redis://127.0.0.1:{store}\""),
            program: Some((std::env::current_exe().expect("this program"), environment)),
            ..Setup::default()
        });
        server.wait_for_log("state: all tried");
        for (attempt, expected) in [
            ("connect to the store", true),
            ("connect elsewhere", !sandbox),
            ("listen", !sandbox),
            ("send a datagram", !sandbox),
            // Its root directory is empty.
            ("read a file", false),
        ] {
            let line = format!("state: {attempt}: {expected}");
            let is_right = server.log().iter().any(|of| of.contains(&line));
            let verdict = if is_right { "ok" } else { "FAILED" };
            println!("{verdict:6} Helper(\"state\") sandbox={sandbox}: {attempt}: {expected}");
            failures += usize::from(!is_right);
        }
    }
    failures
}
