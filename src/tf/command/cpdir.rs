//! CPDIR (document, "CPDIR"): a copy of a directory with its content, links as
//! links. The copy appears whole, under a free name.

use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::store::RootPath;
use crate::store::copy::copy_tree;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Copies a tree.
///
/// # Errors
/// 1, 4, 20, 21 or 30. A failed copy leaves nothing.
pub(crate) fn run(env: &Env, from: &RootPath, to: &RootPath) -> Result<Reply, Status> {
    env.check_lock_in(from)?;
    let source = env.root.open_dir(from).map_err(|e| match e {
        Errno::ACCESS | Errno::PERM | Errno::XDEV => Status::AccessDenied,
        _ => Status::SourceNotDirectory,
    })?;
    env.check_lock_around(to)?;
    if to.is_root() {
        return Err(Status::DirectoryExists);
    }
    let copied = env.root.entry(to).and_then(|target| {
        if target.stat().is_ok() {
            return Err(Errno::EXIST);
        }
        copy_tree(source.as_fd(), &target, env.copies())
    });
    copied.map(|()| Reply::Ok).map_err(|e| match env.note(e) {
        Errno::EXIST => Status::DirectoryExists,
        Errno::XDEV => Status::AccessDenied,
        _ => Status::TreeCopy,
    })
}
