//! `tf mv`.

use clap::Args;

use crate::cli::complete::Names;
use crate::cli::context::Context;
use crate::cli::expand::is_root;
use crate::cli::failure::{Failure, Result};
use crate::cli::place::RemoteArg;
use crate::cli::targets::Targets;
use crate::client::ClientError;
use crate::tf::status::Status;

/// Rename, or move into a directory
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf mv may.pdf june.pdf\n  tf mv -n 'incoming/*.pdf' files:reports/"
)]
pub(crate) struct Mv {
    /// Replace nothing
    #[arg(short, long)]
    no_clobber: bool,
    /// The old paths or patterns, and the new path or a directory
    #[arg(required = true, num_args = 2.., add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Mv {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        Targets::of(context, &self.paths)?.for_each(|connection, from, to| {
            if is_root(from) {
                return Err(Failure::Usage(
                    "the server's root stays where it is".to_owned(),
                ));
            }
            if self.no_clobber && connection.stat(to).is_ok() {
                let request = format!("mv {from} {to}");
                return Err(ClientError::Refused {
                    request,
                    status: Status::FileExists,
                }
                .into());
            }
            Ok(connection.rename(from, to)?)
        })
    }
}
