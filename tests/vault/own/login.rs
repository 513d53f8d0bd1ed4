//! Who is let in: proofs, devices, codes, and what strangers can find out.

use std::process::Command;

use tfd::vault::own::message::*;

use super::peer::*;
use crate::blocks::failed;
use crate::common::{account as users_line, wait_until};
use crate::mail::keys;
use crate::peer::{Vault, code, operate};
use crate::smtp::Smtp;

fn hello(user: &str) -> Request {
    Request::Hello {
        version: VERSION,
        user: user.to_owned(),
    }
}

#[test]
fn an_account_is_made_and_opened_from_its_device() {
    let Some(server) = server("") else { return };
    let ann = Account::new("ann");
    let mut client = Client::hello(&server, "ann");
    let first = client.welcome(&Request::Register(ann.register()));
    assert_eq!((first.revision, first.oldest), (0, 0));
    assert_eq!(first.wrapped, Sealed(b"wrapped".to_vec()));
    assert_eq!(client.ask(&Request::LogOut), Reply::Done);
    assert!(client.is_over());

    let mut client = Client::new(&server);
    let params = client.ask(&hello("ann"));
    assert_eq!(params, Reply::Params(Kdf::usual([7; 32])));
    let again = client.ask(&Request::Register(ann.register()));
    assert_eq!(again, refused(Refusal::NameTaken));
    let mut wrong = ann.clone();
    wrong.auth[0] ^= 1;
    let no = client.ask(&Request::LogIn(wrong.log_in()));
    assert_eq!(no, refused(Refusal::Credentials));
    let mut forged = ann.clone();
    forged.device.token = [0; 32].into();
    let no = client.ask(&Request::LogIn(forged.log_in()));
    assert_eq!(no, refused(Refusal::Credentials));
    let second = client.welcome(&Request::LogIn(ann.log_in()));
    assert_eq!(second.store, first.store);
}

#[test]
fn a_name_without_an_account_is_answered_as_one_that_has_one() {
    let Some(server) = server_with("login_failures = 0", "", "") else {
        return;
    };
    let ann = Account::new("ann");
    Client::registered(&server, &ann);
    let stranger = Account::new("nobody");
    let mut salts = Vec::new();
    for _ in 0..2 {
        let mut client = Client::new(&server);
        let Reply::Params(kdf) = client.ask(&hello("nobody")) else {
            panic!("no parameters");
        };
        salts.push(kdf.salt);
        let Kdf { salt, .. } = kdf.clone();
        assert_eq!(kdf, Kdf::usual(salt));
        let no = client.ask(&Request::LogIn(stranger.log_in()));
        assert_eq!(no, refused(Refusal::Credentials));
        let recovery = LogIn {
            proof: Proof::Recovery([0; 32].into()),
            ..stranger.log_in()
        };
        let no = client.ask(&Request::LogIn(recovery));
        assert_eq!(no, refused(Refusal::Credentials));
    }
    assert_eq!(salts[0], salts[1]);
    let Reply::Params(other) = Client::new(&server).ask(&hello("nobody2")) else {
        panic!("no parameters");
    };
    assert_ne!(other.salt, salts[0]);
}

#[test]
fn a_new_device_needs_a_code_or_the_account_secret() {
    let Some(server) = server("new_device = \"operator\"") else {
        return;
    };
    let ann = Account::new("ann");
    Client::registered(&server, &ann);
    let other = ann.on_another();
    let mut client = Client::hello(&server, "ann");
    let with = |code: Option<&str>| {
        let code = code.map(|code| code.as_bytes().to_vec().into());
        Request::LogIn(LogIn {
            code,
            ..other.log_in()
        })
    };
    assert_eq!(client.ask(&with(None)), code_wanted(CodeFor::Device));
    let (list, _) = operate(&server, &["codes"]);
    assert!(list.contains("ann   device  PM-"), "{list}");
    let given = code(&server, "ann");
    assert_eq!(client.ask(&with(None)), code_wanted(CodeFor::Device));
    assert_eq!(code(&server, "ann"), given, "it stays good");
    let no = client.ask(&with(Some("PM-x")));
    assert_eq!(no, refused(Refusal::CodeWrong));
    client.welcome(&with(Some(&given)));
    // The device is known from now on, and another that knows the account secret.
    Client::logged_in(&server, &other);
    let third = ann.on_another();
    let mut client = Client::hello(&server, "ann");
    let recovery = LogIn {
        proof: Proof::Recovery(ann.recovery.into()),
        ..third.log_in()
    };
    client.welcome(&Request::LogIn(recovery));
    let Reply::Devices { devices } = client.ask(&Request::Devices) else {
        panic!("no list");
    };
    let names: Vec<&str> = devices.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names.len(), 3);
    assert_eq!(devices.iter().filter(|it| it.is_this).count(), 1);
    let this = devices.iter().find(|it| it.is_this).expect("this one");
    assert!(this.is_online && this.id == third.device.id);
}

