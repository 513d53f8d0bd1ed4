//! `tf get`, `tf put`, `tf mirror` and `tf cat`: their options, and how a run of them
//! ends.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::filters::FilterArguments;
use super::prelude::*;
use crate::cli::output::{OutputOptions, output_error};
use crate::cli::place::{Place, Remote, ServerName};
use crate::cli::progress::Board;
use crate::client::{Direction, Keep, Options, Summary, Transfers, is_pattern};

/// Download files and trees; a file appears only when complete and verified
#[derive(Args)]
#[command(after_help = "Examples:\n  \
                        tf get 'reports/*.pdf' .\n  \
                        tf get -r -j 4 backup:photos /srv/")]
pub(crate) struct Get {
    /// Remote files or patterns, then a local file or directory, or - for standard
    /// output [default: .]
    #[arg(required = true, value_name = "REMOTE... [LOCAL]", add = Names::Download)]
    paths: Vec<String>,
    /// Include directories with their content
    #[arg(short, long)]
    recursive: bool,
    /// Replace local files without asking
    #[arg(short, long)]
    force: bool,
    /// Never replace a local file
    #[arg(short, long, conflicts_with = "force")]
    no_overwrite: bool,
    #[command(flatten)]
    filters: FilterArguments,
    #[command(flatten)]
    transfer: TransferArguments,
}

impl Get {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let Get {
            mut paths,
            recursive,
            force,
            no_overwrite,
            filters,
            transfer,
        } = self;
        let several = paths.len() > 1;
        let last = paths.pop_if(|_| several).map(|last| last.parse());
        let local = match last.transpose().map_err(Failure::usage)? {
            None => PathBuf::from("."),
            Some(Place::Local(path)) => path,
            Some(Place::Remote(_)) => {
                return Err(Failure::usage("get downloads to a local path"));
            }
        };
        let remotes: Vec<RemoteArg> = paths
            .iter()
            .map(|path| path.parse().map_err(Failure::usage))
            .collect::<Result<_>>()?;
        let otherwise = "get downloads from one server at a time";
        let server = context.common_server(&remotes, otherwise)?;
        if local == Path::new("-") {
            let options = transfer.options(Direction::Down);
            return remotes.iter().try_for_each(|written| {
                to_standard_output(context, &context.resolve(written)?, &options)
            });
        }
        let base = transfer.options(Direction::Down);
        let options = Options {
            recursive: recursive || base.recursive,
            filter: filters.filter(false),
            existing: filters.existing(no_overwrite),
            ..base
        };
        let mut sources = Vec::new();
        for remote in &remotes {
            sources.extend(expand(context, remote)?.into_iter().map(|it| it.path));
        }
        let how = Manner {
            asks: !force && !no_overwrite,
            ..Manner::default()
        };
        run_transfers(context, &server, &options, how, |transfers| {
            transfers.get(&sources, &local)
        })
    }
}

/// Only a pattern that begins with a dot matches such a name.
const PATTERNS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Upload files and trees; a file appears only when complete and verified
#[derive(Args)]
#[command(after_help = "Examples:\n  \
                        tf put may.pdf reports/\n  \
                        tf put -r -j 4 photos backup:\n  \
                        pg_dump shop | tf put - backups/shop.sql")]
pub(crate) struct Put {
    /// Local files, or - for standard input, then the remote target: a directory or a
    /// new name [default: :]
    #[arg(required = true, value_name = "LOCAL... [REMOTE]", add = Names::Upload)]
    paths: Vec<Place>,
    /// Include directories with their content
    #[arg(short, long)]
    recursive: bool,
    /// Follow symbolic links in trees instead of skipping them
    #[arg(short = 'L', long)]
    follow: bool,
    /// Never replace a remote file
    #[arg(short, long)]
    no_overwrite: bool,
    /// Upload directories named *.sd, which listings hide
    #[arg(long)]
    include_secure: bool,
    /// Mode, octal, of the file that standard input becomes
    #[arg(long, value_name = "MODE", value_parser = octal)]
    mode: Option<u32>,
    #[command(flatten)]
    filters: FilterArguments,
    #[command(flatten)]
    transfer: TransferArguments,
}

impl Put {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let Put {
            mut paths,
            recursive,
            follow,
            no_overwrite,
            include_secure,
            mode,
            filters,
            transfer,
        } = self;
        let last = if paths.len() > 1 { paths.pop() } else { None };
        let target: RemoteArg = match last {
            Some(Place::Remote(remote)) => remote,
            Some(Place::Local(path)) => text(&path)?.parse().map_err(Failure::usage)?,
            None => RemoteArg::default(),
        };
        let mut sources: Vec<PathBuf> = Vec::new();
        for path in paths {
            sources.extend(expand_local(local(path)?));
        }
        let is_piped = sources.iter().any(|source| source == Path::new("-"));
        if is_piped && sources.len() > 1 {
            let text = "standard input is uploaded by itself: tf put - REMOTE";
            return Err(Failure::usage(text));
        }
        if mode.is_some() && !is_piped {
            let text = "--mode is for standard input: files keep their own modes";
            return Err(Failure::usage(text));
        }
        let remote = context.resolve(&target)?;
        if is_piped && (target.path.is_empty() || target.path.ends_with('/')) {
            let directory = shown(target.path.as_bytes());
            let text =
                format!("standard input has no name: give one, as in tf put - {directory}NAME");
            return Err(Failure::usage(text));
        }
        let base = transfer.options(Direction::Up);
        let options = Options {
            recursive: recursive || base.recursive,
            follow,
            filter: filters.filter(include_secure),
            existing: filters.existing(no_overwrite),
            ..base
        };
        let how = Manner {
            is_piped,
            ..Manner::default()
        };
        run_transfers(context, &remote.server, &options, how, |transfers| {
            if is_piped {
                return transfers.put_from(&mut std::io::stdin().lock(), &remote.path, mode);
            }
            transfers.put(&sources, &remote.path)
        })
    }
}

