//! `tf backup ls`, `find` and `export`, and `tf dump`.

use std::io::{BufWriter, stdout};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Context, Exit, Result, report, report_notes};
use crate::backup::{Access, BackupError, Change, Entry, LeftOut, Snapshot, export};
use crate::cli::output::{Printer, local_time};
use crate::cli::secrets::first_line;
use crate::client::ClientError;
use crate::text::shown;

/// One line of JSON.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Record<'a> {
    Entry(&'a Entry),
    Change(&'a Change),
    Found { snapshot: &'a str, entry: &'a Entry },
    Export { directory: String, files: u64 },
}

/// List what is in a snapshot
#[derive(Args)]
#[command(after_help = "Examples:\n  tf backup ls latest\n  tf backup ls 3f2a91c0:/home/anna/doc")]
pub(super) struct Ls {
    /// The snapshot, with :PATH what is beneath that path
    #[arg(value_name = "SNAPSHOT[:PATH]", default_value = "latest")]
    what: String,
}

impl Ls {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let (keepers, _locks, repository) = context.open_to_read()?;
        let mut out = Lines::new(context);
        let lost = repository.list(&self.what, |entry| {
            out.show(&Record::Entry(entry), || line(entry));
        })?;
        out.end()?;
        report_notes(&keepers);
        Ok(exit(&lost))
    }
}

/// Find entries by their names, in all snapshots
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf backup find '*.odt'\n  tf backup find --snapshot latest letter.txt"
)]
pub(super) struct Find {
    /// The name, with * and ?
    #[arg(value_name = "PATTERN")]
    pattern: String,
    /// Look in this snapshot only
    #[arg(long, value_name = "SNAPSHOT")]
    snapshot: Option<String>,
}

impl Find {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let (keepers, _locks, repository) = context.open_to_read()?;
        let mut out = Lines::new(context);
        let each = |snapshot: &Snapshot, entry: &Entry| {
            let found = Record::Found {
                snapshot: &snapshot.id,
                entry,
            };
            out.show(&found, || format!("{}  {}", &snapshot.id[..8], line(entry)));
        };
        let lost = repository.find(&self.pattern, self.snapshot.as_deref(), each)?;
        out.end()?;
        report_notes(&keepers);
        Ok(exit(&lost))
    }
}

/// Print a file of a snapshot
#[derive(Args)]
#[command(after_help = "Example:\n  tf dump latest:/home/anna/doc/letter.txt | less")]
pub(super) struct Dump {
    /// The snapshot and the file
    #[arg(value_name = "SNAPSHOT:PATH")]
    what: String,
}

impl Dump {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let (keepers, _locks, repository) = context.open_to_read()?;
        let mut out = BufWriter::new(stdout().lock());
        let dumped = repository.dump(&self.what, &mut out);
        report_notes(&keepers);
        dumped.map(|()| Exit::Done)
    }
}

/// Show what differs between two snapshots
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf diff latest~1 latest\n  tf diff 3f2a91c0:/home/anna latest:/home/anna\n\n\
                  + added, - removed, M other content, T another kind, U other mode, owner or time."
)]
pub(super) struct Diff {
    /// The earlier one, with :PATH what is beneath that path
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    before: String,
    /// The later one
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    after: String,
}

impl Diff {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let (keepers, _locks, repository) = context.open_to_read()?;
        let mut out = Lines::new(context);
        let lost = repository.diff(&self.before, &self.after, |change| {
            out.show(&Record::Change(change), || changed(change));
        })?;
        out.end()?;
        report_notes(&keepers);
        Ok(exit(&lost))
    }
}

fn changed(it: &Change) -> String {
    let sign = match it.change {
        "added" => '+',
        "removed" => '-',
        "content" => 'M',
        "kind" => 'T',
        _ => 'U',
    };
    format!("{sign} {}", shown(it.path.as_bytes()))
}

/// Write the backup as a repository that restic opens
#[derive(Args)]
#[command(
    after_help = "Example:\n  tf backup export plain --password-file new\n  restic -r plain --password-file new snapshots"
)]
pub(super) struct Export {
    /// A directory, new or empty
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    directory: PathBuf,
    /// Let the first line of this file be the password by which other programs open it
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    password_file: Option<PathBuf>,
}

impl Export {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let password = self.password_file.as_deref().map(first_line).transpose();
        let password = password.map_err(BackupError::Failed)?;
        let (keepers, seed) = context.open()?;
        let _locks = Context::lock(&keepers, Access::Read)?;
        let password = password.as_ref().map(|it| it.as_str());
        let files = export(&keepers, &seed, &self.directory, password);
        report_notes(&keepers);
        let files = files?;
        let directory = self.directory.to_string_lossy().into_owned();
        let text = format!("{directory}: {files} files");
        context.show(&Record::Export { directory, files }, || text)?;
        Ok(Exit::Done)
    }
}

/// Many lines, the first failure of which counts.
struct Lines {
    printer: Printer,
    failure: Option<ClientError>,
}

impl Lines {
    fn new(context: &Context) -> Lines {
        Lines {
            printer: Printer::new(context.json),
            failure: None,
        }
    }

    fn show(&mut self, record: &Record<'_>, line: impl FnOnce() -> String) {
        if self.failure.is_none() {
            self.failure = self.printer.show(record, line).err();
        }
    }

    fn end(mut self) -> Result<()> {
        let ended = match self.failure.take() {
            Some(e) => Err(e),
            None => self.printer.flush(),
        };
        ended.map_err(|e| BackupError::Failed(e.to_string()))
    }
}

fn line(entry: &Entry) -> String {
    let letter = match entry.kind {
        "directory" => 'd',
        "link" => 'l',
        "file" => '-',
        _ => '?',
    };
    let Entry { mode, size, .. } = entry;
    let (time, path) = (local_time(entry.modified), shown(entry.path.as_bytes()));
    format!("{letter}{mode:03o} {size:>12}  {time}  {path}")
}

fn exit(lost: &[LeftOut]) -> Exit {
    report(lost, "lost");
    match lost.is_empty() {
        true => Exit::Done,
        false => Exit::Incomplete,
    }
}