#[test]
fn the_code_of_a_new_device_comes_by_mail() {
    let smtp = Smtp::start(None);
    let Some(server) = server(&keys(&smtp, "mail")) else {
        return;
    };
    for (user, mail) in [("ann", Some("ann@example.org")), ("bob", None)] {
        let account = Account::new(user);
        let mut client = Client::hello(&server, user);
        client.welcome(&Request::Register(Register {
            mail: mail.map(str::to_owned),
            ..account.register()
        }));
        let other = account.on_another();
        let mut client = Client::hello(&server, user);
        let wanted = Reply::CodeWanted {
            kind: CodeFor::Device,
            is_mailed: mail.is_some(),
        };
        assert_eq!(client.ask(&Request::LogIn(other.log_in())), wanted);
        let given = match mail {
            Some(mail) => {
                let letter = smtp.letters(1)[0].clone();
                assert!(letter.to.contains(mail), "{letter:?}");
                letter.code()
            }
            None => code(&server, user),
        };
        client.welcome(&Request::LogIn(LogIn {
            code: Some(given.into_bytes().into()),
            ..other.log_in()
        }));
    }
    assert_eq!(smtp.letters(1).len(), 1);
}

#[test]
fn proofs_and_codes_are_not_guessed() {
    let Some(server) = server("new_device = \"operator\"") else {
        return;
    };
    let ann = Account::new("ann");
    Client::registered(&server, &ann);
    let mut client = Client::hello(&server, "ann");
    let other = ann.on_another();
    client.ask(&Request::LogIn(other.log_in()));
    let tries = (0..40).position(|_| {
        let guess = LogIn {
            code: Some(b"PM-x".to_vec().into()),
            ..other.log_in()
        };
        let answer = client.ask(&Request::LogIn(guess));
        answer != refused(Refusal::CodeWrong)
    });
    assert!(tries.is_some(), "codes");
    let mut client = Client::hello(&server, "ann");
    let mut wrong = ann.clone();
    wrong.auth[0] ^= 1;
    let blocked = (0..40).find_map(|_| match client.ask(&Request::LogIn(wrong.log_in())) {
        Reply::Refused {
            why: Refusal::Blocked { seconds },
        } => Some(seconds),
        _ => None,
    });
    assert!(blocked.expect("a block") > 0);
}

#[test]
fn failures_are_counted() {
    let lines = "metrics = \"./metrics\"\nlogin_failures = 2";
    let Some(server) = server_with(lines, "", "new_device = \"operator\"") else {
        return;
    };
    let ann = Account::new("ann");
    Client::registered(&server, &ann);
    let mut wrong = ann.clone();
    wrong.auth[0] ^= 1;
    let guess = LogIn {
        code: Some(b"PM-x".to_vec().into()),
        ..ann.on_another().log_in()
    };
    let mut client = Client::hello(&server, "nobody");
    client.ask(&Request::LogIn(ann.log_in()));
    let mut client = Client::hello(&server, "ann");
    for login in [guess, wrong.log_in(), wrong.log_in()] {
        client.ask(&Request::LogIn(login));
    }
    for reason in [
        "unknown_user",
        "wrong_code",
        "wrong_password",
        "blocked_user",
    ] {
        wait_until(reason, || failed(&server, reason) == 1);
    }
}

#[test]
fn a_closed_server_takes_accounts_of_its_users_file_alone_by_a_code() {
    let users = [
        users_line("ann", "pass", "mail::vault:"),
        users_line("bob", "pass", "mail:::"),
    ];
    let lines = "mode = \"multi-user\"\nusers = \"users\"";
    let closed = "registration = \"closed\"";
    let Some(server) = server_with(lines, &users.concat(), closed) else {
        return;
    };
    for user in ["ann", "bob", "nobody"] {
        let account = Account::new(user);
        let mut client = Client::hello(&server, user);
        let wanted = client.ask(&Request::Register(account.register()));
        assert_eq!(wanted, code_wanted(CodeFor::Registration), "{user}");
        let guess = Register {
            code: Some(b"PM-x".to_vec().into()),
            ..account.register()
        };
        let no = client.ask(&Request::Register(guess));
        assert_eq!(no, refused(Refusal::CodeWrong), "{user}");
    }
    let (list, _) = operate(&server, &["codes"]);
    assert!(list.contains("ann   registration  PM-"), "{list}");
    assert!(!list.contains("bob") && !list.contains("nobody"), "{list}");
    let ann = Account::new("ann");
    let given = code(&server, "ann");
    let mut client = Client::hello(&server, "ann");
    client.welcome(&Request::Register(Register {
        code: Some(given.into_bytes().into()),
        ..ann.register()
    }));
    client.store([1; 16], 0, Some(b"x"));
    expect_served_as(&server, "mail");
    drop(client);
    let mut client = Client::logged_in(&server, &ann);
    assert_eq!(client.pull_all().len(), 1);
    let proof = Proof::Password(ann.auth.into());
    assert_eq!(client.ask(&Request::DeleteAccount { proof }), Reply::Done);
    let mut client = Client::hello(&server, "ann");
    let no = client.ask(&Request::LogIn(ann.log_in()));
    assert_eq!(no, refused(Refusal::Credentials));
}

