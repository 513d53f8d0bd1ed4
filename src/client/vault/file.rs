//! A KDBX file on disk: read whole, and replaced so that it is the old one or the new
//! one at every moment. What a program has changed in the meantime is never
//! overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use openssl::sha::sha256;
use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use super::VaultError;
use super::database::Database;
use super::export;
use super::kdbx::{Kdbx, OpenError, composite_key};
use super::xml::Element;
use crate::text::hex;

/// The most bytes of a file.
const MAX_FILE: u64 = 1 << 30;

/// How often a change is tried that another program's change comes before.
const TRIES: usize = 5;

/// An open password database.
pub struct VaultFile {
    /// The file itself, behind all links.
    path: PathBuf,
    /// Its holder alone may replace the file.
    lock: File,
    kdbx: Kdbx,
    /// The digest of the file that was read.
    read: [u8; 32],
    /// What is in it.
    pub database: Database,
}

/// Whether a file was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// The new version is there.
    Yes,
    /// Another program has changed it since it was read: nothing was written.
    Changed,
}

impl VaultFile {
    /// Opens a file; waits while another `tf` has it.
    ///
    /// # Errors
    /// `Local`, `Password` or `Unreadable`.
    pub fn open(
        path: &Path,
        password: &str,
        key_file: Option<&Path>,
    ) -> Result<VaultFile, VaultError> {
        let local = |e| VaultError::local(path, e);
        let key_file = match key_file {
            None => None,
            Some(file) => Some(Zeroizing::new(
                fs::read(file).map_err(|e| VaultError::local(file, e))?,
            )),
        };
        let key = composite_key(password, key_file.as_ref().map(|key| key.as_slice()));
        let path = fs::canonicalize(path).map_err(local)?;
        let (lock, bytes) = locked(&path).map_err(local)?;
        let mut kdbx = Kdbx::open(&bytes, &key).map_err(|e| unopened(&path, e))?;
        let database =
            Database::take_from(&mut kdbx).map_err(|why| VaultError::unreadable(&path, why))?;
        Ok(VaultFile {
            path,
            lock,
            kdbx,
            read: sha256(&bytes),
            database,
        })
    }

    /// Makes a new file; one that exists is left alone.
    ///
    /// # Errors
    /// `Local`.
    pub fn create(path: &Path, password: &str, key_file: Option<&Path>) -> Result<(), VaultError> {
        let key_file = match key_file {
            None => None,
            Some(file) => Some(fs::read(file).map_err(|e| VaultError::local(file, e))?),
        };
        let failed = |why: String| VaultError::local(path, io::Error::other(why));
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let key = composite_key(password, key_file.as_deref());
        let database = Database::new(&name).map_err(failed)?;
        let mut kdbx = Kdbx::new(&key, Element::default()).map_err(failed)?;
        database.put_into(&mut kdbx);
        let bytes = kdbx.to_bytes().map_err(failed)?;
        let new = beside(path).map_err(failed)?;
        let written = write(&new, &bytes, 0o600).and_then(|()| fs::hard_link(&new, path));
        let _ = fs::remove_file(&new);
        written
            .and_then(|()| sync_directory(path))
            .map_err(|e| VaultError::local(path, e))
    }

    /// The file itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file by what the database is now, unless it was changed since
    /// it was read.
    ///
    /// # Errors
    /// `Local`: the old file is there.
    pub fn save(&mut self) -> Result<Saved, VaultError> {
        let failed = |why: String| VaultError::local(&self.path, io::Error::other(why));
        self.database.put_into(&mut self.kdbx);
        let made = self.kdbx.to_bytes();
        self.kdbx.document = Element::default();
        let bytes = made.map_err(failed)?;
        let local = |e| VaultError::local(&self.path, e);
        let mode = fs::metadata(&self.path)
            .map_err(local)?
            .permissions()
            .mode()
            & 0o777;
        let new = beside(&self.path).map_err(failed)?;
        let replaced = write(&new, &bytes, mode).and_then(|()| {
            if sha256(&fs::read(&self.path)?) != self.read {
                return Ok(Saved::Changed);
            }
            fs::rename(&new, &self.path)?;
            sync_directory(&self.path)?;
            Ok(Saved::Yes)
        });
        if !matches!(replaced, Ok(Saved::Yes)) {
            let _ = fs::remove_file(&new);
        }
        let saved = replaced.map_err(local)?;
        if saved == Saved::Yes {
            self.read = sha256(&bytes);
            self.relock()
                .map_err(|e| VaultError::local(&self.path, e))?;
        }
        Ok(saved)
    }

