//! `tf chown`.

use clap::Args;

use super::tree::with_all_in_it;
use crate::cli::complete::Names;
use crate::cli::context::Context;
use crate::cli::expand::for_each_path;
use crate::cli::failure::{Failure, Result};
use crate::cli::place::RemoteArg;
use crate::client::owner_request;

/// Set owner and group
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf chown ann:staff report.pdf\n  tf chown -R ann:staff reports"
)]
pub(crate) struct Chown {
    /// All in directories, too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// User and group of the server, by name or number
    #[arg(value_name = "USER:GROUP")]
    owner: String,
    /// Remote paths or patterns
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Chown {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let both = self
            .owner
            .split_once(':')
            .filter(|(user, group)| !user.is_empty() && !group.is_empty());
        let Some((user, group)) = both else {
            let text = format!("{}: the protocol sets both, write USER:GROUP", self.owner);
            return Err(Failure::Usage(text));
        };
        for_each_path(context, &self.paths, |connection, path| {
            if !self.recursive {
                return Ok(connection.change_owner(path, user, group)?);
            }
            with_all_in_it(connection, path, |path, _| owner_request(path, user, group))
        })
    }
}
