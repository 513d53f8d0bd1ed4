//! `tf`: its arguments and commands. It reaches servers through
//! [`crate::client`] alone, and no other module imports it. See tf(1).

mod access;
#[cfg(feature = "backup")]
pub(crate) mod backup;
pub(crate) mod bbftp;
mod command;
mod complete;
mod context;
mod events;
mod failure;
mod help;
mod interrupt;
mod output;
mod place;
mod progress;
mod secrets;
mod servers;
mod settings;
mod shell;
mod sister;
mod vault;
mod wording;

use std::ffi::OsString;
use std::io::{IsTerminal, Write, stdin, stdout};
use std::process::ExitCode;

use access::Directory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser};
use command::Command;
use context::Context;
use failure::Failure;
use output::OutputOptions;
use settings::ConnectionOptions;

use crate::client::ClientError;

pub use failure::Exit;

/// `tf` with the arguments of this process: its exit status.
pub fn main() -> ExitCode {
    sister::complete();
    match complete::answer(|| sister::known_to(Arguments::command())) {
        Ok(false) => {}
        Ok(true) => return Exit::Ok.into(),
        Err(e) => e.exit(),
    }
    if let Some(status) = sister::start() {
        return status;
    }
    let Arguments {
        connection,
        output,
        command,
    } = match read_arguments() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return Exit::Ok.into(),
        Err(e) => e.exit(),
    };
    crate::tf::cipher::cycle::make_table_on_need();
    wording::set_verbose(output.verbose);
    let done = Directory::read(connection).and_then(|directory| {
        let cancel = directory.cancel.clone();
        if let Err(e) = interrupt::follow(cancel.clone()) {
            output::complain!("tf: Ctrl-C can't be caught: {e}");
        }
        let mut context = Context::new(directory, output);
        let done = match command {
            Command::Shell(arguments) => shell::open(arguments, context),
            command => {
                let done = command.run(&mut context);
                done.and(context.end())
            }
        };
        done.map_err(|failure| match cancel.is_cancelled() {
            true => Failure::Client(ClientError::Interrupted),
            false => failure,
        })
    });
    done.map_or_else(|failure| failure.report(), |()| Exit::Ok as u8)
        .into()
}

/// Transfer and manage files on a TF server
#[derive(Parser)]
#[command(
    name = "tf",
    version,
    after_help = "A remote path is NAME:path for a server of the configuration (see tf trust), \
                  tf://[user@]host[:port]/path, or a path on the default server, given by --server, \
                  TF_SERVER or the configuration.\n\
                  tf backup, tf snapshots and tf restore keep copies on disks, see tf-backup(1).\n\
                  tf help COMMAND shows the options of a command, with examples; \
                  tf help connection shows those that choose a server and log in. \
                  See tf(1) for exit statuses."
)]
struct Arguments {
    #[command(flatten)]
    connection: ConnectionOptions,
    #[command(flatten)]
    output: OutputOptions,
    #[command(subcommand)]
    command: Command,
}

/// The arguments of this process; `None` when help was asked for and shown.
/// `tf SERVER`, and on a terminal `tf` where a default server is known, open a
/// shell; commands go before servers of their name.
fn read_arguments() -> Result<Option<Arguments>, clap::Error> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let error = match parse(&arguments) {
        Err(e) => e,
        parsed => return parsed.map(Some),
    };
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(text) = help::connection(&arguments)
    {
        // Nobody reads it if it can't be written.
        let _ = stdout().write_all(text.as_bytes());
        return Ok(None);
    }
    shell_instead(&arguments, &error).ok_or(error).map(Some)
}

fn parse(arguments: &[OsString]) -> Result<Arguments, clap::Error> {
    let mut command = help::short(Arguments::command());
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    Arguments::from_arg_matches_mut(&mut matches).map_err(|e| e.format(&mut command))
}

/// The same arguments with `shell` in its place, where that is what they mean.
fn shell_instead(arguments: &[OsString], error: &clap::Error) -> Option<Arguments> {
    let with_shell = |at: usize| {
        let mut arguments = arguments.to_vec();
        arguments.insert(at, "shell".into());
        let arguments = parse(&arguments).ok()?;
        let directory = Directory::read(arguments.connection.clone()).ok()?;
        Some((arguments, directory))
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
                return None;
            };
            let at = (1..arguments.len()).filter(|at| arguments[*at] == **word);
            let (arguments, directory) = at.into_iter().find_map(with_shell)?;
            directory.servers.are_meant_by(word).then_some(arguments)
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let (arguments, directory) = with_shell(arguments.len())?;
            let meant = stdin().is_terminal() && stdout().is_terminal();
            (meant && directory.default_server().is_ok()).then_some(arguments)
        }
        _ => None,
    }
}
