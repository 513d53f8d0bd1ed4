//! One line of a shell: a command that only a shell has, a command of `tf`, or
//! one for this machine.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command as Process;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueHint};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use shlex::split;

use crate::cli::command::Command;
use crate::cli::complete::Names;
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure, Result};
use crate::cli::interrupt::{OnInterrupt, on_interrupt};
use crate::cli::output::{OutputOptions, Printer};
use crate::cli::place::{Remote, RemoteArg};
use crate::cli::wording::set_verbose;
use crate::client::Kind;
use crate::text::shown;

/// A command in a shell, where the server is known.
#[derive(Parser)]
#[command(name = "tf", no_binary_name = true, disable_help_subcommand = true)]
struct Line {
    #[command(flatten)]
    output: OutputOptions,
    #[command(subcommand)]
    command: ShellCommand,
}

#[derive(Subcommand)]
enum ShellCommand {
    /// Go to a remote directory: by default the root, - for the previous one
    Cd {
        #[arg(add = Names::Remote)]
        directory: Option<String>,
    },
    /// Print the remote directory
    Pwd,
    /// Go to a local directory, by default home
    Lcd {
        #[arg(value_hint = ValueHint::DirPath)]
        directory: Option<PathBuf>,
    },
    /// Print the local directory
    Lpwd,
    /// List a local directory, with the options of ls(1)
    #[command(disable_help_flag = true)]
    Lls {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_hint = ValueHint::AnyPath)]
        arguments: Vec<OsString>,
    },
    /// Run the rest of the line on this machine, or a shell
    #[command(name = "!")]
    Escape,
    /// List the commands, or show the help of one
    #[command(visible_alias = "?")]
    Help {
        #[arg(add = ArgValueCandidates::new(command_names))]
        command: Option<String>,
    },
    /// Leave the shell, as Ctrl-D does
    #[command(visible_alias = "quit")]
    Exit,
    #[command(flatten)]
    Tf(Box<Command>),
}

/// The commands that make sense in a shell.
pub(super) fn commands() -> clap::Command {
    let mut commands = Line::command();
    for outside in ["shell", "completions"] {
        commands = commands.mut_subcommand(outside, |command| command.hide(true));
    }
    commands
}

/// What follows on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The next line.
    Continue,
    /// The end of the shell.
    End,
}

/// Carries out a line. `previous` is the directory that `cd -` leads back to.
pub(super) fn carry_out(
    line: &str,
    previous: &mut Option<Remote>,
    context: &mut Context,
) -> Result<Then> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix('!') {
        return escape(rest.trim()).map(|()| Then::Continue);
    }
    let words = split(line).ok_or_else(|| Failure::usage("a quote is not closed"))?;
    let Some(name) = words.first() else {
        return Ok(Then::Continue);
    };
    let line = match Line::try_parse_from(&words) {
        Ok(line) => line,
        Err(e) if e.kind() == ErrorKind::InvalidSubcommand => return Err(no_command(name)),
        Err(e) => {
            // Help is not a failure.
            return match e.print().is_ok() && !e.use_stderr() {
                true => Ok(Then::Continue),
                false => Err(Failure::Reported(Exit::Usage)),
            };
        }
    };
    match line.command {
        ShellCommand::Exit => return Ok(Then::End),
        ShellCommand::Cd { directory } => change(directory.as_deref(), previous, context),
        ShellCommand::Pwd => print([prompt(context)]),
        ShellCommand::Lcd { directory } => change_local(directory),
        ShellCommand::Lpwd => {
            let here = std::env::current_dir().map_err(Failure::local("."))?;
            print([shown(here.as_os_str().as_encoded_bytes())])
        }
        ShellCommand::Lls { arguments } => run(Process::new("ls").args(arguments)),
        ShellCommand::Escape => escape(""),
        ShellCommand::Help { command: None } => {
            let commands = visible().into_iter();
            print(commands.map(|(name, about)| format!("{name:<12} {about}")))
        }
        ShellCommand::Help {
            command: Some(name),
        } => help(&name),
        ShellCommand::Tf(command) => {
            let usual = context.output.clone();
            context.output.quiet |= line.output.quiet;
            context.output.json |= line.output.json;
            context.output.verbose |= line.output.verbose;
            set_verbose(context.output.verbose);
            let done = command.run(context);
            context.output = usual;
            done
        }
    }
    .map(|()| Then::Continue)
}

