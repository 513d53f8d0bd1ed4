//! CHOWN (document, "CHOWN"): owner and group of a file or directory. The
//! system lets a session give a file only to the groups it is in.

use nix::unistd::{Group, User};
use rustix::fs::{AtFlags, Gid, Uid};
use rustix::io::Errno;

use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Sets owner and group, by name or number, of what the path leads to.
///
/// # Errors
/// 1, 42, 43 or 44.
pub(crate) fn run(env: &Env, path: &RootPath, user: &[u8], group: &[u8]) -> Result<Reply, Status> {
    let uid = lookup(user, |name| Ok(User::from_name(name)?.map(|user| user.uid.as_raw())))
        .ok_or(Status::UserMissing)?;
    let gid = lookup(group, |name| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw())))
        .ok_or(Status::GroupMissing)?;
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

/// The id of a name; a number that is no name is itself.
fn lookup(text: &[u8], find: impl Fn(&str) -> nix::Result<Option<u32>>) -> Option<u32> {
    let name = std::str::from_utf8(text).ok().filter(|name| !name.is_empty())?;
    match find(name) {
        Ok(Some(id)) => Some(id),
        _ => name.parse().ok().filter(|id| *id != u32::MAX),
    }
}
