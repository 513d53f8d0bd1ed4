//! Codes that are mailed: to whom, when, and what a mail server that is not well
//! keeps waiting.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use tfd::vault::own::message::*;
use zeroize::Zeroizing;

use crate::common::{PATIENCE, pids, wait_until};
use crate::own::peer as own;
use crate::peer::*;
use crate::processes::status;
use crate::smtp::{Identity, Letter, Manner, Smtp};

/// The keys of a vault that mails by this server.
pub fn keys(smtp: &Smtp, new_device: &str) -> String {
    format!(
        "smtp = \"smtp://{}\"\nmail_from = \"Vault <vault@example.org>\"\n\
         new_device = \"{new_device}\"",
        smtp.address
    )
}

fn expect_whole(letter: &Letter, to: &str) {
    assert!(
        letter.from.starts_with("MAIL FROM:<vault@example.org>"),
        "{letter:?}"
    );
    assert!(
        letter.to.starts_with(&format!("RCPT TO:<{to}>")),
        "{letter:?}"
    );
    assert!(letter.lines.iter().all(|line| line.len() < 998));
    for header in [
        "Message-ID: <",
        "Date: ",
        "From: Vault <vault@example.org>",
        "To: ",
    ] {
        let found = letter.lines.iter().filter(|line| line.starts_with(header));
        assert_eq!(found.count(), 1, "{header} {letter:?}");
    }
}

#[test]
fn codes_come_by_mail_and_none_does_before_a_right_password() {
    let smtp = Smtp::start(None);
    let Some(server) = server(&keys(&smtp, "mail")) else {
        return;
    };
    let mut peer = Peer::known(&server, Kind::G3);
    peer.register("ann");
    let letter = smtp.letters(1)[0].clone();
    expect_whole(&letter, "ann@example.org");
    assert_eq!(letter.code(), code(&server, "ann"));
    let code = letter.code();
    let verified = peer.ask(&format!("MNGVERusername%eq!ann!;code%eq!{code}!;"));
    assert_eq!(verified, "INFRETmsg%eq!ACCOUNT_VERIFIED!;");

    let mut other = Peer::known(&server, Kind::G3);
    assert!(other.log_in("ann", "wrong").contains("CRED"));
    assert!(other.log_in("nobody", "pass").contains("CRED"));
    assert!(
        other
            .log_in("ann", "pass")
            .contains("SEND_VERIFICATION_NEW_DEVICE")
    );
    let letter = smtp.letters(2)[1].clone();
    expect_whole(&letter, "ann@example.org");
    let (code, cookie, password) = (letter.code(), other.cookie.clone(), online("pass"));
    let confirmed = other.ask(&format!(
        "MNGCNDusername%eq!ann!;password%eq!{password}!;cookie%eq!{cookie}!;code%eq!{code}!;"
    ));
    assert_eq!(confirmed, "INFRETmsg%eq!LOGIN_SUCCESSFUL!;");
    other.ask("MNGIPCmode%eq!PASSWORD_CHANGE!;");
    let letter = smtp.letters(3)[2].clone();
    let (code, password) = (letter.code(), online("new"));
    let changed = other.ask(&format!("MNGCPCpassword%eq!{password}!;code%eq!{code}!;"));
    assert_eq!(changed, "INFRETmsg%eq!PASSWORD_CHANGED!;");
    assert_eq!(smtp.connections(), 3, "one for each mail");
}

#[test]
fn a_code_for_a_device_is_the_operators_alone_unless_it_is_to_be_mailed() {
    let smtp = Smtp::start(None);
    // By its name: the sandbox lets the mailer look that up.
    let lines = keys(&smtp, "operator").replace("127.0.0.1", "localhost");
    let Some(server) = server(&lines) else {
        return;
    };
    Peer::registered(&server, Kind::G3, "ann");
    let mut other = Peer::known(&server, Kind::G3);
    assert!(
        other
            .log_in("ann", "pass")
            .contains("SEND_VERIFICATION_NEW_DEVICE")
    );
    assert!(code(&server, "ann").starts_with("PM-"));
    // Mails go out in the order of their codes: that of bob comes last.
    other.register("bob");
    let letters = smtp.letters(2);
    assert!(letters[1].to.contains("bob@example.org"), "{letters:?}");
}

