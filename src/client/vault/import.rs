//! Entries from other programs: tables of KeePassXC and of most browsers (CSV), and
//! what Bitwarden exports (JSON, not encrypted). Whatever has no place of its own
//! becomes a field of the entry.

use serde_json::Value;
use zeroize::Zeroizing;

use super::csv;
use super::database::{Database, Item, Kind, history, new_entry, new_uuid, set_field, set_time};
use super::otp::Otp;
use super::xml::Element;

/// Adds the entries of a text, of which kind it may be: how many.
///
/// # Errors
/// One line: what is wrong with the text.
pub fn import(database: &mut Database, text: &str) -> Result<usize, String> {
    match text
        .trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n'])
        .starts_with('{')
    {
        true => bitwarden(database, text),
        false => table(database, text),
    }
}

/// The field that a column stands for.
fn column(name: &str) -> &'static str {
    match name.trim().to_ascii_lowercase().as_str() {
        "title" | "name" | "account" => "Title",
        "username" | "user name" | "login name" | "login_username" => "UserName",
        "password" | "login_password" => "Password",
        "url" | "web site" | "login_uri" => "URL",
        "notes" | "note" | "comments" => "Notes",
        "totp" | "otp" | "otpauth" | "login_totp" => "otp",
        "group" | "folder" => "/",
        "created" => "CreationTime",
        "last modified" => "LastModificationTime",
        "icon" => "IconID",
        _ => "",
    }
}

fn table(database: &mut Database, text: &str) -> Result<usize, String> {
    let rows = csv::parse(text)?;
    let (head, rows) = rows.split_first().ok_or("it is empty")?;
    let columns: Vec<(&str, &str)> = head
        .iter()
        .map(|name| (name.as_str(), column(name)))
        .collect();
    if !columns
        .iter()
        .any(|(_, column)| *column == "Title" || *column == "Password")
    {
        return Err(
            "neither a table with a column Title or Password nor JSON of Bitwarden".to_owned(),
        );
    }
    // KeePassXC's own columns.
    let has_root = head.iter().any(|name| **name == "Group")
        && head.iter().any(|name| **name == "Last Modified");
    for row in rows {
        let mut group = String::new();
        let mut entry = new_entry(&new_uuid()?);
        for ((name, column), cell) in columns.iter().zip(row) {
            match *column {
                _ if cell.is_empty() => {}
                "/" if has_root => without_root(cell).clone_into(&mut group),
                "/" => group.clone_from(cell),
                "CreationTime" | "LastModificationTime" => {
                    if let Ok(time) = cell.parse::<jiff::Timestamp>() {
                        set_time(&mut entry, column, time.as_second());
                    }
                }
                "IconID" => entry.set_text("IconID", cell),
                "otp" => set_otp(&mut entry, cell),
                "" => set_field(&mut entry, name, cell, false),
                column => set_field(&mut entry, column, cell, column == "Password"),
            }
        }
        add(database, entry, &group)?;
    }
    Ok(rows.len())
}

/// The path of a group in a table of KeePassXC, which begins with the root's name.
fn without_root(path: &str) -> &str {
    path.split_once('/').map_or("", |(_, rest)| rest)
}

/// A secret for codes; one that no code can be made of stays as a field.
fn set_otp(entry: &mut Element, text: &str) {
    let name = if Otp::parse(text).is_ok() {
        "otp"
    } else {
        "TOTP"
    };
    set_field(entry, name, text, true);
}

fn add(database: &mut Database, mut entry: Element, group: &str) -> Result<(), String> {
    for name in super::export::USUAL {
        if super::database::field(&entry, name).is_none() {
            set_field(&mut entry, name, "", name == "Password");
        }
    }
    let parent = database.make_group(group)?;
    let uuid = super::database::uuid_of(&entry).unwrap_or_default();
    database.items.push(Item {
        key: (Kind::Entry, uuid),
        parent,
        element: entry,
    });
    Ok(())
}

fn bitwarden(database: &mut Database, text: &str) -> Result<usize, String> {
    let wrong = |e: serde_json::Error| format!("not JSON of Bitwarden: {e}");
    let export: Value = serde_json::from_str(text).map_err(wrong)?;
    if export["encrypted"] == Value::Bool(true) {
        return Err("it is encrypted: export it as .json without encryption".to_owned());
    }
    let items = export["items"]
        .as_array()
        .ok_or("not JSON of Bitwarden: it has no items")?;
    let folder = |id: &Value| {
        let all = export["folders"].as_array().into_iter().flatten();
        let found = all.chain(export["collections"].as_array().into_iter().flatten());
        let found = found.filter(|it| !id.is_null() && it["id"] == *id);
        found
            .map(|it| it["name"].as_str().unwrap_or_default().to_owned())
            .next()
    };
    for item in items {
        let group = folder(&item["folderId"]).or_else(|| folder(&item["collectionIds"][0]));
        let entry = bitwarden_entry(item)?;
        add(database, entry, &group.unwrap_or_default())?;
    }
    Ok(items.len())
}

fn bitwarden_entry(item: &Value) -> Result<Element, String> {
    let mut entry = new_entry(&new_uuid()?);
    let text = |value: &Value| match value {
        Value::String(text) => Zeroizing::new(text.clone()),
        Value::Null => Zeroizing::default(),
        other => Zeroizing::new(other.to_string()),
    };
    let login = &item["login"];
    for (name, value) in [
        ("Title", &item["name"]),
        ("UserName", &login["username"]),
        ("Password", &login["password"]),
        ("URL", &login["uris"][0]["uri"]),
        ("Notes", &item["notes"]),
    ] {
        set_field(&mut entry, name, &text(value), name == "Password");
    }
    for (number, uri) in login["uris"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
        .skip(1)
    {
        set_field(
            &mut entry,
            &format!("KP2A_URL_{number}"),
            &text(&uri["uri"]),
            false,
        );
    }
    let totp = text(&login["totp"]);
    if !totp.is_empty() {
        set_otp(&mut entry, &totp);
    }
    for kind in ["card", "identity", "sshKey"] {
        let inside = item[kind].as_object().into_iter().flatten();
        for (name, value) in inside.filter(|(_, value)| !value.is_null()) {
            set_field(&mut entry, name, &text(value), kind != "identity");
        }
    }
    for own in item["fields"].as_array().into_iter().flatten() {
        let mut name = text(&own["name"]).to_string();
        while super::database::field(&entry, &name).is_some() {
            name.push('_');
        }
        set_field(&mut entry, &name, &text(&own["value"]), own["type"] == 1);
    }
    if item["favorite"] == Value::Bool(true) {
        entry.set_text("Tags", "Favorite");
    }
    let time = |value: &Value| {
        value
            .as_str()?
            .parse::<jiff::Timestamp>()
            .ok()
            .map(jiff::Timestamp::as_second)
    };
    if let Some(created) = time(&item["creationDate"]) {
        set_time(&mut entry, "CreationTime", created);
    }
    if let Some(changed) = time(&item["revisionDate"]) {
        set_time(&mut entry, "LastModificationTime", changed);
    }
    let mut versions = Vec::from(history(&entry));
    for before in item["passwordHistory"].as_array().into_iter().flatten() {
        let mut old = entry.clone();
        set_field(&mut old, "Password", &text(&before["password"]), true);
        set_time(
            &mut old,
            "LastModificationTime",
            time(&before["lastUsedDate"]).unwrap_or(0),
        );
        versions.push(old);
    }
    versions.sort_by_key(|old| super::database::time_of(old, "LastModificationTime"));
    if !versions.is_empty() {
        entry.child_mut("History").children = versions;
    }
    Ok(entry)
}
