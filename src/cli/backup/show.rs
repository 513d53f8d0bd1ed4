//! `tf snapshots`, `tf stats` and `tf restore`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::progress::follow;
use super::{Context, Exit, Record, Result, report, report_notes};
use crate::backup::{BackupError, Meter, Repository, Restored, Snapshot, Stats as Stored};
use crate::cli::output::{Printer, local_time};
use crate::text::{columns, human_size, shown};

/// List the snapshots
#[derive(Args)]
#[command(after_help = "Example:\n  tf snapshots")]
pub(super) struct Snapshots {}

impl Snapshots {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let (keepers, seed) = context.open()?;
        let snapshots = Repository::open(Arc::clone(&keepers), &seed)?.snapshots()?;
        report_notes(&keepers);
        if context.json {
            for snapshot in &snapshots {
                context.show(&Record::Snapshot(snapshot), String::new)?;
            }
            return Ok(Exit::Done);
        }
        let rows: Vec<[String; 6]> = snapshots.iter().map(row).collect();
        let mut printer = Printer::new(false);
        printer
            .bytes(columns(&rows).as_bytes())
            .and_then(|()| printer.flush())
            .map_err(|e| BackupError::Failed(e.to_string()))?;
        Ok(Exit::Done)
    }
}

fn row(snapshot: &Snapshot) -> [String; 6] {
    let listed = |texts: &[String]| shown(texts.join(" ").as_bytes());
    [
        snapshot.id[..8].to_owned(),
        local_time(snapshot.seconds),
        shown(snapshot.host.as_bytes()),
        human_size(snapshot.bytes),
        listed(&snapshot.paths),
        listed(&snapshot.tags),
    ]
}

/// Show how much is stored, and how much of it once for many snapshots
#[derive(Args)]
#[command(after_help = "Example:\n  tf stats")]
pub(super) struct Stats {}

impl Stats {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let (keepers, _locks, repository) = context.open_to_read()?;
        let stats = repository.stats();
        report_notes(&keepers);
        let stats = stats?;
        context.show(&Record::Stats(&stats), || summary(&stats))?;
        Ok(Exit::Done)
    }
}

fn summary(it: &Stored) -> String {
    format!(
        "{} snapshots, {} in all; {} different in {} chunks; {} stored in {} files, each copy",
        it.snapshots,
        human_size(it.restored),
        human_size(it.bytes),
        it.chunks,
        human_size(it.stored),
        it.files
    )
}

/// Bring back a snapshot, or a part of one
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf restore latest --target restored\n  tf restore latest:/home/anna/doc --target doc\n  \
                  tf restore 3f2a91c0 --target /\n\nFiles that have their size and their time already stay as they are, so a restore\n\
                  that was cut continues."
)]
pub(super) struct Restore {
    /// The snapshot: the first digits of its id, latest, or latest~N for an earlier
    /// one; with :PATH what is beneath that path in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    what: String,
    /// The directory to write into
    #[arg(short, long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    target: PathBuf,
}

impl Restore {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let (keepers, _locks, repository) = context.open_to_read()?;
        let meter = Arc::new(Meter::default());
        let bar = follow(&meter, &keepers, context.quiet);
        let restored = repository.restore(&self.what, &self.target, &meter);
        bar.finish_and_clear();
        report_notes(&keepers);
        let restored = restored?;
        report(&restored.lost, "lost");
        context.show(&Record::Restore(&restored), || sentence(&restored))?;
        Ok(match restored.lost.is_empty() {
            true => Exit::Done,
            false => Exit::Incomplete,
        })
    }
}

fn sentence(restored: &Restored) -> String {
    format!(
        "{} entries restored, {} of them there already; {} written; {} lost",
        restored.entries,
        restored.unchanged,
        human_size(restored.bytes),
        restored.lost.len()
    )
}
