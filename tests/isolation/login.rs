//! LOGIN: every client its own Unix user, on real system users that every
//! Debian has.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::{Duration, Instant};

use crate::common::{
    Client, Server, Setup, account, descendants, is_running, pids, reply_for, wait_until,
};
use crate::{session_pid, status, without_root};

const MULTI_USER: &str = "mode = \"multi-user\"\nusers = \"users\"\nlogin_failures = 100";

fn setup(users: &str) -> Setup {
    Setup {
        server: MULTI_USER.to_owned(),
        users: users.to_owned(),
        ..Setup::default()
    }
}

/// Two accounts.
fn accounts() -> String {
    let users = [
        "# two accounts\n\n".to_owned(),
        account("ann", "pass word", "games:::"),
        account("bob", "b", "mail:::"),
    ];
    users.concat()
}

/// A server with them and a root that each may write in.
fn server() -> Server {
    let server = Server::with(setup(&accounts()));
    fs::set_permissions(server.root(), fs::Permissions::from_mode(0o1777)).expect("mode");
    server
}

fn ids(user: &str) -> (u32, u32, Vec<u32>) {
    let identity = tfd::users::Identity::of(user).expect("system user");
    let mut groups: Vec<u32> = identity.groups.iter().map(|gid| gid.as_raw()).collect();
    groups.sort_unstable();
    groups.dedup();
    (identity.uid.as_raw(), identity.gid.as_raw(), groups)
}

#[test]
fn before_login_only_four_commands_exist() {
    if without_root() {
        return;
    }
    let server = server();
    let mut client = server.connect();
    client.expect_all(&[
        ("ECHO x", 38),
        ("LS /", 38),
        ("INJAIL t | d", 38),
        ("NOSUCH", 38),
        ("", 38),
        ("LOGIN", 16),
        ("LOGIN ann", 16),
        ("KEEPALIVE 1 60 | 5 | 3", 0),
    ]);
    assert!(client.ask("PROCKEY").starts_with("OK /"));
    client.expect("ECHO x", 38);
    client.send("END");
    client.expect_closed();
}

#[test]
fn after_login_the_process_is_that_system_user_and_nothing_else() {
    if without_root() {
        return;
    }
    let server = server();
    let mut client = server.connect();
    let key = client.ask("PROCKEY");
    client.expect("LOGIN ann pass word", 0);
    assert_eq!(client.ask("PROCKEY"), key);
    client.expect("LOGIN ann pass word", 39);
    client.expect("INJAIL t | d", 51);
    client.send_file("mine", false, b"x");
    let (uid, gid, groups) = ids("games");
    let metadata = fs::metadata(server.path("mine")).expect("stat");
    assert_eq!((metadata.uid(), metadata.gid()), (uid, gid));

    let session = session_pid(&server);
    assert_eq!(status(session, "Uid"), format!("{uid} {uid} {uid} {uid}"));
    assert_eq!(status(session, "Gid"), format!("{gid} {gid} {gid} {gid}"));
    let mut held: Vec<u32> = status(session, "Groups")
        .split_whitespace()
        .map(|gid| gid.parse().expect("gid"))
        .collect();
    held.sort_unstable();
    assert_eq!(held, groups);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(session, set), "0000000000000000", "{set}");
    }
    assert_eq!(status(session, "NoNewPrivs"), "1");
    let root = fs::read_link(format!("/proc/{session}/root")).expect("root");
    assert_eq!(root, server.root());
    let handles = crate::handles_beside_tables(session);
    assert_eq!(handles.len(), 4, "socket three times, root: {handles:?}");
}

#[test]
fn requests_sent_together_with_login_and_injail_reach_the_session() {
    if without_root() {
        return;
    }
    let echo = "x".repeat(5000);
    let behind = format!("ECHO {echo}");
    for jail in [false, true] {
        let users = account("ann", "pass word", "games:::");
        let server = format!("{MULTI_USER}\njail = {jail}");
        let server = Server::with(Setup {
            server,
            users,
            tls: true,
            ..Setup::default()
        });
        server.write("cell/jail.key", "token\n");
        for mut client in [server.connect(), server.connect_tls()] {
            let mut requests = vec!["PROCKEY", "LOGIN ann wrong", "LOGIN ann pass word"];
            requests.extend(jail.then_some("INJAIL token | cell"));
            requests.extend(["ECHO a", &behind, "MKDIR cell", "RMDIR cell", "LOGIN x y"]);
            for request in &requests {
                client.wire.write_message_later(request.as_bytes());
            }
            client.wire.flush().expect("send");
            assert!(client.reply().starts_with("OK /"));
            assert_eq!(client.reply(), reply_for(37));
            for _ in 0..1 + usize::from(jail) {
                assert_eq!(client.reply(), "OK");
            }
            assert_eq!(
                (client.reply(), client.reply()),
                ("a".to_owned(), echo.clone())
            );
            // The root is not games' to write in.
            assert!(client.reply().starts_with("FAILED "));
            client.reply();
            assert_eq!(client.reply(), reply_for(39));
            client.expect_alive();
        }
    }
}

#[test]
fn the_kernel_keeps_users_apart() {
    if without_root() {
        return;
    }
    let server = server();
    let mut ann = server.connect();
    ann.expect("LOGIN ann pass word", 0);
    let mut bob = server.connect();
    bob.expect("LOGIN bob b", 0);
    ann.send_file("anns", false, b"secret");
    ann.expect_all(&[("CHMOD anns | 600", 41), ("CHMOD anns 600", 0)]);
    bob.send("RCVFILE 0 anns");
    assert!(bob.receive_stream().is_err());
    bob.expect_all(&[
        ("CHMOD anns 666", 41),
        ("CHOWN anns mail mail", 44),
        ("DEL anns", 1),
        ("CHOWN anns no-such-user mail", 42),
    ]);
    ann.expect("CHOWN anns mail mail", 44);
    assert_eq!(server.read("anns"), b"secret");
    ann.expect_alive();
}

