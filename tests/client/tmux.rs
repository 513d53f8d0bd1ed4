//! A terminal: keys go in, what is on the screen comes out. It belongs to a
//! tmux server of its own, which ends with it.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::PATIENCE;
use crate::common::tf::Person;

/// A terminal of 100 columns and 40 lines, in which a shell asks for commands
/// by `$ `. The environment is that of a person; `tf` is in its path.
pub struct Terminal<'a> {
    person: &'a Person,
}

impl Terminal<'_> {
    pub fn open(person: &mut Person) -> Terminal<'_> {
        let programs = std::path::Path::new(env!("CARGO_BIN_EXE_tf"))
            .parent()
            .expect("directory");
        let path = std::env::var("PATH").unwrap_or_default();
        let home = person.path("").display().to_string();
        for (name, value) in [
            ("PATH", format!("{}:{path}", programs.display())),
            ("TMUX_TMPDIR", home),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("PS1", "$ ".to_owned()),
            ("SHELL", "/bin/sh".to_owned()),
        ] {
            person.set(name, &value);
        }
        let terminal = Terminal { person };
        terminal.tmux(&["new-session", "-d", "-x", "100", "-y", "40", "sh"]);
        terminal.wait_for("$ ");
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = self.person.command("tmux");
        command
            .args(["-L", "test", "-f", "/dev/null"])
            .args(arguments);
        output(&mut command)
    }

    /// Types a text as it is.
    pub fn write(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Types a text and Enter.
    pub fn line(&self, text: &str) {
        self.write(text);
        self.press("Enter");
    }

    /// Presses a key, by tmux's name for it.
    pub fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// What is on the screen, without the blanks at the ends of lines.
    pub fn screen(&self) -> String {
        let screen = self.tmux(&["capture-pane", "-p"]);
        let lines: Vec<&str> = screen.trim_end().lines().map(str::trim_end).collect();
        lines.join("\n")
    }

    /// Waits for a text on the screen.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait(&format!("\"{text}\""), |screen| {
            screen.contains(text.trim_end())
        });
    }

    /// Waits until the last line is this one.
    #[track_caller]
    pub fn wait_for_last(&self, line: &str) {
        let expected = line.trim_end();
        self.wait(&format!("\"{line}\" at the end"), |screen| {
            screen.lines().last() == Some(expected)
        });
    }

    /// Waits until the screen is as it should be.
    #[track_caller]
    pub fn wait(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
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
        let mut command = self.person.command("tmux");
        let _ = command.args(["-L", "test", "kill-server"]).output();
    }
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("tmux, which scripts/test installs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
