//! `tf rm`.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::place::Remote;
use crate::tf::status::Status;

/// Delete files
#[derive(Args)]
pub(crate) struct Rm {
    /// Remove directories with all in them, too
    #[arg(short, long)]
    recursive: bool,
    /// The remote files
    #[arg(required = true)]
    paths: Vec<Remote>,
}

impl Rm {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for Remote { server, path } in &self.paths {
            let connection = context.connection(server)?;
            match connection.delete(path) {
                Err(e) if self.recursive && e.status() == Some(Status::IsDirectory) => {
                    connection.remove_directory(path)?;
                }
                other => other?,
            }
        }
        Ok(())
    }
}
