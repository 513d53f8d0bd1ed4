//! What the devices of an account share of a database: items whose groups are known
//! by the same UUIDs everywhere, the settings of the database among them. What belongs
//! to one file alone stays in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::vault::database::{Database, Item, Key, Kind, Uuid, now, parse_uuid, uuid_text};
use crate::client::vault::kdbx::{Attachments, Digest, reference};
use crate::client::vault::legacy;
use crate::client::vault::xml::Element;

/// The UUID of the top group, which each file has another one for.
pub const ROOT: Uuid = *b"tf-vault the top";

/// The key of what holds for the whole database.
pub const META: Key = (Kind::Meta, [0; 16]);

/// Custom data of this client.
pub const OWN: &str = "tf-vault.";

/// Settings that belong to a file.
const LOCAL: [&str; 10] = [
    "Generator",
    "HeaderHash",
    "MasterKeyChanged",
    "MasterKeyChangeRec",
    "MasterKeyChangeForce",
    "MasterKeyChangeForceOnce",
    "LastSelectedGroup",
    "LastTopVisibleGroup",
    "Binaries",
    "CustomIcons",
];

/// Custom data that KeePassXC makes new at each change of a file.
const LOCAL_DATA: [&str; 2] = ["_LAST_MODIFIED", "KPXC_RANDOM_SLUG"];

/// Shared items.
pub type Items = BTreeMap<Key, Item>;

/// What a database shares.
pub fn share(database: &Database) -> Items {
    let mut items = Items::new();
    for item in &database.items {
        let mut item = item.clone();
        rename(&mut item, &database.root, &ROOT);
        items.insert(item.key, item);
    }
    let mut meta = Item {
        key: META,
        parent: Uuid::default(),
        element: database.meta().cloned().unwrap_or_default(),
    };
    let all = std::mem::take(&mut meta.element.children);
    meta.element.children = all.into_iter().filter_map(without_local).collect();
    items.insert(META, meta);
    items
}

/// The shared part of a setting.
fn without_local(mut setting: Element) -> Option<Element> {
    if LOCAL.contains(&setting.name.as_str()) {
        return None;
    }
    if setting.name == "CustomData" {
        setting.children.retain(|data| !is_local(data));
        return Some(setting).filter(|setting| !setting.children.is_empty());
    }
    Some(setting)
}

fn is_local(data: &Element) -> bool {
    let key = data.text_of("Key");
    key.starts_with(OWN) || key.starts_with(legacy::OWN) || LOCAL_DATA.contains(&key)
}

/// Gives a database these items in place of those that it shares, and what they
/// refer to.
pub fn adopt(database: &mut Database, items: &Items, bodies: &Attachments) {
    let root = database.root;
    let local = |key: &Key| match *key {
        (Kind::Group, ROOT) => (Kind::Group, root),
        key => key,
    };
    let wanted: BTreeSet<Key> = items.keys().map(local).collect();
    for item in &database.items {
        if !wanted.contains(&item.key) {
            database.deleted.entry(item.key.1).or_insert_with(now);
        }
    }
    database.items.retain(|item| wanted.contains(&item.key));
    let mut places: BTreeMap<Key, usize> = database
        .items
        .iter()
        .enumerate()
        .map(|(at, item)| (item.key, at))
        .collect();
    for (key, item) in items {
        if *key == META {
            adopt_meta(database, &item.element);
            continue;
        }
        let mut item = item.clone();
        rename(&mut item, &ROOT, &root);
        database.deleted.remove(&item.key.1);
        for digest in references(&item.element) {
            if let Some(body) = bodies.get(&digest) {
                database
                    .attachments
                    .entry(digest)
                    .or_insert_with(|| body.clone());
            }
        }
        match places.get(&item.key) {
            Some(at) => database.items[*at] = item,
            None => {
                places.insert(item.key, database.items.len());
                database.items.push(item);
            }
        }
    }
}

fn adopt_meta(database: &mut Database, shared: &Element) {
    let meta = database.meta_mut();
    let all = std::mem::take(&mut meta.children);
    let mut data = Element::new("CustomData");
    for setting in all {
        if setting.name == "CustomData" {
            data.children
                .extend(setting.children.into_iter().filter(is_local));
        } else if LOCAL.contains(&setting.name.as_str()) {
            meta.children.push(setting);
        }
    }
    for setting in &shared.children {
        match setting.name.as_str() {
            "CustomData" => data.children.extend(setting.children.iter().cloned()),
            _ => meta.children.push(setting.clone()),
        }
    }
    if !data.children.is_empty() {
        meta.children.push(data);
    }
}

/// Puts one UUID of a group in the place of another one.
fn rename(item: &mut Item, from: &Uuid, to: &Uuid) {
    if item.key == (Kind::Group, *from) {
        item.key.1 = *to;
    }
    if item.parent == *from {
        item.parent = *to;
    }
    rename_in(&mut item.element, from, to);
}

fn rename_in(element: &mut Element, from: &Uuid, to: &Uuid) {
    for child in &mut element.children {
        match child.name.as_str() {
            "UUID" | "PreviousParentGroup" if parse_uuid(&child.text).as_ref() == Some(from) => {
                *child.text = uuid_text(to);
            }
            "History" => child
                .children
                .iter_mut()
                .for_each(|old| rename_in(old, from, to)),
            _ => {}
        }
    }
}

/// The attachments that an item or its old versions refer to.
pub fn references(element: &Element) -> BTreeSet<Digest> {
    let mut found = BTreeSet::new();
    let mut rest = vec![element];
    while let Some(element) = rest.pop() {
        found.extend(reference(element));
        rest.extend(&element.children);
    }
    found
}

/// Puts right what single items can't know: a group that something is in is there, no
/// group is in itself, an icon that something shows is there. What is missing comes
/// from where it was last.
pub fn repair(items: &mut Items, others: &[&Items]) {
    let find = |key: &Key| others.iter().find_map(|items| items.get(key)).cloned();
    loop {
        let mut missing = BTreeSet::new();
        for item in items
            .values()
            .filter(|item| matches!(item.key.0, Kind::Group | Kind::Entry))
        {
            missing.insert((Kind::Group, item.parent));
            let icon = parse_uuid(item.element.text_of("CustomIconUUID"));
            missing.extend(icon.map(|icon| (Kind::Icon, icon)));
        }
        missing.retain(|key| !items.contains_key(key));
        let found: Vec<Item> = missing.iter().filter_map(find).collect();
        if found.is_empty() {
            break;
        }
        items.extend(found.into_iter().map(|item| (item.key, item)));
    }
    let keys: Vec<Key> = items
        .keys()
        .filter(|key| matches!(key.0, Kind::Group | Kind::Entry))
        .copied()
        .collect();
    for key in keys {
        let is_lost = match items.get(&key) {
            Some(item) => key.1 != ROOT && !items.contains_key(&(Kind::Group, item.parent)),
            None => false,
        };
        if (is_lost || is_in_itself(items, &key))
            && let Some(item) = items.get_mut(&key)
        {
            item.parent = ROOT;
        }
    }
}

/// Whether a group is in itself and has the least UUID of those around.
fn is_in_itself(items: &Items, key: &Key) -> bool {
    let mut at = *key;
    for _ in 0..=items.len() {
        match items.get(&at) {
            Some(item) if at.1 != ROOT => at = (Kind::Group, item.parent),
            _ => return false,
        }
        if at.1 < key.1 {
            return false;
        }
        if at == *key {
            return true;
        }
    }
    false
}
