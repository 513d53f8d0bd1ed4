//! What makes one tree like another.

use std::collections::BTreeSet;

use super::Tree;
use crate::client::observe::Operation;
use crate::client::transfers::requests::levels;

/// What is to be done, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::client::transfers) struct Plan<'t> {
    /// Entries of the target that are of another kind than the source's, with
    /// all in them, what is in a directory before it; whether each is a
    /// directory. They can only go, or the source's entries stay away.
    pub(in crate::client::transfers) in_the_way: Vec<(&'t [u8], bool)>,
    /// The source's entries that they are in the way of.
    pub(in crate::client::transfers) blocked: BTreeSet<&'t [u8]>,
    /// The source's files that a directory is in the way of which can't go, as
    /// it holds what is left out.
    pub(in crate::client::transfers) stuck: BTreeSet<&'t [u8]>,
    /// Directories that are not in the source and stay for that reason.
    pub(in crate::client::transfers) held: Vec<&'t [u8]>,
    /// Directories to be made, each before those in it.
    pub(in crate::client::transfers) directories: Vec<&'t [u8]>,
    /// Files to be moved.
    pub(in crate::client::transfers) files: Vec<(&'t [u8], Operation)>,
    /// Entries that are not in the source, in the order of `in_the_way`.
    pub(in crate::client::transfers) delete: Vec<(&'t [u8], bool)>,
    /// Files that are as they should be.
    pub(in crate::client::transfers) unchanged: u64,
}

impl Plan<'_> {
    /// Whether something is in the way of an entry or of a directory it is in.
    pub(in crate::client::transfers) fn is_blocked(&self, path: &[u8]) -> bool {
        levels(path).any(|level| self.blocked.contains(level))
    }
}

/// Compares trees; `is_same` says which files need not be moved.
pub(in crate::client::transfers) fn plan<'t>(
    source: &'t Tree,
    target: &'t Tree,
    is_same: impl Fn(&[u8]) -> bool,
) -> Plan<'t> {
    let mut plan = Plan::default();
    for (path, found) in &source.entries {
        let there = target.entries.get(path);
        match there {
            Some(there)
                if there.is_directory && !found.is_directory && target.held.contains(path) =>
            {
                plan.stuck.insert(path);
                continue;
            }
            Some(there) if there.is_directory != found.is_directory => {
                plan.blocked.insert(path);
            }
            _ => {}
        }
        let replaces = there.is_some_and(|there| there.is_directory == found.is_directory);
        match (found.is_directory, replaces) {
            (true, true) => {}
            (true, false) => plan.directories.push(path),
            (false, true) if is_same(path) => plan.unchanged += 1,
            (false, true) => plan.files.push((path, Operation::Change)),
            (false, false) => plan.files.push((path, Operation::Add)),
        }
    }
    // The other way round, what is in a directory comes before it.
    for (path, found) in target.entries.iter().rev() {
        let kept = source
            .entries
            .get(path)
            .is_some_and(|s| s.is_directory == found.is_directory);
        if kept || levels(path).any(|level| plan.stuck.contains(level)) {
            continue;
        }
        if target.held.contains(path) {
            plan.held.push(path);
            continue;
        }
        let list = if plan.is_blocked(path) {
            &mut plan.in_the_way
        } else {
            &mut plan.delete
        };
        list.push((path, found.is_directory));
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::transfers::scan::Found;

    /// A tree of these paths; a directory's ends in `/`.
    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::empty();
        for path in paths {
            let is_directory = path.ends_with('/');
            let found = Found {
                is_directory,
                ..Found::default()
            };
            tree.entries
                .insert(path.trim_end_matches('/').into(), found);
        }
        tree
    }

    fn texts<'t>(paths: impl IntoIterator<Item = &'t &'t [u8]>) -> Vec<String> {
        paths
            .into_iter()
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect()
    }

    type Row = (
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
        (
            &'static [&'static str],
            &'static [&'static str],
            &'static [&'static str],
            &'static [&'static str],
        ),
    );

    /// Each row: source, target, files that are the same; then directories
    /// made, files moved (`+` or `~`), in the way, deleted.
    const ROWS: &[Row] = &[
        (&[], &[], &[], (&[], &[], &[], &[])),
        (
            &["a", "d/", "d/b"],
            &[],
            &[],
            (&["d"], &["+a", "+d/b"], &[], &[]),
        ),
        (&["a", "b"], &["a", "b"], &["a"], (&[], &["~b"], &[], &[])),
        (
            &["d/"],
            &["d/", "d/e/", "d/e/f", "x"],
            &[],
            (&[], &[], &[], &["x", "d/e/f", "d/e"]),
        ),
        (
            &["a"],
            &["a/", "a/x"],
            &[],
            (&[], &["+a"], &["a/x", "a"], &[]),
        ),
        (
            &["a/", "a/x"],
            &["a"],
            &[],
            (&["a"], &["+a/x"], &["a"], &[]),
        ),
        (
            &["a-b", "a/", "a/b"],
            &["a/", "a-b", "a/b"],
            &["a-b", "a/b"],
            (&[], &[], &[], &[]),
        ),
    ];

    #[test]
    fn the_target_becomes_like_the_source() {
        for (source, target, same, (directories, files, in_the_way, delete)) in ROWS {
            let (source, target) = (tree(source), tree(target));
            let plan = plan(&source, &target, |path| {
                same.iter().any(|s| s.as_bytes() == path)
            });
            assert_eq!(texts(&plan.directories), *directories);
            let moved = plan.files.iter().map(|(path, operation)| {
                let mark = if *operation == Operation::Add {
                    '+'
                } else {
                    '~'
                };
                format!("{mark}{}", String::from_utf8_lossy(path))
            });
            assert_eq!(moved.collect::<Vec<_>>(), *files);
            assert_eq!(
                texts(plan.in_the_way.iter().map(|(path, _)| path)),
                *in_the_way
            );
            assert_eq!(texts(plan.delete.iter().map(|(path, _)| path)), *delete);
            assert_eq!(plan.unchanged as usize, same.len());
        }
    }
}
