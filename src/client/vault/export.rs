//! A database as a text in the open, for other programs.

use openssl::base64::encode_block;
use serde::Serialize;
use zeroize::Zeroizing;

use super::csv;
use super::database::{Database, Kind, field, fields, parse_time, time_of};
use super::kdbx::{Attachments, reference};
use super::xml::Element;

/// The fields that every entry has.
pub const USUAL: [&str; 5] = ["Title", "UserName", "Password", "URL", "Notes"];

/// A table in the columns of KeePassXC. Other fields, attachments and histories are
/// not in it.
pub fn csv(database: &Database) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::new());
    let head = [
        "Group",
        "Title",
        "Username",
        "Password",
        "URL",
        "Notes",
        "TOTP",
        "Icon",
        "Last Modified",
        "Created",
    ];
    csv::write(&mut out, &head);
    let root = database.item(&(Kind::Group, database.root));
    let root = root.map_or("Root", |item| item.element.text_of("Name"));
    for entry in database.of_kind(Kind::Entry) {
        let element = &entry.element;
        let group = match database.path_of_group(entry.parent) {
            path if path.is_empty() => root.to_owned(),
            path => format!("{root}/{path}"),
        };
        let text = |name| field(element, name).unwrap_or_default();
        let [title, user, password, url, notes] = USUAL.map(text);
        let time = |name| iso(time_of(element, name));
        let row = [
            &group,
            title,
            user,
            password,
            url,
            notes,
            text("otp"),
            element.text_of("IconID"),
            &time("LastModificationTime"),
            &time("CreationTime"),
        ];
        csv::write(&mut out, &row);
    }
    out
}

fn iso(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| String::new(), |time| time.to_string())
}

#[derive(Serialize)]
struct Entry<'a> {
    path: String,
    fields: serde_json::Map<String, serde_json::Value>,
    tags: &'a str,
    modified: String,
    created: String,
    attachments: Vec<&'a str>,
}

/// All entries with all their fields and the names of their attachments. Their
/// content and histories are not in it.
pub fn json(database: &Database) -> Zeroizing<String> {
    let entries: Vec<Entry> = database
        .of_kind(Kind::Entry)
        .map(|entry| Entry {
            path: database.path_of(entry),
            fields: fields(&entry.element)
                .map(|(name, value)| (name.to_owned(), value.text.as_str().into()))
                .collect(),
            tags: entry.element.text_of("Tags"),
            modified: iso(time_of(&entry.element, "LastModificationTime")),
            created: iso(time_of(&entry.element, "CreationTime")),
            attachments: entry
                .element
                .all("Binary")
                .map(|it| it.text_of("Key"))
                .collect(),
        })
        .collect();
    let mut text = serde_json::to_string_pretty(&entries).unwrap_or_default();
    text.push('\n');
    Zeroizing::new(text)
}

/// Whether an element of this name holds a time.
fn is_time(name: &str) -> bool {
    let others = [
        "LocationChanged",
        "SettingsChanged",
        "MasterKeyChanged",
        "RecycleBinChanged",
        "EntryTemplatesGroupChanged",
        "DatabaseNameChanged",
        "DatabaseDescriptionChanged",
        "DefaultUserNameChanged",
    ];
    name.ends_with("Time") || others.contains(&name)
}

/// A whole document as KeePass exports it, with attachments and histories.
///
/// # Errors
/// One line.
pub fn xml(mut document: Element, attachments: &Attachments) -> Result<Zeroizing<String>, String> {
    let mut numbers = std::collections::BTreeMap::new();
    document.for_each(&mut |element| {
        if element.is_protected() {
            element.set_attribute("Protected", None);
            element.set_attribute("ProtectInMemory", Some("True"));
        }
        if let Some(digest) = reference(element) {
            let next = numbers.len();
            let number = *numbers.entry(digest).or_insert(next);
            element.set_attribute("Ref", Some(&number.to_string()));
        }
        if is_time(&element.name)
            && let Some(time) = parse_time(&element.text)
        {
            element.text = Zeroizing::new(iso(time));
        }
        Ok(())
    })?;
    let mut binaries = Element::new("Binaries");
    let mut all: Vec<_> = numbers.into_iter().collect();
    all.sort_by_key(|(_, number)| *number);
    for (digest, number) in all {
        let binary = attachments.get(&digest).ok_or("an attachment is missing")?;
        let mut element = Element::with_text("Binary", &encode_block(&binary[1..]));
        element.set_attribute("ID", Some(&number.to_string()));
        element.set_attribute("Compressed", Some("False"));
        binaries.children.push(element);
    }
    let meta = document.child_mut("Meta");
    meta.remove("Binaries");
    meta.children.push(binaries);
    Ok(document.to_xml())
}
