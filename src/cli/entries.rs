//! Writes server entries into the configuration: what else stands in it stays,
//! and it is whole at every moment.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use toml_edit::{DocumentMut, Item, Table, value};

use super::failure::{Failure, Result};
use super::servers::Servers;
use super::settings::Settings;
use crate::client::ClientError;

/// Puts an entry into the file, which is made when it is missing. The first
/// one becomes the default, and what the settings leave out stays as it was.
///
/// # Errors
/// When the file can't be written or is none of ours; it is as it was then.
pub(super) fn keep(file: &Path, name: &str, settings: &Settings) -> Result<()> {
    let told = |source: io::Error| ClientError::Local {
        path: file.to_owned(),
        source,
    };
    // A link leads to where the file is kept.
    let file = &fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(told)?;
    let lock = File::open(directory).map_err(told)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|e| told(e.into()))?;
    let old = match fs::read_to_string(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        other => other.map_err(told)?,
    };
    let text = with_entry(&old, name, settings)
        .map_err(|e| Failure::Usage(format!("{}: {}", file.display(), e.trim_end())))?;
    Servers::parse(&text, file.clone()).map_err(Failure::Usage)?;
    let mut new = file.file_name().unwrap_or_default().to_owned();
    new.push(".new");
    let new = file.with_file_name(new);
    let written = write(&new, &text).and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.and_then(|()| lock.sync_all()).map_err(told)?;
    Ok(())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    // What a run before us has left is no longer anybody's.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn with_entry(old: &str, name: &str, settings: &Settings) -> std::result::Result<String, String> {
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
    let servers = servers.as_table_like_mut().ok_or("server is no table")?;
    let entry = servers.entry(name).or_insert(Item::Table(Table::new()));
    let entry = entry.as_table_like_mut().ok_or("the entry is no table")?;
    let new = toml_edit::ser::to_document(settings).map_err(|e| e.to_string())?;
    for (key, new) in new.iter() {
        entry.insert(key, new.clone());
    }
    if settings.hash.is_some() {
        entry.remove("hash_file");
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
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
