//! What a tree holds, on either side: files and directories by their paths
//! from its top, a directory before its entries; and what makes one tree like
//! another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use glob::Pattern;

use super::requests::{beneath, directory, is_part, join, last, levels, request, stat_of};
use super::run::Run;
use crate::client::commands::Stat;
use crate::client::connect::Connection;
use crate::client::error::{ClientError, Result};
use crate::client::listing::{Entry, Kind, Room};
use crate::client::observe::{Note, Operation};
use crate::tf::env::POLICY;
use crate::tf::status::Status;

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
pub(super) fn is_excluded(exclude: &[Pattern], path: &[u8]) -> bool {
    levels(path).any(|path| {
        let name = last(path);
        is_part(name)
            || exclude.iter().any(|pattern| {
                pattern.matches(&String::from_utf8_lossy(name))
                    || pattern.matches(&String::from_utf8_lossy(path))
            })
    })
}

/// Reads a local tree. What can't be read is reported, and the rest read.
///
/// # Errors
/// When its top can't be read, or `Interrupted`.
pub(super) fn scan_local(run: &Run<'_>, top: &Path) -> Result<Tree> {
    let metadata = fs::metadata(top).map_err(|e| ClientError::local(top, e))?;
    let mut scan = Scan {
        run,
        tree: Tree::empty(),
        above: vec![(metadata.dev(), metadata.ino())],
    };
    scan.read_directory(top, b"")?;
    Ok(scan.tree)
}

/// A local tree that is being read.
struct Scan<'s> {
    run: &'s Run<'s>,
    tree: Tree,
    /// Device and inode of the directories that lead to the current one.
    above: Vec<(u64, u64)>,
}

impl Scan<'_> {
    fn read_directory(&mut self, directory: &Path, relative: &[u8]) -> Result<()> {
        self.run.go_on()?;
        let error = |e| ClientError::local(directory, e);
        for entry in fs::read_dir(directory).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = join(relative, entry.file_name().as_bytes());
            if is_excluded(&self.run.options.exclude, &name) {
                self.tree.leave_out(&name);
                continue;
            }
            let path = entry.path();
            let metadata = match self.run.options.follow {
                true => fs::metadata(&path),
                false => entry.metadata(),
            };
            match metadata {
                Ok(metadata) => self.take(&path, name, &metadata)?,
                Err(e) => self.fail(&name, ClientError::local(&path, e)),
            }
        }
        Ok(())
    }

    fn take(&mut self, path: &Path, name: Vec<u8>, metadata: &Metadata) -> Result<()> {
        let identity = (metadata.dev(), metadata.ino());
        if metadata.is_symlink() || metadata.is_dir() && self.above.contains(&identity) {
            self.leave_out(&name, Note::Link);
        } else if metadata.is_dir() {
            let entries = &mut self.tree.entries;
            entries.insert(name.clone(), Found::local(metadata));
            self.above.push(identity);
            let read = self.read_directory(path, &name);
            self.above.pop();
            match read {
                Err(e @ ClientError::Local { .. }) => self.fail(&name, e),
                other => other?,
            }
        } else if metadata.is_file() {
            self.tree.entries.insert(name, Found::local(metadata));
        } else {
            self.leave_out(&name, Note::Special);
        }
        Ok(())
    }

    fn leave_out(&mut self, name: &[u8], why: Note) {
        self.tree.leave_out(name);
        self.run.note(name, why);
    }

    fn fail(&mut self, name: &[u8], error: ClientError) {
        self.tree.fail(self.run, name, error);
    }
}

/// Reads a tree of the server. Names that lead out of it, or that vanish
/// during the scan, are reported; entries that the listing can't name are for
/// the caller to report.
///
/// # Errors
/// The server's refusal, or the connection is lost.
pub(super) fn scan_remote(run: &Run<'_>, connection: &mut Connection, top: &str) -> Result<Tree> {
    let mut tree = Tree::empty();
    let path = |entry: &Entry| join(top.as_bytes(), &entry.path);
    let mut listed = Vec::new();
    let mut room = Room::of(top);
    connection.list_as_it_comes(top, true, &mut |entry| {
        room.take(&entry)?;
        match is_excluded(&run.options.exclude, &entry.path) {
            true => tree.leave_out(&entry.path),
            false => listed.push(entry),
        }
        Ok(())
    })?;
    let (sound, bad): (Vec<_>, Vec<_>) = listed
        .into_iter()
        .partition(|entry| beneath(&entry.path).is_ok());
    run.go_on()?;
    let (files, others): (Vec<_>, Vec<_>) = sound
        .into_iter()
        .partition(|entry| entry.kind == Kind::File);
    let stats = connection.ask_each(&files, |file| request("FSTAT", &path(file)), stat_of)?;

    // From here on the connection is not used: each entry is reported once.
    for entry in others {
        if entry.kind == Kind::Directory {
            let found = Found {
                is_directory: true,
                ..Found::default()
            };
            tree.entries.insert(entry.path, found);
        } else {
            tree.leave_out(&entry.path);
            run.note(&path(&entry), Note::Link);
        }
    }
    for (file, stat) in files.into_iter().zip(stats) {
        match stat {
            Ok(stat) if stat.kind == Kind::File => {
                tree.entries.insert(file.path, Found::remote(&stat));
            }
            Ok(_) => {
                tree.leave_out(&file.path);
                run.note(&path(&file), Note::Special);
            }
            Err(e) => tree.fail(run, &path(&file), e),
        }
    }
    for entry in bad {
        if entry.untold().is_some() {
            tree.unlisted.push(entry);
        } else if let Err(e) = beneath(&entry.path) {
            tree.fail(run, &entry.path, e);
        }
    }
    Ok(tree)
}

