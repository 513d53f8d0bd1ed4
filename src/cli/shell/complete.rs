//! What TAB offers: commands, their options and values, remote and local
//! paths, as the definition of each command tells what stands where.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::builder::ValueParser;
use clap::{Arg, Command, value_parser};
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context as LineContext, Helper};

use super::line::commands;
use super::local::LOCAL_COMMANDS;
use super::words::{Partial, partial, quoted};
use crate::cli::context::Context;
use crate::cli::place::{Place, Remote, RemoteArg};
use crate::client::Kind;
use crate::text::shown;

/// How long a listing is offered before it is asked for again.
const FRESH: Duration = Duration::from_secs(5);

/// Completes the lines of a shell.
pub(super) struct Completion {
    context: Rc<RefCell<Context>>,
    commands: Command,
    listings: RefCell<HashMap<String, Listing>>,
}

/// The names of a directory, those of directories with a `/`.
struct Listing {
    names: Vec<String>,
    from: Instant,
}

/// What may stand at a place in a line.
enum Expected {
    Command,
    Option(Vec<String>),
    Values(Vec<String>),
    Remote,
    Local,
    /// A local path, or a remote one if it names a server.
    Either,
    /// A path here or there.
    Both,
    Unknown,
}

impl Completion {
    pub(super) fn new(context: Rc<RefCell<Context>>) -> Completion {
        Completion {
            context,
            commands: commands(),
            listings: RefCell::default(),
        }
    }

    /// Asks anew for all listings, as after a command that may change them.
    pub(super) fn forget(&self) {
        self.listings.borrow_mut().clear();
    }

    /// What may stand where this word stands.
    fn expected(&self, word: &Partial) -> Expected {
        let mut before = word.before.iter();
        let Some(name) = before.next() else {
            return Expected::Command;
        };
        let local = LOCAL_COMMANDS.iter().find(|local| local.name == name);
        if let Some(local) = local {
            return match local.takes {
                "dir" => Expected::Remote,
                "local" => Expected::Local,
                "command" => Expected::Command,
                _ => Expected::Unknown,
            };
        }
        let Some(command) = self.commands.find_subcommand(name) else {
            return Expected::Unknown;
        };
        let mut positionals = 0;
        let mut awaits_value = None;
        let mut only_positionals = false;
        for text in before {
            if awaits_value.take().is_some() {
                continue;
            }
            match text.as_str() {
                "--" if !only_positionals => only_positionals = true,
                text if !only_positionals && text.len() > 1 && text.starts_with('-') => {
                    awaits_value = option(command, text).filter(|arg| takes_value(arg));
                }
                _ => positionals += 1,
            }
        }
        if let Some(arg) = awaits_value {
            return value(arg, 0);
        }
        if word.text.starts_with('-') && !only_positionals {
            return Expected::Option(options(command));
        }
        let mut places = command.get_positionals();
        let last = command.get_positionals().last();
        let repeats = |arg: &&Arg| arg.get_num_args().is_some_and(|n| n.max_values() > 1);
        let place = places.nth(positionals).or_else(|| last.filter(repeats));
        place.map_or(Expected::Unknown, |arg| value(arg, positionals))
    }

    fn candidates(&self, word: &Partial) -> Vec<Candidate> {
        match self.expected(word) {
            Expected::Command => {
                let all = self
                    .commands
                    .get_subcommands()
                    .filter(|command| !command.is_hide_set());
                let names = all.map(|command| command.get_name().to_owned());
                let local = LOCAL_COMMANDS.iter().map(|local| local.name.to_owned());
                beginning(names.chain(local), &word.text)
            }
            Expected::Option(all) | Expected::Values(all) => beginning(all, &word.text),
            Expected::Remote => self.remote(&word.text),
            Expected::Local => local(&word.text),
            Expected::Either => match word.text.parse() {
                Ok(Place::Remote(_)) => self.remote(&word.text),
                _ => local(&word.text),
            },
            Expected::Both => {
                let mut all = self.remote(&word.text);
                all.extend(local(&word.text));
                all.sort_by(|a, b| a.word.cmp(&b.word));
                all.dedup_by(|a, b| a.word == b.word);
                all
            }
            Expected::Unknown => Vec::new(),
        }
    }

    /// Names in the directory of a remote path. What can't be listed offers
    /// nothing.
    fn remote(&self, text: &str) -> Vec<Candidate> {
        // In NAME:path and tf://host/path the last name begins behind these.
        let at = text.rfind(['/', ':']).map_or(0, |at| at + 1);
        let (directory, begun) = text.split_at(at);
        let written = directory.parse::<RemoteArg>().ok();
        let Some(remote) = written.and_then(|written| self.resolve(&written)) else {
            return Vec::new();
        };
        let key = format!("{}:{}", remote.server, remote.path);
        let mut listings = self.listings.borrow_mut();
        let is_fresh = |listing: &Listing| listing.from.elapsed() < FRESH;
        if !listings.get(&key).is_some_and(is_fresh) {
            let Some(names) = self.list(&remote) else {
                return Vec::new();
            };
            listings.insert(
                key.clone(),
                Listing {
                    names,
                    from: Instant::now(),
                },
            );
        }
        let names = listings.get(&key).map_or(&[][..], |listing| &listing.names);
        names_in(directory, begun, names.iter().cloned())
    }

