//! `config.toml`: the servers a person uses, by name. See tf(1), FILES.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use super::place::is_entry_name;
use super::settings::Settings;
use crate::trusted;

/// The servers of a configuration file.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    /// The name of the one that is meant where none is named.
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

/// The place of the file where none is named.
///
/// # Errors
/// When neither XDG_CONFIG_HOME nor HOME is set.
pub(crate) fn usual_file() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(base.join("tf/config.toml"))
}

/// Reads the file; the usual one must be such that nobody else can name
/// servers and programs in it.
fn read_text(file: &Path, is_usual: bool) -> std::io::Result<Zeroizing<String>> {
    let mut opened = std::fs::File::open(file)?;
    if is_usual && !trusted::is_ours_to_change(&opened)? {
        let text = "others may change it: chmod go-w it, and see whom it belongs to";
        return Err(std::io::Error::other(text));
    }
    let mut text = Zeroizing::new(String::new());
    opened.read_to_string(&mut text)?;
    Ok(text)
}

impl Servers {
    /// Reads a file, which may be missing; `None` stands for the usual one.
    ///
    /// # Errors
    /// One line with what is wrong where.
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

    /// Whether a word that is no command stands for a server: an entry, or what
    /// is written as an address.
    pub(super) fn are_meant_by(&self, word: &str) -> bool {
        self.entries.contains_key(word) || word.contains(':')
    }

    /// The servers in a text.
    ///
    /// # Errors
    /// One line with what is wrong where.
    pub(crate) fn parse(text: &str, file: PathBuf) -> Result<Servers, String> {
        let told = |line: usize, what: &str| format!("{}:{line}: {what}", file.display());
        let mut raw: Raw = toml::from_str(text).map_err(|e| {
            let start = e.span().map_or(0, |span| span.start);
            let line = text
                .get(..start)
                .map_or(1, |before| before.matches('\n').count() + 1);
            told(line, e.message().trim_end())
        })?;
        let whole = |what: String| format!("{}: {what}", file.display());
        for (name, entry) in &mut raw.server {
            if !is_entry_name(name) {
                return Err(whole(format!(
                    "\"{name}\" is no name: letters, digits, . - _"
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
                "default = \"{name}\" names no server of the file"
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
        let fits = |entry: &&Settings| user.is_some() && entry.user.as_deref() == user;
        let mut entries = self.entries.values().filter(there);
        entries.clone().find(fits).or_else(|| entries.next())
    }
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
    fn what_is_wrong_is_told_with_its_line() {
        for (text, told) in [
            (
                "[server.a]\nadress = \"h\"\n",
                "config.toml:2: unknown field `adress`",
            ),
            ("[server.a]\nuser = \"x\"\n", "address"),
            ("default = \"b\"\n", "names no server"),
            ("[server.\"a/b\"]\naddress = \"h\"\n", "no name"),
            ("[server.a]\naddress = []\n", "no address"),
            (
                "[server.a]\naddress = 1\n",
                "config.toml:2: an address or a list",
            ),
            ("x", "config.toml:1: "),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