/// The files that match a pattern which no shell has expanded. An existing name
/// and a pattern without a match stand for themselves.
fn expand_local(path: PathBuf) -> Vec<PathBuf> {
    let is_there = path.symlink_metadata().is_ok();
    let pattern = path.to_str().filter(|text| is_pattern(text) && !is_there);
    let found = pattern.and_then(|pattern| glob::glob_with(pattern, PATTERNS).ok());
    let found: Vec<PathBuf> = found.into_iter().flatten().flatten().collect();
    if found.is_empty() { vec![path] } else { found }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .ok_or_else(|| Failure::usage("the remote path is not UTF-8"))
}

fn local(place: Place) -> Result<PathBuf> {
    match place {
        Place::Local(path) => Ok(path),
        Place::Remote(remote) => Err(Failure::usage(format!(
            "{}: put uploads local files: on a server use cp; write a local name with a colon as ./NAME",
            remote.path
        ))),
    }
}

/// Make one directory like another, on the server or on this machine
#[derive(Args)]
#[command(after_help = "Examples:\n  \
                        tf mirror --delete photos backup:photos\n  \
                        tf mirror --dry-run backup:photos photos\n  \
                        tf mirror --exclude '*.tmp' site :www")]
pub(crate) struct Mirror {
    /// The directory to copy
    #[arg(add = Names::Place)]
    source: Place,
    /// The directory to make like it; one of the two is remote
    #[arg(add = Names::Place)]
    target: Place,
    /// Compare SHA-256 digests instead of times
    #[arg(short, long)]
    checksum: bool,
    /// Delete entries that are not in the source
    #[arg(long)]
    delete: bool,
    /// Delete nothing if it would be more than N entries
    #[arg(long, value_name = "N", requires = "delete")]
    max_delete: Option<u64>,
    /// Only print what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Follow local symbolic links instead of skipping them
    #[arg(short = 'L', long)]
    follow: bool,
    /// Include directories named *.sd, which listings hide
    #[arg(long)]
    include_secure: bool,
    #[command(flatten)]
    filters: FilterArguments,
    #[command(flatten)]
    transfer: TransferArguments,
}

impl Mirror {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let (local, remote, direction) = match (self.source, self.target) {
            (Place::Local(local), Place::Remote(remote)) => (local, remote, Direction::Up),
            (Place::Remote(remote), Place::Local(local)) => (local, remote, Direction::Down),
            _ => {
                let text =
                    "exactly one side must be remote: NAME:path, or :path on the default server";
                return Err(Failure::usage(text));
            }
        };
        let how = crate::client::Mirror {
            checksum: self.checksum,
            delete: self.delete,
            max_delete: self.max_delete,
            dry_run: self.dry_run,
        };
        let options = Options {
            filter: self.filters.filter(self.include_secure),
            existing: self.filters.existing(false),
            follow: self.follow,
            ..self.transfer.options(direction)
        };
        let remote = context.resolve(&remote)?;
        run_transfers(
            context,
            &remote.server,
            &options,
            Manner::default(),
            |transfers| transfers.mirror(&local, &remote.path, direction, &how),
        )
    }
}

/// How files are moved.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Transfer")]
pub(super) struct TransferArguments {
    /// Connections at once, for many files or for a large one
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    streams: Option<u8>,
    /// Times in a row to reopen a lost connection
    #[arg(long, value_name = "N", default_value_t = 10)]
    retries: u32,
    /// Limit in bytes per second, with K, M or G
    #[arg(long, value_name = "RATE", value_parser = rate)]
    limit: Option<u64>,
    /// Do not compare SHA-256 digests at the end
    #[arg(long)]
    no_verify: bool,
    #[command(flatten)]
    keep: KeepArguments,
}

/// What transfers keep besides names, bytes, permission bits and times. Help names
/// the rarer ones in one line, to fit on a screen.
#[derive(Args, Clone, Debug)]
struct KeepArguments {
    /// Do not keep permission bits and times
    #[arg(long)]
    no_preserve: bool,
    /// As -r --links --hard-links --sparse --xattrs --owner
    #[arg(short = 'a', long)]
    archive: bool,
    /// Keep symbolic links instead of skipping them
    #[arg(long)]
    links: bool,
    /// Keep several names of one file
    #[arg(long, hide = true)]
    hard_links: bool,
    /// Keep holes in files
    #[arg(long, hide = true)]
    sparse: bool,
    /// Keep extended attributes (user.*)
    #[arg(long, hide = true)]
    xattrs: bool,
    /// Keep owner and group, by number, if the receiver may
    #[arg(long, hide = true)]
    owner: bool,
}

