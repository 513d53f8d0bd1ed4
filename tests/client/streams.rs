//! One large file over several connections.

use crate::desk::{Desk, content};
use crate::relay::{Link, Relay};

#[test]
fn a_large_file_goes_by_ranges_and_is_the_same() {
    let mut desk = Desk::new();
    let expected = content(100_000_001, 9);
    desk.write("large", &expected);
    for streams in ["2", "5"] {
        desk.fine(&["put", "-j", streams, "large", "there"]);
        assert!(desk.server.read("there") == expected, "put {streams}");
        desk.fine(&["get", "-j", streams, "there", "back"]);
        assert!(desk.read("back") == expected, "get {streams}");
        std::fs::remove_file(desk.path("back")).expect("remove");
        desk.fine(&["rm", "there"]);
    }
    // Each connection lives for a third of the file.
    let direct = desk.address;
    let relay = Relay::start(direct, Link::default(), Box::new(|| Some(33_700_000)));
    desk.address = relay.address;
    desk.fine(&["put", "-j", "3", "large", "there"]);
    assert!(desk.server.read("there") == expected);
    desk.fine(&["get", "-j", "3", "there", "back"]);
    assert!(desk.read("back") == expected);
    assert!(relay.connections() >= 6, "{}", relay.connections());
    assert_eq!(desk.server.names(""), ["there"]);
}

#[test]
fn a_server_that_takes_fewer_connections_gets_fewer() {
    use crate::common::{Server, Setup};
    let server = "max_sessions = 1".to_owned();
    let desk = Desk::at(Server::with(Setup { server, ..Setup::default() }));
    for number in 0..50 {
        desk.write(&format!("t/{number}"), content(10_000, number));
    }
    desk.fine(&["put", "-r", "-j", "4", "t"]);
    assert!(crate::desk::tree(&desk.server.path("t")) == crate::desk::tree(&desk.path("t")));
}