#[test]
fn what_is_no_name_and_password_of_the_file_is_refused() {
    if without_root() {
        return;
    }
    let users = [
        account("ann", "pass", "games:::"),
        account("xroot", "rootpw", "games:::"),
        account("old", "pass", "games:::2020-01-01"),
        account("far", "pass", "games::from=192.0.2.0/24:"),
    ];
    let locked = account("shut", "pass", "games:::").replacen("shut:", "shut:!", 1);
    let mut server = Server::with(setup(&(users.concat() + &locked)));
    for login in [
        "ann wrong",
        "ann pass ",
        "ann Pass",
        "nn pass",
        "ANN pass",
        "root rootpw",
        "games pass",
    ] {
        let mut client = server.connect();
        client.expect(format!("LOGIN {login}"), 37);
        client.expect("ECHO x", 38);
    }
    // Who has shown the password hears which it is; others hear the same as ever.
    for (name, reason) in [
        ("old", "the account has expired."),
        ("far", "the account may not be used from this address."),
        ("shut", "the account is locked."),
    ] {
        let mut client = server.connect();
        client.expect(format!("LOGIN {name} wrong"), 37);
        client.expect_reason(format!("LOGIN {name} pass"), reason);
    }
    let mut client = server.connect();
    let long = format!("LOGIN ann {}", "x".repeat(5000));
    client.expect(&long, 37);
    client.expect(format!("LOGIN {} x", "n".repeat(5000)), 37);
    client.expect("LOGIN ann pass", 0);
    client.expect_alive();
    server.wait_for_lines("login failed", 15);
    assert_eq!(
        server
            .log()
            .iter()
            .filter(|line| line.contains("login failed"))
            .count(),
        15
    );
    let hidden = ["wrong", "rootpw", "Pass"];
    assert!(
        !server
            .log()
            .iter()
            .any(|line| hidden.iter().any(|word| line.contains(word))
                && !line.contains("reason=\"wrong password\""))
    );
}

#[test]
fn an_unknown_name_takes_as_long_to_refuse_as_a_wrong_password() {
    if without_root() {
        return;
    }
    let lines = "mode = \"multi-user\"\nusers = \"users\"\nlogin_failures = 0";
    let server = Server::with(Setup {
        server: lines.to_owned(),
        users: account("ann", "pass", "games:::"),
        ..Setup::default()
    });
    let took = |login: &str| {
        let mut client = server.connect();
        let begin = Instant::now();
        client.expect(format!("LOGIN {login}"), 37);
        begin.elapsed()
    };
    // By turns, as often as other work on the machine makes it necessary.
    let (mut wrong, mut unknown) = (Duration::MAX, Duration::MAX);
    let are_equal = (0..40).any(|round| {
        wrong = wrong.min(took("ann wrong"));
        unknown = unknown.min(took("nobody wrong"));
        round >= 4 && unknown > wrong / 2 && wrong > unknown / 2
    });
    assert!(are_equal, "{wrong:?} {unknown:?}");
}

#[test]
fn ten_wrong_passwords_end_the_connection() {
    if without_root() {
        return;
    }
    let server = server();
    let mut client = server.connect();
    for _ in 0..10 {
        client.expect("LOGIN ann x", 37);
    }
    client.expect_closed();
    server.connect().expect("LOGIN ann pass word", 0);
}

#[test]
fn home_rights_and_number_of_sessions_are_the_accounts() {
    if without_root() {
        return;
    }
    let users = [
        account("ann", "a", "games:homes/ann:max=1:"),
        account("look", "l", "games:homes/ann:read-only:"),
    ];
    let server = Server::with(Setup {
        server: MULTI_USER.to_owned(),
        users: users.concat(),
        directories: &["homes/ann"],
        ..Setup::default()
    });
    server.write("outside", b"x");
    let (uid, gid, _) = ids("games");
    chown(server.path("homes/ann"), Some(uid), Some(gid)).expect("chown");

    let mut ann = server.connect();
    ann.expect("LOGIN ann a", 0);
    ann.send_file("f", false, b"in her home");
    assert_eq!(server.read("homes/ann/f"), b"in her home");
    ann.expect("FSTAT outside", 9);
    std::os::unix::fs::symlink("../../outside", server.path("homes/ann/link")).expect("link");
    ann.expect("FSTAT link", 1);
    let full = "the account has all the sessions it may have.";
    server.connect().expect_reason("LOGIN ann a", full);
    server.connect().expect("LOGIN ann wrong", 37);

    let mut look = server.connect();
    look.expect("LOGIN look l", 0);
    look.send("RCVFILE 0 f");
    assert_eq!(look.receive_stream().expect("file"), b"in her home");
    look.expect_all(&[
        ("RCVFILE 1 f", 1),
        ("DEL f", 1),
        ("MKDIR d", 1),
        ("COPY f | g", 1),
        ("TOUCH f", 1),
        ("RENAM f | g", 1),
        ("CHMOD f 600", 1),
        ("SNDFILE 1 f", 1),
        ("XDEL / | f", 1),
        ("FUPD f", 1),
    ]);
    look.expect(Client::hp("PUT", "g", &[0, 10]), 1);
    look.send("SUP g");
    look.wire
        .write_units(&mut b"\0\0\0\x03abc\0\0\0\0".to_vec(), &[4, 3, 4])
        .expect("send");
    assert_eq!(look.wire.read_i32().expect("answer"), -1);
    look.expect_alive();
    assert_eq!(server.names("homes/ann"), ["f", "link"]);

    ann.send("END");
    ann.expect_closed();
    wait_until("her session's end", || {
        server.connect().ask("LOGIN ann a") == "OK"
    });
}

#[test]
fn a_changed_users_file_counts_from_the_next_client_on() {
    if without_root() {
        return;
    }
    let mut server = server();
    let mut running = server.connect();
    running.expect("LOGIN ann pass word", 0);
    server.set_users(&account("new", "n", "games:::"));
    server.connect().expect("LOGIN ann pass word", 37);
    server.connect().expect("LOGIN new n", 0);
    running.expect_alive();
    server.set_users("rubbish\n");
    server.connect().expect("LOGIN new n", 0);
    server.wait_for_log("configuration not taken over");
}