impl KeepArguments {
    fn keep(&self, direction: Direction) -> Keep {
        let all = self.archive;
        // A server's session can give no file away.
        let is_ours = direction == Direction::Down && rustix::process::geteuid().is_root();
        Keep {
            attributes: !self.no_preserve,
            links: self.links || all,
            hard_links: self.hard_links || all,
            sparse: self.sparse || all,
            xattrs: self.xattrs || all,
            owner: self.owner || all && is_ours,
        }
    }
}

impl TransferArguments {
    /// The options they stand for.
    pub(super) fn options(&self, direction: Direction) -> Options {
        Options {
            streams: self.streams.map(usize::from),
            retries: self.retries,
            verify: !self.no_verify,
            limit: self.limit,
            recursive: self.keep.archive,
            keep: self.keep.keep(direction),
            ..Options::default()
        }
    }
}

/// Reads the permission bits of a mode.
fn octal(text: &str) -> Result<u32, &'static str> {
    let mode = u32::from_str_radix(text, 8).ok();
    mode.filter(|mode| *mode <= 0o777)
        .ok_or("a mode is octal, 0 to 777")
}

/// Reads a rate in bytes a second.
fn rate(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 1 << 10),
        Some((at, 'M' | 'm')) => (&text[..at], 1 << 20),
        Some((at, 'G' | 'g')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "a number with an optional K, M or G".to_owned())?;
    number
        .checked_mul(unit)
        .filter(|rate| *rate >= 1024)
        .ok_or("must be 1K or more".to_owned())
}

/// What a run of transfers is for its user.
#[derive(Default)]
struct Manner {
    /// Whether the user is asked, on a terminal, before a local file is replaced.
    asks: bool,
    /// Whether its source can't be read again.
    is_piped: bool,
}

/// Runs transfers with a server, shows their progress and their result.
fn run_transfers(
    context: &mut Context,
    server: &ServerName,
    options: &Options,
    how: Manner,
    act: impl FnOnce(&Transfers<'_>) -> crate::client::Result<Summary>,
) -> Result<()> {
    let board = Board::new(&context.output).asking(how.asks);
    let access = context.access(server)?.clone();
    let transfers = Transfers::new(&access, options, &board).with(context.take(server)?);
    let ended = act(&transfers);
    context.put_back(server, transfers.into_connection())?;
    match ended {
        Ok(summary) => {
            board.sum(&summary);
            match (summary.failures.first(), board.output_failure()) {
                (Some(first), _) => Err(Failure::Reported(Exit::of(&first.error))),
                (None, Some(error)) => Err(error.into()),
                (None, None) if summary.secure > 0 => Err(Failure::Reported(Exit::Refused)),
                (None, None) => Ok(()),
            }
        }
        Err(error) => {
            board.report_end(&error);
            if error.ends_a_run() && board.has_begun() && !how.is_piped {
                board.say(
                    "what has been transferred is kept: repeat the command to continue from there",
                );
            }
            Err(error.into())
        }
    }
}

/// Write files to standard output
#[derive(Args)]
#[command(after_help = "Example:\n  tf cat reports/notes.txt | less")]
pub(crate) struct Cat {
    /// Remote files or patterns
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Cat {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let options = Options::default();
        for_each(&self.paths, |written| {
            let paths = expand(context, written)?;
            for_each(&paths, |path| to_standard_output(context, path, &options))
        })
    }
}

/// Writes one file to standard output. A lost connection is opened again.
pub(super) fn to_standard_output(
    context: &mut Context,
    remote: &Remote,
    options: &Options,
) -> Result<()> {
    let access = context.access(&remote.server)?.clone();
    let open = context.take(&remote.server)?;
    let mut out = io::stdout().lock();
    // Only lost connections are reported.
    let output = OutputOptions {
        quiet: true,
        ..OutputOptions::default()
    };
    let board = Board::new(&output);
    let transfers = Transfers::new(&access, options, &board).with(open);
    let ended = transfers.get_to(&remote.path, &mut out);
    context.put_back(&remote.server, transfers.into_connection())?;
    ended?;
    Ok(out.flush().map_err(output_error)?)
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn rates_have_units() {
        for (text, bytes) in [
            ("1024", 1024),
            ("20K", 20_480),
            ("3m", 3 << 20),
            ("1G", 1 << 30),
        ] {
            assert_eq!(rate(text), Ok(bytes), "{text}");
        }
        for odd in [
            "",
            "K",
            "0",
            "100",
            "-1M",
            "1.5M",
            "1T",
            "99999999999999999999",
            "2é",
        ] {
            assert!(rate(odd).is_err(), "{odd}");
        }
    }
}
