//! `tf stat`.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::names::shown;
use crate::cli::output::{print, time};
use crate::cli::place::Remote;
use crate::client::Kind;

/// Show kind, size and times
#[derive(Args)]
pub(crate) struct Stat {
    /// The remote paths
    #[arg(required = true)]
    paths: Vec<Remote>,
}

impl Stat {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let mut lines = Vec::new();
        for Remote { server, path } in &self.paths {
            let stat = context.connection(server)?.stat(path)?;
            let kind = match stat.kind {
                Kind::File => "file",
                Kind::Directory => "directory",
                Kind::Other => "special",
            };
            lines.push(format!(
                "{}: {kind}, {} bytes, changed {}, read {}",
                shown(path.as_bytes()),
                stat.size,
                time(stat.modified),
                time(stat.accessed),
            ));
        }
        Ok(print(lines)?)
    }
}
