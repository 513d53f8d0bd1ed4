//! `auth = "pam"`: real modules, on a service and a system user that are there for
//! the test alone. What a module does costs the login that it was asked for, and
//! nobody else.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tfd::users::totp::{Secret, step_at};

use crate::common::ca::Ca;
use crate::common::pam::{ANY, Service, number};
use crate::common::{Client, Server, Setup, descendants, patient, pids, wait_until};
use crate::{memory_holds, status, without_root};

/// The lines of the configuration, and `more`.
fn lines(service: &Service, more: &str) -> String {
    let by = service.lines();
    format!("mode = \"multi-user\"\nusers = \"users\"\n{by}{more}\n")
}

/// A server for these accounts, whose sessions run as `games`.
fn serve(service: &Service, more: &str, accounts: &[&str]) -> Server {
    let line = |name: &&str| format!("{name}:*:games:::\n");
    Server::with(Setup {
        server: lines(service, &format!("login_failures = 100\n{more}")),
        users: accounts.iter().map(line).collect(),
        tls: more.contains("tls_client_ca"),
        ..Setup::default()
    })
}

/// Runs a command that changes system users. Another may hold their lock.
fn run(program: &str, arguments: &[&str], input: &str) {
    wait_until(program, || {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}"));
        let mut stdin = child.stdin.take().expect("input");
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait().expect("wait").success()
    });
}

/// A system user with a password, for the test alone.
struct User(String);

impl User {
    fn new(password: &str) -> User {
        let user = User(format!("tfd{}", number()));
        let arguments = ["-M", "-N", "-s", "/usr/sbin/nologin", &user.0];
        run("useradd", &arguments, "");
        let line = format!("{}:{password}\n", user.0);
        run("chpasswd", &["-c", "SHA512"], &line);
        user
    }

    fn login(&self, password: &str) -> String {
        format!("LOGIN {} {password}", self.0)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new("userdel").arg(&self.0).output();
    }
}

const UNIX: &str = "auth required pam_unix.so\naccount required pam_unix.so\n";

const NEEDED: &str = "a one-time code is needed behind the password.";
const UNAVAILABLE: &str = "the server cannot check passwords now";

#[test]
fn a_system_users_password_opens_its_account_and_nothing_else_does() {
    if without_root() {
        return;
    }
    let (user, service) = (User::new("right one"), Service::new(UNIX));
    let mut server = serve(&service, "metrics = \"./metrics\"", &[&user.0, "ann"]);
    let mut client = server.connect();
    client.expect(user.login("right one"), 0);
    client.expect_alive();
    let session = crate::session_pid(&server);
    let games = tfd::users::Identity::of("games").expect("games").uid;
    assert!(status(session, "Uid").starts_with(&games.to_string()));
    let mut client = server.connect();
    for wrong in ["wrong", "right", "right onex"] {
        client.expect(user.login(wrong), 37);
    }
    // The system has the one, the users file the other.
    for nobody in ["LOGIN ann right one", "LOGIN root right one"] {
        client.expect(nobody, 37);
    }
    let failed = format!("login failed peer=127.0.0.1 user=\"{}\"", user.0);
    server.wait_for_lines(&failed, 3);
    server.wait_for_log("user=\"root\" reason=\"no such user\"");
}

#[test]
fn accounts_that_are_locked_or_expired_are_refused_with_the_reason_if_the_password_is_right() {
    if without_root() {
        return;
    }
    let (user, service) = (User::new("right"), Service::new(UNIX));
    let server = serve(&service, "", &[&user.0]);
    let login = user.login("right");
    let mut client = server.connect();
    run("chage", &["-E", "1", &user.0], "");
    client.expect_reason(&login, "the account has expired");
    client.expect(user.login("wrong"), 37);
    run("chage", &["-E", "-1", "-d", "0", &user.0], "");
    client.expect_reason(&login, "the password has expired");
    run("chage", &["-d", "20000", &user.0], "");
    run("usermod", &["-L", &user.0], "");
    client.expect(&login, 37);
    run("usermod", &["-U", &user.0], "");
    client.expect(&login, 0);
}

