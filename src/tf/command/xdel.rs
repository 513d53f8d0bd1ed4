//! XDEL (document, "XDEL").

use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Runs the command.
///
/// # Errors
/// To be written.
pub(crate) fn run(env: &Env, start: &RootPath, pattern: &RootPath) -> Result<Reply, Status> {
    let _ = env;
    let _ = start;
    let _ = pattern;
    Err(Status::AccessDenied)
}
