//! A keeper that is a directory: `OWNER/KIND/AA/NAME`, where a name is the SHA-256
//! of the file's bytes, which the owner's signature follows. No byte of a file
//! counts before its name has been compared.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use openssl::sha::Sha256;
use rustix::fs::FlockOperation;

use super::seed::{Identity, SIGNATURE};
use crate::text::hex;

/// Bytes of the signature behind each file.
const SEAL: u64 = SIGNATURE as u64;

/// What a file is for the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Config,
    Data,
    Index,
    Snapshot,
}

impl Kind {
    /// All of them, in the order in which copies are made: what is named comes
    /// before what names it.
    pub(super) const ALL: [Kind; 4] = [Kind::Config, Kind::Data, Kind::Index, Kind::Snapshot];

    fn directory(self) -> &'static str {
        match self {
            Kind::Config => "c",
            Kind::Data => "d",
            Kind::Index => "i",
            Kind::Snapshot => "s",
        }
    }
}

/// A file of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) kind: Kind,
    /// 64 lower-case digits.
    pub(super) digits: String,
}

/// A directory that keeps an owner's files.
pub(super) struct Keeper {
    path: PathBuf,
    owner: String,
}

impl Keeper {
    /// Makes what a directory needs to keep files of this owner. One that does
    /// already is fine.
    pub(super) fn create(path: &Path, owner: &str) -> io::Result<Keeper> {
        fs::create_dir_all(path)?;
        for directory in ["part", "trash", owner] {
            make_directory(&path.join(directory))?;
        }
        sync_directory(path)?;
        Keeper::open(path, owner)
    }

