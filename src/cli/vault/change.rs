//! The commands that change what is in a file: `add`, `edit`, `rm`, `mv` and
//! `restore`; and `generate`, whose passwords they take, too. What was there before
//! stays in the entry's history.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use openssl::sha::sha256;
use zeroize::Zeroizing;

use super::ask::Asker;
use super::record::Record;
use super::show::Which;
use super::{Store, broken, missing};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Printer, complain};
use crate::client::vault::database::{
    Database, Item, Kind, field, history, new_entry, new_uuid, now, remember, remove_field,
    set_field, set_time, uuid_text,
};
use crate::client::vault::generate::{Classes, password, words};
use crate::client::vault::kdbx::referring;
use crate::client::vault::xml::Element;

/// The most bytes of an attachment.
const MAX_ATTACHMENT: u64 = 256 << 20;

/// Characters of a password.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Class {
    Lower,
    Upper,
    Digits,
    Symbols,
}

/// How a password is made.
#[derive(Args, Clone)]
pub(super) struct Recipe {
    /// How many characters
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1024))]
    length: u16,
    /// Which characters
    #[arg(
        long,
        value_name = "CLASS,...",
        value_delimiter = ',',
        default_value = "lower,upper,digits"
    )]
    classes: Vec<Class>,
    /// Leave out 0 O 1 l I | 5 S 8 B
    #[arg(long)]
    no_lookalikes: bool,
    /// So many words of five letters, 16 bits each, instead
    #[arg(long, value_name = "N", conflicts_with_all = ["length", "classes", "no_lookalikes"],
          value_parser = clap::value_parser!(u16).range(1..=64))]
    words: Option<u16>,
}

impl Recipe {
    fn make(&self) -> Result<Zeroizing<String>> {
        if let Some(count) = self.words {
            return words(count.into()).map_err(Failure::Usage);
        }
        let has = |class| self.classes.contains(&class);
        let classes = Classes {
            lower: has(Class::Lower),
            upper: has(Class::Upper),
            digits: has(Class::Digits),
            symbols: has(Class::Symbols),
            no_lookalikes: self.no_lookalikes,
        };
        password(self.length.into(), classes).map_err(Failure::Usage)
    }
}

/// Print a new password
#[derive(Args)]
pub(super) struct Generate {
    #[command(flatten)]
    recipe: Recipe,
}

impl Generate {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let made = self.recipe.make()?;
        let mut printer = Printer::new(context.output.json);
        printer.show(&Record::Password { password: &made }, || made.to_string())?;
        Ok(printer.flush()?)
    }
}

/// What an entry is to have.
#[derive(Args)]
struct Values {
    /// Its user name
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Its address
    #[arg(long)]
    url: Option<String>,
    /// A file with its notes; - for standard input
    #[arg(long, value_name = "FILE")]
    notes: Option<PathBuf>,
    /// Its tags
    #[arg(long, value_name = "TAG,...", value_delimiter = ',')]
    tags: Option<Vec<String>>,
    /// Ask for the value of this field and keep it as a secret
    #[arg(long = "field", value_name = "NAME")]
    fields: Vec<String>,
    /// Attach this file
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    /// Make its password
    #[arg(long)]
    generate: bool,
    #[command(flatten)]
    recipe: Recipe,
}

/// The values themselves, once they are asked for.
#[derive(Default)]
struct Collected {
    fields: Vec<(String, Zeroizing<String>, bool)>,
    tags: Option<String>,
    attachments: Vec<(String, Zeroizing<Vec<u8>>)>,
    detach: Vec<String>,
    remove: Vec<String>,
}

