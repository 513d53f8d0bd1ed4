//! The files of the store on disk, all beneath `files`, which may be a disk of its own:
//! `<owner>/<kind>/<aa>/<name>`, the same beneath `trash`, and parts of what is on its way
//! in `part`. A stored file is its bytes and its owner's signature behind them. No name of
//! a peer is joined to a path that is not 64 digits.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use openssl::sha::sha256;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::hub::wire::{Key, Kind, Name, Signature, User, Value};
use crate::text::{hex, unhex};

/// Bytes of a signature.
const SIGNATURE: usize = 64;

/// The digits of the name of an owner's directory.
const DIRECTORY: usize = 32;

/// What a part is cut to before more of it comes.
const STEP: u64 = 1 << 20;

/// How long a part is kept that nobody goes on with.
const PART_LIFE: Duration = Duration::from_hours(24);

/// The directory of all files, next to the database.
pub const FILES: &str = "files";

/// The file in it that says which store this is.
const MARK: &str = "store-id";

/// What a store has in that file, in digits.
pub type Mark = [u8; 16];

/// The file in an owner's directory that says whose it is.
const OWNER: &str = "owner";

/// Where a file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    /// Among the stored ones.
    Live,
    /// In the trash.
    Trash,
}

/// A file on disk, as a walk finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it lies.
    pub shelf: Shelf,
    /// What it is, as its path says.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
}

/// The directory of the files.
#[derive(Clone, Debug)]
pub struct Shelves {
    base: PathBuf,
}

/// The digits of an owner's directory.
pub fn directory(key: &Key) -> String {
    let mut digits = hex(&sha256(&key.0));
    digits.truncate(DIRECTORY);
    digits
}

/// The letter of a kind.
fn letter(kind: Kind) -> &'static str {
    match kind {
        Kind::Data => "d",
        Kind::Index => "i",
        Kind::Snapshot => "s",
        Kind::Config => "c",
        Kind::Book => "b",
    }
}

const KINDS: [Kind; 5] = [
    Kind::Data,
    Kind::Index,
    Kind::Snapshot,
    Kind::Config,
    Kind::Book,
];

impl Shelves {
    /// Those of a store.
    pub fn of(store: &Path) -> Shelves {
        let base = store.join(FILES);
        Shelves { base }
    }

    /// Makes what is missing.
    ///
    /// # Errors
    /// The system's.
    pub fn make(&self) -> io::Result<()> {
        for name in ["part", "trash"] {
            make_directory(&self.base.join(name))?;
        }
        Ok(())
    }

    /// Takes over files that lie next to the database, where they lay once.
    fn take_over(&self) -> io::Result<()> {
        let store = self.base.parent().unwrap_or(&self.base);
        let is_ours =
            |name: &String| name.len() == DIRECTORY || ["part", "trash"].contains(&name.as_str());
        for name in names(store)?.into_iter().filter(is_ours) {
            rename(&store.join(&name), &self.base.join(&name))?;
        }
        sync(&self.base)?;
        sync(store)
    }

