//! The repository at the keepers: made, opened, added to and read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rustic_core::repofile::{Node, SnapshotFile};
use rustic_core::{
    BackupOptions, ConfigOptions, Credentials, KeyOptions, OpenStatus, ParentOptions,
    RepairIndexOptions, RepositoryBackends, RepositoryOptions, SnapshotOptions,
};

use super::keepers::{Chunk, Keepers};
use super::library::{Backend, collect_warnings, sentence, take_warnings};
use super::restore::{Chunks, Library, Restored, Restoring};
use super::seed::{Seal, Seed};
use super::source::{LeftOut, Meter, Source};
use super::target::Target;
use super::{BackupError, Result, local};

/// The size of a pack of file contents, and of one of directories.
const DATA_PACK: &str = "16 MiB";
const TREE_PACK: &str = "4 MiB";

/// An owner's repository.
pub(crate) struct Repository {
    pub(super) library: rustic_core::Repository<OpenStatus>,
    pub(super) keepers: Arc<Keepers>,
    seal: Seal,
}

/// What a backup is to hold.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) exclude: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) host: Option<String>,
    pub(crate) one_file_system: bool,
    /// Read files that look unchanged.
    pub(crate) force: bool,
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

/// What a backup did.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Made {
    pub(crate) snapshot: Snapshot,
    pub(crate) new: u64,
    pub(crate) changed: u64,
    pub(crate) unchanged: u64,
    /// Bytes that each keeper got.
    pub(crate) added: u64,
    /// What could not be read.
    pub(crate) left_out: Vec<LeftOut>,
    /// What else the library warned of.
    pub(crate) warnings: Vec<String>,
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
        collect_warnings();
        let key = Credentials::Masterkey(seed.master_key()?);
        let library = library(&keepers)?.open(&key)?;
        Ok(Repository {
            library,
            keepers,
            seal: Seal::of(seed)?,
        })
    }

    /// Takes packs that no index names into one, and those that are gone out of it: a
    /// run was killed. Nobody else may be adding files. What the library has to say of
    /// that.
    pub(crate) fn repair_index(&self) -> Result<Vec<String>> {
        self.library
            .repair_index(&RepairIndexOptions::default(), false)?;
        Ok(take_warnings())
    }

    /// All snapshots, the oldest first.
    pub(crate) fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let mut snapshots = self.library.get_all_snapshots()?;
        snapshots.sort();
        Ok(snapshots.iter().map(Snapshot::of).collect())
    }

    /// The one of a name: the first digits of its id, `latest`, or `latest~N` for the
    /// N-th before it.
    pub(super) fn snapshot(&self, name: &str) -> Result<SnapshotFile> {
        let mut all = self.library.get_all_snapshots()?;
        all.sort();
        let before = match name.strip_prefix("latest") {
            Some("") => Some(0),
            Some(rest) => rest.strip_prefix('~').and_then(|it| it.parse().ok()),
            None => None,
        };
        let mut found: Vec<SnapshotFile> = match before {
            Some(before) => all.into_iter().rev().skip(before).take(1).collect(),
            None => {
                let is_named = |it: &SnapshotFile| it.id.to_hex().starts_with(name);
                all.into_iter().filter(is_named).collect()
            }
        };
        let why = match (found.pop(), found.len()) {
            (Some(only), 0) => return Ok(only),
            (Some(_), others) => format!("{} snapshots begin so: give more digits", others + 1),
            (None, _) => "no such snapshot: tf snapshots lists what there is".to_owned(),
        };
        Err(BackupError::Failed(format!("{name}: {why}")))
    }

    /// The snapshot and the path of `SNAPSHOT[:PATH]`.
    pub(super) fn named<'a>(&self, what: &'a str) -> Result<(SnapshotFile, &'a str)> {
        let (name, path) = what.split_once(':').unwrap_or((what, ""));
        Ok((self.snapshot(name)?, path))
    }

    /// Adds a snapshot. If a keeper has taken it, all it names is there as well.
    pub(crate) fn backup(self, plan: &Plan, meter: &Arc<Meter>) -> Result<Made> {
        let source = Source::new(
            &plan.paths,
            &plan.exclude,
            plan.one_file_system,
            Arc::clone(&self.keepers),
            Arc::clone(meter),
        )?;
        let mut options = SnapshotOptions::default();
        options.host.clone_from(&plan.host);
        for tag in &plan.tags {
            options = options.add_tags(tag)?;
        }
        let mut snapshot = options.to_snapshot()?;
        snapshot.program_version = concat!("tf-backup ", env!("CARGO_PKG_VERSION")).to_owned();
        let mut parent = ParentOptions::default();
        parent.force = plan.force;
        let mut options = BackupOptions::default();
        options.no_scan = true;
        options.parent_opts = parent;
        if meter.is_watched() {
            meter.expect_entries(self.entries_before(source.roots())?);
        }
        let samples = self.samples();
        let library = self.library.to_indexed_ids()?;
        let made = library.archive(&options, &source, snapshot, source.roots());
        let left_out = meter.take_left_out();
        let warnings = warnings_besides(left_out.len());
        let made = made?;
        let opens = |chunk: &Chunk, sealed: &[u8]| self.seal.opens(sealed, chunk);
        self.keepers.prove(&samples, &opens);
        Made::of(&made, left_out, warnings)
    }

    /// The entries that the newest snapshot of these paths has.
    fn entries_before(&self, roots: &[PathBuf]) -> Result<u64> {
        let all = self.library.get_all_snapshots()?.into_iter();
        let roots: Vec<&str> = roots.iter().filter_map(|it| it.to_str()).collect();
        let newest = all
            .filter(|it| it.paths.iter().eq(roots.iter().copied()))
            .max_by_key(|it| it.time.timestamp());
        let summary = newest.and_then(|it| it.summary);
        Ok(summary.map_or(0, |it| it.total_files_processed + it.total_dirs_processed))
    }

    /// Restores `SNAPSHOT[:PATH]` beneath a directory.
    pub(crate) fn restore(self, what: &str, target: &Path, meter: &Meter) -> Result<Restored> {
        let (snapshot, path) = self.named(what)?;
        let target = Target::open(target).map_err(local(target))?;
        if path.is_empty() {
            meter.expect_bytes(Snapshot::of(&snapshot).bytes);
        }
        let library = self.library.to_indexed()?;
        let top = node(&library, &snapshot, path)?;
        let chunks = Chunks {
            library: &library,
            keepers: &self.keepers,
        };
        let restoring = Restoring {
            chunks,
            target: &target,
            meter,
            unchanged: AtomicU64::new(0),
        };
        Ok(restoring.run(top))
    }
}

