//! `tf put`.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::complete::Names;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::place::{Place, RemoteArg};
use crate::cli::transfer::{self, TransferArguments};
use crate::client::{Options, is_pattern};

/// A name that begins with a dot is fitted by a pattern that does.
const PATTERNS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Send files and trees; each is in place only when it is whole and verified
#[derive(Args)]
#[command(after_help = "Examples:\n  \
                        tf put may.pdf reports/\n  \
                        tf put -r -j 4 photos backup:\n  \
                        pg_dump shop | tf put - backups/shop.sql")]
pub(crate) struct Put {
    /// Local files, or - for standard input, and where they go: a remote file
    /// or directory, the default server's root when there is one path alone
    #[arg(required = true, value_name = "LOCAL... [REMOTE]", add = Names::Upload)]
    paths: Vec<Place>,
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
        let Put {
            mut paths,
            recursive,
            follow,
            transfer,
        } = self;
        let last = if paths.len() > 1 { paths.pop() } else { None };
        let target: RemoteArg = match last {
            Some(Place::Remote(remote)) => remote,
            Some(Place::Local(path)) => text(&path)?.parse().map_err(usage)?,
            None => RemoteArg::default(),
        };
        let mut sources: Vec<PathBuf> = Vec::new();
        for path in paths {
            sources.extend(expand(local(path)?));
        }
        let remote = context.resolve(&target)?;
        let options = Options {
            recursive,
            follow,
            ..transfer.options()
        };
        transfer::run(context, &remote.server, &options, |transfers| {
            if sources == [Path::new("-")] {
                return transfers.put_from(&mut std::io::stdin().lock(), &remote.path);
            }
            transfers.put(&sources, &remote.path)
        })
    }
}

/// The files a pattern stands for, where no sh has expanded it. What is there as
/// it is written, or fits nothing, stands for itself.
fn expand(path: PathBuf) -> Vec<PathBuf> {
    let is_there = path.symlink_metadata().is_ok();
    let pattern = path.to_str().filter(|text| is_pattern(text) && !is_there);
    let found = pattern.and_then(|pattern| glob::glob_with(pattern, PATTERNS).ok());
    let found: Vec<PathBuf> = found.into_iter().flatten().flatten().collect();
    if found.is_empty() { vec![path] } else { found }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .ok_or_else(|| usage("the remote path is not UTF-8"))
}

fn local(place: Place) -> Result<PathBuf> {
    match place {
        Place::Local(path) => Ok(path),
        Place::Remote(remote) => Err(usage(format!(
            "{}: put sends local files: on a server use cp; a local name with a colon is ./NAME",
            remote.path
        ))),
    }
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::Usage(error.to_string())
}
