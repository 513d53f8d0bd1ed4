//! What `dialect = "document"` changes, and nothing else.

use crate::common::{Server, Setup};

fn document() -> Server {
    let tf = "dialect = \"document\"".to_owned();
    Server::with(Setup {
        tf,
        ..Setup::default()
    })
}

#[test]
fn echo_comes_back_with_its_word() {
    let server = document();
    let mut client = server.connect();
    assert_eq!(client.ask("ECHO hello"), "ECHO hello");
}

#[test]
fn listings_have_no_colon_and_no_slash_at_the_end() {
    let server = document();
    server.write("d/e/f", "");
    let mut client = server.connect();
    assert_eq!(client.list("LS d"), ["D e"]);
    assert_eq!(client.list("LSR d"), ["D e", "F e/f"]);
    let deployed = Server::start();
    deployed.write("d/e/f", "");
    let mut client = deployed.connect();
    assert_eq!(client.list("LS d"), ["D: e/"]);
    assert_eq!(client.list("LSR d"), ["D: e/", "F: e/f"]);
}
