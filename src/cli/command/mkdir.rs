//! `tf mkdir`.

use clap::Args;

use crate::cli::context::Context;
use crate::client::Result;
use crate::tf::status::Status;

/// Make directories
#[derive(Args)]
pub(crate) struct Mkdir {
    /// Make those on the way, too; one that exists is fine
    #[arg(short, long)]
    parents: bool,
    /// The remote directories
    #[arg(required = true)]
    paths: Vec<String>,
}

impl Mkdir {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let connection = context.connection()?;
        for path in &self.paths {
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
