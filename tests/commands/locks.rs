//! lock, unlock and secret.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::tf::{Person, run};
use crate::common::{Server, wait_until};

#[test]
fn a_lock_keeps_out_those_who_honour_it() {
    let server = Server::start();
    let person = Person::of(&server);
    server.write("d/f", "x");
    person.fine(&["lock", "d"]);
    assert!(server.exists("d/LOCK"));
    person.fails(
        &["--honour-lock", "LOCK", "rm", "d/f"],
        1,
        &["locked", "tf unlock"],
    );
    person.fails(&["lock", "d"], 1, &["someone holds", "since 20"]);
    person.fine(&["rm", "d/f"]);
    person.fine(&["--honour-lock", "LOCK", "unlock", "d"]);
    assert!(!server.exists("d/LOCK"));
    person.fails(&["unlock", "d"], 1, &["d/LOCK: no such file"]);
    person.fails(&["lock", "none"], 1, &["none/LOCK"]);
    for name in ["a.b", "a/b", ""] {
        person.fails(&["lock", "--name", name, "d"], 2, &["lock name"]);
    }
}

#[test]
fn an_entry_may_say_which_lock_is_honoured() {
    let server = Server::start();
    let person = Person::of(&server);
    server.write("d/f", "x");
    server.write("d/BUSY", "");
    person.configure(&format!(
        "[server.s]\naddress = \"{}\"\nlock = \"BUSY\"\n",
        server.address()
    ));
    person.fails(&["rm", "s:d/f"], 1, &["locked"]);
    person.fine(&["unlock", "--name", "BUSY", "s:d"]);
    person.fine(&["rm", "s:d/f"]);
}

#[test]
fn a_lock_is_held_while_a_program_runs_and_its_status_is_ours() {
    let server = Server::start();
    let person = Person::of(&server);
    server.mkdir("d");
    let seen = format!("test -e '{}' && exit 7", server.path("d/LOCK").display());
    person.fails(&["lock", "d", "--", "sh", "-c", &seen], 7, &[]);
    assert!(!server.exists("d/LOCK"));
    person.fine(&["lock", "d", "--", "true"]);
    person.fails(
        &["lock", "d", "--", "/no/such/program"],
        7,
        &["/no/such/program"],
    );
    assert!(!server.exists("d/LOCK"));
}

#[test]
fn a_lock_can_be_waited_for() {
    let server = Server::start();
    let person = Person::of(&server);
    server.write("d/LOCK", "");
    let start = Instant::now();
    person.fails(&["lock", "--wait", "1", "d"], 1, &["someone holds"]);
    assert!(start.elapsed() >= Duration::from_secs(1));
    let mut command = person.command(env!("CARGO_BIN_EXE_tf"));
    let mut waiting = command
        .args(["lock", "--wait", "20", "d", "--", "true"])
        .stdin(Stdio::null())
        .spawn()
        .expect("start");
    let sessions = || {
        server
            .log()
            .iter()
            .filter(|line| line.contains("session start"))
            .count()
    };
    wait_until("the second session", || sessions() == 2);
    std::fs::remove_file(server.path("d/LOCK")).expect("remove");
    assert!(waiting.wait().expect("wait").success());
}

#[test]
fn a_secure_directory_is_found_by_its_passphrase_alone() {
    let server = Server::start();
    let person = Person::of(&server);
    person.write("pass", "a long passphrase\n");
    fn with<'a>(words: &[&'a str]) -> Vec<&'a str> {
        [words, &["--passphrase-file", "pass"]].concat()
    }
    let path = person
        .fine(&with(&["secret", "path", "diary"]))
        .trim_end()
        .to_owned();
    let digest = openssl::sha::sha256(b"diary:a long passphrase");
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(path, format!("{hex}.sd"));
    person.fine(&with(&["secret", "make", "diary"]));
    person.write("may.txt", "dear diary");
    person.fine(&["put", "may.txt", &format!("{path}/")]);
    assert_eq!(person.fine(&["ls", "-R"]), "", "nobody sees it");
    assert_eq!(person.fine(&with(&["secret", "ls", "diary"])), "may.txt\n");
    person.write("wrong", "another\n");
    person.fails(
        &["secret", "ls", "diary", "--passphrase-file", "wrong"],
        1,
        &["no such directory"],
    );
    person.fails(
        &["secret", "rm", "diary", "--passphrase-file", "wrong"],
        1,
        &["could not be removed"],
    );
    person.fine(&with(&["secret", "rm", "diary"]));
    assert!(server.names("").is_empty());

    server.mkdir("deep");
    person.fine(&with(&["secret", "make", "--rounds", "3", "x", "deep"]));
    assert_eq!(server.names("deep").len(), 1);
    person.write("empty", "\n");
    person.fails(
        &["secret", "path", "x", "--passphrase-file", "empty"],
        2,
        &["empty"],
    );
    let from = "exec 5< pass; exec \"$0\" secret path diary --passphrase-fd 5";
    let run = run(
        person
            .command("bash")
            .args(["-c", from, env!("CARGO_BIN_EXE_tf")]),
        b"",
    );
    assert_eq!(
        (run.code, run.out.trim_end()),
        (Some(0), path.as_str()),
        "{}",
        run.err
    );
}

#[test]
fn a_passphrase_is_asked_for_twice_for_a_new_directory() {
    let server = Server::start();
    let person = Person::of(&server);
    let (screen, code) = person.on_terminal("secret make diary", "sesame\nsesame\n");
    assert_eq!(code, Some(0), "{screen}");
    assert!(
        screen.contains("Passphrase of diary: ") && screen.contains("Repeat the passphrase: "),
        "{screen}"
    );
    assert_eq!(server.names("").len(), 1);
    let (screen, code) = person.on_terminal("secret make other", "sesame\nsesam\n");
    assert_eq!(code, Some(2), "{screen}");
    assert!(screen.contains("passphrases differ"), "{screen}");
}
