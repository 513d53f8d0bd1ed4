//! One-time codes behind the password: who needs one, what holds against a second
//! use and guesses, how they are set up, and where their secret is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::signal::Signal;
use tfd::users::totp::{Secret, step_at};

use crate::common::tf::Person;
use crate::common::{Server, Setup, account, descendants};
use crate::{memory_holds, without_root};

/// The secret of ann, and its bytes.
const SECRET: &str = "NVQXE23FMQWXI33UOAWXGZLDOJSXILLY";
const BYTES: &[u8] = b"marked-totp-secret-x";

const NEEDED: &str = "a one-time code is needed behind the password.";
const WRONG: &str = "the one-time code is wrong or was used before.";

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("time").as_secs()
}

/// The code so many periods after this one.
fn code(secret: &str, ahead: i64) -> String {
    let secret: Secret = secret.parse().expect("secret");
    let step = step_at(now()).checked_add_signed(ahead);
    secret.code(step.expect("time"))
}

/// A code that holds at no time near.
fn wrong_code() -> String {
    let near: Vec<String> = (-3..=3).map(|ahead| code(SECRET, ahead)).collect();
    let mut codes = (0..).map(|n: u32| format!("{n:06}"));
    let wrong = codes.find(|code| !near.contains(code));
    wrong.expect("code")
}

/// An account that needs codes.
pub(crate) fn with_codes(line: &str) -> String {
    let (name, rest) = line.split_once(':').expect("name");
    let (hash, rest) = rest.split_once(':').expect("hash");
    format!("{name}:{hash};totp={SECRET}:{rest}")
}

fn server(lines: &str) -> Server {
    let server = format!("mode = \"multi-user\"\nusers = \"users\"\n{lines}");
    let users = [
        with_codes(&account("ann", "pass word", "games:::")),
        account("bob", "pass123456", "mail:::"),
    ];
    Server::with(Setup {
        server,
        users: users.concat(),
        ..Setup::default()
    })
}

#[test]
fn a_code_of_this_time_follows_the_password_and_none_counts_twice() {
    if without_root() {
        return;
    }
    let mut server = server("login_failures = 100");
    let mut client = server.connect();
    client.expect_reason("LOGIN ann pass word", NEEDED);
    client.expect_reason(format!("LOGIN ann pass word{}", wrong_code()), WRONG);
    client.expect(format!("LOGIN ann wrong{}", code(SECRET, 0)), 37);
    client.expect(format!("LOGIN nobody pass word{}", code(SECRET, 0)), 37);
    client.expect("LOGIN ann wrong", 37);
    // A gate of the reading before sees what is used in the next.
    let mut old = server.connect();
    server.signal(Signal::SIGHUP);
    server.wait_for_log("configuration read again");
    let used = format!("LOGIN ann pass word{}", code(SECRET, 0));
    client.expect(&used, 0);
    for client in [&mut old, &mut server.connect()] {
        client.expect_reason(&used, WRONG);
        client.expect_reason(format!("LOGIN ann pass word{}", code(SECRET, -1)), WRONG);
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end(), Some(0));
    server.start_again();
    server.connect().expect_reason(&used, WRONG);
    let next = format!("LOGIN ann pass word{}", code(SECRET, 1));
    server.connect().expect(next, 0);
    let later = format!("LOGIN ann pass word{}", code(SECRET, 3));
    server.connect().expect_reason(later, WRONG);
    // A password may end in digits.
    server.connect().expect("LOGIN bob pass123456", 0);
    server.connect().expect("LOGIN bob pass", 37);
}

#[test]
fn guessed_codes_block_as_guessed_passwords_do() {
    if without_root() {
        return;
    }
    let mut server = server("login_failures = 3\nlogin_block = 3600");
    let mut client = server.connect();
    for _ in 0..9 {
        client.expect_reason("LOGIN ann pass word", NEEDED);
    }
    let mut client = server.connect();
    for _ in 0..3 {
        client.expect_reason(format!("LOGIN ann pass word{}", wrong_code()), WRONG);
    }
    let right = format!("LOGIN ann pass word{}", code(SECRET, 0));
    client.expect_reason(&right, "blocked until 2");
    server.wait_for_log("login blocked peer=127.0.0.1 user=\"ann\"");
    server.wait_for_log("one-time code asked for peer=127.0.0.1 user=\"ann\"");
}

