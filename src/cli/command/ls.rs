//! `tf ls` and `tf stat`.

use std::cmp::Reverse;

use clap::ArgAction;

use super::columns::{Long, in_columns, mode_text, terminal_width};
use super::prelude::*;
use crate::cli::output::{More, local_time, word};
use crate::client::{
    self, ClientError, Connection, Depth, Details, Entry, Kind, Listed, Owners, Room,
};
use crate::tf::status::Status;

/// List directories
#[derive(Args)]
#[command(
    disable_help_flag = true,
    after_help = "Examples:\n  tf ls -lh reports\n  tf ls -lt files: | head\n  tf ls 'reports/*.pdf'\n  \
                  tf ls -R --json tf://ann@files.example.org/ | jq -r .path"
)]
pub(crate) struct Ls {
    /// Show kind, mode, owner, group, size and time of each entry (kind, size and time
    /// if the server reports no more)
    #[arg(short, long)]
    long: bool,
    /// Include subdirectories
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Print one entry per line, as where output is not a terminal
    #[arg(short = '1')]
    one: bool,
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

/// An entry with its size and times, and all else that the server says of it.
struct Item {
    entry: Entry,
    stat: Option<client::Stat>,
    details: Option<Box<Details>>,
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
        self.print(&mut printer, files, "", Owners::default())?;
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
        if needs_stats && self.detailed(connection, printer, path)? {
            return Ok(());
        }
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
            let item = Item::named(entry);
            if self.unsorted && !needs_stats {
                return self.print_item(printer, &item, path, &Long::default());
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
                let file = vec![Item::of_file(path, stat)];
                return self.print(printer, file, "", Owners::default());
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
        self.print(printer, items, path, Owners::default())?;
        printer.finish(report_all(untold))
    }

    /// Lists what the path names with all that the server says of it; `false` if that
    /// is no more than the document has.
    fn detailed(
        &self,
        connection: &mut Connection,
        printer: &mut Printer,
        path: &str,
    ) -> Result<bool> {
        let depth = Depth {
            recursive: self.recursive,
            ..Depth::default()
        };
        let (mut items, mut unread) = (Vec::new(), Vec::new());
        let mut itself = None;
        let mut room = Room::of(path);
        let owners = connection.list_details(path.as_bytes(), depth, &mut |details| {
            room.take_details(&details)?;
            if let Some(error) = details.unread() {
                unread.push(error);
            } else if details.path.is_empty() {
                itself = Some(details);
            } else {
                let item = Item::detailed(details);
                if self.all || !item.entry.is_upload_part() {
                    items.push(item);
                }
            }
            Ok(())
        })?;
        let Some(owners) = owners else {
            return Ok(false);
        };
        match itself.filter(|details| details.kind != Kind::Directory) {
            Some(mut file) => {
                file.path = path.as_bytes().to_vec();
                self.print(printer, vec![Item::detailed(file)], "", owners)?;
            }
            None => self.print(printer, items, path, owners)?,
        }
        printer.finish(report_all(unread)).map(|()| true)
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
        let file = vec![Item::of_file(path, stat)];
        self.print(printer, file, "", Owners::default())
    }

    fn print(
        &self,
        printer: &mut Printer,
        mut items: Vec<Item>,
        directory: &str,
        owners: Owners,
    ) -> Result<()> {
        if !self.unsorted {
            self.sort(&mut items);
        }
        let single = self.long || self.one || self.recursive || printer.json;
        if let Some(width) = terminal_width().filter(|_| !single) {
            let names: Vec<String> = items.iter().map(Item::name).collect();
            let lines = in_columns(&names, width);
            return Ok(lines.iter().try_for_each(|line| printer.line(line))?);
        }
        let mut long = Long::new(self.human, owners);
        for item in &items {
            long.fit(item.stat.as_ref(), item.details.as_deref());
        }
        for item in &items {
            self.print_item(printer, item, directory, &long)?;
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

    fn print_item(
        &self,
        printer: &mut Printer,
        item: &Item,
        directory: &str,
        long: &Long,
    ) -> client::Result<()> {
        if printer.json {
            let path = item.path(directory);
            let record = match &item.details {
                Some(details) => Record::detailed(&path, details, &long.owners),
                None => Record::entry(&path, item.entry.kind, item.stat.as_ref()),
            };
            return printer.show(&record, String::new);
        }
        let name = item.name();
        if !self.long {
            return printer.line(&name);
        }
        let details = item.details.as_deref();
        let mut line = long.line(&item.entry, item.stat.as_ref(), details);
        line = format!("{line} {name}");
        if let Some(link) = details.filter(|details| details.is_link()) {
            line = format!("{line} -> {}", shown(&link.target));
        }
        printer.line(&line)
    }
}

impl Item {
    /// One of which no more is known.
    fn named(entry: Entry) -> Item {
        Item {
            entry,
            stat: None,
            details: None,
        }
    }

    fn detailed(details: Details) -> Item {
        let stat = Some(details.stat());
        let entry = details.clone().entry();
        Item {
            entry,
            stat,
            details: Some(Box::new(details)),
        }
    }

    /// Its name, with a mark behind a directory's.
    fn name(&self) -> String {
        let mark = match self.entry.kind {
            Kind::Directory => "/",
            _ => "",
        };
        format!("{}{mark}", shown(&self.entry.path))
    }

    fn of_file(path: &str, stat: client::Stat) -> Item {
        let (kind, path) = (stat.kind, path.as_bytes().to_vec());
        Item {
            stat: Some(stat),
            ..Item::named(Entry { kind, path })
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
            let mut found = None;
            let depth = Depth {
                alone: true,
                ..Depth::default()
            };
            let owners = connection.list_details(path.as_bytes(), depth, &mut |details| {
                found = Some(details);
                Ok(())
            })?;
            let details = found.zip(owners);
            let more = details
                .as_ref()
                .map(|(details, owners)| More::of(details, owners));
            let record = Record::entry(path, stat.kind, Some(&stat)).with(more);
            let mode = details.map_or_else(String::new, |(details, owners)| {
                let (user, group) = (owners.user(details.uid), owners.group(details.gid));
                let owner = shown(format!("{user}:{group}").as_bytes());
                format!(", {} {owner}", mode_text(&details))
            });
            let line = || {
                format!(
                    "{}: {}, {} bytes, changed {}, read {}{mode}",
                    shown(path.as_bytes()),
                    word(stat.kind),
                    stat.size,
                    local_time(stat.modified),
                    local_time(stat.accessed),
                )
            };
            Ok(printer.show(&record, line)?)
        });
        printer.finish(done)
    }
}
