//! XRMDIR (document, "XRMDIR"): removes every directory of a name beneath a
//! directory, as RMDIR would. Best effort: what is locked or can't be removed
//! stays.

use rustix::io::Errno;

use super::spread::find;
use crate::store::RootPath;
use crate::store::tree::{Step, remove_tree};
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Removes matching directories.
///
/// # Errors
/// 1, 10, 20 or 30, of the start alone.
pub(crate) fn run(env: &Env, start: &RootPath, pattern: &RootPath) -> Result<Reply, Status> {
    env.check_lock_in(start)?;
    let walked = find(env, start, pattern, |visit| {
        let path = start.joined(visit.path);
        if !visit.kind.is_dir()
            || env.lock.closes_handle(visit.directory)
            || env.lock.closes(&env.root, &path)
        {
            return Step::Enter;
        }
        match remove_tree(visit.directory, visit.name(), env.root.policy(), &env.quota) {
            Ok(()) => Step::Over,
            Err(e) => {
                log::debug!(path:%, error:% = e; "XRMDIR left");
                Step::Enter
            }
        }
    });
    walked.map(|()| Reply::Ok).map_err(|e| match e {
        Errno::NOENT => Status::DirectoryMissing,
        Errno::NOTDIR => Status::SourceNotDirectory,
        _ => Status::AccessDenied,
    })
}
