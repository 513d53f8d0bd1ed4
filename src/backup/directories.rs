//! Keepers that are directories: each has a copy of every file, and a damaged one is
//! replaced from another.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::keeper::{Keeper, Kind, Name};
use super::keepers::{Access, Copies, Locks, Report};
use super::seed::{Identity, Seed};
use super::{BackupError, Result};
use crate::text::reason;

/// The directories of one owner.
pub(super) struct Directories {
    present: Vec<Present>,
    /// Those that are not there now.
    absent: Vec<PathBuf>,
    identity: Identity,
    report: Arc<Report>,
}

struct Present {
    keeper: Keeper,
    /// Nothing more is written to one that failed: an index there would name what it
    /// lacks.
    failed: AtomicBool,
}

/// What the copies of a file are.
enum Looked {
    /// All good.
    Good,
    /// All good now.
    Replaced,
    /// One is good, and another could not be replaced.
    Fewer,
    /// None good.
    Lost,
}

/// Files whose locks end with them.
impl Locks for Vec<File> {}

impl Directories {
    /// Lets these directories keep this owner's files.
    pub(super) fn create(paths: &[PathBuf], seed: &Seed) -> Result<()> {
        let owner = seed.identity()?.directory();
        for path in paths {
            Keeper::create(path, &owner).map_err(super::local(path))?;
        }
        Ok(())
    }

    /// Those of the given ones that are there.
    ///
    /// # Errors
    /// [`BackupError::WrongKey`] when none keeps anything for this owner.
    pub(super) fn open(paths: &[PathBuf], seed: &Seed, report: Arc<Report>) -> Result<Directories> {
        let identity = seed.identity()?;
        let owner = identity.directory();
        let (mut present, mut absent) = (Vec::new(), Vec::new());
        for path in paths {
            match Keeper::open(path, &owner) {
                Ok(keeper) => present.push(Present {
                    keeper,
                    failed: AtomicBool::new(false),
                }),
                Err(e) => {
                    if e.kind() != ErrorKind::NotFound {
                        report.note(&path.display(), &reason(&e));
                    }
                    absent.push(path.clone());
                }
            }
        }
        if present.is_empty() {
            let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
            let paths = paths.join(", ");
            let text = format!(
                "{paths}: nothing there is kept for this phrase: is the disk mounted, and the phrase the right one?"
            );
            return Err(BackupError::WrongKey(text));
        }
        let fewer = !absent.is_empty();
        if fewer {
            report.has_fewer();
        }
        Ok(Directories {
            present,
            absent,
            identity,
            report,
        })
    }

    fn look_at(&self, name: &Name) -> Looked {
        let mut good = None;
        let mut bad = Vec::new();
        for it in self.usable() {
            match it.keeper.read_sealed(name, &self.identity) {
                Ok(bytes) => good = Some(bytes),
                Err(e) => {
                    // Its bytes may be right, and the signature behind them wrong.
                    good = good.or_else(|| it.keeper.read(name).ok());
                    bad.push((it, e));
                }
            }
        }
        match good {
            None => Looked::Lost,
            Some(_) if bad.is_empty() => Looked::Good,
            Some(bytes) => match self.replace(name, &Bytes::from(bytes), &bad) {
                true => Looked::Replaced,
                false => Looked::Fewer,
            },
        }
    }

    fn usable(&self) -> impl Iterator<Item = &Present> {
        self.present
            .iter()
            .filter(|it| !it.failed.load(Ordering::Relaxed))
    }

    /// Whether all of them could be replaced.
    fn replace(&self, name: &Name, bytes: &Bytes, bad: &[(&Present, io::Error)]) -> bool {
        let mut all = true;
        for (it, error) in bad {
            let keeper = &it.keeper;
            let was_there = keeper.has(name);
            let replaced = match was_there {
                true => keeper.set_aside(name),
                false => Ok(()),
            }
            .and_then(|()| self.give(keeper, name, std::slice::from_ref(bytes)));
            let digits = &name.digits[..8];
            match replaced {
                Err(e) => {
                    let what = format!("no good copy of {digits}: {}", refusal(&e));
                    self.note(keeper.path(), &what);
                    self.report.has_fewer();
                    all = false;
                }
                Ok(()) if was_there => {
                    let why = damage(error);
                    let what = format!("{digits} {why}; replaced by a good copy");
                    self.note(keeper.path(), &what);
                }
                Ok(()) => {}
            }
        }
        all
    }

