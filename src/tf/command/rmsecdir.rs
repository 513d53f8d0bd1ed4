//! RMSECDIR (document, "RMSECDIR"): removes a secure directory with its content,
//! for clients that know the name of an entry in it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::rmdir::{empty_root, remove};
use crate::store::RootPath;
use crate::tf::env::{Env, POLICY};
use crate::tf::status::{Reply, Status};

/// Removes a directory if it contains an entry of the token's name.
///
/// # Errors
/// 1, 15, 30 or 47.
pub(crate) fn run(env: &Env, token: &[u8], path: &RootPath) -> Result<Reply, Status> {
    env.check_lock_around(path)?;
    env.check_lock_in(path)?;
    if matches!(token, b"" | b"." | b"..")
        || token.contains(&b'/')
        || env.root.policy().hides(token)
    {
        return Err(Status::SecureDirectory);
    }
    let fits = env.root.open_dir(path).and_then(|directory| {
        let token = OsStr::from_bytes(token);
        rustix::fs::statat(directory, token, AtFlags::SYMLINK_NOFOLLOW)
    });
    match fits {
        Err(Errno::XDEV) => Err(Status::AccessDenied),
        Err(_) => Err(Status::SecureDirectory),
        Ok(_) if path.is_root() => Err(empty_root(env, &POLICY.removing_all())),
        Ok(_) => remove(env, path, &POLICY.removing_all()),
    }
}
