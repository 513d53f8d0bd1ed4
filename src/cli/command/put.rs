//! `tf put`.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::place::{Place, Remote};
use crate::cli::transfer::{self, TransferArguments};
use crate::client::{Options, Transfers};

/// Send files and trees; each is in place only when it is whole and verified
#[derive(Args)]
#[command(after_help = "Examples:\n  \
                        tf put may.pdf reports/\n  \
                        tf put -r -j 4 photos backup:\n  \
                        pg_dump shop | tf put - backups/shop.sql")]
pub(crate) struct Put {
    /// Local files, or - for standard input, and where they go: a remote file
    /// or directory, the default server's root when there is one path alone
    #[arg(required = true, value_name = "LOCAL... [REMOTE]")]
    paths: Vec<String>,
    /// Directories with all in them
    #[arg(short, long)]
    recursive: bool,
    /// Follow symbolic links, which are left out of trees otherwise
    #[arg(short = 'L', long)]
    follow: bool,
    #[command(flatten)]
    transfer: TransferArguments,
}

impl Put {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let Put { mut paths, recursive, follow, transfer } = self;
        let remote: Remote = match paths.len() {
            1 => "".parse().map_err(usage)?,
            _ => paths.pop().unwrap_or_default().parse().map_err(usage)?,
        };
        let sources: Vec<PathBuf> = paths.iter().map(|path| local(path)).collect::<Result<_>>()?;
        let access = context.access(&remote.server)?.clone();
        let open = context.take(&remote.server)?;
        let options = Options { recursive, follow, ..transfer.options() };
        let output = context.output.clone();
        transfer::run(&output, |board| {
            let transfers = Transfers::new(&access, &options, board).with(open);
            if sources == [Path::new("-")] {
                return transfers.put_from(&mut std::io::stdin().lock(), &remote.path);
            }
            transfers.put(&sources, &remote.path)
        })
    }
}

fn local(path: &str) -> Result<PathBuf> {
    match path.parse().map_err(usage)? {
        Place::Local(path) => Ok(path),
        Place::Remote(_) => Err(Failure::Usage(format!(
            "{path}: put sends local files; a local name with a colon is ./NAME"
        ))),
    }
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::Usage(error.to_string())
}