#[test]
fn a_certificate_logs_in_as_long_as_pam_lets_the_account_in() {
    if without_root() {
        return;
    }
    let (user, service) = (User::new("right"), Service::new(UNIX));
    let ca = Ca::new();
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("ca.pem");
    fs::write(&path, ca.certificate.to_pem().expect("pem")).expect("write");
    let more = format!("tls_client_ca = \"{}\"", path.display());
    let server = serve(&service, &more, &[&user.0]);
    let (own, key) = ca.issue(&[&user.0], 9);
    let open = || {
        let tls = server.tls_as(Some((&own, &key)));
        let address = server.tls_address().to_string();
        let target = tfd::client::Target::tls(&address, tls, crate::common::HASH);
        let wire = tfd::client::Connection::open(&patient(target)).expect("connection");
        Client::with_patience(wire.into_wire())
    };
    open().expect_alive();
    run("chage", &["-E", "1", &user.0], "");
    let refused = open().ask("ECHO x");
    assert!(refused.ends_with("the account has expired."), "{refused}");
}

#[test]
fn what_cannot_be_a_password_is_refused_by_tfd_whatever_modules_say() {
    if without_root() {
        return;
    }
    let service = Service::new(ANY);
    let server = serve(&service, "", &["ann"]);
    let mut client = server.connect();
    let long = format!("LOGIN ann {}", "x".repeat(600));
    let longest = format!("LOGIN ann {}", "x".repeat(8000));
    for wrong in [long, longest] {
        client.expect(wrong, 37);
    }
    client.expect("LOGIN bob x", 37);
    client.expect("LOGIN ann x", 0);
}

#[test]
fn a_refusal_takes_as_long_for_a_name_without_an_account() {
    if without_root() {
        return;
    }
    let (user, service) = (User::new("right"), Service::new(UNIX));
    let server = serve(&service, "", &[&user.0]);
    for login in ["LOGIN nobody-here right".to_owned(), user.login("wrong")] {
        let mut client = server.connect();
        let begin = Instant::now();
        client.expect(&login, 37);
        let took = begin.elapsed();
        assert!(took >= Duration::from_secs(1), "{login}: {took:?}");
    }
}

#[test]
fn failures_are_counted_and_block_as_those_of_the_users_file() {
    if without_root() {
        return;
    }
    let service = Service::new("auth required pam_deny.so\naccount required pam_permit.so\n");
    let mut server = Server::with(Setup {
        server: lines(&service, "login_failures = 2\nlogin_block = 3600"),
        users: "ann:*:games:::\n".to_owned(),
        ..Setup::default()
    });
    let mut client = server.connect();
    client.expect("LOGIN ann x", 37);
    client.expect("LOGIN ann x", 37);
    client.expect_reason("LOGIN ann x", "blocked until 2");
    server.wait_for_log("login blocked peer=127.0.0.1 user=\"ann\"");
}

#[test]
fn guesses_that_come_at_once_are_counted_one_by_one() {
    if without_root() {
        return;
    }
    let service = Service::new("auth required pam_deny.so\naccount required pam_permit.so\n");
    let server = Server::with(Setup {
        server: lines(&service, "login_failures = 3\nlogin_block = 3600"),
        users: "ann:*:games:::\n".to_owned(),
        ..Setup::default()
    });
    let mut clients: Vec<Client> = (0..12).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("LOGIN ann x");
    }
    let replies: Vec<String> = clients.iter_mut().map(Client::reply).collect();
    let blocked = replies.iter().filter(|of| of.contains("blocked until"));
    assert_eq!(blocked.count(), 9, "{replies:?}");
}

