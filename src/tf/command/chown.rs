//! CHOWN (document, "CHOWN").

use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Runs the command.
///
/// # Errors
/// To be written.
pub(crate) fn run(env: &Env, path: &RootPath, user: &[u8], group: &[u8]) -> Result<Reply, Status> {
    let _ = env;
    let _ = path;
    let _ = user;
    let _ = group;
    Err(Status::AccessDenied)
}
