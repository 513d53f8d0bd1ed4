//! `tf get`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::cat::to_standard_output;
use crate::cli::complete::Names;
use crate::cli::context::Context;
use crate::cli::expand::expand;
use crate::cli::failure::{Failure, Result};
use crate::cli::place::{Place, RemoteArg};
use crate::cli::transfer::{self, TransferArguments};
use crate::client::Options;

/// Receive files and trees; each is in place only when it is whole and verified
#[derive(Args)]
#[command(after_help = "Examples:\n  \
                        tf get reports/may.pdf .\n  \
                        tf get -r -j 4 backup:photos /srv/\n  \
                        tf get 'reports/*.pdf' .")]
pub(crate) struct Get {
    /// Remote files, patterns among them, and where they go: a local file or
    /// directory, or - for standard output; here when there is one path alone
    #[arg(required = true, value_name = "REMOTE... [LOCAL]", add = Names::Download)]
    paths: Vec<String>,
    /// Directories with all in them
    #[arg(short, long)]
    recursive: bool,
    #[command(flatten)]
    transfer: TransferArguments,
}

impl Get {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let Get {
            mut paths,
            recursive,
            transfer,
        } = self;
        let usage = |text: &str| Failure::Usage(text.to_owned());
        let local = match paths.len() {
            1 => PathBuf::from("."),
            _ => {
                match paths
                    .pop()
                    .map_or(Ok(Place::Local(PathBuf::new())), |last| last.parse())
                {
                    Ok(Place::Local(path)) => path,
                    Ok(Place::Remote(_)) => return Err(usage("get receives into a local path")),
                    Err(e) => return Err(usage(&e.to_string())),
                }
            }
        };
        let remotes: Vec<RemoteArg> = paths
            .iter()
            .map(|path| path.parse().map_err(|e| usage(&format!("{e}"))))
            .collect::<Result<_>>()?;
        let server = context.server(&remotes[0])?;
        for remote in &remotes {
            if context.server(remote)? != server {
                return Err(usage("get receives from one server at a time"));
            }
        }
        if local == Path::new("-") {
            let options = transfer.options();
            return remotes.iter().try_for_each(|written| {
                to_standard_output(context, &context.resolve(written)?, &options)
            });
        }
        let options = Options {
            recursive,
            ..transfer.options()
        };
        let mut sources = Vec::new();
        for remote in &remotes {
            sources.extend(
                expand(context, remote)?
                    .into_iter()
                    .map(|remote| remote.path),
            );
        }
        transfer::run(context, &server, &options, |transfers| {
            transfers.get(&sources, &local)
        })
    }
}