    /// The whole document as KeePass exports it, see [`export::xml`].
    ///
    /// # Errors
    /// `Local`.
    pub fn to_xml(&mut self) -> Result<Zeroizing<String>, VaultError> {
        self.database.put_into(&mut self.kdbx);
        let document = std::mem::take(&mut self.kdbx.document);
        let made = export::xml(document, &self.database.attachments);
        made.map_err(|why| VaultError::local(&self.path, io::Error::other(why)))
    }

    /// Moves the lock to the new file.
    fn relock(&mut self) -> io::Result<()> {
        let lock = File::open(&self.path)?;
        flock(&lock, FlockOperation::LockExclusive)?;
        self.lock = lock;
        Ok(())
    }

    /// Lets others have the file, until it is read again.
    ///
    /// # Errors
    /// `Local`.
    pub fn release(&self) -> Result<(), VaultError> {
        flock(&self.lock, FlockOperation::Unlock)
            .map_err(|e| VaultError::local(&self.path, e.into()))
    }

    /// Reads the file again; what was not saved is lost. Whether it is another one
    /// than was read.
    ///
    /// # Errors
    /// `Local`, `Unreadable`, or `OtherKey`.
    pub fn reread(&mut self) -> Result<bool, VaultError> {
        let (lock, bytes) = locked(&self.path).map_err(|e| VaultError::local(&self.path, e))?;
        let reopened = self.kdbx.reopen(&bytes);
        let mut kdbx = reopened.map_err(|e| match unopened(&self.path, e) {
            VaultError::Password { path } => VaultError::OtherKey { path },
            other => other,
        })?;
        let taken = Database::take_from(&mut kdbx);
        self.database = taken.map_err(|why| VaultError::unreadable(&self.path, why))?;
        let digest = sha256(&bytes);
        let is_other = digest != self.read;
        (self.kdbx, self.lock, self.read) = (kdbx, lock, digest);
        Ok(is_other)
    }

    /// Changes the database and saves it, once more on each version that another
    /// program has saved in the meantime.
    ///
    /// # Errors
    /// Those of the change, `Local`, or `Busy` if that goes on and on.
    pub fn change<T, E: From<VaultError>>(
        &mut self,
        mut act: impl FnMut(&mut Database) -> Result<T, E>,
    ) -> Result<T, E> {
        for _ in 0..TRIES {
            let done = act(&mut self.database)?;
            match self.save()? {
                Saved::Yes => return Ok(done),
                Saved::Changed => drop(self.reread()?),
            }
        }
        Err(VaultError::Busy {
            path: self.path.clone(),
        }
        .into())
    }
}

fn unopened(path: &Path, error: OpenError) -> VaultError {
    match error {
        OpenError::Password => VaultError::Password {
            path: path.to_owned(),
        },
        OpenError::Unreadable(why) => VaultError::unreadable(path, why),
    }
}

/// The file with a lock on it, and its content.
fn locked(path: &Path) -> io::Result<(File, Vec<u8>)> {
    loop {
        let mut file = File::open(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        // The last holder may have replaced it.
        let (own, there) = (file.metadata()?, fs::metadata(path)?);
        if (own.dev(), own.ino()) != (there.dev(), there.ino()) {
            continue;
        }
        if !own.is_file() || own.len() > MAX_FILE {
            return Err(io::Error::other("not a file of less than 1 GiB"));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        return Ok((file, bytes));
    }
}

/// A name next to a file.
fn beside(path: &Path) -> Result<PathBuf, String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|e| e.to_string())?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", hex(&random)));
    Ok(path.with_file_name(name))
}

/// Writes a file that nobody else can read before it has its mode.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Makes the names in the directory of a file last.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent != Path::new("") => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