#[test]
fn modules_get_name_address_service_and_terminal() {
    if without_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("directory");
    let path = |name: &str| dir.path().join(name);
    let text = format!("#!/bin/sh\nenv >{}.$PAM_TYPE\n", path("seen").display());
    fs::write(path("look"), text).expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(path("look"), mode).expect("mode");
    let look = format!("required pam_exec.so quiet {}", path("look").display());
    let service = Service::new(&format!("auth {look}\naccount {look}\n"));
    let server = serve(&service, "", &["ann"]);
    server.connect().expect("LOGIN ann x", 0);
    for kind in ["auth", "account"] {
        let seen = fs::read_to_string(path(&format!("seen.{kind}"))).expect("seen");
        for (name, value) in [
            ("USER", "ann"),
            ("RHOST", "127.0.0.1"),
            ("TTY", "tfd"),
            ("SERVICE", &service.name),
        ] {
            assert!(seen.contains(&format!("PAM_{name}={value}\n")), "{seen}");
        }
    }
}

/// A module that hangs for all but one user.
fn hanging(user: &str) -> Service {
    Service::new(&format!(
        "auth [success=1 default=ignore] pam_succeed_if.so quiet user = {user}\n\
         auth required pam_exec.so quiet /bin/sleep 600\n{UNIX}"
    ))
}

fn has(server: &Server, name: &str) -> bool {
    !pids(server, name).is_empty()
}

#[test]
fn a_module_that_hangs_is_ended_in_time_and_others_log_in_meanwhile() {
    if without_root() {
        return;
    }
    let user = User::new("right");
    let service = hanging(&user.0);
    let mut server = serve(&service, "pam_timeout = 20", &["ann", &user.0]);
    let mut stuck: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    for client in &mut stuck {
        client.send("LOGIN ann x");
    }
    wait_until("checks that hang", || pids(&server, "sleep").len() == 8);
    for _ in 0..3 {
        server.connect().expect(user.login("right"), 0);
    }
    assert!(has(&server, "sleep"), "they have not waited");
    for client in &mut stuck {
        let reply = client.reply();
        assert!(reply.contains(UNAVAILABLE), "{reply}");
    }
    wait_until("nothing is left", || {
        !has(&server, "sleep") && !has(&server, "tfd-pam-check")
    });
    server.wait_for_lines("it took longer than pam_timeout", 8);
    server.wait_for_log("reason=\"no answer from PAM\"");
    // A name that no account has looks the same.
    server
        .connect()
        .expect_reason("LOGIN nobody-here x", UNAVAILABLE);
}

#[test]
fn a_module_that_crashes_costs_that_login_alone() {
    if without_root() {
        return;
    }
    let user = User::new("right");
    let dir = tempfile::tempdir().expect("directory");
    let script = dir.path().join("crash");
    fs::write(&script, "#!/bin/sh\nkill -ABRT $PPID\n").expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).expect("mode");
    let service = Service::new(&format!(
        "auth [success=1 default=ignore] pam_succeed_if.so quiet user = {}\n\
         auth required pam_exec.so quiet {}\n{UNIX}",
        user.0,
        script.display()
    ));
    let mut server = serve(&service, "", &["ann", &user.0]);
    let process = pids(&server, "tfd-pam");
    let mut client = server.connect();
    client.expect_reason("LOGIN ann x", UNAVAILABLE);
    server.wait_for_log("a module has crashed");
    client.expect(user.login("right"), 0);
    assert_eq!(pids(&server, "tfd-pam"), process);
}

#[test]
fn a_pam_process_that_is_killed_is_replaced() {
    if without_root() {
        return;
    }
    let service = Service::new(ANY);
    let mut server = serve(&service, "", &["ann"]);
    let before = pids(&server, "tfd-pam");
    let [pid] = before[..] else {
        panic!("{before:?}");
    };
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).expect("kill");
    server.wait_for_log("helper process ended unasked");
    wait_until("another", || {
        let now = pids(&server, "tfd-pam");
        now.len() == 1 && now != before
    });
    server.connect().expect("LOGIN ann x", 0);
}

