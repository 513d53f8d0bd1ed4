//! `tf rm`.

use clap::Args;

use crate::cli::context::Context;
use crate::client::Result;
use crate::tf::status::Status;

/// Delete files
#[derive(Args)]
pub(crate) struct Rm {
    /// Remove directories with all in them, too
    #[arg(short, long)]
    recursive: bool,
    /// The remote files
    #[arg(required = true)]
    paths: Vec<String>,
}

impl Rm {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let connection = context.connection()?;
        for path in &self.paths {
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
