//! Entries that both trees have, and that differ in what is kept of them: they get
//! it without being moved.

use std::collections::HashSet;

use super::Keep;
use super::times::Comparison;
use crate::client::extension::Attributes;
use crate::client::transfers::requests::directory;
use crate::client::transfers::scan::{Plan, Tree};

/// An entry of the target.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::client::transfers) struct Adjustment<'t> {
    pub(in crate::client::transfers) path: &'t [u8],
    pub(in crate::client::transfers) wanted: Attributes,
    /// Whether it is more than the time of a directory.
    pub(in crate::client::transfers) is_reported: bool,
}

/// What is to be set when everything else is done.
pub(in crate::client::transfers) fn adjustments<'t>(
    keep: &Keep,
    (source, target): (&'t Tree, &Tree),
    same: &HashSet<&[u8]>,
    plan: &Plan<'_>,
    compare: &Comparison,
) -> Vec<Adjustment<'t>> {
    let mut changed: HashSet<&[u8]> = HashSet::new();
    let moved = plan.files.iter().map(|(path, _)| *path);
    let gone = plan.delete.iter().chain(&plan.in_the_way);
    let entries = moved.chain(plan.directories.iter().copied());
    for path in entries.chain(gone.map(|(path, _)| *path)) {
        let above = directory(path);
        changed.insert(above.strip_suffix(b"/").unwrap_or(above));
    }
    let mut found = Vec::new();
    for (path, from) in &source.entries {
        let path = path.as_slice();
        let Some(to) = target.entries.get(path) else {
            continue;
        };
        let stays = match from.is_directory {
            true => to.is_directory,
            false => same.contains(path),
        };
        if !stays || from.mode.is_none() || to.mode.is_none() {
            continue;
        }
        let differs = |a: &_, b: &_| compare.keeps_times() && !compare.is_equal(a, b);
        let mut wanted = keep.difference(from, to, differs);
        let only_time = Attributes {
            modified: wanted.modified,
            ..Attributes::default()
        };
        let is_reported = !wanted.is_empty() && (!from.is_directory || wanted != only_time);
        if from.is_directory && compare.keeps_times() && changed.contains(path) {
            wanted.modified = keep.of(from).modified;
        }
        if !wanted.is_empty() {
            found.push(Adjustment {
                path,
                wanted,
                is_reported,
            });
        }
    }
    found
}