/// Adds paths of `here` that are in a remote tree as well, though no listing
/// names them: names with a newline, and secure directories with their
/// entries. Others that the listing can't name are reported.
///
/// # Errors
/// The connection is lost.
pub(super) fn add_unlisted(
    run: &Run<'_>,
    connection: &mut Connection,
    top: &str,
    here: &Tree,
    there: &mut Tree,
) -> Result<()> {
    let unlisted = here
        .entries
        .iter()
        .filter(|(path, found)| is_unlisted(path, found.is_directory));
    let paths: Vec<&Vec<u8>> = unlisted.map(|(path, _)| path).collect();
    let asked = |path: &&Vec<u8>| request("FSTAT", &join(top.as_bytes(), path));
    let stats = connection.ask_each(&paths, asked, stat_of)?;
    for (path, stat) in paths.into_iter().zip(stats) {
        match stat {
            Ok(stat) if stat.kind == Kind::Other => {}
            Ok(stat) => {
                // The entries of a directory of such a name stay unlisted.
                let is_directory = stat.kind == Kind::Directory;
                there
                    .unlisted
                    .retain(|entry| is_directory || !entry.stands_for(path));
                there.entries.insert(path.clone(), Found::remote(&stat));
            }
            Err(e) if e.status() == Some(Status::FileMissing) => {}
            Err(e) => there.fail(run, path, e),
        }
    }
    there.report_unlisted(run);
    Ok(())
}

/// Whether a listing leaves a path out.
pub(super) fn is_unlisted(path: &[u8], is_directory: bool) -> bool {
    path.contains(&b'\n')
        || is_directory && POLICY.keeps(last(path))
        || levels(directory(path)).any(|level| POLICY.keeps(last(level)))
}

/// What is to be done, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan<'t> {
    /// Entries of the target that are of another kind than the source's, with
    /// all in them, what is in a directory before it; whether each is a
    /// directory. They can only go, or the source's entries stay away.
    pub(super) in_the_way: Vec<(&'t [u8], bool)>,
    /// The source's entries that they are in the way of.
    pub(super) blocked: BTreeSet<&'t [u8]>,
    /// The source's files that a directory is in the way of which can't go, as
    /// it holds what is left out.
    pub(super) stuck: BTreeSet<&'t [u8]>,
    /// Directories that are not in the source and stay for that reason.
    pub(super) held: Vec<&'t [u8]>,
    /// Directories to be made, each before those in it.
    pub(super) directories: Vec<&'t [u8]>,
    /// Files to be moved.
    pub(super) files: Vec<(&'t [u8], Operation)>,
    /// Entries that are not in the source, in the order of `in_the_way`.
    pub(super) delete: Vec<(&'t [u8], bool)>,
    /// Files that are as they should be.
    pub(super) unchanged: u64,
}

impl Plan<'_> {
    /// Whether something is in the way of an entry or of a directory it is in.
    pub(super) fn is_blocked(&self, path: &[u8]) -> bool {
        levels(path).any(|level| self.blocked.contains(level))
    }
}

/// Compares trees; `is_same` says which files need not be moved.
pub(super) fn plan<'t>(
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

    #[test]
    fn patterns_leave_out_names_paths_and_all_beneath() {
        let exclude: Vec<Pattern> = ["*.tmp", "cache", "a/b*"]
            .iter()
            .map(|pattern| Pattern::new(pattern).expect("pattern"))
            .collect();
        for path in [
            "x.tmp",
            "a/x.tmp",
            "cache",
            "x/cache/y",
            "a/bc/d",
            ".tf-0123456789abcdef.part",
        ] {
            assert!(is_excluded(&exclude, path.as_bytes()), "{path}");
        }
        for path in ["x", "tmp", "b", "x/a/b", "caches"] {
            assert!(!is_excluded(&exclude, path.as_bytes()), "{path}");
        }
    }

    /// A tree of these paths; a directory's ends in `/`.
    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::empty();
        for path in paths {
            let is_directory = path.ends_with('/');
            let found = Found {
                is_directory,
                size: 0,
                modified: 0,
                mode: 0,
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
