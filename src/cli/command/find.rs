//! `tf find`.

use std::cmp::Ordering;
use std::str::FromStr;

use clap::ValueEnum;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::prelude::*;
use crate::cli::place::last_name;
use crate::client::{Connection, Entry, Kind, Room, Stat, fits};
use crate::text::parse_size;

/// How many entries are asked for size and time at once.
const AT_ONCE: usize = 32 * 1024;

/// Find files in a tree
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf find reports --name '*.pdf' --newer 2d\n  \
                  tf find --type f --size +100M --json\n  tf find tmp --name '*.part' -0 | xargs -0 tf --literal rm"
)]
pub(crate) struct Find {
    /// Entries whose name matches; of several patterns one must match
    #[arg(long, value_name = "PATTERN")]
    name: Vec<String>,
    /// Entries of this kind: f a file, d a directory, o anything else
    #[arg(long = "type", value_name = "KIND", hide_possible_values = true)]
    kind: Option<Type>,
    /// Entries larger (+) or smaller (-) than a size, or of exactly that size:
    /// +10M, -4K, 0
    #[arg(long, value_name = "[+-]SIZE", allow_hyphen_values = true)]
    size: Vec<SizeRange>,
    /// Entries changed since a day or moment (UTC), or in the last 10m, 5h, 2d
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    newer: Option<Timestamp>,
    /// Entries changed before a day or moment
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    older: Option<Timestamp>,
    /// Include the parts of uploads that tf has not finished
    #[arg(short, long)]
    all: bool,
    /// End each path with a NUL, unescaped, for xargs -0
    #[arg(short = '0', long, conflicts_with = "json")]
    print0: bool,
    /// Where to begin [default: the root]
    #[arg(default_value = "", hide_default_value = true, add = Names::Remote)]
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
        let mut printer = Printer::new(context.output.json);
        let done = for_each_name(context, &self.paths, |connection, path| {
            self.one(connection, &mut printer, path)
        });
        printer.finish(done)
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
            if !self.all && entry.is_upload_part() || !self.matches_entry(&entry) {
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
                // An entry without size and time matches nothing.
                let Ok(stat) = stat else { continue };
                if self.matches_stat(&stat) {
                    self.print(printer, path, entry, Some(stat))?;
                }
            }
        }
        printer.finish(report_all(untold))
    }

    fn matches_entry(&self, entry: &Entry) -> bool {
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

    fn matches_stat(&self, stat: &Stat) -> bool {
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
        let record = Record::entry(&path, entry.kind, stat.as_ref());
        printer.show(&record, || {
            format!(
                "{}{}",
                shown(beneath(start, "").as_bytes()),
                shown(&entry.path)
            )
        })
    }
}

/// A comparison with a size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SizeRange {
    order: Ordering,
    size: u64,
}

impl SizeRange {
    /// Whether a size is in it.
    pub(super) fn holds(self, size: u64) -> bool {
        size.cmp(&self.size) == self.order
    }
}

impl FromStr for SizeRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<SizeRange, &'static str> {
        let (order, text) = match text.as_bytes().first() {
            Some(b'+') => (Ordering::Greater, &text[1..]),
            Some(b'-') => (Ordering::Less, &text[1..]),
            _ => (Ordering::Equal, text),
        };
        let size = parse_size(&text.replace('k', "K"));
        let size = size.ok_or("a size is digits with an optional K, M, G or T, such as +10M")?;
        Ok(SizeRange { order, size })
    }
}

/// Reads a moment: `2026-11-21`, `2026-11-21 10:52`, one with a zone, or
/// `10m`, `5h`, `2d` for as long ago.
pub(super) fn moment(text: &str) -> Result<Timestamp, &'static str> {
    let bad = "write a day as 2026-11-21, a moment as 2026-11-21T10:52, an age as 10m, 5h, 2d";
    let seconds = match text.char_indices().next_back() {
        Some((at, 's')) => Some((&text[..at], 1)),
        Some((at, 'm')) => Some((&text[..at], 60)),
        Some((at, 'h')) => Some((&text[..at], 3600)),
        Some((at, 'd')) => Some((&text[..at], 86_400)),
        _ => None,
    };
    if let Some((digits, unit)) = seconds {
        let number: u32 = digits.parse().map_err(|_| bad)?;
        let ago = SignedDuration::from_secs(i64::from(number) * unit);
        return Timestamp::now().checked_sub(ago).map_err(|_| bad);
    }
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let civil = text
        .parse::<DateTime>()
        .or_else(|_| text.parse::<Date>().map(DateTime::from));
    let zoned = civil.and_then(|civil| civil.to_zoned(TimeZone::UTC));
    zoned.map(|zoned| zoned.timestamp()).map_err(|_| bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_compared_as_written() {
        let holds = |text: &str, size| text.parse::<SizeRange>().expect(text).holds(size);
        assert!(holds("+1K", 1025) && !holds("+1K", 1024));
        assert!(holds("-1K", 1023) && !holds("-1K", 1024));
        assert!(holds("0", 0) && !holds("0", 1));
        for odd in ["", "+", "K", "1.5M", "1B", "99999999T", "--1"] {
            assert!(odd.parse::<SizeRange>().is_err(), "{odd}");
        }
    }

    #[test]
    fn moments_are_read_in_utc() {
        let seconds = |text| moment(text).expect(text).as_second();
        assert_eq!(seconds("2020-09-13"), 1_599_955_200);
        assert_eq!(seconds("2020-09-13T12:26:40"), 1_600_000_000);
        assert_eq!(seconds("2020-09-13 12:26"), 1_599_999_960);
        assert_eq!(seconds("2020-09-13T14:26:40+02:00"), 1_600_000_000);
        let ago = Timestamp::now().as_second() - seconds("2d");
        assert!((172_800..172_810).contains(&ago), "{ago}");
        for odd in ["", "d", "2", "yesterday", "2020-13-01"] {
            assert!(moment(odd).is_err(), "{odd}");
        }
    }
}