    fn note(&self, path: &Path, what: &str) {
        self.report.note(&path.display(), what);
    }

    /// Gives a file to a keeper. What is in its trash gives way.
    fn give(&self, keeper: &Keeper, name: &Name, bytes: &[Bytes]) -> io::Result<()> {
        match keeper.write(name, bytes, &self.identity) {
            Err(e) if is_full(&e) && keeper.empty_trash(Duration::ZERO)? > 0 => {
                self.note(
                    keeper.path(),
                    "the disk was full: its trash has been emptied",
                );
                keeper.write(name, bytes, &self.identity)
            }
            written => written,
        }
    }

    /// Does without a keeper from now on.
    fn fail(&self, it: &Present, error: &io::Error) {
        it.failed.store(true, Ordering::Relaxed);
        self.report.has_fewer();
        let why = format!("takes no more: {}", refusal(error));
        self.note(it.keeper.path(), &why);
    }
}

impl Copies for Directories {
    fn list(&self, kind: Kind) -> io::Result<BTreeMap<String, u64>> {
        let mut files = BTreeMap::new();
        let mut error = None;
        let mut has_answer = false;
        for it in &self.present {
            match it.keeper.list(kind) {
                Ok(listed) => {
                    has_answer = true;
                    for (digits, size) in listed {
                        let known = files.entry(digits).or_insert(size);
                        *known = size.max(*known);
                    }
                }
                Err(e) => {
                    self.note(it.keeper.path(), &reason(&e));
                    error = Some(e);
                }
            }
        }
        match error {
            Some(e) if !has_answer => Err(e),
            _ => Ok(files),
        }
    }

    fn read(&self, name: &Name) -> io::Result<Bytes> {
        let mut bad = Vec::new();
        for it in self.usable() {
            match it.keeper.read(name) {
                Ok(bytes) => {
                    let bytes = Bytes::from(bytes);
                    self.replace(name, &bytes, &bad);
                    return Ok(bytes);
                }
                Err(e) => bad.push((it, e)),
            }
        }
        for (it, e) in &bad {
            if e.kind() != ErrorKind::NotFound {
                let what = format!("{} {}", &name.digits[..8], damage(e));
                self.note(it.keeper.path(), &what);
            }
        }
        let missing = || ErrorKind::NotFound.into();
        Err(bad.pop().map_or_else(missing, |(_, e)| e))
    }

    fn read_at(&self, name: &Name, offset: u32, length: u32) -> io::Result<Bytes> {
        let mut error = ErrorKind::NotFound.into();
        for it in self.usable() {
            match it.keeper.read_at(name, offset, length) {
                Ok(bytes) => return Ok(bytes.into()),
                Err(e) => error = e,
            }
        }
        Err(error)
    }

