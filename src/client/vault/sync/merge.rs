//! The three-way merge of two versions of an item, field by field. Where both sides
//! have changed a field differently, the later change wins, and the entry's history
//! keeps the other version. It must never drop a version in silence.

use std::collections::{BTreeMap, BTreeSet};

use super::shared::references;
use crate::client::vault::database::{Item, Kind, Uuid, history, parse_time, time_of};
use crate::client::vault::kdbx::Digest;
use crate::client::vault::xml::Element;

/// Where a part of an item belongs: the name of its element, and its own name in it.
type Place = (String, String);

/// The parts of an item, each with all elements that share its place.
type Parts = BTreeMap<Place, Vec<Element>>;

/// The place of the group that something is in.
const PARENT: &str = "@parent";

/// Times that change without anybody changing anything.
const VOLATILE_TIMES: [&str; 2] = ["LastAccessTime", "UsageCount"];

/// What shows how a program has shown a group.
const VOLATILE: [&str; 2] = ["IsExpanded", "LastTopVisibleEntry"];

/// Whether a part says something that a person has set.
fn is_meant((name, own): &Place, all: &[Element]) -> bool {
    let is_blank = |it: &Element| it.text.is_empty() && it.children.is_empty();
    match name.as_str() {
        "Times" => !VOLATILE_TIMES.contains(&own.as_str()),
        name => !VOLATILE.contains(&name) && !all.iter().all(is_blank),
    }
}

/// A field that both sides have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The item.
    pub kind: Kind,
    /// The name of the item.
    pub name: String,
    /// The field.
    pub field: String,
    /// The value that was given up and is in no history; `None` where it is in one.
    pub lost: Option<String>,
}

/// An item without what changes by itself, in one order.
pub fn canonical(item: &Item) -> Parts {
    let mut parts = taken_apart(item);
    parts.retain(|place, all| is_meant(place, all));
    let mut versions: Vec<Element> = history(&item.element).iter().map(in_order).collect();
    versions.sort();
    parts.insert(("History".to_owned(), String::new()), versions);
    parts
}

/// Whether two items say the same.
pub fn are_same(one: &Item, other: &Item) -> bool {
    one.key == other.key
        && (one.element == other.element && one.parent == other.parent
            || canonical(one) == canonical(other))
}

/// A version of an entry in one order, without what changes by itself.
fn in_order(version: &Element) -> Element {
    let item = Item {
        key: (Kind::Entry, Uuid::default()),
        parent: Uuid::default(),
        element: version.clone(),
    };
    let mut parts = taken_apart(&item);
    parts.retain(|place, all| place.0 != PARENT && is_meant(place, all));
    put_together(&Element::new(&version.name), parts)
}

/// Takes an item apart, but for its history.
fn taken_apart(item: &Item) -> Parts {
    let mut parts = Parts::new();
    let mut put = |name: &str, own: &str, element: &Element| {
        let place = (name.to_owned(), own.to_owned());
        parts.entry(place).or_default().push(element.clone());
    };
    for child in &item.element.children {
        match child.name.as_str() {
            "History" => {}
            "Times" => child
                .children
                .iter()
                .for_each(|time| put("Times", &time.name, time)),
            "CustomData" => {
                for data in &child.children {
                    put("CustomData", data.text_of("Key"), data);
                }
            }
            name @ ("String" | "Binary") => put(name, child.text_of("Key"), child),
            name => put(name, "", child),
        }
    }
    let parent: String = item
        .parent
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    put(PARENT, "", &Element::with_text(PARENT, &parent));
    parts
}

/// The element of these parts, in the order of another one.
fn put_together(like: &Element, mut parts: Parts) -> Element {
    let mut element = Element {
        attributes: like.attributes.clone(),
        text: like.text.clone(),
        ..Element::new(&like.name)
    };
    parts.remove(&(PARENT.to_owned(), String::new()));
    let mut take = |name: &str, own: &str| {
        parts
            .remove(&(name.to_owned(), own.to_owned()))
            .unwrap_or_default()
    };
    for child in &like.children {
        match child.name.as_str() {
            "History" => {}
            name @ ("Times" | "CustomData") => {
                let mut list = Element::new(name);
                for own in &child.children {
                    let own_name = if name == "Times" {
                        own.name.as_str()
                    } else {
                        own.text_of("Key")
                    };
                    list.children.extend(take(name, own_name));
                }
                element.children.push(list);
            }
            name @ ("String" | "Binary") => {
                element.children.extend(take(name, child.text_of("Key")));
            }
            name => element.children.extend(take(name, "")),
        }
    }
    for ((name, _), own) in parts {
        match name.as_str() {
            "Times" | "CustomData" => element.child_mut(&name).children.extend(own),
            _ => element.children.extend(own),
        }
    }
    element
}