/// The library over these keepers. They are at hand: a cache would be one copy more.
fn library(keepers: &Arc<Keepers>) -> Result<rustic_core::Repository<()>> {
    let backend = Arc::new(Backend(Arc::clone(keepers)));
    let options = RepositoryOptions::default().no_cache(true);
    let backends = RepositoryBackends::new(backend, None);
    Ok(rustic_core::Repository::new(&options, &backends)?)
}

/// What is at a path of a snapshot.
pub(super) fn node(library: &Library, snapshot: &SnapshotFile, path: &str) -> Result<Node> {
    library
        .node_from_snapshot_and_path(snapshot, path)
        .map_err(|e| {
            let why = sentence(&e);
            match why.ends_with("not found in tree.") {
                true => BackupError::Failed(format!(
                    "{path}: not in that snapshot: tf backup ls lists what is"
                )),
                false => e.into(),
            }
        })
}

/// The warnings that are more than one for each entry that was left out: the library
/// warns of those, too.
fn warnings_besides(left_out: usize) -> Vec<String> {
    let (ignored, mut others): (Vec<_>, Vec<_>) = take_warnings()
        .into_iter()
        .partition(|line| line.starts_with("ignoring error:"));
    if ignored.len() > left_out {
        others.extend(ignored);
    }
    others
}

impl Snapshot {
    pub(super) fn of(file: &SnapshotFile) -> Snapshot {
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

impl Made {
    fn of(file: &SnapshotFile, left_out: Vec<LeftOut>, warnings: Vec<String>) -> Result<Made> {
        let missing = || BackupError::Failed("the library has counted nothing".to_owned());
        let summary = file.summary.as_ref().ok_or_else(missing)?;
        Ok(Made {
            snapshot: Snapshot::of(file),
            new: summary.files_new,
            changed: summary.files_changed,
            unchanged: summary.files_unmodified,
            added: summary.data_added_packed,
            left_out,
            warnings,
        })
    }
}