    /// One that exists. A disk that is not mounted has nothing of the owner's.
    pub(super) fn open(path: &Path, owner: &str) -> io::Result<Keeper> {
        fs::read_dir(path.join(owner))?;
        Ok(Keeper {
            path: path.to_owned(),
            owner: owner.to_owned(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A lock on it, which ends with the handle or the process: shared by those who
    /// add files, exclusive for who removes some.
    pub(super) fn lock(&self, exclusive: bool) -> io::Result<Option<File>> {
        let operation = match exclusive {
            true => FlockOperation::NonBlockingLockExclusive,
            false => FlockOperation::NonBlockingLockShared,
        };
        let file = File::open(self.path.join(&self.owner))?;
        match rustix::fs::flock(&file, operation) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn place(&self, name: &Name) -> PathBuf {
        let aa = &name.digits[..2];
        let kind = self.path.join(&self.owner).join(name.kind.directory());
        kind.join(aa).join(&name.digits)
    }

    /// The files of a kind with their sizes.
    pub(super) fn list(&self, kind: Kind) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        let top = self.path.join(&self.owner).join(kind.directory());
        let directories = match fs::read_dir(&top) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(files),
            directories => directories?,
        };
        for directory in directories {
            for entry in fs::read_dir(directory?.path())? {
                let entry = entry?;
                let Ok(digits) = entry.file_name().into_string() else {
                    continue;
                };
                if is_name(&digits) {
                    files.push((digits, entry.metadata()?.len().saturating_sub(SEAL)));
                }
            }
        }
        Ok(files)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// `InvalidData` when they are not what the name says.
    pub(super) fn read(&self, name: &Name) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.place(name))?.read_to_end(&mut bytes)?;
        let len = bytes.len().saturating_sub(SIGNATURE);
        bytes.truncate(len);
        let mut hash = Sha256::new();
        hash.update(&bytes);
        match hex(&hash.finish()) == name.digits {
            true => Ok(bytes),
            false => Err(ErrorKind::InvalidData.into()),
        }
    }

    /// The same, and the owner's signature is compared, too.
    pub(super) fn read_sealed(&self, name: &Name, by: &Identity) -> io::Result<Vec<u8>> {
        let bytes = self.read(name)?;
        let size = bytes.len() as u64;
        let mut seal = [0; SIGNATURE];
        File::open(self.place(name))?.read_exact_at(&mut seal, size)?;
        match by.has_signed(&name.digits, size, &seal) {
            Ok(true) => Ok(bytes),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }

    /// Some of its bytes, which nobody has compared with its name.
    pub(super) fn read_at(&self, name: &Name, offset: u32, length: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length as usize];
        File::open(self.place(name))?.read_exact_at(&mut bytes, u64::from(offset))?;
        Ok(bytes)
    }

    /// Whether it has a file of that name, damaged or not.
    pub(super) fn has(&self, name: &Name) -> bool {
        self.place(name).exists()
    }

    /// Adds a file. It is on disk, whole, when this returns.
    pub(super) fn write(&self, name: &Name, bytes: &[Bytes], by: &Identity) -> io::Result<()> {
        let size = bytes.iter().map(|part| part.len() as u64).sum();
        let seal = by.sign_file(&name.digits, size).map_err(io::Error::other)?;
        // Two machines may have the same file at once.
        let part = format!("{}.{}", name.digits, std::process::id());
        let part = self.path.join("part").join(part);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)?;
        let written = bytes
            .iter()
            .try_for_each(|part| file.write_all(part))
            .and_then(|()| file.write_all(&seal))
            .and_then(|()| file.sync_all())
            .and_then(|()| self.publish(&part, name));
        if written.is_err() {
            // What failed is reported.
            let _ = fs::remove_file(&part);
        }
        written
    }

    fn publish(&self, part: &Path, name: &Name) -> io::Result<()> {
        let place = self.place(name);
        let directory = place.parent().unwrap_or(&self.path);
        if !directory.is_dir() {
            let kind = directory.parent().unwrap_or(&self.path);
            make_directory(kind)?;
            make_directory(directory)?;
            sync_directory(kind)?;
            sync_directory(&self.path.join(&self.owner))?;
        }
        fs::rename(part, &place)?;
        sync_directory(directory)
    }

    /// Moves a file into the trash.
    pub(super) fn remove(&self, name: &Name) -> io::Result<()> {
        let trash = self.path.join("trash").join(&self.owner);
        make_directory(&trash)?;
        let trash = trash.join(name.kind.directory());
        make_directory(&trash)?;
        let to = trash.join(&name.digits);
        let from = self.place(name);
        match fs::rename(&from, &to) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            moved => moved?,
        }
        // It stays in the trash from now on.
        File::open(&to)?.set_modified(SystemTime::now())?;
        sync_directory(&trash)?;
        sync_directory(from.parent().unwrap_or(&self.path))
    }

    /// Removes for good what has been in the trash for so long. The bytes of that.
    pub(super) fn empty_trash(&self, kept: Duration) -> io::Result<u64> {
        let mut bytes = 0;
        for kind in Kind::ALL {
            let trash = self
                .path
                .join("trash")
                .join(&self.owner)
                .join(kind.directory());
            let entries = match fs::read_dir(trash) {
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                let metadata = entry.metadata()?;
                let age = metadata.modified()?.elapsed();
                if age.is_ok_and(|age| age > kept) {
                    fs::remove_file(entry.path())?;
                    bytes += metadata.len();
                }
            }
        }
        Ok(bytes)
    }

    /// Takes a damaged copy out of the way.
    pub(super) fn set_aside(&self, name: &Name) -> io::Result<()> {
        let place = self.place(name);
        fs::rename(&place, place.with_extension("bad"))
    }

    /// Removes the parts of runs that ended long ago.
    pub(super) fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.path.join("part"))? {
            let entry = entry?;
            let age = entry.metadata()?.modified()?.elapsed();
            if age.is_ok_and(|age| age > PART_KEPT) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// How long a part may still be somebody's.
const PART_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether this is the name of a file, and no way out of a directory.
fn is_name(digits: &str) -> bool {
    digits.len() == 64
        && digits
            .bytes()
            .all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

fn make_directory(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