    fn resolve(&self, written: &RemoteArg) -> Option<Remote> {
        self.context.try_borrow().ok()?.resolve(written).ok()
    }

    fn list(&self, remote: &Remote) -> Option<Vec<String>> {
        let mut context = self.context.try_borrow_mut().ok()?;
        let entries = context
            .connection(&remote.server)
            .ok()?
            .list(&remote.path)
            .ok()?;
        let mut names: Vec<String> = entries
            .into_iter()
            .filter(|entry| entry.untold().is_none())
            .filter_map(|entry| {
                let mark = if entry.kind == Kind::Directory {
                    "/"
                } else {
                    ""
                };
                Some(String::from_utf8(entry.path).ok()? + mark)
            })
            .collect();
        names.sort();
        Some(names)
    }
}

/// Something to put in place of the word.
struct Candidate {
    /// The whole word.
    word: String,
    /// What is shown of it.
    shown: String,
}

/// Those of some words that begin so.
fn beginning(all: impl IntoIterator<Item = String>, begun: &str) -> Vec<Candidate> {
    let all = all.into_iter().filter(|word| word.starts_with(begun));
    all.map(|word| Candidate {
        shown: word.clone(),
        word,
    })
    .collect()
}

/// The names of a directory that begin so; hidden ones when asked for, and
/// none that would drive the terminal.
fn names_in(directory: &str, begun: &str, names: impl Iterator<Item = String>) -> Vec<Candidate> {
    names
        .filter(|name| {
            name.starts_with(begun) && (begun.starts_with('.') || !name.starts_with('.'))
        })
        .filter(|name| shown(name.as_bytes()) == *name)
        .map(|name| Candidate {
            word: format!("{directory}{name}"),
            shown: name,
        })
        .collect()
}

/// Names in the directory of a local path.
fn local(text: &str) -> Vec<Candidate> {
    let (directory, begun) = text.split_at(text.rfind('/').map_or(0, |at| at + 1));
    let looked_in = if directory.is_empty() { "." } else { directory };
    let entries = fs::read_dir(looked_in).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let mark = if entry.path().is_dir() { "/" } else { "" };
            Some(entry.file_name().into_string().ok()? + mark)
        })
        .collect();
    names.sort();
    names_in(directory, begun, names.into_iter())
}

/// The option that a text names.
fn option<'a>(command: &'a Command, text: &str) -> Option<&'a Arg> {
    match text.strip_prefix("--") {
        Some(long) => command.get_opts().find(|arg| arg.get_long() == Some(long)),
        None => {
            let short = text.chars().last();
            command.get_opts().find(|arg| arg.get_short() == short)
        }
    }
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

/// The options of a command, as they are written.
fn options(command: &Command) -> Vec<String> {
    let all = command
        .get_arguments()
        .filter(|arg| !arg.is_positional() && !arg.is_hide_set());
    let written = |arg: &Arg| {
        let long = arg.get_long().map(|long| format!("--{long}"));
        long.or_else(|| arg.get_short().map(|short| format!("-{short}")))
    };
    let mut written: Vec<String> = all.filter_map(written).collect();
    written.sort();
    written
}

/// What the value of an argument is, behind so many others that have a place of
/// their own.
fn value(arg: &Arg, before: usize) -> Expected {
    let is = |parser: ValueParser| arg.get_value_parser().type_id() == parser.type_id();
    // LOCAL... [REMOTE]: any but the first may be the last.
    let mixed = |first: &str| {
        let names = arg.get_value_names().unwrap_or_default();
        names
            .first()
            .is_some_and(|name| name.starts_with(&format!("{first}... ")))
    };
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect();
    if !values.is_empty() {
        Expected::Values(values)
    } else if mixed("REMOTE") {
        if before == 0 {
            Expected::Remote
        } else {
            Expected::Both
        }
    } else if mixed("LOCAL") {
        if before == 0 {
            Expected::Local
        } else {
            Expected::Both
        }
    } else if is(value_parser!(RemoteArg).into()) {
        Expected::Remote
    } else if is(value_parser!(PathBuf)) {
        Expected::Local
    } else if is(value_parser!(Place).into()) {
        Expected::Either
    } else {
        Expected::Unknown
    }
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &LineContext<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let word = partial(&line[..pos]);
        let candidates = self.candidates(&word);
        let is_only = candidates.len() == 1;
        let pair = |candidate: Candidate| {
            // A file or a word is done, a directory leads on.
            let end = if is_only && !candidate.word.ends_with('/') {
                " "
            } else {
                ""
            };
            Pair {
                replacement: quoted(&candidate.word) + end,
                display: candidate.shown,
            }
        };
        Ok((word.start, candidates.into_iter().map(pair).collect()))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}
impl Validator for Completion {}
impl Helper for Completion {}
