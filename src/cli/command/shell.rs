//! `tf shell`, which `tf SERVER` stands for.

use std::path::PathBuf;

use super::prelude::*;

/// Open a shell on a server: all commands, over one session
#[derive(Args)]
#[command(after_help = "\
Examples:
  tf files                        as tf shell files
  tf shell files:reports
  tf shell -b nightly.tf files
  echo 'put may.pdf' | tf shell files:reports")]
pub(crate) struct Shell {
    /// Run the commands in this file, - for standard input; stop at the first
    /// that fails
    #[arg(short, long, value_name = "FILE")]
    pub(crate) batch: Option<PathBuf>,
    /// Continue after a command that failed
    #[arg(short, long)]
    pub(crate) keep_going: bool,
    /// NAME, NAME:path, HOST:PORT or tf://HOST:PORT/path [default: the default
    /// server]
    #[arg(value_name = "SERVER", add = Names::Server)]
    pub(crate) place: Option<String>,
}

impl Shell {
    /// A shell does not open another.
    pub(super) fn run(self, _: &mut Context) -> Result<()> {
        Err(Failure::usage("this is already a shell: use cd"))
    }
}
