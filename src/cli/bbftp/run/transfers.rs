//! Files there and back.

use std::fs;

use glob::Pattern;

use super::Runner;
use super::commands::local;
use super::remote::{File, Job};
use crate::cli::bbftp::failure::{Failure, Fate, Result, reason};
use crate::cli::bbftp::script::command::{Direction, Pair, base_name};
use crate::cli::output::OutputOptions;
use crate::cli::progress::Board;
use crate::client::bbftp::{Kind, Listed, Moved};
use crate::text::shown;

/// A file or directory here can't be looked at.
const STAT: u8 = 72;
const NOT_A_DIRECTORY: u8 = 76;
const OPEN_DIRECTORY: u8 = 86;
/// A pattern ends with a slash.
const PATTERN: u8 = 87;
const READ_DIRECTORY: u8 = 88;

impl File {
    fn new(direction: Direction, pair: &Pair) -> File {
        let (here, there) = match direction {
            Direction::Put => (&pair.from, &pair.to),
            Direction::Get => (&pair.to, &pair.from),
        };
        let local = local(here).to_owned();
        let remote = there.clone();
        File { local, remote }
    }
}

/// A file among many, and how often it may be tried.
struct Waiting {
    pair: Pair,
    tries: u32,
}

impl Waiting {
    fn may_go_on(&self, failure: &Failure) -> bool {
        self.tries > 1 && matches!(failure.fate, Fate::Again | Fate::Reconnect)
    }
}

/// The command of one file, as it is repeated with its result.
fn command(direction: Direction, pair: &Pair) -> String {
    let (from, to) = (shown(&pair.from), shown(&pair.to));
    format!("{} {from} {to}", direction.word())
}

impl Runner<'_> {
    /// Transfers one file.
    pub(super) fn one(&mut self, direction: Direction, pair: &Pair) -> Result<()> {
        self.show(&command(direction, pair));
        let files = [File::new(direction, pair)];
        let mut outcome = None;
        let ended = self.transfer(direction, &files, &mut |_, _, done| outcome = Some(done));
        let moved = ended.and(outcome.unwrap_or_else(|| Err(Failure::untold())));
        let moved = moved.map_err(|failure| self.reported(failure))?;
        self.moved(direction, &moved);
        Ok(())
    }

    /// Transfers files on the session there is.
    fn transfer(
        &mut self,
        direction: Direction,
        files: &[File],
        done: &mut dyn FnMut(&Self, usize, Result<Moved>),
    ) -> Result<()> {
        let Some(mut session) = self.session.take() else {
            return Err(Failure::lost());
        };
        let board = Board::new(&OutputOptions {
            quiet: !self.style.bars,
            ..OutputOptions::default()
        });
        let job = Job {
            direction,
            files,
            settings: &self.settings,
            simulate: self.style.simulate,
            speaker: self.speaker,
        };
        let mut done = |file, outcome| board.suspended(|| done(self, file, outcome));
        let ended = session.transfer(&job, &board, &mut done);
        board.end();
        self.session = Some(session);
        ended
    }

    /// Shows the answer and the speed of a transfer.
    fn moved(&self, direction: Direction, moved: &Moved) {
        self.speaker.say("<< OK");
        if moved.bytes > 0 && !self.style.simulate {
            let (word, done) = (direction.word(), direction.done());
            self.speaker.speed(word, done, moved, &self.settings);
        }
    }

    /// `mput`.
    pub(super) fn put_many(&mut self, pair: &Pair) -> Result<()> {
        self.show(&format!("mput {} {}", shown(&pair.from), shown(&pair.to)));
        let found = local_files(&pair.from).map_err(|failure| self.reported(failure))?;
        self.many(Direction::Put, found, &pair.to)
    }

    /// `mget`.
    pub(super) fn get_many(&mut self, pair: &Pair) -> Result<()> {
        self.show(&format!("mget {} {}", shown(&pair.from), shown(&pair.to)));
        if pair.to != b"./" {
            check_directory(&pair.to).map_err(|failure| self.reported(failure))?;
        }
        let entries = self.list(&pair.from)?;
        let is_file = |entry: &Listed| matches!(entry.kind, Some(Kind::File) | None);
        let found = entries.into_iter().filter(is_file);
        self.many(Direction::Get, found.map(|it| it.path).collect(), &pair.to)
    }

    /// What matches a pattern on the server.
    pub(super) fn list(&mut self, pattern: &[u8]) -> Result<Vec<Listed>> {
        self.show(&format!("list {}", shown(pattern)));
        let listed = self.with_session(|session, it| session.list(pattern, &it.settings));
        match &listed {
            Ok(entries) if entries.is_empty() => self.speaker.say("<< OK : no file"),
            Ok(_) => self.speaker.say("<< OK"),
            Err(_) => self.speaker.say("<< FAILED"),
        }
        listed
    }

    /// Transfers many files. Each has its tries; those that failed are tried again
    /// once all others have had their turn. The command itself succeeds, as with
    /// the public client; the exit status tells of the failures.
    fn many(&mut self, direction: Direction, from: Vec<Vec<u8>>, to: &[u8]) -> Result<()> {
        let tries = self.patience.tries;
        let waiting = from.into_iter().map(|from| {
            let to = [to, b"/", base_name(&from)].concat();
            let pair = Pair { from, to };
            Waiting { pair, tries }
        });
        let mut waiting: Vec<Waiting> = waiting.collect();
        while !waiting.is_empty() {
            self.connect()?;
            waiting = self.round(direction, waiting)?;
            if !waiting.is_empty() {
                self.pause()?;
            }
        }
        self.speaker.say("<< OK");
        Ok(())
    }

    /// Tries each once; returns those that may be tried again. A connection that
    /// ends has ended the first file of which nothing was told.
    fn round(&mut self, direction: Direction, waiting: Vec<Waiting>) -> Result<Vec<Waiting>> {
        let files = waiting.iter().map(|one| File::new(direction, &one.pair));
        let files: Vec<File> = files.collect();
        let mut outcomes: Vec<Option<Result<()>>> = vec![None; files.len()];
        let ended = self.transfer(direction, &files, &mut |it, file, outcome| {
            outcomes[file] = Some(it.tell(direction, &waiting[file], outcome));
        });
        let failure = ended.err().unwrap_or_else(Failure::untold);
        if let Some(first) = outcomes.iter().position(Option::is_none) {
            outcomes[first] = Some(self.tell(direction, &waiting[first], Err(failure)));
        }
        let mut left = Vec::new();
        for (mut one, outcome) in waiting.into_iter().zip(outcomes) {
            match outcome {
                Some(Ok(())) => {}
                Some(Err(failure)) => {
                    self.note(&failure)?;
                    if one.may_go_on(&failure) {
                        one.tries -= 1;
                        left.push(one);
                    } else {
                        self.code = failure.code;
                    }
                }
                None => left.push(one),
            }
        }
        Ok(left)
    }

    /// Shows what has come of one file among many.
    fn tell(&self, direction: Direction, one: &Waiting, outcome: Result<Moved>) -> Result<()> {
        if self.patience.cancel.is_cancelled() {
            return outcome.map(drop);
        }
        let command = command(direction, &one.pair);
        self.show(&command);
        let outcome = outcome.map_err(|failure| self.reported(failure));
        if let Ok(moved) = &outcome {
            self.moved(direction, moved);
        }
        if !matches!(&outcome, Err(failure) if one.may_go_on(failure)) {
            self.speaker.result(command.as_bytes(), outcome.is_ok());
        }
        outcome.map(drop)
    }
}

