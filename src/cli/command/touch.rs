//! `tf touch`.

use clap::Args;

use crate::cli::complete::Names;
use crate::cli::context::Context;
use crate::cli::expand::for_each_name;
use crate::cli::failure::Result;
use crate::cli::place::RemoteArg;
use crate::tf::status::Status;

/// Make empty files, or set the times of those that are there to now
#[derive(Args)]
#[command(after_help = "Example:\n  tf touch reports/done")]
pub(crate) struct Touch {
    /// Make none
    #[arg(short = 'c', long)]
    no_create: bool,
    /// The remote paths
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Touch {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each_name(context, &self.paths, |connection, path| {
            if self.no_create {
                return match connection.update_times(path) {
                    Err(e) if e.status() == Some(Status::FileMissing) => Ok(()),
                    other => Ok(other?),
                };
            }
            match connection.touch(path) {
                Err(e) if e.status() == Some(Status::FileExists) => {
                    Ok(connection.update_times(path)?)
                }
                other => Ok(other?),
            }
        })
    }
}
