//! RMKDIR (version 2.5, "RMKDIR"): a directory with all that are missing on the
//! way to it. What exists is left as it is.

use rustix::io::Errno;

use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Makes the missing directories of a path; a path that exists is fine.
///
/// # Errors
/// 1, 30 or 63. What was made by then stays.
pub(crate) fn run(env: &Env, path: &RootPath) -> Result<Reply, Status> {
    env.check_lock_around(path)?;
    let made = env.directories().all(path, |path| {
        env.check_lock_around(path).map_err(Failure::Locked)
    });
    match made {
        Ok(()) => Ok(Reply::Ok),
        Err(Failure::Locked(status)) => Err(status),
        Err(Failure::System(Errno::XDEV)) => Err(Status::AccessDenied),
        Err(Failure::System(_)) => Err(Status::DirectoryChain),
    }
}

/// Why a directory was not made.
enum Failure {
    /// The one around it is locked.
    Locked(Status),
    /// The system's error.
    System(Errno),
}

impl From<Errno> for Failure {
    fn from(e: Errno) -> Failure {
        Failure::System(e)
    }
}
