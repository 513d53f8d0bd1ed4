//! `tf forget`, `tf tag`, `tf prune`, `tf check` and `tf repair`.

use std::sync::Arc;

use clap::{Args, Subcommand};
use jiff::Span;

use super::{Context, Exit, Opened, Record, Result, report_notes};
use crate::backup::{Access, BackupError, Checked, Forgetting, Keep, Keepers, Pruned, Repository};
use crate::cli::output::{complain, local_time};
use crate::text::human_size;

/// Forget snapshots, by name or by rules of what to keep
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf forget --keep-daily 7 --keep-weekly 5 --keep-yearly 3 --prune\n  tf forget 3f2a91c0\n\n\
                  The rules hold for each machine and its paths alone, as restic's do."
)]
pub(super) struct Forget {
    /// The first digits of a snapshot's id
    #[arg(value_name = "SNAPSHOT", conflicts_with = "Rules")]
    snapshots: Vec<String>,
    #[command(flatten)]
    rules: Rules,
    /// Say what would be forgotten, and forget nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Remove what is needed no more at once
    #[arg(long)]
    prune: bool,
    /// Forget more than half of all
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
struct Rules {
    /// Keep the newest
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// Keep the last of each of so many hours that have one
    #[arg(long, value_name = "N")]
    keep_hourly: Option<u32>,
    /// ... days
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// ... weeks
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,
    /// ... months
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,
    /// ... years
    #[arg(long, value_name = "N")]
    keep_yearly: Option<u32>,
    /// Keep what is at most so much older than the newest: 3d, 2w or 6mo
    #[arg(long, value_name = "SPAN")]
    keep_within: Option<Span>,
    /// Keep what has this tag
    #[arg(long, value_name = "TAG")]
    keep_tag: Vec<String>,
}

impl Rules {
    fn keep(&self) -> Result<Keep> {
        let numbers = [
            self.keep_last,
            self.keep_hourly,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_yearly,
        ];
        let is_any = numbers.iter().any(Option::is_some);
        if !is_any && self.keep_within.is_none() && self.keep_tag.is_empty() {
            let text = "name snapshots to forget, or say which to keep: --keep-daily 7";
            return Err(BackupError::Failed(text.to_owned()));
        }
        Ok(Keep {
            last: self.keep_last,
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            within: self.keep_within,
            tags: self.keep_tag.clone(),
        })
    }
}

impl Forget {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let (keepers, locks, repository) = open_alone(context)?;
        let found = match self.snapshots.is_empty() {
            true => repository.apply(&self.rules.keep()?)?,
            false => repository.forgetting(&self.snapshots)?,
        };
        let Forgetting { kept, forgotten } = &found;
        if !self.dry_run && !self.yes && forgotten.len() > kept.len() {
            let text = format!(
                "this forgets {} of {} snapshots: --yes if that is meant",
                forgotten.len(),
                kept.len() + forgotten.len()
            );
            return Err(BackupError::Failed(text));
        }
        if !self.dry_run {
            keepers.may_remove()?;
            repository.forget(forgotten)?;
        }
        context.show(&Record::Forget(&found), || sentence(&found, self.dry_run))?;
        if self.prune && !self.dry_run {
            let pruned = repository.prune(MAX_UNUSED);
            report_notes(&keepers);
            let pruned = pruned?;
            context.show(&Record::Prune(&pruned), || pruned_sentence(&pruned))?;
        }
        let finished = locks.finish();
        report_notes(&keepers);
        finished?;
        Ok(exit(&keepers))
    }
}

/// How a command that has removed something ends.
pub(super) fn exit(keepers: &Keepers) -> Exit {
    match keepers.has_fewer_copies() {
        true => Exit::FewerCopies,
        false => Exit::Done,
    }
}

fn sentence(found: &Forgetting, dry_run: bool) -> String {
    let mut text = String::new();
    for snapshot in &found.forgotten {
        let time = local_time(snapshot.seconds);
        text.push_str(&format!("{}  {time}\n", &snapshot.id[..8]));
    }
    let would = if dry_run { "would be " } else { "" };
    let (kept, forgotten) = (found.kept.len(), found.forgotten.len());
    format!("{text}{forgotten} snapshots {would}forgotten, {kept} kept")
}

/// Give snapshots tags, or take some from them
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf tag --add before-move latest\n  tf tag --remove weekly 3f2a91c0 41bc09aa\n\n\
                        A snapshot with other tags has another id."
)]
pub(super) struct Tag {
    /// The snapshots
    #[arg(value_name = "SNAPSHOT", required = true)]
    snapshots: Vec<String>,
    /// A tag that they get
    #[arg(long, value_name = "TAG", required_unless_present = "remove")]
    add: Vec<String>,
    /// A tag that they lose
    #[arg(long, value_name = "TAG")]
    remove: Vec<String>,
}

