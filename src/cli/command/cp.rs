//! `tf cp`.

use clap::Args;

use crate::cli::complete::Names;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::place::RemoteArg;
use crate::cli::targets::Targets;
use crate::client::{Connection, Kind};
use crate::tf::status::Status;

/// Copy on the server
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf cp may.pdf archive/\n  tf cp -r site site.old\n  tf cp -f new.conf live.conf"
)]
pub(crate) struct Cp {
    /// Copy directories with all in them, too
    #[arg(short, long)]
    recursive: bool,
    /// Replace a file that is there
    #[arg(short, long)]
    force: bool,
    /// The paths or patterns to copy, and the new path or a directory
    #[arg(required = true, num_args = 2.., add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Cp {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        Targets::of(context, &self.paths)?.for_each(|connection, from, to| {
            match connection.copy(from, to) {
                Err(e) if e.status() == Some(Status::DirectoryCopy) && self.recursive => {
                    Ok(connection.copy_directory(from, to)?)
                }
                Err(e) if e.status() == Some(Status::DirectoryCopy) => {
                    Err(Failure::Usage(format!("{from} is a directory: -r")))
                }
                Err(e) if e.status() == Some(Status::FileExists) && self.force => {
                    replace(connection, from, to)
                }
                other => Ok(other?),
            }
        })
    }
}

/// Replaces a file, but no directory.
fn replace(connection: &mut Connection, from: &str, to: &str) -> Result<()> {
    if connection.stat(to)?.kind == Kind::Directory {
        return Err(Failure::Usage(format!("{to} is a directory")));
    }
    Ok(connection.copy_over(from, to)?)
}
