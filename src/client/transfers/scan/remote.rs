//! A tree of the server, with what its listings can't name. Nothing that a server
//! says leads out of the tree.

use super::{Found, Tree, is_excluded, is_unlisted};
use crate::client::connect::Connection;
use crate::client::error::{ClientError, Result};
use crate::client::extension::{Depth, Details};
use crate::client::listing::{Entry, Kind, Room};
use crate::client::observe::Note;
use crate::client::transfers::requests::{bad_name, beneath, join, request, stat_of};
use crate::client::transfers::run::Run;
use crate::tf::status::Status;

/// Reads a tree of the server. Names that lead out of it, or that vanish
/// during the scan, are reported; entries that the listing can't name are for
/// the caller to report.
///
/// # Errors
/// The server's refusal, or the connection is lost.
pub(in crate::client::transfers) fn scan_remote(
    run: &Run<'_>,
    connection: &mut Connection,
    top: &str,
) -> Result<Tree> {
    let depth = Depth {
        recursive: true,
        xattrs: run.options.keep.xattrs,
        ..Depth::default()
    };
    let mut tree = Tree {
        is_detailed: true,
        ..Tree::empty()
    };
    let mut room = Room::of(top);
    let mut others = Vec::new();
    let listed = connection.list_details(top.as_bytes(), depth, &mut |entry| {
        room.take_details(&entry)?;
        if entry.path.is_empty() {
            if entry.letter == b'U' {
                others.push(entry);
            } else {
                tree.top = Some(Found::detailed(entry));
            }
            return Ok(());
        }
        let is_directory = entry.kind == Kind::Directory;
        match is_excluded(&run.options.filter, &entry.path, is_directory) {
            true => tree.leave_out(&entry.path),
            false if is_moved(run, &entry) && beneath(&entry.path).is_ok() => {
                tree.entries
                    .insert(entry.path.clone(), Found::detailed(entry));
            }
            false => others.push(entry),
        }
        Ok(())
    })?;
    if listed.is_none() {
        return scan_listed(run, connection, top);
    }
    if tree.top.as_ref().is_some_and(|found| !found.is_directory) {
        let request = format!("TFD_LIST {top}");
        let status = Status::DirectoryMissing;
        return Err(ClientError::Refused { request, status });
    }
    run.go_on()?;
    for entry in others {
        report_other(run, top, &mut tree, &entry);
    }
    Ok(tree)
}

impl Connection {
    /// What is at each of these paths, links followed: by the extension, or by FSTAT.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(in crate::client::transfers) fn find_each(
        &mut self,
        paths: &[&[u8]],
        xattrs: bool,
    ) -> Result<Vec<Result<(Kind, Found)>>> {
        let depth = Depth {
            xattrs,
            ..Depth::default()
        };
        if let Some(described) = self.describe(paths, depth)? {
            let found = described.into_iter();
            let found = found.map(|entry| entry.map(|entry| (entry.kind, Found::detailed(entry))));
            return Ok(found.collect());
        }
        let stats = self.ask_each(paths, |path| request("FSTAT", path), stat_of)?;
        let found = stats.into_iter();
        let found = found.map(|stat| stat.map(|stat| (stat.kind, Found::remote(&stat))));
        Ok(found.collect())
    }

    /// What is known of a file.
    ///
    /// # Errors
    /// The server's refusal, that it is not a file, or the connection is lost.
    pub(in crate::client::transfers) fn find_file(
        &mut self,
        path: &[u8],
        xattrs: bool,
    ) -> Result<Found> {
        match self.find_each(&[path], xattrs)?.pop() {
            Some(Ok((Kind::File, found))) => Ok(found),
            Some(Err(e)) => Err(e),
            _ => Err(bad_name(path, "not a regular file")),
        }
    }
}

/// Whether an entry is one that is moved, whatever its name.
fn is_moved(run: &Run<'_>, entry: &Details) -> bool {
    entry.kind != Kind::Other || entry.is_link() && run.options.keep.links
}

/// Reports an entry that is not moved.
fn report_other(run: &Run<'_>, top: &str, tree: &mut Tree, entry: &Details) {
    let path = join(top.as_bytes(), &entry.path);
    if entry.letter == b'U' {
        let why = "the server may not read this directory";
        let name = String::from_utf8_lossy(&path).into_owned();
        tree.fail(run, &path, ClientError::Untold { path: name, why });
    } else if let Err(e) = beneath(&entry.path) {
        tree.fail(run, &entry.path, e);
    } else {
        tree.leave_out(&entry.path);
        let is_link = entry.is_link();
        run.note(&path, if is_link { Note::Link } else { Note::Special });
    }
}

/// Reads a tree of a server of the document alone, by LSR and FSTAT. Names that lead out of it, or that vanish
/// during the scan, are reported; entries that the listing can't name are for
/// the caller to report.
///
/// # Errors
/// The server's refusal, or the connection is lost.
fn scan_listed(run: &Run<'_>, connection: &mut Connection, top: &str) -> Result<Tree> {
    let mut tree = Tree::empty();
    let path = |entry: &Entry| join(top.as_bytes(), &entry.path);
    let mut listed = Vec::new();
    let mut room = Room::of(top);
    connection.list_as_it_comes(top, true, &mut |entry| {
        room.take(&entry)?;
        let is_directory = entry.kind == Kind::Directory;
        match is_excluded(&run.options.filter, &entry.path, is_directory) {
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
pub(in crate::client::transfers) fn add_unlisted(
    run: &Run<'_>,
    connection: &mut Connection,
    top: &str,
    here: &Tree,
    there: &mut Tree,
) -> Result<()> {
    let unlisted = here
        .entries
        .iter()
        .filter(|(path, found)| is_unlisted(path, found.is_directory))
        .filter(|(path, _)| !there.entries.contains_key(*path));
    let paths: Vec<&Vec<u8>> = unlisted.map(|(path, _)| path).collect();
    let full: Vec<_> = paths
        .iter()
        .map(|path| join(top.as_bytes(), path))
        .collect();
    let full: Vec<_> = full.iter().map(Vec::as_slice).collect();
    let found = connection.find_each(&full, run.options.keep.xattrs)?;
    for (path, found) in paths.into_iter().zip(found) {
        match found {
            Ok((Kind::Other, _)) => {}
            Ok((_, found)) => {
                // The entries of a directory of such a name stay unlisted.
                let is_directory = found.is_directory;
                there
                    .unlisted
                    .retain(|entry| is_directory || !entry.stands_for(path));
                there.entries.insert(path.clone(), found);
            }
            Err(e) if e.status() == Some(Status::FileMissing) => {}
            Err(e) => there.fail(run, path, e),
        }
    }
    there.report_unlisted(run);
    Ok(())
}
