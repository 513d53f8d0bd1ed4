//! XCPDIR (document, "XCPDIR").

use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// Runs the command.
///
/// # Errors
/// To be written.
pub(crate) fn run(
    env: &Env,
    name: &[u8],
    from: &RootPath,
    pattern: &RootPath,
) -> Result<Reply, Status> {
    let _ = env;
    let _ = name;
    let _ = from;
    let _ = pattern;
    Err(Status::AccessDenied)
}