#[test]
fn a_mail_server_has_to_show_whose_it_is_before_it_gets_a_password_or_a_code() {
    let (own, strange) = (Identity::new(), Identity::new());
    let directory = tempfile::tempdir().expect("directory");
    let authority = directory.path().join("ca.pem");
    fs::write(&authority, &own.authority).expect("write");
    let password = directory.path().join("password");
    fs::write(&password, "secret of mail\n").expect("write");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).expect("mode");
    for (identity, is_trusted) in [(&own, true), (&strange, false)] {
        let smtp = Smtp::start(Some(identity));
        let lines = format!(
            "smtp = \"smtps://vault@{}\"\nmail_from = \"vault@example.org\"\nsmtp_ca = \"{}\"\n\
             smtp_password_file = \"{}\"",
            smtp.address,
            authority.display(),
            password.display()
        );
        let Some(mut server) = server(&lines) else {
            return;
        };
        Peer::known(&server, Kind::G3).register("ann");
        if is_trusted {
            let letter = smtp.letters(1)[0].clone();
            let login = letter.login.clone().expect("login");
            assert_eq!(login, ("vault".to_owned(), "secret of mail".to_owned()));
            assert_eq!(letter.code(), code(&server, "ann"));
        } else {
            server.wait_for_log("mail sent again later user=\"ann\" kind=\"activation\"");
            assert!(smtp.letters(0).is_empty());
        }
    }
}

#[test]
fn a_mail_server_on_another_machine_gets_nothing_before_tls() {
    // The address of this machine that others see; nothing is sent.
    let socket = UdpSocket::bind("0.0.0.0:0").expect("socket");
    let routed = socket
        .connect("192.0.2.1:9")
        .and_then(|()| socket.local_addr());
    let Ok(address) = routed.map(|address| address.ip()) else {
        println!("left out: this machine has no address that others see");
        return;
    };
    let (identity, strange) = (Identity::at(address), Identity::at(address));
    let directory = tempfile::tempdir().expect("directory");
    let authority = directory.path().join("ca.pem");
    fs::write(&authority, &identity.authority).expect("write");
    for (shown, is_trusted) in [
        (Some(&identity), true),
        (Some(&strange), false),
        (None, false),
    ] {
        let smtp = Smtp::start_tls_at(address, shown);
        let lines = format!(
            "{}\nsmtp_ca = \"{}\"",
            keys(&smtp, "mail"),
            authority.display()
        );
        let Some(mut server) = server(&lines) else {
            return;
        };
        Peer::known(&server, Kind::G3).register("ann");
        if is_trusted {
            let letter = smtp.letters(1)[0].clone();
            assert_eq!(letter.code(), code(&server, "ann"));
        } else {
            server.wait_for_log("mail sent again later user=\"ann\" kind=\"activation\"");
            assert!(smtp.letters(0).is_empty());
        }
    }
}

#[test]
fn a_mail_server_that_is_not_well_holds_up_no_login_and_gets_the_mail_later() {
    let smtp = Smtp::start(None);
    smtp.behave(Manner::Silent);
    let Some(mut server) = server(&keys(&smtp, "mail")) else {
        return;
    };
    let mut silent = Peer::known(&server, Kind::G3);
    silent.register("ann");
    wait_until("a connection", || smtp.connections() == 1);
    let before = Instant::now();
    let mut bob = Peer::logged_in(&server, Kind::G3, "bob");
    bob.insert("x", 1);
    assert!(
        before.elapsed() < PATIENCE / 4,
        "half of what the mail server may take"
    );
    // The process that waits for the server is not the one that lets clients in.
    smtp.behave(Manner::Postpones);
    let [mailer] = pids(&server, "tfd-mailer")[..] else {
        panic!("one process");
    };
    kill(Pid::from_raw(mailer as i32), Signal::SIGKILL).expect("kill");
    server.wait_for_log("mail sent again later user=\"ann\" kind=\"activation\"");
    smtp.behave(Manner::Takes);
    let letter = smtp.letters(1)[0].clone();
    assert_eq!(letter.code(), code(&server, "ann"));
}

