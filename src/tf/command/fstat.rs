//! FSTAT (document, "FSTAT"): kind, size and times of what a path leads
//! to, links followed.

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// `T size atime mtime` of the entry that the path leads to: `T` is `F` for a file, `D`
/// for a directory, `U` for anything else; size in bytes, times in seconds.
///
/// # Errors
/// 1, 9 or 30.
pub(crate) fn run(env: &Env, path: &RootPath) -> Result<Reply, Status> {
    env.check_lock_around(path)?;
    let stat = env.root.stat(path).map_err(missing_or_denied)?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => 'F',
        FileType::Directory => 'D',
        _ => 'U',
    };
    let text = format!(
        "{kind} {} {} {}",
        stat.st_size, stat.st_atime, stat.st_mtime
    );
    Ok(Reply::OkWith(text.into_bytes()))
}

/// 9 for a missing entry, 1 for one that may not be seen.
pub(crate) fn missing_or_denied(e: Errno) -> Status {
    match e {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => Status::FileMissing,
        _ => Status::AccessDenied,
    }
}
