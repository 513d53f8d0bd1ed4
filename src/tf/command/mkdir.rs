//! MKDIR (document, "MKDIR"): one new directory. The directory it
//! belongs in must exist; a taken name is an error.

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
    match env.directories().one(path) {
        Ok(()) => Ok(Reply::Ok),
        Err(Errno::EXIST) => Err(Status::DirectoryExists),
        Err(_) => Err(Status::AccessDenied),
    }
}