#[test]
fn a_session_ends_with_the_daemon_and_leaves_nothing_behind() {
    if without_root() {
        return;
    }
    let setup = setup(&accounts());
    let mut server = Server::with(Setup {
        server: format!("stop_grace = 600\n{}", setup.server),
        ..setup
    });
    let mut clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.expect("LOGIN bob b", 0);
    }
    let everyone = descendants(server.pid());
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(server.wait_for_end(), Some(0));
    wait_until("their end", || {
        !everyone.iter().any(|(pid, _)| is_running(*pid))
    });
}

#[test]
fn hashes_are_in_the_authenticators_memory_alone() {
    if without_root() {
        return;
    }
    let line = account("ann", "pass", "games:::");
    let hash = line.split(':').nth(1).expect("hash").as_bytes()[40..].to_vec();
    let server = Server::with(setup(&line));
    let mut client = server.connect();
    client.expect("LOGIN ann pass", 0);
    let _gate = server.connect();
    let everyone = descendants(server.pid())
        .into_iter()
        .chain([(server.pid(), "tfd".to_owned())]);
    for (pid, name) in everyone {
        assert_eq!(
            crate::memory_holds(pid, &hash),
            name == "tfd-auth",
            "{name}"
        );
    }
}

#[test]
fn a_password_is_in_no_memory_but_the_gates_and_the_authenticators() {
    if without_root() {
        return;
    }
    let password = "marked-5f1c9b7e-password";
    let server = Server::with(setup(&account("ann", password, "games:::")));
    let sessions: Vec<Client> = (0..3)
        .map(|_| {
            let mut client = server.connect();
            client.expect("LOGIN ann wrong", 37);
            client.expect(format!("LOGIN ann {password}"), 0);
            client
        })
        .collect();
    let everyone = descendants(server.pid())
        .into_iter()
        .chain([(server.pid(), "tfd".to_owned())]);
    for (pid, name) in everyone.filter(|(_, name)| name != "tfd-auth") {
        assert!(!crate::memory_holds(pid, password.as_bytes()), "{name}");
    }
    drop(sessions);
}

#[test]
fn accounts_of_root_and_of_nobody_known_are_refused_at_the_start() {
    if without_root() {
        return;
    }
    let server = server();
    for (rest, said) in [
        ("root:::", "is root"),
        ("no-such-user:::", "no such system user"),
    ] {
        server.set_users(&account("ann", "x", rest));
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_tfd"))
            .args(["check", "--config"])
            .arg(server.config_path())
            .output()
            .expect("run");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(said), "{told}");
    }
}

