//! Where passwords and tokens come from: a file, a descriptor, a command, the
//! keyring, a program that asks, or the terminal. Never from an argument, which
//! other users can read.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::sys::environment::keep_from_children;

/// The most bytes of the first line, with its end.
const MAX_LINE: usize = 4096;

/// Where a secret is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    /// A file with it in its first line.
    pub(crate) file: Option<PathBuf>,
    /// A command that prints it.
    pub(crate) command: Option<CommandLine>,
    /// Where the keyring has it.
    pub(crate) keyring: Option<Keyring>,
    /// A program that prints it, with the prompt as its argument.
    pub(crate) askpass: Option<PathBuf>,
    /// Whether asking is forbidden.
    pub(crate) silent: bool,
}

impl Source {
    /// The secret, asked for with the prompt where nothing else has it.
    pub(crate) fn get(&self, prompt: &str) -> Result<Zeroizing<String>, String> {
        if let Some(file) = &self.file {
            return first_line(file);
        }
        if let Some(command) = &self.command {
            return command.secret();
        }
        if let Some(found) = self
            .keyring
            .as_ref()
            .and_then(|it| it.look_up().transpose())
        {
            return found;
        }
        let program = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        if let Some(askpass) = self
            .askpass
            .clone()
            .map(OsString::from)
            .or_else(|| program("TF_ASKPASS"))
        {
            return ask_program(&askpass, prompt);
        }
        if self.silent {
            return Err("can't ask for a password here".to_owned());
        }
        // As ssh(1) does: without a terminal its helper asks.
        let has_terminal = std::fs::File::open("/dev/tty").is_ok();
        match program("SSH_ASKPASS").filter(|_| !has_terminal) {
            Some(askpass) => ask_program(&askpass, prompt),
            None => rpassword::prompt_password(prompt)
                .map(Zeroizing::new)
                .map_err(|_| {
                    format!(
                        "no terminal to ask for \"{}\": give a file, a descriptor or a command, set TF_ASKPASS, \
                         or store it with tf login",
                        prompt.trim_end().trim_end_matches(':')
                    )
                }),
        }
    }
}

/// A program with its arguments. No shell reads them; a line is cut into words as
/// a shell would.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Written", into = "Vec<String>")]
pub(crate) struct CommandLine(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "a command or a list of its words")]
enum Written {
    Line(String),
    Words(Vec<String>),
}

impl TryFrom<Written> for CommandLine {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<CommandLine, &'static str> {
        match written {
            Written::Line(line) => line.parse(),
            Written::Words(words) if words.is_empty() => Err("a command without a program"),
            Written::Words(words) => Ok(CommandLine(words)),
        }
    }
}

impl FromStr for CommandLine {
    type Err = &'static str;

    fn from_str(line: &str) -> Result<CommandLine, &'static str> {
        match shlex::split(line) {
            Some(words) if words.is_empty() => Err("a command without a program"),
            Some(words) => Ok(CommandLine(words)),
            None => Err("a quote is not closed"),
        }
    }
}

impl From<CommandLine> for Vec<String> {
    fn from(command: CommandLine) -> Vec<String> {
        command.0
    }
}

impl CommandLine {
    /// The first line of what it prints.
    fn secret(&self) -> Result<Zeroizing<String>, String> {
        let [program, arguments @ ..] = self.0.as_slice() else {
            return Err("a command without a program".to_owned());
        };
        // What is to be uploaded may come by the standard input.
        let secret = first_line_of(Command::new(program).args(arguments).stdin(Stdio::null()));
        match secret {
            Ok(secret) if secret.is_empty() => Err(format!("{program}: printed nothing")),
            other => other.map_err(|e| format!("{program}: {e}")),
        }
    }
}

/// The program of libsecret that reaches the system's keyring.
const SECRET_TOOL: &str = "secret-tool";

/// A place in the system's keyring.
#[derive(Clone, Debug)]
pub(crate) struct Keyring {
    server: String,
    user: String,
}

impl Keyring {
    /// That of an account of a server, `host:port`.
    pub(crate) fn of(server: &str, user: &str) -> Keyring {
        Keyring {
            server: server.to_owned(),
            user: user.to_owned(),
        }
    }

    fn tool(&self, action: &[&str]) -> Command {
        let mut tool = Command::new(SECRET_TOOL);
        tool.args(action);
        tool.args(["service", "tf", "server", &self.server, "user", &self.user]);
        tool
    }

