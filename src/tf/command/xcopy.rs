//! XCOPY (document, "XCOPY"): a copy of a file in every directory that
//! matches the pattern. Best effort: failures are skipped.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::spread::{new_entry, open_targets};
use crate::store::RootPath;
use crate::store::copy::copy_file;
use crate::store::read::{FileReader, ReadError};
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Copies a file to many places under the name `name`.
///
/// # Errors
/// 1, 17, 23 or 30, of the source alone.
pub(crate) fn run(
    env: &Env,
    name: &[u8],
    from: &RootPath,
    pattern: &RootPath,
) -> Result<Reply, Status> {
    env.check_lock_around(from)?;
    let open = || FileReader::open(&env.root, from);
    open().map_err(|e| match e {
        ReadError::Directory | ReadError::Special => Status::SourceNotFile,
        ReadError::System(Errno::NOENT | Errno::NOTDIR) => Status::SourceFileMissing,
        ReadError::System(_) => Status::AccessDenied,
    })?;
    for target in open_targets(env, pattern).map_err(|_| Status::AccessDenied)? {
        let copied = new_entry(env, &target, name).and_then(|entry| {
            let source = open().map_err(|_| Errno::NOENT)?;
            copy_file(source.handle().as_fd(), &entry, env.copies())
        });
        if let Err(e) = copied {
            log::debug!(directory:% = target, error:% = e; "XCOPY left out");
        }
    }
    Ok(Reply::Ok)
}