impl Values {
    /// Asks for what is to be asked for, of an entry of this name.
    fn collect(&self, asker: &Asker, entry: &str, asks_password: bool) -> Result<Collected> {
        let mut found = Collected::default();
        let mut set = |name: &str, value: Zeroizing<String>, is_secret| {
            found.fields.push((name.to_owned(), value, is_secret));
        };
        for (name, value) in [("UserName", &self.username), ("URL", &self.url)] {
            if let Some(value) = value {
                set(name, Zeroizing::new(value.clone()), false);
            }
        }
        if let Some(path) = &self.notes {
            let text = String::from_utf8(read(path)?.to_vec())
                .map_err(|_| Failure::usage(format!("{}: not UTF-8", path.display())))?;
            set("Notes", Zeroizing::new(text), false);
        }
        if self.generate {
            set("Password", self.recipe.make()?, true);
        } else if asks_password {
            set(
                "Password",
                asker.new_secret(&format!("new password of {entry}"))?,
                true,
            );
        }
        for name in &self.fields {
            set(name, asker.secret(&format!("{name} of {entry}"))?, true);
        }
        found.tags = self.tags.as_ref().map(|tags| tags.join(";"));
        for path in &self.attach {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            found.attachments.push((name.into_owned(), read(path)?));
        }
        Ok(found)
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let failed = Failure::local(path);
    let mut bytes = Zeroizing::new(Vec::new());
    let mut read = |from: &mut dyn Read| from.take(MAX_ATTACHMENT + 1).read_to_end(&mut bytes);
    let done = match path == Path::new("-") {
        true => read(&mut std::io::stdin().lock()),
        false => std::fs::File::open(path).and_then(|mut file| read(&mut file)),
    };
    match done.map_err(failed)? as u64 > MAX_ATTACHMENT {
        true => Err(Failure::usage(format!(
            "{}: more than 256 MiB",
            path.display()
        ))),
        false => Ok(bytes),
    }
}

impl Collected {
    /// Gives them to an entry of a database.
    fn apply(&self, database: &mut Database, entry: &mut Element) {
        for (name, value, is_secret) in &self.fields {
            set_field(entry, name, value, *is_secret);
        }
        for name in &self.remove {
            remove_field(entry, name);
        }
        if let Some(tags) = &self.tags {
            entry.set_text("Tags", tags);
        }
        let gone = |name: &str| {
            self.detach.iter().any(|it| it == name)
                || self.attachments.iter().any(|it| it.0 == name)
        };
        entry
            .children
            .retain(|child| child.name != "Binary" || !gone(child.text_of("Key")));
        for (name, content) in &self.attachments {
            let digest = sha256(content);
            let stored = [&[0][..], content].concat();
            database
                .attachments
                .entry(digest)
                .or_insert_with(|| Arc::new(Zeroizing::new(stored)));
            let binary = Element::new("Binary")
                .with(Element::with_text("Key", name))
                .with(referring(&digest));
            entry.children.push(binary);
        }
    }
}

/// Add an entry; groups that are missing are made
#[derive(Args)]
pub(super) struct Add {
    #[command(flatten)]
    values: Values,
    #[command(flatten)]
    store: Store,
    /// The new entry: GROUP/TITLE
    #[arg(value_name = "ENTRY")]
    entry: String,
}

impl Add {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let asker = Asker::new(context);
        let mut file = self.store.open(&asker)?;
        let path = self.entry.trim_matches('/');
        let (group, title) = path.rsplit_once('/').unwrap_or(("", path));
        if title.is_empty() {
            return Err(Failure::usage("the entry needs a title"));
        }
        let values = self.values.collect(&asker, path, true)?;
        file.change(|database| {
            let broken = broken(&self.store.file);
            if database
                .of_kind(Kind::Entry)
                .any(|item| database.path_of(item) == path)
            {
                return Err(missing(format!(
                    "{path}: exists already: see tf vault edit"
                )));
            }
            let uuid = new_uuid().map_err(&broken)?;
            let mut entry = new_entry(&uuid);
            set_field(&mut entry, "Title", title, false);
            for name in ["UserName", "Password", "URL", "Notes"] {
                set_field(&mut entry, name, "", name == "Password");
            }
            values.apply(database, &mut entry);
            let parent = database.make_group(group).map_err(&broken)?;
            database.items.push(Item {
                key: (Kind::Entry, uuid),
                parent,
                element: entry,
            });
            Ok(())
        })
    }
}