/// Expects one session of this system user, whose root is its own.
fn expect_served_as(server: &Vault, name: &str) {
    use std::os::unix::fs::MetadataExt;
    let user = nix::unistd::User::from_name(name).expect("users");
    let uid = user.expect("user").uid.as_raw();
    let mut sessions = crate::common::pids(server, "tfd-session");
    sessions.retain(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
        status.is_ok_and(|status| status.contains(&format!("\nUid:\t{uid}\t{uid}\t")))
    });
    assert_eq!(sessions.len(), 1);
    let root = std::fs::metadata(format!("/proc/{}/root", sessions[0])).expect("root");
    assert_eq!((root.uid(), root.mode() & 0o777), (uid, 0o700));
}

#[test]
fn a_server_that_is_closed_to_all_says_so() {
    let Some(server) = server("registration = \"closed\"") else {
        return;
    };
    let mut client = Client::hello(&server, "ann");
    let no = client.ask(&Request::Register(Account::new("ann").register()));
    assert_eq!(no, refused(Refusal::Closed));
}

#[test]
fn names_that_no_account_can_have_are_refused() {
    let Some(server) = server("") else { return };
    for name in ["a b", "a'b", "a\nb", "__ADMIN__", &"x".repeat(65)] {
        let mut client = Client::hello(&server, name);
        let no = client.ask(&Request::Register(Account::new(name).register()));
        assert_eq!(no, refused(Refusal::Name), "{name:?}");
    }
    let mut client = Client::hello(&server, "ann");
    let mailed = Register {
        mail: Some("no address".to_owned()),
        ..Account::new("ann").register()
    };
    let no = client.ask(&Request::Register(mailed));
    assert_eq!(no, refused(Refusal::Mail));
}

#[test]
fn who_does_not_ask_for_the_protocol_is_sent_away() {
    let Some(mut server) = server("") else { return };
    assert!(Client::with_alpn(&server, b"\x08http/1.1").is_none());
    server.wait_for_log("asks for another application protocol");
    let client = Client::with_alpn(&server, b"");
    assert!(client.is_none_or(|mut client| client.receive().is_none()));
    server.wait_for_log("a client that does not ask for tfd-vault/1");
}

/// What a client does.
type Act<'a> = &'a dyn Fn(&mut Client);

