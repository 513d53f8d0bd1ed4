//! Keeping a repository small and whole: snapshots are forgotten by rules, what none
//! needs is removed, and all copies are looked at.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::time::Duration;

use jiff::Span;
use rustic_core::repofile::{IndexFile, IndexId, SnapshotFile};
use rustic_core::{
    CheckOptions, ForgetSnapshot, KeepOptions, LimitOption, PruneOptions, ReadSubsetOption,
    RepairSnapshotsOptions, RewriteOptions, RewriteTreesOptions, StringList, jiff::Zoned,
};

use super::keeper::{Kind, Name};
use super::keepers::{Chunk, Sample};
use super::library::take_warnings;
use super::repository::{Repository, Snapshot};
use super::source::globs;
use super::{BackupError, Result};

/// How long what was removed can be brought back.
const TRASH_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Which snapshots to keep, of each machine and its paths.
#[derive(Debug, Default)]
pub(crate) struct Keep {
    pub(crate) last: Option<u32>,
    pub(crate) hourly: Option<u32>,
    pub(crate) daily: Option<u32>,
    pub(crate) weekly: Option<u32>,
    pub(crate) monthly: Option<u32>,
    pub(crate) yearly: Option<u32>,
    /// As long as this before the newest.
    pub(crate) within: Option<Span>,
    /// With one of these tags.
    pub(crate) tags: Vec<String>,
}

/// What rules or names say of all snapshots.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Forgetting {
    pub(crate) kept: Vec<Snapshot>,
    pub(crate) forgotten: Vec<Snapshot>,
}

/// What a prune did.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Pruned {
    /// Bytes that went into the trash of each keeper.
    pub(crate) removed: u64,
    /// Bytes that are left.
    pub(crate) kept: u64,
    /// Bytes that left the trash for good, of all keepers.
    pub(crate) emptied: u64,
}

/// What is to be left out of snapshots.
#[derive(Debug)]
pub(crate) struct Rewriting {
    /// Their names; all if there is none.
    pub(crate) snapshots: Vec<String>,
    /// Patterns, as those of a backup.
    pub(crate) exclude: Vec<String>,
    /// Forget those in whose place there are others.
    pub(crate) forget: bool,
    pub(crate) dry_run: bool,
}

/// What a rewrite did, or would do.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Rewritten {
    /// Snapshots that were made again, as they were.
    pub(crate) changed: Vec<Snapshot>,
    /// How many have nothing of what is left out.
    pub(crate) unchanged: u64,
}

/// What is stored.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Stats {
    pub(crate) snapshots: u64,
    /// Bytes of all snapshots as they would be restored.
    pub(crate) restored: u64,
    /// Chunks, each of which is stored once, and their bytes.
    pub(crate) chunks: u64,
    pub(crate) bytes: u64,
    /// Bytes of one copy of all files at keepers, and their number.
    pub(crate) stored: u64,
    pub(crate) files: u64,
}

/// How many chunks are drawn, of which each keeper gives one back.
const SAMPLES: usize = 16;

/// One of them, which chance draws.
fn drawn<T>(all: &[T]) -> Option<&T> {
    let at = getrandom::u64().ok()?.checked_rem(all.len() as u64)?;
    all.get(usize::try_from(at).ok()?)
}

/// What a check found.
#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Checked {
    /// Copies that were missing or damaged, and have been replaced.
    pub(crate) replaced: u64,
    /// What is wrong and could not be mended.
    pub(crate) errors: Vec<String>,
}

impl Keep {
    fn options(&self) -> Result<KeepOptions> {
        let number = |number: Option<u32>| number.map(|it| i32::try_from(it).unwrap_or(i32::MAX));
        let mut options = KeepOptions::default();
        options.keep_last = number(self.last);
        options.keep_hourly = number(self.hourly);
        options.keep_daily = number(self.daily);
        options.keep_weekly = number(self.weekly);
        options.keep_monthly = number(self.monthly);
        options.keep_yearly = number(self.yearly);
        options.keep_within = self.within;
        let tag = |tag: &String| tag.parse::<StringList>();
        let tags = self
            .tags
            .iter()
            .map(tag)
            .collect::<std::result::Result<_, _>>();
        options.keep_tags = tags.map_err(|e| BackupError::Failed(format!("--keep-tag: {e}")))?;
        Ok(options)
    }
}

