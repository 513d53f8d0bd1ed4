//! `tf cat`.

use std::io::{self, Write};

use super::prelude::*;
use crate::cli::output::{OutputOptions, output_error};
use crate::cli::place::Remote;
use crate::cli::progress::Board;
use crate::client::{Options, Transfers};

/// Write files to standard output
#[derive(Args)]
#[command(after_help = "Example:\n  tf cat reports/notes.txt | less")]
pub(crate) struct Cat {
    /// Remote files or patterns
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Cat {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let options = Options::default();
        for_each(&self.paths, |written| {
            let paths = expand(context, written)?;
            for_each(&paths, |path| to_standard_output(context, path, &options))
        })
    }
}

/// Writes one file to standard output. A lost connection is opened again.
pub(super) fn to_standard_output(
    context: &mut Context,
    remote: &Remote,
    options: &Options,
) -> Result<()> {
    let access = context.access(&remote.server)?.clone();
    let open = context.take(&remote.server)?;
    let mut out = io::stdout().lock();
    // Only lost connections are reported.
    let output = OutputOptions {
        quiet: true,
        json: false,
    };
    let board = Board::new(&output);
    let transfers = Transfers::new(&access, options, &board).with(open);
    let ended = transfers.get_to(&remote.path, &mut out);
    context.put_back(&remote.server, transfers.into_connection())?;
    ended?;
    Ok(out.flush().map_err(output_error)?)
}
