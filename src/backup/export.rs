//! The repository as a directory that restic and rustic open, so that nobody depends
//! on this program for his data.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustic_core::{
    BytesList, Credentials, ErrorKind, FileType, Id, KeyOptions, ReadBackend, RepositoryBackends,
    RepositoryOptions, RusticError, RusticResult, WriteBackend,
};

use super::keeper::{Kind, Name};
use super::keepers::Keepers;
use super::library::Backend;
use super::seed::Seed;
use super::{BackupError, Result, local};

/// Writes all files, each compared with its name, into a directory that is empty or
/// not there. With a password there is a key file for other programs. The number of
/// files.
pub(crate) fn export(
    keepers: &Arc<Keepers>,
    seed: &Seed,
    directory: &Path,
    password: Option<&str>,
) -> Result<u64> {
    if fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) {
        let text = "has entries: name a new directory";
        return Err(BackupError::Failed(format!(
            "{}: {text}",
            directory.display()
        )));
    }
    let mut files = 0;
    for kind in Kind::ALL {
        let listed = keepers.list(kind).map_err(local(directory))?;
        for digits in listed.into_keys() {
            let name = Name { kind, digits };
            let bytes = keepers
                .read(&name)
                .map_err(local(Path::new(&name.digits)))?;
            let place = directory.join(place(&name));
            write_new(&place, &bytes).map_err(local(&place))?;
            files += 1;
        }
    }
    if let Some(password) = password {
        let exported = Exported {
            keepers: Backend(Arc::clone(keepers)),
            directory: directory.to_owned(),
        };
        let options = RepositoryOptions::default().no_cache(true);
        let backends = RepositoryBackends::new(Arc::new(exported), None);
        let key = Credentials::Masterkey(seed.master_key()?);
        rustic_core::Repository::new(&options, &backends)?
            .open(&key)?
            .add_key(password, &KeyOptions::default())?;
    }
    Ok(files)
}

/// Where restic looks for a file.
fn place(name: &Name) -> PathBuf {
    let digits = &name.digits;
    match name.kind {
        Kind::Config => "config".into(),
        Kind::Data => Path::new("data").join(&digits[..2]).join(digits),
        Kind::Index => Path::new("index").join(digits),
        Kind::Snapshot => Path::new("snapshots").join(digits),
    }
}

fn write_new(place: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(directory) = place.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(place)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Reads at the keepers, and writes a key file into the directory.
struct Exported {
    keepers: Backend,
    directory: PathBuf,
}

impl ReadBackend for Exported {
    fn location(&self) -> String {
        self.directory.to_string_lossy().into_owned()
    }

    fn list_with_size(&self, file: FileType) -> RusticResult<Vec<(Id, u32)>> {
        self.keepers.list_with_size(file)
    }

    fn read_full(&self, file: FileType, id: &Id) -> RusticResult<Bytes> {
        self.keepers.read_full(file, id)
    }

    fn read_partial(
        &self,
        file: FileType,
        id: &Id,
        cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        self.keepers
            .read_partial(file, id, cacheable, offset, length)
    }

    fn warmup_path(&self, file: FileType, id: &Id) -> String {
        self.keepers.warmup_path(file, id)
    }
}

impl WriteBackend for Exported {
    fn write_bytes(
        &self,
        file: FileType,
        id: &Id,
        _: bool,
        content: BytesList,
    ) -> RusticResult<()> {
        if file != FileType::Key {
            return Err(read_only());
        }
        let place = self.directory.join("keys").join(&*id.to_hex());
        let bytes: Vec<u8> = content.slice().concat();
        write_new(&place, &bytes).map_err(|e| {
            RusticError::new(ErrorKind::InputOutput, "can't write the key file: {why}")
                .attach_context("why", crate::text::reason(&e))
        })
    }

    fn remove(&self, _: FileType, _: &Id, _: bool) -> RusticResult<()> {
        Err(read_only())
    }
}

fn read_only() -> Box<RusticError> {
    RusticError::new(ErrorKind::Unsupported, "an export only adds a key file")
}
