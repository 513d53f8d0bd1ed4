//! The repository at the keepers: made and opened.

use std::sync::Arc;

use rustic_core::repofile::SnapshotFile;
use rustic_core::{
    ConfigOptions, Credentials, KeyOptions, OpenStatus, RepositoryBackends, RepositoryOptions,
};

use super::keepers::Keepers;
use super::library::Backend;
use super::seed::Seed;
use super::{BackupError, Result};

/// The size of a pack of file contents, and of one of directories.
const DATA_PACK: &str = "16 MiB";
const TREE_PACK: &str = "4 MiB";

/// An owner's repository.
pub(crate) struct Repository {
    library: rustic_core::Repository<OpenStatus>,
}

/// A snapshot.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Snapshot {
    /// 64 digits.
    pub(crate) id: String,
    /// When it was begun, RFC 3339.
    pub(crate) time: String,
    /// The same in seconds since the epoch.
    pub(crate) seconds: i64,
    pub(crate) host: String,
    pub(crate) paths: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl Repository {
    /// Makes an owner's repository at keepers that have none.
    pub(crate) fn create(keepers: Arc<Keepers>, seed: &Seed) -> Result<()> {
        let mut options = ConfigOptions::default();
        let wrong = |e: String| BackupError::Failed(format!("size of packs: {e}"));
        options.set_datapack_size = Some(DATA_PACK.parse().map_err(wrong)?);
        options.set_datapack_growfactor = Some(0);
        options.set_treepack_size = Some(TREE_PACK.parse().map_err(wrong)?);
        options.set_treepack_growfactor = Some(0);
        let key = Credentials::Masterkey(seed.master_key()?);
        library(&keepers)?.init(&key, &KeyOptions::default(), &options)?;
        Ok(())
    }

    /// Opens it.
    pub(crate) fn open(keepers: Arc<Keepers>, seed: &Seed) -> Result<Repository> {
        let key = Credentials::Masterkey(seed.master_key()?);
        let library = library(&keepers)?.open(&key)?;
        Ok(Repository { library })
    }

    /// All snapshots, the oldest first.
    pub(crate) fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let mut snapshots = self.library.get_all_snapshots()?;
        snapshots.sort();
        Ok(snapshots.iter().map(Snapshot::of).collect())
    }
}

/// The library over these keepers. They are at hand: a cache would be one copy more.
fn library(keepers: &Arc<Keepers>) -> Result<rustic_core::Repository<()>> {
    let backend = Arc::new(Backend(Arc::clone(keepers)));
    let options = RepositoryOptions::default().no_cache(true);
    let backends = RepositoryBackends::new(backend, None);
    Ok(rustic_core::Repository::new(&options, &backends)?)
}

impl Snapshot {
    fn of(file: &SnapshotFile) -> Snapshot {
        let summary = file.summary.as_ref();
        Snapshot {
            id: file.id.to_hex().to_string(),
            time: file.time.timestamp().to_string(),
            seconds: file.time.timestamp().as_second(),
            host: file.hostname.clone(),
            paths: file.paths.iter().cloned().collect(),
            tags: file.tags.iter().cloned().collect(),
            files: summary.map_or(0, |it| it.total_files_processed),
            bytes: summary.map_or(0, |it| it.total_bytes_processed),
        }
    }
}
