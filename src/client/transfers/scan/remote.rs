//! A tree of the server, with what its listings can't name. Nothing that a server
//! says leads out of the tree.

use super::{Found, Tree, is_excluded, is_unlisted};
use crate::client::connect::Connection;
use crate::client::error::Result;
use crate::client::listing::{Entry, Kind, Room};
use crate::client::observe::Note;
use crate::client::transfers::requests::{beneath, join, request, stat_of};
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
