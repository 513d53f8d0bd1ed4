//! Looking into snapshots: what is in them, and single files out of them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use globset::GlobBuilder;
use rustic_core::repofile::{Node, NodeType};

use super::library::sentence;
use super::repository::{Repository, Snapshot, node};
use super::restore::{Chunks, Library, modified};
use super::source::LeftOut;
use super::{BackupError, Result};
use crate::text::shown;

/// An entry of a snapshot.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Entry {
    /// Bytes that are not UTF-8 are U+FFFD.
    pub(crate) path: String,
    pub(crate) kind: &'static str,
    /// The permission bits.
    pub(crate) mode: u32,
    pub(crate) size: u64,
    /// Seconds since the epoch.
    pub(crate) modified: i64,
}

impl Entry {
    fn of(path: &Path, node: &Node) -> Entry {
        Entry {
            path: path.to_string_lossy().into_owned(),
            kind: kind(&node.node_type),
            mode: node.meta.mode.unwrap_or(0) & 0o777,
            size: node.meta.size,
            modified: modified(node).map_or(0, |(seconds, _)| seconds),
        }
    }
}

fn kind(node: &NodeType) -> &'static str {
    match node {
        NodeType::File => "file",
        NodeType::Dir => "directory",
        NodeType::Symlink { .. } => "link",
        _ => "other",
    }
}

/// How an entry differs from the one of the same name.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Change {
    pub(crate) path: String,
    /// added, removed, content, kind or attributes.
    pub(crate) change: &'static str,
}

/// What differs, if anything.
fn change(before: Option<&Node>, after: Option<&Node>) -> Option<&'static str> {
    let (Some(before), Some(after)) = (before, after) else {
        return Some(if before.is_none() { "added" } else { "removed" });
    };
    let attributes = |node: &Node| {
        let meta = &node.meta;
        // That of a directory says what the lines of its entries say.
        let modified = (!node.is_dir()).then(|| modified(node));
        let xattrs = meta.extended_attributes.clone();
        (meta.mode, meta.uid, meta.gid, modified, xattrs)
    };
    if kind(&before.node_type) != kind(&after.node_type) {
        Some("kind")
    } else if before.content != after.content || before.node_type != after.node_type {
        Some("content")
    } else if attributes(before) != attributes(after) {
        Some("attributes")
    } else {
        None
    }
}

/// The entries of two directories by their names.
type Pairs = BTreeMap<std::ffi::OsString, (Option<Node>, Option<Node>)>;

impl Repository {
    /// Hands on what differs between two snapshots, or between parts of them. The
    /// directories that are lost.
    pub(crate) fn diff(
        self,
        before: &str,
        after: &str,
        mut each: impl FnMut(&Change),
    ) -> Result<Vec<LeftOut>> {
        let (before, path_before) = self.named(before)?;
        let (after, path) = self.named(after)?;
        let library = self.library.to_indexed()?;
        let before = node(&library, &before, path_before)?;
        let after = node(&library, &after, path)?;
        let mut lost = Vec::new();
        let mut open = vec![(PathBuf::from("/").join(path), Some(before), Some(after))];
        while let Some((path, before, after)) = open.pop() {
            if let Some(change) = change(before.as_ref(), after.as_ref()) {
                let path = path.to_string_lossy().into_owned();
                each(&Change { path, change });
            }
            let subtree = |node: &Option<Node>| node.as_ref().and_then(|node| node.subtree);
            if subtree(&before) == subtree(&after) {
                continue;
            }
            let mut pairs = Pairs::new();
            let mut inside = |node: Option<Node>| {
                let node = node.filter(Node::is_dir);
                node.map_or(Vec::new(), |node| entries(&library, &path, node, &mut lost))
            };
            for node in inside(before) {
                let pair = pairs.entry(node.name().into_owned()).or_default();
                pair.0 = Some(node);
            }
            for node in inside(after) {
                let pair = pairs.entry(node.name().into_owned()).or_default();
                pair.1 = Some(node);
            }
            let pairs = pairs.into_iter().rev();
            open.extend(pairs.map(|(name, (before, after))| (path.join(name), before, after)));
        }
        Ok(lost)
    }

