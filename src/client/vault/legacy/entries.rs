//! The entries of an old account, and how they come into a database. What was changed
//! here later than there is never overwritten.

use std::collections::BTreeSet;

use openssl::base64::{decode_block, encode_block};
use openssl::sha::sha256;
use zeroize::Zeroizing;

use super::{MasterKeys, value};
use crate::client::vault::database::{
    Database, Item, Kind, Uuid, field, new_entry, remember, set_field, set_time, time_of, uuid_text,
};
use crate::client::vault::xml::Element;

/// What an entry has there, and what it has here.
const FIELDS: [(&str, &str); 6] = [
    ("host", "Title"),
    ("url", "URL"),
    ("uname", "UserName"),
    ("password", "Password"),
    ("email", "E-mail"),
    ("notes", "Notes"),
];

/// What a picture in PNG begins with.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// An entry, opened.
pub struct Entry {
    uuid: Uuid,
    time: i64,
    /// By the names that they have here.
    values: Vec<(&'static str, Zeroizing<String>)>,
    icon: Option<Vec<u8>>,
}

/// The entry in an answer.
pub(super) fn entry(text: &str, keys: &MasterKeys) -> Option<Entry> {
    let hid = value(text, "hid")?;
    let mut uuid = Uuid::default();
    uuid.copy_from_slice(&sha256(hid.as_bytes())[..16]);
    let open = |name: &str| keys.open(value(text, name).unwrap_or_default());
    let icon = decode_block(open("icon").trim()).ok();
    Some(Entry {
        uuid,
        time: value(text, "datetime")?.parse().ok()?,
        values: FIELDS.map(|(there, here)| (here, open(there))).into(),
        icon: icon.filter(|icon| icon.starts_with(PNG)),
    })
}

/// Puts entries into a database, below a group: how many are new, and how many have
/// changed. What is later here stays.
///
/// # Errors
/// When the system has no random bytes.
pub fn adopt(
    database: &mut Database,
    group: &str,
    entries: &[Entry],
) -> Result<(usize, usize), String> {
    let (mut new, mut changed) = (0, 0);
    let parent = database.make_group(group)?;
    for entry in entries {
        let key = (Kind::Entry, entry.uuid);
        let is_same = |element: &Element| {
            let same = |name: &str, value: &str| field(element, name).unwrap_or_default() == value;
            entry.values.iter().all(|(name, value)| same(name, value))
        };
        match database.item(&key) {
            None if database.deleted.contains_key(&entry.uuid) => continue,
            None => {
                let mut element = new_entry(&entry.uuid);
                set_time(&mut element, "CreationTime", entry.time);
                database.items.push(Item {
                    key,
                    parent,
                    element,
                });
                new += 1;
            }
            Some(item)
                if is_same(&item.element)
                    || time_of(&item.element, "LastModificationTime") >= entry.time =>
            {
                continue;
            }
            Some(_) => changed += 1,
        }
        let icon = entry.icon.as_deref().map(|icon| add_icon(database, icon));
        let Some(item) = database.item_mut(&key) else {
            continue;
        };
        if field(&item.element, "Title").is_some() {
            remember(&mut item.element);
        }
        for (name, value) in &entry.values {
            let is_standard = *name != "E-mail";
            if is_standard || !value.is_empty() || field(&item.element, name).is_some() {
                set_field(&mut item.element, name, value, *name == "Password");
            }
        }
        if let Some(icon) = icon {
            item.element.set_text("CustomIconUUID", &uuid_text(&icon));
        }
        set_time(&mut item.element, "LastModificationTime", entry.time);
    }
    Ok((new, changed))
}

/// The number of a picture, which is added where it is missing.
fn add_icon(database: &mut Database, picture: &[u8]) -> Uuid {
    let mut uuid = Uuid::default();
    uuid.copy_from_slice(&sha256(picture)[..16]);
    let key = (Kind::Icon, uuid);
    if database.item(&key).is_none() {
        let element = Element::new("Icon")
            .with(Element::with_text("UUID", &uuid_text(&uuid)))
            .with(Element::with_text("Data", &encode_block(picture)));
        database.items.push(Item {
            key,
            parent: Uuid::default(),
            element,
        });
    }
    uuid
}

/// How many of these entries a list of items has.
pub fn count<'a>(entries: &[Entry], items: impl Iterator<Item = &'a Item>) -> usize {
    let known: BTreeSet<Uuid> = items.map(|item| item.key.1).collect();
    entries
        .iter()
        .filter(|entry| known.contains(&entry.uuid))
        .count()
}
