//! SUP (document, "SUP").

use crate::tf::env::Env;
use crate::tf::request::RawPath;
use crate::tf::wire::{Result, Wire};

/// Runs the command and sends its replies.
///
/// # Errors
/// When the connection can't go on.
pub(crate) fn run(wire: &mut Wire, env: &Env, path: &RawPath) -> Result<()> {
    let _ = env;
    let _ = path;
    wire.write_message(b"UNKNOWN")
}
