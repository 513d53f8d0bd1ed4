//! `tf` with accounts and jails: where it takes passwords and tokens from.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::tf::{Person, Run, run};
use crate::common::{HASH, Server, Setup, account};
use crate::without_root;

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
        &["FAILED 1", "no permission"],
    );
    person.fails(
        &["chmod", "666", "s:bobs"],
        1,
        &["FAILED 41", "only its owner"],
    );
}

#[test]
fn what_keeps_an_account_out_is_told() {
    if without_root() {
        return;
    }
    let server = server("");
    let person = Person::of(&server);
    person.write("wrong", "wrong");
    person.fails(&["ls"], 4, &["FAILED 38", "--user"]);
    let wrong = ["--user", "ann", "--password-file", "wrong", "ls"];
    person.fails(&wrong, 4, &["FAILED 37", "wrong name or password"]);
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
    person.fails(&[&ann[..], &["ls"]].concat(), 4, &["FAILED 50", "--jail"]);
    person.fails(
        &in_cell(&["--token-file", "pass", "ls"]),
        4,
        &["FAILED 49", "token"],
    );
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
