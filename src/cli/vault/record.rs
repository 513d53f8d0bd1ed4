//! The results of `tf vault` as JSON, one object a line, in the shapes of
//! `conf/tf-vault.schema.json`.

use serde::Serialize;

use crate::client::vault::database::{Database, Item, field, fields, history, parse_time, time_of};
use crate::client::vault::kdbx::reference;
use crate::client::vault::xml::Element;
use crate::text::hex;

/// One result.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum Record<'a> {
    /// A group.
    Group { path: String, uuid: String },
    /// An entry.
    Entry(Box<Entry<'a>>),
    /// An old version of an entry.
    Version {
        number: usize,
        modified: i64,
        changed: Vec<String>,
    },
    /// A value of an entry.
    Value { field: &'a str, value: &'a str },
    /// A one-time code.
    Code { code: &'a str, seconds: u64 },
    /// A new password.
    Password { password: &'a str },
    /// What was added.
    Imported { entries: usize },
    /// What was read of an old account.
    Read {
        entries: usize,
        new: usize,
        changed: usize,
    },
    /// A sync.
    Sync {
        received: usize,
        removed: usize,
        sent: usize,
        conflicts: usize,
        waiting: usize,
    },
    /// The account of a file.
    Status {
        server: &'a str,
        user: &'a str,
        device: String,
        changed: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        secret: Option<&'a str>,
    },
    /// A device of an account.
    Device {
        id: String,
        name: &'a str,
        first: i64,
        last: i64,
        online: bool,
        this: bool,
    },
}

/// An entry; `null` is a value that is not shown.
#[derive(Serialize)]
pub(super) struct Entry<'a> {
    pub(super) path: String,
    pub(super) uuid: String,
    pub(super) tags: Vec<&'a str>,
    pub(super) created: i64,
    pub(super) modified: i64,
    pub(super) expires: Option<i64>,
    pub(super) fields: Vec<Field<'a>>,
    pub(super) attachments: Vec<Attachment<'a>>,
    pub(super) versions: usize,
}

#[derive(Serialize)]
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) value: Option<&'a str>,
    pub(super) protected: bool,
}

#[derive(Serialize)]
pub(super) struct Attachment<'a> {
    pub(super) name: &'a str,
    pub(super) size: usize,
}

impl<'a> Entry<'a> {
    /// What is to be shown of an entry.
    pub(super) fn of(database: &'a Database, item: &'a Item, reveal: bool) -> Entry<'a> {
        let element = &item.element;
        let expires = element
            .child("Times")
            .filter(|times| times.text_of("Expires") == "True");
        Entry {
            path: database.path_of(item),
            uuid: hex(&item.key.1),
            tags: tags(element),
            created: time_of(element, "CreationTime"),
            modified: time_of(element, "LastModificationTime"),
            expires: expires.and_then(|times| parse_time(times.text_of("ExpiryTime"))),
            fields: fields(element)
                .map(|(name, value)| Field {
                    name,
                    value: (reveal || !is_secret(name, value)).then_some(value.text.as_str()),
                    protected: is_secret(name, value),
                })
                .collect(),
            attachments: attachments(database, element),
            versions: history(element).len(),
        }
    }
}

/// Whether a value is hidden unless it is asked for.
pub(super) fn is_secret(name: &str, value: &Element) -> bool {
    value.is_protected() || matches!(name, "Password" | "otp")
}

/// The tags of an entry.
fn tags(entry: &Element) -> Vec<&str> {
    let all = entry.text_of("Tags").split([';', ',']).map(str::trim);
    all.filter(|tag| !tag.is_empty()).collect()
}

fn attachments<'a>(database: &Database, entry: &'a Element) -> Vec<Attachment<'a>> {
    let size = |binary: &Element| {
        let content = database
            .attachments
            .get(&reference(binary.child("Value")?)?)?;
        Some(content.len() - 1)
    };
    let of = |binary: &'a Element| Attachment {
        name: binary.text_of("Key"),
        size: size(binary).unwrap_or(0),
    };
    entry.all("Binary").map(of).collect()
}

/// What is different in the next version of an entry.
pub(super) fn changed(old: &Element, new: &Element) -> Vec<String> {
    let mut names: Vec<String> = fields(new)
        .chain(fields(old))
        .map(|(name, _)| name)
        .filter(|name| field(old, name) != field(new, name))
        .map(str::to_owned)
        .collect();
    let binaries = |it: &'_ Element| it.all("Binary").cloned().collect::<Vec<_>>();
    if binaries(old) != binaries(new) {
        names.push("attachments".to_owned());
    }
    if tags(old) != tags(new) {
        names.push("tags".to_owned());
    }
    names.sort();
    names.dedup();
    names
}
