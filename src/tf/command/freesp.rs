//! FREESP (document, "FREESP"): free space of the root, within quotas.

use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// The bytes this session may still write.
///
/// # Errors
/// 1 when the system fails.
pub(crate) fn run(env: &Env) -> Result<Reply, Status> {
    let stat = rustix::fs::fstatvfs(env.root.handle()).map_err(|_| Status::AccessDenied)?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let free = env.quota.left().map_or(free, |left| left.min(free));
    Ok(Reply::OkWith(free.to_string().into_bytes()))
}