    /// The password, if there is one.
    fn look_up(&self) -> Result<Option<Zeroizing<String>>, String> {
        let mut tool = self.tool(&["lookup"]);
        let mut child = tool
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(not_started)?;
        let output = child.stdout.take();
        let secret = output.map_or_else(|| Ok(Zeroizing::default()), read_line);
        let ended = child.wait().map_err(not_started)?;
        let secret = secret.map_err(|e| format!("{SECRET_TOOL}: {e}"))?;
        Ok(Some(secret).filter(|secret| ended.success() && !secret.is_empty()))
    }

    /// Keeps a password.
    ///
    /// # Errors
    /// One line: why not.
    pub(crate) fn store(&self, password: &str) -> Result<(), String> {
        let label = format!("--label=tf: {} at {}", self.user, self.server);
        let mut tool = self.tool(&["store", &label]);
        let mut child = tool.stdin(Stdio::piped()).spawn().map_err(not_started)?;
        if let Some(mut input) = child.stdin.take() {
            // If it has ended, its status says why.
            let _ = input.write_all(password.as_bytes());
        }
        finished(child.wait())
    }

    /// Forgets it.
    ///
    /// # Errors
    /// One line: why not.
    pub(crate) fn clear(&self) -> Result<(), String> {
        finished(self.tool(&["clear"]).stdin(Stdio::null()).status())
    }
}

fn finished(ended: std::io::Result<ExitStatus>) -> Result<(), String> {
    match ended.map_err(not_started)? {
        status if status.success() => Ok(()),
        status => Err(format!("{SECRET_TOOL}: {status}")),
    }
}

fn not_started(e: std::io::Error) -> String {
    format!("{SECRET_TOOL}: {e}: the keyring needs it (Debian: libsecret-tools)")
}

/// The first line of a file; the error is one line with its name.
pub(crate) fn first_line(path: &Path) -> Result<Zeroizing<String>, String> {
    let line = std::fs::File::open(path).and_then(read_line);
    line.map_err(|e| format!("{}: {e}", path.display()))
}

/// The file that stands for a descriptor which the caller of `tf` opened. No
/// program that is run from now on gets it.
pub(crate) fn descriptor(number: &str) -> Result<PathBuf, std::num::ParseIntError> {
    let number = number.parse()?;
    keep_from_children(number);
    Ok(format!("/dev/fd/{number}").into())
}

/// What a program prints; the error is one line with its name.
fn ask_program(program: &OsStr, prompt: &str) -> Result<Zeroizing<String>, String> {
    let answer = first_line_of(Command::new(program).arg(prompt));
    answer.map_err(|e| format!("{}: {e}", program.display()))
}

fn first_line_of(program: &mut Command) -> std::io::Result<Zeroizing<String>> {
    let mut child = program.stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take();
    let answer = output.map_or_else(|| Ok(Zeroizing::default()), read_line);
    if answer.is_err() {
        // It may have ended already.
        let _ = child.kill();
    }
    let status = child.wait()?;
    match status.success() || answer.is_err() {
        true => answer,
        false => Err(std::io::Error::other(status.to_string())),
    }
}

pub(super) fn read_line(mut from: impl Read) -> std::io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; MAX_LINE]);
    let mut len = 0;
    while len < MAX_LINE && !bytes[..len].contains(&b'\n') {
        match from.read(&mut bytes[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    if len == MAX_LINE && !bytes.contains(&b'\n') {
        let text = format!("its first line has more than {MAX_LINE} bytes");
        return Err(std::io::Error::other(text));
    }
    let line = bytes[..len]
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = std::str::from_utf8(line).map_err(std::io::Error::other)?;
    Ok(Zeroizing::new(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_first_line_whatever_ends_it() {
        for text in ["pass word", "pass word\n", "pass word\r\nmore\n"] {
            assert_eq!(*read_line(text.as_bytes()).expect("line"), "pass word");
        }
        assert_eq!(*read_line(&b""[..]).expect("line"), "");
        let fits = [&b"x".repeat(MAX_LINE - 1)[..], b"\n"].concat();
        assert_eq!(read_line(&fits[..]).expect("line").len(), MAX_LINE - 1);
        assert!(
            read_line(std::io::repeat(b'x')).is_err(),
            "cut, it would be another one"
        );
    }
}
