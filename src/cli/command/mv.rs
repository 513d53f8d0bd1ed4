//! `tf mv`.

use clap::Args;

use crate::cli::context::Context;
use crate::client::{Kind, Result};

/// Rename, or move into a directory
#[derive(Args)]
pub(crate) struct Mv {
    /// The old path
    from: String,
    /// The new path, or a directory
    to: String,
}

impl Mv {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let Mv { from, to } = self;
        let connection = context.connection()?;
        let name = from.trim_end_matches('/').rsplit('/').next().unwrap_or(&from);
        let target = match connection.stat(&to) {
            Ok(stat) if stat.kind == Kind::Directory => {
                format!("{}/{name}", to.trim_end_matches('/'))
            }
            _ => to,
        };
        connection.rename(&from, &target)
    }
}
