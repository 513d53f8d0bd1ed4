//! What a tree holds, on either side: files and directories by their paths
//! from its top, a directory before its entries; and what makes one tree like
//! another.

pub(super) mod filter;
mod local;
mod plan;
mod remote;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use super::requests::{directory, is_part, last, levels};
use super::run::Run;
use crate::client::commands::Stat;
use crate::client::error::ClientError;
use crate::client::listing::{Entry, Kind};
use crate::tf::env::POLICY;

use filter::Filter;

pub(super) use local::scan_local;
pub(super) use plan::{Plan, plan};
pub(super) use remote::{add_unlisted, scan_remote};

/// A file or directory of a tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) is_directory: bool,
    pub(super) size: u64,
    /// Last change in seconds since the epoch; a fraction counts as one more.
    pub(super) modified: i64,
    /// Permission bits; 0 for a remote entry, whose bits are not known.
    pub(super) mode: u32,
}

impl Found {
    /// A local file or directory.
    pub(super) fn local(metadata: &Metadata) -> Found {
        Found {
            is_directory: metadata.is_dir(),
            size: metadata.len(),
            modified: metadata.mtime() + i64::from(metadata.mtime_nsec() > 0),
            mode: metadata.mode() & 0o777,
        }
    }

    /// A remote file or directory.
    pub(super) fn remote(stat: &Stat) -> Found {
        Found {
            is_directory: stat.kind == Kind::Directory,
            size: stat.size,
            modified: stat.modified,
            mode: 0,
        }
    }
}

/// A tree.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) entries: BTreeMap<Vec<u8>, Found>,
    /// Whether nothing was left unread.
    pub(super) whole: bool,
    /// Directories that hold, at whatever depth, what is left out: they are
    /// not empty when all entries in them have gone.
    pub(super) held: BTreeSet<Vec<u8>>,
    /// Entries that the listing can't name, see [`Entry::untold`].
    unlisted: Vec<Entry>,
}

impl Tree {
    /// A tree without entries.
    pub(super) fn empty() -> Tree {
        Tree {
            entries: BTreeMap::new(),
            whole: true,
            held: BTreeSet::new(),
            unlisted: Vec::new(),
        }
    }

    /// Reports entries that the listing can't name: the tree is not whole then.
    pub(super) fn report_unlisted(&mut self, run: &Run<'_>) {
        for entry in std::mem::take(&mut self.unlisted) {
            if let Some(error) = entry.untold() {
                let name = entry.path.strip_suffix(b"//").unwrap_or(&entry.path);
                self.fail(run, name, error);
            }
        }
    }

    /// An entry could not be read.
    fn fail(&mut self, run: &Run<'_>, name: &[u8], error: ClientError) {
        self.whole = false;
        run.failed_entry(name, error);
    }

    /// A path is left out.
    fn leave_out(&mut self, path: &[u8]) {
        let above = directory(path);
        let above = above.strip_suffix(b"/").unwrap_or(above);
        self.held.extend(levels(above).map(<[u8]>::to_vec));
    }
}

/// Whether a path is left out, by its own name or by that of a directory it
/// is in. Parts are never moved.
pub(super) fn is_excluded(filter: &Filter, path: &[u8], is_directory: bool) -> bool {
    levels(path).any(|level| {
        let is_above = level.len() < path.len();
        is_part(last(level)) || filter.excludes(level, is_directory || is_above)
    })
}

/// Whether listings hide a directory of this name.
pub(super) fn is_secure(name: &[u8]) -> bool {
    POLICY.keeps(name)
}

/// Whether a listing leaves a path out.
pub(super) fn is_unlisted(path: &[u8], is_directory: bool) -> bool {
    path.contains(&b'\n')
        || is_directory && POLICY.keeps(last(path))
        || levels(directory(path)).any(|level| POLICY.keeps(last(level)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use filter::Rule;

    #[test]
    fn patterns_leave_out_names_paths_and_all_beneath() {
        let rule = |pattern| Rule::new(pattern, false).expect("pattern");
        let filter = Filter {
            rules: ["*.tmp", "cache", "/a/b*"].map(rule).to_vec(),
            ..Filter::default()
        };
        for path in [
            "x.tmp",
            "a/x.tmp",
            "cache",
            "x/cache/y",
            "a/bc/d",
            ".tf-0123456789abcdef.part",
        ] {
            assert!(is_excluded(&filter, path.as_bytes(), false), "{path}");
        }
        for path in ["x", "tmp", "b", "x/a/b", "caches"] {
            assert!(!is_excluded(&filter, path.as_bytes(), false), "{path}");
        }
    }
}
