//! `tf mkdir`.

use clap::Args;

use crate::cli::complete::Names;
use crate::cli::context::Context;
use crate::cli::expand::for_each_name;
use crate::cli::failure::Result;
use crate::cli::place::RemoteArg;
use crate::tf::status::Status;

/// Make directories
#[derive(Args)]
#[command(after_help = "Example:\n  tf mkdir -p reports/2026/may")]
pub(crate) struct Mkdir {
    /// Make those on the way, too; one that exists is fine
    #[arg(short, long)]
    parents: bool,
    /// The remote directories
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Mkdir {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each_name(context, &self.paths, |connection, path| {
            if !self.parents {
                return Ok(connection.make_directory(path)?);
            }
            for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
                match connection.make_directory(&path[..at]) {
                    Err(e) if e.status() == Some(Status::DirectoryExists) => {}
                    other => other?,
                }
            }
            Ok(())
        })
    }
}
