//! `tf cat`.

use std::io::{self, Write};

use clap::Args;

use crate::cli::complete::remote_paths;
use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::output::output_error;
use crate::cli::place::Remote;

/// Write files to standard output
#[derive(Args)]
pub(crate) struct Cat {
    /// The remote files
    #[arg(required = true, add = remote_paths())]
    paths: Vec<Remote>,
}

impl Cat {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        self.paths.iter().try_for_each(|path| to_standard_output(context, path))
    }
}

/// Writes one file to standard output.
///
/// # Errors
/// The server's refusal, a local failure, or the connection is lost.
pub(super) fn to_standard_output(context: &mut Context, remote: &Remote) -> Result<()> {
    let mut out = io::stdout().lock();
    context.connection(&remote.server)?.download_to(&remote.path, &mut out, &mut |_| {})?;
    Ok(out.flush().map_err(output_error)?)
}
