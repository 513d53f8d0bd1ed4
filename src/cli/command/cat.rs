//! `tf cat`.

use std::io::{self, Write};

use clap::Args;

use crate::cli::complete::Names;
use crate::cli::context::Context;
use crate::cli::expand::expand;
use crate::cli::failure::{Result, for_each};
use crate::cli::output::{complain, output_error};
use crate::cli::place::{Remote, RemoteArg};
use crate::cli::progress::retry_line;
use crate::client::{Event, Observer, Options, Transfers};

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
    let transfers = Transfers::new(&access, options, &Quiet).with(open);
    let ended = transfers.get_to(&remote.path, &mut out);
    context.put_back(&remote.server, transfers.into_connection())?;
    ended?;
    Ok(out.flush().map_err(output_error)?)
}

/// Reports lost connections alone.
struct Quiet;

impl Observer for Quiet {
    fn tell(&self, event: &Event<'_>) {
        if let Event::Retrying {
            attempt,
            attempts,
            wait,
            error,
        } = event
        {
            complain!("{}", retry_line(error, *attempt, *attempts, *wait));
        }
    }
}
