//! Passwords from commands and from the keyring, and servers behind another
//! machine.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::tf::Person;
use crate::common::{HASH, Server, Setup, account, is_root, own_address, wait_until};

/// A program of ours that is found before those of the system.
pub fn program(person: &mut Person, name: &str, script: &str) {
    person.write(&format!("bin/{name}"), script);
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(person.path(&format!("bin/{name}")), mode).expect("mode");
    let path = std::env::var("PATH").expect("path");
    let bin = person.path("bin");
    person.unset("PATH");
    person.set("PATH", &format!("{}:{path}", bin.display()));
}

/// A server with the account ann, and a person who knows it as `s`.
fn with_accounts(entry: &str) -> Option<(Server, Person)> {
    if !is_root() {
        eprintln!("left out: multi-user mode needs root");
        return None;
    }
    let server = Server::with(Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"".to_owned(),
        users: account("ann", "its password", "games:::"),
        ..Setup::default()
    });
    let person = Person::new();
    configure(&person, &server, entry);
    Some((server, person))
}

fn configure(person: &Person, server: &Server, entry: &str) {
    person.configure(&format!(
        "default = \"s\"\n[server.s]\naddress = \"{}\"\nkey = \"../../public.pem\"\n\
         hash = \"{HASH}\"\n{entry}\n",
        server.address()
    ));
}

#[test]
fn a_password_comes_from_a_command_and_no_shell_reads_it() {
    let Some((server, person)) = with_accounts("user = \"ann\"") else {
        return;
    };
    person.write("pw", "its password\nmore\n");
    let by = |command: &'static str| ["--password-command", command, "ls", "s:"];
    person.fine(&by("cat pw"));
    person.fine(&by("printf '%s' 'its password'"));
    person.fine(&by("sh -c 'cat pw | head -n 1'"));
    person.fails(&by("echo $(head -n 1 pw)"), 4, &[]);
    person.fails(&by("false"), 2, &["false: exit status: 1"]);
    person.fails(&by("true"), 2, &["true: printed nothing"]);
    person.fails(&by("no-such-program"), 2, &["no-such-program: "]);
    person.fails(&by("'open"), 2, &["quote is not closed"]);
    // It does not take what is to be sent.
    let sent = person.tf_with(
        &[
            "--password-command",
            "sh -c 'cat; cat pw'",
            "put",
            "-",
            "s:sent",
        ],
        b"content",
    );
    assert_eq!(sent.code, Some(1), "ann may not write: {}", sent.err);
    // In the server's entry, as a line and as words.
    for command in ["\"cat pw\"", "[\"cat\", \"pw\"]"] {
        configure(
            &person,
            &server,
            &format!("user = \"ann\"\npassword_command = {command}"),
        );
        person.fine(&["ls", "s:"]);
        // Not for another account.
        let other = person.fails(&["--user", "bob", "ls", "s:"], 2, &["no terminal"]);
        assert!(other.err.contains("Password for bob"), "{}", other.err);
    }
    let file = person.path("pw");
    let arguments = ["--password-file", file.to_str().expect("path")];
    person.fails(
        &[&arguments[..], &by("cat pw")].concat(),
        2,
        &["cannot be used with"],
    );
}

#[test]
fn a_token_comes_from_a_command() {
    if !is_root() {
        eprintln!("left out: jails need root");
        return;
    }
    let server = Server::with(Setup {
        server: "jail = true".to_owned(),
        directories: &["site"],
        ..Setup::default()
    });
    server.write("site/jail.key", "its token");
    server.write("site/inside", "x");
    let person = Person::new();
    configure(
        &person,
        &server,
        "jail = \"site\"\ntoken_command = \"echo its token\"",
    );
    assert_eq!(person.fine(&["ls", "s:"]), "inside\n");
    person.fails(
        &[
            "--token-command",
            "echo wrong",
            "--jail",
            "site",
            "ls",
            "s:",
        ],
        4,
        &[],
    );
}

