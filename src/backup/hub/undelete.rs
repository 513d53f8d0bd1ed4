//! Files that were deleted come back from the trash of the keepers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::inventory::{Files, Stored};
use super::{Emergency, Hub, audit, failed};
use crate::backup::account::Account;
use crate::backup::keepers::{Access, Copies, Report};
use crate::backup::seed::Seed;
use crate::backup::{BackupError, Result};
use crate::hub::wire::{Kind, Kinds, Name, User, Value};
use crate::text::{hex, reason};

/// What names others comes behind those.
const KINDS: [Kind; 4] = [Kind::Config, Kind::Data, Kind::Index, Kind::Snapshot];

/// What has come back.
#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Undeleted {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Snapshots among the files.
    pub(crate) snapshots: u64,
    /// Files that no keeper gives back.
    pub(crate) lost: u64,
    /// What a person should know.
    pub(crate) notes: Vec<String>,
}

/// Brings back all that is in the trash of these keepers, or of those that the books name,
/// and that the hub does not list.
pub(crate) fn undelete(account: &Account, seed: &Seed, keepers: &[String]) -> Result<Undeleted> {
    let report = Arc::new(Report::default());
    let hub = Hub::open(account, seed, Arc::clone(&report))?;
    let mut keepers = keepers.to_vec();
    let mut relayed = BTreeSet::new();
    if keepers.is_empty() {
        for it in hub.books.keepers()? {
            match it.address {
                Some(address) => keepers.push(format!("{}@{address}", it.user)),
                None => relayed.extend(User::read(&it.user)),
            }
        }
    }
    let relayed = audit::inventories(&hub.reading, &report, relayed);
    let found = match keepers.is_empty() && !relayed.is_empty() {
        true => Emergency::none(account, seed, Arc::clone(&report)),
        false => Emergency::open(account, seed, &keepers, Arc::clone(&report))?,
    };
    let listed = hub.reading.list(Kinds::All).map_err(failed)?;
    let Some(locks) = hub.lock(Access::Add)? else {
        let text = "another run is going on: try again once it has ended";
        return Err(BackupError::Failed(text.to_owned()));
    };
    let mut undeleted = Undeleted::default();
    let trash = trash(found.files().chain(relayed.values()));
    for kind in KINDS {
        let of_kind = trash.iter().filter(|(_, it)| it.kind == kind);
        for (name, it) in of_kind.filter(|(name, _)| !listed.contains_key(*name)) {
            let bytes = || {
                let mut by_hub = relayed.iter().filter(|(_, files)| files.contains_key(name));
                found.get(*name, None).or_else(|e| {
                    let read = |user| hub.reading.read_as(*name, it.size, user).ok();
                    by_hub.find_map(|(user, _)| read(user)).ok_or(e)
                })
            };
            match hub.sending.bring_back(*name, kind, it.size, bytes) {
                Ok(()) => {
                    undeleted.files += 1;
                    undeleted.bytes += it.size;
                    undeleted.snapshots += u64::from(kind == Kind::Snapshot);
                }
                Err(e) => {
                    undeleted.lost += 1;
                    report.note(&hex(&name.0[..4]), &reason(&e));
                }
            }
        }
    }
    locks.finish()?;
    undeleted.notes = report.take();
    Ok(undeleted)
}

/// What is in the trash of one of them, and in no store.
fn trash<'a>(of: impl Iterator<Item = &'a Files>) -> BTreeMap<Name, Stored> {
    let (thrown, live): (Vec<_>, Vec<_>) = of.flatten().partition(|(_, it)| it.is_trash);
    let live: BTreeSet<&Name> = live.into_iter().map(|(name, _)| name).collect();
    let thrown = thrown.into_iter().filter(|(name, _)| !live.contains(name));
    thrown.map(|(name, it)| (*name, *it)).collect()
}
