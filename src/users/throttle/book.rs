//! The file that keeps the state of logins: a first line of a fixed length, which
//! says where the lines of words behind it begin and how many bytes they are. New
//! ones are written where the current ones are not, and the first line is changed
//! when they are on disk: a writer that is killed half-way, or finds the disk full,
//! leaves the state as it was. All who share the file see each other's changes by
//! the first line's number.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use super::{FOR_GOOD, Record, State, Target, Who};
use crate::sys::number::at_most;
use crate::text::hex;

/// What is read of the file at most.
const MAX_BYTES: u64 = 64 << 20;

/// The length of the first line, in bytes: more than it needs, and less than what a
/// disk writes at once.
pub(super) const FIRST_LINE: usize = 256;

/// What the end of a bar without one is written as.
const NEVER: &str = "never";

/// The open file.
#[derive(Debug)]
pub(super) struct Book {
    file: Arc<File>,
    /// The lines that were last read or written.
    seen: Option<Place>,
}

/// Where the lines are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// Raised by each change.
    number: u64,
    lines: Range<u64>,
    /// Of the lines; none for a file without a first line, which is all lines.
    digest: Option<String>,
}

impl Place {
    /// What the beginning of a file of this size says.
    fn of(beginning: &[u8], size: u64) -> Place {
        let first = beginning.get(..FIRST_LINE).and_then(Place::read);
        let is_within = |place: &Place| place.lines.end <= size;
        first.filter(is_within).unwrap_or(Place {
            number: 0,
            lines: 0..size,
            digest: None,
        })
    }

    /// Reads `version NUMBER at BEGIN length LENGTH sha256 DIGEST`.
    fn read(first: &[u8]) -> Option<Place> {
        let line = std::str::from_utf8(first).ok()?.strip_suffix('\n')?;
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [
            "version",
            number,
            "at",
            begin,
            "length",
            length,
            "sha256",
            digest,
        ] = words[..]
        else {
            return None;
        };
        let (begin, length): (u64, u64) = (begin.parse().ok()?, length.parse().ok()?);
        Some(Place {
            number: number.parse().ok()?,
            lines: begin..begin.checked_add(length)?,
            digest: Some(digest.to_owned()),
        })
    }

    /// Its first line.
    fn first_line(&self) -> String {
        let Range { start, end } = self.lines;
        let (number, length) = (self.number, end - start);
        let digest = self.digest.as_deref().unwrap_or_default();
        let line = format!("version {number} at {start} length {length} sha256 {digest}");
        format!("{line:<width$}\n", width = FIRST_LINE - 1)
    }

    /// The place of the next lines: where these are not.
    fn next(&self, lines: &[u8]) -> Place {
        let (first, length) = (FIRST_LINE as u64, lines.len() as u64);
        let has_room = first + length <= self.lines.start;
        let start = if has_room {
            first
        } else {
            self.lines.end.max(first)
        };
        Place {
            number: self.number.wrapping_add(1),
            lines: start..start + length,
            digest: Some(hex(&Sha256::digest(lines))),
        }
    }
}

/// The state that the bytes of a file have. If its lines are damaged, all that can
/// be read counts.
pub(super) fn state_in(bytes: &[u8]) -> State {
    let Place { lines, digest, .. } = Place::of(bytes, bytes.len() as u64);
    let at = |place: u64| at_most(place, usize::MAX);
    let named = bytes.get(at(lines.start)..at(lines.end));
    let whole =
        named.filter(|lines| digest.is_none_or(|digest| hex(&Sha256::digest(lines)) == digest));
    let text = String::from_utf8_lossy(whole.unwrap_or(bytes));
    let mut state = State::default();
    for line in text.lines() {
        let _ = state.read_line(line);
    }
    state
}

/// The lock on the file, until it is dropped.
pub(super) struct Lock(Arc<File>);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Book {
    pub(super) fn new(file: File) -> Book {
        Book {
            file: Arc::new(file),
            seen: None,
        }
    }

    /// Keeps others from reading and writing. Without a lock, which no system
    /// refuses for long, logins go on all the same.
    pub(super) fn lock(&self) -> Lock {
        let _ = flock(&self.file, FlockOperation::LockExclusive);
        Lock(Arc::clone(&self.file))
    }

