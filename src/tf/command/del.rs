//! DEL (document, "DEL"): one file, or a link itself. The only command that
//! works in a locked directory, and only on the lock file.

use rustix::io::Errno;

use crate::store::RootPath;
use crate::store::part::is_directory;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Deletes a file.
///
/// # Errors
/// 1, 8, 9 or 30; other failures have no code.
pub(crate) fn run(env: &Env, path: &RootPath) -> Result<Reply, Status> {
    if !env.lock.is_lock_file(path) {
        env.check_lock_around(path)?;
    }
    if path.is_root() {
        return Err(Status::IsDirectory);
    }
    let deleted = env.root.entry(path).and_then(|entry| {
        if is_directory(&entry.stat()?) {
            return Err(Errno::ISDIR);
        }
        env.quota.unlink(&entry.directory, entry.name())?;
        env.settle(&entry.directory)
    });
    match deleted {
        Ok(reply) => Ok(reply),
        Err(Errno::ISDIR) => Err(Status::IsDirectory),
        Err(Errno::NOENT | Errno::NOTDIR) => Err(Status::FileMissing),
        Err(Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::LOOP) => Err(Status::AccessDenied),
        Err(_) => Ok(Reply::FailedBare),
    }
}
