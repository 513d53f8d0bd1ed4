//! What the vault's processes could do once they were taken over: reach the files of
//! other accounts and of the server, and ask the process that keeps the accounts for
//! what is another's. The attacker knows all that the other's owner knows: name,
//! password, device, code.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::socket::{MsgFlags, recv, send};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;
use tfd::ipc::channel::Channel;
use tfd::sandbox::place::Place;
use tfd::session::keeper::Keeper;
use tfd::vault::own::message::{Id, Request, VERSION};

use crate::attacks::{self, ATTACKS, channels};
use crate::common::{Server, Setup, account, connect_from, wait_until, write_certificate};
use crate::files::{self, Could, TARGETS, reach_files, say};
use crate::own_peer::{ALPN, Account, Client};
use crate::peer::{Kind, Peer, address, code, online, prepare};
use crate::{Attempt, is_expected, setting};

/// The place of processes of the vault that are attacked, whatever theirs is.
pub const PLACE: &str = "Vault";

/// The client whose gate is taken over.
const GATE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);

/// The variables with what the attacker knows.
const COOKIE: &str = "TFD_TEST_COOKIE";
const CODE: &str = "TFD_TEST_CODE";
const DEVICE: &str = "TFD_TEST_DEVICE";
const OWN_DEVICE: &str = "TFD_TEST_OWN_DEVICE";

/// How many attackers say at the end that they are through: both helpers, a gate, and
/// a session of each kind.
const ATTACKERS: usize = 5;

/// In a process of the attacked tfd.
pub fn attack(place: Place, peer: SocketAddr, root: Option<BorrowedFd<'_>>) {
    let could = files::could(place);
    match place {
        Place::Gate if peer.ip() != GATE => return,
        Place::Gate => ask_as_gate(peer, &could),
        Place::Session => ask_as_session(&could),
        _ => {}
    }
    reach_files(root, &could);
    say(&format!("{place:?} has tried all"));
}

/// A question to the process that keeps the accounts: its number and its fields.
fn question(number: u8, fields: &[&[u8]]) -> Vec<u8> {
    [&[number][..], &fields.concat()].concat()
}

fn text(content: &str) -> Vec<u8> {
    let len = content.len() as u32;
    [&len.to_be_bytes()[..], content.as_bytes()].concat()
}

/// What is answered; nothing where the other end has hung up, or never answers.
fn answer(channel: RawFd, question: &[u8]) -> Vec<u8> {
    let mut answer = vec![0; 65536];
    if send(channel, question, MsgFlags::MSG_NOSIGNAL).is_err() {
        return Vec::new();
    }
    let patience = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let of_it = channels().find(|it| it.as_raw_fd() == channel);
    let of_it = of_it.expect("channel");
    let came = poll(&mut [PollFd::new(&of_it, PollFlags::IN)], Some(&patience));
    let len = match came {
        Ok(1..) => recv(channel, &mut answer, MsgFlags::empty()).unwrap_or(0),
        _ => 0,
    };
    answer.truncate(len);
    answer
}

const YES: &[u8] = &[1];
const ADMITTED: &[u8] = &[4];
const DONE: &[u8] = &[8, 6];

/// Asks what sessions alone may ask, and those for their own account.
fn ask_as_session(could: Could<'_>) {
    let asks = |channel: &BorrowedFd<'_>| answer(channel.as_raw_fd(), &[1]).first() == Some(&3);
    let Some(channel) = channels().find(asks) else {
        return say("no channel to attack");
    };
    let channel = channel.as_raw_fd();
    let cookie = setting(COOKIE);
    for (what, question) in of_another(&cookie) {
        let answer = answer(channel, &question);
        could(what, answer == YES || answer == ADMITTED || answer == DONE);
    }
    for (what, number) in [("see its devices", 12), ("see its address", 18)] {
        let shown = answer(channel, &[number]);
        let holds = |text: &str| shown.windows(text.len()).any(|it| it == text.as_bytes());
        could(what, holds(&cookie) || holds("ann@"));
    }
    let own = question(20, &[&[4], &id(OWN_DEVICE)]);
    could("serve its own device", answer(channel, &own) == DONE);
    let unlink = question(20, &[&[8], &id(DEVICE)]);
    could(
        "unlink a device of the own dialect",
        answer(channel, &unlink) == DONE,
    );
}