#[test]
fn a_mail_that_is_refused_is_not_sent_again_and_the_code_stays() {
    let smtp = Smtp::start(None);
    smtp.behave(Manner::Refuses);
    let Some(mut server) = server(&keys(&smtp, "mail")) else {
        return;
    };
    let mut peer = Peer::known(&server, Kind::G3);
    peer.register("ann");
    server.wait_for_log("mail not sent user=\"ann\" kind=\"activation\"");
    let given = code(&server, "ann");
    let verified = peer.ask(&format!("MNGVERusername%eq!ann!;code%eq!{given}!;"));
    assert_eq!(verified, "INFRETmsg%eq!ACCOUNT_VERIFIED!;");
}

#[test]
fn an_address_gets_few_mails_whoever_asks_for_them() {
    let smtp = Smtp::start(None);
    let Some(mut server) = server(&keys(&smtp, "mail")) else {
        return;
    };
    Peer::registered(&server, Kind::G3, "ann");
    smtp.letters(1);
    let mut peer = Peer::known(&server, Kind::G3);
    for count in 2..=6 {
        assert!(
            peer.log_in("ann", "pass")
                .contains("SEND_VERIFICATION_NEW_DEVICE")
        );
        smtp.letters(count);
    }
    assert!(
        peer.log_in("ann", "pass")
            .contains("SEND_VERIFICATION_NEW_DEVICE")
    );
    server
        .wait_for_log("mail not sent user=\"ann\" reason=\"too many to this address in an hour\"");
    assert_eq!(smtp.letters(6).len(), 6);
}

#[test]
fn the_mailer_has_a_helpers_identity_and_no_file_of_the_vault() {
    let smtp = Smtp::start(None);
    let Some(server) = server(&keys(&smtp, "mail")) else {
        return;
    };
    let [mailer] = pids(&server, "tfd-mailer")[..] else {
        panic!("one process");
    };
    let games = nix::unistd::User::from_name("games")
        .expect("users")
        .expect("games");
    assert_ne!(status(mailer, "Uid:"), "0");
    assert_ne!(status(mailer, "Uid:"), games.uid.to_string());
    for (line, value) in [
        ("CapEff:", "0000000000000000"),
        ("CapPrm:", "0000000000000000"),
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2"),
    ] {
        assert_eq!(status(mailer, line), value, "{line}");
    }
    for entry in fs::read_dir(format!("/proc/{mailer}/fd")).expect("descriptors") {
        let target = fs::read_link(entry.expect("entry").path()).unwrap_or_default();
        let target = target.display().to_string();
        let is_known = ["socket:", "pipe:", "/dev/null", "anon_inode:"]
            .iter()
            .any(|known| target.starts_with(known));
        assert!(is_known, "{target}");
    }
}

#[test]
fn a_code_of_the_own_dialect_comes_by_mail_after_a_right_password_alone() {
    let smtp = Smtp::start(None);
    let Some(server) = own::server(&keys(&smtp, "mail")) else {
        return;
    };
    let ann = own::Account::new("ann");
    let mut client = own::Client::hello(&server, "ann");
    client.welcome(&Request::Register(Register {
        mail: Some("ann@example.org".to_owned()),
        ..ann.register()
    }));
    let bob = own::Account::new("bob");
    own::Client::registered(&server, &bob);

    let mut client = own::Client::hello(&server, "ann");
    let other = ann.on_another();
    let wrong = LogIn {
        proof: Proof::Password([7; 32].into()),
        ..other.log_in()
    };
    let refused = client.ask(&Request::LogIn(wrong));
    assert_eq!(refused, own::refused(Refusal::Credentials));
    // Without an address the code is the operator's.
    let of_bob = bob.on_another();
    let mut client_of_bob = own::Client::hello(&server, "bob");
    let wanted = client_of_bob.ask(&Request::LogIn(of_bob.log_in()));
    assert_eq!(wanted, own::code_wanted(CodeFor::Device));
    let wanted = client.ask(&Request::LogIn(other.log_in()));
    let mailed = Reply::CodeWanted {
        kind: CodeFor::Device,
        is_mailed: true,
    };
    assert_eq!(wanted, mailed);
    let letter = smtp.letters(1)[0].clone();
    expect_whole(&letter, "ann@example.org");
    assert_eq!(letter.code(), code(&server, "ann"));
    let with_code = LogIn {
        code: Some(Zeroizing::new(letter.code().into_bytes())),
        ..other.log_in()
    };
    client.welcome(&Request::LogIn(with_code));
    assert_eq!(
        smtp.connections(),
        1,
        "none for a wrong password, none for bob"
    );
}
