//! XCPDIR (document, "XCPDIR"): a copy of a tree in every directory that
//! matches the pattern. Best effort: failures are skipped.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::spread::{new_entry, open_targets};
use crate::store::RootPath;
use crate::store::copy::copy_tree;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Copies a tree to many places under the name `name`.
///
/// # Errors
/// 1, 20, 29 or 30, of the source alone.
pub(crate) fn run(
    env: &Env,
    name: &[u8],
    from: &RootPath,
    pattern: &RootPath,
) -> Result<Reply, Status> {
    env.check_lock_in(from)?;
    let source = env.root.open_dir(from).map_err(|e| match e {
        Errno::NOENT => Status::SourcePathMissing,
        Errno::NOTDIR => Status::SourceNotDirectory,
        _ => Status::AccessDenied,
    })?;
    for target in open_targets(env, pattern).map_err(|_| Status::AccessDenied)? {
        let copied = new_entry(env, &target, name)
            .and_then(|entry| copy_tree(source.as_fd(), &entry, env.copies()));
        if let Err(e) = copied {
            log::debug!(directory:% = target, error:% = e; "XCPDIR left out");
        }
    }
    Ok(Reply::Ok)
}