/// `cd`: to an existing directory.
pub(super) fn change(
    to: Option<&str>,
    previous: &mut Option<Remote>,
    context: &mut Context,
) -> Result<()> {
    let to = match to {
        None => context.resolve(&RemoteArg::new(None, "/"))?,
        Some("-") => previous
            .clone()
            .ok_or_else(|| Failure::usage("no previous directory"))?,
        Some(text) => context.resolve(&text.parse().map_err(Failure::usage)?)?,
    };
    let to = to.with_path(to.path.trim_end_matches('/').to_owned());
    let connection = context.connection(&to.server)?;
    if !to.path.is_empty() && connection.stat(&to.path)?.kind != Kind::Directory {
        let path = shown(to.path.as_bytes());
        return Err(Failure::usage(format!("{path}: not a directory")));
    }
    *previous = context.here.replace(to);
    Ok(())
}

/// The remote directory, as `NAME:/path`.
pub(super) fn prompt(context: &Context) -> String {
    let Some(here) = &context.here else {
        return String::new();
    };
    let server = here.server.to_string();
    let server = server.strip_prefix("tf://").unwrap_or(&server);
    shown(format!("{server}:/{}", here.path).as_bytes())
}

fn change_local(to: Option<PathBuf>) -> Result<()> {
    let to = to
        .or_else(|| std::env::var_os("HOME").map(PathBuf::from))
        .ok_or_else(|| Failure::usage("HOME is not set"))?;
    std::env::set_current_dir(&to).map_err(Failure::local(&to))
}

/// `!`: runs a line by the user's shell, or that shell.
fn escape(line: &str) -> Result<()> {
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "sh".to_owned());
    let mut shell = Process::new(shell);
    match line {
        "" => run(&mut shell),
        line => run(shell.args(["-c", line])),
    }
}

/// Runs a program on this machine, which gets the terminal and Ctrl-C.
fn run(program: &mut Process) -> Result<()> {
    on_interrupt(OnInterrupt::Ignore);
    let status = program.status();
    on_interrupt(OnInterrupt::Cancel);
    let ended = match status {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => std::io::Error::other(status.to_string()),
        Err(e) => e,
    };
    Err(Failure::local(program.get_program())(ended))
}

/// The names of all commands, and what they do.
fn visible() -> Vec<(String, String)> {
    let commands = commands();
    let visible = commands.get_subcommands().filter(|it| !it.is_hide_set());
    visible
        .map(|it| {
            let about = it.get_about().map(ToString::to_string);
            (it.get_name().to_owned(), about.unwrap_or_default())
        })
        .collect()
}

fn command_names() -> Vec<CompletionCandidate> {
    let names = visible().into_iter();
    names
        .map(|(name, _)| CompletionCandidate::new(name))
        .collect()
}

fn help(name: &str) -> Result<()> {
    let mut commands = commands();
    commands.build();
    match commands.find_subcommand_mut(name) {
        Some(command) => print([command.render_long_help().to_string()]),
        None => Err(no_command(name)),
    }
}

fn no_command(name: &str) -> Failure {
    Failure::usage(format!("no command {name}: see help"))
}

/// Prints lines for a person.
fn print(lines: impl IntoIterator<Item = String>) -> Result<()> {
    let mut printer = Printer::new(false);
    lines.into_iter().try_for_each(|line| printer.line(&line))?;
    Ok(printer.flush()?)
}
