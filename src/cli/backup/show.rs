//! `tf snapshots`.

use std::sync::Arc;

use clap::Args;

use super::{Context, Exit, Record, Result, report_notes};
use crate::backup::{BackupError, Repository, Snapshot};
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