#[test]
fn a_password_is_wiped_where_it_goes_to_the_modules() {
    if without_root() {
        return;
    }
    let password = "marked-3b8e1d90-password";
    let service = hanging("nobody-here");
    let server = serve(&service, "", &["ann"]);
    let holders = || {
        let holds = |(pid, _): &(u32, String)| memory_holds(*pid, password.as_bytes());
        let all = descendants(server.pid()).into_iter();
        let all = all.chain([(server.pid(), "tfd".to_owned())]);
        let mut names: Vec<String> = all.filter(holds).map(|(_, name)| name).collect();
        names.sort();
        names
    };
    let mut client = server.connect();
    client.send(format!("LOGIN ann {password}"));
    wait_until("a module", || has(&server, "sleep"));
    assert_eq!(holders(), ["tfd-auth", "tfd-gate", "tfd-pam-check"]);
    for pid in pids(&server, "sleep") {
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).expect("kill");
    }
    assert!(client.reply().starts_with("FAILED"));
    drop(client);
    wait_until("its end", || {
        !has(&server, "tfd-pam-check") && !has(&server, "tfd-gate")
    });
    let left = holders();
    assert!(left.iter().all(|name| name == "tfd-auth"), "{left:?}");
}

#[test]
fn the_pam_process_exists_when_asked_for_and_has_few_capabilities() {
    if without_root() {
        return;
    }
    let service = Service::new(ANY);
    let server = serve(&service, "", &["ann"]);
    let [pid] = pids(&server, "tfd-pam")[..] else {
        panic!("one process");
    };
    assert_eq!(status(pid, "Uid"), "0 0 0 0");
    assert_eq!(status(pid, "NoNewPrivs"), "1");
    let set = |name| u64::from_str_radix(&status(pid, name), 16).expect("a set");
    // chown, the two for files and fowner; kill, setgid, setuid; audit_write.
    let most = 0b1110_1111 | 1 << 29;
    let held = set("CapPrm");
    assert_eq!((held & !most, held & 1), (0, 1), "{held:x}");
    assert_eq!((set("CapEff"), set("CapBnd")), (held, held));
    assert_eq!((set("CapInh"), set("CapAmb")), (0, 0));
    drop(server);
    let plain = Server::with(Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"".to_owned(),
        users: crate::common::account("ann", "x", "games:::"),
        ..Setup::default()
    });
    assert!(!has(&plain, "tfd-pam"));
    // Without a password in the file there is none that opens the account.
    let others = crate::common::account("bob", "b", "games:::");
    plain.set_users(&format!("ann:*:games:::\n{others}"));
    plain.connect().expect("LOGIN bob b", 0);
    plain.connect().expect("LOGIN ann b", 37);
    plain.connect().expect("LOGIN ann *", 37);
}

#[test]
fn a_command_adds_an_account_whose_password_pam_knows() {
    if without_root() {
        return;
    }
    let service = Service::new(ANY);
    let server = serve(&service, "", &["ann"]);
    let added = Command::new(env!("CARGO_BIN_EXE_tfd"))
        .args(["user", "add", "eve", "--system-user", "games"])
        .args(["--no-password", "--config"])
        .arg(server.config_path())
        .output()
        .expect("run");
    assert!(added.status.success(), "{added:?}");
    server.connect().expect("LOGIN eve x", 0);
}

/// Whether the module for one-time codes is there; says so if not.
fn has_oath() -> bool {
    let pattern = "/lib/*/security/pam_oath.so /usr/lib*/security/pam_oath.so";
    let found = Command::new("sh")
        .args(["-c", &format!("ls {pattern}")])
        .output();
    let has = found.is_ok_and(|found| !found.stdout.is_empty());
    if !has {
        println!("left out: libpam-oath is not installed");
    }
    has
}

const SECRET: &str = "NVQXE23FMQWXI33UOAWXGZLDOJSXILLY";
const HEX: &str = "6d61726b65642d746f74702d7365637265742d78";

fn code(ahead: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let step = step_at(now.expect("time").as_secs()).checked_add_signed(ahead);
    let secret: Secret = SECRET.parse().expect("secret");
    secret.code(step.expect("time"))
}

/// The file of pam_oath for a user.
fn oath_file(user: &User) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("directory");
    let file = dir.path().join("users.oath");
    fs::write(&file, format!("HOTP/T30/6\t{}\t+\t{HEX}\n", user.0)).expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&file, mode).expect("mode");
    (dir, file)
}