/// What would change another's account, or show it.
fn of_another(cookie: &str) -> Vec<(&'static str, Vec<u8>)> {
    let (cookie, password, code) = (text(cookie), text(&online("pass")), text(&setting(CODE)));
    let user = text("ann");
    vec![
        ("serve a device", question(10, &[&cookie])),
        ("unlink a device", question(13, &[&cookie])),
        ("log in", question(6, &[&user, &password, &cookie, &[0]])),
        ("set the password", question(15, &[&password, &code])),
        ("delete the account", question(16, &[&code])),
        ("retire the accounts", question(21, &[])),
        (
            "serve a device of the own dialect",
            question(20, &[&[4], &id(DEVICE)]),
        ),
    ]
}

fn id(name: &str) -> Id {
    let value = setting(name).parse::<u128>().expect("a number");
    value.to_be_bytes()
}

/// Asks what sessions alone may ask, as a client that has not logged in.
fn ask_as_gate(peer: SocketAddr, could: Could<'_>) {
    let keeper = channels()
        .next()
        .and_then(|it| it.try_clone_to_owned().ok());
    let keeper = keeper.map(|handle| Keeper::new(Channel::from_handle(handle), peer));
    let login = keeper.and_then(|keeper| keeper.enter().ok().flatten());
    let Some(login) = login else {
        return say("no channel to attack");
    };
    let login = login.into_channel().into_handle();
    let channel = login.as_raw_fd();
    could("have a cookie", answer(channel, &[1]).first() == Some(&3));
    let cookie = setting(COOKIE);
    let of_sessions = [
        ("end the login", question(11, &[])),
        ("see devices", question(12, &[])),
        ("ask for a code", question(14, &[&[1]])),
        ("rename", question(17, &[&text("x")])),
        ("see an address", question(18, &[])),
        ("see what has happened", question(19, &[])),
    ];
    let of_another = of_another(&cookie).into_iter();
    // Who knows name, password and device may log in.
    let of_another = of_another.filter(|(what, _)| *what != "log in");
    for (what, question) in of_sessions.into_iter().chain(of_another) {
        let answer = answer(channel, &question);
        could(
            what,
            !answer.is_empty() && answer[0] != 2 && !answer.starts_with(&[8, 7]),
        );
    }
}