impl Repository {
    /// What the rules say, each machine with its paths for itself.
    pub(crate) fn apply(&self, keep: &Keep) -> Result<Forgetting> {
        let options = keep.options()?;
        let mut groups: BTreeMap<(String, String), Vec<SnapshotFile>> = BTreeMap::new();
        for snapshot in self.library.get_all_snapshots()? {
            let group = (snapshot.hostname.clone(), snapshot.paths.to_string());
            groups.entry(group).or_default().push(snapshot);
        }
        let now = Zoned::now();
        let (mut kept, mut forgotten) = (Vec::new(), Vec::new());
        for snapshots in groups.into_values() {
            for ForgetSnapshot { snapshot, keep, .. } in options.apply(snapshots, &now)? {
                let all = if keep { &mut kept } else { &mut forgotten };
                all.push(Snapshot::of(&snapshot));
            }
        }
        Ok(Forgetting { kept, forgotten })
    }

    /// These snapshots, by their names.
    pub(crate) fn forgetting(&self, names: &[String]) -> Result<Forgetting> {
        let named = names.iter().map(|name| self.snapshot(name));
        let named = named.collect::<Result<Vec<_>>>()?;
        let is_named = |it: &SnapshotFile| named.iter().any(|named| named.id == it.id);
        let all = self.library.get_all_snapshots()?;
        let (forgotten, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(is_named);
        let brief = |files: Vec<SnapshotFile>| files.iter().map(Snapshot::of).collect();
        Ok(Forgetting {
            kept: brief(kept),
            forgotten: brief(forgotten),
        })
    }

    /// Removes snapshots. What they alone need stays until a prune.
    pub(crate) fn forget(&self, snapshots: &[Snapshot]) -> Result<()> {
        let ids = snapshots.iter().map(|it| it.id.parse());
        let ids = ids.collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(self.library.delete_snapshots(&ids)?)
    }

    /// Chunks that chance draws of one of the indexes that are there. An index that can't be
    /// read is met by the run itself.
    pub(super) fn samples(&self) -> Vec<Sample> {
        let listed = self.library.list::<IndexId>();
        let ids: Vec<IndexId> = listed.map_or(Vec::new(), Iterator::collect);
        let index = drawn(&ids).and_then(|id| self.library.get_file::<IndexFile>(id).ok());
        let packs = index.map_or(Vec::new(), |index| index.packs);
        let sample = |_: usize| {
            let pack = drawn(&packs)?;
            let blob = drawn(&pack.blobs)?;
            let place = blob.location;
            let name = Name {
                kind: Kind::Data,
                digits: pack.id.to_hex().to_string(),
            };
            Some(Sample {
                name,
                offset: place.offset,
                length: place.length,
                chunk: Chunk {
                    digits: blob.id.to_hex().to_string(),
                    size: place.uncompressed_length.map(NonZero::get),
                },
            })
        };
        (0..SAMPLES).filter_map(sample).collect()
    }

    /// What is stored, and how much of it is stored once for many.
    pub(crate) fn stats(&self) -> Result<Stats> {
        let snapshots = self.snapshots()?;
        let index = self.library.infos_index()?;
        let files = self.library.infos_files()?.repo;
        Ok(Stats {
            snapshots: snapshots.len() as u64,
            restored: snapshots.iter().map(|it| it.bytes).sum(),
            chunks: index.blobs.iter().map(|it| it.count).sum(),
            bytes: index.blobs.iter().map(|it| it.data_size).sum(),
            stored: files.iter().map(|it| it.size).sum(),
            files: files.iter().map(|it| it.count).sum(),
        })
    }

    /// Gives these snapshots tags and takes some from them; how many are others now. A
    /// snapshot with other tags is a new file, which comes before the old one goes.
    pub(crate) fn tag(&self, names: &[String], add: &[String], remove: &[String]) -> Result<u64> {
        let lists = |tags: &[String]| {
            let lists = tags.iter().map(|tag| tag.parse::<StringList>());
            let lists = lists.collect::<std::result::Result<Vec<_>, _>>();
            lists.map_err(|e| BackupError::Failed(format!("not a tag: {e}")))
        };
        let (add, remove) = (lists(add)?, lists(remove)?);
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for name in names {
            let mut file = self.snapshot(name)?;
            let id = file.id;
            let is_added = file.add_tags(add.clone());
            let is_removed = file.remove_tags(&remove);
            if (is_added || is_removed) && !old.contains(&id) {
                file.original.get_or_insert(id);
                old.push(id);
                new.push(file);
            }
        }
        self.library.save_snapshots(new)?;
        self.library.delete_snapshots(&old)?;
        Ok(old.len() as u64)
    }

    /// Makes snapshots again without some of their entries. A new one is there before the
    /// old one goes.
    pub(crate) fn rewrite(self, rewriting: &Rewriting) -> Result<Rewritten> {
        let mut snapshots = match rewriting.snapshots.as_slice() {
            [] => self.library.get_all_snapshots()?,
            names => {
                let named = names.iter().map(|name| self.snapshot(name));
                named.collect::<Result<_>>()?
            }
        };
        snapshots.sort();
        snapshots.dedup_by_key(|it| it.id);
        let mut trees = RewriteTreesOptions::default();
        trees.excludes.globs = globs(&rewriting.exclude)?;
        let mut options = RewriteOptions::default();
        options.dry_run = true;
        let library = self.library.to_indexed()?;
        // It takes each for another one whose files it counts otherwise.
        let found = library.rewrite_snapshots_and_trees(snapshots.clone(), &options, &trees)?;
        let has_changed = |old: &SnapshotFile| {
            let mut found = found.iter();
            found.any(|new| new.id == old.id && new.tree != old.tree)
        };
        let (mut changed, unchanged): (Vec<_>, Vec<_>) =
            snapshots.into_iter().partition(has_changed);
        let rewritten = Rewritten {
            changed: changed.iter().map(Snapshot::of).collect(),
            unchanged: unchanged.len() as u64,
        };
        if rewriting.dry_run || changed.is_empty() {
            return Ok(rewritten);
        }
        for file in &mut changed {
            let id = file.id;
            file.original.get_or_insert(id);
        }
        options.dry_run = false;
        options.forget = rewriting.forget;
        library.rewrite_snapshots_and_trees(changed, &options, &trees)?;
        Ok(rewritten)
    }

    /// Removes what no snapshot needs. Nobody else may be adding files.
    pub(crate) fn prune(&self, max_unused: &str) -> Result<Pruned> {
        let options = PruneOptions::default()
            .instant_delete(true)
            .max_repack(LimitOption::Unlimited)
            .max_unused(max_unused.parse::<LimitOption>()?);
        let plan = self.library.prune_plan(&options)?;
        let sizes = plan.stats.size_sum();
        let unreferenced = plan.stats.size_unref;
        self.library.prune(&options, plan)?;
        Ok(Pruned {
            removed: sizes.remove + sizes.repackrm + unreferenced,
            kept: sizes.total_after_prune(),
            emptied: self.keepers.empty_trash(TRASH_KEPT),
        })
    }

    /// Looks at the copies of all files, whole ones with `read`, and at the
    /// repository that they are.
    pub(crate) fn check(&self, read: bool, subset: Option<&str>) -> Result<Checked> {
        let mut checked = Checked::default();
        checked.replaced = match read {
            true => self.keepers.verify(&mut checked.errors)?,
            false => self.keepers.fill(),
        };
        let subset = subset.map(str::parse::<ReadSubsetOption>).transpose()?;
        let mut options = CheckOptions::default();
        options.read_data = subset.is_some();
        options.read_data_subset = subset.unwrap_or_default();
        let found = self.library.check(options)?;
        let found = found.0.iter().map(|(_, error)| error.to_string());
        checked.errors.extend(found);
        // They are in what it found.
        take_warnings();
        Ok(checked)
    }

    /// Takes what is lost out of the snapshots, and tags those that it changes. What
    /// the library has to say of that.
    pub(crate) fn repair_snapshots(self) -> Result<Vec<String>> {
        let snapshots = self.library.get_all_snapshots()?;
        let library = self.library.to_indexed()?;
        library.repair_snapshots(&RepairSnapshotsOptions::default(), snapshots, false)?;
        Ok(take_warnings())
    }
}
