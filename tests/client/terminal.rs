//! The shell as a person at a terminal meets it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::common::tf::Person;
use crate::common::{Server, wait_until};
use crate::relay::{Link, Relay};
use crate::running::Running;
use crate::tmux::Terminal;

/// Has a server of the configuration named `files`, and no other way to it.
fn person_with_entry(address: SocketAddr) -> Person {
    let person = Person::new();
    person.configure(&format!(
        "default = \"files\"\n[server.files]\naddress = \"{address}\"\n\
         key = \"../../public.pem\"\nhash_file = \"../../hash\"\n"
    ));
    person
}

/// An address that leads to another, a little at a time.
fn slowed(to: SocketAddr, bytes_per_second: usize) -> SocketAddr {
    const STEPS: usize = 50;
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(to).expect("connect");
            let back = (
                server.try_clone().expect("clone"),
                client.try_clone().expect("clone"),
            );
            std::thread::spawn(move || copy(client, server, bytes_per_second / STEPS));
            std::thread::spawn(move || copy(back.0, back.1, 1 << 20));
        }
    });
    return address;

    fn copy(mut from: TcpStream, mut to: TcpStream, at_once: usize) {
        let mut buffer = vec![0; at_once];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..n]).is_err() {
                break;
            }
            if n > 1000 {
                std::thread::sleep(Duration::from_secs(1) / STEPS as u32);
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

#[test]
fn tab_completes_commands_options_and_paths_here_and_there() {
    let server = Server::start();
    server.write("reports/may report.pdf", "what is in it");
    server.write("reports/june", "x");
    server.write("reports/\u{1b}[2Jbad", "x");
    server.write("other", "x");
    let mut person = person_with_entry(server.address());
    person.write("local file", "x");
    let terminal = Terminal::open(&mut person);
    terminal.line("tf");
    terminal.wait_for_last("files:/>");
    terminal.write("sha");
    terminal.press("Tab");
    terminal.wait_for_last("files:/> sha256");
    terminal.press("C-u");
    terminal.write("find --ty");
    terminal.press("Tab");
    terminal.wait_for_last("files:/> find --type");
    terminal.press("C-u");
    terminal.write("cat re");
    terminal.press("Tab");
    terminal.wait_for_last("files:/> cat reports/");
    terminal.press("Tab");
    terminal.press("Tab");
    terminal.wait_for("june            may report.pdf");
    terminal.write("m");
    terminal.press("Tab");
    terminal.wait_for_last("files:/> cat 'reports/may report.pdf'");
    terminal.press("Enter");
    terminal.wait_for("what is in it");
    terminal.write("put loc");
    terminal.press("Tab");
    terminal.wait_for_last("files:/> put 'local file'");
    terminal.write("re");
    terminal.press("Tab");
    terminal.wait_for_last("files:/> put 'local file' reports/");
    terminal.press("C-u");
    terminal.line("cd reports");
    terminal.wait_for_last("files:/reports>");
    terminal.line("ls");
    terminal.wait_for("\\u{1b}[2Jbad");
    terminal.wait_for("what is in it");
    terminal.write("cat ../o");
    terminal.press("Tab");
    terminal.wait_for_last("files:/reports> cat ../other");
    terminal.press("C-u");
    terminal.line("help find");
    terminal.wait_for("--newer");
    terminal.wait_for_last("files:/reports>");
    terminal.press("C-d");
    terminal.wait_for_last("$");
    terminal.line("echo status $?");
    terminal.wait_for("status 0");
}

#[test]
fn lines_are_kept_for_the_next_shell_without_what_is_secret() {
    let server = Server::start();
    let mut person = person_with_entry(server.address());
    let history = person.path(".local/state/tf/history");
    let terminal = Terminal::open(&mut person);
    terminal.line("tf files");
    terminal.wait_for_last("files:/>");
    for line in [
        "mkdir first",
        "mkdir second",
        "raw 'LOGIN ann secret'",
        " mkdir blank",
        "nothing",
    ] {
        terminal.line(line);
        terminal.wait("the next prompt", |screen| {
            screen.contains(line) && screen.lines().last() == Some("files:/>")
        });
    }
    terminal.press("C-d");
    terminal.wait_for_last("$");
    terminal.line("tf shell files:second");
    terminal.wait_for_last("files:/second>");
    for line in ["nothing", "mkdir second", "mkdir first"] {
        terminal.press("Up");
        terminal.wait_for_last(&format!("files:/second> {line}"));
    }
    terminal.press("Enter");
    wait_until("the directory", || server.exists("second/first"));
    let text = std::fs::read_to_string(&history).expect("history");
    assert!(
        !text.contains("secret") && !text.contains("blank"),
        "{text}"
    );
    let mode = |path: &std::path::Path| path.metadata().expect("stat").permissions().mode() & 0o777;
    assert_eq!(mode(&history), 0o600);
    assert_eq!(mode(history.parent().expect("directory")), 0o700);
}

#[test]
fn a_transfer_shows_how_far_it_is_and_ctrl_c_ends_it_but_not_the_shell() {
    let server = Server::start();
    let mut person = person_with_entry(slowed(server.address(), 2_000_000));
    let content: Vec<u8> = (0..16_000_000_u32).map(|n| (n >> 8) as u8).collect();
    person.write("big", &content);
    person.write("bigger", content.repeat(8));
    let terminal = Terminal::open(&mut person);
    terminal.line("tf");
    terminal.wait_for_last("files:/>");
    terminal.line("put bigger");
    // [==>   ] done/all rate eta
    let bar = |screen: &str| {
        screen.lines().any(|line| {
            let is_eta = |text: &str| text.ends_with('s') && text.starts_with(char::is_numeric);
            let rate_and_eta = line
                .split_once("B/s ")
                .is_some_and(|(_, eta)| is_eta(eta.trim()));
            line.contains('[') && rate_and_eta
        })
    };
    terminal.wait("a bar with its rate", bar);
    terminal.wait_for("bigger [");
    terminal.press("C-c");
    terminal.wait_for_last("files:/>");
    assert!(
        terminal.screen().contains("interrupted"),
        "{}",
        terminal.screen()
    );
    assert!(!server.exists("bigger"));
    // The shell lives, with a session of its own again.
    terminal.line("mkdir after");
    wait_until("the directory", || server.exists("after"));
    // At the prompt it clears the line, and no more.
    terminal.wait_for_last("files:/>");
    terminal.write("half a li");
    terminal.wait_for_last("files:/> half a li");
    terminal.press("C-c");
    terminal.wait_for_last("files:/>");
    // What is run on this machine gets it alone.
    terminal.line("!echo be\"\"gun; sleep 1000");
    terminal.wait_for_last("begun");
    terminal.press("C-c");
    terminal.wait_for_last("files:/>");
    terminal.line("put 'big' small/../again");
    terminal.wait("a bar for it", bar);
    terminal.wait_for("again [");
    wait_until("the whole file", || server.exists("again"));
    assert!(server.read("again") == content);
    terminal.wait_for_last("files:/>");
    let screen = terminal.screen();
    assert!(!screen.contains("was lost"), "{screen}");
    terminal.line("exit");
    terminal.wait_for_last("$");
    terminal.line("echo status $?");
    terminal.wait_for("status 0");
}

#[test]
fn a_server_that_was_away_is_connected_again_with_a_word_about_it() {
    let mut server = Server::at_own_address();
    let mut person = person_with_entry(server.address());
    let terminal = Terminal::open(&mut person);
    terminal.line("tf");
    terminal.wait_for_last("files:/>");
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(server.wait_for_end(), Some(0));
    terminal.line("mkdir away");
    terminal.wait_for("the connection to files was lost: reconnecting");
    terminal.wait_for("can't connect");
    terminal.wait_for_last("files:/>");
    server.start_again();
    terminal.line("mkdir back");
    wait_until("the directory", || server.exists("back"));
    assert!(!server.exists("away"));
}

#[test]
fn a_resumed_transfer_shows_what_is_checked_and_counts_what_is_moved() {
    let server = Server::start();
    let mut person = person_with_entry(slowed(server.address(), 4_000_000));
    let content: Vec<u8> = (0..100_000_000_u32).map(|n| (n >> 8) as u8).collect();
    person.write("big", &content[..]);
    person.write(
        "fast/config.toml",
        format!(
            "default = \"files\"\n[server.files]\naddress = \"{}\"\n\
         key = \"../public.pem\"\nhash_file = \"../hash\"\n",
            server.address()
        ),
    );
    let root = server.path("");
    let part = || {
        let names = std::fs::read_dir(&root).expect("names").flatten();
        names
            .map(|entry| entry.metadata().map_or(0, |it| it.len()))
            .max()
    };
    let terminal = Terminal::open(&mut person);
    terminal.line("tf put big");
    wait_until("a part", || part() > Some(8_000_000));
    terminal.press("C-c");
    terminal.wait_for("repeat the command to continue");
    terminal.line("clear; tf put big");
    terminal.wait_for("B/s ");
    let done = |screen: &str| {
        screen
            .split('[')
            .nth(1)
            .is_some_and(|bar| bar.starts_with('='))
    };
    assert!(done(&terminal.screen()), "{}", terminal.screen());
    terminal.press("C-c");
    terminal.wait_for("repeat the command to continue");
    terminal.line("clear; tf --config fast/config.toml put big");
    terminal.wait_for("1 file, 95M, ");
    let screen = terminal.screen();
    assert!(screen.contains("M of them now in "), "{screen}");
    assert!(server.read("big") == content);
}

#[test]
fn a_bar_says_when_digests_are_made_and_compared() {
    let server = Server::start();
    // Each answer takes so long that the bar is drawn meanwhile.
    let link = Link {
        delay: Duration::from_millis(500),
        rate: 0,
    };
    let relay = Relay::start(server.address(), link, Box::new(|| None));
    let mut person = person_with_entry(relay.address);
    person.set("TERM", "xterm");
    let content: Vec<u8> = (0..20_000_000_u32).map(|n| (n >> 8) as u8).collect();
    person.write("big", &content);
    let root = server.path("");
    let part = || {
        let names = std::fs::read_dir(&root).expect("names").flatten();
        let sizes = names.map(|entry| entry.metadata().map_or(0, |it| it.len()));
        sizes.max().unwrap_or(0)
    };
    let put = Running::start(&person, &["--timeout", "60", "put", "--limit", "4M", "big"]);
    wait_until("a part", || part() > 4_000_000);
    put.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(put.end(), Some(130));
    let (out, code) = person.on_terminal("--timeout 60 put big", "");
    assert_eq!(code, Some(0), "{out}");
    assert!(server.read("big") == content);
    for words in ["big [", "checking what is there", "verifying"] {
        assert!(out.contains(words), "{words}: {out}");
    }
}