/// Change an entry; its history keeps what it was
#[derive(Args)]
pub(super) struct Edit {
    /// Another title
    #[arg(long)]
    title: Option<String>,
    /// Ask for a new password
    #[arg(long, conflicts_with = "generate")]
    password: bool,
    /// Remove this field
    #[arg(long, value_name = "NAME")]
    remove_field: Vec<String>,
    /// Remove this attachment
    #[arg(long, value_name = "NAME")]
    detach: Vec<String>,
    #[command(flatten)]
    values: Values,
    #[command(flatten)]
    which: Which,
}

impl Edit {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let asker = Asker::new(context);
        let mut file = self.which.store.open(&asker)?;
        file.database.find(&self.which.entry).map_err(missing)?;
        let mut values = self
            .values
            .collect(&asker, &self.which.entry, self.password)?;
        if let Some(title) = &self.title {
            values
                .fields
                .push(("Title".to_owned(), Zeroizing::new(title.clone()), false));
        }
        values.detach = self.detach;
        values.remove = self.remove_field;
        file.change(|database| {
            let key = database.find(&self.which.entry).map_err(missing)?;
            let item = database
                .item(&key)
                .ok_or_else(|| missing(self.which.entry.clone()))?;
            for name in &values.remove {
                if field(&item.element, name).is_none() {
                    return Err(missing(format!("{} has no field {name}", self.which.entry)));
                }
            }
            let mut entry = item.element.clone();
            remember(&mut entry);
            values.apply(database, &mut entry);
            if let Some(item) = database.item_mut(&key) {
                item.element = entry;
            }
            Ok(())
        })
    }
}

/// Move an entry into the recycle bin; from there, remove it
#[derive(Args)]
pub(super) struct Rm {
    /// Remove it for good at once
    #[arg(long)]
    purge: bool,
    #[command(flatten)]
    which: Which,
}

impl Rm {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let store = &self.which.store;
        store.change(&Asker::new(context), |database| {
            let key = database.find(&self.which.entry).map_err(missing)?;
            let bin = database.make_recycle_bin().map_err(broken(&store.file))?;
            let parent = database
                .item(&key)
                .map(|item| item.parent)
                .unwrap_or_default();
            match bin.filter(|bin| !self.purge && !database.is_inside(parent, *bin)) {
                Some(bin) => relocate(database, &key, bin),
                None => database.delete(&key),
            }
            Ok(())
        })
    }
}

fn relocate(database: &mut Database, key: &(Kind, [u8; 16]), group: [u8; 16]) {
    if let Some(item) = database.item_mut(key) {
        let before = uuid_text(&item.parent);
        item.parent = group;
        item.element.set_text("PreviousParentGroup", &before);
        set_time(&mut item.element, "LocationChanged", now());
    }
}

/// Move an entry into another group, which is made where it is missing
#[derive(Args)]
pub(super) struct Mv {
    #[command(flatten)]
    which: Which,
    /// The group; / for the top
    group: String,
}

impl Mv {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let store = &self.which.store;
        store.change(&Asker::new(context), |database| {
            let key = database.find(&self.which.entry).map_err(missing)?;
            let group = database
                .make_group(&self.group)
                .map_err(broken(&store.file))?;
            relocate(database, &key, group);
            Ok(())
        })
    }
}

/// Make an old version of an entry the current one; its history keeps both
#[derive(Args)]
pub(super) struct Restore {
    #[command(flatten)]
    which: Which,
    /// The number that tf vault history shows
    #[arg(value_name = "VERSION")]
    number: usize,
}

impl Restore {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let number = self.number;
        self.which.store.change(&Asker::new(context), |database| {
            let key = database.find(&self.which.entry).map_err(missing)?;
            let item = database
                .item_mut(&key)
                .ok_or_else(|| missing(self.which.entry.clone()))?;
            let old = number
                .checked_sub(1)
                .and_then(|at| history(&item.element).get(at));
            let mut old = old
                .cloned()
                .ok_or_else(|| missing(format!("no version {number}: see tf vault history")))?;
            remember(&mut item.element);
            let history = item.element.child_mut("History").clone();
            old.remove("History");
            old.children.push(history);
            item.element = old;
            set_time(&mut item.element, "LastModificationTime", now());
            Ok(())
        })?;
        complain!("restored version {number} of {}", self.which.entry);
        Ok(())
    }
}