    /// Which store this is; nothing without the disk with the files.
    ///
    /// # Errors
    /// The system's.
    pub fn mark(&self) -> io::Result<Option<Mark>> {
        let mut text = String::new();
        match open(&self.base.join(MARK), OFlags::RDONLY) {
            Ok(mut file) => file.read_to_string(&mut text)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        Ok(unhex(text.trim_end().as_bytes()).and_then(|bytes| bytes.try_into().ok()))
    }

    /// Begins a store, and marks it. The mark is on disk when this returns.
    ///
    /// # Errors
    /// The system's.
    pub fn begin(&self, mark: &Mark) -> io::Result<()> {
        make_directory(&self.base)?;
        self.take_over()?;
        let text = format!("{}\n", hex(mark));
        write_new(&self.base, MARK, &text)
    }

    fn of_owner(&self, shelf: Shelf, key: &Key) -> PathBuf {
        match shelf {
            Shelf::Live => self.base.join(directory(key)),
            Shelf::Trash => self.base.join("trash").join(directory(key)),
        }
    }

    fn path(&self, shelf: Shelf, key: &Key, kind: Kind, name: Name) -> PathBuf {
        let name = name.text();
        let owner = self.of_owner(shelf, key);
        owner.join(letter(kind)).join(&name[..2]).join(name)
    }

    fn part(&self, key: &Key, name: Name) -> PathBuf {
        let name = format!("{}-{}", directory(key), name.text());
        self.base.join("part").join(name)
    }

    /// Makes an owner's directory, with what says whose it is.
    ///
    /// # Errors
    /// The system's.
    pub fn add_owner(&self, user: &User, key: &Key) -> io::Result<()> {
        let directory = self.of_owner(Shelf::Live, key);
        make_directory(&directory)?;
        let path = directory.join(OWNER);
        if path.exists() {
            return Ok(());
        }
        let text = format!("user {}\nkey {}\n", user.as_str(), key.text());
        write_new(&directory, OWNER, &text)
    }

    /// The owners that have directories.
    ///
    /// # Errors
    /// The system's.
    pub fn owners(&self) -> io::Result<Vec<(User, Key)>> {
        let mut owners = Vec::new();
        for name in names(&self.base)? {
            let path = self.base.join(&name).join(OWNER);
            let is_one = name.len() == DIRECTORY;
            let Some(mut file) = is_one.then(|| open(&path, OFlags::RDONLY).ok()).flatten() else {
                continue;
            };
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
            let user = value("user ").and_then(User::read);
            let key = value("key ").and_then(Key::read);
            owners.extend(user.zip(key).filter(|(_, key)| directory(key) == name));
        }
        Ok(owners)
    }

    /// All files of an owner.
    ///
    /// # Errors
    /// The system's.
    pub fn walk(&self, key: &Key, mut each: impl FnMut(Found)) -> io::Result<()> {
        for shelf in [Shelf::Live, Shelf::Trash] {
            for kind in KINDS {
                let top = self.of_owner(shelf, key).join(letter(kind));
                for begin in names(&top)? {
                    let all = names(&top.join(begin))?.into_iter();
                    let all = all.filter_map(|name| Name::read(&name));
                    all.for_each(|name| each(Found { shelf, kind, name }));
                }
            }
        }
        Ok(())
    }

    /// A file, to be read.
    ///
    /// # Errors
    /// The system's.
    pub fn read(&self, shelf: Shelf, key: &Key, kind: Kind, name: Name) -> io::Result<File> {
        open(&self.path(shelf, key, kind, name), OFlags::RDONLY)
    }

    /// The size and the signature of a stored file; `None` for one that is too short.
    ///
    /// # Errors
    /// The system's.
    pub fn read_end(&self, key: &Key, found: &Found) -> io::Result<Option<(u64, Signature)>> {
        let file = self.read(found.shelf, key, found.kind, found.name)?;
        let Some(size) = file.metadata()?.len().checked_sub(SIGNATURE as u64) else {
            return Ok(None);
        };
        let mut sig = Signature([0; SIGNATURE]);
        file.read_exact_at(&mut sig.0, size)?;
        Ok(Some((size, sig)))
    }

    /// The part of a file, to be written from an offset on that it has; nobody else
    /// goes on with it.
    ///
    /// # Errors
    /// The system's.
    pub fn open_part(&self, key: &Key, name: Name, size: u64) -> io::Result<(OwnedFd, u64)> {
        let file = open(&self.part(key, name), OFlags::RDWR | OFlags::CREATE)?;
        let has = file.metadata()?.len().min(size);
        let from = has - has % STEP;
        file.set_len(from)?;
        Ok((file.into(), from))
    }

    /// Makes a whole part the stored file: it is on disk with its signature, then in
    /// its place, when this returns.
    ///
    /// # Errors
    /// The system's; `InvalidData` for a part of another size.
    pub fn publish(
        &self,
        key: &Key,
        kind: Kind,
        name: Name,
        size: u64,
        sig: &Signature,
    ) -> io::Result<()> {
        let part = self.part(key, name);
        let file = open(&part, OFlags::RDWR)?;
        if file.metadata()?.len() != size {
            return Err(io::ErrorKind::InvalidData.into());
        }
        file.write_all_at(&sig.0, size)?;
        file.sync_all()?;
        let path = self.path(Shelf::Live, key, kind, name);
        self.make_way(&path)?;
        rename(&part, &path)?;
        sync_above(&path)
    }

    /// Takes a part away.
    ///
    /// # Errors
    /// The system's.
    pub fn drop_part(&self, key: &Key, name: Name) -> io::Result<()> {
        remove(&self.part(key, name))
    }

    /// Takes parts away that nobody has gone on with for a day.
    ///
    /// # Errors
    /// The system's.
    pub fn sweep_parts(&self) -> io::Result<()> {
        let parts = self.base.join("part");
        for name in names(&parts)? {
            let path = parts.join(name);
            let changed = std::fs::symlink_metadata(&path)?.modified()?;
            let age = SystemTime::now().duration_since(changed);
            if age.is_ok_and(|age| age > PART_LIFE) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Moves a file between the stored ones and the trash. It is there on disk when
    /// this returns.
    ///
    /// # Errors
    /// The system's.
    pub fn shift(
        &self,
        from: Shelf,
        to: Shelf,
        key: &Key,
        kind: Kind,
        name: Name,
    ) -> io::Result<()> {
        let (old, new) = (
            self.path(from, key, kind, name),
            self.path(to, key, kind, name),
        );
        self.make_way(&new)?;
        rename(&old, &new)?;
        sync_above(&new)?;
        sync_above(&old)
    }

    /// Removes a file for good.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, shelf: Shelf, key: &Key, kind: Kind, name: Name) -> io::Result<()> {
        let path = self.path(shelf, key, kind, name);
        remove(&path)?;
        sync_above(&path)
    }

    /// Sets a file aside whose bytes are not what its name says.
    ///
    /// # Errors
    /// The system's.
    pub fn set_aside(&self, shelf: Shelf, key: &Key, kind: Kind, name: Name) -> io::Result<()> {
        let path = self.path(shelf, key, kind, name);
        rename(&path, &path.with_extension("bad"))?;
        sync_above(&path)
    }

    /// Bytes of the disk that are free for this user.
    ///
    /// # Errors
    /// The system's.
    pub fn free(&self) -> io::Result<u64> {
        let directory = open(&self.base, OFlags::PATH | OFlags::DIRECTORY)?;
        let found = rustix::fs::fstatfs(&directory)?;
        let size = u64::try_from(found.f_bsize).unwrap_or(0);
        Ok(found.f_bavail.saturating_mul(size))
    }

    /// Makes the directories above a file.
    fn make_way(&self, path: &Path) -> io::Result<()> {
        let inside = path.strip_prefix(&self.base).map_err(io::Error::other)?;
        let mut at = self.base.clone();
        for part in inside.parent().iter().flat_map(|above| above.iter()) {
            at.push(part);
            make_directory(&at)?;
        }
        Ok(())
    }
}

/// Opens a file, not a link.
fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    Ok(rustix::fs::openat(CWD, path, flags, mode).map(File::from)?)
}

/// Writes a file, which is on disk, whole, when this returns.
fn write_new(directory: &Path, name: &str, text: &str) -> io::Result<()> {
    let new = directory.join(format!("{name}.new"));
    let mut file = open(&new, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    rename(&new, &directory.join(name))?;
    sync(directory)
}

/// Makes a directory unless it is there; a new one is on disk when this returns.
fn make_directory(path: &Path) -> io::Result<()> {
    match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
        Ok(()) => sync_above(path),
        Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// The names in a directory; none without a directory.
fn names(path: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&e.kind()) => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(e),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let none = rustix::fs::RenameFlags::empty();
    Ok(rustix::fs::renameat_with(CWD, from, CWD, to, none)?)
}

/// Removes a file unless it is gone.
fn remove(path: &Path) -> io::Result<()> {
    match rustix::fs::unlinkat(CWD, path, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn sync_above(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync)
}

fn sync(directory: &Path) -> io::Result<()> {
    let directory = open(directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
    Ok(rustix::fs::fsync(directory.as_fd())?)
}
