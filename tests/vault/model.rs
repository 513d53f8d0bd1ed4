//! Devices and a server in memory: whatever they do, no edit is lost and all end with
//! the same.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use tfd::client::vault::Saved;
use tfd::client::vault::VaultError;
use tfd::client::vault::database::{
    Database, Item, Key, Kind, Uuid, field, fields, history, new_entry, remember, set_field,
    set_time,
};
use tfd::client::vault::sync::base::{Base, Known};
use tfd::client::vault::sync::keys::{AccountKeys, random};
use tfd::client::vault::sync::merge::canonical;
use tfd::client::vault::sync::shared::share;
use tfd::client::vault::sync::{Place, Remote, Sync};
use tfd::vault::own::message::{Change, Changes, Id, Item as Version, Pushed, Sealed, Welcome};

/// A server.
#[derive(Default)]
struct Model {
    head: u64,
    items: BTreeMap<Id, Version>,
    /// Pushes until one is lost on its way, and until the answer of one is.
    cut: Option<u32>,
}

impl Remote for Model {
    fn pull(&mut self, since: u64, _: bool) -> Result<Changes, VaultError> {
        let mut items: Vec<Version> = self
            .items
            .values()
            .filter(|it| it.revision > since)
            .cloned()
            .collect();
        items.sort_by_key(|it| it.revision);
        let more = items.len() > 3;
        items.truncate(3);
        let upto = if more { items[2].revision } else { self.head };
        Ok(Changes {
            items,
            upto,
            more,
            whole: false,
        })
    }

    fn push(&mut self, changes: Vec<Change>) -> Result<Vec<Pushed>, VaultError> {
        let cut = self.cut.take();
        if cut == Some(0) {
            return Err(VaultError::Forged("lost"));
        }
        let results = changes.into_iter().map(|change| {
            let current = self.items.get(&change.id);
            if current.map_or(0, |it| it.revision) != change.base {
                return Pushed::Stale {
                    current: current.cloned(),
                };
            }
            self.head += 1;
            let version = Version {
                id: change.id,
                revision: self.head,
                base: change.base,
                sealed: change.sealed,
            };
            self.items.insert(change.id, version);
            Pushed::Stored {
                revision: self.head,
            }
        });
        let results = results.collect();
        match cut {
            Some(_) => Err(VaultError::Forged("lost")),
            None => Ok(results),
        }
    }

    fn version(&mut self, id: Id, revision: u64) -> Result<Option<Version>, VaultError> {
        Ok(self
            .items
            .get(&id)
            .filter(|it| it.revision == revision)
            .cloned())
    }
}

/// A device.
struct Device {
    /// The file on its disk.
    disk: Database,
    /// What `tf` has of it in memory.
    open: Database,
    base: Base,
    /// What a person does between reading and writing.
    meanwhile: Option<(u8, String)>,
    /// Old copies of the file.
    copies: Vec<Database>,
}

impl Place for Device {
    fn database(&mut self) -> &mut Database {
        &mut self.open
    }

    fn save(&mut self) -> Result<Saved, VaultError> {
        if let Some((number, text)) = self.meanwhile.take() {
            edit(&mut self.disk, number, &text, 5);
            return Ok(Saved::Changed);
        }
        self.disk = self.open.clone();
        Ok(Saved::Yes)
    }

    fn reread(&mut self) -> Result<(), VaultError> {
        self.open = self.disk.clone();
        Ok(())
    }
}

fn uuid(kind: Kind, number: u8) -> Key {
    let mut uuid = Uuid::default();
    uuid[0] = kind as u8 + 1;
    uuid[15] = number;
    (kind, uuid)
}

/// Edits an entry, which is made where it is missing: whether it could be.
fn edit(database: &mut Database, number: u8, text: &str, time: i64) -> bool {
    let key = uuid(Kind::Entry, number % 4);
    let name = ["Password", "UserName", "Notes"][usize::from(number) / 4 % 3];
    match database.item_mut(&key) {
        Some(item) => {
            remember(&mut item.element);
            set_field(&mut item.element, name, text, name == "Password");
            set_time(&mut item.element, "LastModificationTime", time);
        }
        None => {
            let mut element = new_entry(&key.1);
            set_field(&mut element, "Title", "t", false);
            set_field(&mut element, name, text, name == "Password");
            set_time(&mut element, "LastModificationTime", time);
            let parent = database.root;
            database.items.push(Item {
                key,
                parent,
                element,
            });
        }
    }
    true
}

