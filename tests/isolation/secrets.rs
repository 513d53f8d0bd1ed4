//! `tf` with accounts and jails: where it takes passwords and tokens from. And
//! which processes of tfd have its secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::tf::{Person, Run, run};
use crate::common::{Client, HASH, Server, Setup, account, descendants, key, pids, wait_until};
use crate::{memory_holds, without_root};

fn server(more: &str) -> Server {
    let server = format!("mode = \"multi-user\"\nusers = \"users\"\nlogin_failures = 100\n{more}");
    let users = [
        account("ann", "pass word", "games:::"),
        account("bob", "b", "mail:::"),
    ]
    .concat();
    let server = Server::with(Setup {
        server,
        users,
        ..Setup::default()
    });
    fs::set_permissions(server.root(), fs::Permissions::from_mode(0o1777)).expect("mode");
    server.write("welcome", "x");
    server
}

fn program(person: &Person, name: &str, text: &str) {
    person.write(name, format!("#!/bin/sh\n{text}\n"));
    fs::set_permissions(person.path(name), fs::Permissions::from_mode(0o755)).expect("mode");
}

#[track_caller]
fn in_a_shell(person: &Person, line: &str) -> Run {
    // Without a terminal, wherever the tests run.
    let mut command = person.command("setsid");
    run(
        command.args(["-w", "bash", "-c", line, env!("CARGO_BIN_EXE_tf")]),
        b"",
    )
}

#[test]
fn a_password_comes_from_a_file_a_descriptor_or_a_program() {
    if without_root() {
        return;
    }
    let server = server("");
    let mut person = Person::of(&server);
    person.write("pass", "pass word\nmore\n");
    assert_eq!(
        person.fine(&["--user", "ann", "--password-file", "pass", "ls"]),
        "welcome\n"
    );
    let run = in_a_shell(&person, "exec \"$0\" --user ann --password-fd 3 ls 3< pass");
    assert_eq!(
        (run.code, run.out.as_str()),
        (Some(0), "welcome\n"),
        "{}",
        run.err
    );
    let run = in_a_shell(
        &person,
        "exec \"$0\" --user ann --password-fd 3 ls 3< <(cat pass)",
    );
    assert_eq!(
        (run.code, run.out.as_str()),
        (Some(0), "welcome\n"),
        "{}",
        run.err
    );
    person.fails(
        &["--user", "ann", "--password-fd", "77", "ls"],
        2,
        &["/dev/fd/77"],
    );

    // Without a terminal and without a word where it is, nobody can be asked.
    let run = in_a_shell(&person, "exec \"$0\" --user ann ls");
    assert_eq!(run.code, Some(2));
    assert!(
        run.err.contains("Password for ann") && run.err.contains("TF_ASKPASS"),
        "{}",
        run.err
    );
    program(&person, "ask", "echo \"$1\" >> asked; echo 'pass word'");
    person.set("SSH_ASKPASS", "./ask");
    let run = in_a_shell(&person, "exec \"$0\" --user ann ls");
    assert_eq!(
        (run.code, run.out.as_str()),
        (Some(0), "welcome\n"),
        "{}",
        run.err
    );
    program(&person, "refuse", "exit 1");
    person.set("TF_ASKPASS", "./refuse");
    person.fails(&["--user", "ann", "ls"], 2, &["./refuse: exit status: 1"]);
    person.unset("TF_ASKPASS");
    person.set("TF_ASKPASS", "./ask");
    assert_eq!(person.fine(&["--user", "ann", "ls"]), "welcome\n");
    let asked = fs::read_to_string(person.path("asked")).expect("read");
    let prompt = format!("Password for ann at {}: \n", server.address());
    assert_eq!(asked, prompt.repeat(2));
}

#[test]
fn a_password_is_asked_for_on_the_terminal() {
    if without_root() {
        return;
    }
    let server = server("");
    let person = Person::of(&server);
    let (screen, code) = person.on_terminal("--user ann ls", "pass word\n");
    assert_eq!(code, Some(0), "{screen}");
    assert!(
        screen.contains("Password for ann at ") && screen.contains("welcome"),
        "{screen}"
    );
    let (_, code) = person.on_terminal("--user ann ls", "wrong\n");
    assert_eq!(code, Some(4));
}

#[test]
fn an_entry_knows_account_and_password_and_an_address_may_name_another() {
    if without_root() {
        return;
    }
    let server = server("");
    let person = Person::new();
    let address = server.address();
    person.write(".config/tf/ann", "pass word");
    person.write("bob", "b");
    person.configure(&format!(
        "[server.s]\naddress = \"{address}\"\nkey = \"../../public.pem\"\nhash = \"{HASH}\"\n\
         user = \"ann\"\npassword_file = \"ann\"\n"
    ));
    person.fine(&["touch", "s:anns"]);
    let by_bob = format!("tf://bob@{address}/bobs");
    person.fine(&["--password-file", "bob", "touch", &by_bob]);
    // The password of the entry is ann's, and is not tried for bob.
    person.fails(
        &["--user", "bob", "--password-fd", "77", "ls", "s:"],
        2,
        &["/dev/fd/77"],
    );
    let owner = |name: &str| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(server.path(name)).expect("stat").uid()
    };
    let uid = |name| {
        nix::unistd::User::from_name(name)
            .expect("users")
            .expect("user")
            .uid
            .as_raw()
    };
    assert_eq!((owner("anns"), owner("bobs")), (uid("games"), uid("mail")));
    person.fails(
        &["rm", &format!("tf://ann@{address}/bobs")],
        1,
        &["permission denied"],
    );
    person.fails(&["chmod", "666", "s:bobs"], 1, &["only its owner"]);
}

