//! `tf mv`.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::place::{Remote, beneath};
use crate::client::Kind;

/// Rename, or move into a directory
#[derive(Args)]
pub(crate) struct Mv {
    /// The old path
    from: Remote,
    /// The new path, or a directory
    to: Remote,
}

impl Mv {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let Mv { from, to } = self;
        if from.server != to.server {
            return Err(Failure::Usage("both must be on one server: use get and put".to_owned()));
        }
        let connection = context.connection(&from.server)?;
        let target = match connection.stat(&to.path) {
            Ok(stat) if stat.kind == Kind::Directory => beneath(&to.path, from.name()),
            _ => to.path,
        };
        Ok(connection.rename(&from.path, &target)?)
    }
}
