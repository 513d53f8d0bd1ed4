//! A password database as a list of items: its groups, entries and icons, each known
//! by its UUID. Taken from a document and put back into it, it keeps what it does
//! not know.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::base64::{decode_block, encode_block};
use zeroize::Zeroizing;

use super::kdbx::{Attachments, Kdbx};
use super::xml::Element;
use crate::text::{did_you_mean, hex, unhex};

/// What identifies an item.
pub type Uuid = [u8; 16];

/// From the first second of the year 1 to that of 1970.
const EPOCH: i64 = 62_135_596_800;

/// A kind of items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What holds for the whole database.
    Meta,
    /// A picture.
    Icon,
    /// A group.
    Group,
    /// An entry, with its history.
    Entry,
}

/// Which item.
pub type Key = (Kind, Uuid);

/// An item.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// Which one.
    pub key: Key,
    /// The group that it is in; its own for the root, zeros outside of groups.
    pub parent: Uuid,
    /// All else, but for what has items of its own.
    pub element: Element,
}

/// A database.
#[derive(Clone)]
pub struct Database {
    /// The document without its items.
    skeleton: Element,
    /// The group above all others.
    pub root: Uuid,
    /// All items; groups before what is in them.
    pub items: Vec<Item>,
    /// When items were deleted, in seconds since 1970.
    pub deleted: BTreeMap<Uuid, i64>,
    /// What entries refer to.
    pub attachments: Attachments,
}

