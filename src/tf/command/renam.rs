//! RENAM (document, "RENAM").

use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Runs the command.
///
/// # Errors
/// To be written.
pub(crate) fn run(env: &Env, from: &RootPath, to: &RootPath) -> Result<Reply, Status> {
    let _ = env;
    let _ = from;
    let _ = to;
    Err(Status::AccessDenied)
}
