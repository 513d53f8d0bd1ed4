//! All keepers of an owner as the storage of a repository: directories that have a copy
//! each, or those of a hub. What will be wanted again is kept in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::account::Account;
use super::directories::Directories;
use super::hub::{Emergency, Hub};
use super::keeper::{Kind, Name};
use super::seed::Seed;
use super::{BackupError, Result};

/// The most bytes of whole packs in memory.
const WHOLE_PACKS: usize = 64 << 20;

/// With so many parts that are wanted, a pack from far away comes as a whole.
const PARTS: u32 = 3;

/// The copies of an owner's files, wherever they are.
pub(super) trait Copies: Send + Sync {
    /// The names of all files of a kind with their sizes.
    fn list(&self, kind: Kind) -> io::Result<BTreeMap<String, u64>>;

    /// A whole file, compared with its name.
    fn read(&self, name: &Name) -> io::Result<Bytes>;

    /// Some bytes of a file, which nobody has compared with its name.
    fn read_at(&self, name: &Name, offset: u32, length: u32) -> io::Result<Bytes>;

    /// Adds a file. What it names is there when it is.
    fn write(&self, name: &Name, bytes: &[Bytes]) -> io::Result<()>;

    /// Moves a file into the trash.
    fn remove(&self, name: &Name) -> io::Result<()>;

    /// Whether this owner may remove files.
    fn may_remove(&self) -> Result<()> {
        Ok(())
    }

    /// Looks at each copy of a file. Whether damage was found, and a good copy is read
    /// from now on.
    fn mend(&self, name: &Name) -> bool;

    /// Reads every copy of every file. The number of those that were replaced; `lost`
    /// gets those without a good copy.
    fn verify(&self, lost: &mut Vec<String>) -> Result<u64>;

    /// Reads one of these chunks back from each keeper that this run has dealt with;
    /// `opens` says whether it is one.
    fn prove(&self, _: &[Sample], _: &Opens<'_>) {}

    /// Whether each read of a part takes a while.
    fn is_far(&self) -> bool {
        false
    }

    /// Gives each keeper what it lacks. The number of files copied.
    fn fill(&self) -> u64 {
        0
    }

    /// Removes what runs that were killed have left.
    fn sweep(&self) {}

    /// Empties the trash of what has been there for so long. The bytes of that.
    fn empty_trash(&self, _: Duration) -> u64 {
        0
    }

    /// Keeps others from what would harm; `None` if another run forbids it.
    fn lock(&self, access: Access) -> Result<Option<Box<dyn Locks>>>;

    /// Whether a repository may be missing without being lost.
    fn may_be_new(&self) -> bool {
        false
    }

    /// Directories of keepers on this machine.
    fn paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Those of them that are not there now.
    fn absent(&self) -> &[PathBuf] {
        &[]
    }

    /// What they are, for people.
    fn location(&self) -> String;
}

/// A chunk, and where it is.
pub(super) struct Sample {
    /// The pack.
    pub(super) name: Name,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) chunk: Chunk,
}

/// What is sealed there.
pub(super) struct Chunk {
    /// Its SHA-256, in hex.
    pub(super) digits: String,
    /// Its bytes, if it is compressed.
    pub(super) size: Option<u32>,
}

/// Whether what was read is this chunk, sealed.
pub(super) type Opens<'a> = dyn Fn(&Chunk, &[u8]) -> bool + 'a;

/// What a run does with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It reads some: none may be removed.
    Read,
    /// It adds some: none may be removed.
    Add,
    /// It removes some: none may be added.
    Remove,
}

/// What keeps others from removing files, or from adding any, until it is dropped.
pub(crate) trait Locks {
    /// Ends what was done under it. An error means that something is missing.
    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// What the keepers have to say.
#[derive(Default)]
pub(super) struct Report {
    notes: Mutex<Vec<String>>,
    /// Whether nothing can be written any more.
    broken: AtomicBool,
    /// Whether a file could not be given to as many keepers as it should.
    fewer: AtomicBool,
    /// What was said once.
    said: Mutex<BTreeSet<String>>,
    /// What is waited for now.
    waiting: Mutex<Option<String>>,
}

impl Report {
    /// Something that a person should know.
    pub(super) fn note(&self, about: &dyn fmt::Display, what: &str) {
        held(&self.notes).push(format!("{about}: {what}"));
    }

