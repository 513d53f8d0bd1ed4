//! The options that say which entries of trees are transferred, and what
//! becomes of existing files. Rules count in the order in which they are given.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use crate::client::{Backup, Existing, Filter, Rule};
use crate::text::{parse_size, reason};

/// What is transferred.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Filter")]
pub(super) struct FilterArguments {
    #[command(flatten)]
    rules: Rules,
    /// Skip smaller files, in bytes or with K, M or G
    #[arg(long, value_name = "SIZE", value_parser = size)]
    min_size: Option<u64>,
    /// Skip larger files
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    /// Skip files that exist at the target
    #[arg(long)]
    skip_existing: bool,
    /// Skip files that are newer at the target
    #[arg(short, long)]
    update: bool,
    /// Keep replaced files, renamed or in DIR/
    #[arg(long, value_name = "SUFFIX|DIR/", num_args = 0..=1, require_equals = true,
          default_missing_value = "~", value_parser = backup)]
    backup: Option<Backup>,
}

impl FilterArguments {
    /// What they say of entries.
    pub(super) fn filter(&self, include_secure: bool) -> Filter {
        Filter {
            rules: self.rules.0.clone(),
            min_size: self.min_size,
            max_size: self.max_size,
            include_secure,
        }
    }

    /// What they say of existing files.
    pub(super) fn existing(&self, no_overwrite: bool) -> Existing {
        Existing {
            skip: self.skip_existing || no_overwrite,
            update: self.update,
            backup: self.backup.clone(),
        }
    }
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "a number of bytes, with K, M, G or T".to_owned())
}

fn backup(text: &str) -> Result<Backup, String> {
    match text.strip_suffix('/') {
        _ if text.is_empty()
            || text.starts_with('/')
            || text.split('/').any(|name| name == "..") =>
        {
            Err("a suffix such as ~, or a directory at the target such as old/".to_owned())
        }
        Some(directory) => Ok(Backup::Directory(directory.to_owned())),
        None if text.contains('/') => Ok(Backup::Directory(text.to_owned())),
        None => Ok(Backup::Suffix(text.to_owned())),
    }
}

/// `--include`, `--exclude` and `--exclude-from`, in their order.
#[derive(Clone, Debug, Default)]
struct Rules(Vec<Rule>);

const INCLUDE: &str = "include";
const EXCLUDE: &str = "exclude";
const EXCLUDE_FROM: &str = "exclude-from";

impl Args for Rules {
    fn augment_args(command: Command) -> Command {
        let option = |name: &'static str, value: &'static str, help: &'static str| {
            let option = Arg::new(name).long(name).value_name(value).help(help);
            option.action(ArgAction::Append)
        };
        let text = "Skip matching entries; the first rule decides";
        command
            .arg(option(EXCLUDE, "GLOB", text))
            .arg(option(INCLUDE, "GLOB", "Do not skip them"))
            .arg(
                option(EXCLUDE_FROM, "FILE", "Read rules from a file, one a line")
                    .value_parser(value_parser!(PathBuf)),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Rules::augment_args(command)
    }
}

impl FromArgMatches for Rules {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Rules, clap::Error> {
        let fails =
            |text: String| clap::Error::raw(ErrorKind::ValueValidation, format!("{text}\n"));
        let mut found: Vec<(usize, Vec<Rule>)> = Vec::new();
        for (name, include) in [(INCLUDE, true), (EXCLUDE, false)] {
            let places = matches.indices_of(name).into_iter().flatten();
            let patterns = matches.get_many::<String>(name).into_iter().flatten();
            for (place, pattern) in places.zip(patterns) {
                let rule = Rule::new(pattern, include).map_err(fails)?;
                found.push((place, vec![rule]));
            }
        }
        let places = matches.indices_of(EXCLUDE_FROM).into_iter().flatten();
        let files = matches
            .get_many::<PathBuf>(EXCLUDE_FROM)
            .into_iter()
            .flatten();
        for (place, file) in places.zip(files) {
            found.push((place, rules_of(file).map_err(fails)?));
        }
        found.sort_by_key(|(place, _)| *place);
        Ok(Rules(
            found.into_iter().flat_map(|(_, rules)| rules).collect(),
        ))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Rules::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The rules in a file: a pattern a line, after `- ` or nothing one to exclude,
/// after `+ ` one to include; `#` begins a remark.
fn rules_of(path: &Path) -> Result<Vec<Rule>, String> {
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => std::io::stdin().lock().read_to_string(&mut text),
        false => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
    };
    read.map_err(|e| format!("{}: {}", path.display(), reason(&e)))?;
    let lines = text.lines().map(str::trim_end).enumerate();
    let rules = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(['#', ';']));
    rules
        .map(|(number, line)| {
            let (pattern, include) = match (line.strip_prefix("+ "), line.strip_prefix("- ")) {
                (Some(pattern), _) => (pattern, true),
                (None, Some(pattern)) => (pattern, false),
                (None, None) => (line, false),
            };
            let rule = Rule::new(pattern, include);
            rule.map_err(|e| format!("{}:{}: {e}", path.display(), number + 1))
        })
        .collect()
}
