//! TOUCH (document, "TOUCH") and TASFS (version 2.5, "TASFS"): a new empty file.
//! An existing file stays as it is and is an error: of several sessions that try
//! at once, one succeeds.

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
    make(env, path).map_err(|e| match env.note(e) {
        Errno::EXIST => Status::FileExists,
        Errno::ACCESS | Errno::PERM | Errno::XDEV => Status::AccessDenied,
        _ => Status::FileCreation,
    })
}

/// TASFS: as TOUCH, with one code for all that the file system refuses.
///
/// # Errors
/// 1, 30 or 62.
pub(crate) fn test_and_set(env: &Env, path: &RootPath) -> Result<Reply, Status> {
    env.check_lock_around(path)?;
    make(env, path).map_err(|e| match env.note(e) {
        Errno::XDEV => Status::AccessDenied,
        _ => Status::TestAndSet,
    })
}

fn make(env: &Env, path: &RootPath) -> Result<Reply, Errno> {
    if path.is_root() {
        return Err(Errno::EXIST);
    }
    let mode = Mode::from_raw_mode(env.settings.file_mode);
    let entry = env.root.entry(path)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&entry.directory, entry.name(), flags, mode)?;
    if env.sync() {
        rustix::fs::fsync(file)?;
    }
    env.settle(&entry.directory)
}
