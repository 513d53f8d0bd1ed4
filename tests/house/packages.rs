//! What is installed: the list in Cargo.toml, which the Debian package and
//! scripts/install share, leaves nothing out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// Where each file of the list goes.
fn assets() -> BTreeMap<String, String> {
    let text = fs::read_to_string(Path::new(TOP).join("Cargo.toml")).expect("Cargo.toml");
    let manifest: toml::Table = text.parse().expect("TOML");
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array();
    let word = |value: &toml::Value| value.as_str().expect("a text").to_owned();
    let assets = assets.expect("a list").iter();
    assets.map(|it| (word(&it[0]), word(&it[1]))).collect()
}

/// The files in a folder.
fn files(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(TOP).join(folder)).expect("folder");
    let entries = entries.map(|entry| entry.expect("entry"));
    let files = entries.filter(|entry| entry.file_type().expect("kind").is_file());
    let name = |entry: fs::DirEntry| format!("{folder}/{}", entry.file_name().to_string_lossy());
    files.map(name).collect()
}

#[test]
fn packages_hold_programs_pages_completions_units_and_examples() {
    let assets = assets();
    for file in files("man").iter().chain(&files("conf")) {
        assert!(assets.contains_key(file), "{file} is in no package");
    }
    // tf completes the commands of tf-backup.
    assert_eq!(assets["target/release/tf-backup"], "usr/bin/");
    for program in ["tfd", "tf", "bbftp"] {
        assert_eq!(assets[&format!("target/release/{program}")], "usr/bin/");
        let place = |shell: &str| assets[&format!("target/completions/{program}.{shell}")].as_str();
        assert!(place("bash").ends_with(&format!("/bash-completion/completions/{program}")));
        assert!(place("zsh").ends_with(&format!("/_{program}")));
        assert!(place("fish").ends_with(&format!("/{program}.fish")));
    }
    for file in assets.keys().filter(|file| !file.starts_with("target/")) {
        let is_pattern = file.contains('*');
        assert!(
            is_pattern || Path::new(TOP).join(file).is_file(),
            "{file} is missing"
        );
    }
}
