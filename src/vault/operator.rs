//! What the operator asks of a vault: lists, bans, a copy of an account's entries.
//! Runs as the vault's system user, in its directory as root directory: a database
//! that somebody has changed is read without root's rights.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use serde_json::json;

use super::accounts::book::{Book, Trouble};
use super::accounts::lists::{Listed, ListedCode, ListedEvent};
use super::import;
use super::own::message::Item;
use super::own::store::{self as items, Keep};
use super::place::Place;
use super::reply::{Entry, Reply};
use super::request::{COLUMNS, Request};
use super::session::Store;
use crate::config::Vault;
use crate::sandbox::Sandbox;
use crate::sandbox::operator::answer_as;
use crate::users::Identity;

/// What is asked.
#[derive(Debug)]
pub enum Question {
    /// All codes that are valid.
    Codes { as_json: bool },
    /// All accounts.
    Accounts { as_json: bool },
    /// What has happened to an account, or to all.
    Logs { user: Option<String>, as_json: bool },
    /// The entries of an account, as clients have encrypted them.
    Export { user: String },
    /// What a database of an original server has.
    Import {
        file: File,
        as_json: bool,
        sandbox: Sandbox,
    },
    /// No login for so many seconds; 0 lets it in again.
    Ban { user: String, seconds: i64 },
}

/// Answers to standard output, or says on standard error why not; whether it did.
///
/// # Errors
/// One line.
pub fn ask(vault: &Vault, question: &Question) -> Result<bool, String> {
    let name = &vault.user;
    let identity = Identity::of(name).map_err(|e| format!("vault.user: \"{name}\": {e}"))?;
    let place = Place::at(&vault.data);
    if matches!(question, Question::Import { .. }) {
        place.make_directories(&identity)?;
    }
    let store = place.open_store()?;
    let max_account = vault.max_account;
    answer_as(&identity, &store, || {
        confine(question, store.as_fd()).map_err(|e| e.to_string())?;
        answer(question, max_account)
    })
}

/// Enters the sandbox to read a database that anybody may have made.
fn confine(question: &Question, store: BorrowedFd<'_>) -> std::io::Result<()> {
    let Question::Import { sandbox, .. } = question else {
        return Ok(());
    };
    sandbox.enter()?;
    sandbox.limit_files(Some(store))?;
    sandbox.deny_fork_and_identity()
}

fn answer(question: &Question, max_account: u64) -> Result<String, String> {
    if let Question::Import { file, as_json, .. } = question {
        let report = import::take_over(Path::new("/"), file, max_account)?;
        return match as_json {
            true => json_text(&report),
            false => Ok(report.text()),
        };
    }
    let book = Book::open(Path::new("/"));
    let mut book = book.map_err(|e| format!("accounts.db: {e}"))?;
    let now = super::now();
    match question {
        Question::Codes { as_json } => codes(&book, now, *as_json),
        Question::Accounts { as_json } => accounts(&book, now, *as_json),
        Question::Logs { user, as_json } => logs(&book, user.as_deref(), *as_json),
        Question::Export { user } => export(&book, user, max_account),
        Question::Ban { user, seconds } => {
            let until = match seconds {
                0 => 0,
                seconds => now.saturating_add(*seconds),
            };
            book.ban(user, until).map_err(said)?;
            Ok(String::new())
        }
        // See above.
        Question::Import { .. } => Ok(String::new()),
    }
}

fn codes(book: &Book, now: i64, as_json: bool) -> Result<String, String> {
    let codes = book.codes(now).map_err(said)?;
    let row = |code: &ListedCode| {
        let expires = time(code.expires);
        vec![
            code.user.clone(),
            code.kind.clone(),
            code.code.clone(),
            expires,
        ]
    };
    let rows: Vec<_> = codes.iter().map(row).collect();
    match as_json {
        true => json_text(&codes),
        false => Ok(table(&["USER", "KIND", "CODE", "EXPIRES"], &rows)),
    }
}

fn accounts(book: &Book, now: i64, as_json: bool) -> Result<String, String> {
    let accounts = book.list().map_err(said)?;
    let row = |account: &Listed| {
        let state = match (account.active, account.banned_until > now) {
            (_, true) => "banned",
            (true, _) => "active",
            (false, _) => "waits for its code",
        };
        let devices = account.devices.to_string();
        vec![
            account.user.clone(),
            account.email.clone(),
            devices,
            state.to_owned(),
        ]
    };
    let rows: Vec<_> = accounts.iter().map(row).collect();
    match as_json {
        true => json_text(&accounts),
        false => Ok(table(&["USER", "EMAIL", "DEVICES", "STATE"], &rows)),
    }
}

