//! FREESP (document, "FREESP").

use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Runs the command.
///
/// # Errors
/// To be written.
pub(crate) fn run(env: &Env) -> Result<Reply, Status> {
    let _ = env;
    Err(Status::AccessDenied)
}
