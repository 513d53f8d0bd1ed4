//! `tf ls`.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::names::{human_size, shown};
use crate::cli::output::{letter, print, time};
use crate::cli::place::{Remote, beneath};
use crate::client::{Entry, Kind, Stat};

/// List a directory
#[derive(Args)]
#[command(after_help = "Example:\n  tf ls -l reports")]
pub(crate) struct Ls {
    /// Kind, size and time of each entry
    #[arg(short, long)]
    long: bool,
    /// All beneath it, too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// The directory; the root when left out
    #[arg(default_value = "")]
    path: Remote,
}

impl Ls {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let Remote { server, path } = &self.path;
        let connection = context.connection(server)?;
        let mut entries = if self.recursive {
            connection.list_recursive(path)?
        } else {
            connection.list(path)?
        };
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        if !self.long {
            return Ok(print(entries.iter().map(short_line))?);
        }
        let paths: Vec<String> = entries
            .iter()
            .map(|entry| beneath(path, &String::from_utf8_lossy(&entry.path)))
            .collect();
        let stats = connection.stat_all(&paths)?;
        let lines = entries.iter().zip(stats).map(|(entry, stat)| match stat {
            Ok(stat) => long_line(&stat, &short_line(entry)),
            Err(_) => format!("?        -                       - {}", short_line(entry)),
        });
        Ok(print(lines)?)
    }
}

fn short_line(entry: &Entry) -> String {
    let mark = if entry.kind == Kind::Directory { "/" } else { "" };
    format!("{}{mark}", shown(&entry.path))
}

fn long_line(stat: &Stat, name: &str) -> String {
    format!("{} {:>8} {} {name}", letter(stat.kind), human_size(stat.size), time(stat.modified))
}
