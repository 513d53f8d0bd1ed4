//! COPY (document, "COPY"): a copy of a file under a free name. The two share
//! nothing afterwards.

use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::store::RootPath;
use crate::store::copy::copy_file;
use crate::store::read::{FileReader, ReadError};
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Copies a file with its mode.
///
/// # Errors
/// 1, 12, 17, 18, 19 or 30. A failed copy leaves nothing.
pub(crate) fn run(env: &Env, from: &RootPath, to: &RootPath) -> Result<Reply, Status> {
    env.check_lock_around(from)?;
    let source = FileReader::open(&env.root, from).map_err(|e| match e {
        ReadError::Directory => Status::DirectoryCopy,
        ReadError::Special => Status::Copy,
        ReadError::System(Errno::NOENT | Errno::NOTDIR) => Status::SourceFileMissing,
        ReadError::System(_) => Status::AccessDenied,
    })?;
    env.check_lock_around(to)?;
    if to.is_root() {
        return Err(Status::FileExists);
    }
    let target = env.root.entry(to).map_err(target_status)?;
    copy_file(source.handle().as_fd(), &target, env.copies())
        .map_err(|e| target_status(env.note(e)))?;
    Ok(Reply::Ok)
}

fn target_status(e: Errno) -> Status {
    match e {
        Errno::EXIST => Status::FileExists,
        Errno::NOENT => Status::SourceFileMissing,
        Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::ROFS => Status::AccessDenied,
        _ => Status::Copy,
    }
}
