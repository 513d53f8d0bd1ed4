//! The commands that only a shell has: where it is, here and there, and what
//! is run on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::interrupt::{OnInterrupt, on_interrupt};
use crate::cli::output::Printer;
use crate::cli::place::{Remote, RemoteArg};
use crate::client::{ClientError, Kind};
use crate::text::shown;

/// A command of the shell itself.
pub(super) struct LocalCommand {
    pub(super) name: &'static str,
    /// What its argument is: `dir` there, `local`, a `command`, or nothing.
    pub(super) takes: &'static str,
    pub(super) about: &'static str,
}

/// All of them.
pub(super) const LOCAL_COMMANDS: [LocalCommand; 10] = [
    LocalCommand {
        name: "cd",
        takes: "dir",
        about: "Go to a remote directory; to the root without one, back with -",
    },
    LocalCommand {
        name: "pwd",
        takes: "",
        about: "Show the remote directory",
    },
    LocalCommand {
        name: "lcd",
        takes: "local",
        about: "Go to a local directory; home without one",
    },
    LocalCommand {
        name: "lpwd",
        takes: "",
        about: "Show the local directory",
    },
    LocalCommand {
        name: "lls",
        takes: "local",
        about: "List a local directory, with the options of ls(1)",
    },
    LocalCommand {
        name: "!",
        takes: "",
        about: "Run the rest of the line on this machine; a shell without one",
    },
    LocalCommand {
        name: "help",
        takes: "command",
        about: "Show what there is, or what a command does",
    },
    LocalCommand {
        name: "?",
        takes: "command",
        about: "The same",
    },
    LocalCommand {
        name: "exit",
        takes: "",
        about: "End, as quit and Ctrl-D do",
    },
    LocalCommand {
        name: "quit",
        takes: "",
        about: "The same",
    },
];

/// Where a shell is and was.
pub(super) struct Where {
    /// The remote directory.
    pub(super) here: Remote,
    before: Option<Remote>,
}

impl Where {
    /// Begins at a directory.
    pub(super) fn at(place: Remote, context: &mut Context) -> Where {
        context.here = Some(place.clone());
        Where {
            here: place,
            before: None,
        }
    }

    /// `cd`: to a directory that is there.
    pub(super) fn change(&mut self, context: &mut Context, to: Option<&str>) -> Result<()> {
        let to = match to {
            None => self.here.with_path(String::new()),
            Some("-") => self
                .before
                .clone()
                .ok_or_else(|| usage("cd -: you have been nowhere"))?,
            Some(text) => context.resolve(&text.parse::<RemoteArg>().map_err(usage)?)?,
        };
        let path = to.path.trim_end_matches('/').to_owned();
        let to = to.with_path(path);
        let connection = context.connection(&to.server)?;
        if !to.path.is_empty() && connection.stat(&to.path)?.kind != Kind::Directory {
            return Err(usage(format!(
                "{}: no directory",
                shown(to.path.as_bytes())
            )));
        }
        context.here = Some(to.clone());
        self.before = Some(std::mem::replace(&mut self.here, to));
        Ok(())
    }

    /// Where it is, as `NAME:/path`.
    pub(super) fn shown(&self) -> String {
        let server = self.here.server.to_string();
        let server = server.strip_prefix("tf://").unwrap_or(&server);
        shown(format!("{server}:/{}", self.here.path).as_bytes())
    }
}

/// `lcd`.
pub(super) fn change_local(to: Option<&str>) -> Result<()> {
    let home = || std::env::var_os("HOME").map(PathBuf::from);
    let to = to
        .map(PathBuf::from)
        .or_else(home)
        .ok_or_else(|| usage("HOME is not set"))?;
    std::env::set_current_dir(&to).map_err(|source| local(&to, source))
}

/// `lpwd`.
pub(super) fn print_local() -> Result<()> {
    let here = std::env::current_dir().map_err(|source| local(Path::new("."), source))?;
    print([shown(here.as_os_str().as_encoded_bytes())])
}

/// Runs a program on this machine, which has the terminal and Ctrl-C meanwhile.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<()> {
    on_interrupt(OnInterrupt::Ignore);
    let status = Command::new(program).args(arguments).status();
    on_interrupt(OnInterrupt::BreakOff);
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(local(
            Path::new(program),
            std::io::Error::other(status.to_string()),
        )),
        Err(source) => Err(local(Path::new(program), source)),
    }
}

/// What `!` stands before: a line for sh, or a shell of the user.
pub(super) fn escape(line: &str) -> Result<()> {
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "sh".to_owned());
    match line.trim() {
        "" => run(&shell, &[]),
        line => run(&shell, &["-c", line]),
    }
}

pub(super) fn usage(text: impl ToString) -> Failure {
    Failure::Usage(text.to_string())
}

fn local(path: &Path, source: std::io::Error) -> Failure {
    ClientError::Local {
        path: path.to_owned(),
        source,
    }
    .into()
}

/// Prints lines for a person.
///
/// # Errors
/// When standard output can't be written to.
pub(super) fn print(lines: impl IntoIterator<Item = String>) -> Result<()> {
    let mut printer = Printer::new(false);
    lines.into_iter().try_for_each(|line| printer.line(&line))?;
    Ok(printer.flush()?)
}
