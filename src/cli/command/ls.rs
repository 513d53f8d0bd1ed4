//! `tf ls` and `tf stat`.

use std::cmp::Reverse;

use clap::ArgAction;

use super::prelude::*;
use crate::cli::output::{letter, time, word};
use crate::client::{self, ClientError, Connection, Entry, Kind, Listed, Room};
use crate::text::human_size;
use crate::tf::status::Status;

/// List directories
#[derive(Args)]
#[command(
    disable_help_flag = true,
    after_help = "Examples:\n  tf ls -lh reports\n  tf ls -lt files: | head\n  tf ls 'reports/*.pdf'\n  \
                  tf ls -R --json tf://ann@files.example.org/ | jq -r .path"
)]
pub(crate) struct Ls {
    /// Show kind, size and time of each entry
    #[arg(short, long)]
    long: bool,
    /// Include subdirectories
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Sort by size, largest first
    #[arg(short = 'S', conflicts_with_all = ["by_time", "unsorted"])]
    by_size: bool,
    /// Sort by time, newest first
    #[arg(short = 't', conflicts_with = "unsorted")]
    by_time: bool,
    /// Do not sort: print entries as they arrive
    #[arg(short = 'U')]
    unsorted: bool,
    /// Reverse the order
    #[arg(short, long)]
    reverse: bool,
    /// Show sizes such as 1.5M
    #[arg(short, long)]
    human: bool,
    /// Include the parts of uploads that tf has not finished
    #[arg(short, long)]
    all: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Directories, files or patterns [default: the root]
    #[arg(default_value = "", hide_default_value = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

/// An entry with its size and times.
struct Item {
    entry: Entry,
    stat: Option<client::Stat>,
}

impl Ls {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let json = context.output.json;
        let mut paths = Vec::new();
        let expanded = for_each(&self.paths, |remote| {
            paths.append(&mut expand(context, remote)?);
            Ok(())
        });
        // One argument is listed at once; of several, files come first.
        if let [only] = &paths[..] {
            let mut printer = Printer::new(json);
            let listed = self.one(context.connection(&only.server)?, &mut printer, &only.path);
            printer.flush()?;
            return listed.and(expanded);
        }
        let mut directories = Vec::new();
        let mut files = Vec::new();
        let sorted_out = for_each(&paths, |remote| {
            let stat = context.connection(&remote.server)?.stat(&remote.path)?;
            if stat.kind == Kind::Directory {
                directories.push(remote);
            } else {
                files.push(Item::of_file(&remote.path, stat));
            }
            Ok(())
        });
        let mut printer = Printer::new(json);
        let with_files = !files.is_empty();
        self.print(&mut printer, files, "")?;
        let listed = for_each(directories.iter().enumerate(), |(at, remote)| {
            if !json {
                let gap = if at > 0 || with_files { "\n" } else { "" };
                printer.line(&format!("{gap}{}:", shown(remote.path.as_bytes())))?;
            }
            self.one(
                context.connection(&remote.server)?,
                &mut printer,
                &remote.path,
            )
        });
        printer.finish(expanded.and(sorted_out).and(listed))
    }

    /// Lists a directory, or shows a file.
    fn one(&self, connection: &mut Connection, printer: &mut Printer, path: &str) -> Result<()> {
        let needs_stats = self.long || self.by_size || self.by_time;
        let is_json = printer.json;
        let (mut items, mut untold) = (Vec::new(), Vec::new());
        let mut room = Room::of(path);
        let mut take = |entry: Entry| {
            if !self.all && entry.is_upload_part() {
                return Ok(());
            }
            if let Some(what) = entry.untold() {
                room.take(&entry)?;
                untold.push(what);
                return Ok(());
            }
            let item = Item { entry, stat: None };
            if self.unsorted && !needs_stats {
                return self.print_item(printer, &item, path, 0);
            }
            room.take(&item.entry)?;
            items.push(item);
            Ok(())
        };
        // It does not say the kind of all entries, which only JSON and -R show.
        let all = match self.recursive || is_json {
            true => Listed::Nothing(None),
            false => connection.list_names(path, &mut take)?,
        };
        let listed = match all {
            Listed::All => Ok(()),
            Listed::Nothing(Some(stat)) if stat.kind != Kind::Directory => {
                return self.print(printer, vec![Item::of_file(path, stat)], "");
            }
            Listed::Nothing(_) => connection.list_as_it_comes(path, self.recursive, &mut take),
        };
        match listed {
            Err(e) if e.status() == Some(Status::DirectoryMissing) => {
                return self.file(connection, printer, path, e);
            }
            other => other?,
        }
        if needs_stats {
            let paths: Vec<String> = items.iter().map(|item| item.path(path)).collect();
            let stats = connection.stat_all(&paths)?;
            for (item, stat) in items.iter_mut().zip(stats) {
                item.stat = stat.ok();
            }
        }
        self.print(printer, items, path)?;
        printer.finish(report_all(untold))
    }