/// Runs tf against a server: its exit status and what it said.
fn tf(server: &Server, arguments: &[&str]) -> (Option<i32>, String) {
    let key = server.config_path().with_file_name("public.pem");
    fs::write(
        &key,
        crate::common::public_key()
            .public_key_to_pem()
            .expect("pem"),
    )
    .expect("write");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tf"))
        .args(arguments)
        .env_clear()
        .env("HOME", key.with_file_name("home"))
        .env("TF_SERVER", server.address().to_string())
        .env("TF_KEY", &key)
        .env("TF_HASH", crate::common::HASH)
        .output()
        .expect("run");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn tf_logs_in_and_says_what_is_missing() {
    if without_root() {
        return;
    }
    let server = server();
    let password = server.config_path().with_file_name("password");
    let password = password.to_str().expect("path");
    fs::write(password, "pass word\nsecond line\n").expect("write");
    let login = ["--user", "ann", "--password-file", password];
    let (code, said) = tf(&server, &[&login[..], &["mkdir", "d"]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        fs::metadata(server.path("d")).expect("stat").uid(),
        ids("games").0
    );
    let (code, said) = tf(&server, &["ls"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("--user"), "{said}");
    fs::write(password, "secret but wrong\n").expect("write");
    let (code, said) = tf(&server, &[&login[..], &["ls"]].concat());
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("wrong name or password") && !said.contains("secret"),
        "{said}"
    );
}

#[test]
fn tf_goes_on_with_the_sessions_it_gets_and_names_the_reason() {
    if without_root() {
        return;
    }
    let server = Server::with(setup(&account("one", "a", "games::max=1:")));
    fs::set_permissions(server.root(), fs::Permissions::from_mode(0o1777)).expect("mode");
    let home = server.config_path().with_file_name("here");
    fs::create_dir(&home).expect("directory");
    for n in 0..300 {
        fs::write(home.join(format!("f{n}")), b"x").expect("write");
    }
    let big = home.with_file_name("big");
    fs::write(&big, vec![1; 100 << 20]).expect("write");
    let password = home.with_file_name("password");
    fs::write(&password, "a\n").expect("write");
    let path = |path: &std::path::Path| path.to_str().expect("path").to_owned();
    let login = ["--user", "one", "--password-file", &path(&password)].map(str::to_owned);
    let run_beside = |more: &[&str]| {
        let all: Vec<&str> = login.iter().map(String::as_str).collect();
        tf(&server, &[&all[..], more].concat())
    };
    // A session counts until its process has ended, a moment after its client.
    let wait = || wait_until("no session", || pids(&server, "tfd-session").is_empty());
    let run = |more: &[&str]| {
        wait();
        run_beside(more)
    };
    let full = "the account has all the sessions it may have";
    // Hundreds of files are worth two sessions, which nobody asked for.
    let (code, said) = run(&["put", "-r", &path(&home), ":one"]);
    assert!(code == Some(0) && !said.contains(full), "{said}");
    for arguments in [
        &["put", "-j", "4", "-r", &path(&home), ":two"][..],
        &["put", "-j", "4", &path(&big), ":big"],
    ] {
        let (code, said) = run(arguments);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(said.matches("continuing with fewer").count(), 1, "{said}");
        assert!(said.contains(full), "{said}");
    }
    assert_eq!(server.names("two").len(), 300);
    assert_eq!(server.read("big").len(), 100 << 20);
    let (code, said) = run(&[
        "get",
        "-j",
        "4",
        ":big",
        &path(&home.with_file_name("back")),
    ]);
    assert!(
        code == Some(0) && said.contains("continuing with fewer"),
        "{said}"
    );
    let (code, said) = run(&["watch", "--count", "1", ":two"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("watch needs two sessions at once") && said.contains(full),
        "{said}"
    );
    wait();
    let _held = {
        let mut client = server.connect();
        client.expect("LOGIN one a", 0);
        client
    };
    let (code, said) = run_beside(&["ls"]);
    assert!(code == Some(4) && said.contains(full), "{said}");
}

#[test]
fn tf_names_the_limit_of_an_address_as_a_possible_reason() {
    if without_root() {
        return;
    }
    let server = Server::with(Setup {
        server: "max_sessions_per_address = 1".to_owned(),
        ..Setup::default()
    });
    let mut held = server.connect();
    let (code, said) = tf(&server, &["ls"]);
    assert!(
        code == Some(4) && said.contains("allow this address another session"),
        "{said}"
    );
    held.expect_alive();
}

#[test]
fn the_users_file_is_made_by_command() {
    if without_root() {
        return;
    }
    let server = server();
    let config = server.config_path();
    let old = config.with_file_name("old-users");
    fs::write(
        &old,
        "mail mail pw with blanks\nroot rootpw\nno-such-user x\n",
    )
    .expect("write");
    let tfd = |arguments: &[&str], input: &str| {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_tfd"))
            .arg("user")
            .args(arguments)
            .arg("--config")
            .arg(&config)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("run");
        use std::io::Write;
        // A refusal may come before the password is read.
        let _ = child
            .stdin
            .take()
            .expect("input")
            .write_all(input.as_bytes());
        let output = child.wait_with_output().expect("wait");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let fine = |arguments: &[&str], input: &str| {
        let (fine, said) = tfd(arguments, input);
        assert!(fine, "{arguments:?}: {said}");
        said
    };
    let refused = |arguments: &[&str], input: &str, why: &str| {
        let (fine, said) = tfd(arguments, input);
        assert!(!fine && said.contains(why), "{arguments:?}: {said}");
    };
    fine(
        &["add", "carl", "--system-user", "games", "--password-stdin"],
        "first\n",
    );
    refused(
        &["add", "carl", "--system-user", "games", "--password-stdin"],
        "x\n",
        "carl exists",
    );
    refused(&["add", "root", "--password-stdin"], "x\n", "is root");
    refused(&["add", "dora", "--password-stdin"], "x\n", "useradd dora");
    refused(
        &["add", "e e", "--system-user", "games", "--password-stdin"],
        "x\n",
        "not a valid account name",
    );
    refused(
        &["add", "empty", "--system-user", "games", "--password-stdin"],
        "\n",
        "is empty",
    );
    refused(
        &["passwd", "nobody-here", "--password-stdin"],
        "x\n",
        "tfd user list",
    );
    server.connect().expect("LOGIN carl first", 0);
    fine(&["passwd", "carl", "--password-stdin"], "second\n");
    server.connect().expect("LOGIN carl first", 37);
    server.connect().expect("LOGIN carl second", 0);
    fine(&["lock", "carl"], "");
    let locked = "the account is locked.";
    server.connect().expect_reason("LOGIN carl second", locked);
    assert!(fine(&["list"], "").contains("locked"));
    fine(&["unlock", "carl"], "");
    server.connect().expect("LOGIN carl second", 0);
    fine(&["del", "carl"], "");
    server.connect().expect("LOGIN carl second", 37);
    let old = old.to_str().expect("path");
    for words in [
        "old-users:2: left out",
        "old-users:1: left out: mail exists",
    ] {
        refused(&["import", old], "", words);
    }
    server.connect().expect("LOGIN mail mail pw with blanks", 0);
    let text = fs::read_to_string(config.with_file_name("users")).expect("read");
    assert!(
        text.starts_with("# two accounts\n") && !text.contains("blanks"),
        "{text}"
    );
}

/// How a blocked client is refused, whatever its password is.
const BLOCKED: &str = "blocked until 2";

/// A server that blocks after three failures.
fn strict(users: &str) -> Server {
    let lines = "mode = \"multi-user\"\nusers = \"users\"\nlogin_failures = 3\nlogin_block = 3600";
    Server::with(Setup {
        server: lines.to_owned(),
        users: users.to_owned(),
        ..Setup::default()
    })
}

/// Runs tfd against a server's configuration: whether it succeeded, and what it said.
fn tfd(server: &Server, arguments: &[&str]) -> (bool, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tfd"))
        .args(arguments)
        .arg("--config")
        .arg(server.config_path())
        .output()
        .expect("run");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

#[test]
fn failures_block_address_and_account_and_a_restart_frees_nobody() {
    if without_root() {
        return;
    }
    let mut server = strict(&(account("ann", "a", "games:::") + &account("bob", "b", "mail:::")));
    let mut client = server.connect();
    client.expect("LOGIN ann a", 0);
    let mut client = server.connect();
    for _ in 0..3 {
        client.expect("LOGIN ann wrong", 37);
    }
    server.wait_for_log("login blocked peer=127.0.0.1 user=\"ann\" seconds=3600");
    server.connect().expect_reason("LOGIN ann a", BLOCKED);
    // Whoever is behind the same address has not failed.
    server.connect().expect("LOGIN bob b", 0);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(server.wait_for_end(), Some(0));
    server.start_again();
    server.connect().expect_reason("LOGIN ann a", BLOCKED);
    server.wait_for_log("too many failures of this user from this address");
    server.connect().expect("LOGIN bob b", 0);
    let kept = server.config_path().with_file_name("users.blocked");
    assert_eq!(
        fs::metadata(kept).expect("stat").permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn guesses_over_many_names_block_the_address_as_a_whole() {
    if without_root() {
        return;
    }
    let mut server = strict(&(account("ann", "a", "games:::") + &account("bob", "b", "mail:::")));
    server.connect().expect("LOGIN ann a", 0);
    for n in 0..15 {
        let mut client = server.connect();
        client.expect(format!("LOGIN name{n} guess"), 37);
    }
    server.wait_for_log("user=\"name14\" seconds=3600 accounts=all");
    server.connect().expect_reason("LOGIN bob b", BLOCKED);
    server.connect().expect_reason("LOGIN bob wrong", BLOCKED);
    server.connect().expect_reason("LOGIN nobody b", BLOCKED);
    server.wait_for_log("too many failures from this address");
    // An account that has logged in from there is let through.
    server.connect().expect("LOGIN ann a", 0);
    let (fine, said) = tfd(&server, &["blocked"]);
    assert!(fine && said.contains("all      127.0.0.1  15"), "{said}");
    let (fine, said) = tfd(&server, &["unblock", "127.0.0.1"]);
    assert!(fine, "{said}");
    server.connect().expect("LOGIN bob b", 0);
}

#[test]
fn blocks_are_shown_and_lifted_by_address_by_name_and_with_the_lock() {
    if without_root() {
        return;
    }
    let server = strict(&(account("ann", "a", "games:::") + &account("bob", "b", "mail:::")));
    assert_eq!(
        tfd(&server, &["blocked"]),
        (true, "nobody is blocked\n".to_owned())
    );
    let lock_out = || {
        let mut client = server.connect();
        for _ in 0..3 {
            client.expect("LOGIN ann wrong", 37);
        }
        server.connect().expect_reason("LOGIN ann a", BLOCKED);
    };
    for lift in [
        &["unblock", "ann"][..],
        &["unblock", "127.0.0.1"],
        &["user", "unlock", "ann"],
    ] {
        lock_out();
        let (fine, said) = tfd(&server, &["blocked", "--json"]);
        let all: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        assert!(fine && all[0]["account"] == "ann" && all[0]["address"] == "127.0.0.1");
        assert!(all[0]["failures"] == 3 && all[0]["until"].is_string() && all[1].is_null());
        let (fine, said) = tfd(&server, lift);
        assert!(fine && said.contains("unblocked"), "{lift:?}: {said}");
        server.connect().expect("LOGIN ann a", 0);
    }
    let (fine, said) = tfd(&server, &["unblock", "bob"]);
    assert!(!fine && said == "tfd: bob is not blocked\n", "{said}");
}

#[test]
fn without_accounts_their_commands_say_how_to_have_some() {
    let server = Server::start();
    for arguments in [&["blocked"][..], &["unblock", "ann"], &["user", "list"]] {
        let (fine, said) = tfd(&server, arguments);
        let remedy = "does not set server.users: set mode = \"multi-user\" and users";
        assert!(!fine && said.contains(remedy), "{arguments:?}: {said}");
    }
}

#[test]
fn an_accounts_fields_are_changed_one_by_one() {
    if without_root() {
        return;
    }
    let users = account("ann", "a", "games:home:max=2,from=127.0.0.0/8:") + "broken:line\n";
    let server = server();
    server.set_users(&users);
    let line = || {
        let text = fs::read_to_string(server.config_path().with_file_name("users"));
        let text = text.expect("read");
        let line = text.lines().next().expect("line").to_owned();
        let fields: Vec<&str> = line.split(':').collect();
        fields[2..].join(":")
    };
    for (arguments, expected) in [
        (
            &["--option", "rate=2M"][..],
            "games:home:max=2,rate=2097152,from=127.0.0.0/8:",
        ),
        (
            &["--option", "max=5", "--remove-option", "rate"],
            "games:home:max=5,from=127.0.0.0/8:",
        ),
        (
            &["--option", "read-only"],
            "games:home:read-only,max=5,from=127.0.0.0/8:",
        ),
        (
            &["--option", "append-only", "--option", "from=::1"],
            "games:home:append-only,max=5,from=127.0.0.0/8,from=::1/128:",
        ),
        (&["--options", "max=1", "--home", ""], "games::max=1:"),
        (
            &["--options", "", "--expiry", "2030-01-31"],
            "games:::2030-01-31",
        ),
        (&["--expiry", "never", "--system-user", "mail"], "mail:::"),
    ] {
        let (fine, said) = tfd(&server, &[&["user", "set", "ann"], arguments].concat());
        assert!(
            fine && said.contains("once this is corrected"),
            "{arguments:?}: {said}"
        );
        assert_eq!(line(), expected);
    }
    for (arguments, why) in [
        (&["--option", "speed=9"][..], "unknown option"),
        (&["--remove-option", "max"], "no option max"),
        (&["--home", "../x"], "not a directory beneath the root"),
        (&["--home", "a:b"], "colon"),
        (&["--expiry", "soon"], "not a day"),
        (&["--system-user", "root"], "is root"),
        (&[], "required"),
    ] {
        let (fine, said) = tfd(&server, &[&["user", "set", "ann"], arguments].concat());
        assert!(!fine && said.contains(why), "{arguments:?}: {said}");
        assert_eq!(line(), "mail:::", "unchanged");
    }
    server.set_users(&account("ann", "a", "games:::2030-01-31"));
    let (_, said) = tfd(&server, &["user", "list"]);
    let table = "NAME  SYSTEM USER  STATE          HOME  OPTIONS\n\
                 ann   games        to 2030-01-31  /\n";
    assert_eq!(said, table);
}

#[test]
fn kicked_with_a_lock_or_for_a_time_nobody_comes_back() {
    if without_root() {
        return;
    }
    let mut server = Server::with(Setup {
        server: format!("{MULTI_USER}\ncontrol = \"control\""),
        users: accounts(),
        ..Setup::default()
    });
    let control = server.config_path().with_file_name("control");
    let control = control.to_str().expect("path").to_owned();
    let kick = |server: &Server, arguments: &[&str]| {
        tfd(
            server,
            &[&["kick", "--control", &control], arguments].concat(),
        )
    };
    let inside = |server: &Server| {
        let mut client = server.connect();
        client.expect("LOGIN ann pass word", 0);
        client
    };
    let mut client = inside(&server);
    let (fine, said) = kick(&server, &["--user", "ann", "--for", "10m"]);
    assert!(
        fine && said.contains("kept out until 2") && said.contains("ended 1"),
        "{said}"
    );
    client.expect_closed();
    server
        .connect()
        .expect_reason("LOGIN ann pass word", "barred by the operator until 2");
    server.connect().expect("LOGIN ann wrong", 37);
    server.connect().expect("LOGIN bob b", 0);
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_for_log("configuration read again");
    server
        .connect()
        .expect_reason("LOGIN ann pass word", "barred");
    assert!(tfd(&server, &["unblock", "ann"]).0);
    let mut client = inside(&server);
    let (fine, said) = kick(&server, &["--address", "127.0.0.1", "--for", "2s"]);
    assert!(fine && said.contains("127.0.0.1 is kept out"), "{said}");
    client.expect_closed();
    server.connect().expect_reason("LOGIN bob b", "barred");
    std::thread::sleep(Duration::from_millis(3000));
    let mut client = inside(&server);
    let (fine, said) = kick(&server, &["--user", "ann", "--lock"]);
    assert!(fine && said.contains("ann locked"), "{said}");
    client.expect_closed();
    server
        .connect()
        .expect_reason("LOGIN ann pass word", "the account is locked.");
    assert!(tfd(&server, &["user", "unlock", "ann"]).0);
    inside(&server);
    let (fine, said) = kick(&server, &["--user", "nobody-here", "--lock"]);
    assert!(!fine && said.contains("no user nobody-here"), "{said}");
    let (fine, said) = kick(&server, &["--all", "--for", "10m"]);
    assert!(!fine && said.contains("cannot be used with"), "{said}");
}

#[test]
fn an_account_is_locked_at_once_whatever_mistakes_the_files_have() {
    if without_root() {
        return;
    }
    let mut server = server();
    let add = |path: &std::path::Path, line: &str| {
        let text = fs::read_to_string(path).expect("read");
        fs::write(path, text + line).expect("write");
    };
    let users = server.config_path().with_file_name("users");
    for (file, mistake) in [
        (users, "broken:line\n"),
        (server.config_path(), "nonsense = 1\n"),
    ] {
        server.connect().expect("LOGIN ann pass word", 0);
        add(&file, mistake);
        let (fine, said) = tfd(&server, &["user", "lock", "ann"]);
        assert!(fine && said.contains("ann locked"), "{said}");
        server
            .connect()
            .expect_reason("LOGIN ann pass word", "the account is locked.");
        server.connect().expect("LOGIN bob b", 0);
        let (_, said) = tfd(&server, &["blocked"]);
        assert!(
            said.contains("ann      all      -         unlocked"),
            "{said}"
        );
        let (fine, said) = tfd(&server, &["user", "unlock", "ann"]);
        assert!(fine, "{said}");
        server.connect().expect("LOGIN ann pass word", 0);
        let text = fs::read_to_string(&file).expect("read");
        fs::write(&file, text.replace(mistake, "")).expect("write");
    }
    // Once the file is read, it alone says who is locked.
    assert!(tfd(&server, &["user", "lock", "ann"]).0);
    server
        .connect()
        .expect_reason("LOGIN ann pass word", "the account is locked.");
    server.wait_for_log("the users file has changed");
    server.set_users(&accounts());
    server.connect().expect("LOGIN ann pass word", 0);
}

#[test]
fn the_fail2ban_filter_matches_who_failed_and_nobody_else() {
    if without_root() {
        return;
    }
    let mut server = server();
    let mut client = server.connect();
    client.expect("LOGIN ann peer=192.0.2.1", 37);
    client.expect("LOGIN peer=192.0.2.1 x", 37);
    client.expect("LOGIN ann pass word", 0);
    assert!(
        Client::knock(server.address())
            .ask("wrong version")
            .starts_with("FAILED 2")
    );
    server.wait_for_log("stage=handshake");
    server.wait_for_lines("login failed", 2);
    let log = server.config_path().with_file_name("log");
    fs::write(&log, server.log().join("\n") + "\n").expect("write");
    let filter = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/fail2ban-tfd.conf");
    let output = std::process::Command::new("fail2ban-regex")
        .args([
            "--print-all-matched",
            "--datepattern",
            "^%%Y-%%m-%%dT%%H:%%M:%%S",
        ])
        .args([log.as_os_str(), filter.as_ref()])
        .output();
    let Ok(output) = output else {
        println!("left out: fail2ban-regex is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("3 matched"), "{said}");
    let banned = said
        .lines()
        .filter(|line| line.contains("192.0.2.1"))
        .count();
    assert_eq!(
        banned,
        said.lines()
            .filter(|line| line.contains("user=\"peer=192"))
            .count()
    );
}

#[test]
fn an_append_only_account_adds_and_destroys_nothing() {
    if without_root() {
        return;
    }
    let server = Server::with(Setup {
        directories: &["backups"],
        ..setup(&account("backup", "b", "games:backups:append-only:"))
    });
    let (uid, gid, _) = ids("games");
    chown(server.path("backups"), Some(uid), Some(gid)).expect("chown");
    let mut client = server.connect();
    client.expect("LOGIN backup b", 0);
    client.send_file("a", false, b"first");
    client.hp_open("PUT", "b", &[0, 100]);
    client.send_frame(b"second");
    client.wire.write_units(&mut [0; 8], &[8]).expect("end");
    assert_eq!(client.wire.read_i64().expect("answer"), -127);
    client.wire.write_i64(-127).expect("send");
    client.send("SUP c");
    client
        .wire
        .write_units(&mut b"\0\0\0\x05third\0\0\0\0".to_vec(), &[4, 5, 4])
        .expect("send");
    assert_eq!(client.wire.read_i32().expect("answer"), 0);
    client.expect_all(&[
        ("MKDIR d", 0),
        ("COPY a | d/a", 0),
        ("CPDIR d | e", 0),
        ("TOUCH t", 0),
    ]);
    client.expect_all(&[
        ("SNDFILE 1 a", 1),
        ("SNDFILE 0 a", 12),
        ("DEL a", 1),
        ("RENAM a | z", 1),
        ("RMDIR d", 1),
        ("XDEL / | a", 1),
        ("XRMDIR / | d", 1),
        ("RCVFILE 1 a", 1),
        ("CHMOD a 600", 1),
        ("FUPD a", 1),
        ("COPY b | a", 12),
    ]);
    for word in ["PUT", "PUTCAN"] {
        let numbers: &[i64] = if word == "PUT" { &[0, 10] } else { &[0, 10, 1] };
        client.expect(Client::hp(word, "a", numbers), 34);
    }
    client.send("SUP a");
    client
        .wire
        .write_units(&mut b"\0\0\0\x03new\0\0\0\0".to_vec(), &[4, 3, 4])
        .expect("send");
    assert_eq!(client.wire.read_i32().expect("answer"), -1);
    client.send("RCVFILE 0 a");
    assert_eq!(client.receive_stream().expect("file"), b"first");
    for (name, content) in [
        ("a", "first"),
        ("b", "second"),
        ("c", "third"),
        ("e/a", "first"),
    ] {
        assert_eq!(server.read(&format!("backups/{name}")), content.as_bytes());
    }
}

/// Raw units behind a request, and so many bytes of a raw reply.
fn raw(client: &mut Client, request: &str, units: &[&[u8]], reply: usize) -> Vec<u8> {
    client.send(request);
    let lengths: Vec<usize> = units.iter().map(|unit| unit.len()).collect();
    let sent = client.wire.write_units(&mut units.concat(), &lengths);
    sent.expect("send");
    let mut bytes = vec![0; reply];
    // A code of 4 or 8 bytes, and a text behind the latter.
    let (code, text) = bytes.split_at_mut(reply.min(8));
    client.wire.read_raw(code).expect("reply");
    client.wire.read_raw(text).expect("reply");
    bytes
}

/// What accounts of either kind may not do with the commands of version 2.5.
fn expect_no_change_by_later_commands(client: &mut Client, file: &str) {
    for request in [
        format!("NETMUTACQ_TRY {file} t"),
        format!("NETMUTREL {file} t"),
        format!("NETLOCK 60 {file}"),
        format!("NETLOCK_TRY 60 {file}"),
        format!("XS1_OPEN {file}"),
        format!("LSV2 @||@{file}"),
        format!("LSRV2 @||@{file}"),
    ] {
        client.expect(&request, 1);
    }
    client.expect("NETUNLOCK 0", 54);
    let (hash, len) = (tfd_hash(b"content"), 3i32.to_be_bytes());
    let request = format!("INTWRITE {file}");
    assert_eq!(raw(client, &request, &[&hash, &len, b"new"], 4), [255; 4]);
    let none = "FAILED XS1 3 : Invalid file descriptor.";
    for request in [
        "CLOSE 0",
        "TRUNC 0 0",
        "SEEK 0 0 SET",
        "LOCK 0 LOCK",
        "READ 0 1",
        "WRITE 0 1 x",
    ] {
        assert_eq!(client.ask(format!("XS1_{request}")), none, "{request}");
    }
    let arguments = [[0; 11].as_slice(), &[1]].concat();
    for (request, data) in [("XS1_READV2", &b""[..]), ("XS1_WRITEV2", b"x")] {
        let reply = raw(client, request, &[&arguments, data], 8 + 126);
        assert_eq!(reply[..8], [255; 8], "{request}");
        assert!(reply[8..].starts_with(b"XS1 3 : Invalid file descriptor.\0"));
    }
    assert_eq!(raw(client, &format!("FTYPE {file}"), &[], 1), [3]);
    for (request, unit) in [("FTYPELS", 1), ("FSTATLS", 26)] {
        client.send(format!("{request} {file}"));
        for code in [-1i8, -2] {
            let mut bytes = vec![0; unit];
            client.wire.read_raw(&mut bytes).expect("unit");
            assert_eq!(bytes[0].cast_signed(), code, "{request}");
        }
    }
    client.send(format!("INTREAD {file}"));
    assert_eq!(client.wire.read_i32().expect("length"), 7);
    let (mut hash, mut content) = ([0; 66], [0; 7]);
    client.wire.read_raw(&mut hash).expect("hash");
    client.wire.read_raw(&mut content).expect("content");
    assert_eq!(&content, b"content");
    for request in ["LSV2DOWN", "LSRV2DOWN"] {
        client.expect(request, 0);
        let mut lines = Vec::new();
        while let Ok(len) = usize::try_from(client.wire.read_i32().expect("header")) {
            let mut line = vec![0; len];
            client.wire.read_raw(&mut line).expect("line");
            lines.push(line);
        }
        assert!(
            lines.contains(&format!("{file}\n").into_bytes()),
            "{request}"
        );
    }
    client.expect_alive();
}

/// The hash of INTWRITE.
fn tfd_hash(content: &[u8]) -> Vec<u8> {
    let digest = openssl::sha::sha256(content);
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}").into_bytes()
}

#[test]
fn later_commands_keep_the_rights_of_every_kind_of_account() {
    if without_root() {
        return;
    }
    let users = [
        account("look", "l", "games:home:read-only:"),
        account("add", "a", "games:home:append-only:"),
        account("all", "f", "games:home::"),
    ];
    let server = Server::with(Setup {
        directories: &["home"],
        ..setup(&users.concat())
    });
    server.write("home/f", b"content");
    let (uid, gid, _) = ids("games");
    for path in ["home", "home/f"] {
        chown(server.path(path), Some(uid), Some(gid)).expect("chown");
    }
    let mut before = server.connect();
    for request in [
        "LSV2 @||@x",
        "FTYPE f",
        "INTREAD f",
        "NETLOCK 1 f",
        "XS1_OPEN f",
        "XS1_READV2",
    ] {
        before.expect(request, 38);
    }
    let mut look = server.connect();
    look.expect("LOGIN look l", 0);
    expect_no_change_by_later_commands(&mut look, "f");
    look.expect_all(&[("RMKDIR a/b", 1), ("TASFS t", 1), ("LSV2 @||@new", 1)]);
    assert_eq!(server.names("home"), ["f"]);
    let mut add = server.connect();
    add.expect("LOGIN add a", 0);
    expect_no_change_by_later_commands(&mut add, "f");
    add.expect_all(&[
        ("RMKDIR a/b", 0),
        ("TASFS t", 0),
        ("TASFS f", 62),
        ("LSV2 @||@new", 0),
        ("LSRV2 @||@new", 1),
    ]);
    assert_eq!(server.names("home"), ["a", "f", "new", "t"]);
    assert_eq!(server.read("home/f"), b"content");
    let mut all = server.connect();
    all.expect("LOGIN all f", 0);
    assert_eq!(all.ask("XS1_OPEN f"), "OK 0");
    assert_eq!(all.ask("NETLOCK_TRY 9 f"), "OK 0");
    let (hash, len) = (tfd_hash(b"content"), 3i32.to_be_bytes());
    assert_eq!(
        raw(&mut all, "INTWRITE f", &[&hash, &len, b"new"], 4),
        [0; 4]
    );
    assert_eq!(server.read("home/f"), b"new");
}

#[test]
fn a_rate_is_kept_by_waiting() {
    if without_root() {
        return;
    }
    let server = Server::with(setup(&account("slow", "s", "games::rate=100K:")));
    server.write("f", vec![7; 250_000]);
    let mut client = server.connect();
    client.expect("LOGIN slow s", 0);
    let begin = Instant::now();
    client.send("RCVFILE 0 f");
    assert_eq!(client.receive_stream().expect("file").len(), 250_000);
    assert!(
        begin.elapsed() > Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn a_rate_is_the_accounts_in_all_its_sessions_which_share_it_fairly() {
    if without_root() {
        return;
    }
    let users = account("slow", "s", "games::rate=200K:") + &account("fast", "f", "games:::");
    let mut server = Server::with(setup(&users));
    server.write("f", vec![7; 250_000]);
    let mut first = server.connect();
    first.expect("LOGIN slow s", 0);
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_for_log("configuration read again");
    let mut second = server.connect();
    second.expect("LOGIN slow s", 0);
    let begin = Instant::now();
    let receive = |mut client: Client| {
        std::thread::spawn(move || {
            client.send("RCVFILE 0 f");
            assert_eq!(client.receive_stream().expect("file").len(), 250_000);
            begin.elapsed()
        })
    };
    let both = [receive(first), receive(second)].map(|thread| thread.join().expect("thread"));
    // 500,000 bytes at 204,800 a second; one alone has its half after 1.2 s.
    let last = both.iter().max().expect("two");
    assert!(*last > Duration::from_millis(2300), "{both:?}");
    for took in both {
        assert!(took > Duration::from_millis(1500), "{both:?}");
    }
    let mut other = server.connect();
    other.expect("LOGIN fast f", 0);
    let begin = Instant::now();
    other.send("RCVFILE 0 f");
    assert_eq!(other.receive_stream().expect("file").len(), 250_000);
    assert!(
        begin.elapsed() < Duration::from_secs(1),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn each_user_has_a_quota_of_its_own_beside_the_roots() {
    if without_root() {
        return;
    }
    let users = [
        account("ann", "a", "games::quota=100K:"),
        account("anna", "a", "games::quota=100K:"),
        account("bob", "b", "mail:::"),
    ];
    let mut setup = setup(&users.concat());
    setup.server.push_str("\nquota = \"200K\"");
    let server = Server::with(setup);
    fs::set_permissions(server.root(), fs::Permissions::from_mode(0o777)).expect("mode");
    let login = |line: &str| {
        let mut client = server.connect();
        client.expect(format!("LOGIN {line}"), 0);
        client
    };
    let (mut ann, mut anna, mut bob) = (login("ann a"), login("anna a"), login("bob b"));
    ann.send_file("a", false, &[0; 60 << 10]);
    assert_eq!(anna.ask("FREESP"), format!("OK {}", 40 << 10));
    assert_eq!(bob.ask("FREESP"), format!("OK {}", 140 << 10));
    assert_eq!(anna.ask("SNDFILE 1 b"), "CONT");
    assert_eq!(
        anna.ask([&b"CONT "[..], &[0; 41 << 10]].concat()),
        crate::common::reply_for(13)
    );
    bob.send_file("b", false, &[0; 130 << 10]);
    assert_eq!(ann.ask("FREESP"), format!("OK {}", 10 << 10));
    // Bob may remove ann's file here: her space and the root's are free again
    // once it is counted anew, the root's at once.
    bob.expect("DEL a", 0);
    assert_eq!(bob.ask("FREESP"), format!("OK {}", 70 << 10));
    server.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("a new count", || {
        ann.ask("FREESP") == format!("OK {}", 70 << 10)
    });
}

#[test]
fn a_session_shares_one_page_of_memory_and_reads_no_other_connections() {
    if without_root() {
        return;
    }
    let users = [
        account("ann", "a", "games::quota=100K:"),
        account("bob", "b", "mail:::"),
    ];
    let server = Server::with(setup(&users.concat()));
    let (mut ann, mut bob) = (server.connect(), server.connect());
    ann.expect("LOGIN ann a", 0);
    bob.expect("LOGIN bob b", 0);
    let page = rustix::param::page_size();
    wait_until("the sweeper ends", || {
        !descendants(server.pid())
            .iter()
            .any(|(_, name)| name == "tfd-sweeper")
    });
    for (pid, name) in descendants(server.pid()) {
        // A gate may end meanwhile, and has no memory while it does.
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        if maps.is_empty() {
            assert_eq!(name, "tfd-gate");
            continue;
        }
        let bytes = |what: &str, rights: &str| -> usize {
            let fits = |line: &&str| line.contains(what) && line.contains(rights);
            let size = |line: &str| {
                let (from, rest) = line.split_once('-').expect("range");
                let to = rest.split_whitespace().next().expect("range");
                let number = |text| usize::from_str_radix(text, 16).expect("address");
                number(to) - number(from)
            };
            maps.lines().filter(fits).map(size).sum()
        };
        let serves = ["tfd-gate", "tfd-session"].contains(&name.as_str());
        let own = if serves { page } else { 0 };
        assert_eq!(bytes("tfd-page", " rw"), own, "{name}:\n{maps}");
        assert_eq!(bytes("tfd-page", " r-"), 0, "{name}:\n{maps}");
        let reads_keys = name == "tfd-udp";
        assert_eq!(bytes("tfd-keys", " ") > 0, reads_keys, "{name}:\n{maps}");
        assert!(bytes("tfd-usage", " rw") <= page, "{name}:\n{maps}");
        assert_eq!(bytes("tfd-usage", " r-"), 0, "{name}:\n{maps}");
    }
}