#[test]
fn a_second_module_asks_for_a_code_and_takes_none_twice() {
    if without_root() || !has_oath() {
        return;
    }
    let user = User::new("right");
    let (_dir, file) = oath_file(&user);
    let service = Service::new(&format!(
        "auth requisite pam_unix.so\n\
         auth required pam_oath.so usersfile={} window=10 digits=6\n\
         account required pam_unix.so\n",
        file.display()
    ));
    let server = serve(&service, "pam_code_digits = 6", &[&user.0]);
    let mut client = server.connect();
    // Whether the name exists, and whether the password is right.
    client.expect_reason(user.login("right"), NEEDED);
    client.expect_reason(user.login("wrong"), NEEDED);
    client.expect_reason("LOGIN nobody-here right", NEEDED);
    client.expect(user.login(&format!("right{}", code(2000))), 37);
    client.expect(user.login(&format!("wrong{}", code(0))), 37);
    let used = user.login(&format!("right{}", code(0)));
    client.expect(&used, 0);
    server.connect().expect(&used, 37);
    let next = user.login(&format!("right{}", code(1)));
    server.connect().expect(&next, 0);
}

#[test]
fn a_module_may_take_password_and_code_in_one_text() {
    if without_root() || !has_oath() {
        return;
    }
    let user = User::new("right");
    let (_dir, file) = oath_file(&user);
    let service = Service::new(&format!(
        "auth requisite pam_oath.so usersfile={} window=10 digits=6\n\
         auth required pam_unix.so use_first_pass\n\
         account required pam_unix.so\n",
        file.display()
    ));
    let server = serve(&service, "", &[&user.0]);
    let mut client = server.connect();
    client.expect(user.login("right"), 37);
    client.expect(user.login(&format!("right{}", code(2000))), 37);
    client.expect(user.login(&format!("right{}", code(0))), 0);
}

#[test]
fn tfds_own_codes_go_with_the_passwords_of_pam() {
    if without_root() {
        return;
    }
    let (user, service) = (User::new("right"), Service::new(UNIX));
    let server = Server::with(Setup {
        server: lines(&service, "login_failures = 100"),
        users: format!("{}:*;totp={SECRET}:games:::\n", user.0),
        ..Setup::default()
    });
    let mut client = server.connect();
    client.expect_reason(user.login("right"), NEEDED);
    client.expect(user.login("wrong"), 37);
    let with_code = user.login(&format!("right{}", code(0)));
    client.expect(&with_code, 0);
    let again = server.connect().ask(&with_code);
    assert!(again.contains("used before"), "{again}");
}

#[test]
fn check_finds_what_would_keep_everybody_out() {
    if without_root() {
        return;
    }
    let service = Service::new(ANY);
    let server = serve(&service, "", &["ann"]);
    let check = |with: &str, libraries: &Path| {
        let text = fs::read_to_string(server.config_path()).expect("configuration");
        let path = server.config_path().with_file_name("changed.toml");
        fs::write(
            &path,
            text.replace(&lines(&service, "login_failures = 100\n"), with),
        )
        .expect("write");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
        command.args(["check", "--config"]).arg(path);
        let output = command.env("LD_LIBRARY_PATH", libraries).output();
        let output = output.expect("run");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let dir = tempfile::tempdir().expect("directory");
    let (fine, said) = check(&lines(&service, ""), dir.path());
    assert!(fine && !said.contains("pam_service"), "{said}");
    let (fine, said) = check(
        &lines(&service, "").replace(&service.name, "no-such-service"),
        dir.path(),
    );
    assert!(
        fine && said.contains("/etc/pam.d/no-such-service is missing"),
        "{said}"
    );
    let (fine, said) = check("auth = \"pam\"", dir.path());
    assert!(!fine && said.contains("in single-user mode"), "{said}");
    let (fine, said) = check("pam_service = \"login\"", dir.path());
    assert!(!fine && said.contains("of no use without auth"), "{said}");
    fs::write(dir.path().join("libpam.so.0"), "no library").expect("write");
    let (fine, said) = check(&lines(&service, ""), dir.path());
    assert!(!fine && said.contains("Debian: libpam0g"), "{said}");
}
