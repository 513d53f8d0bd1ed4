//! Modes and times of directories. They are set when all entries are in place: a
//! directory's own time is that of its last entry until then, and a read-only one
//! takes none.

use std::sync::Arc;

use super::{NARROW_DIRECTORY, is_private};
use crate::client::error::Result;
use crate::client::extension::{Attributes, set_request};
use crate::client::observe::Note;
use crate::client::transfers::local::Target;
use crate::client::transfers::requests::{can_change_mode, change_mode, done};
use crate::client::transfers::run::{Line, Run};

/// A remote directory by its path, and what it is to have.
pub(in crate::client::transfers) type There = (Vec<u8>, Attributes);

/// A directory here, by the tree it is in and its path there, and what it is to
/// have.
pub(in crate::client::transfers) type Here = (Arc<Target>, Vec<u8>, Attributes);

/// Closes new directories that will be private, before anything is in them.
///
/// # Errors
/// The connection is lost.
pub(in crate::client::transfers) fn narrow_there(
    run: &Run<'_>,
    line: &mut Line<'_>,
    made: &[&There],
) -> Result<()> {
    if run.direct() {
        return Ok(());
    }
    let has_set = line.steadily(|connection, _| connection.features())?.set;
    let private = made.iter().filter(|(path, attributes)| {
        let mode = attributes.mode.unwrap_or(0o777);
        is_private(mode, true) && (has_set || can_change_mode(path))
    });
    let private: Vec<_> = private.map(|(path, _)| path).collect();
    let asked = |path: &&Vec<u8>| match has_set {
        true => set_request(&NARROW_DIRECTORY, path),
        false => change_mode(path, 0o700),
    };
    // What is refused is refused at the end, too, and reported there.
    line.ask_each(&private, asked, done).map(drop)
}

/// Gives directories, or other entries, what they are to have.
///
/// # Errors
/// The connection is lost.
pub(in crate::client::transfers) fn set_there(
    run: &Run<'_>,
    line: &mut Line<'_>,
    directories: &[There],
) -> Result<()> {
    // An account that may only add can't change what it has made.
    if run.direct() {
        return Ok(());
    }
    let has_set = line.steadily(|connection, _| connection.features())?.set;
    let mut asked = Vec::new();
    for (path, attributes) in directories.iter().rev() {
        let request = match attributes.mode {
            _ if attributes.is_empty() => continue,
            _ if has_set => set_request(attributes, path),
            Some(mode) if can_change_mode(path) => change_mode(path, mode),
            Some(_) => {
                run.note(path, Note::ModeNotKept);
                continue;
            }
            None => continue,
        };
        asked.push((path, request));
    }
    let replies = line.ask_each(&asked, |(_, request)| request.clone(), done)?;
    for ((path, _), reply) in asked.iter().zip(replies) {
        if reply.is_err() {
            run.note(path, Note::ModeRefused);
        }
    }
    Ok(())
}

/// The same for directories here.
pub(in crate::client::transfers) fn set_here(run: &Run<'_>, directories: &[Here]) {
    for (target, relative, attributes) in directories.iter().rev() {
        if attributes.is_empty() {
            continue;
        }
        if let Err(e) = target.set_attributes(relative, attributes) {
            run.failed_entry(relative, e);
        }
    }
}
