//! What a shell is told when somebody presses Tab: servers, and remote paths
//! where nobody has to be asked for a password.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};

use super::access::Directory;
use super::options::ConnectionOptions;
use super::place::{RemoteArg, ServerName};
use crate::client::{Entry, Kind, Room};

/// The variable by which a completion script calls `tf`.
pub(super) const VARIABLE: &str = "TF_COMPLETE";

/// What bash would not take for a part of a name: it puts names on its line
/// as they are.
const MEANS_MORE: &[char] = &[
    ' ', '$', '`', '"', '\'', '\\', '|', '&', ';', '<', '>', '(', ')', '{', '}', '*', '?', '[',
    ']', '!', '#', '~', '^',
];

/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Completes a remote path.
pub(super) fn remote_paths() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let mut found = complete_servers(current);
        found.extend(complete_paths(current).unwrap_or_default());
        found
    })
}

/// Completes what may be here or on a server.
pub(super) fn places() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let mut found = complete_servers(current);
        if current.as_bytes().contains(&b':') {
            found.extend(complete_paths(current).unwrap_or_default());
        }
        found.extend(PathCompleter::any().complete(current));
        found
    })
}

/// Completes a server, `NAME:`.
pub(super) fn servers() -> ArgValueCompleter {
    ArgValueCompleter::new(complete_servers)
}

fn directory() -> Option<Directory> {
    let config = std::env::var_os("TF_CONFIG").map(Into::into);
    let mut directory = Directory::read(ConnectionOptions {
        config,
        ..ConnectionOptions::default()
    })
    .ok()?;
    directory.be_silent();
    Some(directory)
}

fn complete_servers(current: &OsStr) -> Vec<CompletionCandidate> {
    let (Some(current), Some(directory)) = (current.to_str(), directory()) else {
        return Vec::new();
    };
    let names = directory
        .servers
        .entries
        .keys()
        .filter(|name| name.starts_with(current));
    names
        .map(|name| CompletionCandidate::new(format!("{name}:")))
        .collect()
}

/// The entries of the directory that the text is in, as far as they begin with
/// its last name.
fn complete_paths(current: &OsStr) -> Option<Vec<CompletionCandidate>> {
    let current = current.to_str()?;
    let remote: RemoteArg = current.parse().ok()?;
    if matches!(&remote.server, Some(ServerName::At { .. }))
        && !current["tf://".len()..].contains('/')
    {
        return None;
    }
    let begun = remote.path.rfind('/').map_or(0, |at| at + 1);
    let (directory_path, begin) = remote.path.split_at(begun);
    let given = current.len() - begin.len();
    let directory = directory()?;
    let server = remote.server.clone();
    let server = server.or_else(|| directory.default_server().ok())?;
    let mut access = directory.access(&server).ok()?;
    access.target.timeout = PATIENCE;
    let mut connection = access.open().ok()?;
    let mut found = Vec::new();
    let mut room = Room::of(directory_path);
    let is_quoted = std::env::var_os(VARIABLE).is_none_or(|shell| shell != "bash");
    let taken = connection.list_as_it_comes(directory_path, false, &mut |entry| {
        room.take(&entry)?;
        let is_one = entry.untold().is_none();
        let Entry { kind, path } = entry;
        if is_one
            && let Ok(name) = String::from_utf8(path)
            && name.starts_with(begin)
            && !name.contains(char::is_control)
            && (is_quoted || !name.contains(MEANS_MORE))
        {
            let mark = if kind == Kind::Directory { "/" } else { "" };
            found.push(format!("{}{name}{mark}", &current[..given]));
        }
        Ok(())
    });
    taken.and_then(|()| connection.end()).ok()?;
    found.sort();
    Some(found.into_iter().map(CompletionCandidate::new).collect())
}
