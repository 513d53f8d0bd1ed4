//! The commands that show what is in a file: `ls`, `show`, `get`, `otp` and
//! `history`.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;

use super::ask::Asker;
use super::record::{Entry, Record, changed};
use super::{Store, clip, missing};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Printer, complain, local_time, output_error};
use crate::client::vault::database::{Database, Item, Kind, field, history, now, time_of};
use crate::client::vault::kdbx::reference;
use crate::client::vault::otp;
use crate::text::{hex, human_size, shown};

/// List groups and entries
#[derive(Args)]
pub(super) struct Ls {
    /// List the content of all groups, too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// List the entries with this text in title, user name, address, notes or tags
    #[arg(long, value_name = "TEXT")]
    find: Option<String>,
    #[command(flatten)]
    store: Store,
    /// The group to list [default: all]
    group: Option<String>,
}

impl Ls {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let file = self.store.open(&Asker::new(context))?;
        let database = &file.database;
        let name = self.group.as_deref().unwrap_or_default();
        let top = database.group_at(name);
        let top = top.ok_or_else(|| missing(format!("no group {name}: see tf vault ls -R")))?;
        let mut printer = Printer::new(context.output.json);
        let mut found: Vec<(String, &Item)> = Vec::new();
        for item in &database.items {
            let is_there = match (self.recursive || self.find.is_some(), item.key.0) {
                (_, Kind::Meta | Kind::Icon) => false,
                _ if item.key.1 == database.root => false,
                (true, _) => item.key.1 != top && database.is_inside(item.parent, top),
                (false, _) => item.parent == top,
            };
            if is_there && self.fits(item) {
                found.push((path(database, item), item));
            }
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        let above = match database.path_of_group(top) {
            path if path.is_empty() => path,
            path => path + "/",
        };
        for (path, item) in found {
            let record = match item.key.0 {
                Kind::Group => Record::Group {
                    path: path.clone(),
                    uuid: hex(&item.key.1),
                },
                _ => Record::Entry(Box::new(Entry::of(database, item, false))),
            };
            let mark = if item.key.0 == Kind::Group { "/" } else { "" };
            let short = path.strip_prefix(&above).unwrap_or(&path);
            printer.show(&record, || format!("{}{mark}", shown(short.as_bytes())))?;
        }
        Ok(printer.flush()?)
    }

    /// Whether it is one of those that are looked for.
    fn fits(&self, item: &Item) -> bool {
        let Some(text) = &self.find else {
            return true;
        };
        let text = text.to_lowercase();
        let has = |value: &str| value.to_lowercase().contains(&text);
        let names = ["Title", "UserName", "URL", "Notes"];
        let values = names.iter().filter_map(|name| field(&item.element, name));
        item.key.0 == Kind::Entry && values.chain([item.element.text_of("Tags")]).any(has)
    }
}

fn path(database: &Database, item: &Item) -> String {
    match item.key.0 {
        Kind::Group => database.path_of_group(item.key.1),
        _ => database.path_of(item),
    }
}

/// Which entry.
#[derive(Args)]
pub(super) struct Which {
    #[command(flatten)]
    pub(super) store: Store,
    /// The entry: GROUP/TITLE, its title or its UUID
    #[arg(value_name = "ENTRY")]
    pub(super) entry: String,
}

impl Which {
    /// The entry in an open file.
    fn of<'a>(&self, database: &'a Database) -> Result<&'a Item> {
        let key = database.find(&self.entry).map_err(missing)?;
        database
            .item(&key)
            .ok_or_else(|| missing(self.entry.clone()))
    }
}

/// Show an entry, without its secrets
#[derive(Args)]
pub(super) struct Show {
    /// Show its secrets, too
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    which: Which,
}

impl Show {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let file = self.which.store.open(&Asker::new(context))?;
        let item = self.which.of(&file.database)?;
        let entry = Entry::of(&file.database, item, self.reveal);
        let mut printer = Printer::new(context.output.json);
        if printer.json {
            printer.show(&Record::Entry(Box::new(entry)), String::new)?;
            return Ok(printer.flush()?);
        }
        let mut line =
            |name: &str, value: &str| printer.line(&format!("{}: {value}", shown(name.as_bytes())));
        line("Path", &shown(entry.path.as_bytes()))?;
        for field in &entry.fields {
            match field.value {
                Some("") => {}
                Some(value) => line(field.name, &lines(value))?,
                None => line(field.name, "(hidden)")?,
            }
        }
        if !entry.tags.is_empty() {
            line("Tags", &shown(entry.tags.join(", ").as_bytes()))?;
        }
        for attachment in &entry.attachments {
            let name = shown(attachment.name.as_bytes());
            line(
                "Attachment",
                &format!("{name} ({})", human_size(attachment.size as u64)),
            )?;
        }
        if let Some(time) = entry.expires {
            line("Expires", &local_time(time))?;
        }
        line("Modified", &local_time(entry.modified))?;
        line("Created", &local_time(entry.created))?;
        line("Versions", &entry.versions.to_string())?;
        line("UUID", &entry.uuid)?;
        Ok(printer.flush()?)
    }
}

