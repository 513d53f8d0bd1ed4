//! What a tree holds, on either side: files and directories by their paths
//! from its top, a directory before its entries; and what makes one tree like
//! another.

pub(super) mod filter;
mod local;
mod plan;
mod remote;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::Metadata;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::requests::{directory, is_part, last, levels};
use super::run::Run;
use crate::client::commands::Stat;
use crate::client::error::ClientError;
use crate::client::extension::{Details, Time, Xattr};
use crate::client::listing::{Entry, Kind};
use crate::tf::env::POLICY;

use filter::Filter;

pub(super) use local::scan_local;
pub(super) use plan::{Plan, plan};
pub(super) use remote::{add_unlisted, scan_remote};

/// A file or directory of a tree, or a symbolic link that is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) is_directory: bool,
    pub(super) size: u64,
    /// Last change of content.
    pub(super) modified: Time,
    /// Its mode, unless the server does not say it.
    pub(super) mode: Option<u32>,
    /// The numbers of owner and group, as far as they are known.
    pub(super) owner: Option<(u32, u32)>,
    /// Where a symbolic link leads to.
    pub(super) link: Option<Vec<u8>>,
    /// The file system, and the number there, of a file with several names.
    pub(super) shared: Option<(u64, u64)>,
    /// Whether fewer bytes are stored than it has.
    pub(super) sparse: bool,
    /// Extended attributes, if they are kept.
    pub(super) xattrs: Vec<Xattr>,
}

impl Found {
    /// A local file or directory.
    pub(super) fn local(metadata: &Metadata) -> Found {
        Found {
            is_directory: metadata.is_dir(),
            size: metadata.len(),
            modified: Time::modified(metadata),
            mode: Some(metadata.mode() & 0o7777),
            owner: Some((metadata.uid(), metadata.gid())),
            shared: (metadata.is_file() && metadata.nlink() > 1)
                .then(|| (metadata.dev(), metadata.ino())),
            sparse: metadata.is_file() && metadata.blocks() < metadata.len() / 512,
            ..Found::default()
        }
    }

    /// A local symbolic link, and where it leads to.
    pub(super) fn link(metadata: &Metadata, target: PathBuf) -> Found {
        Found {
            link: Some(target.into_os_string().into_vec()),
            ..Found::local(metadata)
        }
    }

    /// A remote file or directory.
    pub(super) fn remote(stat: &Stat) -> Found {
        Found {
            is_directory: stat.kind == Kind::Directory,
            size: stat.size,
            modified: Time::of_seconds(stat.modified),
            ..Found::default()
        }
    }

    /// A remote file or directory, by what the extension says of it.
    pub(super) fn detailed(details: Details) -> Found {
        Found {
            is_directory: details.kind == Kind::Directory,
            size: details.size,
            modified: details.modified,
            mode: Some(details.mode),
            owner: Some((details.uid, details.gid)),
            shared: (details.names > 1 && details.kind == Kind::File).then_some(details.identity),
            sparse: details.kind == Kind::File && details.blocks < details.size / 512,
            link: details.is_link().then_some(details.target),
            xattrs: details.xattrs,
        }
    }

    /// Whether this is a regular file.
    pub(super) fn is_file(&self) -> bool {
        !self.is_directory && self.link.is_none()
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
    /// Whether the modes and exact times of its entries are known.
    pub(super) is_detailed: bool,
    /// The directory itself, as far as that is known.
    pub(super) top: Option<Found>,
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
            is_detailed: false,
            top: None,
            unlisted: Vec::new(),
        }
    }

    /// Files that are other names of a file before them: the first name of each.
    pub(super) fn other_names(&self) -> HashMap<&[u8], &[u8]> {
        let mut first: HashMap<(u64, u64), &[u8]> = HashMap::new();
        let mut others = HashMap::new();
        for (path, found) in &self.entries {
            let Some(identity) = found.shared else {
                continue;
            };
            match first.get(&identity) {
                Some(first) => drop(others.insert(path.as_slice(), *first)),
                None => drop(first.insert(identity, path)),
            }
        }
        others
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
