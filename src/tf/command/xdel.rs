//! XDEL (document, "XDEL"): deletes every file of a name beneath a directory.
//! Best effort: what is locked or can't be deleted stays.

use rustix::io::Errno;

use super::spread::find;
use crate::store::RootPath;
use crate::store::tree::Step;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Deletes matching entries that are not directories.
///
/// # Errors
/// 1, 20 or 30, of the start alone.
pub(crate) fn run(env: &Env, start: &RootPath, pattern: &RootPath) -> Result<Reply, Status> {
    env.check_lock_in(start)?;
    let walked = find(env, start, pattern, |visit| {
        if !visit.kind.is_dir() && !env.lock.closes_handle(visit.directory) {
            let gone = env.quota.unlink(visit.directory, visit.name());
            if let Err(e) = gone {
                log::debug!(path:% = start.joined(visit.path), error:% = e; "XDEL left");
            }
        }
        Step::Enter
    });
    walked.map(|()| Reply::Ok).map_err(|e| match e {
        Errno::NOTDIR => Status::SourceNotDirectory,
        _ => Status::AccessDenied,
    })
}
