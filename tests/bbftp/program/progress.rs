//! What a person at a terminal sees of a transfer. The terminal belongs to a tmux
//! server of its own.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use super::Caller;
use crate::client::content;
use crate::common::{PATIENCE, account};
use crate::peer::{address, tls_server};

/// Of this caller, by a name of its own.
struct Terminal<'a>(&'a Caller, &'static str);

impl Terminal<'_> {
    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-L", self.1, "-f", "/dev/null"]);
        command.args(arguments).current_dir(self.0.path(""));
        command.env("TMUX_TMPDIR", self.0.path(""));
        command
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", self.0.path(""));
        let output = command.output().expect("tmux, which scripts/test installs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until the screen is as it should be.
    #[track_caller]
    fn wait(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if is_so(&screen) {
                return;
            }
            assert!(Instant::now() < end, "waited in vain for {what}:\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// How many parts of a bar are full, if there is one with rate and time left.
fn bar(screen: &str) -> Option<usize> {
    let line = screen.lines().find(|line| line.contains("B/s "))?;
    let (_, bar) = line.split_once('[')?;
    let (bar, _) = bar.split_once(']')?;
    Some(bar.matches('=').count())
}

#[test]
fn a_bar_grows_at_a_terminal_also_for_a_large_file_among_small_ones() {
    let users = account("ann", "pass word", "games::rate=3000000:");
    let Some(server) = tls_server("password_logins = \"rsa\"", &users) else {
        return;
    };
    let caller = Caller::new();
    caller.write("pw", "pass word");
    caller.write("m1", content(3000));
    caller.write("m2", content(12_000_000));
    caller.write("m3", content(3000));
    let port = address(&server).port();
    fs::create_dir(caller.path("back")).expect("mkdir");
    for (name, command) in [
        ("one", "put m2 big"),
        ("many", "mput m* ."),
        ("back", "mget m* back"),
    ] {
        let program = env!("CARGO_BIN_EXE_bbftp");
        let line = format!(
            "{program} --password-file pw -u ann -w {port} -e '{command}' 127.0.0.1; \
             echo status $?; sleep 1000"
        );
        let terminal = Terminal(&caller, name);
        terminal.tmux(&["new-session", "-d", "-x", "100", "-y", "40", &line]);
        terminal.wait("a bar", |screen| bar(screen).is_some_and(|full| full > 2));
        terminal.wait("more of it", |screen| {
            bar(screen).is_some_and(|full| full > 12)
        });
        terminal.wait("the end", |screen| screen.contains("status 0"));
    }
    assert!(server.read("big") == content(12_000_000));
    assert!(fs::read(caller.path("back/m2")).expect("read") == content(12_000_000));
}