impl Database {
    /// A new one with a root of this name.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn new(name: &str) -> Result<Database, String> {
        let root = new_uuid()?;
        let meta = Element::new("Meta")
            .with(Element::with_text("Generator", "tf"))
            .with(Element::with_text("DatabaseName", name))
            .with(Element::with_text("HistoryMaxItems", "-1"))
            .with(Element::with_text("HistoryMaxSize", "-1"))
            .with(Element::with_text("RecycleBinEnabled", "True"));
        let skeleton = Element::new("KeePassFile")
            .with(meta)
            .with(Element::new("Root"));
        let item = Item {
            key: (Kind::Group, root),
            parent: root,
            element: new_element("Group", &root).with(Element::with_text("Name", "Root")),
        };
        Ok(Database {
            skeleton,
            root,
            items: vec![item],
            deleted: BTreeMap::new(),
            attachments: Attachments::new(),
        })
    }

    /// Takes the items out of a file, which is empty then.
    ///
    /// # Errors
    /// One line: what is wrong with the document.
    pub fn take_from(kdbx: &mut Kdbx) -> Result<Database, String> {
        let mut skeleton = std::mem::take(&mut kdbx.document);
        if skeleton.name != "KeePassFile" {
            return Err("its document is not that of a password database".to_owned());
        }
        let icons = take_children(skeleton.child_mut("Meta"), "CustomIcons", "Icon");
        let top = skeleton.child_mut("Root");
        let gone = take_children(top, "DeletedObjects", "DeletedObject");
        let at = top.children.iter().position(|child| child.name == "Group");
        let root = at.map(|at| top.children.remove(at));
        let root = root.ok_or("it has no root group")?;
        let mut database = Database {
            skeleton,
            root: uuid_of(&root).ok_or(NO_UUID)?,
            items: Vec::new(),
            deleted: BTreeMap::new(),
            attachments: std::mem::take(&mut kdbx.attachments),
        };
        for gone in gone {
            if let Some(uuid) = uuid_of(&gone) {
                let time = parse_time(gone.text_of("DeletionTime")).unwrap_or(0);
                database.deleted.insert(uuid, time);
            }
        }
        let mut known = BTreeSet::new();
        for icon in icons {
            let key = (Kind::Icon, uuid_of(&icon).ok_or(NO_UUID)?);
            if known.insert(key) {
                database.items.push(Item {
                    key,
                    parent: Uuid::default(),
                    element: icon,
                });
            }
        }
        let above = database.root;
        database.take_group(root, above, &mut known)?;
        Ok(database)
    }

    fn take_group(
        &mut self,
        mut group: Element,
        above: Uuid,
        known: &mut BTreeSet<Key>,
    ) -> Result<(), String> {
        let children = std::mem::take(&mut group.children);
        let (inside, own): (Vec<_>, Vec<_>) = children
            .into_iter()
            .partition(|child| matches!(child.name.as_str(), "Group" | "Entry"));
        group.children = own;
        let uuid = self.take_item(Kind::Group, group, above, known)?;
        for child in inside {
            match child.name.as_str() {
                "Group" => self.take_group(child, uuid, known)?,
                _ => drop(self.take_item(Kind::Entry, child, uuid, known)?),
            }
        }
        Ok(())
    }

    /// Takes an item. The second one with a UUID gets another.
    fn take_item(
        &mut self,
        kind: Kind,
        mut element: Element,
        parent: Uuid,
        known: &mut BTreeSet<Key>,
    ) -> Result<Uuid, String> {
        let mut uuid = uuid_of(&element).ok_or(NO_UUID)?;
        if !known.insert((kind, uuid)) {
            uuid = new_uuid()?;
            element.set_text("UUID", &uuid_text(&uuid));
        }
        self.items.push(Item {
            key: (kind, uuid),
            parent,
            element,
        });
        Ok(uuid)
    }

    /// Puts the items into a file.
    pub fn put_into(&self, kdbx: &mut Kdbx) {
        let mut document = self.skeleton.clone();
        let icons: Vec<_> = self
            .of_kind(Kind::Icon)
            .map(|item| item.element.clone())
            .collect();
        if !icons.is_empty() {
            let list = &mut document.child_mut("Meta").child_mut("CustomIcons").children;
            list.splice(0..0, icons);
        }
        let mut inside: BTreeMap<Uuid, Vec<&Item>> = BTreeMap::new();
        for item in &self.items {
            if item.key.0 != Kind::Icon && item.key != (Kind::Group, self.root) {
                inside.entry(item.parent).or_default().push(item);
            }
        }
        let top = document.child_mut("Root");
        if let Some(root) = self.item(&(Kind::Group, self.root)) {
            top.children.insert(0, tree(root, &inside));
        }
        let gone = self.deleted.iter().map(|(uuid, time)| {
            Element::new("DeletedObject")
                .with(Element::with_text("UUID", &uuid_text(uuid)))
                .with(Element::with_text("DeletionTime", &time_text(*time)))
        });
        top.child_mut("DeletedObjects").children.splice(0..0, gone);
        kdbx.document = document;
        kdbx.attachments = self.attachments.clone();
    }

    /// What holds for the whole database.
    pub fn meta(&self) -> Option<&Element> {
        self.skeleton.child("Meta")
    }

    /// The same, to change it.
    pub fn meta_mut(&mut self) -> &mut Element {
        self.skeleton.child_mut("Meta")
    }

    /// The items of a kind, in their order.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| item.key.0 == kind)
    }

    /// An item.
    pub fn item(&self, key: &Key) -> Option<&Item> {
        self.items.iter().find(|item| item.key == *key)
    }

    /// An item, to change it.
    pub fn item_mut(&mut self, key: &Key) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.key == *key)
    }

    /// The names of the groups above something in this group, joined by `/`; empty for
    /// the root.
    pub fn path_of_group(&self, mut group: Uuid) -> String {
        let mut names = Vec::new();
        while group != self.root && names.len() < self.items.len() {
            let Some(item) = self.item(&(Kind::Group, group)) else {
                break;
            };
            names.push(item.element.text_of("Name"));
            group = item.parent;
        }
        names.reverse();
        names.join("/")
    }

    /// The path of an entry: those of its groups and its title.
    pub fn path_of(&self, entry: &Item) -> String {
        let title = field(&entry.element, "Title").unwrap_or_default();
        match self.path_of_group(entry.parent) {
            group if group.is_empty() => title.to_owned(),
            group => format!("{group}/{title}"),
        }
    }

    /// The group at a path; the root for an empty one.
    pub fn group_at(&self, path: &str) -> Option<Uuid> {
        let path = path.trim_matches('/');
        if path.is_empty() {
            return Some(self.root);
        }
        let mut groups = self.of_kind(Kind::Group).map(|item| item.key.1);
        groups.find(|uuid| *uuid != self.root && self.path_of_group(*uuid) == path)
    }

    /// The same; groups that are missing are made.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn make_group(&mut self, path: &str) -> Result<Uuid, String> {
        if let Some(found) = self.group_at(path) {
            return Ok(found);
        }
        let path = path.trim_matches('/');
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.make_group(above)?;
        let uuid = new_uuid()?;
        let element = new_element("Group", &uuid).with(Element::with_text("Name", name));
        self.items.push(Item {
            key: (Kind::Group, uuid),
            parent,
            element,
        });
        Ok(uuid)
    }

    /// The entry that a text names: by its path, its UUID in hexadecimal, or a title
    /// that only one has outside of the recycle bin.
    ///
    /// # Errors
    /// One line: there is none, or more than one.
    pub fn find(&self, name: &str) -> Result<Key, String> {
        let wanted = name.strip_prefix('/').unwrap_or(name);
        let uuid = unhex(wanted.as_bytes()).and_then(|uuid| Uuid::try_from(uuid).ok());
        if let Some(item) = uuid.and_then(|uuid| self.item(&(Kind::Entry, uuid))) {
            return Ok(item.key);
        }
        let entries = || self.of_kind(Kind::Entry);
        let mut found: Vec<&Item> = entries().filter(|it| self.path_of(it) == wanted).collect();
        if found.is_empty() {
            let bin = self.recycle_bin();
            let is_outside = |it: &&Item| bin.is_none_or(|bin| !self.is_inside(it.parent, bin));
            let titled = entries().filter(|it| field(&it.element, "Title") == Some(wanted));
            found = titled.filter(is_outside).collect();
        }
        match found[..] {
            [one] => Ok(one.key),
            [] => {
                let paths: Vec<String> = entries().map(|it| self.path_of(it)).collect();
                let hint = did_you_mean(wanted, paths.iter().map(String::as_str));
                Err(format!("no entry {name}: {hint}see tf vault ls -R"))
            }
            _ => {
                let which = found
                    .iter()
                    .map(|it| format!("{} {}", hex(&it.key.1), self.path_of(it)));
                let which: Vec<String> = which.collect();
                Err(format!(
                    "{} entries are named {name}: give one's UUID:\n  {}",
                    which.len(),
                    which.join("\n  ")
                ))
            }
        }
    }

    /// Whether a group is another one or in it.
    pub fn is_inside(&self, mut group: Uuid, outer: Uuid) -> bool {
        for _ in 0..=self.items.len() {
            if group == outer {
                return true;
            }
            match self.item(&(Kind::Group, group)) {
                Some(item) if group != self.root => group = item.parent,
                _ => return false,
            }
        }
        false
    }

    /// The group for what is thrown away, if there is one.
    pub fn recycle_bin(&self) -> Option<Uuid> {
        let text = self.meta()?.text_of("RecycleBinUUID");
        let uuid = parse_uuid(text)?;
        self.item(&(Kind::Group, uuid)).map(|_| uuid)
    }

    /// The same, made where it is missing; `None` where none is wanted.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn make_recycle_bin(&mut self) -> Result<Option<Uuid>, String> {
        let wanted = self
            .meta()
            .is_none_or(|meta| meta.text_of("RecycleBinEnabled") != "False");
        if !wanted || self.recycle_bin().is_some() {
            return Ok(self.recycle_bin().filter(|_| wanted));
        }
        let uuid = new_uuid()?;
        let element = new_element("Group", &uuid)
            .with(Element::with_text("Name", "Recycle Bin"))
            .with(Element::with_text("IconID", "43"))
            .with(Element::with_text("EnableSearching", "false"));
        let parent = self.root;
        self.items.push(Item {
            key: (Kind::Group, uuid),
            parent,
            element,
        });
        self.meta_mut()
            .set_text("RecycleBinUUID", &uuid_text(&uuid));
        Ok(Some(uuid))
    }

    /// Removes an item for good.
    pub fn delete(&mut self, key: &Key) {
        self.items.retain(|item| item.key != *key);
        self.deleted.insert(key.1, now());
    }
}

