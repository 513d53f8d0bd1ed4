//! `tf sha256`.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::names::shown;
use crate::cli::output::print;
use crate::cli::place::Remote;

/// Show SHA-256 digests, made by the server, as sha256sum prints them
#[derive(Args)]
pub(crate) struct Sha256 {
    /// The remote files
    #[arg(required = true)]
    paths: Vec<Remote>,
}

impl Sha256 {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for Remote { server, path } in &self.paths {
            let digest = context.connection(server)?.sha256(path)?;
            print([format!("{digest}  {}", shown(path.as_bytes()))])?;
        }
        Ok(())
    }
}
