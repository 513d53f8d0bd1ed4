//! `config.toml`: the servers a person uses, by name. It is read whole; an entry
//! is written so that the rest of the file stays and it is whole at every
//! moment. See tf(1), FILES.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;
use toml_edit::{DocumentMut, Item, Table, value};
use zeroize::Zeroizing;

use super::failure::{Failure, Result};
use super::place::is_entry_name;
use super::settings::{Settings, directory};
use crate::replace::{Access, replace};
use crate::text::did_you_mean;
use crate::trusted;

/// The servers of a configuration file.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    /// The name of the default one.
    pub(crate) default: Option<String>,
    /// All of them, by name.
    pub(crate) entries: BTreeMap<String, Settings>,
    /// The file they were read from.
    pub(crate) file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    default: Option<String>,
    #[serde(default)]
    server: BTreeMap<String, Settings>,
}

/// The default place of the file.
pub(crate) fn usual_file() -> Option<PathBuf> {
    let base = directory("XDG_CONFIG_HOME").or_else(|| Some(directory("HOME")?.join(".config")))?;
    Some(base.join("tf/config.toml"))
}

/// Reads the file. Nobody else may be able to write servers and programs into
/// the default one.
fn read_text(file: &Path, is_usual: bool) -> std::io::Result<Zeroizing<String>> {
    let mut opened = std::fs::File::open(file)?;
    if is_usual && !trusted::is_ours_to_change(&opened)? {
        let text = "other users can write to it: chmod go-w it, and check its owner";
        return Err(std::io::Error::other(text));
    }
    let mut text = Zeroizing::new(String::new());
    opened.read_to_string(&mut text)?;
    Ok(text)
}

impl Servers {
    /// Reads a file, which may be missing; `None` stands for the usual one.
    pub(crate) fn read(named: Option<&Path>) -> Result<Servers, String> {
        let Some(file) = named.map(Path::to_owned).or_else(usual_file) else {
            return Ok(Servers::default());
        };
        let text = match read_text(&file, named.is_none()) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Servers {
                    file,
                    ..Servers::default()
                });
            }
            Err(e) => return Err(format!("{}: {e}", file.display())),
        };
        Servers::parse(&text, file)
    }

    /// Whether a word that is not a command names a server: an entry, or an
    /// address.
    pub(super) fn are_meant_by(&self, word: &str) -> bool {
        self.entries.contains_key(word) || word.contains(':')
    }

    /// The servers in a text.
    pub(crate) fn parse(text: &str, file: PathBuf) -> Result<Servers, String> {
        let mut raw: Raw = toml::from_str(text).map_err(|e| {
            let start = e.span().map_or(0, |span| span.start);
            let line = text
                .get(..start)
                .map_or(1, |before| before.matches('\n').count() + 1);
            format!("{}:{line}: {}", file.display(), plain(e.message()))
        })?;
        let whole = |what: String| format!("{}: {what}", file.display());
        for (name, entry) in &mut raw.server {
            if !is_entry_name(name) {
                return Err(whole(format!(
                    "\"{name}\" is not a valid name: use letters, digits, . - _"
                )));
            }
            if entry.addresses().next().is_none() {
                return Err(whole(format!("server {name} has no address")));
            }
            entry.resolve(file.parent().unwrap_or(Path::new("")));
        }
        if let Some(name) = raw
            .default
            .as_ref()
            .filter(|name| !raw.server.contains_key(*name))
        {
            return Err(whole(format!(
                "default = \"{name}\" is not a server of this file"
            )));
        }
        Ok(Servers {
            default: raw.default,
            entries: raw.server,
            file,
        })
    }

    /// The entry that has this address, and is for this account if one is
    /// named.
    pub(crate) fn at(&self, address: &str, user: Option<&str>) -> Option<&Settings> {
        let there = |entry: &&Settings| entry.addresses().any(|own| own == address);
        let is_users = |entry: &&Settings| user.is_some() && entry.user.as_deref() == user;
        let mut entries = self.entries.values().filter(there);
        entries.clone().find(is_users).or_else(|| entries.next())
    }
}

/// What is wrong, with the nearest key in place of all of them for an unknown one.
fn plain(message: &str) -> String {
    let message = message.trim_end();
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(key) = quoted
        .next()
        .filter(|_| message.starts_with("unknown field"))
    else {
        return message.to_owned();
    };
    let hint = did_you_mean(key, quoted);
    format!("{key}: no such key: {hint}see tf(1), FILES")
}

/// Puts an entry into the file, which is made when it is missing. The first
/// one becomes the default, and what the settings leave out stays as it was.
pub(super) fn keep(file: &Path, name: &str, settings: &Settings) -> Result<()> {
    let failed = Failure::local(file);
    // A link leads to the file itself.
    let file = &fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(&failed)?;
    let lock = File::open(directory).map_err(&failed)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|e| failed(e.into()))?;
    let old = match fs::read_to_string(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        other => other.map_err(&failed)?,
    };
    let text = with_entry(&old, name, settings)
        .map_err(|e| Failure::Usage(format!("{}: {}", file.display(), e.trim_end())))?;
    Servers::parse(&text, file.clone()).map_err(Failure::Usage)?;
    replace(file, text.as_bytes(), Access::Secret)
        .and_then(|()| lock.sync_all())
        .map_err(&failed)?;
    Ok(())
}

