//! `tf rm`.

use clap::Args;

use crate::cli::complete::Names;
use crate::cli::context::Context;
use crate::cli::expand::{for_each_path, is_root};
use crate::cli::failure::{Failure, Result};
use crate::cli::place::RemoteArg;
use crate::tf::status::Status;

/// Delete files
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf rm reports/may.pdf\n  tf rm -r reports/2019\n  tf rm -f 'tmp/*.part'"
)]
pub(crate) struct Rm {
    /// Remove directories with all in them, too
    #[arg(short, long)]
    recursive: bool,
    /// What is not there is fine
    #[arg(short, long)]
    force: bool,
    /// Remote paths or patterns
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Rm {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each_path(context, &self.paths, |connection, path| {
            if is_root(path) {
                let text = "that would empty the server's root: name what is in it, such as '*'";
                return Err(Failure::Usage(text.to_owned()));
            }
            match connection.delete(path) {
                Err(e) if self.recursive && e.status() == Some(Status::IsDirectory) => {
                    Ok(connection.remove_directory(path)?)
                }
                Err(e) if self.force && e.status() == Some(Status::FileMissing) => Ok(()),
                other => Ok(other?),
            }
        })
    }
}
