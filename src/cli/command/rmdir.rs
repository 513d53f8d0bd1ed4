//! `tf rmdir`.

use clap::Args;

use crate::cli::complete::Names;
use crate::cli::context::Context;
use crate::cli::expand::{for_each_path, is_root};
use crate::cli::failure::{Failure, Result};
use crate::cli::place::RemoteArg;
use crate::client::ClientError;
use crate::tf::status::Status;

/// Remove empty directories
#[derive(Args)]
#[command(after_help = "Example:\n  tf rmdir reports/2019\n\nWith all in them: tf rm -r")]
pub(crate) struct Rmdir {
    /// Remote directories or patterns
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Rmdir {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each_path(context, &self.paths, |connection, path| {
            if is_root(path) {
                return Err(Failure::Usage("the server's root stays".to_owned()));
            }
            // The server's own command takes what is in it along.
            if !connection.list(path)?.is_empty() {
                let request = format!("rmdir {path}");
                let status = Status::DirectoryRemains;
                return Err(ClientError::Refused { request, status }.into());
            }
            Ok(connection.remove_directory(path)?)
        })
    }
}