/// A tfd with a vault in this directory, which mails, and has a users file.
fn serve(above: &Path, environment: Option<Vec<(&'static str, String)>>, lines: &str) -> Server {
    let here = above.display();
    let program = environment.map(|environment| {
        let program = std::env::current_exe().expect("this program");
        (program, environment)
    });
    Server::with(Setup {
        server: format!(
            "{lines}control = \"control\"\nmode = \"multi-user\"\nusers = \"{here}/users\"\n\
             tls_certificate = \"{here}/tls.pem\"\ntls_key = \"{here}/tls-key.pem\""
        ),
        tf: format!(
            "listen = []\n[vault]\nlisten = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]\n\
             data = \"{here}/vault\"\nuser = \"games\"\nregistration = \"open\"\n\
             new_device = \"allow\"\nsmtp = \"smtps://vault@127.0.0.1:9\"\n\
             smtp_password_file = \"{here}/mail\"\nsmtp_ca = \"{here}/tls.pem\"\n\
             mail_from = \"vault@example.org\"\n"
        ),
        program,
        ..Setup::default()
    })
}

/// What a vault needs to be there.
fn scene() -> TempDir {
    let above = tempfile::tempdir().expect("directory");
    prepare(&above.path().join("vault"));
    write_certificate(above.path(), None);
    let secrets = [
        ("users", account("mia", "m", "mail:::")),
        ("mail", "secret\n".to_owned()),
    ];
    for (name, content) in secrets {
        let path = above.path().join(name);
        fs::write(&path, content).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
    }
    above
}

/// The files that no attacker may reach, as the attackers read it.
fn targets(above: &Path) -> String {
    let store = above.join("vault/roots/store");
    let files = [
        ("another's entries", store.join("users/1/vault.db")),
        (
            "another's entries of the own dialect",
            store.join("users/3/items.db"),
        ),
        ("the accounts", store.join("accounts.db")),
        ("the vault's key", above.join("vault/key.pem")),
        ("the key of TLS", above.join("tls-key.pem")),
        ("a file that all may read", above.join("tls.pem")),
        ("the users file", above.join("users")),
        ("the password of the mail server", above.join("mail")),
    ];
    files::targets(&files)
}

/// Attacks from each process of the vault; how much came to something else than
/// expected.
pub fn is_out_of_reach() -> usize {
    let above = scene();
    let above = above.path();
    let server = serve(above, None, "");
    let mut ann = Peer::logged_in(&server, Kind::G3, "ann");
    ann.insert("of ann", 1_700_000_000);
    ann.ask("MNGIPCmode%eq!PASSWORD_CHANGE!;");
    let known = code(&server, "ann");
    let mut bob = Peer::logged_in(&server, Kind::G3, "bob");
    bob.insert("of bob", 1_700_000_000);
    let (carl, dora) = (Account::new("carl"), Account::new("dora"));
    for account in [&carl, &dora] {
        let mut client = Client::registered(&server, account);
        client.store([1; 16], 0, Some(account.user.as_bytes()));
    }
    drop(server);
    let number = |account: &Account| u128::from_be_bytes(account.device.id).to_string();
    let environment = vec![
        ("TFD_TEST_PLACE", PLACE.to_owned()),
        (TARGETS, targets(above)),
        (COOKIE, ann.cookie.clone()),
        (CODE, known),
        (DEVICE, number(&carl)),
        (OWN_DEVICE, number(&dora)),
    ];
    let server = serve(above, Some(environment), "");
    let _gate = connect_from(&GATE.to_string(), address(&server));
    let mut attacking = Peer::new(&server, Kind::G3);
    attacking.cookie.clone_from(&bob.cookie);
    attacking.authorize();
    let (password, cookie) = (online("pass"), &bob.cookie);
    attacking.send(&format!(
        "MNGLGIusername%eq!bob!;password%eq!{password}!;cookie%eq!{cookie}!;"
    ));
    let mut client = Client::hello(&server, "dora");
    client.send(&Request::LogIn(dora.log_in()));
    wait_until("all attacks", || {
        crate::count(&server, "has tried all") >= ATTACKERS
    });
    let could = files::could_in(&server);
    drop(server);
    let failures = differing(&could) + usize::from(!is_whole(above, &ann, &carl));
    println!("{ATTACKERS} processes of a vault attacked, {failures} failures");
    failures
}

/// What attackers could that they should not, and the other way round. What is in its
/// place shows that they would reach what they could: the process with the accounts has
/// these, and the entries of accounts without a system user.
fn differing(could: &BTreeMap<String, i32>) -> usize {
    let expected = [
        ("another's entries", 1),
        ("another's entries of the own dialect", 1),
        ("the accounts", 1),
        ("have a cookie", 1),
        ("serve its own device", 1),
    ];
    files::differing("the vault", could, &expected)
}

/// Whether the accounts that were attacked are as they were.
fn is_whole(above: &Path, ann: &Peer, carl: &Account) -> bool {
    let server = serve(above, None, "");
    let mut again = Peer::new(&server, Kind::G3);
    again.cookie.clone_from(&ann.cookie);
    again.authorize();
    let said = again.log_in("ann", "pass");
    let items = Client::logged_in(&server, carl).pull_all();
    said.contains("LOGIN_SUCCESSFUL")
        && again.sync().matches("'1700000000'").count() == 1
        && again.ask("MNGDEV").contains(&ann.cookie)
        && items.len() == 1
}

/// All attempts of `attacks` from a gate or a session of the vault in its sandbox; how
/// many came to something else than those of TF.
pub fn attack_in(place: Place) -> usize {
    let above = scene();
    let environment = vec![
        ("TFD_TEST_PLACE", format!("{place:?}")),
        ("TFD_TEST_PORT", "9".to_owned()),
    ];
    // What sessions have together.
    let lines = "audit = \"audit.log\"\nquota = \"1G\"\n";
    let server = serve(above.path(), Some(environment), lines);
    let bob = Account::new("bob");
    drop(Client::registered(&server, &bob));
    let root = above.path().join("vault/roots/store/users/1");
    fs::write(root.join("inside"), "inside").expect("write");
    let come = |address: Ipv4Addr| {
        let socket = connect_from(&address.to_string(), server.tls_address());
        let mut client = Client::over(socket, ALPN)?;
        client.send(&Request::Hello {
            version: VERSION,
            user: bob.user.clone(),
        });
        client.receive()?;
        client.send(&Request::LogIn(bob.log_in()));
        Some(client)
    };
    let attempts = ATTACKS.iter().enumerate();
    let failed = attempts.filter(|(index, attack)| {
        let attempt = Attempt::new(&server);
        let client = come(attacks::address(*index));
        let outcome = attempt.outcome(attack.name);
        drop(client);
        !is_expected(attack, outcome, (place, true), "of the vault")
    });
    failed.count()
}