#[test]
fn what_keeps_an_account_out_is_told() {
    if without_root() {
        return;
    }
    let server = server("");
    let person = Person::of(&server);
    person.write("wrong", "wrong");
    person.fails(&["ls"], 4, &["--user"]);
    let wrong = ["--user", "ann", "--password-file", "wrong", "ls"];
    person.fails(&wrong, 4, &["wrong name or password"]);
}

#[test]
fn a_jail_and_its_token_come_from_options_and_from_an_entry() {
    if without_root() {
        return;
    }
    let server = server("jail = true");
    server.write("cell/inside", "x");
    fs::write(server.path("cell/jail.key"), "the token\n").expect("write");
    let person = Person::of(&server);
    person.write("pass", "pass word");
    person.write("token", "the token");
    let ann = ["--user", "ann", "--password-file", "pass"];
    let in_cell = |rest: &[&'static str]| [&ann[..], &["--jail", "cell"], rest].concat();
    assert_eq!(
        person.fine(&in_cell(&["--token-file", "token", "ls"])),
        "inside\n"
    );
    person.fails(&[&ann[..], &["ls"]].concat(), 4, &["--jail"]);
    person.fails(&in_cell(&["--token-file", "pass", "ls"]), 4, &["token"]);
    person.configure(&format!(
        "[server.s]\naddress = \"{}\"\nuser = \"ann\"\npassword_file = \"../../pass\"\n\
         jail = \"cell\"\ntoken_file = \"../../token\"\n",
        server.address()
    ));
    assert_eq!(person.fine(&["ls", "s:"]), "inside\n");
    // A program is asked for each by its name.
    program(
        &person,
        "ask",
        "case $1 in Password*) echo 'pass word';; Token*cell:*) echo 'the token';; esac",
    );
    person.configure(&format!(
        "[server.s]\naddress = \"{}\"\nuser = \"ann\"\njail = \"cell\"\naskpass = \"../../ask\"\n",
        server.address()
    ));
    assert_eq!(person.fine(&["ls", "s:"]), "inside\n");
}

const MARKER: &str = "of-the-environment-of-root";

/// Nothing of this may be in a process other than a keeper.
fn secrets() -> Vec<(&'static str, Vec<u8>)> {
    let pem = key().private_key_to_pem().expect("pem");
    let line = pem.split(|byte| *byte == b'\n').nth(1).expect("a line");
    let mut factor = key().p().expect("a factor").to_vec();
    // As OpenSSL keeps it here.
    factor.reverse();
    vec![
        ("the hash", HASH.into()),
        ("the text of the private key", line.to_vec()),
        ("the private key", factor),
        ("the environment", MARKER.into()),
    ]
}

/// Looks for the secrets in every process, with a gate that has not received a
/// byte among them.
#[track_caller]
fn expect_secrets_in_keepers_alone(server: &Server) {
    let _gate = Client::knock(server.address());
    wait_until("a gate and the next processes", || {
        !pids(server, "tfd-gate").is_empty() && pids(server, "tfd-spare").len() >= 2
    });
    let mut keepers = 0;
    // It ends by itself, at any time.
    wait_until("the sweeper's end", || {
        pids(server, "tfd-sweeper").is_empty()
    });
    for (pid, name) in [(server.pid(), "tfd".to_owned())]
        .into_iter()
        .chain(descendants(server.pid()))
    {
        let found = secrets();
        let found = found.iter().filter(|(_, secret)| memory_holds(pid, secret));
        let found: Vec<_> = found.map(|(what, _)| *what).collect();
        if name == "tfd-keeper" {
            assert!(found.contains(&"the hash"), "else this proves nothing");
            assert!(!found.contains(&"the environment"), "{name}");
            keepers += 1;
        } else {
            assert_eq!(found, [""; 0], "{name}");
        }
        let handles = crate::handles(pid);
        let text = handles.iter().filter(|to| to.contains("tfd-text"));
        assert_eq!(text.count() > 0, pid == server.pid(), "{name}: {handles:?}");
    }
    assert!(keepers > 0);
}

#[test]
fn hash_private_key_and_environment_are_in_no_process_that_faces_a_client() {
    if without_root() {
        return;
    }
    for mode in [
        "",
        "mode = \"multi-user\"\nusers = \"users\"",
        "jail = true",
    ] {
        let mut server = Server::with(Setup {
            server: format!("audit = \"audit.log\"\n{mode}"),
            users: account("ann", "pass word", "games:::"),
            program: Some((
                env!("CARGO_BIN_EXE_tfd").into(),
                vec![("TFD_TEST_MARKER", MARKER.to_owned())],
            )),
            ..Setup::default()
        });
        expect_secrets_in_keepers_alone(&server);
        let session = server.connect();
        let count = |server: &Server, name| pids(server, name).len();
        let keepers = count(&server, "tfd-keeper");
        let pid = nix::unistd::Pid::from_raw(server.pid().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).expect("reload");
        server.wait_for_log("configuration read again");
        drop(session);
        wait_until("the end of the old processes", || {
            (count(&server, "tfd-zygote"), count(&server, "tfd-keeper")) == (1, keepers)
        });
        expect_secrets_in_keepers_alone(&server);
    }
}