fn logs(book: &Book, user: Option<&str>, as_json: bool) -> Result<String, String> {
    let events = book.log(user).map_err(said)?;
    let row = |event: &ListedEvent| {
        vec![
            time(event.time),
            event.user.clone(),
            event.event.clone(),
            event.address.clone(),
        ]
    };
    let rows: Vec<_> = events.iter().map(row).collect();
    match as_json {
        true => json_text(&events),
        false => Ok(table(&["TIME", "USER", "EVENT", "ADDRESS"], &rows)),
    }
}

fn export(book: &Book, user: &str, max_account: u64) -> Result<String, String> {
    let account = book.find(user).map_err(said)?;
    let account = account.ok_or_else(|| format!("{user}: no such account"))?;
    if book.is_of_users_file(account.id).map_err(said)? {
        let text = "its entries belong to its system user, in vault.data, roots/system";
        return Err(format!("{user}: an account of the users file: {text}"));
    }
    let root = Path::new("/users").join(account.id.to_string());
    let file = root.join("items.db");
    if file.exists() {
        return export_items(&file, user, max_account)
            .map_err(|e| format!("{}: {e}", file.display()));
    }
    let file = root.join("vault.db");
    if !file.exists() {
        return json_text(&json!({"user": user, "entries": [], "deleted": []}));
    }
    let in_file = |e: rusqlite::Error| format!("{}: {e}", file.display());
    let mut store = Store::open_at(&file, max_account).map_err(in_file)?;
    let reply = store.answer(Request::Sync, ("", &[])).map_err(in_file)?;
    let Reply::Ids { entries, deleted } = reply else {
        return Err(format!("{}: can't be read", file.display()));
    };
    let mut exported = Vec::new();
    for (hid, _) in &entries {
        if let Reply::Selected(entry) = store.select(hid).map_err(in_file)? {
            exported.push(entry_json(&entry));
        }
    }
    json_text(&json!({"user": user, "entries": exported, "deleted": deleted}))
}

/// The entries of an account of the own dialect, as its clients have sealed them.
fn export_items(file: &Path, user: &str, max_account: u64) -> Result<String, String> {
    // Nothing is forgotten meanwhile.
    let keep = Keep {
        versions: u32::MAX,
        days: u32::MAX,
    };
    let store = items::Store::open(file, max_account, keep, super::now());
    let mut store = store.map_err(|e| e.to_string())?;
    let mut exported = Vec::new();
    let mut since = 0;
    loop {
        let changes = store.pull(since, true).map_err(|e| e.to_string())?;
        exported.extend(changes.items.iter().map(item_json));
        since = changes.upto;
        if !changes.more {
            return json_text(&json!({"user": user, "items": exported}));
        }
    }
}

fn item_json(item: &Item) -> serde_json::Value {
    let id = u128::from_be_bytes(item.id);
    let sealed = item.sealed.as_ref();
    let sealed = sealed.map(|sealed| openssl::base64::encode_block(&sealed.0));
    json!({
        "id": format!("{id:032x}"),
        "revision": item.revision,
        "base": item.base,
        "sealed": sealed,
    })
}

fn entry_json(entry: &Entry) -> serde_json::Value {
    let mut object = serde_json::Map::new();
    object.insert("hid".to_owned(), entry.hid.clone().into());
    for (name, value) in COLUMNS.iter().zip(&entry.values) {
        let value = value.as_ref().map(|value| value.to_string());
        object.insert((*name).to_owned(), value.into());
    }
    object.into()
}

fn json_text(value: &impl serde::Serialize) -> Result<String, String> {
    let text = serde_json::to_string_pretty(value).map_err(|e| e.to_string())?;
    Ok(text + "\n")
}

fn said(trouble: Trouble) -> String {
    trouble.to_string()
}

/// A moment in UTC: this root has no table of zones.
fn time(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.to_string()
}

/// Rows below a head, in columns.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|&word| word.to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let mut text = String::new();
    for row in &all {
        for (column, cell) in row.iter().enumerate() {
            let cells = all.iter().map(|row| row[column].chars().count());
            let width = cells.max().unwrap_or(0);
            match column + 1 == row.len() {
                true => text.push_str(cell),
                false => text.push_str(&format!("{cell:width$}  ")),
            }
        }
        text.push('\n');
    }
    text
}
