//! The file that keeps the state of logins: lines of words, under a number that
//! each change raises, so that all who share it see the changes of the others.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::{FOR_GOOD, Record, State, Target, Who};

/// What is read of the file at most.
const MAX_BYTES: u64 = 16 << 20;

/// The longest first line, in bytes.
const FIRST_LINE: usize = 64;

/// What the end of a bar without one is written as.
const NEVER: &str = "never";

/// The open file.
#[derive(Debug)]
pub(super) struct Book {
    file: Arc<File>,
    /// Number and length as they were when it was last read or written.
    seen: Option<(u64, u64)>,
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
        let seen = self.stamp();
        if seen.is_none() || seen == self.seen {
            return;
        }
        let Ok(text) = self.read() else { return };
        let strangers = state.records.drain();
        let strangers = strangers.filter(|(who, _)| matches!(who, Who::Name(_)));
        *state = State {
            records: strangers.collect(),
            ..State::default()
        };
        for line in text.lines() {
            let _ = state.read_line(line);
        }
        if let Some(now) = now {
            state.follow_clock(now);
        }
        self.seen = seen;
    }

    /// Writes the state.
    pub(super) fn save(&mut self, state: &State) -> io::Result<()> {
        let number = self.seen.map_or(0, |(number, _)| number).wrapping_add(1);
        let text = format!("version {number}\n{}", state.lines());
        self.seen = None;
        self.file.write_all_at(text.as_bytes(), 0)?;
        self.file.set_len(text.len() as u64)?;
        self.seen = Some((number, text.len() as u64));
        Ok(())
    }

    fn stamp(&self) -> Option<(u64, u64)> {
        let mut first = [0; FIRST_LINE];
        let read = self.file.read_at(&mut first, 0).ok()?;
        let first = first[..read].split(|byte| *byte == b'\n').next();
        let first = std::str::from_utf8(first.unwrap_or_default()).unwrap_or_default();
        let number = first.strip_prefix("version ").and_then(|n| n.parse().ok());
        Some((number.unwrap_or(0), self.file.metadata().ok()?.size()))
    }

    fn read(&self) -> io::Result<String> {
        let len = self.file.metadata()?.size().min(MAX_BYTES);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let mut read = 0;
        while read < bytes.len() {
            match self.file.read_at(&mut bytes[read..], read as u64)? {
                0 => break,
                more => read += more,
            }
        }
        bytes.truncate(read);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
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
        Who::Login(name, address) => format!("login {name} {address}"),
        Who::Name(_) => return None,
    };
    Some(format!("{who} {failures} {last} {until}\n"))
}