/// When an item was changed last.
fn changed_at(item: &Item, place: &Place) -> i64 {
    let element = &item.element;
    match (item.key.0, place.0.as_str()) {
        (Kind::Meta, _) => parse_time(element.text_of("SettingsChanged")).unwrap_or(0),
        (Kind::Icon, _) => parse_time(element.text_of("LastModificationTime")).unwrap_or(0),
        (_, PARENT | "PreviousParentGroup") => time_of(element, "LocationChanged"),
        _ => time_of(element, "LastModificationTime"),
    }
}

/// Two versions of an item that both exist, and the one that both come from, if it is
/// known.
pub fn merge(
    base: Option<&Item>,
    ours: &Item,
    theirs: &Item,
    conflicts: &mut Vec<Conflict>,
) -> Item {
    if are_same(ours, theirs) {
        return ours.clone();
    }
    let empty = Parts::new();
    let base_parts = base.map(taken_apart);
    let old = base_parts.as_ref().unwrap_or(&empty);
    let (mut own, mut other) = (taken_apart(ours), taken_apart(theirs));
    let places: BTreeSet<Place> = own.keys().chain(other.keys()).cloned().collect();
    let mut parts = Parts::new();
    for place in places {
        let (mine, yours) = (own.remove(&place), other.remove(&place));
        let before = old.get(&place);
        let chosen = if mine == yours || yours.as_ref() == before && base.is_some() {
            mine
        } else if mine.as_ref() == before && base.is_some() {
            yours
        } else {
            choose(&place, before, (ours, mine), (theirs, yours), conflicts)
        };
        if let Some(chosen) = chosen {
            parts.insert(place, chosen);
        }
    }
    // It goes on even if an old copy of the file has won, which shows by that.
    let modified = ("Times".to_owned(), "LastModificationTime".to_owned());
    let latest = [Some(ours), Some(theirs), base].into_iter().flatten();
    let latest = latest.max_by_key(|item| time_of(&item.element, &modified.1));
    if let Some(time) = latest.and_then(|item| taken_apart(item).remove(&modified)) {
        parts.insert(modified, time);
    }
    let parent = parts.get(&(PARENT.to_owned(), String::new()));
    let is_theirs = parent == taken_apart(theirs).get(&(PARENT.to_owned(), String::new()));
    let mut merged = Item {
        key: ours.key,
        parent: if is_theirs {
            theirs.parent
        } else {
            ours.parent
        },
        element: put_together(&ours.element, parts),
    };
    if ours.key.0 == Kind::Entry {
        keep_versions(base, ours, theirs, &mut merged);
    }
    merged
}

/// What both sides have changed: a list of both, the larger number, or the later one.
fn choose(
    place: &Place,
    before: Option<&Vec<Element>>,
    (ours, mine): (&Item, Option<Vec<Element>>),
    (theirs, yours): (&Item, Option<Vec<Element>>),
    conflicts: &mut Vec<Conflict>,
) -> Option<Vec<Element>> {
    let (Some(mine), Some(yours)) = (mine.clone(), yours.clone()) else {
        // Removed on one side and changed on the other: the change wins.
        return mine.or(yours);
    };
    match (place.0.as_str(), place.1.as_str()) {
        ("Times", "LastModificationTime" | "LastAccessTime" | "LocationChanged")
        | ("SettingsChanged", _) => {
            let time = |it: &[Element]| it.first().and_then(|it| parse_time(&it.text)).unwrap_or(0);
            return Some(if time(&mine) >= time(&yours) {
                mine
            } else {
                yours
            });
        }
        ("Times", "UsageCount") => {
            let count = |it: &[Element]| it.first().and_then(|it| it.text.parse::<u64>().ok());
            return Some(if count(&mine) >= count(&yours) {
                mine
            } else {
                yours
            });
        }
        ("Tags", _) => return Some(vec![all_tags(before, &mine, &yours)]),
        _ => {}
    }
    // The same on both sides, whichever of them is ours.
    let rank = |item: &Item, it: &Vec<Element>| (changed_at(item, place), it.clone());
    let is_mine = rank(ours, &mine) >= rank(theirs, &yours);
    let (winner, loser) = if is_mine {
        (mine, yours)
    } else {
        (yours, mine)
    };
    let is_silent =
        place.0 == "Times" || place.0.ends_with("Changed") || VOLATILE.contains(&place.0.as_str());
    if is_silent {
        return Some(winner);
    }
    conflicts.push(Conflict {
        kind: ours.key.0,
        name: name_of(ours).to_owned(),
        field: match place.1.as_str() {
            "" => place.0.trim_start_matches('@').to_owned(),
            own => own.to_owned(),
        },
        lost: (ours.key.0 != Kind::Entry || place.0 == PARENT)
            .then(|| loser.iter().map(value_of).collect()),
    });
    Some(winner)
}