    /// Shows an entry that is not a directory.
    fn file(
        &self,
        connection: &mut Connection,
        printer: &mut Printer,
        path: &str,
        refusal: ClientError,
    ) -> Result<()> {
        let stat = match connection.stat(path) {
            Ok(stat) if stat.kind != Kind::Directory => stat,
            Err(e) if e.status().is_none() => return Err(e.into()),
            _ => return Err(Failure::Client(refusal)),
        };
        self.print(printer, vec![Item::of_file(path, stat)], "")
    }

    fn print(&self, printer: &mut Printer, mut items: Vec<Item>, directory: &str) -> Result<()> {
        if !self.unsorted {
            self.sort(&mut items);
        }
        let width = items
            .iter()
            .map(|item| self.size(item).len())
            .max()
            .unwrap_or(0);
        for item in &items {
            self.print_item(printer, item, directory, width)?;
        }
        Ok(())
    }

    fn sort(&self, items: &mut [Item]) {
        items.sort_unstable_by(|a, b| a.entry.path.cmp(&b.entry.path));
        if self.by_size {
            items.sort_by_key(|item| Reverse(item.stat.map(|stat| stat.size)));
        }
        if self.by_time {
            items.sort_by_key(|item| Reverse(item.stat.map(|stat| stat.modified)));
        }
        if self.reverse {
            items.reverse();
        }
    }

    fn size(&self, item: &Item) -> String {
        match item.stat {
            None => "-".to_owned(),
            Some(stat) if self.human => human_size(stat.size),
            Some(stat) => stat.size.to_string(),
        }
    }

    fn print_item(
        &self,
        printer: &mut Printer,
        item: &Item,
        directory: &str,
        width: usize,
    ) -> client::Result<()> {
        if printer.json {
            let path = item.path(directory);
            let record = Record::entry(&path, item.entry.kind, item.stat.as_ref());
            return printer.show(&record, String::new);
        }
        let mark = if item.entry.kind == Kind::Directory {
            "/"
        } else {
            ""
        };
        let name = shown(&item.entry.path);
        if !self.long {
            return printer.line(&format!("{name}{mark}"));
        }
        let time = item
            .stat
            .map_or_else(|| "-".to_owned(), |stat| time(stat.modified));
        let kind = letter(item.stat.map_or(item.entry.kind, |stat| stat.kind));
        printer.line(&format!(
            "{kind} {:>width$} {time:<23} {name}{mark}",
            self.size(item)
        ))
    }
}

impl Item {
    fn of_file(path: &str, stat: client::Stat) -> Item {
        let (kind, path) = (stat.kind, path.as_bytes().to_vec());
        let entry = Entry { kind, path };
        Item {
            entry,
            stat: Some(stat),
        }
    }

    /// Its path from the root.
    fn path(&self, directory: &str) -> String {
        beneath(directory, &String::from_utf8_lossy(&self.entry.path))
    }
}

/// Show kind, size and times
#[derive(Args)]
#[command(after_help = "Examples:\n  tf stat reports/may.pdf\n  tf stat --json 'reports/*'")]
pub(crate) struct Stat {
    /// Remote paths or patterns
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Stat {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let mut printer = Printer::new(context.output.json);
        let done = for_each_path(context, &self.paths, |connection, path| {
            let stat = connection.stat(path)?;
            let record = Record::entry(path, stat.kind, Some(&stat));
            let line = || {
                format!(
                    "{}: {}, {} bytes, changed {}, read {}",
                    shown(path.as_bytes()),
                    word(stat.kind),
                    stat.size,
                    time(stat.modified),
                    time(stat.accessed),
                )
            };
            Ok(printer.show(&record, line)?)
        });
        printer.finish(done)
    }
}
