//! RENAM (document, "RENAM"): renames a file or directory in one step. A file
//! or an empty directory of the new name is replaced.

use rustix::io::Errno;

use crate::store::RootPath;
use crate::store::path::is_upload_part;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Renames an entry.
///
/// # Errors
/// 1 for a path that leads outside, 30, else 31.
pub(crate) fn run(env: &Env, from: &RootPath, to: &RootPath) -> Result<Reply, Status> {
    env.check_lock_around(from)?;
    env.check_lock_around(to)?;
    let renamed = env.root.entry(from).and_then(|old| {
        let new = env.root.entry(to)?;
        env.quota
            .replace(&old.directory, old.name(), &new.directory, new.name())?;
        env.settle(&old.directory)?;
        env.settle(&new.directory)?;
        // A part that takes its place is an upload that is whole.
        match from.name().is_some_and(is_upload_part) {
            true => env.uploads.arrived(to).map(|()| Reply::Ok),
            false => Ok(Reply::Ok),
        }
    });
    renamed.map_err(|e| match e {
        Errno::XDEV => Status::AccessDenied,
        _ => Status::Rename,
    })
}