/// The files here that match a pattern, sorted: its last part, for the others are
/// names. A pattern without a directory yields names with `./` before them.
fn local_files(pattern: &[u8]) -> Result<Vec<Vec<u8>>> {
    let name = base_name(pattern);
    let before = &pattern[..pattern.len() - name.len()];
    if name.is_empty() {
        let text = format!("Pattern {} ends with a /", shown(pattern));
        return Err(Failure::last(PATTERN, text));
    }
    let before: &[u8] = if before.is_empty() { b"./" } else { before };
    let failed = |code, what: &str, error: &std::io::Error| {
        let directory = match before {
            b"/" => "/".to_owned(),
            _ => shown(before.strip_suffix(b"/").unwrap_or(before)),
        };
        let reason = reason(error);
        Failure::last(code, format!("{what} {directory} failed : {reason} "))
    };
    let entries = fs::read_dir(local(before)).map_err(|e| failed(OPEN_DIRECTORY, "opendir", &e))?;
    let pattern = String::from_utf8_lossy(name);
    // One that is none matches only itself.
    let pattern = Pattern::new(&pattern)
        .or_else(|_| Pattern::new(&Pattern::escape(&pattern)))
        .map_err(|e| Failure::last(PATTERN, format!("Pattern {} : {e}", shown(name))))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| failed(READ_DIRECTORY, "readdir", &e))?;
        let is_file = fs::metadata(entry.path()).is_ok_and(|metadata| !metadata.is_dir());
        let entry = entry.file_name();
        if is_file && pattern.matches(&entry.to_string_lossy()) {
            found.push([before, entry.as_encoded_bytes()].concat());
        }
    }
    found.sort();
    Ok(found)
}

/// Makes sure that files can go to a directory here.
fn check_directory(path: &[u8]) -> Result<()> {
    let name = shown(path);
    let metadata = fs::metadata(local(path)).map_err(|e| {
        let text = format!("Error stating file {name} : {}", reason(&e));
        Failure::last(STAT, text)
    })?;
    match metadata.is_dir() {
        true => Ok(()),
        false => Err(Failure::last(
            NOT_A_DIRECTORY,
            format!("File {name} is not a directory"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_a_local_pattern_finds_files() {
        let dir = tempfile::tempdir().expect("directory");
        for name in ["b", "a", ".hidden", "x y"] {
            fs::write(dir.path().join(name), "").expect("write");
        }
        fs::create_dir(dir.path().join("d")).expect("mkdir");
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).expect("link");
        let before = dir.path().to_str().expect("text");
        let found = |pattern: &str| {
            let found = local_files(format!("{before}/{pattern}").as_bytes());
            let name = |path: Vec<u8>| String::from_utf8_lossy(base_name(&path)).into_owned();
            found.map(|all| all.into_iter().map(name).collect::<Vec<_>>())
        };
        assert_eq!(
            found("*"),
            Ok(vec![".hidden".into(), "a".into(), "b".into(), "x y".into()])
        );
        assert_eq!(found("[ab]"), Ok(vec!["a".into(), "b".into()]));
        assert_eq!(found("x y"), Ok(vec!["x y".into()]));
        assert_eq!(found("").map_err(|e| e.code), Err(87));
        assert_eq!(found("none/*").map_err(|e| e.code), Err(86));
    }
}
