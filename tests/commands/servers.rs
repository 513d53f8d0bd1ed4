//! Which server is meant, and what counts where several things say it.

use crate::common::tf::Person;
use crate::common::{HASH, Server};

#[test]
fn a_path_names_its_server() {
    let (first, second) = (Server::start(), Server::start());
    first.write("one", "1");
    second.write("two", "2");
    second.write("a:b", "3");
    let person = Person::new();
    person.configure(&format!(
        "default = \"first\"\n\
         [server.first]\naddress = \"{}\"\nkey = \"../../public.pem\"\nhash = \"{HASH}\"\n\
         [server.second]\naddress = \"{}\"\nkey = \"../../public.pem\"\nhash_file = \"../../hash\"\n",
        first.address(),
        second.address(),
    ));
    assert_eq!(person.fine(&["ls"]), "one\n");
    assert_eq!(person.fine(&["ls", ":"]), "one\n");
    assert_eq!(person.fine(&["ls", "second:"]), "a:b\ntwo\n");
    assert_eq!(person.fine(&["cat", "first:one", "second:two"]), "12");
    // The entry of an address counts, too.
    let by_address = format!("tf://{}/", second.address());
    assert_eq!(person.fine(&["ls", &by_address]), "a:b\ntwo\n");
    assert_eq!(person.fine(&["cat", &format!("{by_address}a%3Ab")]), "3");
    assert_eq!(person.fine(&["--server", "second", "cat", "./a:b"]), "3");
    person.fails(
        &["cat", "a:b"],
        2,
        &["no server is named a in ", "config.toml", "./a:"],
    );
    person.fails(&["ls", "tf://h:port/"], 2, &["tf://"]);
    person.fails(&["mv", "first:one", "second:one"], 2, &["one server"]);
    person.fine(&["get", "second:two", "."]);
    assert_eq!(std::fs::read(person.path("two")).expect("read"), b"2");
    person.fine(&["put", "two", "first:"]);
    assert_eq!(first.read("two"), b"2");
}

#[test]
fn options_count_before_an_entry_and_that_before_the_environment() {
    let server = Server::start();
    let mut person = Person::of(&server);
    let address = server.address();
    person.configure(&format!(
        "[server.s]\naddress = \"{address}\"\nhash = \"wrong\"\n"
    ));
    person.fails(&["ls", "s:"], 4, &["hash"]);
    person.fine(&["--hash-file", "hash", "ls", "s:"]);
    person.unset("TF_HASH");
    person.set("TF_HASH", "wrong");
    person.configure(&format!(
        "[server.s]\naddress = \"{address}\"\nhash = \"{HASH}\"\n"
    ));
    person.fine(&["ls", "s:"]);
    person.fails(&["--hash", "wrong", "ls", "s:"], 4, &["hash"]);
    person.configure(&format!("[server.s]\naddress = \"{address}\"\n"));
    person.fails(&["ls", "s:"], 4, &["hash"]);
}

#[test]
fn a_server_with_several_addresses_is_reached_by_one_that_answers() {
    let server = Server::start();
    server.write("here", "x");
    let person = Person::of(&server);
    let addresses = format!("[\"127.0.0.1:1\", \"{}\"]", server.address());
    person.configure(&format!("[server.s]\naddress = {addresses}\n"));
    assert_eq!(person.fine(&["ls", "s:"]), "here\n");
    person.configure("[server.s]\naddress = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n");
    person.fails(&["ls", "s:"], 3, &["127.0.0.1:1", "nothing listens there"]);
}

#[test]
fn a_configuration_that_is_wrong_is_told_with_its_line() {
    let person = Person::new();
    person.configure("[server.s]\nadress = \"h\"\n");
    person.fails(&["ls", "s:"], 2, &["config.toml:2", "adress"]);
    person.fails(
        &["--config", "none.toml", "ls"],
        2,
        &["none.toml", "tf trust"],
    );
    let trust = [
        "trust",
        "a",
        "--server",
        "h:1",
        "--key",
        "public.pem",
        "--fingerprint",
    ];
    let fingerprint = super::trust::own_fingerprint();
    person.fine(&[&["--config", "none.toml"], &trust[..], &[&fingerprint]].concat());
    assert!(
        person
            .fine(&["--config", "none.toml", "servers"])
            .contains("h:1")
    );
    person.write("other.toml", "[server.t]\naddress = \"127.0.0.1:1\"\n");
    person.fails(
        &["--config", "other.toml", "ls", "t:"],
        2,
        &["no hash", "TF_HASH"],
    );
    person.fails(
        &["--config", "other.toml", "--hash-file", "hash", "ls", "t:"],
        2,
        &["tf trust"],
    );
    let run = person.fails(
        &["--config", "other.toml", "ls"],
        2,
        &["no server", "TF_SERVER", "tf trust"],
    );
    assert_eq!(run.err.lines().count(), 1);
}

#[test]
fn the_servers_are_listed_with_their_fingerprints() {
    let person = Person::new();
    assert!(person.tf(&["servers"]).err.contains("tf trust"));
    person.configure(
        "default = \"a\"\n[server.a]\naddress = \"h\"\nuser = \"ann\"\nkey = \"../../public.pem\"\n\
         [server.b]\naddress = [\"i:7\", \"j\"]\n",
    );
    let listed = person.fine(&["servers"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].starts_with("* a: ann@h:10345 SHA256:"), "{listed}");
    assert_eq!(lines[1], "  b: i:7,j:10345 no key");
}
