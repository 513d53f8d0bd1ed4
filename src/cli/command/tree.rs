//! What `tf chmod -R` and `tf chown -R` share.

use crate::cli::failure::{Result, for_each, tell_all};
use crate::cli::place::beneath;
use crate::client::{Connection, Kind, Room};
use crate::tf::status::Status;

/// Sends a request for a path and, where that is a directory, for all in it:
/// what is in a directory first, so that a way is closed behind it. Links and
/// special files stay as they are.
///
/// # Errors
/// That something was refused, told already, or the connection is lost.
pub(super) fn with_all_in_it(
    connection: &mut Connection,
    path: &str,
    request: impl Fn(&str, Kind) -> crate::client::Result<String>,
) -> Result<()> {
    let (mut all, mut untold) = (Vec::new(), Vec::new());
    let mut room = Room::of(path);
    let listed = connection.list_as_it_comes(path, true, &mut |entry| {
        room.take(&entry)?;
        untold.extend(entry.untold());
        let name = String::from_utf8_lossy(&entry.path);
        if entry.kind != Kind::Other {
            all.push((beneath(path, &name), entry.kind));
        }
        Ok(())
    });
    let kind = match listed {
        Ok(()) => Kind::Directory,
        Err(e) if e.status() == Some(Status::DirectoryMissing) => Kind::File,
        Err(e) => return Err(e.into()),
    };
    all.reverse();
    all.push((path.to_owned(), kind));
    // What has no request is told like what was refused.
    let mut requests = Vec::with_capacity(all.len());
    let said = for_each(&all, |(path, kind)| {
        requests.push(request(path, *kind)?);
        Ok(())
    });
    let replies = connection.command_all(requests, |_, _| Ok(()))?;
    for_each(replies, |reply| Ok(reply?))
        .and(said)
        .and(tell_all(untold))
}
