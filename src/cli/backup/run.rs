//! `tf backup PATH...`: a snapshot at every keeper.

use std::ffi::OsStr;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::browse::{Export, Find, Ls};
use super::init::{Init, Recover};
use super::keepers::{AddKeeper, RemoveKeeper};
use super::progress::follow;
use super::units::{Every, save_timer};
use super::{Context, Exit, Record, Result, report, report_notes};
use crate::backup::{Access, BackupError, Keepers, Made, Meter, Plan, Repository, Seed, local};
use crate::cli::output::complain;
use crate::text::human_size;

/// Save files and directories in a new snapshot
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  tf backup ~/photos ~/doc\n  tf backup / -x --exclude /proc --exclude '*.cache' --tag weekly\n  \
                  tf backup ./init                a path that is named as a command is\n  \
                  tf backup --every day ~/doc     make a timer of systemd's that does it"
)]
pub(super) struct Backup {
    #[command(subcommand)]
    action: Option<Action>,
    /// What to save
    #[arg(value_name = "PATH", required = true, value_hint = clap::ValueHint::AnyPath)]
    paths: Vec<PathBuf>,
    /// Leave out what has this name, with * and ?; with a slash in front a whole path
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// A file with such patterns, one a line; lines with # in front are comments
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    exclude_file: Vec<PathBuf>,
    /// Give the snapshot a tag
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// The name of this machine in the snapshot
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Stay in the filesystems of the paths
    #[arg(short = 'x', long)]
    one_file_system: bool,
    /// Read files that look unchanged, too
    #[arg(long)]
    force: bool,
    /// Make no snapshot now, but a timer of your systemd that makes one so often
    #[arg(long, value_name = "WHEN")]
    every: Option<Every>,
}

#[derive(Subcommand)]
enum Action {
    Init(Init),
    Recover(Recover),
    AddKeeper(AddKeeper),
    RemoveKeeper(RemoveKeeper),
    Ls(Ls),
    Find(Find),
    Export(Export),
}

impl Backup {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        match self.action {
            Some(Action::Init(it)) => return it.run(context),
            Some(Action::Recover(it)) => return it.run(context),
            Some(Action::AddKeeper(it)) => return it.run(context),
            Some(Action::RemoveKeeper(it)) => return it.run(context),
            Some(Action::Ls(it)) => return it.run(context),
            Some(Action::Find(it)) => return it.run(context),
            Some(Action::Export(it)) => return it.run(context),
            None => {}
        }
        if let Some(every) = self.every {
            self.make_timer(context, every)?;
            return Ok(Exit::Done);
        }
        let mut exclude = self.exclude;
        for file in &self.exclude_file {
            exclude.extend(patterns(file)?);
        }
        let (keepers, seed) = context.open()?;
        let plan = Plan {
            paths: self.paths,
            exclude,
            tags: self.tag,
            host: self.host,
            one_file_system: self.one_file_system,
            force: self.force,
        };
        let repository = open(&keepers, &seed)?;
        bring_up_to_date(&keepers, &repository)?;
        let locks = Context::lock(&keepers, Access::Add)?;
        let meter = Arc::new(Meter::default());
        let bar = follow(&meter, &keepers, context.quiet);
        let made = repository.backup(&plan, &meter);
        bar.finish_and_clear();
        let made = made.and_then(|made| locks.finish().map(|()| made));
        report_notes(&keepers);
        let made = made?;
        report(&made.left_out, "left out");
        for warning in &made.warnings {
            complain!("tf: {warning}");
        }
        context.show(&Record::Backup(&made), || sentence(&made))?;
        Ok(if !made.left_out.is_empty() || !made.warnings.is_empty() {
            Exit::Incomplete
        } else if keepers.has_fewer_copies() {
            Exit::FewerCopies
        } else {
            Exit::Done
        })
    }

    /// A timer that does the same, wherever it is started.
    fn make_timer(&self, context: &Context, every: Every) -> Result<()> {
        let (key, file) = context.key()?;
        let passphrase = context.secrets.file();
        if file.has_passphrase() && passphrase.is_none() {
            let text = format!(
                "{}: its passphrase can't be asked for by a timer: --passphrase-file FILE",
                key.display()
            );
            return Err(BackupError::Failed(text));
        }
        let whole = |path: &Path| absolute(path).map_err(local(path));
        let key = whole(&key)?;
        let passphrase = passphrase.map(whole).transpose()?;
        let files = self.exclude_file.iter().map(|it| whole(it));
        let files = files.collect::<Result<Vec<PathBuf>>>()?;
        let paths = self.paths.iter().map(|it| {
            it.symlink_metadata().map_err(local(it))?;
            whole(it)
        });
        let paths = paths.collect::<Result<Vec<PathBuf>>>()?;
        let mut words = vec![OsStr::new("--quiet"), OsStr::new("--key"), key.as_os_str()];
        let mut add = |option, value| words.extend([OsStr::new(option), value]);
        if let Some(file) = &passphrase {
            add("--passphrase-file", file.as_os_str());
        }
        words.push(OsStr::new("backup"));
        let mut add = |option, value| words.extend([OsStr::new(option), value]);
        self.exclude
            .iter()
            .for_each(|it| add("--exclude", it.as_ref()));
        files
            .iter()
            .for_each(|it| add("--exclude-file", it.as_ref()));
        self.tag.iter().for_each(|it| add("--tag", it.as_ref()));
        self.host.iter().for_each(|it| add("--host", it.as_ref()));
        let flags = [
            (self.one_file_system, "--one-file-system"),
            (self.force, "--force"),
        ];
        let flags = flags.iter().filter(|(is_set, _)| *is_set);
        words.extend(flags.map(|(_, flag)| OsStr::new(flag)));
        words.push(OsStr::new("--"));
        words.extend(paths.iter().map(|it| it.as_os_str()));
        save_timer(context, every, &words)
    }
}

/// The repository, which the first backup to a hub makes.
fn open(keepers: &Arc<Keepers>, seed: &Seed) -> Result<Repository> {
    if keepers.is_new()? {
        let locks = Context::lock(keepers, Access::Add)?;
        if keepers.is_new()? {
            Repository::create(Arc::clone(keepers), seed)?;
        }
        locks.finish()?;
    }
    Repository::open(Arc::clone(keepers), seed)
}

/// The patterns of a file.
pub(super) fn patterns(file: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file).map_err(local(file))?;
    let lines = text.lines().map(str::trim_end);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// What runs that were cut and keepers that were away make necessary, unless another
/// run is adding files: then that one has done it.
fn bring_up_to_date(keepers: &Keepers, repository: &Repository) -> Result<()> {
    let Some(locks) = keepers.lock(Access::Remove)? else {
        return Ok(());
    };
    keepers.sweep();
    let copied = keepers.fill();
    report_notes(keepers);
    if copied > 0 {
        complain!("tf: {copied} files copied to keepers that lacked them");
    }
    for line in repository.repair_index()? {
        complain!("tf: {line}");
    }
    locks.finish()
}

fn sentence(made: &Made) -> String {
    format!(
        "snapshot {}: {} new files, {} changed, {} unchanged; {} added",
        &made.snapshot.id[..8],
        made.new,
        made.changed,
        made.unchanged,
        human_size(made.added)
    )
}