    /// Reads the state if somebody else has changed it. A time after `now` counts
    /// from then on; no `now` takes all as it is.
    pub(super) fn read_if_changed(&mut self, state: &mut State, now: Option<u64>) {
        let Ok(place) = self.place() else { return };
        if self.seen.as_ref() == Some(&place) {
            return;
        }
        let Ok(bytes) = self.bytes() else { return };
        let strangers = state.records.drain();
        let strangers: Vec<_> = strangers
            .filter(|(who, _)| matches!(who, Who::Name(_)))
            .collect();
        *state = state_in(&bytes);
        state.records.extend(strangers);
        if let Some(now) = now {
            state.follow_clock(now);
        }
        self.seen = Some(place);
    }

    /// Writes the state.
    pub(super) fn save(&mut self, state: &State) -> io::Result<()> {
        let lines = state.lines();
        let place = self.place()?.next(lines.as_bytes());
        self.seen = None;
        self.file
            .write_all_at(lines.as_bytes(), place.lines.start)?;
        self.file.sync_data()?;
        self.file.write_all_at(place.first_line().as_bytes(), 0)?;
        self.file.sync_data()?;
        // Only what is of no use any more is behind these lines.
        self.file.set_len(place.lines.end)?;
        self.seen = Some(place);
        Ok(())
    }

    /// All bytes of the file.
    pub(super) fn bytes(&self) -> io::Result<Vec<u8>> {
        let len = self.file.metadata()?.size().min(MAX_BYTES);
        let mut bytes = vec![0; at_most(len, usize::MAX)];
        let mut read = 0;
        while read < bytes.len() {
            match self.file.read_at(&mut bytes[read..], read as u64)? {
                0 => break,
                more => read += more,
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }

    fn place(&self) -> io::Result<Place> {
        let mut beginning = [0; FIRST_LINE];
        let read = self.file.read_at(&mut beginning, 0)?;
        let size = self.file.metadata()?.size();
        Ok(Place::of(&beginning[..read], size))
    }
}

impl State {
    /// All of it but what is kept in memory alone.
    fn lines(&self) -> String {
        let records = self.records.iter();
        let records = records.filter_map(|(who, record)| line(who, *record));
        let known = self.known.iter();
        let known = known.map(|((name, address), last)| format!("known {name} {address} {last}\n"));
        let barred = self.barred.iter().map(|(target, until)| {
            let until = match *until {
                FOR_GOOD => NEVER.to_owned(),
                until => until.to_string(),
            };
            match target {
                Target::Address(address) => format!("barred-address {address} {until}\n"),
                Target::Account(name) => format!("barred {name} {until}\n"),
            }
        });
        let codes = self.codes.iter();
        let codes = codes.map(|(name, step)| format!("code {name} {step}\n"));
        records.chain(known).chain(barred).chain(codes).collect()
    }

    /// Takes a line of the file, if it is one.
    fn read_line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let (who, numbers) = match words[..] {
            ["known", name, address, last] => {
                let pair = (name.to_owned(), address.parse().ok()?);
                self.known.insert(pair, last.parse().ok()?);
                return Some(());
            }
            ["code", name, step] => {
                self.codes.insert(name.to_owned(), step.parse().ok()?);
                return Some(());
            }
            ["barred", name, until] => {
                let target = Target::Account(name.to_owned());
                self.barred.insert(target, read_end(until)?);
                return Some(());
            }
            ["barred-address", address, until] => {
                let target = Target::Address(address.parse().ok()?);
                self.barred.insert(target, read_end(until)?);
                return Some(());
            }
            ["address", address, ..] => (Who::Address(address.parse().ok()?), &words[2..]),
            ["elsewhere", address, ..] => (Who::Elsewhere(address.parse().ok()?), &words[2..]),
            ["login", name, address, ..] => {
                let who = Who::Login(name.to_owned(), address.parse().ok()?);
                (who, &words[3..])
            }
            _ => return None,
        };
        let [failures, last, until] = numbers else {
            return None;
        };
        let record = Record {
            failures: failures.parse().ok()?,
            last: last.parse().ok()?,
            until: until.parse().ok()?,
        };
        self.records.insert(who, record);
        Some(())
    }
}

/// The end of a bar.
fn read_end(text: &str) -> Option<u64> {
    match text {
        NEVER => Some(FOR_GOOD),
        number => number.parse().ok(),
    }
}

/// `address 192.0.2.1 failures last until` or `login ann 192.0.2.1 failures last
/// until`.
fn line(who: &Who, record: Record) -> Option<String> {
    let Record {
        failures,
        last,
        until,
    } = record;
    let who = match who {
        Who::Address(address) => format!("address {address}"),
        Who::Elsewhere(address) => format!("elsewhere {address}"),
        Who::Login(name, address) => format!("login {name} {address}"),
        Who::Name(_) => return None,
    };
    Some(format!("{who} {failures} {last} {until}\n"))
}
