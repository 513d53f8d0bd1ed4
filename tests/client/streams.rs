//! One large file over several connections, or with a second one for its digest.

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
    let desk = Desk::at(Server::with(Setup {
        server,
        ..Setup::default()
    }));
    for number in 0..50 {
        desk.write(&format!("t/{number}"), content(10_000, number));
    }
    desk.fine(&["put", "-r", "-j", "4", "t"]);
    assert!(crate::desk::tree(&desk.server.path("t")) == crate::desk::tree(&desk.path("t")));
}

/// A link to the desk's server whose connections live for as many bytes as
/// told, the first for ever.
fn link(desk: &mut Desk, others: Option<u64>) -> Relay {
    let mut first = true;
    let lives = move || {
        if std::mem::take(&mut first) {
            None
        } else {
            others
        }
    };
    let relay = Relay::start(desk.server.address(), Link::default(), Box::new(lives));
    desk.address = relay.address;
    relay
}

#[test]
fn the_digest_of_a_large_file_is_made_while_it_is_moved() {
    // A server with the extension makes it from what it sends.
    moved_with_digest(Desk::new(), 1);
    moved_with_digest(Desk::without_extension(), 2);
}

fn moved_with_digest(mut desk: Desk, connections: u64) {
    let expected = content(150_000_007, 10);
    desk.write("large", &expected);
    let relay = link(&mut desk, None);
    desk.fine(&["put", "large", "there"]);
    assert!(desk.server.read("there") == expected);
    // It is not due before the end when sending is slow.
    assert!(relay.connections() <= 2, "{}", relay.connections());
    let relay = link(&mut desk, None);
    desk.fine(&["get", "there", "back"]);
    assert!(desk.read("back") == expected);
    assert_eq!(relay.connections(), connections);
    // Unless no more connections or no digests are wanted.
    for option in ["-j1", "--no-verify"] {
        let relay = link(&mut desk, None);
        desk.fine(&["get", option, "there", "back"]);
        assert_eq!(relay.connections(), 1, "{option}");
    }
}

#[test]
fn a_large_file_comes_through_without_a_connection_for_its_digest() {
    use crate::common::{Server, Setup};
    let expected = content(70_000_003, 11);
    // The second connection is cut, or not even let in.
    let single = || {
        let server = "max_sessions = 1".to_owned();
        Desk::at(Server::with(Setup {
            server,
            ..Setup::default()
        }))
    };
    let desks: [(&dyn Fn() -> Desk, _); 3] = [
        (&Desk::new, Some(100)),
        (&Desk::new, Some(2000)),
        (&single, None),
    ];
    for (new_desk, others) in desks {
        let mut desk = new_desk();
        desk.write("large", &expected);
        let _relay = link(&mut desk, others);
        desk.fine(&["put", "large", "there"]);
        assert!(desk.server.read("there") == expected);
        let mut desk = new_desk();
        desk.server.write("there", &expected);
        let _relay = link(&mut desk, others);
        desk.fine(&["get", "there", "back"]);
        assert!(desk.read("back") == expected);
    }
}
