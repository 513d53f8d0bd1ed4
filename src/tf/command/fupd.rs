//! FUPD (document, "FUPD"): sets both times of a file or directory to
//! now, links followed.

use rustix::fs::{AtFlags, Timespec, Timestamps, UTIME_NOW};

use super::fstat::missing_or_denied;
use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Updates the times of the entry that the path leads to.
///
/// # Errors
/// 1, 9, 27 or 30.
pub(crate) fn run(env: &Env, path: &RootPath) -> Result<Reply, Status> {
    env.check_lock_around(path)?;
    env.root.stat(path).map_err(missing_or_denied)?;
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    let updated = if path.is_root() {
        rustix::fs::utimensat(env.root.handle(), ".", &times, AtFlags::SYMLINK_NOFOLLOW)
    } else {
        env.root.final_entry(path).and_then(|entry| {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(&entry.directory, entry.name(), &times, flags)
        })
    };
    updated
        .map(|()| Reply::Ok)
        .map_err(|_| Status::TimestampUpdate)
}
