//! FREESP (document, "FREESP"): free space where the root lies.

use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// The bytes an ordinary user may still write.
///
/// # Errors
/// 1 when the system can't tell.
pub(crate) fn run(env: &Env) -> Result<Reply, Status> {
    let stat = rustix::fs::fstatvfs(env.root.handle()).map_err(|_| Status::AccessDenied)?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    Ok(Reply::OkWith(free.to_string().into_bytes()))
}
