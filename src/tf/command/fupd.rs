//! FUPD (document, "FUPD").

use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Runs the command.
///
/// # Errors
/// To be written.
pub(crate) fn run(env: &Env, path: &RootPath) -> Result<Reply, Status> {
    let _ = env;
    let _ = path;
    Err(Status::AccessDenied)
}