    /// The same, unless it was said before.
    pub(super) fn note_once(&self, about: &dyn fmt::Display, what: &str) {
        if held(&self.said).insert(format!("{about}: {what}")) {
            self.note(about, what);
        }
    }

    /// What the run waits for from now on; whether there was something before.
    pub(super) fn waits_for(&self, what: Option<String>) -> bool {
        std::mem::replace(&mut *held(&self.waiting), what).is_some()
    }

    /// All of it since the last call.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut held(&self.notes))
    }

    /// Something that was written lacks a copy.
    pub(super) fn has_fewer(&self) {
        self.fewer.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_fewer(&self) -> bool {
        self.fewer.load(Ordering::Relaxed)
    }

    /// Lets no more be written: the run has been given up.
    pub(super) fn give_up(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }
}

/// The keepers of one owner.
pub(crate) struct Keepers {
    copies: Box<dyn Copies>,
    report: Arc<Report>,
    packs: Mutex<VecDeque<(Name, Bytes)>>,
    parts: Mutex<Parts>,
    come: Condvar,
}

/// Parts of packs that have been read, and whole packs that come.
#[derive(Default)]
struct Parts {
    /// How often a part of a pack has been read.
    read: BTreeMap<String, u32>,
    coming: BTreeSet<String>,
}

impl Keepers {
    /// Lets these directories keep this owner's files.
    pub(crate) fn create(paths: &[PathBuf], seed: &Seed) -> Result<()> {
        Directories::create(paths, seed)
    }

    /// Those of the given directories that are there.
    ///
    /// # Errors
    /// [`super::BackupError::WrongKey`] when none keeps anything for this owner.
    pub(crate) fn open(paths: &[PathBuf], seed: &Seed) -> Result<Keepers> {
        let report = Arc::new(Report::default());
        let directories = Directories::open(paths, seed, Arc::clone(&report))?;
        Ok(Keepers::of(Box::new(directories), report))
    }

    /// Those of an account at a hub.
    ///
    /// # Errors
    /// [`super::BackupError::NoHub`] when it can't be reached.
    pub(crate) fn of_hub(account: &Account, seed: &Seed) -> Result<Keepers> {
        let report = Arc::new(Report::default());
        let hub = Hub::open(account, seed, Arc::clone(&report))?;
        Ok(Keepers::of(Box::new(hub), report))
    }

    /// Those that are asked without their hub, each `NAME@HOST:PORT`.
    ///
    /// # Errors
    /// [`BackupError::NoHub`] when none answers.
    pub(crate) fn without_hub(
        account: &Account,
        seed: &Seed,
        keepers: &[String],
    ) -> Result<Keepers> {
        let report = Arc::new(Report::default());
        let found = Emergency::open(account, seed, keepers, Arc::clone(&report))?;
        Ok(Keepers::of(Box::new(found), report))
    }

    fn of(copies: Box<dyn Copies>, report: Arc<Report>) -> Keepers {
        Keepers {
            copies,
            report,
            packs: Mutex::default(),
            parts: Mutex::default(),
            come: Condvar::new(),
        }
    }

    /// Locks all of them. `None` if another run forbids it.
    pub(crate) fn lock(&self, access: Access) -> Result<Option<Box<dyn Locks>>> {
        self.copies.lock(access)
    }

    /// Whether the repository is still to be made. Those of directories are made with them.
    pub(crate) fn is_new(&self) -> Result<bool> {
        let listed = self.list(Kind::Config).map_err(|e| {
            let why = format!("can't list files: {}", crate::text::reason(&e));
            BackupError::Failed(why)
        })?;
        Ok(self.copies.may_be_new() && listed.is_empty())
    }

    /// The directories among them, those that are not there now, too.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.copies.paths()
    }

    /// Directories that are not there now.
    pub(crate) fn absent(&self) -> &[PathBuf] {
        self.copies.absent()
    }

    /// What happened that a person should know, since the last call.
    pub(crate) fn take_notes(&self) -> Vec<String> {
        self.report.take()
    }

    /// Whether something that was written lacks a copy.
    pub(crate) fn has_fewer_copies(&self) -> bool {
        self.report.is_fewer()
    }

    /// What is waited for now.
    pub(crate) fn waits_for(&self) -> Option<String> {
        held(&self.report.waiting).clone()
    }

    /// Reads one of these chunks back from each keeper that this run has dealt with.
    pub(super) fn prove(&self, samples: &[Sample], opens: &Opens<'_>) {
        self.copies.prove(samples, opens);
    }