/// Moves an entry or a group into a group, which is made where it is missing.
fn relocate(database: &mut Database, number: u8, time: i64) {
    let group = uuid(Kind::Group, number % 3);
    if database.item(&group).is_none() {
        let mut element = new_entry(&group.1);
        element.name = "Group".to_owned();
        element.set_text("Name", &format!("g{}", number % 3));
        let parent = database.root;
        database.items.push(Item {
            key: group,
            parent,
            element,
        });
    }
    let what = match number % 2 {
        0 => uuid(Kind::Entry, number / 8 % 4),
        _ => uuid(Kind::Group, number / 8 % 3),
    };
    if database.is_inside(group.1, what.1) {
        return;
    }
    if let Some(item) = database.item_mut(&what) {
        item.parent = group.1;
        set_time(&mut item.element, "LocationChanged", time);
    }
}

/// All texts that an entry has or had.
fn texts(item: &Item) -> BTreeSet<String> {
    let versions = history(&item.element).iter().chain([&item.element]);
    versions
        .flat_map(|it| {
            fields(it)
                .map(|(_, value)| value.text.to_string())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Deletes an entry or a group with all that is in it: the texts that were seen.
fn delete(database: &mut Database, number: u8) -> BTreeSet<String> {
    let key = match number % 3 {
        0 => uuid(Kind::Group, number / 3 % 3),
        _ => uuid(Kind::Entry, number / 3 % 4),
    };
    let mut gone = vec![key];
    let inside = database.items.iter().filter(|it| {
        it.key.1 != database.root && key.0 == Kind::Group && database.is_inside(it.parent, key.1)
    });
    gone.extend(inside.map(|it| it.key));
    let seen = gone
        .iter()
        .filter_map(|key| database.item(key))
        .flat_map(texts)
        .collect();
    gone.iter()
        .filter(|key| database.item(key).is_some())
        .copied()
        .collect::<Vec<_>>()
        .iter()
        .for_each(|key| database.delete(key));
    seen
}

#[derive(Clone, Debug)]
enum Act {
    Edit(u8),
    Delete(u8),
    Move(u8),
    Sync,
    SyncBusy(u8),
    SyncCut(u32),
    Forget,
    Copy,
    Restore(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => any::<u8>().prop_map(Act::Edit),
        2 => any::<u8>().prop_map(Act::Delete),
        2 => any::<u8>().prop_map(Act::Move),
        4 => Just(Act::Sync),
        1 => any::<u8>().prop_map(Act::SyncBusy),
        1 => (0_u32..2).prop_map(Act::SyncCut),
        1 => Just(Act::Forget),
        1 => Just(Act::Copy),
        1 => any::<u8>().prop_map(Act::Restore),
    ]
}

struct World {
    keys: AccountKeys,
    server: Model,
    devices: Vec<Device>,
    /// What was written, and what was deleted by somebody who saw it.
    written: BTreeSet<String>,
    deleted: BTreeSet<String>,
}

impl World {
    fn new(count: usize) -> World {
        let device = |_| {
            let open = Database::new("db").expect("database");
            Device {
                disk: open.clone(),
                open,
                base: Base::default(),
                meanwhile: None,
                copies: Vec::new(),
            }
        };
        World {
            keys: AccountKeys::new(random().expect("random")),
            server: Model::default(),
            devices: (0..count).map(device).collect(),
            written: BTreeSet::new(),
            deleted: BTreeSet::new(),
        }
    }

    fn sync(&mut self, at: usize) -> bool {
        let device = &mut self.devices[at];
        device.open = device.disk.clone();
        let welcome = Welcome {
            store: [1; 16],
            revision: self.server.head,
            oldest: 0,
            max_packet: 1 << 21,
            wrapped: Sealed::default(),
        };
        let mut base = device.base.clone();
        let done = Sync::new(&self.keys, &mut self.server, &mut base, &welcome).run(device, true);
        match done {
            Ok(_) => device.base = base,
            Err(VaultError::Forged("lost")) => return false,
            Err(e) => panic!("{e}"),
        }
        true
    }

    /// Syncs, and puts an old copy in the place of the file. It deletes again what it
    /// has marked as deleted.
    fn restore(&mut self, at: usize, number: usize) {
        assert!(self.sync(at));
        let copies = &self.devices[at].copies;
        let Some(copy) = copies.get(number % copies.len().max(1)).cloned() else {
            return;
        };
        let all = self.devices.iter().flat_map(|device| &device.disk.items);
        let marked = all.filter(|item| copy.deleted.contains_key(&item.key.1));
        let seen: Vec<BTreeSet<String>> = marked.map(texts).collect();
        self.devices[at].disk = copy;
        self.deleted.extend(seen.into_iter().flatten());
    }

    fn act(&mut self, step: usize, at: usize, act: &Act) {
        let text = format!("text {step}");
        // Clocks differ.
        let time = 1_000 + step as i64 + [0, 40, -40][at % 3];
        let device = &mut self.devices[at];
        match act {
            Act::Edit(number) => {
                edit(&mut device.disk, *number, &text, time);
                self.written.insert(text);
            }
            Act::Delete(number) => {
                self.deleted.extend(delete(&mut device.disk, *number));
                // In an old copy of the file they stand for what the device knew later.
                let disk = &device.disk;
                let known = device.base.server.values();
                for (_, known) in known {
                    if let Known::Item(item, _) = known
                        && disk.deleted.contains_key(&item.key.1)
                        && disk.item(&item.key).is_none()
                    {
                        self.deleted.extend(texts(item));
                    }
                }
            }
            Act::Move(number) => relocate(&mut device.disk, *number, time),
            Act::Sync => assert!(self.sync(at)),
            Act::SyncBusy(number) => {
                device.meanwhile = Some((*number, text.clone()));
                self.sync(at);
                if self.devices[at].meanwhile.take().is_none() {
                    self.written.insert(text);
                }
            }
            Act::SyncCut(when) => {
                self.server.cut = Some(*when);
                self.sync(at);
                self.server.cut = None;
            }
            Act::Forget => device.base = Base::default(),
            Act::Copy => device.copies.push(device.disk.clone()),
            Act::Restore(number) => self.restore(at, usize::from(*number)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_edit_is_lost_and_all_devices_end_with_the_same(
        count in 2_usize..4,
        acts in proptest::collection::vec((0_usize..3, act()), 1..60),
    ) {
        let mut world = World::new(count);
        for (step, (at, act)) in acts.iter().enumerate() {
            world.act(step, at % count, act);
        }
        for _ in 0..3 {
            (0..count).for_each(|at| assert!(world.sync(at)));
        }
        let head = world.server.head;
        (0..count).for_each(|at| assert!(world.sync(at)));
        prop_assert_eq!(world.server.head, head, "a sync after nothing changed sends nothing");
        let all: Vec<_> = world.devices.iter().map(|device| {
            let items = share(&device.disk);
            items.into_iter().map(|(key, item)| (key, canonical(&item))).collect::<BTreeMap<_, _>>()
        }).collect();
        for other in &all[1..] {
            prop_assert!(other == &all[0], "the devices differ");
        }
        let there: BTreeSet<String> = world.devices[0].disk.of_kind(Kind::Entry).flat_map(texts).collect();
        for text in world.written.difference(&world.deleted) {
            prop_assert!(there.contains(text), "{} is lost", text);
        }
        let database = &world.devices[0].disk;
        for item in &database.items {
            prop_assert!(database.is_inside(item.parent, database.root), "out of reach");
        }
    }
}

#[test]
fn both_versions_of_a_field_are_kept_and_the_later_one_wins() {
    let mut world = World::new(2);
    edit(&mut world.devices[0].disk, 0, "first", 10);
    assert!(world.sync(0) && world.sync(1));
    edit(&mut world.devices[0].disk, 0, "earlier", 20);
    edit(&mut world.devices[1].disk, 0, "later", 30);
    edit(&mut world.devices[1].disk, 4, "ann", 31);
    assert!(world.sync(0) && world.sync(1) && world.sync(0));
    for device in &world.devices {
        let item = device.disk.item(&uuid(Kind::Entry, 0)).expect("entry");
        assert_eq!(field(&item.element, "Password"), Some("later"));
        assert_eq!(field(&item.element, "UserName"), Some("ann"));
        assert!(texts(item).contains("earlier") && texts(item).contains("first"));
    }
}

#[test]
fn an_edit_wins_over_a_deletion_and_brings_its_group_back() {
    let mut world = World::new(2);
    edit(&mut world.devices[0].disk, 0, "first", 10);
    relocate(&mut world.devices[0].disk, 0, 11);
    assert!(world.sync(0) && world.sync(1));
    delete(&mut world.devices[0].disk, 0);
    assert!(world.devices[0].disk.item(&uuid(Kind::Entry, 0)).is_none());
    edit(&mut world.devices[1].disk, 0, "edited", 20);
    assert!(world.sync(0) && world.sync(1) && world.sync(0));
    for device in &world.devices {
        let item = device.disk.item(&uuid(Kind::Entry, 0)).expect("entry");
        assert_eq!(field(&item.element, "Password"), Some("edited"));
        assert_eq!(device.disk.path_of(item), "g0/t");
    }
    delete(&mut world.devices[1].disk, 1);
    assert!(world.sync(1) && world.sync(0));
    let deleted = &world.devices[0].disk;
    assert!(
        deleted.item(&uuid(Kind::Entry, 0)).is_none()
            && deleted.deleted.contains_key(&uuid(Kind::Entry, 0).1)
    );
}

#[test]
fn a_version_that_is_removed_from_one_history_comes_back() {
    let mut world = World::new(2);
    edit(&mut world.devices[0].disk, 0, "first", 10);
    edit(&mut world.devices[0].disk, 0, "second", 20);
    assert!(world.sync(0) && world.sync(1));
    let key = uuid(Kind::Entry, 0);
    let entry = world.devices[1].disk.item_mut(&key).expect("entry");
    entry.element.remove("History");
    assert!(world.sync(1) && world.sync(0));
    for device in &world.devices {
        assert!(texts(device.disk.item(&key).expect("entry")).contains("first"));
    }
}

#[test]
fn an_old_version_is_not_taken_for_a_new_one() {
    let mut world = World::new(2);
    edit(&mut world.devices[0].disk, 0, "first", 10);
    assert!(world.sync(0));
    let old = world.server.items.clone();
    edit(&mut world.devices[0].disk, 0, "second", 20);
    assert!(world.sync(0) && world.sync(1));
    world.server.head += 1;
    let id = world
        .keys
        .id(Kind::Entry, &uuid(Kind::Entry, 0).1)
        .expect("id");
    let mut again = old[&id].clone();
    again.revision = world.server.head;
    world.server.items.insert(id, again);
    let device = &mut world.devices[1];
    let welcome = Welcome {
        store: [1; 16],
        revision: world.server.head,
        oldest: 0,
        max_packet: 1 << 21,
        wrapped: Sealed::default(),
    };
    let mut base = device.base.clone();
    let done = Sync::new(&world.keys, &mut world.server, &mut base, &welcome).run(device, true);
    assert!(matches!(done, Err(VaultError::Forged(_))), "{done:?}");
}

#[test]
fn a_server_that_was_set_back_gets_again_what_it_has_lost() {
    let mut world = World::new(2);
    edit(&mut world.devices[0].disk, 0, "first", 10);
    assert!(world.sync(0) && world.sync(1));
    let backup = world.server.items.clone();
    edit(&mut world.devices[0].disk, 0, "second", 20);
    edit(&mut world.devices[0].disk, 1, "another", 20);
    assert!(world.sync(0));
    // Its counter goes on, so that nobody sees it from that.
    world.server.items = backup;
    edit(&mut world.devices[0].disk, 0, "third", 30);
    for at in [0, 1, 0] {
        assert!(world.sync(at));
    }
    for device in &world.devices {
        let item = device.disk.item(&uuid(Kind::Entry, 0)).expect("entry");
        assert_eq!(field(&item.element, "Password"), Some("third"));
        assert!(texts(item).contains("second") && texts(item).contains("first"));
        assert!(device.disk.item(&uuid(Kind::Entry, 1)).is_some());
    }
}
