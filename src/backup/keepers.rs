//! All keepers of an owner as the storage of a repository: what is written goes to
//! each, what is read comes from one that has it whole, and a damaged copy is
//! replaced from another.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::keeper::{Keeper, Kind, Name};
use super::seed::{Identity, Seed};
use super::{BackupError, Result};
use crate::text::reason;

/// The most bytes of whole packs in memory.
const WHOLE_PACKS: usize = 64 << 20;

/// The keepers of one owner.
pub(crate) struct Keepers {
    present: Vec<Present>,
    /// Those that are not there now.
    pub(crate) absent: Vec<PathBuf>,
    identity: Identity,
    packs: Mutex<VecDeque<(Name, Bytes)>>,
    notes: Mutex<Vec<String>>,
    /// Whether nothing can be written any more.
    broken: AtomicBool,
    /// Whether a file could not be given to each keeper.
    fewer: AtomicBool,
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

/// What keeps others from removing files, or from adding any, until it is dropped.
pub(crate) struct Locks {
    _files: Vec<File>,
}

impl Keepers {
    /// Lets these directories keep this owner's files.
    pub(crate) fn create(paths: &[PathBuf], seed: &Seed) -> Result<()> {
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
    pub(crate) fn open(paths: &[PathBuf], seed: &Seed) -> Result<Keepers> {
        let identity = seed.identity()?;
        let owner = identity.directory();
        let (mut present, mut absent) = (Vec::new(), Vec::new());
        let mut notes = Vec::new();
        for path in paths {
            match Keeper::open(path, &owner) {
                Ok(keeper) => present.push(Present {
                    keeper,
                    failed: AtomicBool::new(false),
                }),
                Err(e) => {
                    if e.kind() != ErrorKind::NotFound {
                        notes.push(format!("{}: {}", path.display(), reason(&e)));
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
        Ok(Keepers {
            present,
            absent,
            identity,
            packs: Mutex::default(),
            notes: Mutex::new(notes),
            broken: AtomicBool::new(false),
            fewer: AtomicBool::new(false),
        })
    }

    /// Locks all of them: exclusively, or beside others that add files. `None` if
    /// another run forbids it.
    pub(crate) fn lock(&self, exclusive: bool) -> Result<Option<Locks>> {
        let mut files = Vec::new();
        for it in &self.present {
            let lock = it.keeper.lock(exclusive);
            match lock.map_err(super::local(it.keeper.path()))? {
                Some(file) => files.push(file),
                None => return Ok(None),
            }
        }
        Ok(Some(Locks { _files: files }))
    }

    /// Where they are, those that are not there now, too.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let present = self.present.iter().map(|it| it.keeper.path());
        present.chain(self.absent.iter().map(PathBuf::as_path))
    }

    /// What happened that a person should know, since the last call.
    pub(crate) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut held(&self.notes))
    }

    /// Whether something that was written lacks a copy.
    pub(crate) fn has_fewer_copies(&self) -> bool {
        !self.absent.is_empty() || self.fewer.load(Ordering::Relaxed)
    }

    /// Whether nothing could be written any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Lets no more be written: the run has been given up.
    pub(super) fn give_up(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Removes what runs that were killed have left.
    pub(crate) fn sweep(&self) {
        for it in &self.present {
            if let Err(e) = it.keeper.sweep() {
                self.note(it.keeper.path(), &reason(&e));
            }
        }
    }

    /// Gives each keeper what it lacks and another has, and replaces copies that are
    /// shorter. The number of files copied.
    pub(crate) fn fill(&self) -> u64 {
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

    /// Looks at each copy of a file and replaces what is damaged or missing from a
    /// good one. Whether damage was found, and a good copy is read from now on.
    pub(super) fn mend(&self, name: &Name) -> bool {
        matches!(self.look_at(name), Looked::Replaced | Looked::Fewer)
    }

    /// Reads every copy of every file and replaces those that are missing or damaged.
    /// The number of such files; `lost` gets those without a good copy.
    pub(super) fn verify(&self, lost: &mut Vec<String>) -> Result<u64> {
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
            Some(bytes) => {
                held(&self.packs).retain(|(held, _)| held != name);
                match self.replace(name, &Bytes::from(bytes), &bad) {
                    true => Looked::Replaced,
                    false => Looked::Fewer,
                }
            }
        }
    }

    /// Empties the trash of what has been there for so long. The bytes of that.
    pub(super) fn empty_trash(&self, kept: Duration) -> u64 {
        let mut bytes = 0;
        for it in &self.present {
            match it.keeper.empty_trash(kept) {
                Ok(emptied) => bytes += emptied,
                Err(e) => self.note(it.keeper.path(), &reason(&e)),
            }
        }
        bytes
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
                    self.fewer.store(true, Ordering::Relaxed);
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
        self.fewer.store(true, Ordering::Relaxed);
        let why = format!("takes no more: {}", refusal(error));
        self.note(it.keeper.path(), &why);
    }

    fn note(&self, path: &Path, what: &str) {
        held(&self.notes).push(format!("{}: {what}", path.display()));
    }

    /// The names of all files of a kind with their sizes, at whichever keeper.
    pub(super) fn list(&self, kind: Kind) -> io::Result<BTreeMap<String, u64>> {
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

    /// A whole file, from the first keeper whose copy is good; the others get one.
    pub(super) fn read(&self, name: &Name) -> io::Result<Bytes> {
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

    /// Some bytes of a file: of one whose neighbours will be wanted, too, from memory.
    pub(super) fn read_at(
        &self,
        name: &Name,
        whole: bool,
        offset: u32,
        length: u32,
    ) -> io::Result<Bytes> {
        if whole {
            let bytes = self.read_whole_once(name)?;
            let (from, len) = (offset as usize, length as usize);
            let to = from.saturating_add(len);
            return match bytes.len() < to {
                true => Err(ErrorKind::UnexpectedEof.into()),
                false => Ok(bytes.slice(from..to)),
            };
        }
        let mut error = ErrorKind::NotFound.into();
        for it in self.usable() {
            match it.keeper.read_at(name, offset, length) {
                Ok(bytes) => return Ok(bytes.into()),
                Err(e) => error = e,
            }
        }
        Err(error)
    }

    fn read_whole_once(&self, name: &Name) -> io::Result<Bytes> {
        let known = |packs: &VecDeque<(Name, Bytes)>| {
            let found = packs.iter().find(|(held, _)| held == name);
            found.map(|(_, bytes)| bytes.clone())
        };
        if let Some(bytes) = known(&held(&self.packs)) {
            return Ok(bytes);
        }
        let bytes = self.read(name)?;
        let mut packs = held(&self.packs);
        packs.push_front((name.clone(), bytes.clone()));
        let mut total = 0;
        packs.retain(|(_, bytes)| {
            total += bytes.len();
            total <= WHOLE_PACKS
        });
        Ok(bytes)
    }

    /// Gives a file to each keeper. One keeper that has it is enough.
    pub(super) fn write(&self, name: &Name, bytes: &[Bytes]) -> io::Result<()> {
        if self.is_broken() {
            return Err(io::Error::other("the run has been given up"));
        }
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
                self.give_up();
                Err(e)
            }
            _ => Ok(()),
        }
    }

    /// Moves a file into the trash of each keeper. A keeper that failed in this run keeps
    /// what it has, and the others keep packs: it may lack those that replace them.
    pub(super) fn remove(&self, name: &Name) -> io::Result<()> {
        let has_failed = self.usable().count() < self.present.len();
        if has_failed && name.kind == Kind::Data {
            let text = "a keeper takes no more, and lacks what replaces it";
            return Err(io::Error::other(text));
        }
        self.usable().try_for_each(|it| it.keeper.remove(name))
    }

    /// What they are, for people.
    pub(super) fn location(&self) -> String {
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

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