    fn write(&self, name: &Name, bytes: &[Bytes]) -> io::Result<()> {
        let all: Vec<&Present> = self.usable().collect();
        let Some((first, others)) = all.split_first() else {
            return Err(io::Error::other("no keeper takes any more"));
        };
        let written: Vec<io::Result<()>> = thread::scope(|scope| {
            let write = |it: &Present| self.give(&it.keeper, name, bytes);
            let others: Vec<_> = others
                .iter()
                .map(|it| scope.spawn(move || write(it)))
                .collect();
            let first = write(first);
            let join = |other: thread::ScopedJoinHandle<'_, io::Result<()>>| {
                let ended = other.join();
                ended.unwrap_or_else(|_| Err(io::Error::other("its thread has ended")))
            };
            std::iter::once(first)
                .chain(others.into_iter().map(join))
                .collect()
        });
        let mut error = None;
        for (it, written) in all.iter().zip(written) {
            if let Err(e) = written {
                self.fail(it, &e);
                error = Some(e);
            }
        }
        match error {
            Some(e) if self.usable().next().is_none() => {
                self.report.give_up();
                Err(e)
            }
            _ => Ok(()),
        }
    }

    fn remove(&self, name: &Name) -> io::Result<()> {
        let has_failed = self.usable().count() < self.present.len();
        if has_failed && name.kind == Kind::Data {
            let text = "a keeper takes no more, and lacks what replaces it";
            return Err(io::Error::other(text));
        }
        self.usable().try_for_each(|it| it.keeper.remove(name))
    }

    fn mend(&self, name: &Name) -> bool {
        matches!(self.look_at(name), Looked::Replaced | Looked::Fewer)
    }

    fn verify(&self, lost: &mut Vec<String>) -> Result<u64> {
        let mut replaced = 0;
        for kind in Kind::ALL {
            let files = self.list(kind).map_err(|e| {
                let why = format!("no keeper can be listed: {}", reason(&e));
                BackupError::Failed(why)
            })?;
            for digits in files.into_keys() {
                let name = Name { kind, digits };
                match self.look_at(&name) {
                    Looked::Good | Looked::Fewer => {}
                    Looked::Replaced => replaced += 1,
                    Looked::Lost => lost.push(format!("{}: no good copy", name.digits)),
                }
            }
        }
        Ok(replaced)
    }

    fn fill(&self) -> u64 {
        let mut copied = 0;
        for kind in Kind::ALL {
            let mut sizes: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            let mut keepers = 0;
            for it in self.usable() {
                match it.keeper.list(kind) {
                    Ok(listed) => {
                        keepers += 1;
                        for (digits, size) in listed {
                            sizes.entry(digits).or_default().push(size);
                        }
                    }
                    Err(e) => self.fail(it, &e),
                }
            }
            for (digits, sizes) in sizes {
                let same = sizes.len() == keepers && sizes.iter().all(|size| *size == sizes[0]);
                if !same && matches!(self.look_at(&Name { kind, digits }), Looked::Replaced) {
                    copied += 1;
                }
            }
        }
        copied
    }

    fn sweep(&self) {
        for it in &self.present {
            if let Err(e) = it.keeper.sweep() {
                self.note(it.keeper.path(), &reason(&e));
            }
        }
    }

    fn empty_trash(&self, kept: Duration) -> u64 {
        let mut bytes = 0;
        for it in &self.present {
            match it.keeper.empty_trash(kept) {
                Ok(emptied) => bytes += emptied,
                Err(e) => self.note(it.keeper.path(), &reason(&e)),
            }
        }
        bytes
    }

    fn lock(&self, access: Access) -> Result<Option<Box<dyn Locks>>> {
        let mut files = Vec::new();
        for it in &self.present {
            let lock = it.keeper.lock(access == Access::Remove);
            match lock.map_err(super::local(it.keeper.path()))? {
                Some(file) => files.push(file),
                None => return Ok(None),
            }
        }
        Ok(Some(Box::new(files)))
    }

    fn paths(&self) -> Vec<PathBuf> {
        let present = self.present.iter().map(|it| it.keeper.path());
        let all = present.chain(self.absent.iter().map(PathBuf::as_path));
        all.map(Path::to_owned).collect()
    }

    fn absent(&self) -> &[PathBuf] {
        &self.absent
    }

    fn location(&self) -> String {
        let paths = self.present.iter().map(|it| it.keeper.path());
        let paths: Vec<_> = paths.map(Path::to_string_lossy).collect();
        paths.join(", ")
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

/// Why a keeper did not take a file, and what helps.
fn refusal(error: &io::Error) -> String {
    let help = match is_full(error) {
        true => ": make room there, or forget snapshots and prune with --max-unused unlimited",
        false => "",
    };
    format!("{}{help}", reason(error))
}

fn damage(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::InvalidData => "is damaged".to_owned(),
        _ => format!("can't be read: {}", reason(error)),
    }
}
