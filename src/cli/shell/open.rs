//! How a shell begins and what it reads, by the arguments of `tf shell`.

use std::fs::File;
use std::io::{BufReader, IsTerminal, stdin};
use std::path::Path;

use super::Shell;
use super::local::usage;
use crate::cli::command::shell::Shell as Arguments;
use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::place::{RemoteArg, ServerName};
use crate::cli::servers::Servers;
use crate::client::ClientError;

/// Opens a shell, to its end.
///
/// # Errors
/// Why it can't be opened, or that of the script's first failure.
pub(in crate::cli) fn open(arguments: Arguments, context: Context) -> Result<()> {
    let Arguments {
        batch,
        keep_going,
        place: text,
    } = arguments;
    let at = match &text {
        None => RemoteArg::default(),
        Some(text) => place(text, &context.directory.servers)?,
    };
    let at = context.resolve(&at)?;
    let mut shell = Shell::begin(context, at)?;
    let input = Path::new("-");
    match &batch {
        None if stdin().is_terminal() => shell.talk()?,
        None => shell.follow("input", stdin().lock(), keep_going)?,
        Some(path) if path == input => shell.follow("input", stdin().lock(), keep_going)?,
        Some(path) => {
            let told = |source| ClientError::Local {
                path: path.clone(),
                source,
            };
            let script = BufReader::new(File::open(path).map_err(told)?);
            shell.follow(&path.to_string_lossy(), script, keep_going)?;
        }
    }
    shell.end()
}

/// The directory that a text stands for where a server is named.
fn place(text: &str, servers: &Servers) -> Result<RemoteArg> {
    let is_entry = |name: &str| servers.entries.contains_key(name);
    let names_entry = text.split_once(':').is_some_and(|(name, _)| is_entry(name));
    if names_entry || text.starts_with("tf://") || text.starts_with(':') {
        return text.parse().map_err(usage);
    }
    let server = ServerName::read(text, is_entry).map_err(usage)?;
    Ok(RemoteArg::new(Some(server), ""))
}
