//! `tf sha256`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::Exit;
use crate::cli::complete::Names;
use crate::cli::context::Context;
use crate::cli::expand::for_each_path;
use crate::cli::failure::{Failure, Result, for_each};
use crate::cli::output::{Printer, Record};
use crate::cli::place::RemoteArg;
use crate::cli::sums::{self, Sum};
use crate::text::shown;

/// Show SHA-256 digests, made by the server, as sha256sum prints them
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf sha256 'reports/*.pdf' > SUMS\n  tf sha256 -c SUMS\n  \
                  sha256sum *.pdf | tf sha256 -c -"
)]
pub(crate) struct Sha256 {
    /// Read digests and names from a file, - for standard input, and check them
    #[arg(short, long, value_name = "FILE", conflicts_with = "paths")]
    check: Option<PathBuf>,
    /// Remote files or patterns
    #[arg(required_unless_present = "check", add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Sha256 {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let mut printer = Printer::new(context.output.json);
        let done = match &self.check {
            Some(file) => check(context, &mut printer, &sums::read(file)?),
            None => for_each_path(context, &self.paths, |connection, path| {
                let sha256 = connection.sha256(path)?;
                let record = Record::Digest {
                    path,
                    sha256: &sha256,
                };
                Ok(printer.show(&record, || sums::line(&sha256, path))?)
            }),
        };
        printer.flush()?;
        done
    }
}

fn check(context: &mut Context, printer: &mut Printer, sums: &[Sum]) -> Result<()> {
    for_each(sums, |Sum { digest, name }| {
        let remote: RemoteArg = name
            .parse()
            .map_err(|e| Failure::Usage(format!("{name}: {e}")))?;
        let remote = context.resolve(&remote)?;
        let found = context.connection(&remote.server)?.sha256(&remote.path)?;
        let fits = found == *digest;
        let verdict = if fits { "OK" } else { "FAILED" };
        let record = Record::Check { path: name, fits };
        printer.show(&record, || format!("{}: {verdict}", shown(name.as_bytes())))?;
        match fits {
            true => Ok(()),
            false => Err(Failure::Told(Exit::Mismatch)),
        }
    })
}