/// secret-tool(1) as far as tf uses it, with a file for a keyring.
pub const SECRET_TOOL: &str = r#"#!/bin/sh
action=$1
shift
label=
case "$1" in --label=*) label=$1; shift ;; esac
[ "$action" = store ] && [ -z "$label" ] && exit 2
place=$HOME/keyring.$(printf %s "$*" | tr ' /' '__')
case "$action" in
    store) cat >"$place" ;;
    lookup) [ -e "$place" ] && cat "$place" ;;
    clear) rm "$place" ;;
esac
"#;

#[test]
fn the_keyring_keeps_a_password_that_has_logged_in() {
    let Some((server, mut person)) = with_accounts("user = \"ann\"") else {
        return;
    };
    person.write("pw", "its password\n");
    person.write("wrong", "wrong\n");
    let kept = |person: &Person| {
        let entries = fs::read_dir(person.path(".")).expect("home");
        let names = entries.map(|entry| entry.expect("entry").file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with("keyring."))
            .count()
    };
    person.set("PATH", "/nonexistent");
    let missing = ["--password-keyring", "ls", "s:"];
    person.fails(&missing, 2, &["secret-tool: ", "libsecret-tools"]);
    program(&mut person, "secret-tool", SECRET_TOOL);
    person.fails(&["--password-file", "wrong", "login", "s"], 4, &[]);
    assert_eq!(kept(&person), 0);
    person.fine(&["--password-file", "pw", "login", "s"]);
    assert_eq!(kept(&person), 1);
    person.fine(&["ls", "s:"]);
    let entry = fs::read_to_string(person.path(".config/tf/config.toml")).expect("entry");
    assert!(entry.contains("password_keyring = true"), "{entry}");
    assert!(!entry.contains("its password"), "{entry}");
    // Trying an entry takes it from there, too.
    let print = crate::trust::own_fingerprint();
    let address = server.address().to_string();
    let trust = ["trust", "s", "--server", &address, "--key", "public.pem"];
    person.fine(&[&trust[..], &["--fingerprint", &print, "--user", "ann"]].concat());
    person.fine(&["login", "--forget", "s"]);
    assert_eq!(kept(&person), 0);
    person.fails(&["ls", "s:"], 2, &["Password for ann", "tf login"]);
    person.fails(&["login", "nobody"], 2, &["tf trust"]);
}

/// An sshd of ours, which lets one key in. It ends with the value.
struct Sshd(Child, u16);

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts one, and gives a person an `ssh` that knows it as `jump`. `pid` has the
/// process of the last one that was started.
fn sshd(person: &mut Person) -> Option<Sshd> {
    if !is_root() || !Path::new("/usr/sbin/sshd").exists() || !Path::new("/usr/bin/ssh").exists() {
        eprintln!("left out: it needs root, ssh and sshd (openssh-server)");
        return None;
    }
    fs::create_dir_all("/run/sshd").expect("sshd's directory");
    for name in ["host", "own"] {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
        let made = keygen.arg(person.path(name)).status().expect("ssh-keygen");
        assert!(made.success());
    }
    let home = person.path("").display().to_string();
    // No other test listens on this address.
    let (address, port) = (own_address(), 2222);
    person.write(
        "sshd_config",
        format!(
            "ListenAddress {address}\nPort {port}\nHostKey {home}host\nPidFile none\n\
             AuthorizedKeysFile {home}own.pub\nStrictModes no\nUsePAM no\nLogLevel ERROR\n\
             PermitRootLogin prohibit-password\n"
        ),
    );
    let host = fs::read_to_string(person.path("host.pub")).expect("host key");
    person.write("known", format!("[{address}]:{port} {host}"));
    person.write(
        "ssh_config",
        format!(
            "Host jump\nHostName {address}\nPort {port}\nUser root\nIdentityFile {home}own\n\
             UserKnownHostsFile {home}known\nBatchMode yes\nLogLevel ERROR\n"
        ),
    );
    let script =
        format!("#!/bin/sh\necho $$ >{home}pid\nexec /usr/bin/ssh -F {home}ssh_config \"$@\"\n");
    program(person, "ssh", &script);
    let mut command = Command::new("/usr/sbin/sshd");
    command
        .args(["-D", "-e", "-f"])
        .arg(person.path("sshd_config"));
    let started = command.stdin(Stdio::null()).spawn().expect("sshd");
    let sshd = Sshd(started, port);
    wait_until("sshd listens", || {
        TcpStream::connect((address, port)).is_ok()
    });
    Some(sshd)
}

