//! What is backed up: the entries of local trees. It counts and names what can't be
//! read, which the library would only log, and ends early when nothing can be
//! written any more.

mod processors;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ignore::{DirEntry, WalkBuilder};
use rustic_core::{
    ErrorKind, LocalSourceSaveOptions, ReadSource, ReadSourceEntry, ReadSourceOpen, RusticError,
    RusticResult,
};
use rustix::fs::{Mode, OFlags};

use self::processors::Processors;
use super::keepers::Keepers;
use super::{BackupError, Result, local};
use crate::text::{reason, shown};

/// How far a run is.
#[derive(Default)]
pub(crate) struct Meter {
    /// Entries seen.
    pub(crate) entries: AtomicU64,
    /// Bytes read.
    pub(crate) bytes: AtomicU64,
    /// How many of either there will be, as far as that is known.
    expected_entries: AtomicU64,
    expected_bytes: AtomicU64,
    watched: AtomicBool,
    left_out: Mutex<Vec<LeftOut>>,
}

/// An entry that could not be read, and why.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct LeftOut {
    pub(crate) path: String,
    pub(crate) error: String,
}

impl Meter {
    /// Somebody looks at it.
    pub(crate) fn watch(&self) {
        self.watched.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    pub(super) fn expect_entries(&self, number: u64) {
        self.expected_entries.store(number, Ordering::Relaxed);
    }

    pub(super) fn expect_bytes(&self, number: u64) {
        self.expected_bytes.store(number, Ordering::Relaxed);
    }

    /// So many bytes are there already.
    pub(super) fn expect_less(&self, bytes: u64) {
        let less = |expected: u64| Some(expected.saturating_sub(bytes));
        // It never refuses.
        let _ = self
            .expected_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// How much of it is done, in hundredths, where that can be said.
    pub(crate) fn percent(&self) -> Option<u64> {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (done, all) = match read(&self.expected_bytes) {
            0 => (read(&self.entries), read(&self.expected_entries)),
            bytes => (read(&self.bytes), bytes),
        };
        let percent = u128::from(done) * 100;
        let percent = percent.checked_div(all.into())?;
        Some(u64::try_from(percent).unwrap_or(100).min(100))
    }

    pub(super) fn leave_out(&self, path: &Path, error: &str) {
        let path = shown(path.as_os_str().as_encoded_bytes());
        let error = error.to_owned();
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        left_out.push(LeftOut { path, error });
    }

    /// All of them.
    pub(super) fn take_left_out(&self) -> Vec<LeftOut> {
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut left_out)
    }
}

/// What each file of a run needs.
#[derive(Clone)]
struct Run {
    keepers: Arc<Keepers>,
    meter: Arc<Meter>,
    processors: Arc<Processors>,
}

/// The trees of a run.
#[derive(Clone)]
pub(super) struct Source {
    /// From the root on, sorted, none beneath another.
    roots: Vec<PathBuf>,
    excluded: GlobSet,
    /// Directories that are left out without being an exclusion: the keepers.
    own: Vec<PathBuf>,
    one_file_system: bool,
    run: Run,
}

impl Source {
    pub(super) fn new(
        paths: &[PathBuf],
        excluded: &[String],
        one_file_system: bool,
        keepers: Arc<Keepers>,
        meter: Arc<Meter>,
    ) -> Result<Source> {
        let mut roots = Vec::new();
        for path in paths {
            roots.push(path.canonicalize().map_err(local(path))?);
        }
        roots.sort();
        roots.dedup_by(|later, earlier| later.starts_with(earlier));
        if let Some(path) = roots.iter().find(|path| path.to_str().is_none()) {
            let text = format!(
                "{}: a snapshot can't be named after bytes that are not UTF-8: back up the directory it is in",
                shown(path.as_os_str().as_encoded_bytes())
            );
            return Err(BackupError::Failed(text));
        }
        let own = keepers.paths().into_iter();
        let own = own.filter_map(|path| path.canonicalize().ok());
        Ok(Source {
            roots,
            excluded: patterns(excluded)?,
            own: own.collect(),
            one_file_system,
            run: Run {
                keepers,
                meter,
                processors: Arc::new(Processors::new()),
            },
        })
    }

    pub(super) fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// The directories above the roots, without what is in them, and the roots, in
    /// the order of a walk.
    fn walks(&self) -> Vec<(PathBuf, Option<usize>)> {
        let mut walks = Vec::new();
        let mut last: Option<&Path> = None;
        for root in &self.roots {
            let mut above: Vec<&Path> = root.ancestors().skip(1).collect();
            above.reverse();
            let is_new = |path: &&Path| !last.is_some_and(|last| last.starts_with(path));
            for path in above.into_iter().filter(is_new) {
                walks.push((path.to_owned(), Some(0)));
            }
            walks.push((root.clone(), None));
            last = Some(root);
        }
        walks
    }

    fn walk(&self, root: &Path, depth: Option<usize>) -> ignore::Walk {
        let (excluded, own) = (self.excluded.clone(), self.own.clone());
        let is_wanted = move |entry: &DirEntry| {
            entry.depth() == 0
                || !(excluded.is_match(entry.path()) || own.iter().any(|own| own == entry.path()))
        };
        let mut walk = WalkBuilder::new(root);
        walk.standard_filters(false)
            .follow_links(false)
            .max_depth(depth)
            .same_file_system(self.one_file_system)
            .sort_by_file_path(Path::cmp)
            .filter_entry(is_wanted);
        walk.build()
    }

