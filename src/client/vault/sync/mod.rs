//! A sync: pull, merge, write the file, push, and then keep what is known. At each
//! moment the file has all edits of this device, and the server has all that it has
//! confirmed, so a sync that was broken off is repeated and loses nothing.

pub mod account;
pub mod base;
pub mod keys;
pub mod merge;
mod pull;
mod push;
pub mod session;
pub mod shared;

use std::collections::{BTreeMap, BTreeSet};

use self::base::{Base, Known, Server};
use self::keys::AccountKeys;
use self::merge::{Conflict, are_same, merge};
use self::pull::Piece;
use self::shared::{Items, META, ROOT, adopt, references, repair, share};
use super::VaultError;
use super::database::{Database, Item, Key, Kind, Uuid};
use super::file::{Saved, VaultFile};
use super::kdbx::{Attachments, Digest};
use crate::vault::own::message::{BATCH, Change, Changes, Id, Item as Version, Pushed, Welcome};

/// How often a merge starts again because somebody else was faster.
const ROUNDS: usize = 50;

/// The server.
pub trait Remote {
    /// What has changed since a revision.
    ///
    /// # Errors
    /// The connection is lost.
    fn pull(&mut self, since: u64, whole: bool) -> Result<Changes, VaultError>;

    /// Stores changes, each for itself.
    ///
    /// # Errors
    /// The connection is lost, or the server has no room.
    fn push(&mut self, changes: Vec<Change>) -> Result<Vec<Pushed>, VaultError>;

    /// A version; `None` where it is missing.
    ///
    /// # Errors
    /// The connection is lost.
    fn version(&mut self, id: Id, revision: u64) -> Result<Option<Version>, VaultError>;
}

/// The file.
pub trait Place {
    /// What is in it.
    fn database(&mut self) -> &mut Database;

    /// Replaces it, unless it was changed since it was read.
    ///
    /// # Errors
    /// `Local`.
    fn save(&mut self) -> Result<Saved, VaultError>;

    /// Reads it again.
    ///
    /// # Errors
    /// As on opening.
    fn reread(&mut self) -> Result<(), VaultError>;
}

impl Place for VaultFile {
    fn database(&mut self) -> &mut Database {
        &mut self.database
    }

    fn save(&mut self) -> Result<Saved, VaultError> {
        VaultFile::save(self)
    }

    fn reread(&mut self) -> Result<(), VaultError> {
        VaultFile::reread(self).map(drop)
    }
}

/// What a sync has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Items that have come, or have changed, in the file.
    pub received: usize,
    /// Items that are gone from the file.
    pub removed: usize,
    /// Changes that went to the server, pieces of attachments not counted.
    pub sent: usize,
    /// What both sides have changed.
    pub conflicts: Vec<Conflict>,
    /// Entries whose attachments are not at the server yet.
    pub waiting: usize,
}

/// One sync.
pub struct Sync<'a, R: Remote> {
    keys: &'a AccountKeys,
    remote: &'a mut R,
    /// What the file was merged with last.
    base: &'a mut Base,
    /// What is at the server as far as it is known.
    server: Server,
    upto: u64,
    /// The most bytes of changes in a message.
    batch: usize,
    /// Attachments and large texts, of the file and of the server.
    bodies: Attachments,
    pieces: BTreeMap<(Digest, u32), Piece>,
    /// What can't be used yet, with its revision.
    frozen: BTreeMap<Id, u64>,
    summary: Summary,
}

