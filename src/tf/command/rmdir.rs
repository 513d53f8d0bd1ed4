//! RMDIR (document, "RMDIR" and "Secured Directory"): a directory with its
//! content. Secure directories stay, and so do those they are in.

use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::store::tree::{remove_contents, remove_tree};
use crate::store::{Policy, RootPath};
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Removes a directory; a missing path is fine.
///
/// # Errors
/// 30, 1 for a path that leads outside, 15 when something stays: a secure
/// directory, a protected entry, the root itself, or anything but a directory.
pub(crate) fn run(env: &Env, path: &RootPath) -> Result<Reply, Status> {
    env.check_lock_around(path)?;
    env.check_lock_in(path)?;
    if path.is_root() {
        return Err(empty_root(env, env.root.policy()));
    }
    remove(env, path, env.root.policy())
}

/// Removes a directory as RMDIR and RMSECDIR do.
///
/// # Errors
/// 1 or 15, see [`run`].
pub(crate) fn remove(env: &Env, path: &RootPath, policy: &Policy) -> Result<Reply, Status> {
    let removed = env.root.entry(path).and_then(|entry| {
        remove_tree(entry.directory.as_fd(), entry.name(), policy, &env.quota)?;
        env.settle(&entry.directory)
    });
    match removed {
        Ok(reply) => Ok(reply),
        Err(Errno::NOENT) => Ok(Reply::Ok),
        Err(Errno::XDEV) => Err(Status::AccessDenied),
        Err(_) => Err(Status::DirectoryRemains),
    }
}

/// Removes the content of the root: the status is always that the root remains.
pub(crate) fn empty_root(env: &Env, policy: &Policy) -> Status {
    let emptied = env
        .root
        .open_dir(&RootPath::root())
        .and_then(|directory| remove_contents(directory.as_fd(), policy, &env.quota));
    if let Err(e) = emptied {
        log::debug!(error:% = e; "root not emptied");
    }
    Status::DirectoryRemains
}
