//! TOUCH (document, "TOUCH"): a new empty file. An existing file stays as
//! it is and is an error.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Makes an empty file.
///
/// # Errors
/// 1, 12, 24 or 30.
pub(crate) fn run(env: &Env, path: &RootPath) -> Result<Reply, Status> {
    env.check_lock_around(path)?;
    if path.is_root() {
        return Err(Status::FileExists);
    }
    let mode = Mode::from_raw_mode(env.settings.file_mode);
    let made = env.root.entry(path).and_then(|entry| {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&entry.directory, entry.name(), flags, mode)?;
        if env.sync() {
            rustix::fs::fsync(file)?;
        }
        env.settle(&entry.directory)
    });
    made.map_err(|e| match e {
        Errno::EXIST => Status::FileExists,
        Errno::ACCESS | Errno::PERM | Errno::XDEV => Status::AccessDenied,
        _ => Status::FileCreation,
    })
}