    fn entry(
        &self,
        found: std::result::Result<DirEntry, ignore::Error>,
    ) -> Option<ReadSourceEntry<Opening>> {
        let found = match found {
            Ok(found) => found,
            Err(e) => {
                let why = e.io_error().map_or_else(|| e.to_string(), reason);
                let path = path_of(&e).unwrap_or(Path::new("?"));
                self.run.meter.leave_out(path, &why);
                return None;
            }
        };
        // The root of the system has no name, and is there wherever it is restored.
        found.path().file_name()?;
        let path = found.path().to_owned();
        match LocalSourceSaveOptions::default().map_entry(found) {
            Ok(entry) => {
                let Run {
                    meter, processors, ..
                } = &self.run;
                let entries = meter.entries.fetch_add(1, Ordering::Relaxed) + 1;
                processors.looked(entries, meter.bytes.load(Ordering::Relaxed));
                let open = Opening {
                    path,
                    run: self.run.clone(),
                };
                Some(ReadSourceEntry {
                    path: entry.path,
                    node: entry.node,
                    open: Some(open),
                })
            }
            Err(e) => {
                self.run.meter.leave_out(&path, &e.to_string());
                None
            }
        }
    }
}

impl ReadSource for Source {
    type Open = Opening;
    type Iter = Box<dyn Iterator<Item = RusticResult<ReadSourceEntry<Opening>>> + Send>;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Self::Iter {
        let (walking, mapping) = (self.clone(), self.clone());
        let walks = self.walks().into_iter();
        let found = walks.flat_map(move |(root, depth)| walking.walk(&root, depth));
        let entries = found
            .take_while(move |_| !mapping.run.keepers.is_broken())
            .filter_map({
                let source = self.clone();
                move |found| source.entry(found).map(Ok)
            });
        Box::new(entries)
    }
}

/// A file that will be read.
pub(super) struct Opening {
    path: PathBuf,
    run: Run,
}

impl ReadSourceOpen for Opening {
    type Reader = Reading;

    fn open(self) -> RusticResult<Reading> {
        // What was a file may be a pipe or a link by now.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(&self.path, flags, Mode::empty()) {
            Ok(file) => Ok(Reading {
                file: file.into(),
                path: self.path,
                run: self.run,
            }),
            Err(e) => {
                let why = reason(&e.into());
                self.run.meter.leave_out(&self.path, &why);
                Err(RusticError::new(ErrorKind::InputOutput, why))
            }
        }
    }
}

/// A file that is read.
pub(super) struct Reading {
    file: File,
    path: PathBuf,
    run: Run,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.run.keepers.is_broken() {
            return Err(io::Error::other("the run has been given up"));
        }
        let meter = &self.run.meter;
        match self.file.read(buffer) {
            Ok(count) => {
                let before = meter.bytes.fetch_add(count as u64, Ordering::Relaxed);
                self.run.processors.read(before + count as u64);
                Ok(count)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            Err(e) => {
                meter.leave_out(&self.path, &reason(&e));
                Err(e)
            }
        }
    }
}

/// Patterns match whole names anywhere, or, with a slash in front, whole paths.
fn patterns(excluded: &[String]) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in excluded {
        if pattern.trim_matches('/').is_empty() {
            let text = format!("--exclude '{pattern}': it names nothing that could be left out");
            return Err(BackupError::Failed(text));
        }
        let glob = GlobBuilder::new(&whole(pattern))
            .literal_separator(true)
            .build();
        let wrong = |e| BackupError::Failed(format!("--exclude {pattern}: {e}"));
        set.add(glob.map_err(wrong)?);
    }
    set.build()
        .map_err(|e| BackupError::Failed(format!("--exclude: {e}")))
}

/// A pattern of whole paths.
fn whole(pattern: &str) -> String {
    let trimmed = pattern.trim_end_matches('/');
    match pattern.starts_with('/') {
        true => trimmed.to_owned(),
        false => format!("**/{trimmed}"),
    }
}

/// The same patterns as the library has them, where it leaves things out of trees.
pub(super) fn globs(excluded: &[String]) -> Result<Vec<String>> {
    patterns(excluded)?;
    let glob = |pattern: &String| {
        let whole = whole(pattern);
        // It takes spaces at the end for nothing.
        let text = whole.trim_end();
        let spaces = whole[text.len()..].chars().map(|c| format!("[{c}]"));
        format!("!{text}{}", spaces.collect::<String>())
    };
    Ok(excluded.iter().map(glob).collect())
}

fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } => path_of(err),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_says_a_percentage_where_it_knows_the_whole() {
        let meter = Meter::default();
        meter.entries.store(30, Ordering::Relaxed);
        assert_eq!(meter.percent(), None);
        meter.expect_entries(40);
        assert_eq!(meter.percent(), Some(75));
        meter.bytes.store(500, Ordering::Relaxed);
        meter.expect_bytes(2000);
        assert_eq!(meter.percent(), Some(25));
        meter.expect_less(1000);
        assert_eq!(meter.percent(), Some(50));
        meter.expect_less(9000);
        meter.expect_bytes(100);
        assert_eq!(meter.percent(), Some(100));
    }
}
