//! RMKDIR (version 2.5, "RMKDIR"): a directory with all that are missing on the
//! way to it. What exists is left as it is.

use rustix::fs::Mode;
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
    let status = |e| match e {
        Errno::XDEV => Status::AccessDenied,
        _ => Status::DirectoryChain,
    };
    if is_there(env, path).map_err(status)? {
        return Ok(Reply::Ok);
    }
    let mut way = RootPath::root();
    for name in path.names() {
        way = way.join(name);
        if !is_there(env, &way).map_err(status)? {
            env.check_lock_around(&way)?;
            make(env, &way).map_err(status)?;
        }
    }
    Ok(Reply::Ok)
}

/// Whether anything has this path.
fn is_there(env: &Env, path: &RootPath) -> Result<bool, Errno> {
    match env.root.stat(path) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Makes a directory, unless another session has just done so.
fn make(env: &Env, path: &RootPath) -> Result<(), Errno> {
    let entry = env.root.entry(path)?;
    let mode = Mode::from_raw_mode(env.settings.directory_mode);
    match rustix::fs::mkdirat(&entry.directory, entry.name(), mode) {
        Err(Errno::EXIST) if is_there(env, path)? => {}
        made => made?,
    }
    env.settle(&entry.directory).map(drop)
}
