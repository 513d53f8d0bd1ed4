//! Commands of `tf` that a program of its own carries out, so that `tf` is as small
//! as it was: `tf-backup`, which not every build has.

use std::env::{args_os, current_exe, var_os};
use std::ffi::OsString;
use std::io::{Error, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use super::complete::VARIABLE;
use super::output::complain;

const PROGRAM: &str = "tf-backup";

/// Its commands.
const COMMANDS: [&str; 14] = [
    "backup",
    "snapshots",
    "restore",
    "forget",
    "prune",
    "check",
    "repair",
    "dump",
    "diff",
    "stats",
    "tag",
    "rewrite",
    "hub",
    "keep",
];

/// What may stand before them and is an argument of both programs.
const BEFORE: [&str; 4] = ["help", "--json", "-q", "--quiet"];

/// Becomes that program if the arguments are its; the exit status if that fails.
pub(super) fn start() -> Option<ExitCode> {
    let arguments: Vec<OsString> = args_os().skip(1).collect();
    let command = command_of(&arguments)?;
    let error = become_it(&arguments);
    match error.kind() {
        ErrorKind::NotFound => complain!(
            "tf: tf {command} needs {PROGRAM}, which is neither next to tf nor in PATH: install it, or \
             build with --features backup"
        ),
        _ => complain!("tf: {PROGRAM}: {error}"),
    }
    Some(ExitCode::FAILURE)
}

/// Becomes that program if a completion script asks for words behind one of its
/// commands. Without the program there are none.
pub(super) fn complete() {
    let arguments: Vec<OsString> = args_os().skip(1).collect();
    // The script has put `-- tf` before the words.
    let words = arguments.iter().skip_while(|it| *it != "--").skip(2);
    let words: Vec<OsString> = words.cloned().collect();
    let is_asked = var_os(VARIABLE).is_some() && words.len() > 1;
    if is_asked && command_of(&words).is_some() {
        let _ = become_it(&arguments);
    }
}

/// The same `tf` with its commands, which its help leaves out.
pub(super) fn known_to(tf: clap::Command) -> clap::Command {
    let command = |name| clap::Command::new(name).hide(true);
    tf.subcommands(COMMANDS.map(command))
}

fn command_of(arguments: &[OsString]) -> Option<&'static str> {
    let is_before = |it: &&OsString| BEFORE.iter().any(|before| *it == before);
    let first = arguments.iter().find(|it| !is_before(it))?;
    COMMANDS.into_iter().find(|command| first == command)
}

/// Returns only why it could not.
fn become_it(arguments: &[OsString]) -> Error {
    let beside = current_exe().ok().map(|tf| tf.with_file_name(PROGRAM));
    let program = beside.filter(|it| it.is_file());
    let program = program.unwrap_or_else(|| PathBuf::from(PROGRAM));
    Command::new(program).args(arguments).exec()
}
