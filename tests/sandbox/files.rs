//! What attackers in several processes report: which files they reach by any way, and
//! what else they could do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use tfd::sandbox::place::Place;

use crate::common::Server;
use crate::{climbs, setting};

/// The variable with the files that are looked for.
pub const TARGETS: &str = "TFD_TEST_TARGETS";

/// What is tried, and whether it went well.
pub type Could<'a> = &'a dyn Fn(&str, bool);

/// Reports what an attacker in this place could do.
pub fn could(place: Place) -> impl Fn(&str, bool) {
    move |what, has_it| {
        if has_it {
            say(&format!("{place:?} could: {what}"));
        }
    }
}

/// What attackers have reported, and how many of them.
pub fn could_in(server: &Server) -> BTreeMap<String, i32> {
    let mut could = BTreeMap::new();
    for line in server.log() {
        assert!(!line.contains("no channel to attack"), "{line}");
        if let Some((_, what)) = line.split_once(" could: ") {
            *could.entry(what.to_owned()).or_insert(0) += 1;
        }
    }
    could
}

/// How much of what they could is not as expected; says what.
pub fn differing(of: &str, could: &BTreeMap<String, i32>, expected: &[(&str, i32)]) -> usize {
    let expected: BTreeMap<String, i32> = expected
        .iter()
        .map(|(what, count)| ((*what).to_owned(), *count))
        .collect();
    let names: BTreeSet<_> = could.keys().chain(expected.keys()).collect();
    let wrong = names
        .into_iter()
        .filter(|name| could.get(*name) != expected.get(*name));
    wrong
        .inspect(|name| println!("FAILED {of}: {name}"))
        .count()
}

/// The files that no attacker may reach, as the attackers read it.
pub fn targets(files: &[(&str, PathBuf)]) -> String {
    let lines = files.iter().map(|(name, path)| {
        let file = fs::metadata(path).expect(name);
        let path = path.display();
        format!("{name}\t{}\t{}\t{path}\n", file.dev(), file.ino())
    });
    lines.collect()
}

/// Logs a line whole.
pub fn say(line: &str) {
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Tries all ways to each file that is looked for.
pub fn reach_files(root: Option<BorrowedFd<'_>>, could: Could<'_>) {
    for line in setting(TARGETS).lines() {
        let fields: Vec<&str> = line.splitn(4, '\t').collect();
        let [name, device, number, path] = fields[..] else {
            panic!("{line}");
        };
        let is_it = (
            device.parse().expect("device"),
            number.parse().expect("number"),
        );
        could(name, has_way(root.unwrap_or(CWD), path, is_it));
        let climbed = root.map(|root| climbs::ways_to(root, path.trim_start_matches('/')));
        could(name, climbed.is_some_and(|ways| !ways.is_empty()));
    }
}

/// Whether any path leads to the file of this device and number: its own from the top,
/// each part of it from here and from above, and a link.
fn has_way(root: BorrowedFd<'_>, path: &str, is_it: (u64, u64)) -> bool {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let below = (0..parts.len()).map(|from| parts[from..].join("/"));
    let mut paths: Vec<String> = below
        .flat_map(|rest| (0..6).map(move |ups| format!("{}{rest}", "../".repeat(ups))))
        .collect();
    let parent = std::os::unix::process::parent_id();
    paths.push(path.to_owned());
    paths.extend(["self", "1", &parent.to_string()].map(|pid| format!("/proc/{pid}/root{path}")));
    paths.iter().any(|path| {
        let open = |flags| {
            let file = rustix::fs::openat(root, path.as_str(), flags, Mode::empty())?;
            rustix::fs::fstat(&file)
        };
        let linked = || {
            rustix::fs::linkat(root, path.as_str(), root, "stolen", AtFlags::empty())?;
            rustix::fs::statat(root, "stolen", AtFlags::empty())
        };
        let named = || {
            let _ = rustix::fs::unlinkat(root, "way", AtFlags::empty());
            rustix::fs::symlinkat(path.as_str(), root, "way")?;
            rustix::fs::statat(root, "way", AtFlags::empty())
        };
        let found = [
            open(OFlags::RDONLY),
            open(OFlags::WRONLY),
            linked(),
            named(),
        ];
        let found = found.into_iter().flatten();
        found
            .map(|stat| (stat.st_dev, stat.st_ino))
            .any(|it| it == is_it)
    })
}