    /// Whether nothing could be written any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.report.is_broken()
    }

    /// Removes what runs that were killed have left.
    pub(crate) fn sweep(&self) {
        self.copies.sweep();
    }

    /// Gives each keeper what it lacks and another has, and replaces copies that are
    /// shorter. The number of files copied.
    pub(crate) fn fill(&self) -> u64 {
        self.copies.fill()
    }

    /// Whether this owner may remove files.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn may_remove(&self) -> Result<()> {
        self.copies.may_remove()
    }

    /// Looks at each copy of a file and replaces what is damaged or missing from a
    /// good one. Whether damage was found, and a good copy is read from now on.
    pub(super) fn mend(&self, name: &Name) -> bool {
        held(&self.packs).retain(|(held, _)| held != name);
        self.copies.mend(name)
    }

    /// Reads every copy of every file and replaces those that are missing or damaged.
    /// The number of such files; `lost` gets those without a good copy.
    pub(super) fn verify(&self, lost: &mut Vec<String>) -> Result<u64> {
        held(&self.packs).clear();
        self.copies.verify(lost)
    }

    /// Empties the trash of what has been there for so long. The bytes of that.
    pub(super) fn empty_trash(&self, kept: Duration) -> u64 {
        self.copies.empty_trash(kept)
    }

    /// The names of all files of a kind with their sizes, at whichever keeper.
    pub(super) fn list(&self, kind: Kind) -> io::Result<BTreeMap<String, u64>> {
        self.copies.list(kind)
    }

    /// A whole file, from the first keeper whose copy is good.
    pub(super) fn read(&self, name: &Name) -> io::Result<Bytes> {
        self.copies.read(name)
    }

    /// Some bytes of a file: of one whose neighbours will be wanted, too, from memory.
    pub(super) fn read_at(
        &self,
        name: &Name,
        whole: bool,
        offset: u32,
        length: u32,
    ) -> io::Result<Bytes> {
        if !whole && !self.is_worth_the_whole(name) {
            return self.copies.read_at(name, offset, length);
        }
        let Ok(bytes) = self.read_whole_once(name) else {
            // Where one part of it is damaged, this one may be good: its seal says that.
            return self.copies.read_at(name, offset, length);
        };
        let (from, len) = (offset as usize, length as usize);
        let to = from.saturating_add(len);
        match bytes.len() < to {
            true => Err(ErrorKind::UnexpectedEof.into()),
            false => Ok(bytes.slice(from..to)),
        }
    }

    /// Whether a pack is to come as a whole: more of it is wanted than a part or two. One
    /// that has come so, and has left memory, comes in parts again.
    fn is_worth_the_whole(&self, name: &Name) -> bool {
        if !self.copies.is_far() {
            return false;
        }
        if self.known(name).is_some() {
            return true;
        }
        let mut parts = held(&self.parts);
        let read = parts.read.entry(name.digits.clone()).or_default();
        *read += 1;
        *read == PARTS || parts.coming.contains(&name.digits)
    }

    /// A pack that is in memory.
    fn known(&self, name: &Name) -> Option<Bytes> {
        let packs = held(&self.packs);
        let found = packs.iter().find(|(held, _)| held == name);
        found.map(|(_, bytes)| bytes.clone())
    }

    /// The pack in memory. It is read into it once, also where several ask at the same time.
    fn read_whole_once(&self, name: &Name) -> io::Result<Bytes> {
        let mut parts = held(&self.parts);
        while parts.coming.contains(&name.digits) {
            parts = self
                .come
                .wait(parts)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(bytes) = self.known(name) {
            return Ok(bytes);
        }
        parts.coming.insert(name.digits.clone());
        drop(parts);
        let read = self.read_into_memory(name);
        held(&self.parts).coming.remove(&name.digits);
        self.come.notify_all();
        read
    }

    fn read_into_memory(&self, name: &Name) -> io::Result<Bytes> {
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

    /// Gives a file to each keeper that should have it. One that has it is enough.
    pub(super) fn write(&self, name: &Name, bytes: &[Bytes]) -> io::Result<()> {
        if self.is_broken() {
            return Err(io::Error::other("the run has been given up"));
        }
        self.copies.write(name, bytes)
    }

    /// Moves a file into the trash of each keeper.
    pub(super) fn remove(&self, name: &Name) -> io::Result<()> {
        self.copies.remove(name)
    }

    /// What they are, for people.
    pub(super) fn location(&self) -> String {
        self.copies.location()
    }
}

pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
