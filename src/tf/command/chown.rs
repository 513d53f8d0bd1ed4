//! CHOWN (document, "CHOWN"): owner and group of a file or directory. The
//! system lets a session give a file only to the groups it is in.

use rustix::fs::{AtFlags, Gid, Uid};
use rustix::io::Errno;

use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Sets owner and group, by name or number, of the entry that the path leads to.
///
/// # Errors
/// 1, 42, 43 or 44.
pub(crate) fn run(env: &Env, path: &RootPath, user: &[u8], group: &[u8]) -> Result<Reply, Status> {
    let uid = env.names.user(user).ok_or(Status::UserMissing)?;
    let gid = env.names.group(group).ok_or(Status::GroupMissing)?;
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let changed = if path.is_root() {
        rustix::fs::chownat(env.root.handle(), "", uid, gid, AtFlags::EMPTY_PATH)
    } else {
        env.root.final_entry(path).and_then(|entry| {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(&entry.directory, entry.name(), uid, gid, flags)
        })
    };
    changed.map(|()| Reply::Ok).map_err(|e| match e {
        Errno::XDEV => Status::AccessDenied,
        _ => Status::ChangeOwner,
    })
}