/// A text of several lines, each safe to print.
fn lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| shown(line.as_bytes())).collect();
    lines.join("\n  ")
}

/// Print one value of an entry
#[derive(Args)]
pub(super) struct Get {
    /// Put it into the clipboard, for a while
    #[arg(long)]
    clip: bool,
    /// How long it stays there, in seconds
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 15, requires = "clip",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Use the terminal's clipboard (OSC 52)
    #[arg(long, requires = "clip")]
    osc52: bool,
    /// Write this attachment to standard output instead
    #[arg(long, value_name = "NAME", conflicts_with_all = ["clip", "field"])]
    attachment: Option<String>,
    #[command(flatten)]
    which: Which,
    /// The field
    #[arg(default_value = "Password")]
    field: String,
}

impl Get {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let file = self.which.store.open(&Asker::new(context))?;
        let item = self.which.of(&file.database)?;
        if let Some(name) = &self.attachment {
            return write_attachment(&file.database, item, name);
        }
        let value = field(&item.element, &self.field).ok_or_else(|| {
            missing(format!(
                "{} has no field {}: see tf vault show",
                self.which.entry, self.field
            ))
        })?;
        if self.clip {
            let time = Duration::from_secs(self.seconds);
            return clip::lend(
                &self.field,
                value,
                time,
                self.osc52,
                &context.directory.cancel,
            );
        }
        let mut printer = Printer::new(context.output.json);
        let record = Record::Value {
            field: &self.field,
            value,
        };
        printer.show(&record, || value.to_owned())?;
        Ok(printer.flush()?)
    }
}

fn write_attachment(database: &Database, item: &Item, name: &str) -> Result<()> {
    let found = item
        .element
        .all("Binary")
        .find(|it| it.text_of("Key") == name);
    let digest = found.and_then(|it| reference(it.child("Value")?));
    let content = digest.and_then(|digest| database.attachments.get(&digest));
    let content =
        content.ok_or_else(|| missing(format!("no attachment {name}: see tf vault show")))?;
    let mut out = std::io::stdout().lock();
    if out.is_terminal() {
        return Err(Failure::usage(
            "an attachment does not go to a terminal: redirect it to a file",
        ));
    }
    let written = out.write_all(&content[1..]).and_then(|()| out.flush());
    Ok(written.map_err(output_error)?)
}

/// Print the one-time code of an entry
#[derive(Args)]
pub(super) struct Otp {
    #[command(flatten)]
    which: Which,
}

impl Otp {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let file = self.which.store.open(&Asker::new(context))?;
        let item = self.which.of(&file.database)?;
        let about = |why: String| missing(format!("{}: {why}", self.which.entry));
        let otp = otp::Otp::of(&item.element).map_err(about)?;
        let otp =
            otp.ok_or_else(|| about("it has no secret for codes: set its field otp".to_owned()))?;
        let (code, seconds) = otp.code(u64::try_from(now()).unwrap_or(0)).map_err(about)?;
        let mut printer = Printer::new(context.output.json);
        printer.show(
            &Record::Code {
                code: &code,
                seconds,
            },
            || code.to_string(),
        )?;
        printer.flush()?;
        if !context.output.json && std::io::stdout().is_terminal() {
            complain!("{seconds} s left");
        }
        Ok(())
    }
}

/// List the old versions of an entry
#[derive(Args)]
pub(super) struct History {
    #[command(flatten)]
    which: Which,
}

impl History {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let file = self.which.store.open(&Asker::new(context))?;
        let item = self.which.of(&file.database)?;
        let versions = history(&item.element);
        let mut printer = Printer::new(context.output.json);
        for (at, old) in versions.iter().enumerate() {
            let next = versions.get(at + 1).unwrap_or(&item.element);
            let record = Record::Version {
                number: at + 1,
                modified: time_of(old, "LastModificationTime"),
                changed: changed(old, next),
            };
            printer.show(&record, || {
                let time = local_time(time_of(old, "LastModificationTime"));
                let names = changed(old, next).join(", ");
                format!(
                    "{}  {time}  then changed: {}",
                    at + 1,
                    shown(names.as_bytes())
                )
            })?;
        }
        Ok(printer.flush()?)
    }
}
