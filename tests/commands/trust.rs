//! trust: whose key is kept, and what happens when it is another one.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use openssl::rsa::Rsa;

use crate::common::tf::{Person, run};
use crate::common::{HASH, Server, public_key};

fn fingerprint(pem: &[u8]) -> String {
    let key = tfd::client::PublicKey::from_pem(pem).expect("key");
    format!("SHA256:{}", key.fingerprint())
}

fn own_fingerprint() -> String {
    fingerprint(&public_key().public_key_to_pem().expect("pem"))
}

#[test]
fn a_newcomer_trusts_a_server_and_uses_it() {
    let server = Server::start();
    server.write("welcome", "x");
    let person = Person::new();
    let address = server.address().to_string();
    let print = own_fingerprint();
    let arguments = [
        "trust",
        "files",
        "--server",
        &address,
        "--key",
        "public.pem",
        "--hash-file",
        "hash",
        "--fingerprint",
        &print,
    ];
    let run = person.tf(&arguments);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.err.contains(&print) && run.err.contains("tf ls files:"), "{}", run.err);
    fs::remove_file(person.path("public.pem")).expect("remove");
    fs::remove_file(person.path("hash")).expect("remove");
    assert_eq!(person.fine(&["ls", "files:"]), "welcome\n");
    assert_eq!(person.fine(&["ls"]), "welcome\n", "the first is the default");
    let mode = |name: &str| fs::metadata(person.path(name)).expect("stat").permissions().mode();
    assert_eq!(mode(".config/tf/config.toml") & 0o777, 0o600);
    assert_eq!(mode(".config/tf") & 0o777, 0o700);
}

#[test]
fn a_host_is_its_own_name_and_the_key_may_come_by_standard_input() {
    let server = Server::start();
    let person = Person::new();
    let pem = public_key().public_key_to_pem().expect("pem");
    let port = server.address().port().to_string();
    let host = format!("127.0.0.1:{port}");
    let print = own_fingerprint();
    let arguments = ["trust", &host, "--key", "-", "--hash-file", "hash", "--fingerprint", &print];
    let run = person.tf_with(&arguments, &pem);
    assert_eq!(run.code, Some(0), "{}", run.err);
    person.fine(&["ls", &format!("tf://{host}/")]);
    person.fine(&["ls", "127.0.0.1:"]);
    let run = person.tf_with(&["trust", &host, "--key", "-"], b"no key");
    assert_eq!(run.code, Some(7), "{}", run.err);
}

#[test]
fn a_person_is_asked_and_nobody_else_can_say_yes() {
    let person = Person::new();
    let print = own_fingerprint();
    person.fails(&["trust", "h", "--key", "public.pem"], 2, &[&print, "--fingerprint"]);
    let (screen, code) =
        person.on_terminal("trust h --key public.pem --hash-file hash", "maybe\nno\n");
    assert_eq!(code, Some(4), "{screen}");
    assert!(screen.contains(&print) && screen.contains("nothing was kept"), "{screen}");
    assert!(!person.path(".config/tf/config.toml").exists());
    let (screen, code) = person.on_terminal("trust h --key public.pem", "yes\n");
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("hash is not"), "{screen}");
    assert!(person.fine(&["servers"]).contains(&print));
    let run = person.fails(
        &["trust", "i", "--key", "public.pem", "--fingerprint", "SHA256:other"],
        4,
        &["expected SHA256:other", &print],
    );
    assert!(!run.err.contains("config.toml"));
    person.fails(&["trust", "h"], 2, &["--key public.pem"]);
    person.fails(&["trust", "a b", "--key", "public.pem"], 2, &["no name"]);
}

#[test]
fn another_key_is_refused_loudly_until_it_is_said_to_be_right() {
    let server = Server::start();
    let person = Person::new();
    let address = server.address().to_string();
    let other = Rsa::generate(2048).expect("key").public_key_to_pem().expect("pem");
    person.write("other.pem", &other);
    let wrong = fingerprint(&other);
    let right = own_fingerprint();
    let mut trust = vec!["trust", "s", "--server", &address, "--hash-file", "hash"];
    trust.extend(["--key", "other.pem", "--fingerprint", &wrong]);
    assert_eq!(person.tf(&trust).code, Some(0));
    // The server has another key than the one that is trusted.
    let told = ["DOES NOT HAVE THE KEY", &wrong, "tf trust", "--replace", "administrator"];
    person.fails(&["ls", "s:"], 4, &told);
    let new = ["trust", "s", "--key", "public.pem", "--fingerprint", &right];
    person.fails(&new, 4, &["NOT THE KEY", &wrong, &right, "--replace"]);
    person.fails(&["ls", "s:"], 4, &[]);
    person.fine(&[&new[..], &["--replace"]].concat());
    person.fine(&["ls", "s:"]);
    // The same key again changes nothing and asks nothing.
    person.fine(&["trust", "s", "--key", "public.pem", "--user", "ann"]);
    assert!(person.fine(&["servers"]).contains("ann@"));
    assert!(
        fs::read_to_string(person.path(".config/tf/config.toml")).expect("read").contains(HASH)
    );
}

#[test]
fn tfd_keygen_prints_the_same_fingerprint() {
    let person = Person::new();
    let mut keygen = person.command(env!("CARGO_BIN_EXE_tfd"));
    let made = run(keygen.args(["keygen", "--out", "keys"]), b"");
    let line = made.out.lines().find_map(|line| line.strip_prefix("fingerprint: "));
    let print = line.expect("fingerprint").trim();
    let trust = ["trust", "h", "--key", "keys/public.pem", "--fingerprint", print];
    assert_eq!(person.tf(&trust).code, Some(0));
    assert!(person.fine(&["servers"]).contains(print));
}
