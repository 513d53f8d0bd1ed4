//! SNDFILE (document, "SNDFILE").

use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::wire::{Result, Wire};

/// Runs the command and sends its replies.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, overwrite: bool, path: &RootPath) -> Result<()> {
    let _ = env;
    let _ = overwrite;
    let _ = path;
    wire.write_message(b"UNKNOWN")
}
