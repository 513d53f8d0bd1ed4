//! What there is in a tree, on either side: files and directories by their
//! paths from its top, a directory before what is in it.

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
use crate::client::observe::Note;
use crate::store::path::is_secure;
use crate::tf::status::Status;

/// A file or directory of a tree.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) is_directory: bool,
    pub(super) size: u64,
    /// Last change in seconds since the epoch; a fraction counts as one more.
    pub(super) modified: i64,
    /// Permission bits, where they are known.
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
    /// What the listing said that it can't tell, see [`Entry::untold`].
    untold: Vec<Entry>,
}

impl Tree {
    /// Tells of what the listing could not: the tree is not whole then.
    pub(super) fn tell_untold(&mut self, run: &Run<'_>) {
        for entry in self.untold.drain(..) {
            self.whole = false;
            if let Some(error) = entry.untold() {
                let name = entry.path.strip_suffix(b"//").unwrap_or(&entry.path);
                run.failed_entry(name, error);
            }
        }
    }

    /// A tree with nothing in it.
    pub(super) fn empty() -> Tree {
        Tree {
            entries: BTreeMap::new(),
            whole: true,
            held: BTreeSet::new(),
            untold: Vec::new(),
        }
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

/// Reads a local tree. What can't be read is told, and the rest read.
///
/// # Errors
/// When its top can't be read, or `Interrupted`.
pub(super) fn scan_local(run: &Run<'_>, top: &Path) -> Result<Tree> {
    let mut tree = Tree::empty();
    let metadata = fs::metadata(top).map_err(|e| ClientError::local(top, e))?;
    let mut above = vec![(metadata.dev(), metadata.ino())];
    read_directory(run, top, b"", &mut tree, &mut above)?;
    Ok(tree)
}

fn read_directory(
    run: &Run<'_>,
    directory: &Path,
    relative: &[u8],
    tree: &mut Tree,
    above: &mut Vec<(u64, u64)>,
) -> Result<()> {
    run.go_on()?;
    for entry in fs::read_dir(directory).map_err(|e| ClientError::local(directory, e))? {
        let entry = entry.map_err(|e| ClientError::local(directory, e))?;
        let path = entry.path();
        let name = join(relative, entry.file_name().as_bytes());
        if is_excluded(&run.options.exclude, &name) {
            tree.leave_out(&name);
            continue;
        }
        let follow = run.options.follow;
        let metadata = if follow {
            fs::metadata(&path)
        } else {
            entry.metadata()
        };
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(e) => {
                tree.whole = false;
                run.failed_entry(&name, ClientError::local(&path, e));
                continue;
            }
        };
        if metadata.is_symlink() {
            tree.leave_out(&name);
            run.note(&name, Note::Link);
        } else if metadata.is_dir() {
            let identity = (metadata.dev(), metadata.ino());
            if above.contains(&identity) {
                tree.leave_out(&name);
                run.note(&name, Note::Link);
                continue;
            }
            tree.entries.insert(name.clone(), Found::local(&metadata));
            above.push(identity);
            match read_directory(run, &path, &name, tree, above) {
                Err(e @ ClientError::Local { .. }) => {
                    tree.whole = false;
                    run.failed_entry(&name, e);
                }
                other => other?,
            }
            above.pop();
        } else if metadata.is_file() {
            tree.entries.insert(name, Found::local(&metadata));
        } else {
            tree.leave_out(&name);
            run.note(&name, Note::Special);
        }
    }
    Ok(())
}

/// Reads a tree of the server. Names that lead out of it, or that vanish
/// meanwhile, are told; what the listing can't tell is for the caller to.
///
/// # Errors
/// The server's refusal, or the connection is lost.
pub(super) fn scan_remote(run: &Run<'_>, connection: &mut Connection, top: &str) -> Result<Tree> {
    let mut tree = Tree::empty();
    let path = |relative: &[u8]| join(top.as_bytes(), relative);
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
    let listed = listed.into_iter();
    let (sound, bad): (Vec<_>, Vec<_>) = listed.partition(|entry| beneath(&entry.path).is_ok());
    let files = sound.iter().filter(|entry| entry.kind == Kind::File);
    let asked: Vec<_> = files
        .map(|file| request("FSTAT", &path(&file.path)))
        .collect();
    run.go_on()?;
    let mut stats = connection.ask_all(&asked)?.into_iter().zip(&asked);

    // From here on the connection is not used: what is told is told once.
    for Entry {
        kind,
        path: relative,
    } in sound
    {
        match kind {
            Kind::Directory => {
                let found = Found {
                    is_directory: true,
                    size: 0,
                    modified: 0,
                    mode: 0,
                };
                tree.entries.insert(relative, found);
            }
            Kind::Other => {
                tree.leave_out(&relative);
                run.note(&path(&relative), Note::Link);
            }
            Kind::File => match stats.next().map(|(reply, asked)| stat_of(asked, &reply)) {
                Some(Ok(Stat {
                    kind: Kind::File,
                    size,
                    modified,
                    ..
                })) => {
                    let found = Found {
                        is_directory: false,
                        size,
                        modified,
                        mode: 0,
                    };
                    tree.entries.insert(relative, found);
                }
                Some(Err(e)) => {
                    tree.whole = false;
                    run.failed_entry(&path(&relative), e);
                }
                _ => {
                    tree.leave_out(&relative);
                    run.note(&path(&relative), Note::Special);
                }
            },
        }
    }
    for entry in bad {
        if entry.untold().is_some() {
            tree.untold.push(entry);
        } else if let Err(e) = beneath(&entry.path) {
            tree.whole = false;
            run.failed_entry(&entry.path, e);
        }
    }
    Ok(tree)
}

/// Adds what stands in `here` and in a remote tree as well, though no listing
/// tells it: names with a newline, and secure directories with what is in them.
/// What is untold then is told.
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
    let asked: Vec<_> = paths
        .iter()
        .map(|path| request("FSTAT", &join(top.as_bytes(), path)))
        .collect();
    let replies = connection.ask_all(&asked)?;
    for ((path, asked), reply) in paths.into_iter().zip(&asked).zip(&replies) {
        match stat_of(asked, reply) {
            Ok(Stat {
                kind: Kind::Other, ..
            }) => {}
            Ok(Stat {
                kind,
                size,
                modified,
                ..
            }) => {
                // What is in a directory of such a name stays untold.
                there
                    .untold
                    .retain(|entry| kind == Kind::Directory || !entry.stands_for(path));
                let is_directory = kind == Kind::Directory;
                let found = Found {
                    is_directory,
                    size,
                    modified,
                    mode: 0,
                };
                there.entries.insert(path.clone(), found);
            }
            Err(ClientError::Refused {
                status: Status::FileMissing,
                ..
            }) => {}
            Err(e) => {
                there.whole = false;
                run.failed_entry(path, e);
            }
        }
    }
    there.tell_untold(run);
    Ok(())
}

/// Whether a listing leaves a path out.
pub(super) fn is_unlisted(path: &[u8], is_directory: bool) -> bool {
    path.contains(&b'\n')
        || is_directory && is_secure(last(path))
        || levels(directory(path)).any(|level| is_secure(last(level)))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
