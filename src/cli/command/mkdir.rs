//! `tf mkdir`.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::place::Remote;
use crate::tf::status::Status;

/// Make directories
#[derive(Args)]
pub(crate) struct Mkdir {
    /// Make those on the way, too; one that exists is fine
    #[arg(short, long)]
    parents: bool,
    /// The remote directories
    #[arg(required = true)]
    paths: Vec<Remote>,
}

impl Mkdir {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for Remote { server, path } in &self.paths {
            let connection = context.connection(server)?;
            if !self.parents {
                connection.make_directory(path)?;
                continue;
            }
            for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
                match connection.make_directory(&path[..at]) {
                    Err(e) if e.status() == Some(Status::DirectoryExists) => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }
}
