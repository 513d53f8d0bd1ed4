//! TFD_SET: mode, time of change, owner and extended attributes of an entry
//! itself: a link in the last place is not followed.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, chownat, fsync, openat, utimensat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use super::attributes::Attributes;
use crate::store::{Entry, Root, RootPath};
use crate::tf::command::chmod::{open_to_sync, set_mode};
use crate::tf::command::fstat::missing_or_denied;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Sets owner and group, extended attributes, mode and time, in this order: a
/// change of owner clears bits of the mode, and the mode may close the file to us.
/// A link keeps its mode and has no attributes.
///
/// # Errors
/// 1, 9, 30, 42, 43, 44, 201, 41, 27: the first that fails. What was set by then
/// stays.
pub(crate) fn run(env: &Env, path: &RootPath, wanted: &Attributes) -> Result<Reply, Status> {
    env.check_lock_around(path)?;
    let entry = entry_of(&env.root, path).map_err(missing_or_denied)?;
    let stat = entry.stat().map_err(missing_or_denied)?;
    let is_link = FileType::from_raw_mode(stat.st_mode).is_symlink();
    let owner = wanted.owner(env)?;
    let kept = env.sync().then(|| open_to_sync(&entry)).transpose();
    let kept = kept.map_err(missing_or_denied)?;
    let (directory, name) = (&entry.directory, entry.name());
    if let Some((uid, gid)) = owner {
        chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|_| Status::ChangeOwner)?;
    }
    if !wanted.extended.is_empty() && !is_link {
        open(&entry)
            .and_then(|file| wanted.extend(file.as_fd()))
            .map_err(|_| Status::Attribute)?;
    }
    if let Some(mode) = wanted.mode(env).filter(|_| !is_link) {
        set_mode(&entry, mode).map_err(|_| Status::ChangeMode)?;
    }
    if let Some(times) = wanted.times() {
        utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|_| Status::TimestampUpdate)?;
    }
    kept.map_or(Ok(()), fsync)
        .map_err(|_| Status::TimestampUpdate)?;
    Ok(Reply::Ok)
}

/// The entry of a path; of the root the directory in itself.
///
/// # Errors
/// As [`Root::entry`].
pub(super) fn entry_of(root: &Root, path: &RootPath) -> Result<Entry, Errno> {
    if !path.is_root() {
        return root.entry(path);
    }
    Ok(Entry {
        directory: fcntl_dupfd_cloexec(root.handle(), 0)?,
        name: b".".to_vec(),
    })
}

/// Opens a file or directory itself, to read or set what it has.
fn open(entry: &Entry) -> Result<OwnedFd, Errno> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = |flags| openat(&entry.directory, entry.name(), flags, Mode::empty());
    open(flags | OFlags::RDONLY).or_else(|_| open(flags | OFlags::WRONLY))
}
