//! The walls of the house, read from the sources: which folder may know which.
//! docs/architecture.md says why.

mod packages;
mod papers;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Those that serve clients.
const PROTOCOLS: [&str; 5] = ["tf", "bbftp", "vault", "hub", "holder"];

/// What a holder, a peer of the hub, may import of it.
const OF_PEERS: [&str; 3] = ["hub::wire", "hub::proofs", "hub::peer"];

/// Those that know no protocol, and nothing of who uses them.
const FOUNDATIONS: [&str; 8] = [
    "sys", "ipc", "net", "sandbox", "users", "store", "session", "config",
];

fn source_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("directory") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            source_files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Each source file but tests, by its path in `src`, with what it says outside
/// of comments and tests.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&src, &mut files);
    files.retain(|path| path.file_name().is_some_and(|name| name != "tests.rs"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("source");
        let code = text.split("\n#[cfg(test)]\nmod ").next().expect("code");
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let code: Vec<&str> = code.lines().filter(is_code).collect();
        let name = path.strip_prefix(&src).expect("beneath src");
        (name.to_string_lossy().into_owned(), code.join("\n"))
    };
    files.into_iter().map(read).collect()
}

/// The folder, or file, directly in `src`.
fn room(file: &str) -> &str {
    file.split('/')
        .next()
        .expect("a name")
        .trim_end_matches(".rs")
}

/// The rooms that a text imports.
fn imports(code: &str) -> BTreeSet<String> {
    let named = code.match_indices("crate::").flat_map(|(at, word)| {
        let rest = &code[at + word.len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let list = list.split(';').next().expect("a list");
                list.split(',').map(first_word).collect::<Vec<_>>()
            }
            None => vec![first_word(rest)],
        }
    });
    named.filter(|name| !name.is_empty()).collect()
}

fn first_word(text: &str) -> String {
    let is_part = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    text.trim_start().chars().take_while(is_part).collect()
}

#[test]
fn the_foundations_know_no_protocol_and_nothing_above_them() {
    let above = ["daemon", "proxy", "admin", "client", "cli"];
    for (file, code) in sources() {
        if FOUNDATIONS.contains(&room(&file)) {
            for name in imports(&code) {
                let name = name.as_str();
                assert!(!PROTOCOLS.contains(&name), "{file} knows {name}");
                assert!(!above.contains(&name), "{file} knows {name}");
            }
        }
    }
}

#[test]
fn no_protocol_knows_another_or_the_daemon() {
    for (file, code) in sources() {
        let own = room(&file);
        if PROTOCOLS.contains(&own) {
            let mut code = code;
            if own == "holder" {
                for shared in OF_PEERS {
                    code = code.replace(&format!("crate::{shared}"), "");
                }
            }
            for name in imports(&code) {
                let is_other = PROTOCOLS.contains(&name.as_str()) && name != own;
                assert!(!is_other, "{file} knows {name}");
                assert!(!["daemon", "admin", "cli"].contains(&name.as_str()));
            }
        }
    }
}

#[test]
fn the_daemon_names_protocols_in_one_place() {
    for (file, code) in sources() {
        if room(&file) == "daemon" && file != "daemon/protocols.rs" {
            for name in imports(&code) {
                assert!(!PROTOCOLS.contains(&name.as_str()), "{file} knows {name}");
            }
        }
    }
}

#[test]
fn nobody_imports_the_client_program() {
    for (file, code) in sources() {
        if !["cli", "lib", "bin"].contains(&room(&file)) {
            assert!(!imports(&code).contains("cli"), "{file} knows cli");
        }
    }
}

#[test]
fn there_are_no_circles_between_folders() {
    let mut knows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let all = sources();
    let rooms: BTreeSet<&str> = all.iter().map(|(file, _)| room(file)).collect();
    for (file, code) in &all {
        let own = room(file);
        if ["lib", "bin"].contains(&own) {
            continue;
        }
        let imported = imports(code);
        let others = imported
            .into_iter()
            .filter(|name| name != own && rooms.contains(name.as_str()));
        knows.entry(own.to_owned()).or_default().extend(others);
    }
    assert!(knows.len() > 15, "{knows:?}");
    // Whoever knows nobody that is left stands on the ground: take it away.
    while let Some(ground) = knows
        .iter()
        .find(|(_, known)| known.is_empty())
        .map(|(room, _)| room.clone())
    {
        knows.remove(&ground);
        knows.values_mut().for_each(|known| {
            known.remove(&ground);
        });
    }
    assert!(knows.is_empty(), "a circle among: {knows:?}");
}

#[test]
fn system_calls_without_a_safe_wrapper_are_made_in_sys_alone() {
    for (file, code) in sources() {
        let has_unsafe = code.contains("unsafe {") || code.contains("unsafe fn");
        assert!(room(&file) == "sys" || !has_unsafe, "{file}");
    }
}