#[test]
fn the_secret_is_in_the_authenticators_memory_alone_and_in_no_log() {
    if without_root() {
        return;
    }
    let server = server("");
    let mut client = server.connect();
    client.expect(format!("LOGIN ann pass word{}", code(SECRET, 0)), 0);
    let _gate = server.connect();
    let everyone = descendants(server.pid()).into_iter();
    for (pid, name) in everyone.chain([(server.pid(), "tfd".to_owned())]) {
        let is_its = name == "tfd-auth";
        assert_eq!(memory_holds(pid, BYTES), is_its, "{name}");
        assert!(is_its || !memory_holds(pid, SECRET.as_bytes()), "{name}");
    }
    assert!(!server.log().iter().any(|line| line.contains(SECRET)));
}

#[test]
fn a_command_makes_confirms_and_removes_a_secret() {
    if without_root() {
        return;
    }
    let server = server("");
    let tfd = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
        command.arg("user").args(arguments);
        let output = command.arg("--config").arg(server.config_path()).output();
        let output = output.expect("run");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.success(), said)
    };
    let login = "LOGIN bob pass123456";
    let (fine, said) = tfd(&["totp", "bob", "--issuer", "my host"]);
    assert!(
        fine && said.contains("otpauth://totp/my%20host:bob?secret="),
        "{said}"
    );
    assert!(said.contains('\u{2588}'), "no QR code: {said}");
    let secret = said
        .split("secret=")
        .nth(1)
        .and_then(|rest| rest.split('&').next());
    let secret = secret.expect("secret");
    server.connect().expect(login, 0);
    let (fine, said) = tfd(&["totp", "bob", "--confirm", "12345"]);
    assert!(!fine && said.contains("wrong code"), "{said}");
    server.connect().expect(login, 0);
    let (fine, said) = tfd(&["totp", "bob", "--confirm", &code(secret, 0)]);
    assert!(fine && said.contains("needs a one-time code"), "{said}");
    server.connect().expect_reason(login, NEEDED);
    server
        .connect()
        .expect(format!("{login}{}", code(secret, 0)), 0);
    assert!(
        tfd(&["list"]).1.contains("/     totp"),
        "{}",
        tfd(&["list"]).1
    );
    let users = server.config_path().with_file_name("users");
    let mode = fs::metadata(users).expect("stat").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A new secret leaves the old one in force until it is confirmed.
    let (_, said) = tfd(&["totp", "bob"]);
    let next = said.split("secret=").nth(1).expect("secret")[..32].to_owned();
    server
        .connect()
        .expect(format!("{login}{}", code(secret, 1)), 0);
    assert!(tfd(&["totp", "bob", "--confirm", &code(&next, 0)]).0);
    server
        .connect()
        .expect(format!("{login}{}", code(&next, 0)), 0);
    assert!(tfd(&["totp", "bob", "--remove"]).0);
    server.connect().expect(login, 0);
    let (fine, said) = tfd(&["totp", "bob", "--remove"]);
    assert!(!fine && said.contains("needs no one-time code"), "{said}");
}

#[test]
fn tf_asks_for_the_code_when_the_server_wants_one() {
    if without_root() {
        return;
    }
    let server = server("");
    server.write("welcome", vec![7; 100 << 20]);
    let mut person = Person::of(&server);
    person.write("password", "pass word\n");
    let program = "#!/bin/sh\necho \"$1\" >> asked\ncat code\n";
    person.write("askpass", program);
    fs::set_permissions(person.path("askpass"), fs::Permissions::from_mode(0o755)).expect("mode");
    let login = ["--user", "ann", "--password-file", "password"];
    person.fails(
        &[&login[..], &["ls"]].concat(),
        4,
        &["one-time code is needed"],
    );
    let askpass = person.path("askpass");
    person.set("TF_ASKPASS", askpass.to_str().expect("path"));
    person.write("code", code(SECRET, 0));
    assert_eq!(person.fine(&[&login[..], &["ls"]].concat()), "welcome\n");
    let asked = fs::read_to_string(person.path("asked")).expect("asked");
    assert!(
        asked.starts_with("One-time code for ann at 127.0.0.1:"),
        "{asked}"
    );
    person.fails(
        &[&login[..], &["ls"]].concat(),
        4,
        &["wrong or was used before"],
    );
    // One code is for one session: others are not asked for.
    person.write("code", code(SECRET, 1));
    person.fine(&[&login[..], &["get", "-j", "4", ":welcome", "back"]].concat());
    assert_eq!(
        fs::read(person.path("back")).expect("read").len(),
        100 << 20
    );
    let asked = fs::read_to_string(person.path("asked")).expect("asked");
    assert_eq!(asked.lines().count(), 3);
}