#[test]
fn a_server_behind_a_jump_host_is_reached_by_ssh() {
    let server = Server::with(Setup {
        tls: true,
        ..Setup::default()
    });
    let mut person = Person::new();
    let Some(sshd) = sshd(&mut person) else {
        return;
    };
    let tls = server.tls_address().to_string();
    let print = tfd::client::fetch_certificate(&tls, Duration::from_secs(60)).expect("shown");
    let trust = [
        "trust",
        "far",
        "--server",
        &tls,
        "--hash-file",
        "hash",
        "--via",
        "ssh:jump",
    ];
    person.fine(&[&trust[..], &["--fingerprint", &print.fingerprint]].concat());
    assert!(person.path("pid").exists(), "ssh was used");
    let content: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_be_bytes).collect();
    person.write("tree/large", &content);
    for number in 0..50 {
        person.write(&format!("tree/d/{number}"), [number; 5000]);
    }
    person.fine(&["put", "-r", "-j", "3", "tree", "far:"]);
    assert!(server.read("tree/large") == content);
    person.fine(&["get", "-r", "far:tree", "back"]);
    assert!(fs::read(person.path("back/large")).expect("read") == content);
    // Without TLS, by an option and with the port of the machine.
    configure(&person, &server, "");
    let jump = format!("ssh:jump:{}", sshd.1);
    assert_eq!(
        person.fine(&["--via", &jump, "ls", "s:tree/d/1"]),
        "tree/d/1\n"
    );
    person.fails(
        &["--via", "ssh:jump", "ping", "s:"],
        2,
        &["ssh:jump", "datagrams"],
    );
    // ssh fails: as a server that cannot be reached.
    let failed = person.fails(&["--via", "ssh:jump:1", "ls", "s:"], 3, &["via ssh:jump:1"]);
    assert!(failed.err.contains("ssh to jump ended"), "{}", failed.err);
    person.fails(&["--via", "jump", "ls", "s:"], 2, &["ssh:[user@]host"]);
    person.fails(&["--via", "ssh:-x", "ls", "s:"], 2, &["ssh:[user@]host"]);
}

#[test]
fn a_transfer_goes_on_when_the_way_through_a_jump_host_is_cut() {
    let server = Server::start();
    let mut person = Person::new();
    let Some(_sshd) = sshd(&mut person) else {
        return;
    };
    configure(&person, &server, "via = \"ssh:jump\"");
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_be_bytes).collect();
    server.write("large", &content);
    let pid = || -> Option<i32> {
        let text = fs::read_to_string(person.path("pid")).ok()?;
        text.trim().parse().ok()
    };
    let mut get = person.command(env!("CARGO_BIN_EXE_tf"));
    get.args([
        "--timeout",
        "60",
        "get",
        "--limit",
        "6M",
        "s:large",
        "large",
    ]);
    let mut running = get.stderr(Stdio::null()).spawn().expect("tf");
    wait_until("a part has come", || {
        fs::read_dir(person.path(".")).expect("home").any(|entry| {
            let entry = entry.expect("entry");
            let is_part = entry.file_name().to_string_lossy().ends_with(".part");
            is_part && entry.metadata().is_ok_and(|it| it.len() > 1_000_000)
        })
    });
    let first = pid().expect("an ssh");
    kill(Pid::from_raw(first), Signal::SIGKILL).expect("kill");
    assert!(running.wait().expect("tf").success());
    assert!(
        pid().is_some_and(|last| last != first),
        "it connected again"
    );
    assert!(fs::read(person.path("large")).expect("read") == content);
}
