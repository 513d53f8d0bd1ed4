//! `tf mkdir`.

use clap::Args;

use crate::cli::complete::remote_paths;
use crate::cli::context::Context;
use crate::cli::failure::{Result, for_each};
use crate::cli::place::Remote;
use crate::tf::status::Status;

/// Make directories
#[derive(Args)]
#[command(after_help = "Example:\n  tf mkdir -p reports/2026/may")]
pub(crate) struct Mkdir {
    /// Make those on the way, too; one that exists is fine
    #[arg(short, long)]
    parents: bool,
    /// The remote directories
    #[arg(required = true, add = remote_paths())]
    paths: Vec<Remote>,
}

impl Mkdir {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each(&self.paths, |Remote { server, path }| {
            let connection = context.connection(server)?;
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
