//! `tf rewrite`: snapshots without what should never have been in them.

use std::path::PathBuf;

use clap::Args;

use super::keep::{exit, open_alone};
use super::run::patterns;
use super::{Context, Exit, Record, Result, report_notes};
use crate::backup::{Rewriting, Rewritten};
use crate::cli::output::local_time;

/// Make snapshots again without files that should not be in them
#[derive(Args)]
#[command(after_help = "Examples:\n  tf rewrite --exclude '*.iso' --dry-run\n  \
                        tf rewrite --exclude /home/anna/secret --forget && tf prune\n\n\
                        A snapshot that is made again has another id, and the tag rewrite where \
                        the old one stays.")]
pub(super) struct Rewrite {
    /// The snapshots [default: all]
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    /// Leave out what has this name, with * and ?; with a slash in front a whole path
    #[arg(
        short,
        long,
        value_name = "PATTERN",
        required_unless_present = "exclude_file"
    )]
    exclude: Vec<String>,
    /// A file with such patterns, one a line; lines with # in front are comments
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    exclude_file: Vec<PathBuf>,
    /// Forget the snapshots that are made again
    #[arg(long)]
    forget: bool,
    /// Say which snapshots would be made again, and make none
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Rewrite {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let mut exclude = self.exclude;
        for file in &self.exclude_file {
            exclude.extend(patterns(file)?);
        }
        let rewriting = Rewriting {
            snapshots: self.snapshots,
            exclude,
            forget: self.forget,
            dry_run: self.dry_run,
        };
        let (keepers, locks, repository) = open_alone(context)?;
        if rewriting.forget && !rewriting.dry_run {
            keepers.may_remove()?;
        }
        let rewritten = repository.rewrite(&rewriting);
        let rewritten = rewritten.and_then(|it| locks.finish().map(|()| it));
        report_notes(&keepers);
        let rewritten = rewritten?;
        context.show(&Record::Rewrite(&rewritten), || {
            sentence(&rewritten, &rewriting)
        })?;
        Ok(exit(&keepers))
    }
}

fn sentence(rewritten: &Rewritten, rewriting: &Rewriting) -> String {
    let mut text = String::new();
    for snapshot in &rewritten.changed {
        let time = local_time(snapshot.seconds);
        text.push_str(&format!("{}  {time}\n", &snapshot.id[..8]));
    }
    let number = rewritten.changed.len();
    let (would, old) = match (rewriting.dry_run, rewriting.forget) {
        (true, _) => ("would be ", ""),
        (false, true) => ("", "; tf prune removes what they alone needed"),
        (false, false) => ("", "; the old ones stay: --forget removes them"),
    };
    let old = if number == 0 { "" } else { old };
    let unchanged = rewritten.unchanged;
    format!("{text}{number} snapshots {would}made again, {unchanged} have nothing of it{old}")
}
