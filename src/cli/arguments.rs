//! The arguments of `tf`: options, and a command with its own.

use std::ffi::OsString;
use std::io::{IsTerminal, stdin, stdout};

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::access::Directory;
use super::command::Command;
use super::output::OutputOptions;
use super::settings::ConnectionOptions;

/// Transfer and manage files on a TF server
#[derive(Parser)]
#[command(
    name = "tf",
    version,
    after_help = "A remote path is NAME:path for a server of the configuration (see tf trust), \
                  tf://[user@]host[:port]/path, or a path on the default server, given by --server, \
                  TF_SERVER or the configuration.\n\
                  Options override a server's entry, and the entry overrides TF_KEY, TF_HASH, \
                  TF_VERSION, TF_USER and TF_JAIL.\n\
                  tf help COMMAND shows all options of a command, with examples. \
                  See tf(1) for exit statuses."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) connection: ConnectionOptions,
    #[command(flatten)]
    pub(super) output: OutputOptions,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The arguments of this process. `tf SERVER`, and on a terminal `tf` where a
/// default server is known, open a shell; commands go before servers of their
/// name.
pub(super) fn read() -> Result<Arguments, clap::Error> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    Arguments::try_parse_from(&arguments)
        .map_err(|e| (shell_instead(&arguments, &e), e))
        .or_else(|(shell, e)| shell.ok_or(e))
}

/// The same arguments with `shell` in its place, where that is what they mean.
fn shell_instead(arguments: &[OsString], error: &clap::Error) -> Option<Arguments> {
    let with_shell = |at: usize| {
        let mut arguments = arguments.to_vec();
        arguments.insert(at, "shell".into());
        let arguments = Arguments::try_parse_from(arguments).ok()?;
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