impl Tag {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let (keepers, locks, repository) = open_alone(context)?;
        keepers.may_remove()?;
        let changed = repository.tag(&self.snapshots, &self.add, &self.remove);
        let changed = changed.and_then(|changed| locks.finish().map(|()| changed));
        report_notes(&keepers);
        let changed = changed?;
        context.show(&Record::Tag { changed }, || {
            format!("{changed} snapshots have other tags")
        })?;
        Ok(exit(&keepers))
    }
}

/// Unused bytes that a prune leaves where they are.
const MAX_UNUSED: &str = "5%";

/// Remove what no snapshot needs
#[derive(Args)]
#[command(after_help = "Example:\n  tf prune\n\n\
                        What is removed stays in the keepers' trash for 7 days.")]
pub(super) struct Prune {
    /// Leave so much unused: a size or N%
    #[arg(long, value_name = "LIMIT", default_value = MAX_UNUSED)]
    max_unused: String,
}

impl Prune {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let (keepers, locks, repository) = open_alone(context)?;
        keepers.may_remove()?;
        // A run that was killed may have left packs that no index names.
        repository.repair_index()?;
        let pruned = repository.prune(&self.max_unused);
        let pruned = pruned.and_then(|pruned| locks.finish().map(|()| pruned));
        report_notes(&keepers);
        let pruned = pruned?;
        context.show(&Record::Prune(&pruned), || pruned_sentence(&pruned))?;
        Ok(exit(&keepers))
    }
}

fn pruned_sentence(pruned: &Pruned) -> String {
    format!(
        "{} into the trash, {} kept; {} left the trash",
        human_size(pruned.removed),
        human_size(pruned.kept),
        human_size(pruned.emptied)
    )
}

/// The repository while no other run is at it. What a keeper that is not there has
/// would come back from it.
pub(super) fn open_alone(context: &Context) -> Result<Opened> {
    let (keepers, seed) = context.open()?;
    if let Some(path) = keepers.absent().first() {
        let text = format!(
            "{}: not there, and what is removed elsewhere would come back from it: mount it first, or \
             tf backup remove-keeper if it is lost for good",
            path.display()
        );
        return Err(BackupError::Failed(text));
    }
    let locks = Context::lock(&keepers, Access::Remove)?;
    let repository = Repository::open(Arc::clone(&keepers), &seed)?;
    Ok((keepers, locks, repository))
}

/// Look whether every copy is there and whole
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf check\n  tf check --read-data\n  tf check --read-data-subset 5%"
)]
pub(super) struct Check {
    /// Read every copy of every file, and open what is in it
    #[arg(long)]
    read_data: bool,
    /// Open so much of it only: N%, a size, or n/m for the nth of m parts
    #[arg(long, value_name = "PART", conflicts_with = "read_data")]
    read_data_subset: Option<String>,
}

impl Check {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let (keepers, _locks, repository) = context.open_to_read()?;
        let subset = match self.read_data {
            true => Some("all"),
            false => self.read_data_subset.as_deref(),
        };
        let checked = repository.check(self.read_data, subset)?;
        report_notes(&keepers);
        for error in &checked.errors {
            complain!("tf: {error}");
        }
        context.show(&Record::Check(&checked), || check_sentence(&checked))?;
        Ok(match checked.errors.is_empty() {
            true => exit(&keepers),
            false => Exit::Failed,
        })
    }
}

fn check_sentence(checked: &Checked) -> String {
    let errors = checked.errors.len();
    format!("{} copies replaced; {errors} errors", checked.replaced)
}

/// Mend what no copy can mend
#[derive(Args)]
#[command(after_help = "Examples:\n  tf repair index\n  tf repair snapshots")]
pub(super) struct Repair {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make the index fit the packs that are there; each backup does it, too
    Index,
    /// Take what is lost out of the snapshots, and tag those it changes: repaired
    Snapshots,
}

impl Repair {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let (keepers, locks, repository) = open_alone(context)?;
        let mut changes = repository.repair_index()?;
        let mut whole = "the index names what is there";
        if matches!(self.what, What::Snapshots) {
            changes.extend(repository.repair_snapshots()?);
            whole = "the snapshots name what is there";
        }
        let finished = locks.finish();
        report_notes(&keepers);
        finished?;
        for line in &changes {
            complain!("tf: {line}");
        }
        context.show(&Record::Repair { changes }, || whole.to_owned())?;
        Ok(exit(&keepers))
    }
}
