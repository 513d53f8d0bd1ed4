//! `tf shell`, which `tf SERVER` stands for.

use std::fs::File;
use std::io::{BufReader, IsTerminal, stdin};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::complete::servers;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::place::{Remote, ServerName};
use crate::cli::servers::Servers;
use crate::cli::shell::Shell as Session;
use crate::client::ClientError;

/// Open a shell on a server: all commands, over one session
#[derive(Args)]
#[command(after_help = "\
Examples:
  tf files                        as tf shell files
  tf shell files:reports
  tf shell -b nightly.tf files
  echo 'put may.pdf' | tf shell files:reports")]
pub(crate) struct Shell {
    /// Do what the lines of this file say, - for standard input, and end with
    /// the first that fails
    #[arg(short, long, value_name = "FILE")]
    batch: Option<PathBuf>,
    /// Go on with the next line after one that failed
    #[arg(short, long)]
    keep_going: bool,
    /// NAME, NAME:path, HOST:PORT or tf://HOST:PORT/path [default: the default
    /// server]
    #[arg(value_name = "SERVER", add = servers())]
    place: Option<String>,
}

impl Shell {
    /// In a shell there is no other.
    pub(super) fn run(self, _: &mut Context) -> Result<()> {
        Err(Failure::Usage("this is a shell already: see cd".to_owned()))
    }

    /// Opens it, to the end.
    ///
    /// # Errors
    /// Why it can't be opened, or that of the script's first failure.
    pub(crate) fn open(self, context: Context) -> Result<()> {
        let at = match &self.place {
            None => Remote::new(ServerName::Default, ""),
            Some(text) => place(text, &context.directory.servers)?,
        };
        let at = match at.server {
            ServerName::Default => {
                Remote { server: context.directory.default_server()?, path: at.path }
            }
            _ => at,
        };
        let mut shell = Session::begin(context, at)?;
        let input = Path::new("-");
        match &self.batch {
            None if stdin().is_terminal() => shell.talk()?,
            None => shell.follow("input", stdin().lock(), self.keep_going)?,
            Some(path) if path == input => {
                shell.follow("input", stdin().lock(), self.keep_going)?;
            }
            Some(path) => {
                let told = |source| ClientError::Local { path: path.clone(), source };
                let script = BufReader::new(File::open(path).map_err(told)?);
                shell.follow(&path.to_string_lossy(), script, self.keep_going)?;
            }
        }
        shell.end()
    }
}

/// The directory that a text stands for where a server is named.
fn place(text: &str, servers: &Servers) -> Result<Remote> {
    let usage = |e: crate::cli::place::BadAddress| Failure::Usage(e.to_string());
    let is_entry = |name: &str| servers.entries.contains_key(name);
    let names_entry = text.split_once(':').is_some_and(|(name, _)| is_entry(name));
    if names_entry || text.starts_with("tf://") || text.starts_with(':') {
        return text.parse().map_err(usage);
    }
    let server = ServerName::read(text, is_entry).map_err(usage)?;
    Ok(Remote::new(server, ""))
}

/// Whether a word that is no command stands for a server: an entry, or what is
/// written as an address.
pub(crate) fn names_server(word: &str, servers: &Servers) -> bool {
    servers.entries.contains_key(word) || word.contains(':')
}