impl<'a, R: Remote> Sync<'a, R> {
    /// A sync with a server that has greeted so.
    pub fn new(
        keys: &'a AccountKeys,
        remote: &'a mut R,
        base: &'a mut Base,
        welcome: &Welcome,
    ) -> Sync<'a, R> {
        if base.store != welcome.store || base.upto > welcome.revision {
            // Another store, or one that was set back: its revisions are others.
            *base = Base {
                store: welcome.store,
                ..Base::default()
            };
        }
        Sync {
            keys,
            remote,
            server: base.server.clone(),
            upto: base.upto,
            batch: BATCH.min(usize::try_from(welcome.max_packet).unwrap_or(BATCH) / 2),
            base,
            bodies: Attachments::new(),
            pieces: BTreeMap::new(),
            frozen: BTreeMap::new(),
            summary: Summary::default(),
        }
    }

    /// Makes file and server say the same. `has_news` is whether the server has more
    /// than is known.
    ///
    /// # Errors
    /// `Local`, `Forged`, `Contended`, or the connection is lost. It can be repeated.
    pub fn run(mut self, place: &mut impl Place, has_news: bool) -> Result<Summary, VaultError> {
        self.bodies = place.database().attachments.clone();
        if has_news {
            self.pull()?;
        }
        for _ in 0..ROUNDS {
            let Some(merged) = self.merge_into(place)? else {
                continue;
            };
            // The file has all of that now, so the next merge begins there.
            self.base.server.clone_from(&self.server);
            let changes = self.changes(&merged)?;
            if changes.is_empty() || self.push(changes)? {
                return Ok(self.finish());
            }
            self.pull()?;
        }
        Err(VaultError::Contended)
    }

    /// Keeps what is known now.
    fn finish(self) -> Summary {
        let first = self.frozen.values().min();
        self.base.upto = first.map_or(self.upto, |first| self.upto.min(first.saturating_sub(1)));
        self.base.server = self.server;
        Summary {
            waiting: self.frozen.len(),
            ..self.summary
        }
    }

    /// Forgets all that is known of a server that was set back.
    fn forget(&mut self) {
        *self.base = Base {
            store: self.base.store,
            ..Base::default()
        };
        self.upto = 0;
        self.server.clear();
        self.pieces.clear();
        self.frozen.clear();
    }

    /// Merges file and server and writes the file where it is to change: what both
    /// are to have. `None` if the file was changed in the meantime and read again.
    fn merge_into(&mut self, place: &mut impl Place) -> Result<Option<Items>, VaultError> {
        let database = place.database();
        let local = share(database);
        let mut conflicts = Vec::new();
        let mut merged = merge_all(
            [
                &items_of(&self.base.server),
                &local,
                &items_of(&self.server),
            ],
            &database.deleted,
            &mut conflicts,
        );
        let references = merged
            .iter()
            .map(|(key, item)| (*key, references(&item.element)));
        for (key, digests) in references.collect::<Vec<_>>() {
            for digest in digests {
                if self.body(&digest)?.is_some() {
                    continue;
                }
                // As it is here, until the attachment is there.
                self.freeze(&key)?;
                match local.get(&key) {
                    Some(own) => drop(merged.insert(key, own.clone())),
                    None => drop(merged.remove(&key)),
                }
            }
        }
        let received = merged
            .iter()
            .filter(|(key, item)| local.get(*key).is_none_or(|own| !are_same(own, item)))
            .count();
        let removed = local.keys().filter(|key| !merged.contains_key(key)).count();
        if received + removed > 0 {
            adopt(database, &merged, &self.bodies);
            if place.save()? == Saved::Changed {
                place.reread()?;
                self.bodies.extend(place.database().attachments.clone());
                return Ok(None);
            }
            self.summary.received += received;
            self.summary.removed += removed;
            self.summary.conflicts.extend(conflicts);
        }
        Ok(Some(merged))
    }

    /// Leaves an item at the server as it is.
    fn freeze(&mut self, key: &Key) -> Result<(), VaultError> {
        let id = self.keys.id(key.0, &key.1).map_err(no_key)?;
        let revision = self.server.get(&id).map_or(0, |(revision, _)| *revision);
        self.frozen.insert(id, revision);
        Ok(())
    }
}

fn no_key(_: String) -> VaultError {
    VaultError::Forged("no keys could be made")
}

/// The items at a server.
fn items_of(server: &Server) -> Items {
    let items = server.values().filter_map(|(_, known)| match known {
        Known::Item(item, _) => Some((item.key, item.clone())),
        Known::Gone | Known::Piece(..) => None,
    });
    items.collect()
}

/// What file and server are both to have.
fn merge_all(
    [base, local, server]: [&Items; 3],
    deleted: &BTreeMap<Uuid, i64>,
    conflicts: &mut Vec<Conflict>,
) -> Items {
    let keys: BTreeSet<_> = local.keys().chain(server.keys()).collect();
    let mut merged = Items::new();
    for key in keys {
        let before = base.get(key);
        let item = match (local.get(key), server.get(key)) {
            (Some(ours), Some(theirs)) => Some(merge(before, ours, theirs, conflicts)),
            (Some(ours), None) => kept(before, ours),
            // An old copy of the file lacks it, too, and nobody has deleted it there.
            (None, Some(theirs)) => kept(before.filter(|_| deleted.contains_key(&key.1)), theirs),
            (None, None) => None,
        };
        merged.extend(item.map(|item| (*key, item)));
    }
    repair(&mut merged, &[local, server, base]);
    merged
}

/// What one side has and the other has not: deleted there unless it was changed here.
fn kept(before: Option<&Item>, item: &Item) -> Option<Item> {
    let is_needed = item.key == META || item.key == (Kind::Group, ROOT);
    let is_deleted = before.is_some_and(|before| are_same(before, item));
    (is_needed || !is_deleted).then(|| item.clone())
}

/// The items that were at the server at the last sync.
pub fn known_items(base: &Base) -> impl Iterator<Item = &Item> {
    base.server.values().filter_map(|(_, known)| match known {
        Known::Item(item, _) => Some(item),
        Known::Gone | Known::Piece(..) => None,
    })
}

/// How many items of a database have changed since the last sync.
pub fn unsynced(database: &Database, base: &Base) -> usize {
    let (local, known) = (share(database), items_of(&base.server));
    let changed = local
        .iter()
        .filter(|(key, item)| known.get(key).is_none_or(|known| !are_same(known, item)));
    let gone = known.keys().filter(|key| !local.contains_key(*key));
    changed.count() + gone.count()
}