const NO_UUID: &str = "an item in it has no UUID";

/// A group with all that is in it: entries before groups, as KeePass has it.
fn tree(group: &Item, inside: &BTreeMap<Uuid, Vec<&Item>>) -> Element {
    let mut element = group.element.clone();
    let own = inside.get(&group.key.1).map_or(&[][..], Vec::as_slice);
    let entries = own.iter().filter(|item| item.key.0 == Kind::Entry);
    element
        .children
        .extend(entries.map(|item| item.element.clone()));
    let groups = own.iter().filter(|item| item.key.0 == Kind::Group);
    element
        .children
        .extend(groups.map(|item| tree(item, inside)));
    element
}

/// Takes the children of this name out of a list in an element.
fn take_children(from: &mut Element, list: &str, name: &str) -> Vec<Element> {
    let mut taken = Vec::new();
    for list in from.children.iter_mut().filter(|child| child.name == list) {
        let all = std::mem::take(&mut list.children);
        let (found, other): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|child| child.name == name);
        list.children = other;
        taken.extend(found);
    }
    taken
}

/// A new entry.
pub fn new_entry(uuid: &Uuid) -> Element {
    new_element("Entry", uuid)
}

fn new_element(name: &str, uuid: &Uuid) -> Element {
    let mut times = Element::new("Times");
    for name in [
        "CreationTime",
        "LastModificationTime",
        "LastAccessTime",
        "ExpiryTime",
        "LocationChanged",
    ] {
        times = times.with(Element::with_text(name, &time_text(now())));
    }
    times = times
        .with(Element::with_text("Expires", "False"))
        .with(Element::with_text("UsageCount", "0"));
    Element::new(name)
        .with(Element::with_text("UUID", &uuid_text(uuid)))
        .with(Element::with_text(
            "IconID",
            if name == "Group" { "48" } else { "0" },
        ))
        .with(times)
}