/// What a part says: a text, the value of custom data, or all that is in it.
fn value_of(part: &Element) -> String {
    match part.child("Value") {
        Some(value) => value.text.to_string(),
        None if part.children.is_empty() => part.text.to_string(),
        None => part
            .children
            .iter()
            .map(value_of)
            .collect::<Vec<_>>()
            .join(" "),
    }
}

/// The name of an item for a person.
fn name_of(item: &Item) -> &str {
    match item.key.0 {
        Kind::Entry => {
            crate::client::vault::database::field(&item.element, "Title").unwrap_or_default()
        }
        Kind::Group | Kind::Icon => item.element.text_of("Name"),
        Kind::Meta => "settings of the database",
    }
}

/// The tags of both sides, without those that one of them has removed.
fn all_tags(before: Option<&Vec<Element>>, mine: &[Element], yours: &[Element]) -> Element {
    let set = |it: &[Element]| -> BTreeSet<String> {
        let all = it.iter().flat_map(|it| it.text.split([';', ',']));
        all.map(|tag| tag.trim().to_owned())
            .filter(|tag| !tag.is_empty())
            .collect()
    };
    let (before, mine, yours) = (
        set(before.map_or(&[], Vec::as_slice)),
        set(mine),
        set(yours),
    );
    let removed: BTreeSet<&String> = before
        .iter()
        .filter(|tag| !mine.contains(*tag) || !yours.contains(*tag))
        .collect();
    let kept = mine.union(&yours).filter(|tag| !removed.contains(tag));
    let kept: Vec<&str> = kept.map(String::as_str).collect();
    Element::with_text("Tags", &kept.join(";"))
}

/// Gives the merged entry the old versions of both sides, and what it has replaced:
/// where both have changed it, what each of them had; and what both come from, which
/// an old copy of the file, or a program that keeps no history, does not have. A
/// version that one side lacks stays: nobody can tell who has removed it from who has
/// never had it.
fn keep_versions(base: Option<&Item>, ours: &Item, theirs: &Item, merged: &mut Item) {
    let versions = history(&ours.element)
        .iter()
        .chain(history(&theirs.element));
    let mut all: BTreeMap<Element, Element> =
        versions.map(|it| (in_order(it), it.clone())).collect();
    let known: BTreeSet<Digest> = &references(&ours.element) | &references(&theirs.element);
    let current = |item: &Item| {
        let mut element = item.element.clone();
        element.remove("History");
        // An attachment that both have removed may be gone.
        element
            .children
            .retain(|child| child.name != "Binary" || references(child).is_subset(&known));
        (in_order(&element), element)
    };
    let result = without_times(&current(merged).0);
    let (mine, yours, old) = (current(ours), current(theirs), base.map(current));
    let is_changed = |it: &Element| old.as_ref().is_none_or(|(old, _)| old != it);
    let both = is_changed(&mine.0) && is_changed(&yours.0);
    let replaced = if both { vec![mine, yours] } else { Vec::new() };
    for (version, element) in replaced.into_iter().chain(old) {
        let bare = without_times(&version);
        if bare != result && !all.keys().any(|it| without_times(it) == bare) {
            all.insert(version, element);
        }
    }
    let mut all: Vec<(Element, Element)> = all.into_iter().collect();
    all.sort_by_cached_key(|(version, _)| {
        (time_of(version, "LastModificationTime"), version.clone())
    });
    merged.element.remove("History");
    if !all.is_empty() || ours.element.child("History").is_some() {
        merged.element.child_mut("History").children = all.into_iter().map(|(_, it)| it).collect();
    }
}

fn without_times(version: &Element) -> Element {
    let mut version = version.clone();
    version.remove("Times");
    version.remove("PreviousParentGroup");
    version
}
