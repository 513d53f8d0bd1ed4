//! Remote paths as people write them: patterns become the paths they match.

use super::context::Context;
use super::failure::{Result, for_each};
use super::place::{Remote, RemoteArg};
use crate::client::{Connection, is_pattern};

/// The paths that an argument stands for. A pattern without a match stands for
/// itself, so that a name with `[` needs no quotes.
pub(super) fn expand(context: &mut Context, written: &RemoteArg) -> Result<Vec<Remote>> {
    let remote = context.resolve(written)?;
    if context.directory.options().literal || !is_pattern(&remote.path) {
        return Ok(vec![remote]);
    }
    let found = context.connection(&remote.server)?.expand(&remote.path)?;
    if found.is_empty() {
        return Ok(vec![remote]);
    }
    Ok(found
        .into_iter()
        .map(|path| remote.with_path(path))
        .collect())
}

/// Does the same with each path the arguments stand for, see [`for_each`].
pub(super) fn for_each_path(
    context: &mut Context,
    written: &[RemoteArg],
    mut act: impl FnMut(&mut Connection, &str) -> Result<()>,
) -> Result<()> {
    for_each(written, |written| {
        let paths = expand(context, written)?;
        for_each(&paths, |Remote { server, path }| {
            act(context.connection(server)?, path)
        })
    })
}

/// Does the same with each path as it is written, see [`for_each`].
pub(super) fn for_each_name(
    context: &mut Context,
    written: &[RemoteArg],
    mut act: impl FnMut(&mut Connection, &str) -> Result<()>,
) -> Result<()> {
    for_each(written, |written| {
        let Remote { server, path } = context.resolve(written)?;
        act(context.connection(&server)?, &path)
    })
}

/// Whether a path is that of a server's root, however it is written.
pub(super) fn is_root(path: &str) -> bool {
    path.split('/').all(|name| matches!(name, "" | "."))
}
