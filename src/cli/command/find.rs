//! `tf find`.

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use crate::cli::complete::Names;
use crate::cli::context::Context;
use crate::cli::expand::for_each_name;
use crate::cli::failure::{Result, tell_all};
use crate::cli::filter::{SizeRange, moment};
use crate::cli::output::{Printer, Record, word};
use crate::cli::place::{RemoteArg, beneath, last_name};
use crate::client::{Connection, Entry, Kind, Room, Stat, fits};
use crate::text::shown;

/// Entries of which size and time are asked together.
const AT_ONCE: usize = 4096;

/// Find files in a tree
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf find reports --name '*.pdf' --newer 2d\n  \
                  tf find --type f --size +100M --json\n  tf find tmp --name '*.part' -0 | xargs -0 tf --literal rm"
)]
pub(crate) struct Find {
    /// Whose name fits a pattern; one of several is enough
    #[arg(long, value_name = "PATTERN")]
    name: Vec<String>,
    /// Of this kind
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<Type>,
    /// Of more (+) or less (-) than a size, or of just that: +10M, -4K, 0
    #[arg(long, value_name = "[+-]SIZE", allow_hyphen_values = true)]
    size: Vec<SizeRange>,
    /// Changed since a day or moment (UTC), or in the last 10m, 5h, 2d
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    newer: Option<Timestamp>,
    /// Changed before that
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    older: Option<Timestamp>,
    /// End each path with a NUL, unescaped, for xargs -0
    #[arg(short = '0', long, conflicts_with = "json")]
    print0: bool,
    /// Where to begin; the root when left out
    #[arg(add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Type {
    #[value(name = "f", help = "a file")]
    File,
    #[value(name = "d", help = "a directory")]
    Directory,
    #[value(name = "o", help = "anything else: a link, a pipe, a device")]
    Other,
}

impl Find {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let root = [RemoteArg::default()];
        let paths = if self.paths.is_empty() {
            &root[..]
        } else {
            &self.paths
        };
        let mut printer = Printer::new(context.output.json);
        let done = for_each_name(context, paths, |connection, path| {
            self.one(connection, &mut printer, path)
        });
        printer.flush()?;
        done
    }

    fn one(&self, connection: &mut Connection, printer: &mut Printer, path: &str) -> Result<()> {
        let needs_stats = !self.size.is_empty() || self.newer.is_some() || self.older.is_some();
        let (mut found, mut untold) = (Vec::new(), Vec::new());
        let mut room = Room::of(path);
        connection.list_as_it_comes(path, true, &mut |entry| {
            if let Some(what) = entry.untold() {
                room.take(&entry)?;
                untold.push(what);
                return Ok(());
            }
            if !self.fits_entry(&entry) {
                return Ok(());
            }
            if needs_stats {
                room.take(&entry)?;
                found.push(entry);
                return Ok(());
            }
            self.print(printer, path, &entry, None)
        })?;
        for some in found.chunks(AT_ONCE) {
            let name = |entry: &Entry| beneath(path, &String::from_utf8_lossy(&entry.path));
            let paths: Vec<String> = some.iter().map(name).collect();
            let stats = connection.stat_all(&paths)?;
            for (entry, stat) in some.iter().zip(stats) {
                // What has vanished meanwhile, or can't be looked at, fits nothing.
                let Ok(stat) = stat else { continue };
                if self.fits_stat(&stat) {
                    self.print(printer, path, entry, Some(stat))?;
                }
            }
        }
        printer.flush()?;
        tell_all(untold)
    }

    fn fits_entry(&self, entry: &Entry) -> bool {
        let kind = match self.kind {
            None => entry.kind,
            Some(Type::File) => Kind::File,
            Some(Type::Directory) => Kind::Directory,
            Some(Type::Other) => Kind::Other,
        };
        let path = String::from_utf8_lossy(&entry.path);
        let name = last_name(&path);
        let named = self.name.is_empty() || self.name.iter().any(|pattern| fits(pattern, name));
        kind == entry.kind && named
    }

    fn fits_stat(&self, stat: &Stat) -> bool {
        let since = |moment: &Timestamp| stat.modified >= moment.as_second();
        self.size.iter().all(|range| range.holds(stat.size))
            && self.newer.as_ref().is_none_or(since)
            && !self.older.as_ref().is_some_and(since)
    }

    fn print(
        &self,
        printer: &mut Printer,
        start: &str,
        entry: &Entry,
        stat: Option<Stat>,
    ) -> crate::client::Result<()> {
        if self.print0 {
            printer.bytes(beneath(start, "").as_bytes())?;
            printer.bytes(&entry.path)?;
            return printer.bytes(b"\0");
        }
        let path = beneath(start, &String::from_utf8_lossy(&entry.path));
        let record = Record::Entry {
            path: &path,
            kind: word(entry.kind),
            size: stat.map(|stat| stat.size),
            modified: stat.map(|stat| stat.modified),
            accessed: stat.map(|stat| stat.accessed),
        };
        printer.show(&record, || {
            format!(
                "{}{}",
                shown(beneath(start, "").as_bytes()),
                shown(&entry.path)
            )
        })
    }
}
