//! `tf stat`.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::names::shown;
use crate::cli::output::{print, time};
use crate::client::{Kind, Result};

/// Show kind, size and times
#[derive(Args)]
pub(crate) struct Stat {
    /// The remote paths
    #[arg(required = true)]
    paths: Vec<String>,
}

impl Stat {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let connection = context.connection()?;
        let mut lines = Vec::new();
        for path in &self.paths {
            let stat = connection.stat(path)?;
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
        print(lines)
    }
}