    /// Hands on each entry of `SNAPSHOT[:PATH]`. The directories that are lost.
    pub(crate) fn list(self, what: &str, each: impl FnMut(&Entry)) -> Result<Vec<LeftOut>> {
        let (snapshot, path) = self.named(what)?;
        let library = self.library.to_indexed()?;
        let top = node(&library, &snapshot, path)?;
        let mut path = PathBuf::from("/").join(path);
        if !top.is_dir() {
            path.pop();
        }
        Ok(walk(&library, path, top, each))
    }

    /// Hands on each entry whose name matches, of one snapshot or all.
    pub(crate) fn find(
        self,
        pattern: &str,
        snapshot: Option<&str>,
        mut each: impl FnMut(&Snapshot, &Entry),
    ) -> Result<Vec<LeftOut>> {
        let wrong = |e| BackupError::Failed(format!("{pattern}: {e}"));
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        let matcher = glob.map_err(wrong)?.compile_matcher();
        let snapshots = match snapshot {
            Some(name) => vec![self.snapshot(name)?],
            None => self.library.get_all_snapshots()?,
        };
        let library = self.library.to_indexed()?;
        let mut lost = Vec::new();
        for file in snapshots {
            let top = node(&library, &file, "")?;
            let snapshot = Snapshot::of(&file);
            lost.extend(walk(&library, PathBuf::from("/"), top, |entry: &Entry| {
                let name = Path::new(&entry.path).file_name().unwrap_or_default();
                if matcher.is_match(name) {
                    each(&snapshot, entry);
                }
            }));
        }
        Ok(lost)
    }

    /// Writes out the bytes of a file.
    pub(crate) fn dump(self, what: &str, out: &mut impl Write) -> Result<()> {
        let failed = |why: String| BackupError::Failed(format!("{what}: {why}"));
        let (snapshot, path) = self.named(what)?;
        let library = self.library.to_indexed()?;
        let node = node(&library, &snapshot, path)?;
        if !node.is_file() {
            return Err(failed("not a file".to_owned()));
        }
        let chunks = Chunks {
            library: &library,
            keepers: &self.keepers,
        };
        for id in node.content.iter().flatten() {
            let chunk = chunks.get(id).map_err(failed)?;
            out.write_all(&chunk).map_err(|e| failed(e.to_string()))?;
        }
        out.flush().map_err(|e| failed(e.to_string()))
    }
}

fn walk(library: &Library, path: PathBuf, top: Node, mut each: impl FnMut(&Entry)) -> Vec<LeftOut> {
    let mut lost = Vec::new();
    let mut open = vec![(
        path.clone(),
        entries(library, &path, top, &mut lost).into_iter(),
    )];
    while let Some((path, entries_here)) = open.last_mut() {
        let Some(node) = entries_here.next() else {
            open.pop();
            continue;
        };
        let path = path.join(node.name());
        each(&Entry::of(&path, &node));
        if node.is_dir() {
            let inside = entries(library, &path, node, &mut lost).into_iter();
            open.push((path, inside));
        }
    }
    lost
}

/// The entries of a directory; a file is its only one.
fn entries(library: &Library, path: &Path, node: Node, lost: &mut Vec<LeftOut>) -> Vec<Node> {
    let Some(id) = node.subtree else {
        return if node.is_dir() {
            Vec::new()
        } else {
            vec![node]
        };
    };
    library.get_tree(&id).map_or_else(
        |e| {
            lost.push(LeftOut {
                path: shown(path.as_os_str().as_encoded_bytes()),
                error: sentence(&e),
            });
            Vec::new()
        },
        |tree| tree.nodes,
    )
}
