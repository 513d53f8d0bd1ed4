//! `tf backup add-keeper` and `tf backup remove-keeper`: one copy more, and one less.

use std::path::{PathBuf, absolute};

use clap::Args;

use super::init::made;
use super::{Context, Exit, Result, report_notes};
use crate::backup::{Access, BackupError, Keepers, local};
use crate::cli::output::complain;

/// Let a directory keep one more copy, or again one after its disk was lost
#[derive(Args)]
#[command(after_help = "Example:\n  tf backup add-keeper /mnt/disk3")]
pub(super) struct AddKeeper {
    /// The directory
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    keeper: PathBuf,
}

impl AddKeeper {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let keeper = absolute(&self.keeper).map_err(local(&self.keeper))?;
        let (key, mut file) = context.key()?;
        let seed = file.open(|| context.secrets.passphrase(&key))?;
        // Those that have all of it, before there is one that has nothing.
        let others = Keepers::open(&file.keepers, &seed)?;
        let _locks = Context::lock(&others, Access::Remove)?;
        Keepers::create(std::slice::from_ref(&keeper), &seed)?;
        if !file.keepers.contains(&keeper) {
            file.keepers.push(keeper);
            file.replace(&key)?;
        }
        let keepers = context.keepers(&file, &seed)?;
        let copied = keepers.fill();
        report_notes(&keepers);
        complain!("tf: {copied} files copied");
        made(context, &key, &file.keepers)?;
        Ok(match keepers.has_fewer_copies() {
            true => Exit::FewerCopies,
            false => Exit::Done,
        })
    }
}

/// Do without the copy in a directory from now on; what is there stays
#[derive(Args)]
#[command(after_help = "Example:\n  tf backup remove-keeper /mnt/disk1")]
pub(super) struct RemoveKeeper {
    /// The directory
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    keeper: PathBuf,
}

impl RemoveKeeper {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let keeper = absolute(&self.keeper).map_err(local(&self.keeper))?;
        let failed = |why: &str| BackupError::Failed(format!("{}: {why}", keeper.display()));
        let (key, mut file) = context.key()?;
        let seed = file.open(|| context.secrets.passphrase(&key))?;
        if !file.keepers.contains(&keeper) {
            let names: Vec<_> = file.keepers.iter().map(|it| it.to_string_lossy()).collect();
            let why = format!("not a keeper of this backup; they are {}", names.join(", "));
            return Err(failed(&why));
        }
        let all = Keepers::open(&file.keepers, &seed)?;
        let _locks = Context::lock(&all, Access::Remove)?;
        file.keepers.retain(|it| *it != keeper);
        if Keepers::open(&file.keepers, &seed).is_err() {
            return Err(failed(
                "no other keeper has this backup: tf backup add-keeper first",
            ));
        }
        // What it alone has, the others get first.
        all.fill();
        report_notes(&all);
        file.replace(&key)?;
        made(context, &key, &file.keepers)
    }
}