fn with_entry(old: &str, name: &str, settings: &Settings) -> Result<String, String> {
    let mut document: DocumentMut = old
        .parse()
        .map_err(|e: toml_edit::TomlError| e.to_string())?;
    let root = document.as_table_mut();
    if root.is_empty() {
        root.insert("default", value(name));
    }
    let mut all = Table::new();
    all.set_implicit(true);
    let servers = root.entry("server").or_insert(Item::Table(all));
    let servers = servers.as_table_like_mut().ok_or("server is not a table")?;
    let entry = servers.entry(name).or_insert(Item::Table(Table::new()));
    let entry = entry
        .as_table_like_mut()
        .ok_or("the entry is not a table")?;
    let new = toml_edit::ser::to_document(settings).map_err(|e| e.to_string())?;
    for (key, new) in new.iter() {
        entry.insert(key, new.clone());
    }
    if settings.hash.is_some() {
        entry.remove("hash_file");
    }
    if settings.has_password() {
        for key in ["password_file", "password_command", "password_keyring"] {
            if !new.contains_key(key) {
                entry.remove(key);
            }
        }
    }
    // One way to know the server replaces another.
    if settings.is_over_tls() || (settings.has_address() && settings.key.is_some()) {
        for key in ["tls", "tls_pin", "tls_ca"] {
            if !new.contains_key(key) {
                entry.remove(key);
            }
        }
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Servers, String> {
        Servers::parse(text, "/c/config.toml".into())
    }

    #[test]
    fn entries_are_found_by_name_and_by_address() {
        let servers = parse(
            "default = \"a\"\n[server.a]\naddress = \"h\"\nuser = \"ann\"\nhash_file = \"hash\"\n\
             [server.b]\naddress = [\"h:10345\", \"i:7\"]\nuser = \"bob\"\nbalance = true\n",
        )
        .expect("servers");
        assert_eq!(servers.default.as_deref(), Some("a"));
        let user = |address, user| {
            servers
                .at(address, user)
                .and_then(|entry| entry.user.clone())
        };
        assert_eq!(user("h:10345", None).as_deref(), Some("ann"));
        assert_eq!(user("h:10345", Some("bob")).as_deref(), Some("bob"));
        assert_eq!(user("i:7", Some("eve")).as_deref(), Some("bob"));
        assert_eq!(user("h:7", None), None);
        let file = &servers.entries["a"].hash_file;
        assert_eq!(file.as_deref(), Some(Path::new("/c/hash")));
    }

    #[test]
    fn errors_name_their_line() {
        for (text, expected) in [
            (
                "[server.a]\nadress = \"h\"\n",
                "config.toml:2: adress: no such key: did you mean address? see tf(1), FILES",
            ),
            (
                "[server.a]\nnonsense = 1\n",
                "config.toml:2: nonsense: no such key: see tf(1), FILES",
            ),
            ("[server.a]\nuser = \"x\"\n", "address"),
            ("default = \"b\"\n", "is not a server"),
            ("[server.\"a/b\"]\naddress = \"h\"\n", "is not a valid name"),
            ("[server.a]\naddress = []\n", "no address"),
            (
                "[server.a]\naddress = 1\n",
                "config.toml:2: an address or a list",
            ),
            ("x", "config.toml:1: "),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    use std::os::unix::fs::PermissionsExt;

    use crate::cli::settings::Addresses;

    fn settings(key: &str) -> Settings {
        Settings {
            address: Addresses::One("h:1".to_owned()),
            key: Some(key.into()),
            hash: Some("x".to_owned()),
            ..Settings::default()
        }
    }

    #[test]
    fn an_entry_is_added_and_what_stands_there_stays() {
        let dir = tempfile::tempdir().expect("directory");
        let file = dir.path().join("new/tf/config.toml");
        keep(&file, "a", &settings("K1\nline\n")).expect("kept");
        let text = fs::read_to_string(&file).expect("read");
        assert!(
            text.starts_with("default = \"a\"\n\n[server.a]\n"),
            "{text}"
        );
        let mode = |path: &Path| fs::metadata(path).expect("stat").permissions().mode() & 0o777;
        assert_eq!(
            (mode(&file), mode(file.parent().expect("parent"))),
            (0o600, 0o700)
        );

        fs::write(&file, format!("# mine\n{text}# the end\n")).expect("write");
        keep(&file, "b.c", &settings("K2")).expect("kept");
        let again = Settings {
            key: Some("K3".into()),
            ..Settings::default()
        };
        keep(&file, "a", &again).expect("kept");
        let text = fs::read_to_string(&file).expect("read");
        assert!(text.starts_with("# mine\ndefault = \"a\"\n"), "{text}");
        assert!(text.contains("# the end") && !text.contains("K1"), "{text}");
        let servers = Servers::parse(&text, file).expect("servers");
        assert_eq!(servers.entries.len(), 2);
        assert_eq!(
            servers.entries["a"].addresses().collect::<Vec<_>>(),
            ["h:1"]
        );
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_left_alone() {
        let dir = tempfile::tempdir().expect("directory");
        let file = dir.path().join("config.toml");
        for text in ["not toml", "server = 1\n", "other = 1\n"] {
            fs::write(&file, text).expect("write");
            assert!(keep(&file, "a", &settings("K")).is_err(), "{text}");
            assert_eq!(fs::read_to_string(&file).expect("read"), text);
            assert_eq!(fs::read_dir(dir.path()).expect("directory").count(), 1);
        }
    }
}