#[test]
fn what_has_no_place_ends_the_connection_and_nothing_else() {
    let Some(mut server) = server("") else { return };
    let ann = Account::new("ann");
    Client::registered(&server, &ann);
    let login = Request::LogIn(ann.log_in());
    let long = [&[0, 0, 0x10, 1][..], &[0; 0x1001]].concat();
    let early: &[(&str, Act<'_>)] = &[
        ("a pull before the hello", &|client| {
            client.send(&Request::Pull {
                since: 0,
                whole: true,
            });
        }),
        ("a login before the hello", &|client| client.send(&login)),
        ("two hellos", &|client| {
            client.ask(&hello("ann"));
            client.send(&hello("ann"));
        }),
        ("a push before the login", &|client| {
            client.ask(&hello("ann"));
            client.send(&Request::Push { changes: vec![] });
        }),
        ("a message that is too long", &|client| {
            client.send_bytes(&long);
        }),
        ("no message", &|client| client.send_bytes(&[0, 0, 0, 1, 99])),
        ("an empty frame", &|client| client.send_bytes(&[0; 4])),
    ];
    for (what, act) in early {
        let mut client = Client::new(&server);
        act(&mut client);
        assert!(client.is_over(), "{what}");
    }
    server.wait_for_lines("a message out of order", 4);
    server.wait_for_lines("not a message of tfd-vault/1", 2);
    server.wait_for_log("a message of 4097 bytes, which is too long");
    let late: &[(&str, &[u8])] = &[
        ("no message", &[0, 0, 0, 1, 99]),
        ("a message that is too long", &[0x7f, 0, 0, 0]),
    ];
    for (what, bytes) in late {
        let mut client = Client::logged_in(&server, &ann);
        client.send_bytes(bytes);
        assert!(client.is_over(), "{what}");
    }
    for request in [
        hello("ann"),
        login.clone(),
        Request::Register(ann.register()),
    ] {
        let mut client = Client::logged_in(&server, &ann);
        client.send(&request);
        assert!(client.is_over(), "{request:?}");
    }
    let mut client = Client::new(&server);
    let other = Request::Hello {
        version: 2,
        user: "ann".to_owned(),
    };
    assert_eq!(client.ask(&other), refused(Refusal::Version));
    assert!(matches!(client.ask(&hello("ann")), Reply::Params(_)));
    client.welcome(&login);
}

#[test]
fn another_password_opens_the_account_from_then_on() {
    let Some(server) = server("") else { return };
    let ann = Account::new("ann");
    let mut client = Client::registered(&server, &ann);
    let mut other = Client::logged_in(&server, &ann.on_another());
    let new = NewPassword {
        kdf: Kdf::usual([8; 32]),
        auth: [9; 32].into(),
        wrapped: Sealed(b"again".to_vec()),
    };
    assert_eq!(client.ask(&Request::SetPassword(new)), Reply::Done);
    // Those who are in stay so.
    other.store([1; 16], 0, Some(b"x"));
    let mut client = Client::new(&server);
    assert_eq!(
        client.ask(&hello("ann")),
        Reply::Params(Kdf::usual([8; 32]))
    );
    let no = client.ask(&Request::LogIn(ann.log_in()));
    assert_eq!(no, refused(Refusal::Credentials));
    let changed = Account {
        auth: [9; 32],
        ..ann
    };
    let welcome = client.welcome(&Request::LogIn(changed.log_in()));
    assert_eq!(welcome.wrapped, Sealed(b"again".to_vec()));
}

#[test]
fn the_operator_sees_bans_and_kicks_accounts_of_both_kinds() {
    let Some(server) = server("") else { return };
    let ann = Account::new("ann");
    let mut client = Client::registered(&server, &ann);
    let (accounts, _) = operate(&server, &["accounts"]);
    let row: Vec<&str> = accounts
        .lines()
        .nth(1)
        .expect("row")
        .split_whitespace()
        .collect();
    assert_eq!(row, ["ann", "1", "active"]);
    let revision = client.store([1; 16], 0, Some(b"sealed"));
    let (export, is_well) = operate(&server, &["export", "ann"]);
    assert!(is_well, "{export}");
    let export: serde_json::Value = serde_json::from_str(&export).expect("JSON");
    let item = &export["items"][0];
    assert_eq!(item["id"], "01010101010101010101010101010101");
    assert_eq!(
        (&item["revision"], &item["base"]),
        (&revision.into(), &0.into())
    );
    assert_eq!(item["sealed"], "c2VhbGVk");
    let (text, is_well) = operate(&server, &["kick", "ann"]);
    assert!(is_well, "{text}");
    let over = Reply::Over {
        why: Over::Stopping,
    };
    assert_eq!(client.news(), Some(over));
    assert!(client.is_over());
    operate(&server, &["ban", "ann", "--for", "1h"]);
    let mut client = Client::hello(&server, "ann");
    let answer = client.ask(&Request::LogIn(ann.log_in()));
    let Reply::Refused {
        why: Refusal::Banned { seconds },
    } = answer
    else {
        panic!("{answer:?}");
    };
    assert!((1..=3600).contains(&seconds));
    operate(&server, &["ban", "ann", "--for", "0s"]);
    client.welcome(&Request::LogIn(ann.log_in()));
}

#[test]
fn status_and_audit_log_show_its_sessions_and_what_they_do() {
    let Some(server) = server_with("audit = \"audit.log\"", "", "") else {
        return;
    };
    let mut client = Client::registered(&server, &Account::new("ann"));
    client.store([1; 16], 0, Some(b"a"));
    let status = || {
        let output = Command::new(env!("CARGO_BIN_EXE_tfd"))
            .args(["status", "--control"])
            .arg(server.config_path().with_file_name("control"))
            .output()
            .expect("tfd");
        String::from_utf8(output.stdout).expect("text")
    };
    wait_until("its line", || status().contains(" ann "));
    let audit = server.config_path().with_file_name("audit.log");
    wait_until("its record", || {
        let text = std::fs::read_to_string(&audit).unwrap_or_default();
        text.lines()
            .any(|line| line.contains("ann") && line.contains("PUSH"))
    });
    client.store([2; 16], 0, Some(b"b"));
}
