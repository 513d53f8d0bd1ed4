//! MKDIR (document, "MKDIR"): one new directory. The directory it
//! belongs in must exist; a taken name is an error.

use rustix::fs::Mode;
use rustix::io::Errno;

use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Makes a directory in one that exists.
///
/// # Errors
/// 30, 4 when the name is taken, else 1.
pub(crate) fn run(env: &Env, path: &RootPath) -> Result<Reply, Status> {
    env.check_lock_around(path)?;
    if path.is_root() {
        return Err(Status::DirectoryExists);
    }
    let entry = env.root.entry(path).map_err(|_| Status::AccessDenied)?;
    let mode = Mode::from_raw_mode(env.settings.directory_mode);
    match rustix::fs::mkdirat(&entry.directory, entry.name(), mode) {
        Ok(()) => env
            .settle(&entry.directory)
            .map_err(|_| Status::AccessDenied),
        Err(Errno::EXIST) => Err(Status::DirectoryExists),
        Err(_) => Err(Status::AccessDenied),
    }
}