/// A random UUID.
///
/// # Errors
/// When the system has no random bytes.
pub fn new_uuid() -> Result<Uuid, String> {
    let mut uuid = Uuid::default();
    getrandom::fill(&mut uuid).map_err(|e| e.to_string())?;
    // Version 4, variant 1.
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    Ok(uuid)
}

/// A UUID as the document has it.
pub fn uuid_text(uuid: &Uuid) -> String {
    encode_block(uuid)
}

/// The UUID in a text.
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    decode_block(text.trim()).ok()?.try_into().ok()
}

/// The UUID of an element.
pub fn uuid_of(element: &Element) -> Option<Uuid> {
    parse_uuid(element.text_of("UUID"))
}

/// Now, in seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(0)
}

/// A time as the document has it.
pub fn time_text(seconds: i64) -> String {
    encode_block(&seconds.saturating_add(EPOCH).to_le_bytes())
}

/// The seconds since 1970 in a text of either form.
pub fn parse_time(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(bytes) = decode_block(text)
        && let Ok(bytes) = <[u8; 8]>::try_from(bytes)
    {
        return Some(i64::from_le_bytes(bytes).saturating_sub(EPOCH));
    }
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(time.as_second())
}

/// A time of an item; 0 where it has none.
pub fn time_of(element: &Element, name: &str) -> i64 {
    let times = element.child("Times");
    times
        .and_then(|times| parse_time(times.text_of(name)))
        .unwrap_or(0)
}

/// Sets a time of an item.
pub fn set_time(element: &mut Element, name: &str, seconds: i64) {
    element
        .child_mut("Times")
        .set_text(name, &time_text(seconds));
}

/// The value of a field of an entry.
pub fn field<'a>(entry: &'a Element, name: &str) -> Option<&'a str> {
    field_element(entry, name).map(|value| value.text.as_str())
}

/// The element with the value of a field.
pub fn field_element<'a>(entry: &'a Element, name: &str) -> Option<&'a Element> {
    let found = entry
        .children
        .iter()
        .find(|child| child.name == "String" && child.text_of("Key") == name);
    found?.child("Value")
}

/// Sets a field of an entry. One that is new is protected where the caller or the
/// database says so.
pub fn set_field(entry: &mut Element, name: &str, text: &str, is_protected: bool) {
    let at = entry
        .children
        .iter()
        .position(|child| child.name == "String" && child.text_of("Key") == name);
    let at = at.unwrap_or_else(|| {
        let mut value = Element::new("Value");
        value.set_attribute("Protected", is_protected.then_some("True"));
        let field = Element::new("String")
            .with(Element::with_text("Key", name))
            .with(value);
        // Behind the other fields, before what follows them.
        let at = entry
            .children
            .iter()
            .rposition(|child| child.name == "String");
        let at = at.map_or(entry.children.len(), |at| at + 1);
        entry.children.insert(at, field);
        at
    });
    let value = entry.children[at].child_mut("Value");
    if is_protected {
        value.set_attribute("Protected", Some("True"));
    }
    value.text = Zeroizing::new(text.to_owned());
}

/// Removes a field of an entry: whether there was one.
pub fn remove_field(entry: &mut Element, name: &str) -> bool {
    let before = entry.children.len();
    entry
        .children
        .retain(|child| child.name != "String" || child.text_of("Key") != name);
    entry.children.len() < before
}

/// The fields of an entry: names and values.
pub fn fields(entry: &Element) -> impl Iterator<Item = (&str, &Element)> {
    let all = entry.all("String");
    all.filter_map(|field| Some((field.text_of("Key"), field.child("Value")?)))
}

/// The old versions of an entry, the oldest first.
pub fn history(entry: &Element) -> &[Element] {
    entry
        .child("History")
        .map_or(&[], |history| &history.children)
}

/// Keeps an entry as it is in its history, and sets the time of its change.
pub fn remember(entry: &mut Element) {
    let mut old = entry.clone();
    old.remove("History");
    entry.child_mut("History").children.push(old);
    set_time(entry, "LastModificationTime", now());
}
