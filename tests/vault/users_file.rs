//! Accounts of the users file that have one in the vault, in the old dialects: who
//! may make one, who its sessions are, and what closes it.

use nix::sys::signal::Signal;

use crate::common::{Server, Setup, account, pids};
use crate::peer::*;
use crate::processes::status;

/// A closed server with this users file, whose vault takes each dialect.
fn server(users: &str) -> Option<Vault> {
    server_made(&std::env::temp_dir(), true, |data| Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"\ncontrol = \"control\"".to_owned(),
        users: users.to_owned(),
        tf: format!(
            "listen = []\n[vault]\nlisten = [\"127.0.0.1:0\"]\ndata = \"{}\"\nuser = \"games\"\n\
             dialects = [\"G1\", \"G2\", \"G3\"]\nnew_device = \"allow\"\n",
            data.display()
        ),
        ..Setup::default()
    })
}

/// Puts another users file in force.
fn follow(server: &mut Vault, users: &str, times: usize) {
    server.set_users(users);
    server.signal(Signal::SIGHUP);
    server.wait_for_lines("configuration read again", times);
}

/// Whether an account gets in, in each dialect.
fn is_let_in(server: &Server) -> Vec<bool> {
    let kinds = [Kind::G1, Kind::G2, Kind::G3];
    let let_in = kinds.map(|kind| {
        let answer = Peer::known(server, kind).log_in("ann", "pass");
        answer.contains("LOGIN_SUCCESSFUL")
    });
    let_in.to_vec()
}

#[test]
fn an_account_of_the_users_file_is_closed_with_its_line() {
    let line = |options: &str| account("ann", "other", &format!("mail::{options}"));
    let Some(mut server) = server(&line("vault:")) else {
        return;
    };
    let answer = Peer::known(&server, Kind::G3).register("bob");
    assert!(!answer.contains("SEND_VERIFICATION"), "{answer}");
    let _session = Peer::logged_in(&server, Kind::G3, "ann");
    let mail = nix::unistd::User::from_name("mail").expect("users");
    let mail = mail.expect("mail").uid.to_string();
    let sessions = pids(&server, "tfd-session");
    assert!(sessions.iter().any(|pid| status(*pid, "Uid:") == mail));

    let closed = [
        (
            "vault,from=192.0.2.0/24:",
            "may not be used from this address",
        ),
        ("vault:2020-01-01", "has expired"),
        (":", "not in the users file any more"),
    ];
    let mut reloads = 0;
    for (options, reason) in closed {
        reloads += 1;
        follow(&mut server, &line(options), reloads);
        assert_eq!(is_let_in(&server), [false; 3], "{options}");
        server.wait_for_log(reason);
    }
    reloads += 1;
    follow(&mut server, &line("vault:").replacen(':', ":!", 1), reloads);
    assert_eq!(is_let_in(&server), [false; 3], "locked");
    server.wait_for_log("the account is locked");
    reloads += 1;
    follow(
        &mut server,
        &line("vault,from=127.0.0.0/8:2999-12-31"),
        reloads,
    );
    assert_eq!(is_let_in(&server), [true; 3]);
}
