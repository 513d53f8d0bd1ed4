//! `tf backup`, so far what comes before the first run.

use clap::{Args, Subcommand};

use super::init::{Init, Recover};
use super::{Context, Exit, Result};

/// Keep copies of files on disks
#[derive(Args)]
pub(super) struct Backup {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Init(Init),
    Recover(Recover),
}

impl Backup {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        match self.action {
            Action::Init(it) => it.run(context),
            Action::Recover(it) => it.run(context),
        }
    }
}
